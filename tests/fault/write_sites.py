"""Every way to make a clone larger, tried where nothing fits any more: it fails with exactly the expected error, and has not happened.

`WriteSites` is made while there is room; then the caller fills the clone, or its disk, and calls `try_all`."""
import errno
import hashlib
import mmap
import os
import signal
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import syscalls
import trees

BLOCK, NOBODY = 4096, 65534
# Small things fit until the last bytes of a quota are gone, or of the blocks that the host has begun.
TRIES = 200


def error_of(call, *args) -> int:
    """0 if it worked."""
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return 0


def refusal(call, tries: int = TRIES) -> int:
    """The first error of `call(number)`."""
    for number in range(tries):
        if error := error_of(call, number):
            return error
    return 0


def fill_file(path: Path, sizes=(trees.MIB, BLOCK, 512)) -> int:
    """Appends until nothing fits; returns the errno that said so."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    try:
        return next(error for size in sizes for error in [refusal(lambda _: os.write(fd, trees.noise(size, seed=1)), 1 << 20)]
                    if size == sizes[-1])
    finally:
        os.close(fd)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing(folder: Path) -> dict[str, tuple]:
    """Everything below: kind, size, links, content, attributes."""
    found = {}
    names = (Path(parent) / name for parent, folders, files in os.walk(folder) for name in folders + files)
    for path in sorted(names):
        st = path.lstat()
        body = digest(path) if stat.S_ISREG(st.st_mode) else os.readlink(path) if path.is_symlink() else ""
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
        found[str(path.relative_to(folder))] = (st.st_mode, st.st_size, st.st_nlink, body, attributes)
    return found


class WriteSites:
    """`folder` lies in the clone; `image_files`: paths in the clone of the image, of 100 KB or more, that nobody wrote yet; `large`: one of
    `LARGE` bytes, too large to be copied when it is written."""
    LARGE = 5 * trees.MIB

    def __init__(self, folder: Path, image_files: list[Path], large: Path):
        self.folder, self.image_files, self.large = folder, image_files, large
        folder.mkdir()
        for name in ("grown", "appended", "allocated", "copied-to", "named", "mapped", "linked", "replaced"):
            trees.write(folder / name, trees.noise(2 * BLOCK, seed=len(name)))
        trees.write(folder / "replacing", b"new")
        os.truncate(folder / "mapped", 64 * BLOCK)  # the pages behind it are a hole
        self.open = {name: os.open(folder / name, os.O_RDWR) for name in ("grown", "allocated", "copied-to")}
        self.open["appended"] = os.open(folder / "appended", os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        for fd in self.open.values():
            os.close(fd)
        self.open.clear()

    def try_all(self, test, expected: int) -> None:
        """`test` is a TestCase; every refusal must be `expected`."""
        sites = {name.removeprefix("try_"): getattr(self, name) for name in dir(self) if name.startswith("try_") and name != "try_all"}
        for name, site in sites.items():
            with test.subTest(name, error=errno.errorcode[expected]):
                before = listing(self.folder)
                error = site()
                test.assertEqual(errno.errorcode.get(error, error), errno.errorcode[expected], name)
                self.clean_up(before)
                test.assertEqual(listing(self.folder), before, f"{name} failed, and left something")
        self.what_needs_no_room(test)

    def clean_up(self, before: dict) -> None:
        """Takes back what still fitted."""
        for name in set(os.listdir(self.folder)) - before.keys():
            path = self.folder / name
            path.rmdir() if stat.S_ISDIR(path.lstat().st_mode) else path.unlink()
        for name, was in before.items():
            path = self.folder / name
            if stat.S_ISREG(was[0]) and path.stat().st_size > was[1]:
                os.truncate(path, was[1])
            for attribute in set(os.listxattr(path, follow_symlinks=False)) - was[4].keys():
                os.removexattr(path, attribute, follow_symlinks=False)

    # Bytes

    def try_write(self):
        fd = self.open["grown"]
        return refusal(lambda number: os.pwrite(fd, b"x" * BLOCK, (2 + number) * BLOCK))

    def try_append(self):
        return refusal(lambda _: os.write(self.open["appended"], b"x" * BLOCK))

    def try_write_cached(self):
        """Opened now: it may not be passed through any more."""
        fd = os.open(self.folder / "linked", os.O_WRONLY)
        try:
            return refusal(lambda number: os.pwrite(fd, b"x" * BLOCK, (2 + number) * BLOCK))
        finally:
            os.close(fd)

    def try_fallocate(self):
        return error_of(syscalls.fallocate, self.open["allocated"], 0, 0, 64 * trees.MIB)

    def try_fallocate_keep_size(self):
        return error_of(syscalls.fallocate, self.open["allocated"], syscalls.KEEP_SIZE, 0, 64 * trees.MIB)

    def try_copy_file_range(self):
        source = os.open(self.image_files[0], os.O_RDONLY)
        try:
            size = os.fstat(source).st_size
            return refusal(lambda number: os.copy_file_range(source, self.open["copied-to"], size, 0, 2 * BLOCK + number * size))
        finally:
            os.close(source)

    def try_copy_up(self):
        """The first write to a file of the image copies it."""
        before = digest(self.image_files[1])

        def write(_):
            fd = os.open(self.image_files[1], os.O_WRONLY)
            try:
                os.pwrite(fd, b"y", 0)
            finally:
                os.close(fd)

        error = refusal(write, 1)
        if error and digest(self.image_files[1]) != before:
            return "the file of the image was changed"
        return error

    def try_write_large(self):
        """In place, over bytes of the image: what fits is there, the rest shows what was there before."""
        expected = bytearray(self.large.read_bytes())
        fd = os.open(self.large, os.O_RDWR)
        try:
            def write(number: int) -> None:
                at = number * 3 * BLOCK + 1000
                data = trees.noise(BLOCK + 1500, seed=number)
                done = os.pwrite(fd, data, at)
                expected[at:at + done] = data[:done]

            error = refusal(write)
            os.fsync(fd)
        finally:
            os.close(fd)
        with open(self.large, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if file.read() != expected:
                return "other bytes of the large file were changed"
        return error

    def try_mapped_pages(self):
        """Stores into a hole: fsync tells, or the store is a SIGBUS, as on ext4."""
        def child():
            fd = os.open(self.folder / "mapped", os.O_RDWR)
            if os.getuid() == 0:  # who has CAP_SYS_RESOURCE may store beyond a project's limit and into the host's reserve
                os.seteuid(0)
                os.setgroups([])
                os.setresuid(NOBODY, NOBODY, NOBODY)
            with mmap.mmap(fd, 64 * BLOCK) as view:
                for page in range(2, 64):
                    view[page * BLOCK] = 1
                return error_of(view.flush) or error_of(os.fsync, fd)

        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            os._exit(child())
        status = os.waitpid(pid, 0)[1]
        for page in range(2, 64):  # what the child got in goes again
            fd = os.open(self.folder / "mapped", os.O_RDWR)
            syscalls.fallocate(fd, syscalls.PUNCH_HOLE | syscalls.KEEP_SIZE, page * BLOCK, BLOCK)
            os.close(fd)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS:
            return self.expected_of_bus()
        return os.waitstatus_to_exitcode(status)

    def expected_of_bus(self):
        """SIGBUS says no errno: what a write says then counts."""
        return self.try_write()

    # Names and attributes

    def try_create(self):
        return refusal(lambda number: os.close(os.open(self.folder / f"c{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)))

    def try_mkdir(self):
        return refusal(lambda number: os.mkdir(self.folder / f"d{number}"))

    def try_symlink(self):
        return refusal(lambda number: os.symlink("x" * 3000, self.folder / f"s{number}"))

    def try_mkfifo(self):
        return refusal(lambda number: os.mkfifo(self.folder / f"p{number}"))

    def try_link(self):
        return refusal(lambda number: os.link(self.folder / "linked", self.folder / f"l{number}"))

    def try_tmpfile(self):
        opened = []
        try:
            return refusal(lambda _: opened.append(syscalls.tmpfile(self.folder)))
        finally:
            for fd in opened:
                os.close(fd)

    def try_setxattr(self):
        return refusal(lambda number: os.setxattr(self.folder / "named", f"user.a{number}", b"v" * 3000))

    # What works in spite of it

    def what_needs_no_room(self, test) -> None:
        before = listing(self.folder)
        os.rename(self.folder / "replacing", self.folder / "replaced")
        test.assertEqual((self.folder / "replaced").read_bytes(), b"new")
        os.rename(self.folder / "replaced", self.folder / "replacing")
        os.pwrite(self.open["grown"], b"over", 0)
        os.fsync(self.open["grown"])
        test.assertEqual(os.pread(self.open["grown"], 4, 0), b"over")
        os.ftruncate(self.open["grown"], 100 * trees.GIB)  # a hole
        os.ftruncate(self.open["grown"], 2 * BLOCK)
        os.chmod(self.folder / "named", 0o600)
        os.utime(self.folder / "named")
        os.unlink(self.folder / "linked")
        test.assertEqual(set(before) - set(listing(self.folder)), {"linked", "replaced"})
