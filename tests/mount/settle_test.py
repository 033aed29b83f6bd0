#!/usr/bin/env python3
"""Settling: what a clone wrote becomes contents of the store, and nobody who uses the clone notices."""
import ctypes
import mmap
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

import harness
import trees
from harness import Store

harness.require_mounts()


def with_ctime(root: Path) -> dict:
    """What `trees.snapshot` leaves out, but programs may see."""
    return {path: (entry, os.lstat(os.path.join(os.fsencode(root), path)).st_ctime_ns, os.lstat(os.path.join(os.fsencode(root), path)).st_ino)
            for path, entry in trees.snapshot(root).items()}


def write_tree(root: Path) -> None:
    """Sizes around every limit, holes, attributes, links, a program."""
    root.mkdir()
    for size in (0, 1, 64, 65, 4096, 16_384, 16_385, 65_536, 65_537, 300_000, 5 * trees.MIB):
        trees.write(root / f"size{size}", trees.noise(size, seed=size + 1), 0o640)
    trees.sparse(root / "sparse", 40 * trees.MIB, {0: b"begin", 20 * trees.MIB: trees.noise(100_000, seed=3)})
    trees.sparse(root / "hole", trees.MIB, {})
    shutil.copy("/usr/bin/true", root / "program")
    os.link(root / "size300000", root / "link")
    os.setxattr(root / "size4096", "user.note", b"kept")
    os.chown(root / "size65", 1000, 1001)
    os.utime(root / "size64", ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))


class Settle(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store())
        self.store.environment["STELLARIUM_SETTLE_AFTER"] = "never"
        image = self.store.scratch / "image"
        image.mkdir()
        trees.write(image / "known", trees.noise(3 * trees.MIB, seed=1))
        self.store.run("import", image, "base")
        self.store.run("clone", "base", "web")

    def staged(self) -> int:
        files = self.store.json("stats")["staged"]["files"]
        self.assertEqual(files, sum(1 for _ in (self.store.dir / "staged").glob("*/*")))
        return files

    def body(self, path: Path) -> str:
        return os.getxattr(path, "user.stellarium.body").decode()

    def settle(self, *names) -> dict:
        time.sleep(0.1)  # the kernel tells of the last close a little later
        return self.store.json("settle", *names)

    def test_what_was_written_is_the_same_afterwards(self):
        with self.store.mounted("web") as mount:
            write_tree(mount / "tree")
            before = with_ctime(mount / "tree")
            self.assertGreater(self.staged(), 10)
            report = self.settle("web")
            self.assertEqual(report["busy"], 0)
            self.assertEqual(report["failed"], 0)
            self.assertGreater(report["files"], 10)
            self.assertEqual(self.staged(), 0)
            self.assertEqual(with_ctime(mount / "tree"), before)
            self.assertEqual(subprocess.run([mount / "tree" / "program"]).returncode, 0)
            self.assertLess(os.stat(mount / "tree" / "sparse").st_blocks * 512, trees.MIB)
            self.assertEqual(self.settle()["files"], 0)
        with self.store.mounted("web") as mount:
            trees.drop_caches()
            self.assertEqual(with_ctime(mount / "tree"), before)
            os.kill(self.store.server(), signal.SIGKILL)
            trees.drop_caches()
            self.assertEqual(with_ctime(mount / "tree"), before)
            (mount / "tree" / "size300000").write_bytes(b"written again")
            self.assertEqual((mount / "tree" / "link").read_bytes(), b"written again")
        self.store.run("fsck", "--deep")

    def test_known_bytes_cost_nothing(self):
        with self.store.mounted("web") as mount:
            (mount / "copy").write_bytes((mount / "known").read_bytes())
            (mount / "twice").write_bytes(trees.noise(2 * trees.MIB, seed=9))
            (mount / "again").write_bytes(trees.noise(2 * trees.MIB, seed=9))
            report = self.settle()
            self.assertEqual(report["bytes"], 7 * trees.MIB)
            self.assertEqual(report["bytes_new"], 2 * trees.MIB)
            self.assertEqual(os.getxattr(mount / "copy", "user.stellarium.content"), os.getxattr(mount / "known", "user.stellarium.content"))

    def test_damage_to_what_was_settled_is_named(self):
        data = trees.noise(200_000, seed=77)
        with self.store.mounted("web") as mount:
            os.mkdir(mount / "folder")
            for path, written in ((mount / "sound", trees.noise(200_000, seed=78)), (mount / "folder" / "mine", data)):
                path.write_bytes(written)  # settled one after the other: no frame has chunks of both
                self.assertEqual(self.settle("web")["files"], 1)
        self.store.run("snapshot", "web@then")
        self.store.run("clone", "web@then", "other")
        self.store.stop()
        for segment in (self.store.dir / "segments").iterdir():
            with open(segment, "r+b") as file:
                if (at := file.read().find(data[1000:1100])) >= 0:
                    file.seek(at)
                    file.write(bytes([data[1000] ^ 1]))
        found = self.store.run("fsck", "--deep", expect=4).stdout.decode()
        self.assertEqual(sorted(line.split()[1:] for line in found.splitlines() if line.startswith("lost:")),
                         [["other", "/folder/mine"], ["web", "/folder/mine"], ["web@then", "/folder/mine"]], found)

    def test_files_in_use_are_busy_and_go_on(self):
        with self.store.mounted("web") as mount:
            (mount / "mapped").write_bytes(bytes(trees.MIB))
            with open(mount / "log", "wb", buffering=0) as log, open(mount / "mapped", "r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0)
                file.close()
                log.write(b"one")
                report = self.settle()
                self.assertEqual((report["files"], report["busy"]), (0, 2))
                self.assertEqual(self.body(mount / "log"), "staged")
                log.write(b"two")
                mapped[5:9] = b"five"
                mapped.close()
            self.assertEqual(self.settle()["files"], 2)
            trees.drop_caches()
            self.assertEqual((mount / "log").read_bytes(), b"onetwo")
            self.assertEqual((mount / "mapped").read_bytes()[5:9], b"five")

    def test_a_mapping_that_outlives_its_handle_keeps_its_file(self):
        libc = ctypes.CDLL(None, use_errno=True)  # Python's own mapping keeps a handle
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        with self.store.mounted("web") as mount:
            path = mount / "mapped"
            path.write_bytes(bytes(trees.MIB))
            written = path.stat().st_mtime_ns
            file = os.open(path, os.O_RDWR)
            address = libc.mmap(None, trees.MIB, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
            self.assertNotIn(address, (None, ctypes.c_void_p(-1).value))
            os.close(file)
            time.sleep(0.1)
            ctypes.memmove(address, b"first", 5)
            time.sleep(0.1)
            self.assertGreater(path.stat().st_mtime_ns, written)
            for step, text in enumerate((b"second", b"third!")):
                report = self.store.json("settle")
                self.assertEqual((report["files"], report["busy"]), (0, 1))
                ctypes.memmove(address + 10 * step + 10, text, 6)  # the page is writable: no time changes
                if step == 0:
                    os.kill(self.store.server(), signal.SIGKILL)
            self.assertEqual(libc.munmap(address, trees.MIB), 0)
            self.assertEqual(self.settle()["files"], 1)
            trees.drop_caches()
            self.assertEqual(path.read_bytes()[:30], b"first".ljust(10, b"\0") + b"second".ljust(10, b"\0") + b"third!".ljust(10, b"\0"))

    def test_readers_and_writers_go_on_while_it_settles(self):
        """Every file always holds its number and its version, over and over; writers replace, overwrite and truncate them."""
        versions = [0] * 12
        deadline = time.monotonic() + (5 if harness.SANITIZED else 8)
        errors = []

        def content(number: int, version: int) -> bytes:
            return f"{number}:{version};".encode() * (20_000 if number % 3 else 5)

        def write(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < deadline and not errors:
                path, version = mount / f"f{number}", versions[number] + 1
                if rng.random() < 0.5:
                    (mount / f"new{number}").write_bytes(content(number, version))
                    os.rename(mount / f"new{number}", path)
                else:
                    with open(path, "r+b") as file:
                        file.write(content(number, version))
                        file.truncate()
                versions[number] = version
                time.sleep(rng.uniform(0, 0.1))

        def read() -> None:
            rng = random.Random(99)
            while time.monotonic() < deadline and not errors:
                number = rng.randrange(len(versions))
                found = (mount / f"still{number}").read_bytes()
                if found != content(number, 0):
                    errors.append(f"still{number} has {found[:50]!r}")
                (mount / f"still{number}").stat()

        def guarded(work, *args):
            try:
                work(*args)
            except BaseException as error:
                errors.append(repr(error))

        with self.store.mounted("web") as mount:
            for number in range(len(versions)):
                (mount / f"f{number}").write_bytes(content(number, 0))
                (mount / f"still{number}").write_bytes(content(number, 0))
            threads = [threading.Thread(target=guarded, args=(write, number)) for number in range(len(versions))]
            threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            settled = 0
            while time.monotonic() < deadline and not errors:
                settled += self.store.json("settle")["files"]
                trees.drop_caches()
            for thread in threads:
                thread.join()
            self.assertEqual(errors, [])
            self.assertGreater(settled, len(versions))
            self.settle()
            trees.drop_caches()
            for number, version in enumerate(versions):
                self.assertEqual((mount / f"f{number}").read_bytes(), content(number, version))
            deadline = time.monotonic() + 10  # those of replaced files go with the next sync
            while any((self.store.dir / "staged").glob("*/*")) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(self.staged(), 0)
        self.store.run("fsck", "--deep")

    def test_snapshots_and_unmounted_clones(self):
        with self.store.mounted("web") as mount:
            write_tree(mount / "tree")
            first = with_ctime(mount / "tree")
        self.store.run("snapshot", "web@one")
        self.store.run("clone", "web@one", "other")
        with self.store.mounted("web") as mount, self.store.mounted("other") as other:
            (mount / "tree" / "size4096").chmod(0o600)
            (other / "tree" / "size4096").chmod(0o644)
            (mount / "tree" / "size65536").write_bytes(b"of web")
            changed = with_ctime(mount / "tree")
            report = self.settle("web")
            self.assertEqual(report["busy"], 0)
            self.assertEqual(self.staged(), 0)
            trees.drop_caches()
            self.assertEqual(with_ctime(mount / "tree"), changed)
            (other / "tree" / "size4096").write_bytes(b"of other")
            self.assertEqual((mount / "tree" / "size4096").read_bytes(), trees.noise(4096, seed=4097))
        self.assertEqual(self.settle()["files"], 1)
        self.store.run("rollback", "web@one")
        with self.store.mounted("web") as mount:
            self.assertEqual(with_ctime(mount / "tree"), first)
            (mount / "tree" / "size65").write_bytes(b"new")
        self.store.run("gc")
        self.store.run("rm", "other")
        self.store.run("fsck", "--deep")
        self.assertEqual(self.settle()["files"], 1)
        self.store.run("rm", "web")
        self.assertEqual(self.settle()["files"], 0)
        self.store.wait_until_cleaned()
        self.assertEqual(self.staged(), 0)
        self.assertIn("there is no clone", self.store.refuses("settle", "web"))

    def test_many_small_files(self):
        with self.store.mounted("web") as mount:
            count = 2000 if harness.SANITIZED else 20_000
            for number in range(count):
                if number % 1000 == 0:
                    (mount / f"d{number // 1000}").mkdir()
                (mount / f"d{number // 1000}" / f"f{number}").write_bytes(b"%d " % number * 50)
            report = self.settle()
            self.assertEqual((report["files"], report["busy"]), (count, 0))
            print(f"{count} files settled in {report['seconds']:.2f} s")
            trees.drop_caches()
            for number in range(0, count, 97):
                self.assertEqual((mount / f"d{number // 1000}" / f"f{number}").read_bytes(), b"%d " % number * 50)

    def test_the_daemon_settles_by_itself(self):
        self.store.stop()
        self.store.wait_until_gone()
        self.store.environment["STELLARIUM_SETTLE_AFTER"] = "1"
        with self.store.mounted("web") as mount:
            write_tree(mount / "tree")
            before = with_ctime(mount / "tree")
            with open(mount / "busy", "wb") as busy:
                busy.write(b"x")
                busy.flush()
                deadline = time.monotonic() + 30
                while sum(1 for _ in (self.store.dir / "staged").glob("*/*")) > 1 and time.monotonic() < deadline:
                    time.sleep(0.2)
                self.assertEqual(self.staged(), 1)
                self.assertEqual(self.body(mount / "busy"), "staged")
            self.assertEqual(with_ctime(mount / "tree"), before)

    def test_the_closing_line(self):
        with self.store.mounted("web") as mount:
            (mount / "file").write_bytes(trees.noise(trees.MIB, seed=5))
            time.sleep(0.1)
            self.assertRegex(self.store.run("settle").stdout.decode(), r"^settled 1 files, 1\.00 MiB; 1\.00 MiB new, stored as 1\.\d+ MiB; 0\.\d s\n$")


if __name__ == "__main__":
    harness.main()
