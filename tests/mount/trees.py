"""Trees to import, and what can be seen of a tree, for comparing."""
import ctypes
import functools
import hashlib
import os
import random
import socket
import stat
import struct
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# CAP_NET_BIND_SERVICE, permitted and effective, revision 2 (capability.h's vfs_cap_data).
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
OLD, FUTURE, NANO = -1_500_000_001, 6_000_000_000_123_456_789, 1_600_000_000_987_654_321  # ns since 1970


@functools.lru_cache(maxsize=16)
def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@functools.lru_cache(maxsize=16)
def text(size: int, seed: int) -> bytes:
    """Compressible bytes."""
    words = [b"alpha ", b"beta ", b"gamma ", b"delta ", b"epsilon ", b"\n "] * 43
    return b"".join(map(words.__getitem__, noise(size // 4 + 16, seed)))[:size]


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the xattr system.posix_acl_access holds it: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who & 0xFFFFFFFF) for tag, perm, who in entries)


def write(path: Path | bytes, data: bytes = b"", mode: int = 0o644) -> None:
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def sparse(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)


def every_kind(root: Path, sockets: bool = False, large: bool = True) -> None:
    """Every kind of inode, attribute and name that an import must keep; two files of 5 MiB only where they are asked for. Needs root
    (devices, owners, capabilities)."""
    root.mkdir()
    files, links, names, meta, holes = (root / name for name in ("files", "links", "names", "meta", "holes"))
    for folder in (files, links, names, meta, holes):
        folder.mkdir()

    for size in (0, 1, 64, 65, 4 * KIB, 16 * KIB, 16 * KIB + 1, 64 * KIB, 64 * KIB + 1, 300_000, *([5 * MIB] if large else [])):
        write(files / f"noise-{size}", noise(size, seed=size))
        write(files / f"text-{size}", text(size, seed=size))
    write(files / "program", b"#!/bin/sh\necho it runs\n", 0o755)
    write(files / "elf", b"\x7fELF" + noise(900, seed=1))
    write(files / "copy-of-program", b"#!/bin/sh\necho it runs\n", 0o755)

    write(links / "one", b"shared by three names\n")
    os.link(links / "one", links / "two")
    os.link(links / "one", files / "three")
    os.symlink("one", links / "relative")
    os.symlink("../files/program", links / "up-and-over")
    os.symlink("/no/such/target", links / "dangling")
    os.symlink("x" * 4000, links / "long")
    os.symlink("loop", links / "loop")
    os.link(links / "relative", links / "relative-again", follow_symlinks=False)

    raw = os.fsencode(names)
    for name in (b"\xff\xfe not utf-8", b"n" * 255, b"new\nline", b"-rf", b"back\\slash", b" ", b"...", b"%s%n",
                 "snowman-☃".encode(), b".wh.not-a-whiteout-here", b"PaxHeaders.1"):
        write(raw + b"/" + name, name)
    deep = names
    for level in range(16):
        deep = deep / (str(level) * 200)[:200]
        deep.mkdir()
    write(deep / "bottom", b"3,200 bytes of path\n")

    os.mkfifo(meta / "fifo")
    os.mknod(meta / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(meta / "zero-zero", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.mknod(meta / "disk", stat.S_IFBLK | 0o640, os.makedev(259, 70_000))
    if sockets:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(meta / "socket"))
    for mode in (0o000, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
        write(meta / f"mode-{mode:o}", b"m", mode)
    (meta / "sticky").mkdir()
    os.chmod(meta / "sticky", 0o1777)
    (meta / "empty").mkdir()
    write(meta / "owned", b"o")
    os.chown(meta / "owned", 1234, 4_000_000_000)
    write(meta / "capable", b"\x7fELF" + noise(100, seed=2), 0o755)
    os.setxattr(meta / "capable", "security.capability", CAPABILITY)
    write(meta / "xattrs", b"x")
    os.setxattr(meta / "xattrs", "user.empty", b"")
    os.setxattr(meta / "xattrs", "user.binary", bytes(range(256)))
    os.setxattr(meta / "xattrs", "user.k=v", b"equals")
    os.setxattr(meta / "empty", "user.on-a-folder", b"yes")
    write(meta / "acl", b"a", 0o640)
    os.setxattr(meta / "acl", "system.posix_acl_access",
                acl((1, 6, -1), (2, 4, 1001), (4, 4, -1), (8, 6, 1002), (16, 6, -1), (32, 0, -1)))
    os.setxattr(meta / "empty", "system.posix_acl_default", acl((1, 7, -1), (2, 5, 1001), (4, 5, -1), (16, 5, -1), (32, 0, -1)))
    for name, when in (("old", OLD), ("future", FUTURE), ("nanoseconds", NANO)):
        write(meta / name, name.encode())
        os.utime(meta / name, ns=(when, when))
    os.utime(links / "dangling", ns=(NANO, NANO), follow_symlinks=False)

    sparse(holes / "hole-first", 3 * MIB, {2 * MIB: noise(MIB, seed=3)})
    sparse(holes / "hole-last", 3 * MIB, {0: noise(100_000, seed=4)})
    sparse(holes / "islands", 8 * MIB, {at * MIB + 4096: text(5000, seed=at) for at in range(0, 8, 2)})
    sparse(holes / "only-hole", 200 * MIB, {})
    sparse(holes / "small-hole", 10_000, {})

    for folder, _, _ in os.walk(os.fsencode(root), topdown=False):
        os.utime(folder, ns=(NANO, NANO))


def many_entries(root: Path, count: int) -> None:
    """One directory with `count` small files."""
    root.mkdir()
    folder = root / "many"
    folder.mkdir()
    for number in range(count):
        with open(folder / f"entry-{number:06}", "w") as file:
            file.write(f"{number}\n" if number % 10 == 0 else "")


def digest(path: bytes) -> str:
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(MIB):
            sha.update(data)
    return sha.hexdigest()


def attributes(path: bytes) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(os.listxattr(path, follow_symlinks=False))}


def snapshot(root: Path | str, contents: bool = True) -> dict[bytes, dict]:
    """path → everything that `find -printf`, `sha256sum`, `getfattr -m -` and `getfacl` can say, hard links as the set of their names.

    Left out: inode numbers, ctime, atime, blocks, and the size of directories, which no copy of a tree keeps."""
    top = os.fsencode(root)
    seen: dict[bytes, dict] = {}
    groups: dict[tuple[int, int], set[bytes]] = {}
    stack = [b""]
    while stack:
        name = stack.pop()
        path = top + (b"/" + name if name else b"")
        info = os.lstat(path)
        kind = stat.S_IFMT(info.st_mode)
        entry = {"mode": oct(info.st_mode), "owner": (info.st_uid, info.st_gid), "mtime": info.st_mtime_ns,
                 "nlink": info.st_nlink, "xattrs": attributes(path)}
        if kind == stat.S_IFDIR:
            stack += [name + b"/" + child if name else child for child in os.listdir(path)]
        else:
            entry["size"] = info.st_size
            groups.setdefault((info.st_dev, info.st_ino), set()).add(name)
        if kind == stat.S_IFREG and contents:
            entry["sha256"] = digest(path)
        elif kind == stat.S_IFLNK:
            entry["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
        seen[name] = entry
    for names in groups.values():
        if len(names) > 1:
            for name in names:
                seen[name]["links"] = sorted(names)
    return seen


def drop_caches() -> None:
    ctypes.CDLL(None).sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
