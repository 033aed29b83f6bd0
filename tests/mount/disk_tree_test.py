#!/usr/bin/env python3
"""Files of a disk image are taken without mounting it: they are what the kernel shows, and an image that lies is refused."""
import contextlib
import random
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
import trees
from harness import Store, first_difference

harness.require_mounts()
KINDS = {"ext4": ["-t", "ext4"], "ext4, data in inodes": ["-t", "ext4", "-O", "inline_data"], "ext4, large attributes": ["-t", "ext4", "-O", "ea_inode"],
         "ext3": ["-t", "ext3"], "ext2, small inodes": ["-t", "ext2", "-I", "128"]}
FLIPS = 60 if harness.SANITIZED else 300
if harness.SANITIZED:  # one for each way in which bytes and attributes are kept
    del KINDS["ext2, small inodes"]


@contextlib.contextmanager
def mounted(image: Path):
    where = Path(tempfile.mkdtemp(prefix="disk-", dir=image.parent))
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        where.rmdir()


def make(image: Path, options: list[str], size: int = 300 * trees.MIB, block: int = 4096) -> None:
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs", *options, "-b", str(block), "-q", "-F", image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def debugfs(image: Path, *requests: str) -> None:
    for request in requests:
        subprocess.run(["debugfs", "-w", "-R", request, image], check=True, capture_output=True)


class WhatTheKernelShows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())

    def setUp(self):
        self.image = self.store.scratch / f"{self.id().rpartition('.')[2]}.img"

    def test_every_kind_of_file_comes_from_every_kind_of_disk(self):
        for number, (kind, options) in enumerate(KINDS.items()):
            with self.subTest(kind):
                self.image.unlink(missing_ok=True)
                make(self.image, options)
                with mounted(self.image) as disk:
                    trees.every_kind(disk / "tree", sockets=True, large=number == 0)
                    expected = trees.snapshot(disk / "tree")
                    self.store.run("import", disk, "mounted", "--exclude", "lost+found")
                expected = {path: seen for path, seen in expected.items() if not path.endswith(b"socket")}
                said = self.store.run("import", "--as", "tree", self.image, "disk").stderr
                self.assertIn(b"tree/meta/socket: a socket, skipped", said)
                self.assertEqual(*(self.store.json("info", name)["manifest"] for name in ("mounted", "disk")))
                with self.store.mounted("disk") as mount:
                    self.assertEqual([path.name for path in mount.iterdir()], ["tree"])
                    self.assertEqual(first_difference(expected, trees.snapshot(mount / "tree")), "")

    def test_what_was_found_by_a_repair_is_kept(self):
        make(self.image, KINDS["ext4"])
        with mounted(self.image) as disk:
            trees.write(disk / "lost+found" / "#12", b"found")
        self.store.run("import", "--as", "tree", self.image, "repaired")
        self.assertEqual(self.store.run("cat", "repaired", "/lost+found/#12").stdout, b"found")

    def test_a_block_device_is_a_disk_too(self):
        make(self.image, KINDS["ext4"])
        with mounted(self.image) as disk:
            trees.write(disk / "file", b"on a device")
        device = subprocess.run(["losetup", "--find", "--show", "--read-only", self.image], check=True, capture_output=True, text=True).stdout.strip()
        try:
            self.store.run("import", "--as", "tree", device, "device")
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
        self.assertEqual(self.store.run("cat", "device", "/file").stdout, b"on a device")

    def test_a_folder_of_many_names_and_a_file_of_many_pieces(self):
        make(self.image, KINDS["ext3"])
        with mounted(self.image) as disk:
            trees.many_entries(disk / "tree", 3000)
            trees.sparse(disk / "tree" / "pieces", 30 * trees.MIB, {at * 12_288: trees.noise(5000, seed=at) for at in range(2500)})
            expected = trees.snapshot(disk / "tree")
        self.store.run("import", "--as", "tree", self.image, "many")
        with self.store.mounted("many") as mount:
            self.assertEqual(first_difference(expected, trees.snapshot(mount / "tree")), "")


class WhatCannotBe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.whole = cls.store.scratch / "whole.img"
        make(cls.whole, KINDS["ext4"], size=8 * trees.MIB, block=1024)
        with mounted(cls.whole) as disk:
            for folder in ("a", "a/b", "c"):
                (disk / folder).mkdir()
            for number in range(40):
                trees.write(disk / "a" / f"file {number}", trees.text(200 * number, seed=number))
            trees.sparse(disk / "c" / "sparse", trees.MIB, {300_000: b"x" * 9000, 700_000: b"y"})
        cls.store.run("import", "--as", "tree", cls.whole, "whole")

    def setUp(self):
        self.image = self.store.scratch / "disk.img"
        shutil.copy(self.whole, self.image)

    def refused(self, *words: str) -> None:
        line = self.store.refuses("import", "--as", "tree", self.image, "bad")
        for word in (str(self.image), *words) if words[0] != "elsewhere" else words[1:]:
            self.assertIn(word, line)
        self.assertEqual([image["name"] for image in self.store.json("images")["images"]], ["whole"])

    def test_what_is_no_disk_image(self):
        self.image.write_bytes(trees.noise(trees.MIB, seed=1))
        self.refused("no ext2, ext3 or ext4 file system")
        self.image.write_bytes(b"")
        self.refused("no ext2, ext3 or ext4 file system")
        self.assertIn("disk image", self.store.refuses("import", "--as", "tree", self.store.scratch, "bad"))
        self.assertIn("--as", self.store.run("import", "--as", "folder", self.image, "bad", expect=2).stderr.decode())
        self.assertIn("--exclude", self.store.refuses("import", "--as", "tree", self.whole, "bad", "--exclude", "a"))

    def test_an_image_that_is_not_said_to_be_one(self):
        line = self.store.refuses("import", self.whole, "bad")
        self.assertIn("--as tree", line)
        self.assertIn("volume import FILE NAME", line)

    def test_an_archive_that_has_its_magic_number_by_chance(self):
        for filling in (trees.noise(3000, seed=1), bytes(3000)):
            source = self.store.scratch / "by chance"
            source.write_bytes(filling[:568] + b"\x53\xef" + b"\xff" * 100 + filling[670:])
            archive = subprocess.run(["tar", "-C", self.store.scratch, "-cf", "-", source.name], check=True, capture_output=True).stdout
            self.assertEqual(archive[1080:1082], b"\x53\xef")
            self.image.write_bytes(archive)
            self.store.run("import", self.image, "archive")
            self.store.run("rm", "archive")

    def test_an_image_that_was_cut(self):
        with open(self.image, "r+b") as file:
            file.truncate(5 * trees.MIB)
        self.refused("ends after 5242880 bytes")

    def test_a_disk_that_is_in_use(self):
        with mounted(self.whole) as disk:
            trees.write(disk / "new", b"in the journal")
            subprocess.run(["sync", "-f", disk], check=True)
            shutil.copy(self.whole, self.image)
            (disk / "new").unlink()
        self.refused("was not unmounted")

    def test_a_folder_that_lies_in_itself_or_in_two_places(self):
        debugfs(self.image, "link a a/b/again")
        self.refused("elsewhere", "a/b/again", "two places")
        shutil.copy(self.whole, self.image)
        debugfs(self.image, "link a/b c/b")
        self.refused("elsewhere", "c/b", "two places")

    def test_numbers_that_cannot_be(self):
        for request, word in (("set_inode_field /c/sparse links_count 0", "links"), ("set_inode_field /c/sparse mode 0", "no known type"),
                              ("set_inode_field /c/sparse size 70000000000000", "size"),
                              ("set_inode_field /c/sparse block[5] 4000000000", "c/sparse")):
            with self.subTest(request):
                shutil.copy(self.whole, self.image)
                debugfs(self.image, request)
                self.refused("elsewhere", word)

    def test_a_size_that_is_no_bytes_is_a_hole(self):
        debugfs(self.image, "set_inode_field /c/sparse size 20000000000")
        started = self.store.json("import", "--as", "tree", self.image, "hole")
        self.assertLess(started["bytes_new"], trees.MIB)
        self.store.run("rm", "hole")

    def test_no_flipped_bit_does_more_than_to_change_or_refuse_the_tree(self):
        rng = random.Random(1)
        with open(self.whole, "rb") as file:
            used = [at for at in range(0, 8 * trees.MIB, 1024) if any(file.read(1024))]
        taken = 0
        for _ in range(FLIPS):
            at = rng.choice(used) + rng.randrange(1024)
            with open(self.image, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0] ^ 1 << rng.randrange(8)
                file.seek(at)
                file.write(bytes([byte]))
            done = self.store.run("import", "--as", "tree", self.image, "flipped", expect=None, timeout=60)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            if done.returncode == 0:
                taken += 1
            else:
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            shutil.copy(self.whole, self.image)
        self.assertGreater(taken, 0)
        self.assertLess(taken, FLIPS)
        self.store.run("rm", "flipped")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.main()
