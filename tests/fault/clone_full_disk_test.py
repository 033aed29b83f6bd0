#!/usr/bin/env python3
"""A clone on a small disk that its programs fill up.

Wanted: ENOSPC from the call that does not fit, which then has not happened; everything before it is intact; what is removed
gives its space back within seconds, and work goes on."""
import contextlib
import errno
import os
import shutil
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import full_disk_test
import harness
import trees
from harness import Store

harness.require_mounts()
harness.require(os.path.exists("/dev/loop-control"), "no loop devices")
FILE = 2 * trees.MIB
NAMES = 60_000  # more than the database's log has room for on a full disk
FAILURES = 3
PATIENCE = 5.0  # seconds until removed files have given their space back


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def out_of_space(call, *args) -> bool:
    """Whether it failed for want of space; any other error is one."""
    try:
        call(*args)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


def write_blocks(path: Path, data: bytes) -> int | None:
    """Writes until it is done or the disk is full; returns how much the calls said, nothing if the file could not be made."""
    done = 0
    with contextlib.suppress(BlockingIOError):
        try:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        except OSError as error:
            if error.errno != errno.ENOSPC or os.path.lexists(path):
                raise
            return None
        try:
            while done < len(data):
                done += os.write(fd, data[done:done + 65536])
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)
    return done


class CloneFullDisk(unittest.TestCase):
    def test_a_clone_fills_the_disk_and_goes_on_after_files_were_removed(self):
        with Store() as outside, full_disk_test.small_disk(outside.scratch) as disk, Store(parent=disk) as store:
            image = outside.scratch / "image"
            image.mkdir()
            for number in range(20):
                trees.write(image / f"i{number}", trees.noise(100_000, seed=number))
            store.run("import", image, "base")
            store.run("clone", "base", "web")
            with store.mounted("web") as mount:
                os.mkdir(mount / "names")
                with open(mount / "hog", "wb", buffering=0) as hog:  # open before the mark: passed through to the last byte
                    written = self.fill(mount)
                    with self.assertRaisesRegex(OSError, "No space left"):
                        while True:
                            hog.write(b"x" * (trees.MIB if free_bytes(disk) > 2 * trees.MIB else 4096))
                self.assertLess(free_bytes(disk), trees.MIB)
                server = store.server()  # the hog may have taken the room that settling needed: that ends a server, and the next one goes on
                made = self.make_names(mount)
                self.assertEqual(store.server(), server, "names that do not fit ended a server")
                self.compare(mount, image, written, made)
                full_disk_test.fill(disk / "filler")  # to the last byte, also what the ballast gave up
                self.remove_half(store, mount, written)
                self.compare(mount, image, written, made)
                trees.write(mount / "after", trees.noise(10 * trees.MIB, seed=5))
                os.mkdir(mount / "after-folder")
            with store.mounted("web") as mount:
                self.compare(mount, image, written, made)
                self.assertEqual((mount / "after").read_bytes(), trees.noise(10 * trees.MIB, seed=5))
                shutil.rmtree(mount / "names")
            store.run("fsck")

    def fill(self, mount: Path) -> dict[str, int]:
        """Files of noise until one does not fit; returns how many bytes of each were taken."""
        written = {}
        for number in range(1000):
            data = trees.noise(FILE, seed=number)
            done = write_blocks(mount / f"w{number}", data)
            if done is not None:
                written[f"w{number}"] = done
            if done != FILE:
                self.assertGreater(number, 20)
                self.assertTrue(out_of_space(self.append, mount / "w0", b"x" * trees.MIB))
                written["w0"] = os.stat(mount / "w0").st_size  # what fitted of the last one
                return written
        self.fail("the disk does not fill up")

    @staticmethod
    def append(path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            while data:
                data = data[os.write(fd, data):]
        finally:
            os.close(fd)

    def make_names(self, mount: Path) -> set[str]:
        """Folders and files until one more cannot be made; none of those that failed is there."""
        made, failed = set(), 0
        for number in range(NAMES):
            name = f"{number}-{'n' * 200}"
            path = mount / "names" / name
            makers = [os.mkdir, lambda at: os.close(os.open(at, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))]
            if out_of_space(*([makers[number % 8], path] if number % 8 < 2 else [os.symlink, "x" * 4000, path])):
                failed += 1
                self.assertFalse(os.path.lexists(path), f"a call failed, and made {name}")
                if failed == FAILURES:
                    break
            else:
                made.add(name)
        print(f"{len(made)} names fitted on the full disk, {failed} did not", file=sys.stderr)
        return made

    def compare(self, mount: Path, image: Path, written: dict[str, int], made: set[str]) -> None:
        for path in image.iterdir():
            self.assertEqual((mount / path.name).read_bytes(), path.read_bytes())
        for name, size in written.items():
            found = (mount / name).read_bytes()
            self.assertEqual(len(found), size, name)
            whole = trees.noise(FILE, seed=int(name[1:])) + b"x" * trees.MIB
            self.assertEqual(found, whole[:size], name)
        self.assertEqual(set(os.listdir(mount / "names")), made)

    def remove_half(self, store: Store, mount: Path, written: dict[str, int]) -> None:
        before = free_bytes(mount)
        gone = [name for name in written if int(name[1:]) % 2]
        freed = sum(written.pop(name) for name in gone)
        for name in gone:
            os.unlink(mount / name)  # a full disk is no reason to refuse this
        deadline = time.monotonic() + PATIENCE
        while free_bytes(mount) < before + freed * 0.7 and time.monotonic() < deadline:
            time.sleep(0.1)
        if free_bytes(mount) < before + freed * 0.7:
            store.run("gc")  # above the mark the daemon settles by itself: those bytes are the store's now
        # The ballast takes its part back.
        self.assertGreater(free_bytes(mount), before + freed * 0.7, "the space of removed files did not come back")


if __name__ == "__main__":
    harness.main()
