#!/usr/bin/env python3
"""The server is killed again and again while it settles what programs write, with and without a snapshot below.

Wanted: programs do not notice, every byte is there afterwards, `fsck --deep` is clean, and no staged file is left that no
inode needs."""
import os
import random
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import clone_writers as writers
import harness
import trees
from clone_kill_test import staged_inodes
from clone_writers import Writer
from harness import Store

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "20"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
ROUND = 40  # files of each round of new ones


class SettleKill(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store())
        self.store.environment["STELLARIUM_SETTLE_AFTER"] = "1"  # the daemon settles as well
        self.rng = random.Random(SEED)
        self.oracle = self.store.scratch / "oracle"
        self.oracle.mkdir()
        image = self.store.scratch / "image"
        image.mkdir()
        trees.write(image / "known", trees.noise(trees.MIB, seed=1))
        self.store.run("import", image, "base")
        self.store.run("clone", "base", "web")
        self.ending = threading.Event()

    def settle_all_the_time(self) -> None:
        """The command's own failure is none: its server may be killed."""
        while not self.ending.is_set():
            self.store.run("settle", expect=None)

    def write_files(self, mount: Path, number: int) -> None:
        for at in range(ROUND):
            size = self.rng.choice([0, 50, 3000, 40_000, 700_000])
            data = trees.noise(size, seed=number * ROUND + at + 10)
            path = f"f{number * ROUND + at}"
            (mount / path).write_bytes(data)
            (self.oracle / path).write_bytes(data)

    def change_files(self, mount: Path) -> None:
        for path in self.rng.sample(sorted(self.oracle.glob("f*")), 10):
            data, at = trees.noise(100, seed=self.rng.randrange(1000)), self.rng.randrange(path.stat().st_size + 1)
            for root in (mount, self.oracle):
                with open(root / path.name, "r+b") as file:
                    file.seek(at)
                    file.write(data)

    def compare(self, mount: Path) -> None:
        for path in sorted(self.oracle.glob("f*")):
            self.assertEqual((mount / path.name).read_bytes(), path.read_bytes(), path.name)
        self.assertEqual((mount / "mapped").read_bytes(), (self.oracle / "mapped").read_bytes())

    def kill_while_settling(self, mount: Path, kills: int) -> None:
        running = [Writer("replacer", writers.replacer(mount / "r", self.oracle / "r", SEED)),
                   Writer("mapper", *writers.mapper(mount / "mapped", self.oracle / "mapped", SEED)),
                   Writer("unlinked", writers.unlinked_holder(mount / "u", SEED))]
        for writer in running:
            writer.start()
        settling = threading.Thread(target=self.settle_all_the_time)
        self.ending.clear()
        settling.start()
        for number in range(kills):
            self.write_files(mount, number)
            if number:
                self.change_files(mount)
            time.sleep(self.rng.uniform(0, 0.4))
            pid = self.store.server()
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while self.store.processes("server") in ([], [pid]) and time.monotonic() < deadline:
                time.sleep(0.005)
        self.ending.set()
        settling.join()
        errors = [error for writer in running if (error := writer.end())]
        self.assertEqual(errors, [], (self.store.dir / "run" / "server.log").read_text()[-6000:])

    def end(self) -> None:
        with self.store.mounted("web") as mount:
            trees.drop_caches()
            self.compare(mount)
            self.store.run("settle")
            self.compare(mount)
            deadline = time.monotonic() + 10
            while (left := sum(1 for _ in (self.store.dir / "staged").glob("*/*"))) > (wanted := staged_inodes(mount)) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(left, wanted, "staged files, and inodes that need one")
            trees.drop_caches()
            self.compare(mount)
        self.store.run("gc")
        with self.store.mounted("web") as mount:
            self.compare(mount)
        self.store.run("fsck", "--deep")

    def test_nothing_is_lost(self):
        with self.store.mounted("web") as mount:
            self.kill_while_settling(mount, KILLS)
            self.compare(mount)
        self.end()

    def test_nothing_is_lost_above_a_snapshot(self):
        with self.store.mounted("web") as mount:
            self.write_files(mount, 0)
            before = {path.name: path.read_bytes() for path in self.oracle.glob("f*")}
        self.store.run("snapshot", "web@one")
        with self.store.mounted("web") as mount:
            for path in sorted(before)[::2]:
                (mount / path).chmod(0o600)  # copies the record up, not the bytes
            self.kill_while_settling(mount, KILLS // 2)
            self.compare(mount)
        self.end()
        self.store.run("rollback", "web@one")
        with self.store.mounted("web") as mount:
            for name, data in before.items():
                self.assertEqual((mount / name).read_bytes(), data, name)
        self.store.run("rm", "web")
        self.store.run("gc")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.main()
