#!/usr/bin/env python3
"""The server is killed again and again while programs write in a clone; they do not notice.

Wanted: every call returns what it would on any file system, nothing is lost or done twice, no call waits longer than a second.
The same while the daemon is restarted and upgraded. Afterwards the clone is what was written, `fsck` is clean, and no
staged file is left that no inode needs."""
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import clone_writers as writers
import harness
import trees
from clone_writers import Writer
from harness import Store

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "25"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
STALL = 2.0 if harness.SANITIZED else 1.0  # seconds, the longest that one system call may take
APPENDERS = 2


def build_image(root: Path) -> None:
    root.mkdir()
    for number in range(60):
        trees.write(root / f"f{number}", trees.noise([100, 9000, 80_000][number % 3], seed=number))
    trees.write(root / "large", trees.noise(6 * trees.MIB, seed=7))
    shutil.copy("/usr/bin/sha256sum", root / "program")


def build_tar(scratch: Path) -> tuple[Path, dict]:
    tree = scratch / "tree"
    tree.mkdir()
    for number in range(150):
        folder = tree / f"d{number % 9}"
        folder.mkdir(exist_ok=True)
        trees.write(folder / f"f{number}", trees.noise([0, 500, 20_000, 150_000][number % 4], seed=number), 0o755 if number % 5 == 0 else 0o644)
        if number % 10 == 0:
            os.symlink(f"f{number}", folder / f"l{number}")
            os.link(folder / f"f{number}", folder / f"h{number}")
    subprocess.run(["tar", "-cf", scratch / "tree.tar", "-C", scratch, "tree"], check=True)
    (scratch / "unpacked").mkdir()
    subprocess.run(["tar", "-xf", scratch / "tree.tar", "-C", scratch / "unpacked"], check=True)
    return scratch / "tree.tar", trees.snapshot(scratch / "unpacked" / "tree")


def staged_inodes(mount: Path) -> int:
    found = set()
    for folder, _, files in os.walk(mount):
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and os.getxattr(path, "user.stellarium.body") == b"staged":
                found.add(os.lstat(path).st_ino)
    return len(found)


class CloneKill(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store()) if hasattr(self, "enterContext") else self.enter(Store())
        build_image(self.store.scratch / "image")
        self.tar, self.unpacked = build_tar(self.store.scratch)
        self.oracle = self.store.scratch / "oracle"
        self.oracle.mkdir()
        self.store.run("import", self.store.scratch / "image", "base")
        self.store.run("clone", "base", "web")

    def enter(self, context):
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    def start_all(self, mount: Path) -> list[Writer]:
        (mount / "log").mkdir()
        log = mount / "log" / "records"
        works = [("replacer 1", writers.replacer(mount / "r1", self.oracle / "r1", SEED)),
                 ("replacer 2", writers.replacer(mount / "r2", self.oracle / "r2", SEED + 1)),
                 ("storm 1", writers.storm(mount / "s1", SEED)), ("storm 2", writers.storm(mount / "s2", SEED + 1)),
                 ("tar", writers.unpacker(mount / "t", self.tar, self.unpacked)),
                 ("mapper", *writers.mapper(mount / "mapped", self.oracle / "mapped", SEED)),
                 ("unlinked", writers.unlinked_holder(mount / "u", SEED)),
                 ("locker", writers.locker(mount / "counter")),
                 ("runner", writers.runner(mount / "program", mount / "large"))]
        works += [(f"appender {who}", *writers.appender(log, who)) for who in range(APPENDERS)]
        started = [Writer(*work) for work in works]
        for writer in started:
            writer.start()
        return started

    def end_all(self, running: list[Writer], what: str) -> None:
        errors = [error for writer in running if (error := writer.end())]
        longest = max(running, key=lambda writer: writer.longest)
        print(f"{what}: {', '.join(f'{writer.name} {writer.rounds}' for writer in running)}; longest wait "
              f"{longest.longest * 1000:.0f} ms ({longest.name}: {longest.slowest})", file=sys.stderr)
        log = (self.store.dir / "run" / "server.log").read_text()[-6000:]
        self.assertEqual("\n".join(errors), "", log)
        self.assertLess(longest.longest, STALL, f"{[(w.name, round(w.longest, 3), w.slowest) for w in running]}\n{log}")

    def compare(self, mount: Path) -> None:
        for name in ("r1", "r2"):
            found, wanted = (trees.snapshot(folder / name) for folder in (mount, self.oracle))
            self.assertEqual(found.keys(), wanted.keys())
            for path in wanted:
                if path:
                    self.assertEqual((mount / name / os.fsdecode(path)).read_bytes(), (self.oracle / name / os.fsdecode(path)).read_bytes())
        self.assertEqual((mount / "mapped").read_bytes(), (self.oracle / "mapped").read_bytes())
        self.assertEqual(writers.appended(mount / "log" / "records", APPENDERS), "")
        self.assertEqual(harness.first_difference(self.unpacked, trees.snapshot(mount / "t" / "tree")), "")
        for path in (self.store.scratch / "image").iterdir():
            self.assertEqual((mount / path.name).read_bytes(), path.read_bytes())

    def compare_after_mounting_anew(self) -> None:
        with self.store.mounted("web") as mount:
            self.compare(mount)
            wanted = staged_inodes(mount)
            deadline = time.monotonic() + 5
            while (left := sum(1 for _ in (self.store.dir / "staged").glob("*/*"))) > wanted and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(left, wanted, "staged files, and inodes that need one")
        self.store.run("fsck")

    def wait_for_next_server(self, pid: int) -> None:
        deadline = time.monotonic() + 30
        while self.store.processes("server") in ([], [pid]) and time.monotonic() < deadline:
            time.sleep(0.005)

    def test_programs_do_not_notice_that_the_server_is_killed(self):
        with self.store.mounted("web") as mount:
            running = self.start_all(mount)
            rng = random.Random(SEED)
            for number in range(KILLS):
                if number % 3 == 2:  # while it starts: the one that was killed before has answered nobody again
                    time.sleep(rng.uniform(0.0, 0.15))
                else:
                    self.store.run("clones")  # it serves
                    time.sleep(rng.uniform(0.1, 1.0))
                pid = self.store.server()
                os.kill(pid, signal.SIGKILL)
                self.wait_for_next_server(pid)
            time.sleep(1)
            self.end_all(running, f"{KILLS} kills")
            self.compare(mount)
        self.compare_after_mounting_anew()

    def test_programs_do_not_notice_a_restart_or_an_upgrade(self):
        with self.store.mounted("web") as mount:
            running = self.start_all(mount)
            for what in ("restart", "upgrade", "restart", "upgrade"):
                time.sleep(1)
                self.store.run("daemon", what)
            time.sleep(1)
            self.end_all(running, "restarts")
            self.compare(mount)
        self.compare_after_mounting_anew()


if __name__ == "__main__":
    harness.main()
