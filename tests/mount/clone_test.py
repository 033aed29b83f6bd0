#!/usr/bin/env python3
"""A clone is a file system like any other: the same calls, here and on ext4, say the same and leave the same."""
import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

import harness
import posix_cases
import syscalls
import trees
import twins
from harness import Store

harness.require_mounts()


class SameAsExt4(twins.Twins):
    """Each case runs in a folder of the clone and in the folder that was imported."""

    def run_twice(self, name: str) -> list[list]:
        said = []
        for folder in (self.twin / name, self.mount / name):
            recorder = syscalls.Recorder()
            twins.CASES[name](folder, recorder)
            said.append(recorder.said)
        return said

    def test_zz_everything_is_there_in_a_new_mount(self):  # after all others
        before = trees.snapshot(self.mount)
        self.store.run("umount", self.mount)
        self.store.run("mount", "web", self.mount)
        after = trees.snapshot(self.mount)
        self.assertEqual(harness.first_difference(before, after), "")
        self.assertEqual(self.difference(self.twin, self.mount), "")
        self.assertEqual(self.store.json("fsck")["damage"], [])


SameAsExt4.add_cases()

def listed(folder: Path, meanwhile) -> tuple[list[str], int]:
    """Names of a listing; after a third of them something happens."""
    names = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            names.append(entry.name)
            if number == 3000:
                meanwhile()
    return names, len(set(names))


class LargeFolders(unittest.TestCase):
    OLD = 10_000
    NEW = 4_000 if harness.SANITIZED else 20_000

    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        tree = cls.store.scratch / "tree"
        trees.many_entries(tree, cls.OLD)
        cls.store.run("import", tree, "base")
        cls.store.run("clone", "base", "web")

    def test_names_that_stay_are_listed_once_while_others_come_and_go(self):
        with self.store.mounted("web") as mount:
            folder = mount / "many"
            stay = {f"entry-{number:06}" for number in range(1, self.OLD, 2)}

            def change():
                for number in range(0, self.OLD, 2):
                    os.unlink(folder / f"entry-{number:06}")
                for number in range(self.OLD // 5):
                    (folder / f"new-{number}").touch()
            names, different = listed(folder, change)
            self.assertEqual(len(names), different)
            self.assertLessEqual(stay, set(names))
            expected = stay | {f"new-{number}" for number in range(self.OLD // 5)}
            self.assertEqual(set(os.listdir(folder)), expected)
            while first := os.listdir(folder)[:3_000]:  # as rm -r does, again from the start
                for name in first:
                    os.unlink(folder / name)
            os.rmdir(folder)
        with self.store.mounted("web") as mount:
            self.assertEqual(os.listdir(mount), [])

    def test_thousands_of_new_files_are_there_anew(self):
        self.store.run("clone", "base", "new")
        with self.store.mounted("new") as mount:
            (mount / "fresh").mkdir()
            for number in range(self.NEW):
                os.close(os.open(mount / "fresh" / f"file {number}", os.O_CREAT | os.O_WRONLY))
            self.assertEqual(len(os.listdir(mount / "fresh")), self.NEW)
        with self.store.mounted("new") as mount:
            self.assertEqual({entry.name for entry in os.scandir(mount / "fresh")}, {f"file {number}" for number in range(self.NEW)})
            self.assertEqual(os.lstat(mount / "fresh").st_nlink, 2)
            shutil.rmtree(mount / "fresh")
            self.assertEqual(os.listdir(mount), ["many"])


class OwnRules(unittest.TestCase):
    """What ext4 is no measure for."""

    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        tree = cls.store.scratch / "tree"
        posix_cases.populate(tree)
        cls.store.run("import", tree, "base")

    def setUp(self):
        self.clone = self.id().rpartition("_")[2]
        self.store.run("clone", "base", self.clone)

    def test_attributes_may_have_64_kib(self):
        value = os.urandom(65_536)
        with self.store.mounted(self.clone) as mount:
            os.setxattr(mount / "data", "user.large", value)
            self.assertEqual(os.getxattr(mount / "data", "user.large"), value)
            with self.assertRaisesRegex(OSError, "too long"):
                os.setxattr(mount / "data", "user.larger", value + b"x")
        with self.store.mounted(self.clone) as mount:
            self.assertEqual(os.getxattr(mount / "data", "user.large"), value)

    def test_space_is_that_of_the_store(self):
        with self.store.mounted(self.clone) as mount:
            here, there = os.statvfs(mount), os.statvfs(self.store.dir)
            self.assertEqual((here.f_blocks, here.f_bsize, here.f_namemax), (there.f_blocks, there.f_bsize, 255))
            self.assertLessEqual(abs(here.f_bavail - there.f_bavail) * here.f_bsize, 1 << 30)

    def test_times_never_go_back(self):
        with self.store.mounted(self.clone) as mount:
            last = 0
            for number in range(200):
                path = mount / f"t{number}"
                path.touch()
                created = os.stat(path).st_mtime_ns
                path.write_bytes(b"x")
                written = os.stat(path).st_mtime_ns
                (mount / f"d{number}").mkdir()
                made = os.stat(mount / f"d{number}").st_mtime_ns
                self.assertEqual(sorted((last, created, written, made)), [last, created, written, made], number)
                last = made

    def test_an_open_program_can_be_written_and_its_readers_keep_what_they_opened(self):
        with self.store.mounted(self.clone) as mount:
            script, hard = mount / "script", mount / "another-name"
            os.link(script, hard)
            number = os.stat(script).st_ino
            for change in (lambda: os.truncate(script, 5), lambda: script.write_bytes(b"new bytes"), lambda: posix_cases.write_file(script, b"N")):
                reader = os.open(script, os.O_RDONLY)
                before = script.read_bytes()
                change()
                after = script.read_bytes()
                self.assertNotEqual(after, before)
                self.assertIn(os.pread(reader, 1000, 0), (before, after))
                os.kill(self.store.server(), signal.SIGKILL)
                for path in (script, hard):
                    self.assertEqual(path.read_bytes(), after)
                    self.assertEqual((os.stat(path).st_ino, os.stat(path).st_size), (number, len(after)))
                os.close(reader)
            self.assertEqual(after, b"New bytes")
            reader = os.open(mount / "program", os.O_RDONLY)
            size = os.fstat(reader).st_size
            shutil.copy("/bin/echo", mount / "program")
            self.assertEqual(subprocess.run([mount / "program", "written"], capture_output=True, check=True).stdout, b"written\n")
            self.assertEqual(os.pread(reader, 4, 0), b"\x7fELF")
            self.assertEqual(len(os.pread(reader, 1 << 20, 0)), size)
            os.unlink(mount / "program")
            self.assertEqual(len(os.pread(reader, 1 << 20, 0)), size)
            os.close(reader)
            self.assertFalse((mount / "program").exists())
        with self.store.mounted(self.clone) as mount:
            self.assertEqual((mount / "script").read_bytes(), b"New bytes")

    def test_bytes_of_removed_files_leave_the_disk(self):
        with self.store.mounted(self.clone) as mount:
            fd = os.open(mount / "gone", os.O_CREAT | os.O_RDWR)
            os.pwrite(fd, bytes(1 << 20), 0)
            os.unlink(mount / "gone")
            os.fsync(fd)
            os.close(fd)
            (mount / "gone too").write_bytes(bytes(1 << 20))
            os.unlink(mount / "gone too")
            os.fsync(folder := os.open(mount, os.O_RDONLY))
            os.close(folder)
            staged = self.store.dir / "staged"
            deadline = time.monotonic() + 10
            while any(file.is_file() and file.stat().st_size == 1 << 20 for file in staged.rglob("*")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)


if __name__ == "__main__":
    harness.main()
