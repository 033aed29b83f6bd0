#!/usr/bin/env python3
"""Layers in the background: many clones are removed at once, and what removed snapshots leave is folded."""
import os
import random
import signal
import subprocess
import time
import unittest

import clone_random_test
import harness
import trees
from harness import Store

harness.require_mounts()
SNAPSHOTS = 40 if harness.SANITIZED else 280  # more than layers can lie over one another


class Layers(unittest.TestCase):
    def setUp(self):
        os.umask(0o022)
        self.store = self.enterContext(Store())
        self.tree = self.store.scratch / "tree"
        trees.every_kind(self.tree, large=False)
        for number in range(3):
            trees.write(self.tree / f"a{number}", trees.noise(50_000 * number + 7, seed=number))
            (self.tree / f"b{number}").mkdir()
            trees.write(self.tree / f"b{number}" / "a0", b"small", 0o666)
            trees.write(self.tree / f"b{number}" / "c1", b"#!/bin/sh\n", 0o755)
            (self.tree / f"b{number}").chmod(0o777)
        for folder in (self.store.root, self.store.scratch):
            folder.chmod(0o755)
        self.store.run("import", self.tree, "base")
        self.store.run("clone", "base", "web")

    def layers(self, name: str = "web") -> int:
        return next(clone["layers"] for clone in self.store.json("clones")["clones"] if clone["name"] == name)

    def staged(self) -> int:
        return sum(1 for _ in (self.store.dir / "staged").glob("*/*"))

    def clones(self) -> list[str]:
        return [clone["name"] for clone in self.store.json("clones")["clones"]]

    def make_and_remove(self, number: int) -> None:
        self.store.run("snapshot", f"web@s{number}")
        if number > 0:
            self.store.run("rm", f"web@s{number - 1}")

    def test_a_mounted_clone_whose_snapshots_come_and_go(self):
        with self.store.mounted("web") as mount:
            (mount / "held").write_bytes(b"held")
            with open(mount / "held", "rb+") as held, open(mount / "a1", "rb") as program:
                inode, gone = os.fstat(held.fileno()).st_ino, os.open(mount / "gone", os.O_RDWR | os.O_CREAT)
                os.write(gone, b"unlinked")
                os.unlink(mount / "gone")
                for number in range(SNAPSHOTS):
                    (mount / "log").write_bytes(str(number).encode())
                    (mount / f"only{number}").mkdir()
                    if number > 0:
                        (mount / f"only{number - 1}").rmdir()
                    os.pwrite(held.fileno(), str(number).encode(), 10)
                    self.make_and_remove(number)
                    if number % (SNAPSHOTS // 3) == 0:
                        os.kill(self.store.server(), signal.SIGKILL)
                self.store.wait_until_cleaned()
                self.assertLessEqual(self.layers(), 4)
                self.assertEqual(os.stat(mount / "held").st_ino, inode)
                self.assertEqual(os.pread(held.fileno(), 100, 10), str(SNAPSHOTS - 1).encode())
                self.assertEqual(os.pread(gone, 100, 0), b"unlinked")
                self.assertEqual(os.fstat(gone).st_nlink, 0)
                self.assertEqual(os.pread(program.fileno(), 7, 0), trees.noise(50_007, seed=1)[:7])
                os.close(gone)
            self.assertEqual((mount / "log").read_bytes(), str(SNAPSHOTS - 1).encode())
            self.assertEqual([path.name for path in mount.glob("only*")], [f"only{SNAPSHOTS - 1}"])
            before = trees.snapshot(mount)
            trees.drop_caches()
            self.assertEqual(harness.first_difference(before, trees.snapshot(mount)), "")
        with self.store.mounted("web") as mount:
            self.assertEqual(harness.first_difference(before, trees.snapshot(mount)), "")
        self.assertLess(self.staged(), 10)
        self.assertEqual(self.store.json("fsck", "--deep")["damage"], [])

    def test_a_clone_that_is_not_mounted(self):
        for number in range(SNAPSHOTS):
            if number % (SNAPSHOTS // 4) == 0:
                with self.store.mounted("web") as mount:
                    (mount / f"f{number}").write_bytes(b"x")
            self.make_and_remove(number)
        self.store.wait_until_cleaned()
        self.assertLessEqual(self.layers(), 4)
        with self.store.mounted("web") as mount:
            self.assertEqual(len(list(mount.glob("f[0-9]*"))), 4)

    def test_random_changes_meanwhile_beside_ext4(self):
        twin = self.store.scratch / "twin"
        subprocess.run(["cp", "-a", "--sparse=always", self.tree, twin], check=True)
        pair = clone_random_test.Pair(self.store, twin, twin, 1)
        rng = random.Random(12)
        number = 0
        for _ in range(3):
            with self.store.mounted("web") as mount:
                pair.roots[1] = mount
                try:
                    for step in range(clone_random_test.OPERATIONS // 4):
                        pair.step()
                        if step % 12 == 11:
                            self.make_and_remove(number)
                            number += 1
                        if step % 200 == 199:
                            pair.check()
                        chance = rng.random()
                        if chance < 0.01:
                            self.store.run("settle")
                        elif chance < 0.015:
                            self.store.run("gc")
                        elif chance < 0.02:
                            os.kill(self.store.server(), signal.SIGKILL)
                finally:
                    pair.close()
                pair.check()
                self.store.wait_until_cleaned()
                self.assertLessEqual(self.layers(), 4)
                trees.drop_caches()
                pair.check()
        self.assertEqual(self.store.json("fsck", "--deep")["damage"], [])
        self.store.run("rm", "web")
        self.store.wait_until_cleaned()
        self.assertEqual(self.staged(), 0)

    def test_snapshots_that_stay_show_what_they_had(self):
        with self.store.mounted("web") as mount:
            for number in range(12):
                (mount / "log").write_bytes(str(number).encode())
                if number > 0:
                    os.rename(mount / f"folder{number - 1}", mount / f"folder{number}")
                else:
                    (mount / "folder0").mkdir()
                (mount / f"folder{number}" / f"f{number}").write_bytes(b"x")
                self.store.run("snapshot", f"web@s{number}")
            self.store.run("rm", *(f"web@s{number}" for number in range(12) if number not in (4, 8)))
            self.store.wait_until_cleaned()
            self.assertEqual(self.layers(), 7, "the written layer, two snapshots, three between and above them, the image")
            self.assertEqual((mount / "log").read_bytes(), b"11")
            self.assertEqual(len(os.listdir(mount / "folder11")), 12)
        for number in (4, 8):
            self.assertEqual(self.store.run("cat", f"web@s{number}", "/log").stdout, str(number).encode())
            self.store.run("clone", f"web@s{number}", f"of{number}")
            with self.store.mounted(f"of{number}") as mount:
                self.assertEqual(len(os.listdir(mount / f"folder{number}")), number + 1)

    def test_a_large_layer_is_folded_beside_programs(self):
        files = 2000 if harness.SANITIZED else 20_000
        with self.store.mounted("web") as mount:
            (mount / "many").mkdir()
            self.store.run("snapshot", "web@below")
            for number in range(files):
                os.mknod(mount / "many" / str(number))
            self.store.run("snapshot", "web@above")
            for number in range(0, files, 2):
                os.unlink(mount / "many" / str(number))
            self.store.run("snapshot", "web@top")
            self.store.run("rm", "web@below", "web@above")
            number = 0
            while any(self.store.json("stats")["layers"].values()):
                (mount / f"new{number}").write_bytes(b"meanwhile")
                self.assertEqual(os.path.exists(mount / "many" / "1"), True)
                self.assertEqual(os.path.exists(mount / "many" / "0"), False)
                number += 1
            self.store.run("rm", "web@top")
            self.store.wait_until_cleaned()
            trees.drop_caches()
            self.assertEqual(sorted(map(int, os.listdir(mount / "many"))), list(range(1, files, 2)))
            self.assertEqual(len(list(mount.glob("new*"))), number)
            self.assertEqual(self.layers(), 3)

    def test_rm_removes_all_or_none(self):
        self.store.run("clone", "base", "a", "b", "c")
        self.store.run("snapshot", "a@s")
        with self.store.mounted("b"):
            self.assertIn("is mounted", self.store.refuses("rm", "a", "b", "c"))
        for names in (("a", "b", "nothing"), ("a", "a"), ("base", "base:latest"), ("a@s", "a@none"), ("base", "none:1")):
            self.store.refuses("rm", *names)
        self.assertEqual(self.clones(), ["a", "b", "c", "web"])
        self.store.run("rm", "a@s", "b", "base", "c")
        self.assertEqual(self.clones(), ["a", "web"])
        self.assertEqual(self.store.json("images")["images"], [])
        self.store.wait_until_cleaned()
        with self.store.mounted("web") as mount:
            self.assertEqual((mount / "b0" / "a0").read_bytes(), b"small")

    def test_a_clone_and_its_snapshots_named_together(self):
        self.store.run("snapshot", "web@s")
        self.store.run("rm", "web", "web@s")
        self.assertEqual(self.clones(), [])

    def test_many_clones_with_bytes_of_their_own(self):
        names = [f"c{number}" for number in range(300)]
        self.store.run("clone", "base", *names)
        for name in names[:10]:
            with self.store.mounted(name) as mount:
                (mount / "private").write_bytes(trees.noise(100_000, seed=1))
                (mount / "a1").chmod(0o700)
        self.store.run("snapshot", "c0@s")
        self.store.run("clone", "c0@s", "heir")
        with self.store.mounted("heir") as mount:
            (mount / "private").chmod(0o700)  # names the snapshot's bytes, which are not its own
        self.assertEqual(self.staged(), 10)
        self.store.run("rm", *names)
        self.store.wait_until_cleaned()
        self.assertEqual(self.staged(), 1)
        with self.store.mounted("heir") as mount:
            self.assertEqual((mount / "private").read_bytes(), trees.noise(100_000, seed=1))
        self.store.run("rm", "heir")
        self.store.wait_until_cleaned()
        self.assertEqual(self.staged(), 0)

    def test_a_server_that_is_killed_while_it_cleans_up(self):
        for attempt in range(4):
            names = [f"c{number}" for number in range(300 if harness.SANITIZED else 2000)]
            self.store.run("clone", "base", *names)
            with self.store.mounted("c7") as mount:
                for number in range(300):
                    (mount / f"f{number}").write_bytes(b"x")
            self.store.run("rm", *names)
            time.sleep(0.02 * attempt)
            os.kill(self.store.server(), signal.SIGKILL)
            self.store.wait_until_cleaned()
            self.assertEqual(self.clones(), ["web"])
            deadline = time.monotonic() + 30
            while self.staged():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)


if __name__ == "__main__":
    harness.main()
