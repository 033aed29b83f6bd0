#!/usr/bin/env python3
"""A store on a small disk that fills up: one clear line, nothing half, and it works again once there is room."""
import contextlib
import os
import re
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
ENTRIES = 8000
COARSE, FINE = 768 * 1024, 32 * 1024  # bytes by which the room grows


@contextlib.contextmanager
def small_disk(scratch: Path, *options: str, size: int = SIZE, mount: str = "loop", reserved: int = 0):
    """An ext4 of SIZE bytes, `reserved` percent of its blocks root's, mounted."""
    image, where = scratch / "disk.img", scratch / "disk"
    with open(image, "wb") as file:
        file.truncate(size)
    where.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", str(reserved), *options, image], check=True)
    subprocess.run(["mount", "-o", mount, image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where])


def leave(filler: Path, room: int) -> None:
    """Takes all but `room` bytes."""
    fill(filler)
    short = room - os.statvfs(filler.parent).f_bavail * os.statvfs(filler.parent).f_frsize
    if short > 0:
        os.truncate(filler, max(0, filler.stat().st_size - short))


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
                    leave(filler, room * trees.MIB)
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


    def test_the_disk_fills_up_at_every_moment_of_an_import(self):
        """Many names and few bytes: what fills the disk are scratch files, tables, the log and the journal as much as segments."""
        with Store() as outside, small_disk(outside.scratch) as disk, Store(parent=disk) as store:
            small, many = outside.scratch / "small", outside.scratch / "many"
            small.mkdir()
            trees.write(small / "file", trees.text(100_000, seed=1))
            store.run("import", small, "small")
            expected = trees.snapshot(small)
            for number in range(ENTRIES):
                folder = many / f"{number % 20}"
                folder.mkdir(parents=True, exist_ok=True)
                name = f"{trees.noise(60, seed=number).hex()}-{number}"
                trees.write(folder / name, trees.noise(2000, seed=number) if number % 4 == 0 else b"")
            reasons = set()
            room = 0
            while not self.imports_into(room, many, store, expected, reasons):
                room += COARSE
            store.run("rm", "many")
            store.run("gc")
            # The last steps once more, closely: sorted tables, the database's log, the names journal.
            for room in range(room - COARSE - COARSE // 2, room + COARSE, FINE):
                if self.imports_into(room, many, store, expected, reasons):
                    break
            print("the disk was full for:", ", ".join(sorted(reasons)), file=sys.stderr)
            store.run("fsck", "--deep")
            with store.mounted("many") as mount:
                self.assertEqual(harness.first_difference(trees.snapshot(many), trees.snapshot(mount)), "")

    def imports_into(self, room: int, tree: Path, store: Store, expected: dict, reasons: set) -> bool:
        """Whether `tree` can be imported with so much room; if not, the store must be as it was, and work once there is room."""
        filler = store.root.parent / "filler"
        leave(filler, room)
        done = store.run("import", "--rehash", tree, "many", expect=None)
        if done.returncode != 0:
            self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), done.stderr)
            self.assertRegex(done.stderr, b"No space left")
            reasons.add(re.sub(r"/\S*/|member \S+|\d+", "", done.stderr.decode().split(str(tree))[-1]).strip(": \n")[:60])
            self.assertEqual([image["name"] for image in store.json("images")["images"]], ["small"])
            self.assertEqual(os.listdir(store.dir / "tmp"), [])
            with store.mounted("small") as mount:
                self.assertEqual(harness.first_difference(expected, trees.snapshot(mount)), "")
        filler.unlink()
        if done.returncode != 0:
            store.run("gc")
            store.run("fsck")
        return done.returncode == 0

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
