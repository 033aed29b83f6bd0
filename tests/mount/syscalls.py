"""System calls that Python has no function for, and a recorder of what calls said, for comparing file systems."""
import ctypes
import errno
import os
import pickle
import stat
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def call(name: str, *args) -> int:
    done = getattr(LIBC, name)(*args)
    if done < 0:
        raise OSError(ctypes.get_errno(), name)
    return done


def renameat2(old, new, flags: int = 0) -> None:
    call("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def linkat(fd: int, old, new, flags: int) -> None:
    call("linkat", fd, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    call("fallocate", fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


def utimensat(path, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    """With the special nanoseconds UTIME_NOW and UTIME_OMIT."""
    call("utimensat", AT_FDCWD, os.fsencode(path), (Timespec * 2)(Timespec(*atime), Timespec(*mtime)), 0)


def tmpfile(folder, mode: int = 0o600, flags: int = 0) -> int:
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | flags, mode)


class Recorder:
    """Calls functions and writes down what they said: a list of (line, answer), where an error is its errno's name."""

    def __init__(self):
        self.said: list[tuple[int, object]] = []

    def see(self, value, depth: int = 1):
        self.said.append((sys._getframe(depth).f_lineno, value))
        return value

    def __call__(self, function, *args, **options):
        """Whether it worked; `value` is for results."""
        try:
            done = function(*args, **options)
            self.see("done", 2)
            if function is os.open:
                os.close(done)
        except OSError as error:
            self.see(errno.errorcode.get(error.errno, error.errno), 2)

    def value(self, function, *args, **options):
        try:
            return self.see(function(*args, **options), 2)
        except OSError as error:
            self.see(errno.errorcode.get(error.errno, error.errno), 2)

    def stat(self, path):
        """All that is the same on every file system."""
        try:
            info = os.fstat(path) if isinstance(path, int) else os.lstat(path)
            size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
            self.see((oct(info.st_mode), info.st_nlink, info.st_uid, info.st_gid, size, info.st_rdev), 2)
            return info
        except OSError as error:
            self.see(errno.errorcode.get(error.errno, error.errno), 2)

    def touched(self, function, *args, **paths) -> None:
        """Which of ctime and mtime of `paths` the call changed."""
        before = {name: os.lstat(path) for name, path in paths.items()}
        # Clocks of file systems tick every few milliseconds.
        import time
        time.sleep(0.008)
        try:
            function(*args)
            answer = "done"
        except OSError as error:
            answer = errno.errorcode.get(error.errno, error.errno)
        after = {name: os.lstat(path) for name, path in paths.items()}
        self.see((answer, {name: (before[name].st_mtime_ns != after[name].st_mtime_ns,
                                  before[name].st_ctime_ns != after[name].st_ctime_ns) for name in paths}), 2)

    def as_user(self, uid: int, gid: int, what, groups: tuple[int, ...] = ()) -> None:
        """Runs what(recorder) in a child without privileges."""
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(ours)
                os.setgroups(groups)
                os.setgid(gid)
                os.setuid(uid)
                recorder = Recorder()
                try:
                    what(recorder)
                except BaseException as error:  # pylint: disable=broad-except
                    recorder.said.append((0, f"{type(error).__name__}: {error}"))
                with os.fdopen(theirs, "wb") as pipe:
                    pickle.dump(recorder.said, pipe)
            finally:
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            data = pipe.read()
        os.waitpid(child, 0)
        self.said += pickle.loads(data)
