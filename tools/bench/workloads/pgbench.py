"""PostgreSQL's own benchmark: its database on ext4 in a volume, on ext4 in a plain file, in a clone, in a plain folder."""
import contextlib
import os
import pwd
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
from bench import Bench, Store

SCALE = int(os.environ.get("STELLARIUM_PGBENCH_SCALE", "20"))  # × 100,000 accounts, 15 MB
SECONDS = int(os.environ.get("STELLARIUM_PGBENCH_SECONDS", "60"))
CLIENTS, THREADS = 8, 2
DISK_BYTES = 4 << 30
USER = "postgres"  # who the server must run as: it refuses root


def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        sys.exit("pgbench: PostgreSQL is not installed (package postgresql)")
    return found[-1].parent


def as_user(*command) -> subprocess.CompletedProcess:
    """Runs a program of PostgreSQL's; what it says counts only if it fails."""
    done = subprocess.run(["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *map(str, command)], cwd="/", stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.exit(f"pgbench: {' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout.decode(errors='replace')[-2000:]}")
    return done


class Database:
    """One database folder; its server runs only while it is measured."""

    def __init__(self, bin: Path, data: Path, sockets: Path):
        self.bin, self.data, self.sockets = bin, data, sockets
        self.rates: list[float] = []  # transactions per second, of each run
        self.deviations: list[float] = []  # of a transaction's latency, milliseconds

    @contextlib.contextmanager
    def served(self):
        options = f"-c listen_addresses= -c unix_socket_directories={self.sockets} -c max_wal_size=1GB"
        # The log is a file: pg_ctl's server would hold a pipe of ours open.
        as_user(self.bin / "pg_ctl", "-D", self.data, "-o", options, "-l", self.sockets / "log", "-w", "-t", "120", "start")
        try:
            yield
        finally:
            as_user(self.bin / "pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "120", "stop")

    def fill(self) -> None:
        as_user(self.bin / "initdb", "-D", self.data, "-A", "trust", "--no-sync")
        with self.served():
            as_user(self.bin / "pgbench", "-h", self.sockets, "-i", "-q", "-s", SCALE, "postgres")

    def transactions(self) -> float:
        """A second, in a run."""
        # With reports on the way it also says how much latencies differ.
        measured = ["-c", CLIENTS, "-j", THREADS, "-T", SECONDS, "-P", SECONDS]
        with self.served():
            as_user(self.bin / "psql", "-h", self.sockets, "-c", "CHECKPOINT", "postgres")
            said = as_user(self.bin / "pgbench", "-h", self.sockets, *measured, "postgres").stdout.decode()
        self.rates.append(float(re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)[1]))
        self.deviations.append(float(re.search(r"^latency stddev = ([\d.]+) ms", said, re.MULTILINE)[1]))
        return self.rates[-1]

    def lasting(self) -> float:
        """How the last third of the runs compares with the first."""
        third = max(1, len(self.rates) // 3)
        return statistics.mean(self.rates[-third:]) / statistics.mean(self.rates[:third])


@contextlib.contextmanager
def loop_mounted(image: Path, where: Path):
    """A new ext4 in a file, through a loop device."""
    where.mkdir()
    device = measure.run(["losetup", "--find", "--show", image], capture=True).output.decode().strip()
    try:
        measure.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device])
        with measure.unmounting(where):
            measure.run(["mount", device, where])
            yield where
    finally:
        measure.run(["losetup", "--detach", device])


@contextlib.contextmanager
def sockets_folder():
    """Short, since a socket's path is; and outside of what is measured."""
    folder = Path(tempfile.mkdtemp(prefix="pgbench-"))
    try:
        shutil.chown(folder, USER, USER)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(bench: Bench) -> None:
    bin = programs()
    try:
        pwd.getpwnam(USER)
    except KeyError:
        sys.exit(f"pgbench: there is no user {USER} (package postgresql)")
    folder = bench.folder("files")
    for parent in [folder, *folder.parents]:
        if not parent.stat().st_mode & 0o001:
            sys.exit(f"pgbench: user {USER} cannot pass through {parent}: choose another --scratch")
    store = bench.fresh_store("ours")
    (folder / "empty").mkdir()
    store.run("import", folder / "empty", "empty")
    store.run("clone", "empty", "clone")
    store.run("volume", "create", "disk", "--size", str(DISK_BYTES))
    with open(folder / "plain.img", "wb") as file:
        file.truncate(DISK_BYTES)
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(sockets_folder())
        mount = stack.enter_context(store.mounted(folder / "store-mnt"))
        places = {"clone": stack.enter_context(store.mounted("clone", folder / "clone-mnt")), "folder": folder / "plain",
                  "volume": stack.enter_context(loop_mounted(mount / "volumes" / "disk.img", folder / "volume-mnt")),
                  "file": stack.enter_context(loop_mounted(folder / "plain.img", folder / "file-mnt"))}
        places["folder"].mkdir()
        first = Database(bin, prepared(folder / "first"), sockets)
        first.fill()
        databases = {}
        for name, place in places.items():
            measure.run(["cp", "-a", first.data, place / "data"])
            databases[name] = Database(bin, place / "data", sockets)
        os.sync()
        measure.in_turn(bench.rounds, **{name: database.transactions for name, database in databases.items()})
        compare(bench, "database on ext4 in a volume, through a loop device", databases["volume"], "the same in a plain file", databases["file"])
        compare(bench, "database in a clone", databases["clone"], "in a folder of the host's", databases["folder"])


def compare(bench: Bench, what: str, ours: Database, peer: str, theirs: Database) -> None:
    told = {"peer": peer, "command": f"pgbench -c {CLIENTS} -j {THREADS} -T {SECONDS}, scale {SCALE}"}
    bench.add(what, "tps", statistics.median(ours.rates), theirs=statistics.median(theirs.rates), ratio_at_least=0.9,
              note=f"runs: {', '.join(f'{rate:.0f}' for rate in ours.rates)}; {', '.join(f'{rate:.0f}' for rate in theirs.rates)}", **told)
    bench.add("… deviation of the latency", "ms", statistics.median(ours.deviations), theirs=statistics.median(theirs.deviations), ratio_at_most=2, **told)
    bench.add("… last runs ÷ first runs", "", ours.lasting(), theirs=theirs.lasting(), ratio_at_least=0.9, **told)


def prepared(data: Path) -> Path:
    data.mkdir(mode=0o700)
    shutil.chown(data, USER, USER)
    return data
