#!/usr/bin/env python3
"""Quotas of clones: what `quota` and statfs say, and that nothing is written beyond them, whoever writes it."""
import errno
import os
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))
import harness
import trees
import write_sites
from harness import Store

harness.require_mounts()
LIMIT = 16 * trees.MIB
SLACK = 128 * trees.KIB  # what the host's limit leaves for records, and blocks that a file system takes for itself
PATIENCE = 10.0


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.05)


class Quota(unittest.TestCase):
    PARENT = None  # folder of the store

    def setUp(self):
        self.store = Store(self.PARENT).__enter__()
        self.addCleanup(self.store.__exit__)
        image = self.store.scratch / "image"
        image.mkdir()
        for number in range(6):
            trees.write(image / f"i{number}", trees.noise(300_000, seed=number))
        trees.write(image / "large", trees.noise(20 * trees.MIB, seed=9))
        self.store.run("import", image, "base")

    def used(self, clone: str = "web") -> int:
        return self.store.json("quota", clone)["used"]

    def test_every_write_site_says_edquot_and_other_clones_go_on(self):
        self.store.run("clone", "base", "web", "--quota", LIMIT)
        self.store.run("clone", "base", "other")
        with self.store.mounted("web") as mount, self.store.mounted("other") as other:
            sites = write_sites.WriteSites(mount / "sites", [mount / "i0", mount / "i1"], mount / "large")
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)
            before = write_sites.digest(mount / "filler")
            self.assertLessEqual(self.used(), LIMIT)
            self.assertGreater(self.used(), LIMIT - SLACK)
            sites.try_all(self, errno.EDQUOT)
            self.assertLessEqual(self.used(), LIMIT)
            trees.write(other / "new", trees.noise(2 * LIMIT, seed=3))
            self.assertEqual(write_sites.digest(mount / "filler"), before)
            os.close(os.open(mount / "large", os.O_WRONLY | os.O_TRUNC))  # of a file of the image, none of it is copied
            os.unlink(mount / "filler")
            wait_for(lambda: self.used() < LIMIT // 2, "the space of a removed file did not come back")
            trees.write(mount / "after", trees.noise(LIMIT // 2, seed=4))
            self.assertEqual((mount / "after").read_bytes(), trees.noise(LIMIT // 2, seed=4))
            sites.close()
        self.store.run("fsck", "--deep")

    def test_statfs_shows_the_quota(self):
        self.store.run("clone", "base", "web", "--quota", "64M")
        with self.store.mounted("web") as mount:
            found = os.statvfs(mount)
            self.assertEqual(found.f_blocks * found.f_frsize, 64 * trees.MIB)
            self.assertGreater(found.f_bavail * found.f_frsize, 63 * trees.MIB)
            trees.write(mount / "file", trees.noise(10 * trees.MIB, seed=1))
            found = os.statvfs(mount)
            self.assertAlmostEqual(found.f_bavail * found.f_frsize, 54 * trees.MIB, delta=SLACK)
            self.assertIn(b", no quota", self.store.run("quota", "web", "none").stdout)
            self.assertGreater(os.statvfs(mount).f_blocks, found.f_blocks)

    def test_a_change_takes_effect_at_once(self):
        self.store.run("clone", "base", "web")
        self.assertEqual(self.store.json("quota", "web")["limit"], None)
        with self.store.mounted("web") as mount:
            trees.write(mount / "before", trees.noise(4 * trees.MIB, seed=1))
            said = self.store.json("quota", "web", LIMIT)
            self.assertEqual(said["limit"], LIMIT)
            self.assertAlmostEqual(said["used"], 4 * trees.MIB, delta=SLACK)
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)
            self.store.run("quota", "web", 2 * LIMIT)
            self.assertEqual(write_sites.fill_file(mount / "more"), errno.EDQUOT)
            self.assertAlmostEqual(self.used(), 2 * LIMIT, delta=SLACK)
            self.store.run("quota", "web", LIMIT)  # less than there is: nothing goes, nothing comes
            self.assertEqual(write_sites.error_of(os.mkdir, mount / "folder"), errno.EDQUOT)
            self.store.run("quota", "web", "none")
            trees.write(mount / "free", trees.noise(LIMIT, seed=2))

    def test_it_outlives_a_killed_server_and_a_mount_and_counts_the_same(self):
        self.store.run("clone", "base", "web", "--quota", LIMIT)
        with self.store.mounted("web") as mount:
            trees.write(mount / "file", trees.noise(5 * trees.MIB, seed=1))
            for number in range(100):
                os.mkdir(mount / f"d{number}")
            os.setxattr(mount / "d0", "user.a", b"v" * 1000)
            os.link(mount / "file", mount / "again")
            trees.write(mount / "i0", trees.noise(100_000, seed=3))
            os.chown(mount / "i1", 1000, 1000)
            before = self.used()
            os.kill(self.store.server(), signal.SIGKILL)
            self.assertEqual(os.listdir(mount / "d1"), [])
            self.assertEqual(self.used(), before)
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)
            os.kill(self.store.server(), signal.SIGKILL)
            self.assertEqual(write_sites.error_of(self.append, mount / "filler", 1 << 20), errno.EDQUOT)
            os.unlink(mount / "filler")
            wait_for(lambda: self.used() == before, "the filler is counted")
        self.assertEqual(self.used(), before)
        with self.store.mounted("web") as mount:
            self.assertEqual(self.used(), before)
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)

    @staticmethod
    def append(path: Path, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            while size > 0:
                size -= os.write(fd, b"x" * size)
        finally:
            os.close(fd)

    def test_what_was_settled_still_counts_until_it_is_removed(self):
        self.store.run("clone", "base", "web", "--quota", LIMIT)
        with self.store.mounted("web") as mount:
            for number in range(8):
                trees.write(mount / f"f{number}", trees.noise(trees.MIB, seed=number))
            before = self.used()
            self.assertEqual(self.store.json("settle", "web")["files"], 8)
            wait_for(lambda: abs(self.used() - before) < SLACK, "settled files do not count, or twice")
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)
            self.assertLess((mount / "filler").stat().st_size, LIMIT - 8 * trees.MIB + SLACK)
            os.unlink(mount / "filler")
            wait_for(lambda: abs(self.used() - before) < SLACK, "the filler counts")
            with open(mount / "f0", "r+b") as file:  # a copy instead of the settled bytes
                file.write(b"x")
            wait_for(lambda: abs(self.used() - before) < SLACK, "a file counts twice")
            for number in range(8):
                os.unlink(mount / f"f{number}")
            wait_for(lambda: self.used() < SLACK, "removed files count")
        self.store.run("fsck", "--deep")

    def check_info(self, mount: Path) -> None:
        info = self.store.json("info", "web")
        self.assertEqual((info["name"], info["origin"], info["limit"], info["mounted_on"]), ("web", "base", LIMIT, str(mount)))
        self.assertLess(info["used"], SLACK)
        self.assertEqual([snapshot["name"] for snapshot in info["snapshots"]], ["full"])
        self.assertRegex(self.store.run("info", "web").stdout.decode(), rf"(?s)clone     web\norigin    base\n.*written   .* of .*\nsnapshot  full .*\nmounted   {mount}\n")
        self.assertEqual(self.store.json("info", "web@full")["clone"], "web")
        self.assertRegex(self.store.run("info", "web@full").stdout.decode(), r"snapshot  web@full\ncreated   .*\nlayers    2\n")
        self.store.refuses("info", "web@empty")

    def test_a_snapshot_counts_for_nobody_and_a_rollback_keeps_the_quota(self):
        self.store.run("clone", "base", "web", "--quota", LIMIT)
        with self.store.mounted("web") as mount:
            self.assertEqual(write_sites.fill_file(mount / "filler"), errno.EDQUOT)
            before = write_sites.digest(mount / "filler")
            self.store.run("snapshot", "web@full")
            self.assertLess(self.used(), SLACK)
            self.check_info(mount)
            trees.write(mount / "after", trees.noise(10 * trees.MIB, seed=2))
            self.assertEqual(write_sites.fill_file(mount / "more"), errno.EDQUOT)
            self.assertEqual(write_sites.digest(mount / "filler"), before)
        self.store.run("rollback", "web@full")
        self.assertEqual(self.store.json("quota", "web")["limit"], LIMIT)
        self.assertLess(self.used(), SLACK)
        with self.store.mounted("web") as mount:
            self.assertEqual(write_sites.fill_file(mount / "more"), errno.EDQUOT)
        self.store.run("clone", "web@full", "copy")
        self.assertEqual(self.store.json("quota", "copy")["limit"], None)
        self.store.run("rename", "web", "site")
        self.assertEqual(self.store.json("quota", "site")["limit"], LIMIT)
        self.store.run("rm", "site")
        self.store.run("clone", "base", "site")
        self.assertEqual(self.store.json("quota", "site")["limit"], None)

    def test_bad_words_are_refused_and_make_nothing(self):
        self.store.run("clone", "base", "web")
        for words in (("quota", "nobody"), ("quota", "nobody", "1G"), ("quota", "web", "much"), ("quota", "web", "0"),
                      ("quota", "web", "-5"), ("quota", "web", "1023K"), ("quota", "web", "99999999T"),
                      ("clone", "base", "new", "--quota", "none"), ("clone", "base", "new", "--quota", "1K"), ("quota", "base", "1G")):
            with self.subTest(words):
                self.store.refuses(*words)
        self.assertEqual([clone["name"] for clone in self.store.json("clones")["clones"]], ["web"])
        self.assertEqual(self.store.json("quota", "web")["limit"], None)
        self.store.run("clone", "base", "a", "b", "--quota", "1G")
        self.assertEqual([self.store.json("quota", name)["limit"] for name in ("a", "b")], [trees.GIB] * 2)


if __name__ == "__main__":
    harness.main()
