"""What a command costs: wall time, CPU, memory and bytes written, of itself and of the daemon that works for it."""
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    wall: float = 0.0  # seconds
    cpu: float = 0.0  # seconds, all threads and children, the daemon's share included
    peak_rss: int = 0  # bytes: the largest process of the command plus the daemon's processes
    written: int = 0  # bytes handed to the disk
    output: bytes = b""


def process_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def process_written(pid: int) -> int:
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"]) - int(lines["cancelled_write_bytes"])


def process_peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def run(command: Sequence, daemon: Sequence[int] = (), stdin=subprocess.DEVNULL, capture: bool = False, **options) -> Usage:
    """Runs `command` to its end and adds what the processes `daemon` used meanwhile. Fails loudly if it fails."""
    words = [str(word) for word in command]
    for pid in daemon:
        reset_peak(pid)
    before = [(process_cpu(pid), process_written(pid)) for pid in daemon]
    # Files, not pipes: what the command leaves in the background may keep them open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        child = subprocess.Popen(words, stdin=stdin, stdout=out, stderr=err, **options)
        _, status, rusage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            sys.exit(f"{' '.join(words)}: exit code {child.returncode}\n{err.read().decode(errors='replace')[-2000:]}")
        output = out.read() if capture else b""
    after = [(process_cpu(pid), process_written(pid)) for pid in daemon]
    return Usage(wall=wall,
                 cpu=rusage.ru_utime + rusage.ru_stime + sum(b[0] - a[0] for a, b in zip(before, after)),
                 peak_rss=rusage.ru_maxrss * 1024 + sum(process_peak(pid) for pid in daemon),
                 written=rusage.ru_oublock * 512 + sum(b[1] - a[1] for a, b in zip(before, after)),
                 output=output)


def total(parts: Sequence[Usage]) -> Usage:
    """Commands run one after the other."""
    return Usage(sum(part.wall for part in parts), sum(part.cpu for part in parts),
                 max(part.peak_rss for part in parts), sum(part.written for part in parts))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(rounds: int, **works: Callable[[], float]) -> dict[str, float]:
    """The median of each work's figure; the works take turns, so that a busy moment of the machine meets all of them."""
    figures: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            figures[name].append(work())
    return {name: statistics.median(values) for name, values in figures.items()}


def du(path: Path, leave_out: Sequence[str] = ()) -> int:
    """Bytes of disk that a folder or file takes."""
    options = [f"--exclude={name}" for name in leave_out]
    done = subprocess.run(["du", "-s", "--block-size=1", *options, str(path)], stdout=subprocess.PIPE, check=True)
    return int(done.stdout.split()[0])


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def read_tree(root: Path) -> float:
    """Seconds to read every file (GNU tar skips the reading when it sees /dev/null, hence cat)."""
    return timed(lambda: subprocess.run("tar -cf - . | cat >/dev/null", shell=True, cwd=root, check=True))


def read_file(path: Path) -> float:
    """Seconds to read one file."""
    with open(os.devnull, "wb") as null:
        return timed(lambda: subprocess.run(["cat", str(path)], stdout=null, check=True))


def list_tree(root: Path) -> float:
    """Seconds of `find -ls`."""
    with open(os.devnull, "wb") as null:
        return timed(lambda: subprocess.run(["find", str(root), "-ls"], stdout=null, check=True))


@contextlib.contextmanager
def unmounting(where: Path):
    where.mkdir(parents=True, exist_ok=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], stderr=subprocess.DEVNULL)
