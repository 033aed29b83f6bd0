#!/usr/bin/env python3
"""Random operations on a clone, beside ext4, a model of the bytes, or other processes. Seeds are fixed; STELLARIUM_SEED adds one."""
import errno
import mmap
import os
import random
import shutil
import stat
import subprocess
import time
import unittest
from pathlib import Path

import harness
import syscalls
import trees
from harness import Store

harness.require_mounts()
SEEDS = [1, 2] + ([int(os.environ["STELLARIUM_SEED"])] if "STELLARIUM_SEED" in os.environ else [])
OPERATIONS = int(os.environ.get("STELLARIUM_OPERATIONS", 600 if harness.SANITIZED else 3000))
DAY = 86_400 * 10**9


def comparable(tree: dict) -> dict:
    """A snapshot whose times are exact only where they were set: times of now differ by what the test took."""
    now = time.time_ns()
    return {path: entry | {"mtime": "now" if abs(entry["mtime"] - now) < DAY else entry["mtime"]} for path, entry in tree.items()}


class Pair:
    """Two trees in which the same is done."""

    def __init__(self, store: Store, twin: Path, mount: Path, seed: int):
        self.store, self.roots, self.random = store, [twin, mount], random.Random(seed)
        self.names = [f"{letter}{number}" for letter in "abc" for number in range(3)]
        self.paths = sorted(os.path.relpath(os.path.join(folder, name), twin)
                            for folder, folders, files in os.walk(twin) for name in folders + files if len(name) < 100)
        self.open: list[list[int]] = []
        self.log: list[str] = []

    def path(self) -> str:
        depth = self.random.choice((1, 1, 2, 2, 3))
        if self.random.random() < 0.25:
            return self.random.choice(self.paths)
        return "/".join(self.random.choice(self.names) for _ in range(depth))

    def size(self) -> int:
        return self.random.choice((0, 1, 10, 64, 65, 4095, 4096, 5000, 70_000, self.random.randrange(200_000)))

    def both(self, what: str, action) -> None:
        """action(root, side) in both; what it returns, or its errno, must be the same."""
        answers = []
        for side, root in enumerate(self.roots):
            try:
                answers.append(action(root, side))
            except OSError as error:
                answers.append(errno.errorcode.get(error.errno, error.errno))
        self.log.append(f"{what} -> {answers[0] if not isinstance(answers[0], bytes) else len(answers[0])}")
        if answers[0] != answers[1]:
            raise harness.Failed("\n".join(self.log[-12:]) + f"\next4 {str(answers[0])[:300]}, clone {str(answers[1])[:300]}")

    def step(self) -> None:
        pick, rng = self.random.random(), self.random
        user = rng.random() < 0.15
        if user:
            os.setegid(1000)
            os.seteuid(1000)
        try:
            if pick < 0.45:
                self.change_names(rng)
            elif pick < 0.65:
                self.change_attributes(rng)
            else:
                self.change_bytes(rng)
        finally:
            if user:
                os.seteuid(0)
                os.setegid(0)

    def change_names(self, rng) -> None:
        a, b, mode = self.path(), self.path(), rng.choice((0o644, 0o600, 0o755, 0o777, 0o4755, 0o2777, 0o1777))
        kind = rng.choice(("creat", "creat", "creat", "mkdir", "mkdir", "mknod", "symlink", "link", "link", "unlink", "unlink", "rmdir", "rename", "rename",
                           "rename", "list", "stat", "rmtree", "tmpfile"))
        flags = rng.choice((0, 0, 0, 0, syscalls.NOREPLACE, syscalls.EXCHANGE))
        how = rng.choice((os.O_EXCL, os.O_TRUNC, os.O_APPEND, 0)) | os.O_CREAT | os.O_RDWR
        node = rng.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG, stat.S_IFCHR))

        def stat_of(root, _):
            info = os.lstat(root / a)
            return info.st_mode, info.st_nlink, info.st_uid, info.st_gid, 0 if stat.S_ISDIR(info.st_mode) else info.st_size

        def make_unnamed(root, _):
            fd = syscalls.tmpfile(root / a, mode)
            try:
                os.write(fd, b"unnamed" * 100)
                syscalls.linkat(fd, "", root / b, syscalls.AT_EMPTY_PATH)
            finally:
                os.close(fd)
        actions = {
            "creat": lambda root, _: os.close(os.open(root / a, how, mode)),
            "mkdir": lambda root, _: os.mkdir(root / a, mode),
            "mknod": lambda root, _: os.mknod(root / a, node | mode, os.makedev(1, 3)),
            "symlink": lambda root, _: os.symlink(b, root / a),
            "link": lambda root, _: os.link(root / a, root / b, follow_symlinks=False),
            "unlink": lambda root, _: os.unlink(root / a),
            "rmdir": lambda root, _: os.rmdir(root / a),
            "rename": lambda root, _: syscalls.renameat2(root / a, root / b, flags),
            "list": lambda root, _: sorted(os.listdir(root / a)),
            "stat": stat_of,
            "rmtree": lambda root, _: shutil.rmtree(root / a) if rarely and (root / a).is_dir() else None,  # it would wait for a FIFO's writer
            "tmpfile": make_unnamed,
        }
        rarely = rng.random() < 0.2
        self.both(f"{kind} {a} {b} {mode:o} {flags} {how:o}", actions[kind])

    def change_attributes(self, rng) -> None:
        a, mode, owner = self.path(), rng.choice((0o644, 0o4755, 0o2755, 0o6777, 0o700, 0o1777)), rng.choice((-1, 0, 1000, 7))
        when = (rng.randrange(10**18), rng.randrange(10**18))
        name, value = f"{rng.choice(('user', 'trusted'))}.{rng.choice('xyz')}", bytes(rng.randrange(300))
        flags = rng.choice((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))
        acl = trees.acl((1, 6, -1), (2, rng.randrange(8), 1000), (4, 4, -1), (16, rng.randrange(8), -1), (32, 0, -1))
        acl_name = rng.choice(("system.posix_acl_access", "system.posix_acl_default"))

        def set_times(root, _):
            os.utime(root / a, ns=when)
            info = os.stat(root / a)
            return info.st_atime_ns, info.st_mtime_ns
        kind, action = rng.choice((
            ("chmod", lambda root, _: os.chmod(root / a, mode)),
            ("chown", lambda root, _: os.chown(root / a, owner, owner, follow_symlinks=False)),
            ("utimes", set_times),
            ("setxattr", lambda root, _: os.setxattr(root / a, name, value, flags)),
            ("getxattr", lambda root, _: os.getxattr(root / a, name)),
            ("removexattr", lambda root, _: os.removexattr(root / a, name)),
            ("listxattr", lambda root, _: sorted(name for name in os.listxattr(root / a) if not name.startswith("trusted."))),
            ("setfacl", lambda root, _: os.setxattr(root / a, acl_name, acl)),
            ("unsetfacl", lambda root, _: os.removexattr(root / a, acl_name))))
        self.both(f"{kind} {a} {mode:o} {owner} {name} {flags}", action)

    def change_bytes(self, rng) -> None:
        a, b, offset, size = self.path(), self.path(), self.size(), self.size()
        data = rng.randbytes(size)
        flags = rng.choice((os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY)) | os.O_NONBLOCK
        mode = rng.choice((0, 1, 3, 16, 17))

        def with_file(action, how=flags):
            def opened(root, side):
                fd = os.open(root / a, how)
                try:
                    return action(fd, side)
                finally:
                    os.close(fd)
            return opened

        def mapped(fd, _):
            length = min(os.fstat(fd).st_size, 100_000)
            if length == 0:
                return 0
            with mmap.mmap(fd, length) as memory:
                memory[length // 2:length] = (data + bytes(length))[:length - length // 2]
            return length

        def copy(root, _):
            ours = os.open(root / a, os.O_RDONLY | os.O_NONBLOCK)
            try:
                theirs = os.open(root / b, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    return os.copy_file_range(ours, theirs, size, offset, offset // 2)
                finally:
                    os.close(theirs)
            finally:
                os.close(ours)
        kind = rng.choice(("write", "write", "write", "read", "read", "truncate", "map", "allocate", "copy", "keep", "keep", "kept", "kept", "kept", "sync"))
        if kind in ("keep", "kept"):
            self.use_kept(rng, kind, a, flags, offset, data, mode)
            return
        self.both(f"{kind} {a} {b} flags {flags:o} at {offset}, {size} bytes, mode {mode}", {
            "write": with_file(lambda fd, _: os.pwrite(fd, data, offset)),
            "read": with_file(lambda fd, _: os.pread(fd, size, offset), os.O_RDONLY | os.O_NONBLOCK),
            "truncate": lambda root, _: os.truncate(root / a, offset),
            "map": with_file(mapped, os.O_RDWR | os.O_NONBLOCK),
            "allocate": with_file(lambda fd, _: syscalls.fallocate(fd, mode, offset, size)),
            "sync": with_file(lambda fd, _: os.fsync(fd)),
            "copy": copy}[kind])

    def use_kept(self, rng, kind, a, flags, offset, data, mode) -> None:
        """Files that stay open while their names come and go."""
        if kind == "keep" or not self.open:
            if len(self.open) > 8:
                for fd in self.open.pop(rng.randrange(len(self.open))):
                    os.close(fd)
            opened = []
            try:
                self.both(f"keep {a} {flags:o}", lambda root, _: opened.append(os.open(root / a, flags)))
            finally:
                if len(opened) == 2:
                    self.open.append(opened)
            return
        kept = rng.choice(self.open)

        def status(_, side):
            info = os.fstat(kept[side])
            return info.st_mode, info.st_nlink, info.st_uid, 0 if stat.S_ISDIR(info.st_mode) else info.st_size
        what, action = rng.choice((
            ("write", lambda _, side: os.pwrite(kept[side], data, offset)), ("read", lambda _, side: os.pread(kept[side], len(data), offset)),
            ("truncate", lambda _, side: os.ftruncate(kept[side], offset)), ("stat", status), ("sync", lambda _, side: os.fsync(kept[side])),
            ("allocate", lambda _, side: syscalls.fallocate(kept[side], mode, offset, len(data))),
            ("link", lambda root, side: syscalls.linkat(kept[side], "", root / a, syscalls.AT_EMPTY_PATH))))
        self.both(f"kept {kept} {what} {a} at {offset} {len(data)} mode {mode}", action)

    def close(self) -> None:
        for pair in self.open:
            for fd in pair:
                os.close(fd)
        self.open.clear()

    def check(self) -> None:
        if difference := harness.first_difference(*(comparable(trees.snapshot(root)) for root in self.roots)):
            raise harness.Failed("\n".join(self.log[-12:]) + "\n" + difference)


class Bytes:
    """A file whose bytes are known (fsx)."""

    LIMIT = 300_000

    def __init__(self, path: Path, name: str, rng: random.Random):
        self.name, self.path, self.random, self.log = name, path / name, rng, []
        self.bytes = bytearray(self.path.read_bytes())

    def put(self, offset: int, data: bytes) -> None:
        if data and len(self.bytes) < offset:
            self.bytes += bytes(offset - len(self.bytes))
        if data:
            self.bytes[offset:offset + len(data)] = data

    def step(self) -> None:
        rng = self.random
        offset, size = rng.randrange(self.LIMIT), rng.choice((1, 100, 4096, rng.randrange(1, 65_536)))
        if rng.random() < 0.3:
            offset &= ~4095
        kind = rng.choice(("write", "write", "read", "read", "map", "map", "truncate", "punch", "zero", "allocate", "copy", "direct", "reopen"))
        self.log.append(f"{kind} at {offset}, {size} bytes; the file has {len(self.bytes)}")
        fd = os.open(self.path, os.O_RDWR | (os.O_DIRECT if kind == "direct" else 0))
        try:
            getattr(self, kind)(fd, offset, size, rng.randbytes(size))
            if os.fstat(fd).st_size != len(self.bytes):
                self.wrong(f"the size is {os.fstat(fd).st_size}")
        finally:
            os.close(fd)

    def wrong(self, what: str) -> None:
        raise harness.Failed("\n".join(self.log[-15:]) + f"\n{self.path}: {what}")

    def same(self, at: int, expected: bytes, found: bytes) -> None:
        if expected != found:
            first = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b), min(len(expected), len(found)))
            self.wrong(f"{len(expected)} bytes expected at {at}, {len(found)} found; the first wrong one is at {at + first}")

    def write(self, fd, offset, size, data):
        os.pwrite(fd, data, offset)
        self.put(offset, data)

    def direct(self, fd, offset, size, data):
        offset &= ~4095
        with mmap.mmap(-1, 8192) as page:
            page[:] = (data + bytes(8192))[:8192]
            os.pwritev(fd, [page], offset)
            self.put(offset, page[:])
            done = os.preadv(fd, [page], max(0, offset - 4096))
            self.same(max(0, offset - 4096), bytes(self.bytes[max(0, offset - 4096):][:8192]), page[:done])

    def read(self, fd, offset, size, data):
        self.same(offset, bytes(self.bytes[offset:offset + size]), os.pread(fd, size, offset))

    def map(self, fd, offset, size, data):
        length = len(self.bytes)
        if length == 0:
            return
        with mmap.mmap(fd, length) as memory:
            start = min(offset, length - 1)
            data = data[:length - start]
            self.same(start, bytes(self.bytes[start:start + len(data)]), memory[start:start + len(data)])
            memory[start:start + len(data)] = data
            if self.random.random() < 0.5:
                memory.flush()
        self.put(start, data)

    def truncate(self, fd, offset, size, data):
        os.ftruncate(fd, offset)
        self.bytes = self.bytes[:offset] + bytes(max(0, offset - len(self.bytes)))

    def punch(self, fd, offset, size, data):
        syscalls.fallocate(fd, syscalls.PUNCH_HOLE | syscalls.KEEP_SIZE, offset, size)
        if offset < len(self.bytes):
            self.put(offset, bytes(min(size, len(self.bytes) - offset)))

    def zero(self, fd, offset, size, data):
        syscalls.fallocate(fd, syscalls.ZERO_RANGE, offset, size)
        self.put(offset, bytes(size))

    def allocate(self, fd, offset, size, data):
        syscalls.fallocate(fd, 0, offset, size)
        self.bytes += bytes(max(0, offset + size - len(self.bytes)))

    def copy(self, fd, offset, size, data):
        to = self.random.randrange(self.LIMIT)
        size = min(size, max(0, len(self.bytes) - offset))
        if size and abs(to - offset) >= size:
            if os.copy_file_range(fd, fd, size, offset, to) != size:
                self.wrong("a short copy")
            self.put(to, bytes(self.bytes[offset:offset + size]))

    def reopen(self, fd, offset, size, data):
        self.same(0, bytes(self.bytes), self.path.read_bytes())


def stress(root: Path, seed: int, until: float) -> list[str]:
    """What a process of many does; returns answers that no call should give."""
    rng, wrong = random.Random(seed), []
    paths = [root / a / b for a in ("", "x", "y", "x/z") for b in ("x", "y", "z", "f0", "f1", "f2", "f3")]
    kept = []
    while time.monotonic() < until:
        a, b = rng.choice(paths), rng.choice(paths)
        what = rng.choice(("open", "open", "open", "mkdir", "unlink", "unlink", "rmdir", "rename", "rename", "exchange", "link", "stat", "list", "write", "truncate",
                           "chmod", "setxattr", "read", "symlink", "run", "close", "tmpfile"))
        try:
            if what == "open":
                kept.append(os.open(a, os.O_RDWR | os.O_CREAT | rng.choice((0, os.O_TRUNC, os.O_EXCL)), 0o755))
            elif what == "write" and kept:
                os.pwrite(rng.choice(kept), rng.randbytes(rng.randrange(20_000)), rng.randrange(50_000))
            elif what == "read" and kept:
                os.pread(rng.choice(kept), 10_000, rng.randrange(50_000))
            elif what == "close" and kept or len(kept) > 10:
                os.close(kept.pop(rng.randrange(len(kept))))
            elif what == "tmpfile":
                kept.append(syscalls.tmpfile(a.parent))
            else:
                {"mkdir": lambda: os.mkdir(a), "unlink": lambda: os.unlink(a), "rmdir": lambda: os.rmdir(a), "rename": lambda: os.rename(a, b),
                 "exchange": lambda: syscalls.renameat2(a, b, syscalls.EXCHANGE), "link": lambda: os.link(a, b), "stat": lambda: os.lstat(a),
                 "list": lambda: os.listdir(a), "truncate": lambda: os.truncate(a, rng.randrange(50_000)), "chmod": lambda: os.chmod(a, 0o755),
                 "setxattr": lambda: os.setxattr(a, "user.x", b"x"), "symlink": lambda: os.symlink("x", a),
                 "run": lambda: a.read_bytes()}.get(what, lambda: None)()
        except OSError as error:
            expected = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP, errno.EXDEV, errno.EPERM)
            if error.errno not in expected:
                wrong.append(f"{what} {a} {b}: {errno.errorcode.get(error.errno)}")
    for fd in kept:
        os.close(fd)
    return wrong


class Random(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.umask(0o022)
        cls.store = cls.enterClassContext(Store())
        cls.tree = cls.store.scratch / "tree"
        trees.every_kind(cls.tree)
        for number in range(3):
            trees.write(cls.tree / f"a{number}", trees.noise(50_000 * number + 7, seed=number))
            (cls.tree / f"b{number}").mkdir()
            (cls.tree / f"b{number}").chmod(0o777)
            trees.write(cls.tree / f"b{number}" / "a0", b"small", 0o666)
            trees.write(cls.tree / f"b{number}" / "c1", b"#!/bin/sh\n", 0o755)
        for number in range(4):  # programs that `stress` meets
            trees.write(cls.tree / "b0" / f"f{number}", b"#!/bin/sh\n" + bytes(20_000 * number + 100), 0o777)
        for folder in (cls.store.root, cls.store.scratch):
            folder.chmod(0o755)
        cls.store.run("import", cls.tree, "base")

    def twin(self, seed: int) -> Path:
        where = self.store.scratch / f"twin{seed}"
        subprocess.run(["cp", "-a", "--sparse=always", self.tree, where], check=True)
        self.store.run("clone", "base", f"clone{seed}")
        return where

    def test_a_clone_answers_and_ends_as_ext4_does(self):
        for seed in SEEDS:
            twin = self.twin(seed)
            random_state = Pair(self.store, twin, twin, seed)
            for _ in range(3):
                with self.store.mounted(f"clone{seed}") as mount:
                    random_state.roots[1] = mount
                    try:
                        random_state.check()
                        for number in range(OPERATIONS // 3):
                            random_state.step()
                            if number % 400 == 399:
                                random_state.check()
                    finally:
                        random_state.close()
                    random_state.check()
            shutil.rmtree(twin)

    def test_files_hold_what_was_written(self):
        self.store.run("clone", "base", "bytes")
        rng = random.Random(5)
        files = None
        for _ in range(3):
            with self.store.mounted("bytes") as mount:
                if files is None:
                    os.truncate(mount / "holes" / "islands", 200_000)
                    files = [Bytes(mount, name, rng) for name in ("a1", "files/noise-300000", "files/text-64", "files/elf", "holes/islands")]
                for file in files:
                    file.path = mount / file.name
                    file.reopen(0, 0, 0, b"")
                for _ in range(OPERATIONS // 8):
                    for file in files:
                        file.step()
                for file in files:
                    file.reopen(0, 0, 0, b"")

    def test_many_processes_leave_a_whole_tree(self):
        self.store.run("clone", "base", "many")
        with self.store.mounted("many") as mount:
            until = time.monotonic() + 5
            reports = self.store.scratch / "reports"
            children = []
            for seed in range(6):
                if (child := os.fork()) == 0:
                    wrong = stress(mount / "b0", seed, until)
                    (reports.parent / f"report{seed}").write_text("\n".join(wrong))
                    os._exit(0)
                children.append(child)
            for child in children:
                self.assertEqual(os.waitpid(child, 0)[1], 0)
            for seed in range(6):
                self.assertEqual((reports.parent / f"report{seed}").read_text()[:2000], "")
            before = trees.snapshot(mount)
            trees.drop_caches()
            self.assertEqual(harness.first_difference(before, trees.snapshot(mount)), "")
        for path, entry in before.items():
            if "links" in entry:
                self.assertEqual(entry["nlink"], len(entry["links"]), path)
            elif "size" in entry:
                self.assertEqual(entry["nlink"], 1, path)
            else:
                folders = sum(1 for other, there in before.items() if "size" not in there and other and os.path.dirname(other) == path)
                self.assertEqual(entry["nlink"], 2 + folders, path)
        with self.store.mounted("many") as mount:
            self.assertEqual(harness.first_difference(before, trees.snapshot(mount)), "")
        self.assertEqual(self.store.json("fsck")["damage"], [])


if __name__ == "__main__":
    harness.main()
