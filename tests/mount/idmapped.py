"""Mounts that show other owners than are stored (mount_setattr(2)), and programs in the user namespace that they are made for."""
import contextlib
import ctypes
import os
import pickle
import signal
from pathlib import Path

import syscalls

SHIFT, COUNT = 1 << 20, 65_536  # of the namespace's ids outside of it
NEWUSER = 0x10000000
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, MOVE_MOUNT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 1, 4, 0x100000


class MountAttributes(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64), ("namespace", ctypes.c_uint64)]


@contextlib.contextmanager
def user_namespace():
    """A descriptor of a namespace where the ids 0 … COUNT − 1 are SHIFT … outside."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        done = syscalls.LIBC.unshare(NEWUSER)
        os.write(theirs, b"y" if done == 0 else b"n")
        signal.pause()
        os._exit(0)
    os.close(theirs)
    try:
        if os.read(ours, 1) != b"y":
            raise OSError("no user namespace can be made")
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(f"0 {SHIFT} {COUNT}\n")
        fd = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def shown_shifted(source: Path, target: Path, namespace: int):
    """`target` shows the tree at `source` with owners as the namespace has them."""
    tree = syscalls.call("syscall", SYS_OPEN_TREE, syscalls.AT_FDCWD, os.fsencode(source), OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        wanted = MountAttributes(set=MOUNT_ATTR_IDMAP, namespace=namespace)
        syscalls.call("syscall", SYS_MOUNT_SETATTR, tree, b"", syscalls.AT_EMPTY_PATH, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)))
        syscalls.call("syscall", SYS_MOVE_MOUNT, tree, b"", syscalls.AT_FDCWD, os.fsencode(target), MOVE_MOUNT_EMPTY_PATH)
    finally:
        os.close(tree)
    try:
        yield target
    finally:
        syscalls.call("umount2", os.fsencode(target), 2)  # MNT_DETACH


def as_root_of(namespace: int, what) -> list:
    """What `what(recorder)` saw as the namespace's superuser."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        recorder = syscalls.Recorder()
        try:
            os.close(ours)
            syscalls.call("setns", namespace, NEWUSER)
            os.setgroups(())
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            what(recorder)
        except BaseException as error:  # pylint: disable=broad-except
            recorder.said.append((0, f"{type(error).__name__}: {error}"))
        with os.fdopen(theirs, "wb") as pipe:
            pickle.dump(recorder.said, pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pickle.load(pipe)
    os.waitpid(child, 0)
    return said
