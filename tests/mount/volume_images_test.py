#!/usr/bin/env python3
"""Volumes in and out: sparse disks, manifests, and one volume copied into another by reference."""
import contextlib
import os
import random
import shutil
import struct
import subprocess
import time
import unittest
from pathlib import Path

import harness
import trees

BLOCK = 64 << 10


def sparse(path: Path, size: int, pieces: dict[int, bytes]) -> Path:
    trees.sparse(path, size, pieces)
    return path


def data_ranges(path: Path) -> list[tuple[int, int]]:
    """Where the file has data, as the file system says."""
    ranges, at = [], 0
    with open(path, "rb") as file:
        with contextlib.suppress(OSError):  # ENXIO: only a hole is left
            while True:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
                at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
                ranges.append((begin, at))
    return ranges


class VolumeImages(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.scratch = self.store.scratch

    def mapped(self, name: str) -> list[tuple[int, int]]:
        return [(one["start"], one["start"] + one["length"]) for one in self.store.json("volume", "map", name)["ranges"] if one["data"]]

    # Holes

    def test_of_a_sparse_disk_only_the_data_is_read_and_stored(self):
        size, pieces = 10 << 30, {number * (1 << 30) + 12_288: trees.noise(10 << 20, seed=number) for number in range(10)}
        source = sparse(self.scratch / "disk.raw", size, pieces)
        trace = self.scratch / "trace"
        self.store.run("daemon", "start")  # not by the command that is traced, whose children are, too
        began = time.monotonic()
        if harness.SANITIZED:
            self.store.run("volume", "import", source, "disk")
        else:  # under strace, which counts what the command reads
            subprocess.run(["strace", "-f", "-e", "trace=pread64", "-o", trace, harness.COMMAND, "--store", self.store.dir, "volume", "import", source, "disk"],
                           check=True, env=self.store.environment, capture_output=True)
            read = sum(int(line.rsplit("= ", 1)[1]) for line in trace.read_text().splitlines() if "pread64(" in line and "= -" not in line)
            self.assertLess(read, 105 << 20)
            self.assertLess(time.monotonic() - began, 20)
        widened = [(at // BLOCK * BLOCK, -(-(at + (10 << 20)) // BLOCK) * BLOCK) for at in pieces]
        self.assertEqual(self.mapped("disk"), widened)
        target = self.scratch / "out.raw"
        self.store.run("volume", "export", "disk", target)
        self.assertEqual(target.stat().st_size, size)
        self.assertLess(target.stat().st_blocks * 512, 105 << 20)
        self.assertEqual(data_ranges(target), widened)
        with open(target, "rb") as file:
            for at, data in pieces.items():
                file.seek(at)
                self.assertTrue(file.read(len(data)) == data)

    def test_zeros_that_were_written_become_holes(self):
        source = self.scratch / "disk.raw"
        data = trees.noise(BLOCK, seed=1)
        source.write_bytes(bytes(3 * BLOCK) + data + bytes(2 * BLOCK) + data[:100] + bytes(BLOCK) + bytes(500))
        self.store.run("volume", "import", source, "disk")
        self.assertEqual(self.mapped("disk"), [(3 * BLOCK, 4 * BLOCK), (6 * BLOCK, 7 * BLOCK)])
        target = self.scratch / "out.raw"
        self.store.run("volume", "export", "disk", target)
        self.assertTrue(target.read_bytes() == source.read_bytes())
        self.assertEqual(data_ranges(target), [(3 * BLOCK, 4 * BLOCK), (6 * BLOCK, 7 * BLOCK)])
        self.assertTrue(self.store.run("volume", "export", "disk", "-").stdout == source.read_bytes(), "standard output gets all bytes")

    def test_a_disk_of_zeros_is_empty_and_comes_out_as_one_hole(self):
        source = sparse(self.scratch / "disk.raw", (1 << 30) + 77, {})
        self.store.run("volume", "import", source, "disk")
        self.assertEqual(self.mapped("disk"), [])
        self.store.run("volume", "export", "disk", self.scratch / "out.raw")
        self.assertEqual(((self.scratch / "out.raw").stat().st_size, data_ranges(self.scratch / "out.raw")), ((1 << 30) + 77, []))

    # Manifests

    def make(self, name: str, size: int = 20 * BLOCK + 300) -> bytes:
        source = sparse(self.scratch / f"{name}.raw", size, {BLOCK: trees.noise(3 * BLOCK, seed=1), 19 * BLOCK: trees.noise(BLOCK + 300, seed=2)})
        self.store.run("volume", "import", source, name)
        return source.read_bytes()

    def test_a_manifest_becomes_the_same_volume_again(self):
        data = self.make("disk")
        file = self.scratch / "disk.tinyvol"
        self.store.run("volume", "manifest", "disk", file)
        manifest = file.read_bytes()
        self.assertEqual((len(manifest), manifest[:8], struct.unpack_from("<Q", manifest, 48)[0]), (64 + 5 * 48, b"TINYVOL\0", len(data)))
        self.assertEqual(self.store.run("volume", "manifest", "disk").stdout, manifest)
        self.store.run("volume", "import", file, "again")
        self.store.run("volume", "import", "--format", "tinyvol", "-", "piped", input=manifest)
        self.store.run("volume", "rm", "disk")
        self.store.run("gc")
        for name in ("again", "piped"):
            self.assertEqual(self.store.run("volume", "manifest", name, "-").stdout, manifest)
            self.assertTrue(self.store.run("volume", "export", name, "-").stdout == data)
        self.store.run("fsck", "--deep")

    def test_a_manifest_that_was_kept_brings_a_volume_back_after_the_loss_of_the_database(self):
        data = self.make("disk")
        manifest = self.store.run("volume", "manifest", "disk").stdout
        self.store.stop()
        shutil.rmtree(self.store.dir / "db")
        self.store.run("fsck", "--repair", expect=None)
        self.assertEqual(self.store.json("volume", "list")["volumes"], [])
        self.store.run("volume", "import", "--format", "tinyvol", "-", "disk", input=manifest)
        self.store.run("gc")
        self.assertTrue(self.store.run("volume", "export", "disk", "-").stdout == data)
        self.store.run("fsck", "--deep")

    def test_an_empty_volume_has_a_manifest_of_64_bytes(self):
        self.store.run("volume", "create", "disk", "--size", "10G")
        manifest = self.store.run("volume", "manifest", "disk").stdout
        self.assertEqual(len(manifest), 64)
        self.store.run("volume", "import", "--format", "tinyvol", "-", "again", input=manifest)
        self.assertEqual([one["size"] for one in self.store.json("volume", "list")["volumes"]], [10 << 30, 10 << 30])

    def test_a_manifest_of_blocks_that_are_elsewhere_is_refused(self):
        self.make("disk")
        manifest = self.store.run("volume", "manifest", "disk").stdout
        file = self.scratch / "disk.tinyvol"
        file.write_bytes(manifest)
        with harness.Store() as other:
            line = other.refuses("volume", "import", file, "disk")
            self.assertIn(f"5 of 5 blocks are not in the store, the first is chunk {manifest[64:96].hex()} of offset {BLOCK}", line)
            self.assertEqual(other.json("volume", "list")["volumes"], [])

    def test_malformed_manifests_are_refused(self):
        self.make("disk")
        manifest = self.store.run("volume", "manifest", "disk").stdout
        changed = lambda at, value: manifest[:at] + value + manifest[at + len(value):]
        for bad in (manifest[:-1], manifest + b"x", manifest[:63], manifest[:20], changed(8, b"\2"), changed(12, b"\1"), changed(16, b"\1"),
                    changed(56, b"\4"), changed(96, b"\1"), changed(102, b"\0"), changed(104, b"\2"), changed(64 + 48 + 32, manifest[96:102])):
            self.store.refuses("volume", "import", "--format", "tinyvol", "-", "bad", input=bad)
        raw = self.scratch / "a.raw"
        raw.write_bytes(b"no manifest")
        self.assertIn("not of format tinyvol", self.store.refuses("volume", "import", "--format", "tinyvol", raw, "bad"))
        self.assertIn("standard input", self.store.refuses("volume", "import", "-", "bad"))
        self.assertIn("no volume none", self.store.refuses("volume", "manifest", "none", self.scratch / "none"))
        self.assertEqual([one["name"] for one in self.store.json("volume", "list")["volumes"]], ["disk"])
        self.assertFalse((self.scratch / "none").exists())

    # copy_file_range

    def test_a_volume_is_copied_into_another_by_reference(self):
        size, data = 10 << 30, random.Random(1).randbytes(8 << 20)
        for name in ("from", "to"):
            self.store.run("volume", "create", name, "--size", str(size))
        with self.store.mounted() as mount:
            source, target = (os.open(mount / "volumes" / f"{name}.img", os.O_RDWR) for name in ("from", "to"))
            try:
                os.pwrite(source, data, 1 << 30)
                os.pwrite(target, b"old" * 1000, (1 << 30) - 500)
                self.assertEqual(os.pread(target, 3, 1 << 30), b"dol")  # in the page cache, which must forget it
                done = 0
                while done < size:
                    done += os.copy_file_range(source, target, size - done, done, done)
                self.assertEqual(os.pread(target, 1000, (1 << 30) - 500), bytes(500) + data[:500])
                self.assertTrue(os.pread(target, len(data), 1 << 30) == data)
                os.pwrite(source, b"new", 1 << 30)
                os.pwrite(target, b"NEW", (1 << 30) + 3)
                self.assertEqual((os.pread(source, 6, 1 << 30), os.pread(target, 6, 1 << 30)), (b"new" + data[3:6], data[:3] + b"NEW"))
                # Whole blocks in the middle, and what is none.
                self.assertEqual(os.copy_file_range(source, target, BLOCK, (1 << 30) + BLOCK, 5 * BLOCK), BLOCK)
                self.assertTrue(os.pread(target, BLOCK, 5 * BLOCK) == data[BLOCK:2 * BLOCK])
                self.assertEqual(os.copy_file_range(source, target, 5000, (1 << 30) + 10, 77), 5000)
                self.assertTrue(os.pread(target, 5000, 77) == (b"new" + data[3:])[10:5010])
                os.fsync(target)
            finally:
                os.close(source)
                os.close(target)
        self.store.run("gc")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.require_mounts()
    harness.main()
