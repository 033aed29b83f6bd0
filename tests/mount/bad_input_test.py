#!/usr/bin/env python3
"""Bad input gets one clear line, exit code 1, and leaves nothing behind."""
import os
import subprocess
import unittest

import harness
import tars
from harness import Store

harness.require_mounts()


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.store.run("import", "-", "good", input=tars.good())

    def assert_untouched(self):
        """The one good image is there and whole; nothing else is."""
        self.assertEqual([image["name"] for image in self.store.json("images")["images"]], ["good"])
        self.assertEqual(os.listdir(self.store.dir / "tmp"), [])
        self.store.run("fsck")

    def refuse(self, archive: bytes) -> str:
        line = self.store.refuses("import", "-", "bad", input=archive)
        self.assertLess(len(line), 700, line)
        return line

    def test_malformed_and_hostile_tars_are_refused(self):
        for what, make in tars.REFUSED.items():
            with self.subTest(what):
                self.refuse(make())
        self.assert_untouched()

    def test_odd_but_harmless_tars_are_taken(self):
        for what, make in tars.TAKEN.items():
            with self.subTest(what):
                self.store.run("import", "-", "odd", input=make())
                self.store.run("rm", "odd")
        self.assert_untouched()

    def test_the_refusal_names_the_member(self):
        for archive, name in ((tars.member(b"../evil", b"x") + tars.END, "../evil"),
                              (tars.link(b"dead", b"nowhere", kind=b"1") + tars.END, "dead")):
            self.assertIn(name, self.refuse(archive))

    def test_a_tar_cut_inside_a_member_is_refused_wherever_it_is_cut(self):
        whole = tars.good()
        for cut in [*range(512, len(whole), 4096 if harness.SANITIZED else 512), 100, 700, len(whole) // 2 + 7]:
            if not self.is_boundary(whole, cut) and whole[cut:].strip(b"\0"):
                with self.subTest(cut=cut):
                    self.refuse(whole[:cut])
        self.assert_untouched()

    @staticmethod
    def is_boundary(archive: bytes, at: int) -> bool:
        """Whether an archive cut at `at` is itself a whole one: then nobody can tell that it was cut."""
        return archive[at + 257:at + 262] == b"ustar"

    def test_a_sparse_bomb_takes_neither_space_nor_minutes(self):
        bomb = self.store.scratch / "bomb"
        bomb.mkdir()
        with open(bomb / "ten-gigabytes", "wb") as file:
            file.truncate(10 << 30)
        self.store.run("import", bomb, "bomb", timeout=60 if not harness.SANITIZED else 600)
        used = int(subprocess.run(["du", "-sk", "--exclude=ballast", self.store.dir], stdout=subprocess.PIPE, check=True).stdout.split()[0])
        self.assertLess(used, 400_000)
        with self.store.mounted("bomb") as mount:
            self.assertEqual((mount / "ten-gigabytes").stat().st_size, 10 << 30)
            with open(mount / "ten-gigabytes", "rb") as file:
                file.seek((10 << 30) - 5)
                self.assertEqual(file.read(), bytes(5))
        self.store.run("rm", "bomb")

    def test_names_that_are_not_names_are_refused(self):
        for name in ("", "-x", "..", ".hidden", "a/b", "new\nline", "n" * 129, "a:b:c", "a:", ":tag", "a:-", b"\xff\xfe", "n" * 5000):
            with self.subTest(name):
                done = self.store.run("import", "--", "-", name, input=tars.good(), expect=None)
                self.assertIn(done.returncode, (1, 2), done)
                self.assertIn(done.stderr.count(b"\n"), (1, 2), done.stderr)
        self.assert_untouched()

    def test_sources_that_cannot_be_imported_are_refused(self):
        scratch = self.store.scratch
        os.mkfifo(scratch / "fifo")
        os.symlink("loop", scratch / "loop")
        for source in ("/no/such/place", "/dev/null", scratch / "fifo", scratch / "loop", "x" * 5000, "/proc/self/mem"):
            with self.subTest(source=str(source)[:40]):
                self.store.refuses("import", source, "bad", timeout=20)
        self.assert_untouched()

    def test_an_unknown_image_is_named_in_the_answer(self):
        where = self.store.scratch / "empty"
        where.mkdir(exist_ok=True)
        for command in (["export", "ghost", "-"], ["info", "ghost"], ["ls", "ghost"], ["cat", "ghost", "/etc/passwd"],
                        ["rm", "ghost"], ["rename", "ghost", "other"], ["diff", "ghost", "good"], ["mount", "ghost", where]):
            with self.subTest(command[0]):
                self.assertIn("ghost", self.store.refuses(*command))

    def test_a_mountpoint_that_is_none_is_named_in_the_answer(self):
        file = self.store.scratch / "a-file"
        file.write_text("x")
        for where in (file, self.store.scratch / "missing"):
            self.assertIn(str(where), self.store.refuses("mount", "good", where))
        self.assertIn(str(self.store.scratch), self.store.refuses("umount", self.store.scratch))

    def test_usage_errors_exit_with_2(self):
        for words in (["--no-such-flag"], ["nonsense"], ["import"], ["mount"], ["export", "good"]):
            with self.subTest(words):
                self.store.run(*words, expect=2)


class BadStores(unittest.TestCase):
    def test_a_store_of_another_version_is_refused_with_both_versions_named(self):
        with Store() as store:
            store.run("import", "-", "good", input=tars.good())
            store.stop()
            path = store.dir / "format"
            path.write_text(path.read_text().replace("1", "999", 1))
            line = store.refuses("images")
            self.assertIn("999", line)
            self.assertIn("1", line.replace("999", ""))

    def test_a_store_that_is_a_file_or_below_one_is_refused(self):
        with Store() as store:
            store.dir.write_text("not a folder")
            self.assertIn(str(store.dir), store.refuses("images"))

    def test_a_folder_that_is_no_store_is_not_made_one(self):
        with Store() as store:
            store.dir.mkdir()
            (store.dir / "precious").write_text("data")
            self.assertIn(str(store.dir), store.refuses("import", "-", "good", input=tars.good()))
            self.assertEqual(os.listdir(store.dir), ["precious"])


if __name__ == "__main__":
    harness.main()
