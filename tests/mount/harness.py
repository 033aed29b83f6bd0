"""What every test on real mounts needs: a private store, the built programs, mounts that go away, requirements said out loud."""
import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BIN = Path(os.environ.get("STELLARIUM_BIN", Path(__file__).resolve().parents[2] / "build" / "dev" / "tools"))
COMMAND = BIN / "stellarium"
PLAIN = BIN / "plain" / "stellarium"  # built without a sanitizer, beside a link to the keeper that has it; tools/test makes it
SANITIZED = bool(os.environ.get("STELLARIUM_SANITIZE"))  # everything is several times slower, and there are no time limits to check
SUPPRESSIONS = Path(__file__).resolve().parents[1] / "support" / "tsan.supp"
REQUIRE_ALL = bool(os.environ.get("STELLARIUM_REQUIRE_ALL"))  # CI: what cannot run has failed
SKIPPED = 77


def require(capable: bool, what: str) -> None:
    """Ends the program as skipped, or as failed where everything must run, if this machine cannot run it."""
    if not capable:
        print(f"cannot run here: {what}", file=sys.stderr)
        sys.exit(1 if REQUIRE_ALL else SKIPPED)


def require_mounts() -> None:
    require(os.geteuid() == 0, "must be root to mount")
    require(os.path.exists("/dev/fuse"), "/dev/fuse is missing (modprobe fuse, or pass the device into the container)")
    require(COMMAND.exists(), f"{COMMAND} is not built")


def main() -> None:
    """Runs the calling program's test cases; a skip inside one is a failure where everything must run."""
    program = unittest.main(argv=[sys.argv[0], *sys.argv[1:]], exit=False, verbosity=2)
    skipped = program.result.skipped
    sys.exit(0 if program.result.wasSuccessful() and not (skipped and REQUIRE_ALL) else 1)


class Commands:
    """Which build of the command runs. A sanitizer needs 70 ms before `main`, and most tests are about the daemon: so the first calls of
    each kind have it, and all where the command does the work itself; the others are those of the plain build, where there is one."""
    WITH_SANITIZER = 3
    WORKS_ITSELF = {"import", "export"}
    HAS_SUBCOMMANDS = {"daemon", "tier", "volume"}

    def __init__(self):
        # The daemon refuses a command of another build, as one from an earlier run of tools/test would be.
        self.any_plain = (SANITIZED and PLAIN.exists() and PLAIN.stat().st_mtime >= COMMAND.stat().st_mtime
                          and len({subprocess.check_output([command, "--version"]) for command in (COMMAND, PLAIN)}) == 1)
        self.calls = collections.Counter()

    def choose(self, args) -> Path:
        words = [str(arg) for arg in args if not str(arg).startswith("-")]
        if not self.any_plain or not words or words[0] in self.WORKS_ITSELF:
            return COMMAND
        options = frozenset(str(arg).split("=")[0] for arg in args if str(arg).startswith("-"))
        kind = (*words[:2 if words[0] in self.HAS_SUBCOMMANDS else 1], options)
        self.calls[kind] += 1
        return COMMAND if self.calls[kind] <= self.WITH_SANITIZER else PLAIN


COMMANDS = Commands()


class Failed(AssertionError):
    """A command of ours ended otherwise than the test expects; the message holds its output."""


def sanitizer_environment(reports: Path) -> dict[str, str]:
    """Makes the sanitizers of every program started with it write to files that begin with `reports`: the servers' own output is a log."""
    common = f"log_path={reports}:exitcode=66"
    # With a short history ThreadSanitizer starts its clocks anew so often that it takes reads before a start for new ones: it reported
    # one that nobody did, and could not name its stack.
    return {"ASAN_OPTIONS": f"{common}:detect_leaks=1", "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{common}:symbolize=0:history_size=7:suppressions={SUPPRESSIONS}"}


# LeakSanitizer says so of a thread that ended between being stopped and being read; it found nothing by it.
NO_FINDING = re.compile(r"^==\d+==Unable to get registers from thread \d+\.\n", re.MULTILINE)


def findings(reports: list[Path]) -> str:
    """What the sanitizers found, of everything that they wrote."""
    return NO_FINDING.sub("", "".join(file.read_text(errors="replace") for file in sorted(reports)))


def with_lines(reports: str) -> str:
    """Names functions and lines in what ThreadSanitizer reported. It would do so itself, but in each server anew, for a report that is
    suppressed: a third of a second."""
    def named(place: re.Match) -> str:
        lines = subprocess.run(["addr2line", "-Cfpie", BIN / place[1], place[2]], capture_output=True, text=True)
        return f"{lines.stdout.strip()} {place[0]}"
    return re.sub(r"<null> <null> \((stellarium[a-z-]*)\+(0x[0-9a-f]+)\)", named, reports)


class Store:
    """A store in a folder of its own, with its daemon; everything is gone afterwards.

    A sanitizer's report from any program that ran for it fails the test, whatever the test itself saw."""

    def __init__(self, parent: Path | str | None = None):
        self.root = Path(tempfile.mkdtemp(prefix="stellarium-test-", dir=parent))
        self.dir = self.root / "store"
        self.scratch = self.root / "scratch"
        self.scratch.mkdir()
        # The stat cache of the person who runs the tests stays out of them.
        self.environment = (os.environ | {"XDG_CACHE_HOME": str(self.root / "cache"), "LC_ALL": "C.UTF-8"}
                            | sanitizer_environment(self.root / "sanitizer"))
        self.environment.pop("STELLARIUM_STORE", None)
        self.mounts: list[Path] = []

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_) -> None:
        for mount in reversed(self.mounts):
            subprocess.run(["umount", "--lazy", str(mount)], stderr=subprocess.DEVNULL)
        stop = ("daemon", "stop", "--unmount")
        subprocess.run([COMMANDS.choose(stop), "--store", self.dir, *stop], capture_output=True, env=self.environment)
        self.kill_all()
        reports = findings(list(self.root.glob("sanitizer.*")))
        refused = self.refused_by_sandbox()
        shutil.rmtree(self.root, ignore_errors=True)
        if reports.strip():
            raise Failed(f"a sanitizer complained:\n{with_lines(reports[-20_000:])}")
        if refused:
            raise Failed(f"the server needed what its sandbox takes away:\n{refused}")

    def refused_by_sandbox(self) -> str:
        """What the servers' logs say of system calls that were refused, or that ended one (docs/sandbox.md)."""
        logs = "".join(file.read_text(errors="replace") for file in sorted(self.dir.glob("run/server.log*")))
        return "\n".join(line for line in logs.splitlines() if re.search(r"sandbox: the system call|\(Bad system call\)", line))

    # Commands

    def run(self, *args, expect: int | None = 0, input=None, timeout: float = 300, **options) -> subprocess.CompletedProcess:
        """`stellarium --store DIR ARGS…`; `expect` is the exit code it must have (None: any)."""
        command = [str(COMMANDS.choose(args)), "--store", str(self.dir), *[arg if isinstance(arg, bytes) else str(arg) for arg in args]]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.environment} | options
        if input is None and "stdin" not in options:
            options["stdin"] = subprocess.DEVNULL
        done = subprocess.run(command, input=input, timeout=timeout, **options)
        if expect is not None and done.returncode != expect:
            raise Failed(f"{command} ended with {done.returncode}, not {expect}\n"
                         f"{(done.stdout or b'')[-2000:].decode(errors='replace')}\n"
                         f"{(done.stderr or b'')[-4000:].decode(errors='replace')}")
        return done

    def json(self, *args, **options):
        return json.loads(self.run("--json", *args, **options).stdout)

    def refuses(self, *args, **options) -> str:
        """The command must end with 1 and one clear line on stderr; returns the line."""
        done = self.run(*args, expect=1, **options)
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        if len(lines) != 1 or done.stdout:
            raise Failed(f"{args}: expected one line on stderr and nothing on stdout, got\n{done.stderr!r}\n{done.stdout!r}")
        return lines[0]

    @contextlib.contextmanager
    def mounted(self, *ref):
        """A folder that shows REF (or the whole store) while the block runs; options of `mount` may stand in front."""
        where = Path(tempfile.mkdtemp(prefix="mnt-", dir=self.root))
        self.run("mount", *ref, where)
        self.mounts.append(where)
        yield where  # after a failure __exit__ unmounts: the failure is what must be seen
        self.run("umount", where)
        self.mounts.remove(where)
        where.rmdir()

    @contextlib.contextmanager
    def device(self, ref: str, socket: Path, *options: str, command: Path | None = None):
        """A virtio-fs device on `socket`, for one machine: the command must end well when that has gone."""
        command = [str(command or COMMAND), "--store", str(self.dir), "virtiofsd", ref, "--socket-path", str(socket), *options]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=self.environment) as serving:
            try:
                while not socket.exists():
                    if serving.poll() is not None:
                        raise Failed(f"{command} ended with {serving.returncode}")
                    time.sleep(0.01)
                yield serving
                if serving.wait(timeout=60) != 0:
                    raise Failed(f"{command} ended with {serving.returncode}")
            finally:
                serving.kill()

    def stop(self) -> None:
        self.run("daemon", "stop")

    # Processes

    def processes(self, program: str) -> list[int]:
        """Pids of `program` (server, keeper) that serve this store."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if words[0].endswith(b"stellarium-" + program.encode()) and os.fsencode(self.dir) in words:
                        found.append(int(entry.name))
        return sorted(found)

    def server(self, timeout: float = 10) -> int:
        """The server's pid; waits for the next one if there is none right now."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if pids := self.processes("server"):
                return pids[-1]
            time.sleep(0.002)
        raise Failed(f"no stellarium-server for {self.dir}")

    def wait_until_cleaned(self, timeout: float = 60) -> None:
        """Until what `rm` leaves is gone, and what removed snapshots leave is folded."""
        deadline = time.monotonic() + timeout
        while any(self.json("stats")["layers"].values()):
            if time.monotonic() > deadline:
                raise Failed(f"layers are left: {self.json('stats')['layers']}")
            time.sleep(0.02)

    def wait_until_gone(self, timeout: float = 10) -> None:
        """Until neither keeper nor server is left. After `stop` that is at once; a sanitizer looks for leaks first."""
        deadline = time.monotonic() + timeout
        while left := self.processes("keeper") + self.processes("server"):
            if time.monotonic() > deadline:
                raise Failed(f"still running for {self.dir}: {left}")
            time.sleep(0.002)

    def kill_all(self) -> None:
        for program in ("keeper", "server"):
            for pid in self.processes(program):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def first_difference(expected: dict, found: dict, limit: int = 10) -> str:
    """Names what differs between two snapshots (trees.snapshot); empty if nothing does."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            lines.append(f"{path!r}:\n  expected {expected.get(path)}\n  found    {found.get(path)}")
    more = f"\n… and {len(lines) - limit} more" if len(lines) > limit else ""
    return "\n".join(lines[:limit]) + more
