"""More of posix_cases.py: how files are opened, and their bytes."""
import fcntl
import mmap
import os

import syscalls
import trees
from posix_cases import GROUP, USER, case, write_file
from syscalls import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate, linkat


@case
def open_flags(d, do):
    do(write_file, d / "data", b"appended", 0, os.O_APPEND)
    do.value(lambda: (d / "data").read_bytes()[-10:])
    do.stat(d / "data")
    do(write_file, d / "data", b"x", 0, os.O_TRUNC)
    do.value((d / "data").read_bytes)
    do(write_file, d / "empty", b"x", 0, os.O_TRUNC)
    do.value((d / "empty").read_bytes)
    do(os.close, os.open(d / "sparse", os.O_RDONLY | os.O_TRUNC))
    do.stat(d / "sparse")
    fd = os.open(d / "mine", os.O_RDONLY)
    do(os.write, fd, b"x")
    do(os.ftruncate, fd, 0)
    os.close(fd)
    fd = os.open(d / "mine", os.O_WRONLY)
    do(os.read, fd, 1)
    os.close(fd)
    fd = os.open(d / "mine", os.O_PATH)
    do(os.read, fd, 1)
    do.stat(fd)
    os.close(fd)
    first = os.open(d / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    second = os.open(d / "log", os.O_WRONLY | os.O_APPEND)
    for number in range(10):
        os.write((first, second)[number % 2], b"%d," % number)
    os.close(first)
    os.close(second)
    do.value((d / "log").read_bytes)
    fd = os.open(d / "locked", os.O_CREAT | os.O_RDWR, 0o000)  # a mode that would not let it in
    do(os.write, fd, b"x")
    do.value(os.pread, fd, 5, 0)
    os.close(fd)


@case
def direct_io_that_is_taken_back(d, do):
    """As dd(1) with oflag=direct writes a last block that is not whole."""
    with mmap.mmap(-1, 8192) as block:
        block[:] = b"d" * 8192
        for name, flags in (("direct-new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), ("data", os.O_RDWR)):
            fd = os.open(d / name, flags | os.O_DIRECT)
            do.value(os.write, fd, block)
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)
            do.value(os.write, fd, b"tail")
            os.close(fd)
            do.value((d / name).read_bytes)
        fd = os.open(d / "direct-new", os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(fd, 8192) as mapped, open(d / "direct-new", "r+b", buffering=0) as other:
            do.value(os.pwrite, fd, block, 4096)
            do.value(lambda: bytes(mapped[4090:4100]))
            mapped[4096:4100] = b"mmap"
            do.value(os.preadv, fd, [block], 4096)
            do.value(lambda: block[:6])
            other.write(b"plain")
            do.value(lambda: bytes(mapped[:6]))
        os.close(fd)


@case
def blocks_behind_the_end(d, do):
    fd = os.open(d / "ahead", os.O_CREAT | os.O_RDWR)
    do(fallocate, fd, KEEP_SIZE, 0, trees.MIB)
    do.value(lambda: (os.fstat(fd).st_size, os.fstat(fd).st_blocks))
    os.write(fd, b"x" * 20_000)
    do.value(lambda: os.fstat(fd).st_blocks)
    os.close(fd)


@case
def a_file_without_a_name_is_opened_again(d, do):
    for name in ("data", "mine"):
        fd = os.open(d / name, os.O_PATH)
        do(os.unlink, d / name)
        do.stat(fd)
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        do.value(os.pread, again, 1 << 20, 0)
        do.value(os.write, again, b"still here")
        do.stat(again)
        os.close(again)
        os.close(fd)


@case
def unnamed_files(d, do):
    fd = syscalls.tmpfile(d, 0o640)
    do.stat(fd)
    do(os.write, fd, b"unnamed")
    do.value(os.pread, fd, 100, 0)
    do.stat(fd)
    do(os.fsync, fd)
    do.value(lambda: len(os.listdir(d)))
    do(linkat, syscalls.AT_FDCWD, f"/proc/self/fd/{fd}", d / "named", syscalls.AT_SYMLINK_FOLLOW)
    do.stat(d / "named")
    do.value((d / "named").read_bytes)
    do(linkat, fd, "", d / "named-again", syscalls.AT_EMPTY_PATH)
    do.stat(fd)
    do(os.unlink, d / "named")
    do(os.unlink, d / "named-again")
    do.stat(fd)
    do(linkat, fd, "", d / "back", syscalls.AT_EMPTY_PATH)
    do(os.write, fd, b" and gone")
    do.value(os.pread, fd, 100, 0)
    os.close(fd)
    fd = syscalls.tmpfile(d, 0o600, os.O_EXCL)
    do(linkat, fd, "", d / "never", syscalls.AT_EMPTY_PATH)
    os.close(fd)
    do.stat(d)

    def as_user(r):
        number = syscalls.tmpfile(d, 0o666)
        r.stat(number)
        os.close(number)
    do.as_user(USER, GROUP, as_user)


@case
def unlinked_but_open(d, do):
    for name in ("data", "script", "small"):
        fd = os.open(d / name, os.O_RDWR)
        reader = os.open(d / name, os.O_RDONLY)
        number = os.fstat(fd).st_ino
        do(os.unlink, d / name)
        do.stat(fd)
        do.value(lambda f=fd, n=number: os.fstat(f).st_ino == n)
        do.value(lambda r=reader: os.pread(r, 20, 0))
        do(os.pwrite, fd, b"written later", 3)
        do.value(lambda r=reader: os.pread(r, 20, 0))
        do(os.fsync, fd)
        do(os.ftruncate, fd, 10)
        do(os.fchmod, fd, 0o600)
        do(os.fchown, fd, 3, 4)
        do(os.setxattr, fd, "user.gone", b"1")
        do.value(os.getxattr, fd, "user.gone")
        do(os.utime, fd, (1, 2))
        do(linkat, fd, "", d / "back", syscalls.AT_EMPTY_PATH)
        do.stat(fd)
        do.value(lambda r=reader: os.read(r, 20))
        os.close(fd)
        do.stat(reader)
        (d / name).write_bytes(b"another file of that name")
        do.value(lambda r=reader: os.pread(r, 20, 0))
        os.close(reader)
        do.value((d / name).read_bytes)
    # Replaced by a rename.
    fd = os.open(d / "mine", os.O_RDWR)
    do(os.rename, d / "one", d / "mine")
    do.value(os.pread, fd, 5, 0)
    do(os.pwrite, fd, b"x", 0)
    do.stat(fd)
    os.close(fd)
    # A removed folder that is somebody's.
    folder = os.open(d / "other", os.O_RDONLY)
    do(os.rmdir, d / "other")
    do.stat(folder)
    do.value(os.listdir, folder)
    do(os.open, "new", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
    do(os.mkdir, "new", dir_fd=folder)
    do(os.fchmod, folder, 0o700)
    os.close(folder)


@case
def direct_io(d, do):
    page = mmap.mmap(-1, 8192)
    for name in ("data", "sparse", "fresh"):
        fd = os.open(d / name, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        do.value(lambda f=fd: os.preadv(f, [page], 4096))
        do.see(page[:64])
        page[:] = bytes(range(256)) * 32
        do.value(lambda f=fd: os.pwritev(f, [page], 8192))
        cached = os.open(d / name, os.O_RDWR)
        do.value(lambda f=cached: os.pread(f, 50, 8190))
        os.pwrite(cached, b"by way of the cache", 8200)
        do.value(lambda f=fd: os.preadv(f, [page], 8192))
        do.see(page[:64])
        os.close(cached)
        os.close(fd)
        do.stat(d / name)


@case
def mapped_writes(d, do):
    for name in ("data", "small", "sparse"):
        fd = os.open(d / name, os.O_RDWR)
        os.ftruncate(fd, 20_000)
        with mmap.mmap(fd, 20_000) as mapped:
            mapped[100:110] = b"0123456789"
            do.value(lambda f=fd: os.pread(f, 20, 95))
            os.pwrite(fd, b"by write", 105)
            do.see(mapped[95:120])
            mapped[19_990:20_000] = b"the end..."
            mapped.flush()
            do.value(lambda n=name: (d / n).read_bytes()[19_980:])
        os.close(fd)
        do.stat(d / name)
        private = os.open(d / name, os.O_RDONLY)
        with mmap.mmap(private, 20_000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
            mapped[0:4] = b"mine"
        os.close(private)
        do.value(lambda n=name: (d / n).read_bytes()[:120])

    # Two processes and one mapping; the descriptor is closed before it is written.
    fd = os.open(d / "mine", os.O_RDWR)
    os.ftruncate(fd, 4096)
    shared = mmap.mmap(fd, 4096)
    os.close(fd)
    child = os.fork()
    if child == 0:
        shared[0:5] = b"child"
        os._exit(0)
    os.waitpid(child, 0)
    do.see(shared[0:5])
    shared[5:11] = b"parent"
    shared.close()
    do.value(lambda: (d / "mine").read_bytes()[:20])
    os.utime(d / "mine", (5, 5))
    do.value(lambda: os.stat(d / "mine").st_mtime_ns)
    # Bytes behind the end of a file are zero after it grows.
    fd = os.open(d / "one", os.O_RDWR)
    os.ftruncate(fd, 10)
    with mmap.mmap(fd, 10) as mapped:
        mapped[9:10] = b"x"
    os.ftruncate(fd, 5000)
    do.value(lambda: os.pread(fd, 100, 0))
    os.close(fd)


@case
def truncate_and_holes(d, do):
    for name in ("data", "sparse", "small", "empty"):
        for size in (5_000_000, 70_000, 70_001, 3, 0, 100):
            do(os.truncate, d / name, size)
            do.stat(d / name)
            do.value(lambda n=name: trees.digest(os.fsencode(d / n)))
    do(os.truncate, d / "missing", 0)
    do(os.truncate, d / "sub", 0)
    do(os.truncate, d / "small", 1 << 62)
    do(write_file, d / "small", b"x", (1 << 44) + 5)
    do(write_file, d / "small", b"far", 6 << 30)
    do.stat(d / "small")
    do.value(lambda: os.stat(d / "small").st_blocks < 100)
    fd = os.open(d / "small", os.O_RDONLY)
    do.value(os.pread, fd, 10, (6 << 30) - 2)
    os.close(fd)
    do(os.truncate, d / "small", 4)


@case
def allocate(d, do):
    for name in ("data", "small", "sparse"):
        fd = os.open(d / name, os.O_RDWR)
        for mode, offset, length in ((0, 0, 400_000), (0, 500_000, 1), (KEEP_SIZE, 0, 800_000), (PUNCH_HOLE | KEEP_SIZE, 8192, 65_536),
                                     (PUNCH_HOLE | KEEP_SIZE, 400_001, 10), (PUNCH_HOLE, 0, 4096), (ZERO_RANGE, 100, 200), (ZERO_RANGE, 499_000, 100_000),
                                     (ZERO_RANGE | KEEP_SIZE, 599_000, 100_000), (PUNCH_HOLE | KEEP_SIZE, 10_000_000, 4096), (0, 0, 0), (0, 5, -1),
                                     (0, 1 << 62, 1 << 62), (PUNCH_HOLE | ZERO_RANGE, 0, 1), (256, 0, 1)):
            do(fallocate, fd, mode, offset, length)
            do.stat(fd)
            do.value(lambda n=name: trees.digest(os.fsencode(d / n)))
        os.close(fd)
        fd = os.open(d / name, os.O_RDONLY)
        do(fallocate, fd, 0, 0, 4096)
        os.close(fd)
    folder = os.open(d / "sub", os.O_RDONLY)
    do(fallocate, folder, 0, 0, 4096)
    os.close(folder)


@case
def seek_data_and_holes(d, do):
    fd = os.open(d / "new", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, trees.noise(65_536, 1), 1 << 20)
    os.ftruncate(fd, 4 << 20)
    sparse = os.open(d / "sparse", os.O_RDWR)
    # Of an image's file a hole may be said to begin at the end of a chunk that reaches into it.
    for at, offsets in ((fd, (0, 1, 1 << 20, (1 << 20) + 5, (2 << 20) + 1, (3 << 20) - 1, 3 << 20, 4 << 20, 5 << 20)),
                        (sparse, (1 << 19, 1 << 20, 3 << 20))):
        for offset in offsets:
            do.value(os.lseek, at, offset, os.SEEK_DATA)
            do.value(lambda a=at, o=offset: os.lseek(a, o, os.SEEK_HOLE) >> 16)
        do.value(os.lseek, at, -1, os.SEEK_DATA)
        do.value(os.lseek, at, -5, os.SEEK_END)
        do.value(os.lseek, at, 0, 7)
    os.pwrite(sparse, trees.noise(4096, 1), 0)
    do.value(os.lseek, sparse, 0, os.SEEK_HOLE)
    do.value(os.lseek, sparse, 4096, os.SEEK_DATA)
    os.close(fd)
    os.close(sparse)
    empty = os.open(d / "empty", os.O_RDONLY)
    do.value(os.lseek, empty, 0, os.SEEK_DATA)
    do.value(os.lseek, empty, 0, os.SEEK_HOLE)
    os.close(empty)
    small = os.open(d / "small", os.O_RDONLY)
    do.value(os.lseek, small, 2, os.SEEK_DATA)
    do.value(os.lseek, small, 2, os.SEEK_HOLE)
    os.close(small)


@case
def copy_ranges(d, do):
    def copy(source, target, count, at=0, to=0):
        ours, theirs = os.open(d / source, os.O_RDONLY), os.open(d / target, os.O_RDWR | os.O_CREAT)
        try:
            done = os.copy_file_range(ours, theirs, count, at, to)
            return done, trees.digest(os.fsencode(d / target)), os.stat(d / target).st_size
        finally:
            os.close(ours)
            os.close(theirs)
    do.value(copy, "data", "new", 1_000_000)
    do.value(copy, "data", "new", 1000, 299_500, 10)
    do.value(copy, "data", "new", 1000, 400_000, 10)
    do.value(copy, "new", "data", 100_000, 5, 250_000)
    do.value(copy, "data", "small", 10, 3, 1_000_000)
    do.value(copy, "small", "data", 10)
    do.value(copy, "empty", "data", 10)
    do.value(copy, "data", "data", 1000, 0, 10_000)
    do.value(copy, "data", "data", 1000, 0, 500)
    do.value(copy, "sparse", "copy", 5 << 20)
    do.value(copy, "sub", "copy", 10)
    fd = os.open(d / "mapped", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 8192)
    with mmap.mmap(fd, 8192) as mapped:
        mapped[:] = trees.noise(8192, 5)
        do.value(copy, "mapped", "copied", 8192)
    os.close(fd)


@case
def old_readers_see_new_bytes(d, do):
    for name in ("data", "small", "empty", "sparse", "mine"):
        reader = os.open(d / name, os.O_RDONLY)
        do.value(lambda r=reader: len(os.pread(r, 1 << 22, 0)))
        with open(d / name, "r+b") as writer:
            writer.seek(3)
            writer.write(b"changed")
        do.value(lambda r=reader: os.pread(r, 20, 0))
        os.truncate(d / name, 8)
        do.value(lambda r=reader: os.pread(r, 20, 0))
        do.stat(reader)
        os.close(reader)
