#!/usr/bin/env python3
"""A clone or image may be mounted with shifted owners (systemd-nspawn -U): the same calls as on a shifted ext4 say the same and leave the same."""
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
import idmapped
import posix_cases
import trees
import twins
from harness import Store

harness.require_mounts()
harness.require(tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12), "FUSE mounts with shifted owners need Linux 6.12")


class SameAsExt4(twins.Twins):
    """The namespace's superuser runs each case in a folder of the clone and in its twin on ext4."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.namespace = cls.enterClassContext(idmapped.user_namespace())
        cls.shifted = []
        for source in (cls.twin, cls.mount):
            target = cls.store.scratch / f"shifted-{len(cls.shifted)}"
            target.mkdir()
            cls.shifted.append(cls.enterClassContext(idmapped.shown_shifted(source, target, cls.namespace)))

    def run_twice(self, name: str) -> list[list]:
        return [idmapped.as_root_of(self.namespace, lambda recorder, folder=folder: twins.CASES[name](folder / name, recorder))
                for folder in self.shifted]


SameAsExt4.add_cases()


class Shifted(unittest.TestCase):
    """What is shown of owners, whoever serves it."""

    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        tree = cls.store.scratch / "tree"
        posix_cases.populate(tree)
        shutil.copy("/usr/bin/id", tree / "id")
        (tree / "id").chmod(0o4755)
        trees.write(tree / "beyond")
        os.chown(tree / "beyond", idmapped.COUNT, idmapped.COUNT)
        tree.chmod(0o755)
        for folder in (cls.store.root, cls.store.scratch):
            folder.chmod(0o755)
        cls.store.run("import", tree, "base")
        cls.namespace = cls.enterClassContext(idmapped.user_namespace())

    @contextlib.contextmanager
    def shown(self, ref):
        """The mount of `ref`, and the same with shifted owners."""
        with self.store.mounted(ref) as mount, tempfile.TemporaryDirectory(dir=self.store.scratch) as folder:
            os.chmod(folder, 0o755)
            with idmapped.shown_shifted(mount, Path(folder), self.namespace) as shifted:
                yield mount, shifted

    def clone(self):
        name = f"clone-{self.id().rpartition('.')[2][:50].replace('_', '-')}"
        self.store.run("clone", "base", name)
        return name

    def test_an_image_is_shown_shifted_too(self):
        with self.shown("base") as (_, shifted):
            self.assertEqual(owner(shifted / "small"), idmapped.SHIFT)
            self.assertEqual(owner(shifted / "mine"), idmapped.SHIFT + posix_cases.USER)
            self.assertEqual(owner(shifted / "beyond"), 65_534)
            seen = idmapped.as_root_of(self.namespace, lambda do: [do.stat(shifted / "mine"), do(os.unlink, shifted / "mine")])
            self.assertEqual([seen[0][1][2:4], seen[1][1]], [(posix_cases.USER, posix_cases.GROUP), "EROFS"])

    def test_programs_of_the_superuser_run_as_the_namespaces(self):
        for ref in ("base", self.clone()):
            with self.shown(ref) as (_, shifted):
                def run(do, program=shifted / "id"):
                    do.as_user(posix_cases.USER, posix_cases.GROUP, lambda r: r.value(subprocess.check_output, [program, "-u"]))
                self.assertEqual(idmapped.as_root_of(self.namespace, run)[0][1], b"0\n")

    def test_who_is_not_mapped_makes_nothing(self):
        with self.shown(self.clone()) as (_, shifted):
            for make in (os.mkdir, os.mkfifo, lambda path: os.symlink("x", path), lambda path: os.open(path, os.O_CREAT | os.O_WRONLY)):
                with self.assertRaises(OSError) as refused:
                    make(shifted / "new")
                self.assertEqual(refused.exception.errno, errno.EOVERFLOW)

    def test_the_next_server_stores_the_same_owners(self):
        with self.shown(self.clone()) as (mount, shifted):
            def make(do):
                do.as_user(posix_cases.USER, posix_cases.GROUP, lambda r: r(os.mkdir, shifted / "other" / "theirs"))
                do(os.mkdir, shifted / "ours")
            (mount / "other").chmod(0o777)
            os.kill(self.store.server(), signal.SIGKILL)
            self.assertEqual([answer for _, answer in idmapped.as_root_of(self.namespace, make)], ["done", "done"])
            self.assertEqual((owner(mount / "ours"), owner(mount / "other" / "theirs")), (0, posix_cases.USER))


def owner(path: Path) -> int:
    return os.lstat(path).st_uid


if __name__ == "__main__":
    harness.main()
