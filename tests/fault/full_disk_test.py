#!/usr/bin/env python3
"""A store on a small disk that fills up: one clear line, nothing half, and it works again once there is room."""
import contextlib
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import trees
from harness import Store

harness.require_mounts()
harness.require(os.path.exists("/dev/loop-control"), "no loop devices")
SIZE = 192 * trees.MIB


@contextlib.contextmanager
def small_disk(scratch: Path):
    """An ext4 of SIZE bytes without reserved blocks, mounted."""
    image, where = scratch / "disk.img", scratch / "disk"
    with open(image, "wb") as file:
        file.truncate(SIZE)
    where.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where])


class FullDisk(unittest.TestCase):
    def test_an_import_that_does_not_fit_is_refused_at_every_amount_of_room(self):
        with Store() as outside, small_disk(outside.scratch) as disk, Store(parent=disk) as store:
            large = outside.scratch / "large"
            large.mkdir()
            for number in range(24):
                trees.write(large / f"{number}", trees.noise(6 * trees.MIB, seed=number))
            small = outside.scratch / "small"
            small.mkdir()
            trees.write(small / "file", trees.text(100_000, seed=1))
            store.run("import", small, "small")
            expected = trees.snapshot(small)

            filler = disk / "filler"
            for room in (64, 33, 17, 9, 5, 3, 2, 1):  # MiB left for the store
                with self.subTest(room=room):
                    take = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - room * trees.MIB
                    if take > 0:
                        with open(filler, "wb") as file:
                            os.posix_fallocate(file.fileno(), 0, take)
                    line = store.refuses("import", large, "large")
                    self.assertRegex(line.lower(), "space|full")
                    self.assertEqual([image["name"] for image in store.json("images")["images"]], ["small"])
                    store.run("fsck")
                    with store.mounted("small") as mount:
                        self.assertEqual(harness.first_difference(expected, trees.snapshot(mount)), "")
                    filler.unlink(missing_ok=True)
                    store.run("gc")
            tiny = outside.scratch / "tiny"
            tiny.mkdir()
            trees.write(tiny / "file", trees.noise(trees.MIB, seed=77))
            store.run("import", tiny, "after")
            with store.mounted("after") as mount:
                self.assertEqual(harness.first_difference(trees.snapshot(tiny), trees.snapshot(mount)), "")


if __name__ == "__main__":
    harness.main()
