#!/usr/bin/env python3
"""The server is killed again and again while programs write in a clone; they do not notice.

Wanted: every call returns what it would on any file system, nothing is lost or done twice, no call waits longer than a second.
The same while the daemon is restarted and upgraded. Afterwards the clone is what was written, `fsck` is clean, and no
staged file is left that no inode needs."""
import os
import random
import signal
import stat
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
from clone_load import CloneLoad
from harness import Store

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "25"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
STALL = 2.0 if harness.SANITIZED else 1.0  # seconds, the longest that one system call may take


def staged_inodes(mount: Path) -> int:
    found = set()
    for folder, _, files in os.walk(mount):
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and os.getxattr(path, "user.stellarium.body") in (b"staged", b"sparse"):
                found.add(os.lstat(path).st_ino)
    return len(found)


class CloneKill(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store()) if hasattr(self, "enterContext") else self.enter(Store())
        self.load = CloneLoad(self.store, SEED)

    def enter(self, context):
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    def end_all(self, what: str) -> None:
        errors, longest = self.load.end()
        print(f"{what}: {self.load.rounds()}; longest wait {longest.longest * 1000:.0f} ms ({longest.name}: {longest.slowest})", file=sys.stderr)
        log = (self.store.dir / "run" / "server.log").read_text()[-6000:]
        self.assertEqual(errors, "", log)
        self.assertLess(longest.longest, STALL, f"{[(w.name, round(w.longest, 3), w.slowest) for w in self.load.running]}\n{log}")

    def compare_after_mounting_anew(self) -> None:
        with self.store.mounted("web") as mount:
            self.load.compare(mount)
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
            self.load.start(mount)
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
            self.end_all(f"{KILLS} kills")
            self.load.compare(mount)
        self.compare_after_mounting_anew()

    def test_programs_do_not_notice_a_restart_or_an_upgrade(self):
        with self.store.mounted("web") as mount:
            self.load.start(mount)
            for what in ("restart", "upgrade", "restart", "upgrade"):
                time.sleep(1)
                self.store.run("daemon", what)
            time.sleep(1)
            self.end_all("restarts")
            self.load.compare(mount)
        self.compare_after_mounting_anew()


if __name__ == "__main__":
    harness.main()
