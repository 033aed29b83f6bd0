#!/usr/bin/env python3
"""Volumes: disk images as files of a mount of the whole store, against a model, loop devices, ext4, qemu-img and kill -9."""
import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import harness

BLOCK = 64 << 10
PUNCH, ZERO = 2 | 1, 16 | 1  # FALLOC_FL_PUNCH_HOLE and ZERO_RANGE, with KEEP_SIZE
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def have(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)


def run(*command, **options) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, **options)
    if done.returncode != 0:
        raise harness.Failed(f"{command} ended with {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode()


class Volume(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)

    @contextlib.contextmanager
    def opened(self, path: Path, flags: int = os.O_RDWR):
        fd = os.open(path, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def test_is_a_sparse_file_of_its_size(self):
        self.store.run("volume", "create", "disk", "--size", "10G")
        with self.store.mounted() as mount:
            path = mount / "volumes" / "disk.img"
            self.assertEqual(os.listdir(mount / "volumes"), ["disk.img"])
            self.assertEqual((path.stat().st_size, path.stat().st_blocks), (10 << 30, 0))
            with self.opened(path) as fd:
                with self.assertRaises(OSError):  # ENXIO: nothing but a hole
                    os.lseek(fd, 0, os.SEEK_DATA)
                os.pwrite(fd, b"x" * 100, 5 << 30)
                os.fsync(fd)
                self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 5 << 30)
                self.assertEqual(os.lseek(fd, 5 << 30, os.SEEK_HOLE), (5 << 30) + 4096)
                self.assertEqual(path.stat().st_blocks, 8)
                fallocate(fd, PUNCH, 0, 10 << 30)
                self.assertEqual(path.stat().st_blocks, 0)
                self.assertEqual(os.pread(fd, 100, 5 << 30), bytes(100))

    def test_changes_its_size_by_the_command_only(self):
        self.store.run("volume", "create", "disk", "--size", "1M")
        with self.store.mounted() as mount:
            path = mount / "volumes" / "disk.img"
            for size in (0, 4096, 2 << 20):
                with self.assertRaises(PermissionError):
                    os.truncate(path, size)
            os.truncate(path, 1 << 20)  # what it is
            with self.assertRaises(PermissionError):
                os.open(path, os.O_WRONLY | os.O_TRUNC)
            with self.opened(path) as fd:
                self.assertEqual(os.pwrite(fd, b"12345678", (1 << 20) - 4), 4)
                with self.assertRaises(OSError):
                    os.pwrite(fd, b"x", 1 << 20)
            self.store.run("volume", "resize", "disk", "3M")
            self.assertEqual(path.stat().st_size, 3 << 20)
            self.assertEqual(path.read_bytes(), bytes((1 << 20) - 4) + b"1234" + bytes(2 << 20))
            self.assertIn("can only grow", self.store.refuses("volume", "resize", "disk", "2M"))
            for there in (mount / "new", mount / "volumes" / "new.img", mount / "images" / "x"):
                with self.assertRaises(OSError):
                    there.write_bytes(b"")
            self.assertRaises(OSError, os.unlink, path)

    def test_is_what_a_model_says_through_kills_and_clones(self):
        size = 4 * (1 << 20) + 12_288
        rng = random.Random(7)
        model, name = bytearray(size), "v0"
        self.store.run("volume", "create", name, "--size", str(size))
        with self.store.mounted() as mount:
            for turn in range(5):
                path = mount / "volumes" / f"{name}.img"
                with self.opened(path) as fd:
                    for step in range(150):
                        offset = rng.randrange(size)
                        length = min(size - offset, rng.choice([1, 700, 4096, 5000, BLOCK, 200_000]))
                        if rng.random() < 0.3:
                            fallocate(fd, rng.choice([PUNCH, ZERO]), offset, length)
                            model[offset:offset + length] = bytes(length)
                        else:
                            data = rng.randbytes(length)
                            self.assertEqual(os.pwrite(fd, data, offset), length)
                            model[offset:offset + length] = data
                        if step % 50 == 25:
                            os.fsync(fd)
                            os.kill(self.store.server(), signal.SIGKILL)
                    self.assertEqual(os.pread(fd, size, 0), bytes(model))
                clone = f"v{turn + 1}"
                self.store.run("volume", "clone", name, clone)
                self.assertTrue((mount / "volumes" / f"{clone}.img").read_bytes() == bytes(model))
                name = clone
            expected = bytes(model)
        self.store.stop()  # everything must be on disk
        target = self.store.scratch / "out.raw"
        self.store.run("volume", "export", name, target)
        self.assertTrue(target.read_bytes() == expected)

    def test_clones_are_independent_and_cost_nothing(self):
        self.store.run("volume", "create", "disk", "--size", "10G")
        with self.store.mounted() as mount:
            disk, copy = mount / "volumes" / "disk.img", mount / "volumes" / "copy.img"
            with self.opened(disk) as fd:
                os.pwrite(fd, random.Random(1).randbytes(8 << 20), 1 << 30)
            self.store.run("volume", "map", "disk")  # settles it
            before = self.store.json("stats")
            began = time.monotonic()
            self.store.run("volume", "clone", "disk", "copy")
            self.assertLess(time.monotonic() - began, 60 if harness.SANITIZED else 2)
            self.assertEqual(self.store.json("stats").get("segment_bytes"), before.get("segment_bytes"))
            with self.opened(copy) as fd:
                os.pwrite(fd, b"copy", 1 << 30)
                fallocate(fd, PUNCH, (1 << 30) + BLOCK, BLOCK)
            with self.opened(disk) as one, self.opened(copy) as other:
                self.assertNotEqual(os.pread(one, 4, 1 << 30), b"copy")
                self.assertEqual(os.pread(other, 4, 1 << 30), b"copy")
                self.assertNotEqual(os.pread(one, BLOCK, (1 << 30) + BLOCK), bytes(BLOCK))
                self.assertEqual(os.pread(other, BLOCK, (1 << 30) + BLOCK), bytes(BLOCK))
                self.assertEqual(os.pread(one, 4096, (1 << 30) + 4096), os.pread(other, 4096, (1 << 30) + 4096))

    def test_removed_volumes_give_their_room_back_and_others_keep_theirs(self):
        self.store.run("volume", "create", "disk", "--size", "64M")
        data = random.Random(2).randbytes(4 << 20)
        with self.store.mounted() as mount:
            path = mount / "volumes" / "disk.img"
            with self.opened(path) as fd:
                os.pwrite(fd, data, 0)
                self.assertIn("is open", self.store.refuses("volume", "rm", "disk"))
            self.store.run("volume", "clone", "disk", "copy")
            self.store.run("volume", "rm", "disk")
            self.assertFalse(path.exists())
            self.store.run("gc")
            self.assertEqual((mount / "volumes" / "copy.img").read_bytes()[:len(data)], data)
        self.store.run("volume", "rm", "copy")
        self.assertGreaterEqual(self.store.json("gc", "--allow-empty")["dead_bytes"], len(data))

    def test_gc_settles_what_was_written(self):
        self.store.run("volume", "create", "disk", "--size", "64M")
        data = (b"stellarium" * 7000)[:BLOCK] * 64
        staged = lambda: sum(file.stat().st_blocks for file in (self.store.dir / "staged").rglob("*") if file.is_file())
        with self.store.mounted() as mount:
            with self.opened(mount / "volumes" / "disk.img") as fd:
                os.pwrite(fd, data, 0)
                self.assertGreaterEqual(staged() * 512, len(data))
                self.store.run("gc")
                self.assertEqual(staged(), 0)
                self.assertTrue(os.pread(fd, len(data), 0) == data)
                self.assertEqual(os.fstat(fd).st_blocks * 512, len(data))

    def test_import_and_export_of_raw_images(self):
        source = self.store.scratch / "disk.raw"
        with open(source, "wb") as file:
            file.write(random.Random(3).randbytes(300_000))
            file.seek(20 << 20)
            file.write(b"end" + bytes(1000))
        self.store.run("volume", "import", source, "disk")
        self.assertIn("already", self.store.refuses("volume", "import", source, "disk"))
        for target in (self.store.scratch / "out.raw", self.store.scratch / "again.raw"):
            self.store.run("volume", "export", "disk", target)
            self.assertTrue(target.read_bytes() == source.read_bytes())
            self.assertLess(target.stat().st_blocks * 512, 2 << 20)
        done = self.store.run("volume", "export", "disk", "-")
        self.assertTrue(done.stdout == source.read_bytes())
        listed = self.store.json("volume", "list")["volumes"]
        self.assertEqual([(one["name"], one["size"]) for one in listed], [("disk", source.stat().st_size)])
        ranges = self.store.json("volume", "map", "disk")["ranges"]
        self.assertEqual([one["data"] for one in ranges], [True, False, True])
        self.assertEqual(sum(one["length"] for one in ranges), source.stat().st_size)
        self.store.run("fsck", "--deep")

    def test_damage_is_named_and_never_read(self):
        source = self.store.scratch / "disk.raw"
        source.write_bytes(random.Random(5).randbytes(4 << 20))
        self.store.run("volume", "import", source, "disk")
        self.store.stop()
        segment = max((self.store.dir / "segments").iterdir(), key=lambda file: file.stat().st_size)
        with open(segment, "r+b") as file:
            file.seek(segment.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        done = self.store.run("fsck", "--deep", expect=4)
        self.assertIn(b"volume disk", done.stdout + done.stderr)
        self.store.refuses("volume", "export", "disk", self.store.scratch / "out.raw")
        self.assertEqual(os.listdir(self.store.scratch), ["disk.raw"])
        with self.store.mounted() as mount:
            with self.assertRaises(OSError):
                (mount / "volumes" / "disk.img").read_bytes()

    def test_bad_requests_get_one_line(self):
        self.store.run("volume", "create", "disk", "--size", "1M")
        for words in (("create", "disk", "--size", "1M"), ("create", "../x", "--size", "1M"), ("create", "x", "--size", "0"),
                      ("create", "x", "--size", "1000000T"), ("clone", "none", "x"), ("clone", "disk", "disk"), ("rm", "none"),
                      ("map", "none"), ("export", "none", self.store.scratch / "x"), ("export", "disk", self.store.scratch),
                      ("import", "/none", "x"), ("import", "/dev/null", "x"), ("resize", "disk", "x"), ("resize", "none", "1G")):
            self.store.refuses("volume", *words)
        self.assertEqual(os.listdir(self.store.scratch), [])
        for words in (("create", "x"), ("clone", "x"), ("rm",), ("list", "x"), ("map", "disk", "--size", "1M")):
            self.store.run("volume", *words, expect=2)

    def test_a_qcow2_image_is_what_qemu_img_says(self):
        if not have("qemu-img"):
            self.skipTest("qemu-img is not installed")
        raw, image, out = (self.store.scratch / name for name in ("a.raw", "a.qcow2", "out.raw"))
        with open(raw, "wb") as file:
            file.write(random.Random(4).randbytes(1 << 20))
            file.truncate(64 << 20)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, image)
        self.store.run("volume", "import", image, "disk")
        self.store.run("volume", "export", "disk", out)
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, out)
        with self.store.mounted() as mount:
            run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, mount / "volumes" / "disk.img")
        over = self.store.scratch / "over.qcow2"
        run("qemu-img", "create", "-f", "qcow2", "-b", image, "-F", "qcow2", over)
        self.assertIn("backing file", self.store.refuses("volume", "import", over, "x"))

    def test_holds_an_ext4_on_a_loop_device(self):
        if not have("losetup", "mkfs.ext4", "fsck.ext4"):
            self.skipTest("losetup, mkfs.ext4 or fsck.ext4 is not installed")
        self.store.run("volume", "create", "disk", "--size", "256M")
        with self.store.mounted() as mount:
            done = subprocess.run(["losetup", "--find", "--show", mount / "volumes" / "disk.img"], capture_output=True, text=True)
            if done.returncode != 0:
                self.skipTest(f"no loop device: {done.stderr.strip()}")
            loop = done.stdout.strip()
            where = Path(tempfile.mkdtemp(dir=self.store.root))
            try:
                run("mkfs.ext4", "-q", loop)
                run("mount", loop, where)
                try:
                    for i in range(200):
                        (where / f"file{i}").write_bytes(bytes([i]) * (i * 997))
                    os.sync()
                    os.kill(self.store.server(), signal.SIGKILL)
                    for i in range(0, 200, 2):
                        (where / f"file{i}").unlink()
                    for i in range(1, 200, 2):
                        self.assertEqual((where / f"file{i}").read_bytes(), bytes([i]) * (i * 997))
                    subprocess.run(["fstrim", where], check=False)
                finally:
                    run("umount", where)
                run("fsck.ext4", "-f", "-n", loop)
            finally:
                run("losetup", "-d", loop)
            self.store.run("volume", "clone", "disk", "copy")
            run("fsck.ext4", "-f", "-n", mount / "volumes" / "copy.img")


if __name__ == "__main__":
    harness.require_mounts()
    harness.main()
