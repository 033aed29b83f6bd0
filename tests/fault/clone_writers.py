"""Programs that write in a clone: each one knows what every call must return and what must be there afterwards."""
import ctypes
import errno
import fcntl
import hashlib
import mmap
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import syscalls
import trees

LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
RECORD = 64  # bytes of one record of an appender


class Writer(multiprocessing.get_context("fork").Process):
    """Repeats `work(self)` in a process of its own until told to stop; the first error and the longest call are kept.

    `finish(self)`, if there is one, runs at the end, in the same process."""

    def __init__(self, name: str, work, finish=None):
        super().__init__(daemon=True, name=name)
        self.work, self.finish = work, finish
        self.stopping = multiprocessing.Event()
        self.results = multiprocessing.SimpleQueue()
        self.longest, self.slowest, self.rounds = 0.0, "", 0

    def timed(self, call, *args, **options):
        started = time.monotonic()
        try:
            return call(*args, **options)
        finally:
            took = time.monotonic() - started
            if took > self.longest:
                self.longest, self.slowest = took, f"{getattr(call, '__name__', call)}{args!r}"[:120]

    def run(self):
        error = ""
        try:
            while not self.stopping.is_set():
                self.work(self)
                self.rounds += 1
            if self.finish:
                self.finish(self)
        except BaseException:  # what a program would have seen
            error = traceback.format_exc()
        self.results.put((error, self.rounds, self.longest, self.slowest))

    def end(self, timeout: float = 60) -> str:
        """Stops it; returns what went wrong."""
        self.stopping.set()
        deadline = time.monotonic() + timeout
        while self.results.empty():
            if time.monotonic() > deadline:
                return f"{self.name} hangs in {Path(f'/proc/{self.pid}/stack').read_text()}"
            time.sleep(0.01)
        error, self.rounds, self.longest, self.slowest = self.results.get()
        self.join()
        return f"{self.name}: {error}" if error else ""


def refused(expected: int, call, *args, **options) -> None:
    """The call must fail with this very errno."""
    try:
        call(*args, **options)
    except OSError as error:
        if error.errno != expected:
            raise
        return
    raise AssertionError(f"{call.__name__}{args} succeeded instead of {errno.errorcode[expected]}")


def check(condition: bool, what) -> None:
    if not condition:
        raise AssertionError(what)


def renameat2(old: Path, new: Path, flags: int) -> None:
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old))


def write_all(worker: Writer, fd: int, data: bytes, piece: int) -> None:
    for at in range(0, len(data), piece):
        part = data[at:at + piece]
        check(worker.timed(os.write, fd, part) == len(part), "a short write")


def replacer(folder: Path, oracle: Path, seed: int):
    """Writes a new file, syncs it and renames it over the old one, here and in a folder outside."""
    folder.mkdir(), oracle.mkdir()
    rng = random.Random(seed)

    def work(worker: Writer) -> None:
        name = f"f{rng.randrange(30)}"
        data = rng.randbytes(rng.choice([0, 1, 700, 5000, 70_000, 300_000]))
        if (oracle / name).exists():
            check(worker.timed((folder / name).read_bytes) == (oracle / name).read_bytes(), f"other bytes in {name}")
        fd = worker.timed(os.open, folder / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        write_all(worker, fd, data, rng.choice([4096, 10_000, 131_072]))
        if rng.random() < 0.5:
            worker.timed(os.fsync, fd)
        worker.timed(os.close, fd)
        worker.timed(os.rename, folder / "new", folder / name)
        (oracle / name).write_bytes(data)
        (oracle / name).chmod(0o640)

    return work


def storm(folder: Path, seed: int):
    """Changes of names, of which each must succeed or fail exactly as on any file system."""
    folder.mkdir()
    rng = random.Random(seed)
    number = 0

    def work(worker: Writer) -> None:
        nonlocal number
        number += 1
        timed = worker.timed
        d = folder / f"d{number}"
        timed(os.mkdir, d)
        refused(errno.EEXIST, timed, os.mkdir, d)
        a, b, c, sub = d / "a", d / "b", d / "c", d / "sub"
        fd = timed(os.open, a, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        text = b"%d" % number
        timed(os.write, fd, text)
        refused(errno.EEXIST, timed, os.open, a, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        timed(os.link, a, b)
        refused(errno.EEXIST, timed, os.link, a, b)
        check(timed(os.fstat, fd).st_nlink == 2, "two links")
        timed(os.rename, b, c)
        refused(errno.ENOENT, timed, os.rename, b, c)
        timed(os.symlink, "a", b)
        refused(errno.EEXIST, timed, os.symlink, "a", b)
        check(timed(os.readlink, b) == "a" and timed(b.read_bytes) == text, "the symlink")
        timed(os.mknod, d / "fifo", 0o10600)
        timed(os.mkdir, sub)
        refused(errno.ENOTEMPTY, timed, os.rmdir, d)
        refused(errno.EISDIR, timed, os.unlink, sub)
        refused(errno.EEXIST, timed, renameat2, a, c, RENAME_NOREPLACE)
        timed(renameat2, b, sub, RENAME_EXCHANGE)
        check(timed(os.lstat, sub).st_mode & 0o170000 == 0o120000, "exchanged")
        timed(os.rename, b, d / "moved")
        timed(os.setxattr, a, "user.k", text, os.XATTR_CREATE)
        refused(errno.EEXIST, timed, os.setxattr, a, "user.k", text, os.XATTR_CREATE)
        check(timed(os.getxattr, c, "user.k") == text, "the attribute")
        timed(os.removexattr, c, "user.k")
        refused(errno.ENODATA, timed, os.removexattr, c, "user.k")
        timed(os.chmod, a, 0o644)
        check(sorted(timed(os.listdir, d)) == ["a", "c", "fifo", "moved", "sub"], "the listing")
        other = folder / f"o{rng.randrange(5)}"
        if not other.exists():
            timed(os.mkdir, other)
        timed(os.rename, c, other / "kept")  # replaces that of an earlier round
        check(timed((other / "kept").read_bytes) == text, "the kept file")
        for name in ("a", "fifo", "sub"):
            timed(os.unlink, d / name)
            refused(errno.ENOENT, timed, os.unlink, d / name)
        check(timed(os.fstat, fd).st_nlink == 1, "one link")
        timed(os.close, fd)
        timed(os.rmdir, d / "moved")
        timed(os.rmdir, d)
        refused(errno.ENOENT, timed, os.rmdir, d)

    return work


def unpacker(folder: Path, tar: Path, expected: dict):
    """Removes the tree of the round before, unpacks it again and compares it."""
    def work(worker: Writer) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", folder], check=True)
        difference = harness.first_difference(expected, trees.snapshot(folder / "tree"))
        check(not difference, difference)

    return work


def mapper(path: Path, oracle: Path, seed: int, size: int = 2 * trees.MIB):
    """Writes through a mapping that lives across all kills."""
    rng = random.Random(seed)
    expected = bytearray(size)
    state = {}

    def work(worker: Writer) -> None:
        if not state:
            state["fd"] = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            os.ftruncate(state["fd"], size)
            state["map"] = mmap.mmap(state["fd"], size)
        length = rng.choice([1, 100, 5000])
        at = rng.randrange(size - length)
        data = rng.randbytes(length)
        expected[at:at + length] = data
        worker.timed(state["map"].__setitem__, slice(at, at + length), data)
        if rng.random() < 0.02:
            worker.timed(state["map"].flush)
            if rng.random() < 0.3:
                os.posix_fadvise(state["fd"], 0, 0, os.POSIX_FADV_DONTNEED)
            check(worker.timed(os.pread, state["fd"], length, at) == data, f"other bytes at {at} of the mapping")
        time.sleep(0.0005)

    def finish(worker: Writer) -> None:
        state["map"].flush()
        state["map"].close()
        os.close(state["fd"])
        oracle.write_bytes(expected)

    return work, finish


def large_writer(path: Path, oracle: Path, seed: int):
    """Writes here and there in a large file of the image, which is not copied for that, cuts it and makes it longer."""
    rng = random.Random(seed)
    size = path.stat().st_size
    expected = bytearray()

    def work(worker: Writer) -> None:
        if not expected:
            expected.extend(path.read_bytes())
        fd = worker.timed(os.open, path, os.O_RDWR)
        for _ in range(20):
            at, length = rng.randrange(size + 100_000), rng.choice([1, 700, 4096, 30_000])
            pick = rng.random()
            if pick < 0.6:
                data = rng.randbytes(length)
                check(worker.timed(os.pwrite, fd, data, at) == length, "a short write")
                expected.extend(bytes(max(0, at - len(expected))))
                expected[at:at + length] = data
            elif pick < 0.65:
                to = rng.randrange(5 * trees.MIB, size + 100_000)
                worker.timed(os.ftruncate, fd, to)
                del expected[to:]
                expected.extend(bytes(to - len(expected)))
            elif pick < 0.7:
                worker.timed(syscalls.fallocate, fd, syscalls.PUNCH_HOLE | syscalls.KEEP_SIZE, at, length)
                part = max(0, min(length, len(expected) - at))
                expected[at:at + part] = bytes(part)
            else:
                if pick < 0.75:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                check(worker.timed(os.pread, fd, length, at) == expected[at:at + length], f"other bytes at {at} of the large file")
        if rng.random() < 0.2:
            worker.timed(os.fsync, fd)
        worker.timed(os.close, fd)
        time.sleep(rng.choice([0, 0, 0, 1.5]))  # so that it can be settled now and then

    return work, lambda worker: oracle.write_bytes(expected)


def unlinked_holder(folder: Path, seed: int):
    """Holds files that have no name any more, and O_TMPFILE files, which have none yet."""
    folder.mkdir()
    rng = random.Random(seed)
    held: list[tuple[int, bytearray]] = []
    number = 0

    def work(worker: Writer) -> None:
        nonlocal number
        if len(held) < 8:
            number += 1
            if number % 3 == 0:
                fd = worker.timed(os.open, folder, os.O_TMPFILE | os.O_RDWR, 0o600)
            else:
                fd = worker.timed(os.open, folder / f"u{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
                worker.timed(os.unlink, folder / f"u{number}")
            held.append((fd, bytearray()))
        fd, expected = held[rng.randrange(len(held))]
        data = rng.randbytes(rng.choice([10, 5000]))
        at = rng.randrange(len(expected) + 1) if len(expected) < 200_000 else 0
        check(worker.timed(os.pwrite, fd, data, at) == len(data), "a short write")
        expected[at:at + len(data)] = data
        if rng.random() < 0.2:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        check(worker.timed(os.pread, fd, len(expected) + 1, 0) == expected, "other bytes in a file without a name")
        if len(held) == 8 and rng.random() < 0.02:
            worker.timed(os.close, held.pop(rng.randrange(8))[0])
        check(worker.timed(os.listdir, folder) == [], "a name came back")

    return work


def appender(path: Path, who: int):
    """Appends records; several processes share the file."""
    number, fd = 0, -1

    def work(worker: Writer) -> None:
        nonlocal number, fd
        if fd < 0:
            fd = worker.timed(os.open, path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        record = f"{who} {number} ".encode().ljust(RECORD - 1, b".") + b"\n"
        check(worker.timed(os.write, fd, record) == RECORD, "a short write")
        number += 1
        if number % 200 == 0:
            worker.timed(os.fsync, fd)
        time.sleep(0.0003)

    def finish(worker: Writer) -> None:
        Path(f"{path}.{who}").write_text(str(number))

    return work, finish


def appended(path: Path, writers: int) -> str:
    """What is wrong with the file of `writers` appenders; empty if nothing is."""
    found: list[list[int]] = [[] for _ in range(writers)]
    data = path.read_bytes()
    if len(data) % RECORD:
        return f"{len(data)} bytes are no whole records"
    for at in range(0, len(data), RECORD):
        record = data[at:at + RECORD]
        who, number, rest = record.split(b" ", 2)
        if rest.strip(b".") != b"\n":
            return f"a torn record at {at}: {record!r}"
        found[int(who)].append(int(number))
    for who, numbers in enumerate(found):
        wanted = int(Path(f"{path}.{who}").read_text())
        if numbers != list(range(wanted)):
            return f"appender {who} wrote {wanted} records, {len(numbers)} are there, {len(set(numbers))} different ones"
    return ""


def runner(program: Path, file: Path):
    """Runs a program that nobody writes, and reads an unwritten file beside."""
    expected = hashlib.sha256(file.read_bytes()).hexdigest()

    def work(worker: Writer) -> None:
        said = subprocess.run([program, file], check=True, capture_output=True, text=True).stdout
        check(said.split()[0] == expected, f"the program says {said!r}")
        time.sleep(0.02)

    return work


def locker(path: Path):
    """Holds a lock across kills while it reads and writes the file."""
    fd = -1

    def work(worker: Writer) -> None:
        nonlocal fd
        if fd < 0:
            fd = worker.timed(os.open, path, os.O_CREAT | os.O_RDWR, 0o600)
        worker.timed(fcntl.lockf, fd, fcntl.LOCK_EX)
        before = int(worker.timed(os.pread, fd, 20, 0) or b"0")
        worker.timed(os.pwrite, fd, b"%020d" % (before + 1), 0)
        worker.timed(fcntl.lockf, fd, fcntl.LOCK_UN)
        time.sleep(0.002)

    return work
