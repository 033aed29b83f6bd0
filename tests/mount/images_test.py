#!/usr/bin/env python3
"""Whole system images, looked at with the usual tools: find, sha256sum, getfattr, getfacl, tar --compare.

    tests/mount/images_test.py [SOURCE…]     SOURCE: a tar of a system root, or a folder; without one: parts of this machine's own system
"""
import hashlib
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import harness
from harness import Store

harness.require_mounts()
SOURCES = [Path(word).resolve() for word in sys.argv[1:] if not word.startswith("-")] or [Path("/etc"), Path("/usr/include")]
# Every field of a file that a copy keeps; sizes of folders are the file system's own business.
FIND = ["find", ".", "(", "-type", "d", "-printf", r"%P\t%y %m %U %G %n %T@\n", ")", "-o", "-printf", r"%P\t%y %m %U %G %n %T@ %s %l\n"]
LISTINGS = {
    "find -printf": "",  # FIND
    "sha256sum": "find . -type f -print0 | sort -z | xargs -0r sha256sum -b",
    "getfattr": "find . -print0 | sort -z | xargs -0r getfattr -h -d -m - --absolute-names 2>/dev/null",
    "getfacl": "find . '!' -type l -print0 | sort -z | xargs -0r getfacl -n --skip-base --absolute-names 2>/dev/null",
}


def listing(root: Path, name: str) -> list[bytes]:
    command = FIND if name == "find -printf" else ["sh", "-c", LISTINGS[name]]
    return sorted(subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=False).stdout.split(b"\n"))


class Images(unittest.TestCase):
    def each(self):
        """(store, source folder, reference) of every source, imported."""
        for source in SOURCES:
            with self.subTest(source.name), Store() as store:
                tree = source
                if source.is_file():
                    tree = store.scratch / "tree"
                    tree.mkdir()
                    subprocess.run(["tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", source], check=True)
                store.run("import", source, "image")
                yield store, tree

    def test_the_mount_and_the_export_equal_the_source(self):
        for store, tree in self.each():
            with store.mounted("image") as mount:
                for name in LISTINGS:
                    expected, found = listing(tree, name), listing(mount, name)
                    if expected != found:
                        wrong = sorted(set(expected) ^ set(found))[:10]
                        self.fail(f"{name} differs: {wrong}")
            with tempfile.NamedTemporaryFile(dir=store.scratch) as archive:
                store.run("export", "image", archive.name)
                done = subprocess.run(["tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--acls", "--compare", "-f", archive.name],
                                      capture_output=True)
                self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr[-500:])
            files = len(listing(tree, "find -printf")) - 1
            digest = hashlib.sha256(b"\n".join(listing(tree, "sha256sum"))).hexdigest()[:16]
            print(f"{tree if tree != store.scratch / 'tree' else 'image'}: {files} entries equal, contents {digest}", file=sys.stderr)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *(word for word in sys.argv[1:] if word.startswith("-"))]
    harness.main()
