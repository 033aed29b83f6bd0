#!/usr/bin/env python3
"""Large files of an image that a clone writes: nothing is copied for it, and nobody can tell."""
import mmap
import os
import random
import shutil
import signal
import time
import unittest
from pathlib import Path

import harness
import syscalls
import trees
from harness import Store

harness.require_mounts()
MIB = trees.MIB
SIZE = 24 * MIB + 1234
PUNCH, ZERO = 3, 16
STEPS = 150 if harness.SANITIZED else 500


class LargeFiles(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store())
        self.store.environment["STELLARIUM_SETTLE_AFTER"] = "never"
        image = self.store.scratch / "image"
        image.mkdir()
        trees.write(image / "large", trees.noise(SIZE, seed=1))
        trees.sparse(image / "holes", 64 * MIB, {0: b"begin", 30 * MIB: trees.noise(100_000, seed=3)})
        self.store.run("import", image, "base")
        self.store.run("clone", "base", "web")
        self.twin = self.store.scratch / "twin"
        shutil.copy(image / "large", self.twin)

    def staged_bytes(self) -> int:
        return self.store.json("stats")["staged"]["bytes"]

    def body(self, path: Path) -> str:
        return os.getxattr(path, "user.stellarium.body").decode()

    def same(self, path: Path) -> None:
        self.assertEqual(path.stat().st_size, self.twin.stat().st_size)
        self.assertEqual(trees.digest(os.fsencode(path)), trees.digest(os.fsencode(self.twin)))

    def test_the_first_write_takes_its_own_bytes_only(self):
        with self.store.mounted("web") as mount:
            for path in (mount / "large", self.twin):
                with open(path, "r+b") as file:
                    file.seek(12 * MIB - 3)
                    file.write(b"across two places")
            self.assertEqual(self.body(mount / "large"), "sparse")
            self.assertLessEqual(self.staged_bytes(), 64 << 10)
            self.same(mount / "large")
            trees.drop_caches()
            self.same(mount / "large")
            self.assertGreater((mount / "large").stat().st_blocks * 512, SIZE - MIB)
            self.store.run("gc")  # nothing but the record of the written file needs the content by name
            self.store.run("tier", "evict")
            trees.drop_caches()
            self.same(mount / "large")
            self.assertEqual(self.store.run("cat", "web", "/large", text=False).stdout, self.twin.read_bytes())
            self.assertEqual(self.store.json("settle")["files"], 1)
            self.assertEqual(self.staged_bytes(), 0)
            trees.drop_caches()
            self.same(mount / "large")
        self.store.run("fsck", "--deep")

    def test_holes_of_the_content_are_found_until_they_are_written(self):
        with self.store.mounted("web") as mount:
            with open(mount / "holes", "r+b") as file:
                file.seek(50 * MIB)
                file.write(b"here")
                file.flush()
                self.assertEqual(os.lseek(file.fileno(), MIB, os.SEEK_DATA) // MIB, 30)
                self.assertEqual(os.lseek(file.fileno(), 31 * MIB, os.SEEK_DATA) // MIB, 50)
                self.assertEqual(os.lseek(file.fileno(), 50 * MIB, os.SEEK_HOLE) - 50 * MIB, 4096)
                with self.assertRaises(OSError):
                    os.lseek(file.fileno(), 51 * MIB, os.SEEK_DATA)
            self.assertLess((mount / "holes").stat().st_blocks * 512, MIB)
            self.assertEqual(self.store.json("settle")["files"], 1)
            self.assertLess((mount / "holes").stat().st_blocks * 512, MIB)

    def test_a_snapshot_keeps_what_it_had(self):
        with self.store.mounted("web") as mount:
            for path in (mount / "large", self.twin):
                with open(path, "r+b") as file:
                    file.write(b"before")
            self.store.run("snapshot", "web@then")
            with open(mount / "large", "r+b") as file:
                file.seek(5 * MIB)
                file.write(b"after")
            self.assertLessEqual(self.staged_bytes(), 64 << 10)
            self.store.run("clone", "web@then", "old")
            with self.store.mounted("old") as old:
                self.same(old / "large")
                with open(old / "large", "r+b") as file:
                    file.write(b"others")
            with open(self.twin, "r+b") as file:
                file.seek(5 * MIB)
                file.write(b"after")
            self.same(mount / "large")
        for step in ("rm web@then", "settle", "gc"):
            self.store.run(*step.split())
        with self.store.mounted("web") as mount:
            self.same(mount / "large")
        self.store.run("fsck", "--deep")

    def test_a_file_that_is_written_much_becomes_whole_again(self):
        with self.store.mounted("web") as mount:
            data = trees.noise(17 * MIB, seed=2)
            for path in (mount / "large", self.twin):
                with open(path, "r+b") as file:
                    file.write(data)
            written = (mount / "large").stat().st_mtime_ns
            deadline = time.monotonic() + 60
            while self.body(mount / "large") != "staged":
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            self.assertEqual((mount / "large").stat().st_mtime_ns, written)
            self.assertGreaterEqual(self.staged_bytes(), SIZE)
            self.same(mount / "large")
            for path in (mount / "large", self.twin):
                with open(path, "r+b") as file:  # passed through now
                    file.seek(20 * MIB)
                    file.write(b"again")
            trees.drop_caches()
            self.same(mount / "large")
            os.kill(self.store.server(), signal.SIGKILL)
            self.same(mount / "large")
        with self.store.mounted("web") as mount:
            self.same(mount / "large")

    def test_whatever_is_done_to_it_reads_as_on_ext4(self):
        """Writes in every way, truncations, allocations; servers are killed, snapshots and settling come in between."""
        rng = random.Random(5)
        noise = trees.noise(400_000, seed=8)
        with self.store.mounted("web") as mount:
            paths = (mount / "large", self.twin)
            for step in range(STEPS):
                offset, length = rng.randrange(SIZE + 2 * MIB), rng.choice((1, 700, 4096, 5000, 60_000, 300_000))
                pick, data = rng.random(), noise[rng.randrange(1000):][:length]
                aligned = offset // 4096 * 4096
                to = rng.randrange(4 * MIB + 1, SIZE + 2 * MIB)
                for path in paths:
                    fd = os.open(path, os.O_RDWR)
                    try:
                        if pick < 0.4:
                            os.pwrite(fd, data, offset)
                        elif pick < 0.5:
                            with mmap.mmap(fd, 0) as mapped:
                                part = data[:max(0, len(mapped) - offset)]
                                mapped[min(offset, len(mapped)):min(offset, len(mapped)) + len(part)] = part
                        elif pick < 0.6:
                            os.ftruncate(fd, to)
                        elif pick < 0.7:
                            syscalls.fallocate(fd, PUNCH, offset, length)
                        elif pick < 0.75:
                            syscalls.fallocate(fd, ZERO, offset, length)
                        elif pick < 0.8:
                            syscalls.fallocate(fd, 0, offset, length)
                        elif pick < 0.85:
                            direct = os.open(path, os.O_WRONLY | os.O_DIRECT)
                            with mmap.mmap(-1, 8192) as page:
                                page[:] = noise[step:step + 8192]
                                os.pwrite(direct, page, aligned)
                            os.close(direct)
                        elif pick < 0.9:
                            os.copy_file_range(fd, fd, length, aligned % (SIZE // 2), SIZE // 2 + MIB)
                        elif pick < 0.95:
                            os.fsync(fd)
                    finally:
                        os.close(fd)
                if pick >= 0.99:
                    os.kill(self.store.server(), signal.SIGKILL)
                elif pick >= 0.98:
                    self.store.run("snapshot", f"web@s{step}")
                elif pick >= 0.96:
                    time.sleep(0.1)
                    self.store.run("settle", "web")
                if step % 50 == 0:
                    if step % 100 == 0:
                        trees.drop_caches()
                    self.same(mount / "large")
            self.same(mount / "large")
            trees.drop_caches()
            self.same(mount / "large")
        with self.store.mounted("web") as mount:
            self.same(mount / "large")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.main()
