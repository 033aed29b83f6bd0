"""What programs do to a tree, one function a behaviour: each is run in a folder of a clone and in its twin on ext4, and must say the same.

`d` is a folder that `populate` filled; `do` is a syscalls.Recorder."""
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import syscalls
import trees
from syscalls import EXCHANGE, KEEP_SIZE, NOREPLACE, PUNCH_HOLE, UTIME_NOW, UTIME_OMIT, fallocate, renameat2, utimensat

CASES = {}
USER, GROUP = 1000, 1000


def case(function):
    CASES[function.__name__] = function
    return function


def populate(d: Path) -> None:
    d.mkdir(parents=True)
    d.chmod(0o777)
    trees.write(d / "data", trees.noise(300_000, seed=7))
    trees.write(d / "small", b"small\n")
    trees.write(d / "empty")
    trees.write(d / "script", b"#!/bin/sh\necho it runs\n" + b"# more than an inode record takes\n" * 3, 0o755)
    shutil.copy("/bin/true", d / "program")
    (d / "sub" / "deep").mkdir(parents=True)
    trees.write(d / "sub" / "inner", b"inner\n")
    trees.write(d / "sub" / "deep" / "bottom", b"bottom\n")
    (d / "other").mkdir()
    trees.write(d / "one", b"two names\n")
    os.link(d / "one", d / "two")
    os.symlink("small", d / "link")
    trees.sparse(d / "sparse", 3 << 20, {1 << 20: trees.noise(1 << 20, seed=3)})
    for name, mode in (("mine", 0o644), ("suid", 0o4755), ("sgid", 0o2755), ("sgid-alone", 0o2644), ("both", 0o6777)):
        trees.write(d / name, b"mine\n" * 40)
        os.chown(d / name, USER, GROUP)
        os.chmod(d / name, mode)
    trees.write(d / "capable", b"\x7fELF" + bytes(100), 0o755)
    os.setxattr(d / "capable", "security.capability", trees.CAPABILITY)
    trees.write(d / "attributes", b"a" * 100)
    os.setxattr(d / "attributes", "user.one", b"1")


def write_file(path, data: bytes, offset: int = 0, flags: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


# Names


@case
def create_and_unlink(d, do):
    do(os.close, os.open(d / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    do(os.open, d / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    do(os.open, d / "small", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    do(os.open, d / "link", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    do(os.open, d / "link", os.O_RDONLY | os.O_NOFOLLOW)
    do(os.open, d / "sub", os.O_WRONLY)
    do(os.open, d / "sub", os.O_CREAT | os.O_RDWR)
    do(os.open, d / "small", os.O_RDONLY | os.O_DIRECTORY)
    do(os.open, d / "missing", os.O_RDONLY)
    do(os.unlink, d / "missing")
    do(os.unlink, d / "sub")
    do(os.rmdir, d / "small")
    do(os.rmdir, d / "sub")
    do(os.rmdir, d / "missing")
    do(os.rmdir, d / "other")
    do(os.mkdir, d / "other")
    do(os.mkdir, d / "small")
    do(os.mkdir, d / "link")
    do(os.unlink, d / "link")
    do.stat(d / "link")
    do(os.unlink, d / "small")
    do(os.unlink, d / "small")
    do.stat(d / "small")
    do(os.mkdir, d / "small")
    do.stat(d / "small")
    do.stat(d)
    do.value(lambda: sorted(os.listdir(d)))
    do(os.rmdir, f"{d}/other/.")
    do(os.rmdir, f"{d}/sub/..")
    do(os.unlink, f"{d}/mine/")
    do(os.mkdir, f"{d}/trailing/")
    do(os.open, f"{d}/nofile/", os.O_CREAT | os.O_WRONLY)


@case
def recreate_over_whiteouts(d, do):
    for _ in range(3):
        do(shutil.rmtree, d / "sub")
        do(os.mkdir, d / "sub")
        do.value(os.listdir, d / "sub")
        (d / "sub" / "again").write_bytes(b"again")
        do.value(os.listdir, d / "sub")
        do.stat(d / "sub")
    do(os.unlink, d / "data")
    do(os.symlink, "x", d / "data")
    do(os.unlink, d / "data")
    do(os.mkfifo, d / "data")
    do.stat(d / "data")
    do.value(lambda: sorted(os.listdir(d)))


@case
def rename_forms(d, do):
    do(os.rename, d / "missing", d / "x")
    do(os.rename, d / "small", d / "missing" / "x")
    do(os.rename, d / "small", d / "data")
    do.value((d / "data").read_bytes)
    do(os.rename, d / "sub", d / "data")
    do(os.rename, d / "data", d / "sub")
    do(os.rename, d / "other", d / "sub")
    do(os.rename, d / "sub", d / "sub" / "deep" / "below")
    do(os.rename, d / "sub", d / "sub" / "below")
    do(os.rename, d / "sub" / "deep", d / "sub")
    do(os.rename, d / "sub", d / "other")
    do.stat(d / "other")
    do.stat(d)
    do.value(lambda: sorted(os.listdir(d / "other")))
    do(os.rename, d / "other" / "deep", d / "deep")
    do.stat(d)
    do.stat(d / "other")
    do.value(lambda: os.lstat(d / "deep" / "..").st_ino == os.lstat(d).st_ino)
    do(os.rename, d / "one", d / "two")
    do.stat(d / "one")
    do(os.rename, d / "two", d / "two")
    do(os.rename, d / "link", d / "link2")
    do.value(os.readlink, d / "link2")
    do(os.rename, d / "mine", d / "deep" / "mine")
    do(os.rename, f"{d}/deep/.", d / "x")
    do(os.rename, f"{d}/data/", d / "x")
    do(os.rename, d / "data", f"{d}/x/")


@case
def rename_noreplace(d, do):
    do(renameat2, d / "small", d / "data", NOREPLACE)
    do(renameat2, d / "small", d / "fresh", NOREPLACE)
    do(renameat2, d / "one", d / "two", NOREPLACE)
    do(renameat2, d / "sub", d / "other", NOREPLACE)
    do(renameat2, d / "missing", d / "other", NOREPLACE)
    do(renameat2, d / "data", d / "data", NOREPLACE)
    do(renameat2, d / "data", d / "fresh", NOREPLACE | EXCHANGE)
    do(renameat2, d / "data", d / "fresh", 64)
    do.value(lambda: sorted(os.listdir(d)))


@case
def rename_exchange(d, do):
    do(renameat2, d / "small", d / "data", EXCHANGE)
    do.value((d / "small").read_bytes)
    do(renameat2, d / "small", d / "missing", EXCHANGE)
    do(renameat2, d / "small", d / "sub", EXCHANGE)
    do.stat(d / "small")
    do.stat(d / "sub")
    do.stat(d)
    do(renameat2, d / "small", d / "small" / "deep", EXCHANGE)
    do(renameat2, d / "small" / "deep", d / "small", EXCHANGE)
    do(renameat2, d / "small" / "deep", d / "other", EXCHANGE)
    do.stat(d / "small")
    do.stat(d / "other")
    do(renameat2, d / "small" / "inner", d / "other", EXCHANGE)
    do.stat(d / "small")
    do.stat(d)
    do.value(lambda: os.lstat(d / "small" / "inner" / "..").st_ino == os.lstat(d / "small").st_ino)
    do(renameat2, d / "one", d / "two", EXCHANGE)
    do(renameat2, d / "link", d / "two", EXCHANGE)
    do.value(os.readlink, d / "two")


@case
def rename_whiteout(d, do):
    do(renameat2, d / "small", d / "moved", syscalls.WHITEOUT)
    do.stat(d / "small")
    do.stat(d / "moved")
    do.value(lambda: sorted(os.listdir(d)))


@case
def listings_after_rename_of_folders(d, do):
    def dots(path):
        entries = {}
        fd = os.open(path, os.O_RDONLY)
        out = subprocess.run(["ls", "-aiU", path], capture_output=True, check=True).stdout.decode().split("\n")
        os.close(fd)
        for line in filter(None, out):
            number, name = line.split()
            entries[name] = int(number)
        return entries["."] == os.lstat(path).st_ino, entries[".."] == os.lstat(Path(path).parent).st_ino
    do.value(dots, d / "sub" / "deep")
    do(os.rename, d / "sub" / "deep", d / "other" / "deep")
    do.value(dots, d / "other" / "deep")
    do(renameat2, d / "other" / "deep", d / "sub", EXCHANGE)
    do.value(dots, d / "sub")
    do.value(dots, d / "other" / "deep")


@case
def hard_links(d, do):
    number = os.lstat(d / "one").st_ino
    do(os.link, d / "one", d / "three")
    do.stat(d / "two")
    do.value(lambda: os.lstat(d / "three").st_ino == os.lstat(d / "two").st_ino == number)
    do(os.link, d / "sub", d / "dirlink")
    do(os.link, d / "one", d / "small")
    do(os.link, d / "missing", d / "x")
    do(os.link, d / "one", d / "missing" / "x")
    do(os.link, d / "link", d / "link2", follow_symlinks=False)
    do.stat(d / "link2")
    write_file(d / "three", b"written", 0)
    do.value((d / "one").read_bytes)
    do(os.chmod, d / "two", 0o600)
    do.stat(d / "three")
    do.value(lambda: os.lstat(d / "one").st_ino == number)
    for name in ("one", "two"):
        do(os.unlink, d / name)
        do.stat(d / "three")
    do(os.rename, d / "three", d / "sub" / "three")
    do.stat(d / "sub" / "three")
    do(os.unlink, d / "sub" / "three")


@case
def numbers_never_change(d, do):
    names = ("data", "small", "empty", "sub", "link", "one", "script", "sparse")
    before = {name: os.lstat(d / name).st_ino for name in names}
    (d / "data").write_bytes(b"new")
    (d / "small").write_bytes(b"new")
    (d / "empty").write_bytes(b"new")
    (d / "one").write_bytes(b"new")
    os.truncate(d / "sparse", 5)
    (d / "script").chmod(0o700)
    os.rename(d / "sub", d / "bus")
    os.rename(d / "link", d / "sub")
    now = {name: os.lstat(d / {"sub": "bus", "link": "sub"}.get(name, name)).st_ino for name in names}
    do.see(before == now)


@case
def long_names(d, do):
    for length in (255, 256, 1000, 1024, 1025, 4094):
        name = d / ("n" * length)
        do(os.mkdir, name)
        do(os.rmdir, name)
        do(os.close, os.open(d / "t", os.O_CREAT | os.O_WRONLY))
        do(os.rename, d / "t", name)
        do.stat(name)
        do(os.link, d / "small", name)
        do(os.symlink, "x", name)
        do(os.open, name, os.O_RDONLY)
        do(os.mkfifo, name)
        do(os.unlink, name)
    do.stat(d / "missing" / ("n" * 256))
    do.stat(d / "small" / ("n" * 256))
    do.stat(d / ("n" * 256) / "x")
    do.stat(d / "small" / "x")
    do.stat(d / "missing" / "x")
    do(os.open, d / "small" / "x", os.O_CREAT | os.O_WRONLY)
    do(os.open, d / "missing" / "x", os.O_CREAT | os.O_WRONLY)
    do(os.mkdir, d / "small" / "x")
    do(os.unlink, d / "small" / "x")
    do(os.symlink, "", d / "nothing")
    do(os.symlink, "x" * 4095, d / "longest")
    do.value(lambda: len(os.readlink(d / "longest")))
    do.stat(d / "longest")
    do(os.symlink, "x" * 4096, d / "too-long")
    os.symlink("loop", d / "loop")
    do(os.open, d / "loop", os.O_RDONLY)
    for name in (b"\xff\xfe", b"new\nline", b"\x01", b"...", "snowman-☃".encode(), b" ", b".wh.x"):
        do(os.mkdir, os.fsencode(d) + b"/" + name)
    do.value(lambda: sorted(os.listdir(os.fsencode(d))))


@case
def times_of_folders_and_files(d, do):
    where = {"d": d, "sub": d / "sub"}
    do.touched(os.mkdir, d / "sub" / "new", **where)
    do.touched(os.rmdir, d / "sub" / "new", **where)
    do.touched(os.mkfifo, d / "sub" / "fifo", **where)
    do.touched(os.symlink, "x", d / "sub" / "symlink", **where)
    do.touched(os.link, d / "small", d / "sub" / "hard", file=d / "small", **where)
    do.touched(os.unlink, d / "sub" / "hard", file=d / "small", **where)
    do.touched(os.rename, d / "small", d / "sub" / "moved", d=d, sub=d / "sub", other=d / "other")
    do.touched(os.rename, d / "sub" / "moved", d / "sub" / "again", **where)
    do.touched(os.rename, d / "sub" / "deep", d / "deep", **where)
    do.touched(os.rename, d / "one", d / "two", one=d / "one", two=d / "two", d=d)
    do.touched(os.rename, d / "missing", d / "two", two=d / "two", d=d)
    do.touched(renameat2, d / "data", d / "sub" / "inner", EXCHANGE, data=d / "data", inner=d / "sub" / "inner", **where)
    file = {"file": d / "data"}
    do.touched(write_file, d / "data", b"x", **file)
    do.touched(write_file, d / "data", b"", **file)
    do.touched(os.truncate, d / "data", 100, **file)
    do.touched(os.truncate, d / "data", 100, **file)
    do.touched(os.truncate, d / "data", 200, **file)
    do.touched(write_file, d / "data", b"", 0, os.O_TRUNC, **file)
    do.touched(write_file, d / "data", b"", 0, os.O_TRUNC, **file)
    do.touched(os.chmod, d / "data", 0o600, **file)
    do.touched(os.chmod, d / "data", 0o600, **file)
    do.touched(os.chown, d / "data", 5, 5, **file)
    do.touched(os.chown, d / "data", -1, -1, **file)
    do.touched(os.setxattr, d / "data", "user.a", b"1", **file)
    do.touched(os.removexattr, d / "data", "user.a", **file)
    do.touched(os.removexattr, d / "data", "user.a", **file)
    do.touched(os.utime, d / "data", (5, 5), **file)
    do.touched(lambda: (d / "data").read_bytes(), **file)
    do.touched(write_file, d / "empty", b"x", file=d / "empty", d=d)
    do.touched(os.truncate, d / "sparse", 3 << 20, file=d / "sparse")
    do.touched(os.truncate, d / "one", 3, one=d / "one", two=d / "two")

    def by_descriptor(path, what):
        fd = os.open(path, os.O_RDWR)
        what(fd)
        os.close(fd)
    do.touched(by_descriptor, d / "mine", lambda fd: os.ftruncate(fd, 200), file=d / "mine")
    do.touched(by_descriptor, d / "mine", lambda fd: os.ftruncate(fd, 100), file=d / "mine")
    do.touched(by_descriptor, d / "mine", lambda fd: fallocate(fd, 0, 0, 5000), file=d / "mine")
    do.touched(by_descriptor, d / "mine", lambda fd: fallocate(fd, KEEP_SIZE, 0, 500_000), file=d / "mine")
    do.touched(by_descriptor, d / "mine", lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 50), file=d / "mine")
    do.touched(by_descriptor, d / "mine", lambda fd: os.fchmod(fd, 0o640), file=d / "mine")
    do.touched(by_descriptor, d / "mine", os.fsync, file=d / "mine")


@case
def explicit_times(d, do):
    def times(path):
        info = os.lstat(path)
        return info.st_atime_ns, info.st_mtime_ns
    for path in (d / "data", d / "sub", d / "script"):
        for when in ((0, 0), (1, 999_999_999), (-1, 0), (-2_000_000_000, 5), (4_000_000_000, 1), (1 << 33, 7)):
            do(utimensat, path, when, (when[0] + 1, when[1]))
            do.value(times, path)
        do(utimensat, path, (9, 9), (0, UTIME_OMIT))
        do.value(times, path)
        do(utimensat, path, (0, UTIME_OMIT), (8, 8))
        do.value(times, path)
        do(utimensat, path, (0, UTIME_OMIT), (0, UTIME_OMIT))
        do.value(times, path)
        do(utimensat, path, (0, UTIME_NOW), (0, UTIME_OMIT))
        do.value(lambda p: times(p)[1], path)
        do(utimensat, path, (0, 1_000_000_000), (0, 0))
        do(utimensat, path, (3, 3), (0, UTIME_NOW))
        do.value(lambda p: times(p)[0], path)
    # A time that was set stays through chmod, rename and a read, and goes with a write.
    do(os.utime, d / "data", ns=(5, 123_456_789))
    os.chmod(d / "data", 0o600)
    os.rename(d / "data", d / "moved")
    do.value(times, d / "moved")
    write_file(d / "moved", b"x")
    do(os.utime, d / "moved", ns=(5, 123_456_789))
    os.setxattr(d / "moved", "user.x", b"")
    os.link(d / "moved", d / "data")
    do.value(times, d / "data")
    do(os.utime, d / "link", ns=(77, 78), follow_symlinks=False)
    do.value(times, d / "link")
    do.as_user(USER + 1, GROUP, lambda r: (r(os.utime, d / "mine", (1, 1)), r(os.utime, d / "mine")))
    do.as_user(USER, GROUP, lambda r: (r(os.utime, d / "mine", (1, 1)), r(os.utime, d / "mine"), r(os.utime, d / "small")))


# Nodes


@case
def devices_fifos_sockets(d, do):
    for name, mode, major, minor in (("null", stat.S_IFCHR | 0o666, 1, 3), ("zero", stat.S_IFCHR | 0o600, 0, 0), ("disk", stat.S_IFBLK | 0o660, 259, 70_000),
                                     ("big", stat.S_IFCHR | 0o644, 4095, 1_048_575), ("fifo", stat.S_IFIFO | 0o600, 0, 0), ("sock", stat.S_IFSOCK | 0o777, 0, 0),
                                     ("file", stat.S_IFREG | 0o644, 0, 0)):
        do(os.mknod, d / name, mode, os.makedev(major, minor))
        do.stat(d / name)
        do(os.mknod, d / name, mode, os.makedev(major, minor))
    do(os.mknod, d / "dir", stat.S_IFDIR | 0o755)
    do.value(lambda: (d / "null").read_bytes())
    do(lambda: (d / "null").write_bytes(b"gone"))
    do(os.open, d / "zero", os.O_RDONLY)
    do(os.open, d / "sock", os.O_RDONLY)
    do(os.open, d / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    reader = os.open(d / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(d / "fifo", os.O_WRONLY)
    os.write(writer, b"through the pipe")
    do.value(os.read, reader, 100)
    os.close(reader)
    os.close(writer)
    do(os.truncate, d / "fifo", 0)
    here = os.getcwd()
    os.chdir(d)  # addresses of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            do(listener.bind, "bound")
            do.stat("bound")
            listener.listen()
            do(client.connect, "bound")
            do(client.connect, "sock")
        with socket.socket(socket.AF_UNIX) as again:
            do(again.bind, "bound")
    finally:
        os.chdir(here)

    def unprivileged(r):
        r(os.mknod, d / "user-null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        r(os.mknod, d / "user-zero", stat.S_IFCHR | 0o666, 0)
        r(os.mkfifo, d / "user-fifo")
        r.stat(d / "user-fifo")
    do.as_user(USER, GROUP, unprivileged)
    for name in ("null", "zero", "disk", "fifo", "sock", "bound"):
        do(os.unlink, d / name)
