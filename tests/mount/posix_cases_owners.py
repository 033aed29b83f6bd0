"""More of posix_cases.py: owners and modes, extended attributes, locks, programs."""
import fcntl
import mmap
import os
import shutil
import stat
import struct
import subprocess

import syscalls
import trees
from posix_cases import GROUP, USER, case, write_file
from syscalls import KEEP_SIZE, PUNCH_HOLE, fallocate

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


@case
def sgid_that_the_group_cannot_execute(d, do):
    """It goes when somebody outside the group changes the bytes, suid or not."""
    changes = {"write": lambda fd: os.write(fd, b"x"), "truncate": lambda fd: os.ftruncate(fd, 3), "longer": lambda fd: os.ftruncate(fd, 9000),
               "allocate": lambda fd: fallocate(fd, 0, 0, 9000), "punch": lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4096),
               "copy": lambda fd: os.copy_file_range(fd, fd, 4096, 0, 8192)}
    for mode in (0o2666, 0o6666, 0o2676):
        for name, change in changes.items():
            for member, (gid, groups) in enumerate(((GROUP, ()), (GROUP, (7, 50)), (50, ()))):
                path = d / f"{name}-{mode:o}-{member}"
                path.write_bytes(b"12345" * 2000)
                os.chown(path, USER + 5, 50)
                os.chmod(path, mode)

                def run(r, path=path, change=change):
                    fd = os.open(path, os.O_RDWR)
                    r(change, fd)
                    r.stat(fd)
                    os.close(fd)
                do.as_user(USER, gid, run, groups)
                do.stat(path)
            fd = os.open(path, os.O_RDWR)
            do(change, fd)
            os.close(fd)
            do.stat(path)
        for groups in ((), (50,)):  # a chown of nothing, by the owner
            os.chmod(path, mode)
            do.as_user(USER + 5, GROUP, lambda r, path=path: [r(os.chown, path, -1, -1), r.stat(path)], groups)


@case
def names_of_attributes(d, do):
    for name in ("foo.a", "system.a", "user", ".", "user.", "trusted.", "user.not-there", "security.not-there"):
        do(os.removexattr, d / "data", name)
        do(os.setxattr, d / "data", name, b"v")
    do(os.setxattr, d / "data", "trusted.secret", b"v")
    do.value(lambda: sorted(name for name in os.listxattr(d / "data") if not name.startswith("security.s")))
    do.as_user(USER, GROUP, lambda r: r.value(lambda: sorted(os.listxattr(d / "data"))))


@case
def times_that_no_inode_can_keep(d, do):
    os.mkfifo(d / "a-fifo")
    for name in ("data", "a-fifo", "."):
        for seconds in (-(2**31), -(2**31) - 1, 0x3_7fff_ffff, 0x3_7fff_ffff + 1, 2**40, -(2**40)):
            do(syscalls.utimensat, d / name, (seconds, 5), (seconds, 6))
            do.value(lambda: (os.stat(d / name).st_atime_ns, os.stat(d / name).st_mtime_ns))


@case
def new_nodes_of_users(d, do):
    os.mkdir(d / "group", 0o777)
    os.chown(d / "group", 0, 50)
    os.chmod(d / "group", 0o2777)

    def make(r):
        os.umask(0o027)
        for folder in (d, d / "group"):
            r(os.close, os.open(folder / "u-file", os.O_CREAT | os.O_WRONLY, 0o6777))
            r.stat(folder / "u-file")
            r(os.mkdir, folder / "u-dir", 0o777)
            r.stat(folder / "u-dir")
            r(os.mkfifo, folder / "u-fifo", 0o666)
            r.stat(folder / "u-fifo")
            r(os.symlink, "x", folder / "u-link")
            r.stat(folder / "u-link")
            r(os.mknod, folder / "u-node", stat.S_IFREG | 0o2755)
            r.stat(folder / "u-node")
            r(os.link, folder / "u-file", folder / "u-hard")
            r(os.chmod, folder / "u-file", 0o2755)
            r.stat(folder / "u-file")
            r(os.chmod, folder / "u-dir", 0o1755)
            r.stat(folder / "u-dir")
            r(os.chown, folder / "u-file", USER + 1, -1)
            r(os.chown, folder / "u-file", -1, GROUP)
            r(os.chown, folder / "u-file", -1, 60)
            r.stat(folder / "u-file")
    do.as_user(USER, GROUP, make)
    do.as_user(USER + 1, GROUP + 1, lambda r: [r(os.chmod, d / "u-file", 0o777), r(os.unlink, d / "u-dir" / "x"), r(os.mkdir, d / "u-dir" / "x"),
                                               r(os.open, d / "u-file", os.O_RDONLY), r(os.listdir, d / "u-dir")])
    os.umask(0o022)
    do(os.mkdir, d / "group" / "by-root")
    do.stat(d / "group" / "by-root")
    do(os.close, os.open(d / "group" / "file-by-root", os.O_CREAT | os.O_WRONLY, 0o2755))
    do.stat(d / "group" / "file-by-root")


@case
def sticky_folders(d, do):
    sticky = d / "sticky"
    os.mkdir(sticky)
    os.chmod(sticky, 0o1777)
    for name, owner in (("theirs", USER + 1), ("ours", USER)):
        (sticky / name).write_bytes(b"x")
        os.chown(sticky / name, owner, GROUP)

    def user(r):
        r(os.unlink, sticky / "theirs")
        r(os.rename, sticky / "theirs", sticky / "stolen")
        r(os.rename, sticky / "ours", sticky / "theirs")
        r(os.rename, sticky / "ours", sticky / "still-ours")
        r(os.unlink, sticky / "still-ours")
        r(os.mkdir, sticky / "new")
        r(os.rmdir, sticky / "new")
    do.as_user(USER, GROUP, user)


@case
def privileges_go_with_a_write(d, do):
    def change(what, r):
        for name in ("suid", "sgid", "sgid-alone", "both"):
            r(what, d / name)
            r.stat(d / name)
            r.value(lambda n=name: oct(os.stat(d / n).st_mode))

    def reset():
        for name, mode in (("suid", 0o4755), ("sgid", 0o2755), ("sgid-alone", 0o2644), ("both", 0o6777)):
            os.chown(d / name, USER, GROUP)
            os.chmod(d / name, mode)

    def by_fd(what):
        def opened(path):
            fd = os.open(path, os.O_RDWR)
            try:
                what(fd)
            finally:
                os.close(fd)
        return opened

    def mapped(fd):
        with mmap.mmap(fd, 100) as memory:
            memory[0:1] = b"m"
    changes = (lambda p: write_file(p, b"x"), lambda p: os.truncate(p, 150), lambda p: write_file(p, b"", 0, os.O_TRUNC), lambda p: os.truncate(p, 200),
               by_fd(lambda fd: fallocate(fd, 0, 0, 10_000)), by_fd(lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4096)), by_fd(mapped),
               lambda p: os.chown(p, -1, GROUP), lambda p: os.chown(p, -1, -1), lambda p: os.chmod(p, 0o6755))
    for what in changes:
        do.as_user(USER, GROUP, lambda r, w=what: change(w, r))
        reset()
        change(what, do)
        reset()
    do(os.chown, d / "suid", 5, 5)
    do.stat(d / "suid")
    os.mkdir(d / "sgid-dir")
    os.chmod(d / "sgid-dir", 0o6777)
    do(os.chown, d / "sgid-dir", USER, GROUP)
    do.stat(d / "sgid-dir")
    os.mkfifo(d / "fifo")
    os.chmod(d / "fifo", 0o6777)
    do(os.chown, d / "fifo", USER, GROUP)
    do.stat(d / "fifo")


@case
def capabilities_go_with_a_write(d, do):
    def capability():
        return os.getxattr(d / "capable", "security.capability")

    def set_capability():
        os.setxattr(d / "capable", "security.capability", trees.CAPABILITY)
    for what in (lambda: write_file(d / "capable", b"x"), lambda: os.truncate(d / "capable", 50), lambda: os.chown(d / "capable", 0, 0),
                 lambda: write_file(d / "capable", b"", 0, os.O_TRUNC), lambda: os.chmod(d / "capable", 0o700), lambda: os.utime(d / "capable", (1, 1)),
                 lambda: os.rename(d / "capable", d / "capable"), lambda: os.setxattr(d / "capable", "user.x", b"y")):
        do.value(lambda: capability() == trees.CAPABILITY)
        do(what)
        do.value(lambda: len(capability()))
        do(set_capability)
    do.value(lambda: sorted(os.listxattr(d / "capable")))


@case
def default_acls(d, do):
    folder = d / "sub"
    acl = trees.acl((1, 7, -1), (2, 5, 1001), (4, 5, -1), (16, 5, -1), (32, 1, -1))
    do(os.setxattr, folder, DEFAULT, acl)
    do(os.setxattr, d / "small", DEFAULT, acl)
    os.umask(0o077)
    for name, make in (("file", lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY, 0o666))), ("dir", lambda p: os.mkdir(p, 0o777)),
                       ("fifo", lambda p: os.mkfifo(p, 0o640)), ("symlink", lambda p: os.symlink("x", p))):
        do(make, folder / name)
        do.stat(folder / name)
        for kind in (ACCESS, DEFAULT):
            do.value(lambda n=name, k=kind: os.getxattr(folder / n, k, follow_symlinks=False))
    os.umask(0o022)
    fd = syscalls.tmpfile(folder, 0o666)
    do.stat(fd)
    do.value(os.getxattr, fd, ACCESS)
    os.close(fd)
    do(os.removexattr, folder, DEFAULT)
    do(os.removexattr, folder, DEFAULT)
    do.value(os.getxattr, folder, DEFAULT)


@case
def access_acls(d, do):
    acl = trees.acl((1, 6, -1), (2, 4, USER), (4, 4, -1), (8, 6, 1002), (16, 6, -1), (32, 0, -1))
    do(os.setxattr, d / "small", ACCESS, acl)
    do.stat(d / "small")
    do.value(os.getxattr, d / "small", ACCESS)
    do.value(os.listxattr, d / "small")
    do.as_user(USER, GROUP, lambda r: [r(os.open, d / "small", os.O_RDONLY), r(os.open, d / "small", os.O_WRONLY)])
    do.as_user(USER + 1, 1002, lambda r: [r(os.open, d / "small", os.O_RDWR), r(os.setxattr, d / "small", ACCESS, acl)])
    do.as_user(USER + 1, GROUP, lambda r: [r(os.open, d / "small", os.O_RDONLY)])
    do(os.chmod, d / "small", 0o604)
    do.value(os.getxattr, d / "small", ACCESS)
    do.as_user(USER, GROUP, lambda r: [r(os.open, d / "small", os.O_RDONLY)])
    do(os.setxattr, d / "small", ACCESS, trees.acl((1, 6, -1), (4, 4, -1), (32, 4, -1)))
    do.stat(d / "small")
    do.value(os.getxattr, d / "small", ACCESS)
    do(os.setxattr, d / "small", ACCESS, b"nonsense")
    do(os.setxattr, d / "small", ACCESS, trees.acl((1, 6, -1), (2, 4, USER), (4, 4, -1), (32, 4, -1)))
    do.as_user(USER, GROUP + 5, lambda r: [r(os.chmod, d / "sgid", 0o2755), r.stat(d / "sgid"),
                                           r(os.setxattr, d / "sgid", ACCESS, trees.acl((1, 6, -1), (4, 4, -1), (32, 4, -1))), r.stat(d / "sgid")])


# Extended attributes


@case
def attributes(d, do):
    path = d / "attributes"
    do(os.setxattr, path, "user.one", b"2", os.XATTR_CREATE)
    do(os.setxattr, path, "user.two", b"2", os.XATTR_REPLACE)
    do(os.setxattr, path, "user.two", b"2", os.XATTR_CREATE)
    do(os.setxattr, path, "user.one", b"", os.XATTR_REPLACE)
    do(os.setxattr, path, "user.one", b"2", os.XATTR_CREATE | os.XATTR_REPLACE)
    do(os.setxattr, path, "user.", b"2")
    do(os.setxattr, path, "trusted.t", bytes(range(256)))
    do(os.setxattr, path, "security.s", b"3")
    do(os.setxattr, path, "other.o", b"3")
    do(os.setxattr, path, "nothing", b"3")
    do(os.setxattr, path, "user." + "n" * 250, b"3")
    do(os.setxattr, path, "user." + "n" * 251, b"3")
    do(os.setxattr, path, "user.big", bytes(65_537))
    for name in ("user.one", "user.two", "trusted.t", "security.s", "user." + "n" * 250, "user.missing", "other.o", "trusted.x"):
        do.value(os.getxattr, path, name)
    do.value(lambda: sorted(os.listxattr(path)))
    do(os.removexattr, path, "user.one")
    do(os.removexattr, path, "user.one")
    do.value(lambda: sorted(os.listxattr(path)))
    for other in (d / "sub", d / "link"):
        do(os.setxattr, other, "trusted.l", b"1", follow_symlinks=False)
        do(os.setxattr, other, "user.l", b"1", follow_symlinks=False)
        do.value(os.listxattr, other, follow_symlinks=False)
    os.mkfifo(d / "fifo")
    do(os.setxattr, d / "fifo", "user.f", b"1")
    do(os.setxattr, d / "fifo", "trusted.f", b"1")

    def user(r):
        r(os.setxattr, d / "mine", "user.u", b"1")
        r(os.setxattr, d / "mine", "trusted.u", b"1")
        r(os.setxattr, d / "mine", "security.u", b"1")
        r(os.setxattr, d / "small", "user.u", b"1")
        r.value(os.getxattr, path, "trusted.t")
        r.value(lambda: sorted(name for name in os.listxattr(path) if not name.startswith("trusted.")))
        r.value(os.listxattr, d / "mine")
    do.as_user(USER, GROUP, user)
    buffer = bytes(64)
    do.see(syscalls.LIBC.getxattr(os.fsencode(path), b"trusted.t", buffer, 10))
    do.see(syscalls.LIBC.getxattr(os.fsencode(path), b"trusted.t", buffer, 0))
    do.see(syscalls.LIBC.listxattr(os.fsencode(path), buffer, 3))


# Locks and programs


@case
def locks(d, do):
    first, second = os.open(d / "small", os.O_RDWR), os.open(d / "small", os.O_RDWR)
    do(fcntl.flock, first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    do(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    do(fcntl.flock, first, fcntl.LOCK_UN)
    do(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    do(fcntl.flock, first, fcntl.LOCK_SH | fcntl.LOCK_NB)
    do(fcntl.lockf, first, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)

    def child(r):
        fd = os.open(d / "small", os.O_RDWR)
        r(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5)
        r(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 20)
    do.as_user(0, 0, child)
    whole = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    do(fcntl.fcntl, first, 37, whole)  # F_OFD_SETLK
    do(fcntl.fcntl, second, 37, whole)
    os.close(first)
    os.close(second)


@case
def programs_run_after_a_write(d, do):
    def run(*words):
        done = subprocess.run(words, capture_output=True, check=False)
        return done.returncode, done.stdout
    do.value(run, d / "script")
    do.value(run, d / "program")
    trees.write(d / "fresh", b"#!/bin/sh\necho fresh\n", 0o755)
    do.value(run, d / "fresh")
    shutil.copy("/bin/echo", d / "binary")
    do.value(run, d / "binary", "says this")
    trees.write(d / "script", b"#!/bin/sh\necho written\n", 0o755)
    do.value(run, d / "script")
    write_file(d / "binary", b"\0", 0)
    do(run, d / "binary")
    write_file(d / "binary", b"\x7f", 0)
    do.value(run, d / "binary", "again")
    os.chmod(d / "binary", 0o644)
    do(run, d / "binary")
    # Who runs cannot be written.
    shutil.copy("/bin/sleep", d / "sleeper")
    for path in (d / "sleeper", d / "busy"):
        running = subprocess.Popen([path, "60"])
        do(os.open, path, os.O_WRONLY)
        do(os.truncate, path, 0)
        do(os.chmod, path, 0o700)
        do(os.rename, path, d / "moved")
        running.kill()
        running.wait()
        do(os.close, os.open(d / "moved", os.O_RDWR))
        shutil.copy("/bin/sleep", d / "busy")
    writer = os.open(d / "busy", os.O_WRONLY)
    do(run, d / "busy", "0")
    os.close(writer)
    do.value(run, d / "busy", "0")
