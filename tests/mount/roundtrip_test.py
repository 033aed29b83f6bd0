#!/usr/bin/env python3
"""What goes in comes out: through the mount, through export, from folders and from tars."""
import os
import signal
import subprocess
import unittest

import harness
import trees
from harness import Store, first_difference

harness.require_mounts()
COMPRESSORS = {"gzip": ["gzip", "-1"], "xz": ["xz", "-0"], "zstd": ["zstd", "-q"], "bzip2": ["bzip2", "-1"]}


def tar_of(tree, *options) -> bytes:
    return subprocess.run(["tar", "-C", tree, "--format=pax", "--pax-option=delete=atime,delete=ctime", "--acls", "--xattrs", "--xattrs-include=*", "--sparse", *options,
                           "-cf", "-", "."], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def extracted(archive: bytes, into) -> dict:
    into.mkdir()
    subprocess.run(["tar", "-C", into, "--acls", "--xattrs", "--xattrs-include=*", "-xpf", "-"], input=archive,
                   stderr=subprocess.DEVNULL, check=True)
    return trees.snapshot(into)


class RoundTrip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.tree = cls.store.scratch / "tree"
        trees.every_kind(cls.tree)
        cls.expected = trees.snapshot(cls.tree)
        cls.store.run("import", cls.tree, "folder")
        cls.tar = tar_of(cls.tree)
        cls.store.run("import", "-", "tar:1", input=cls.tar)

    def assert_same(self, found):
        if difference := first_difference(self.expected, found):
            self.fail("not the same:\n" + difference)

    def test_a_mount_shows_the_tree_that_was_imported(self):
        for ref in ("folder", "tar:1"):
            with self.subTest(ref), self.store.mounted(ref) as mount:
                self.assert_same(trees.snapshot(mount))

    def test_a_second_pass_over_the_mount_sees_the_same(self):
        with self.store.mounted("folder") as mount:
            self.assert_same(trees.snapshot(mount))
            self.assert_same(trees.snapshot(mount))

    def test_everything_is_the_same_after_the_caches_were_dropped(self):
        with self.store.mounted("folder") as mount:
            trees.snapshot(mount)
            self.store.run("tier", "evict")
            trees.drop_caches()
            self.assert_same(trees.snapshot(mount))

    def test_a_mount_without_passthrough_shows_the_same_and_says_once_that_it_is_off(self):
        for ref in ([], ["folder"]):
            with self.subTest(ref), self.store.mounted("--no-passthrough", *ref) as mount:
                trees.drop_caches()
                shown = mount if ref else mount / "images" / "folder" / "latest"
                self.assert_same(trees.snapshot(shown))
                os.kill(self.store.server(), signal.SIGKILL)  # the next server keeps to it
                trees.drop_caches()
                self.assert_same(trees.snapshot(shown))
                self.assertEqual([found["passthrough"] for found in self.store.json("stats")["mounts"]], [False])
                log = (self.store.dir / "run" / "server.log").read_text()
                self.assertEqual(log.count(f"{mount}: passthrough is off"), 1)

    def test_the_view_of_the_whole_store_shows_every_image(self):
        with self.store.mounted() as mount:
            for name, tag in (("folder", "latest"), ("tar", "1")):
                self.assert_same(trees.snapshot(mount / "images" / name / tag))

    def test_equal_files_of_two_images_are_not_one_file_in_the_whole_store(self):
        with self.store.mounted() as mount:
            one, two = (os.stat(mount / "images" / name / "files" / "elf") for name in ("folder/latest", "tar/1"))
            self.assertNotEqual((one.st_dev, one.st_ino), (two.st_dev, two.st_ino))

    def test_two_names_of_one_layer_are_two_trees_in_the_whole_store(self):
        """The kernel knows one name of a folder: one that it meets under a second name loses the first."""
        self.assertEqual(*(self.store.json("info", ref)["layer"] for ref in ("folder", "tar:1")))
        with self.store.mounted() as mount:
            one, two = (mount / "images" / name for name in ("folder/latest", "tar/1"))
            inside = os.open(one / "files", os.O_RDONLY | os.O_DIRECTORY)
            for _ in range(2):
                self.assert_same(trees.snapshot(two))
                self.assert_same(trees.snapshot(one))
                self.assertEqual(os.readlink(f"/proc/self/fd/{inside}"), str(one / "files"))
                self.assertEqual(os.stat("..", dir_fd=inside).st_ino, os.stat(one).st_ino)
                os.kill(self.store.server(), signal.SIGKILL)  # the next server finds both again
                trees.drop_caches()
            os.close(inside)

    def test_export_gives_a_tar_that_compares_equal_to_the_source(self):
        target = self.store.scratch / "out.tar"
        self.store.run("export", "folder", target)
        done = subprocess.run(["tar", "-C", self.tree, "--acls", "--xattrs", "--xattrs-include=*", "--compare", "-f", target],
                              capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
        # libarchive writes the group's own permissions where st_mode has the mask; the ACL beside it says both (compared below).
        self.assertEqual([line for line in done.stdout.decode(errors="replace").splitlines() if line != "meta/acl: Mode differs"], [])

    def test_an_extracted_export_equals_the_source(self):
        archive = self.store.run("export", "tar:1", "-").stdout
        self.assert_same(extracted(archive, self.store.scratch / "extracted"))

    def test_an_export_of_a_mount_made_by_tar_equals_the_source(self):
        with self.store.mounted("folder") as mount:
            self.assert_same(extracted(tar_of(mount), self.store.scratch / "from-mount"))

    def test_any_compression_of_the_tar_gives_the_same_image(self):
        manifest = self.store.json("info", "tar:1")["manifest"]
        for name, command in COMPRESSORS.items():
            with self.subTest(name):
                packed = subprocess.run(command, input=self.tar, stdout=subprocess.PIPE, check=True).stdout
                archive = self.store.scratch / f"tree.tar.{name}"
                archive.write_bytes(packed)
                self.store.run("import", archive, f"packed:{name}")
                self.assertEqual(self.store.json("info", f"packed:{name}")["manifest"], manifest)

    def test_a_folder_and_its_tar_give_the_same_image(self):
        ids = {self.store.json("info", ref)["manifest"] for ref in ("folder", "tar:1")}
        self.assertEqual(len(ids), 1)

    def test_the_image_does_not_depend_on_what_was_imported_before(self):
        with Store() as fresh:
            fresh.run("import", self.tree, "alone")
            self.assertEqual(fresh.json("info", "alone")["manifest"], self.store.json("info", "folder")["manifest"])

    def test_sockets_are_skipped_with_a_note(self):
        tree = self.store.scratch / "with-socket"
        trees.every_kind(tree, sockets=True)
        done = self.store.run("import", tree, "sockets")
        self.assertIn("meta/socket", done.stderr.decode())
        with self.store.mounted("sockets") as mount:
            self.assertFalse((mount / "meta" / "socket").exists())

    def test_a_mount_is_read_only(self):
        with self.store.mounted("folder") as mount:
            for attempt in (lambda: open(mount / "files" / "elf", "r+b"), lambda: open(mount / "new", "wb"),
                            lambda: os.unlink(mount / "files" / "elf"), lambda: os.mkdir(mount / "folder"),
                            lambda: os.chmod(mount / "files" / "elf", 0), lambda: os.rename(mount / "files", mount / "gone")):
                with self.assertRaises(OSError) as raised:
                    attempt()
                self.assertIn(raised.exception.strerror, {"Read-only file system"})


class ManyEntries(unittest.TestCase):
    COUNT = 10_000 if harness.SANITIZED else 100_000

    def test_a_directory_with_100000_entries_comes_back(self):
        with Store() as store:
            tree = store.scratch / "tree"
            trees.many_entries(tree, self.COUNT)
            store.run("import", tree, "many")
            with store.mounted("many") as mount:
                self.assertEqual(self.seen(tree / "many"), self.seen(mount / "many"))
                for number in range(0, self.COUNT, 1000):
                    self.assertEqual((mount / "many" / f"entry-{number:06}").read_text(), f"{number}\n")

    @staticmethod
    def seen(folder):
        with os.scandir(folder) as entries:
            return {entry.name: (info.st_size, info.st_mtime_ns, info.st_mode) for entry in entries if (info := entry.stat())}


if __name__ == "__main__":
    harness.main()
