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


def fill(filler: Path) -> None:
    """Takes every byte that is left."""
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * (trees.MIB if os.fstatvfs(file.fileno()).f_bavail > 512 else 4096))


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


    def test_rm_and_gc_free_a_disk_that_is_full_to_the_last_byte(self):
        with Store() as outside, small_disk(outside.scratch) as disk, Store(parent=disk) as store:
            for name, seed in (("kept", 1), ("dropped", 2)):
                tree = outside.scratch / name
                tree.mkdir()
                for number in range(8):
                    trees.write(tree / f"{number}", trees.noise(3 * trees.MIB, seed=10 * seed + number), 0o755)
                store.run("import", tree, name)
            held = store.json("stats")["ballast"]
            self.assertEqual(held["held_bytes"], held["bytes"])
            self.assertGreater(held["bytes"], 8 * trees.MIB)

            log = store.dir / "run" / "server.log"
            for how in ("nothing but the ballast can go", "hot files go first", "the daemon starts on it"):
                with self.subTest(how):
                    if how == "hot files go first":
                        store.run("tier", "warm", "kept")
                    if how == "the daemon starts on it":
                        store.stop()
                    before = log.read_text().count("gave up")
                    fill(disk / "filler")
                    store.run("rm", "dropped")
                    given_up = log.read_text().count("gave up") - before
                    self.assertEqual(given_up == 0, how == "hot files go first")
                    if how == "hot files go first":
                        self.assertEqual(store.json("stats")["tier"]["hot_files"], 0)
                    store.run("gc")
                    store.run("fsck", "--deep")
                    (disk / "filler").unlink()
                    store.run("import", outside.scratch / "dropped", "dropped")
                    self.assertEqual(store.json("stats")["ballast"], held)
                    with store.mounted("kept") as mount:
                        self.assertEqual(harness.first_difference(trees.snapshot(outside.scratch / "kept"), trees.snapshot(mount)), "")


if __name__ == "__main__":
    harness.main()
