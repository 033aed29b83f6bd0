#!/usr/bin/env python3
"""Whole system images, looked at with the usual tools: find, sha256sum, getfattr, getfacl, tar --compare.

    tests/mount/images_test.py [SOURCE…]     SOURCE: a tar of a system root, or a folder; without one: parts of this machine's own system
"""
import contextlib
import hashlib
import subprocess
import sys
import unittest
from pathlib import Path

import harness
from harness import Store

harness.require_mounts()
SOURCES = [Path(word).resolve() for word in sys.argv[1:] if not word.startswith("-")] or [Path("/etc"), Path("/usr/include")]
# Every field that find(1) knows and a copy keeps; how large a folder is, is the file system's own business.
FIND = ["find", ".", "(", "-type", "d", "-printf", r"%p\t%y %m %n %U %G %T@\n", ")", "-o", "-printf", r"%p\t%y %m %n %U %G %s %b %T@ %l\n"]
LISTINGS = {
    "find -printf": "",  # FIND
    "sha256sum": "find . -type f -print0 | sort -z | xargs -0r sha256sum -b",
    "getfattr": "find . -print0 | sort -z | xargs -0r getfattr -h -d -m - --absolute-names 2>/dev/null",
    "getfacl": "find . '!' -type l -print0 | sort -z | xargs -0r getfacl -n --skip-base --absolute-names 2>/dev/null",
}


def listing(root: Path, name: str) -> list[bytes]:
    command = FIND if name == "find -printf" else ["sh", "-c", LISTINGS[name]]
    return sorted(subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=False).stdout.split(b"\n"))


@contextlib.contextmanager
def imported(source: Path):
    """(store, source folder) with the source as "image" in the store."""
    with Store() as store:
        tree = source
        if source.is_file():
            tree = store.scratch / "tree"
            tree.mkdir()
            # Without --acls: GNU tar would then take away the ACLs that an archive keeps as plain attributes (mmdebstrap's do).
            subprocess.run(["tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", source], check=True)
        store.run("import", source, "image")
        yield store, tree


class Images(unittest.TestCase):
    def test_the_mount_and_the_export_equal_the_source(self):
        for source in SOURCES:
            with self.subTest(source.name), imported(source) as (store, tree):
                self.assert_mount_equals(store, tree)
                self.assert_export_equals(store, tree)
                entries = len(listing(tree, "find -printf")) - 1
                digest = hashlib.sha256(b"\n".join(listing(tree, "sha256sum"))).hexdigest()[:16]
                print(f"{source.name}: {entries} entries equal, contents {digest}", file=sys.stderr)

    def assert_mount_equals(self, store: Store, tree: Path):
        with store.mounted("image") as mount:
            for name in LISTINGS:
                expected, found = listing(tree, name), listing(mount, name)
                if expected != found:
                    self.fail(f"{name} differs: {sorted(set(expected) ^ set(found))[:10]}")

    def assert_export_equals(self, store: Store, tree: Path):
        archive = store.scratch / "export.tar"
        store.run("export", "image", archive)
        done = subprocess.run(["tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--acls", "--compare", "-f", archive], capture_output=True)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr[-500:])

    def test_a_clone_that_was_changed_becomes_an_image(self):
        with imported(SOURCES[0]) as (store, _):
            store.run("clone", "image", "changed")
            with store.mounted("changed") as mount:
                (mount / "new folder").mkdir()
                (mount / "new folder" / "file").write_bytes(b"new" * 100_000)
                next(path for path in sorted(mount.rglob("*")) if path.is_file() and not path.is_symlink()).unlink()
                expected = {name: listing(mount, name) for name in LISTINGS}
            store.run("commit", "changed", "made:1")
            store.run("rm", "changed", "image")
            store.run("gc")
            with store.mounted("made:1") as mount:
                for name in LISTINGS:
                    self.assertEqual(listing(mount, name), expected[name], name)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *(word for word in sys.argv[1:] if word.startswith("-"))]
    harness.main()
