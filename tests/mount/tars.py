"""Malformed and hostile tar archives, made byte by byte: each must be refused with one line and leave nothing behind."""
import gzip
import io
import struct
import tarfile
from collections.abc import Callable

BLOCK = 512


def header(name: bytes, size: int | bytes = 0, kind: bytes = b"0", link: bytes = b"", mode: int = 0o644, device=(0, 0),
           checksum: int | None = None) -> bytes:
    """One ustar header. `size` as bytes goes into the field as it is."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(struct.pack("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x", name, b"%07o\0" % mode, b"0000000\0", b"0000000\0",
                                  field, b"00000000000\0", b" " * 8, kind, link, b"ustar\00000", b"root", b"root",
                                  b"%07o\0" % device[0], b"%07o\0" % device[1], b""))
    total = sum(block) if checksum is None else checksum
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % BLOCK)


def member(name: bytes, data: bytes = b"", **fields) -> bytes:
    return header(name, len(data), **fields) + padded(data)


def pax(records: bytes) -> bytes:
    return member(b"PaxHeaders/x", records, kind=b"x")


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


END = b"\0" * (2 * BLOCK)
CONTENT = "SCHILY.xattr.stellarium.content"  # docs/formats/import-stream.md
FILE = member(b"file", b"hello")
FOLDER = member(b"folder/", kind=b"5", mode=0o755)


def link(name: bytes, target: bytes, kind: bytes = b"2") -> bytes:
    return member(name, kind=kind, link=target)


def long_name(name: bytes) -> bytes:
    return member(b"././@LongLink", name + b"\0", kind=b"L") + member(b"short", b"x")


def good() -> bytes:
    """An archive that is fine, for cutting."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size in (("folder/a", 10), ("folder/b", 70_000), ("ü" * 120, 3)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b"z" * size))
    return out.getvalue()


# What each is refused for; names are what the test prints.
REFUSED: dict[str, Callable[[], bytes]] = {
    "a member that climbs out": lambda: member(b"../evil", b"x") + END,
    "a member that climbs out in the middle": lambda: member(b"a/../../evil", b"x") + END,
    "an absolute member": lambda: member(b"/etc/passwd", b"x") + END,
    "a member below a symlink": lambda: link(b"door", b"/etc") + member(b"door/passwd", b"x") + END,
    "a member below a symlink chain": lambda: link(b"a", b"b") + link(b"b", b"/") + member(b"a/x/y", b"x") + END,
    "a member below a file": lambda: FILE + member(b"file/below", b"x") + END,
    "a folder's hard link": lambda: FOLDER + link(b"again", b"folder", kind=b"1") + END,
    "a hard link to nothing": lambda: link(b"dead", b"nowhere", kind=b"1") + END,
    "a hard link to itself": lambda: link(b"self", b"self", kind=b"1") + END,
    "a hard link out of the tree": lambda: link(b"out", b"../../etc/passwd", kind=b"1") + END,
    "a name of 256 bytes": lambda: pax(record("path", b"n" * 256)) + FILE + END,
    "a path of a million bytes": lambda: long_name(b"n" * 1_000_000) + END,
    "a wrong checksum": lambda: header(b"bad", 0, checksum=12345) + END,
    "a negative size": lambda: header(b"negative", b"\xff" * 12) + END,
    "a size of 2^63": lambda: header(b"huge", b"\x80" + b"\0" * 3 + struct.pack(">Q", 1 << 63)) + END,
    "a size beyond the archive": lambda: header(b"longer", 1 << 40) + b"x" * BLOCK,
    "a sparse map beyond the size": lambda: pax(record("GNU.sparse.major", b"1") + record("GNU.sparse.minor", b"0") +
                                                record("GNU.sparse.realsize", b"10")) +
    member(b"sparse", padded(b"1\n99999999999999999\n512\n") + b"y" * 512) + END,
    "nothing but noise": lambda: bytes(range(1, 256)) * 40,
    "a gzip that ends early": lambda: gzip.compress(good(), mtime=0)[:-40],
    "a content id that is too short": lambda: pax(record(CONTENT, b"ab" * 31 + b" 5 5 0")) + member(b"f") + END,
    "a content that the store does not have": lambda: pax(record(CONTENT, b"ab" * 32 + b" 5 5 0")) + member(b"f") + END,
    "a content with a negative size": lambda: pax(record(CONTENT, b"ab" * 32 + b" -5 5 0")) + member(b"f") + END,
    "a content without a size": lambda: pax(record(CONTENT, b"ab" * 32)) + member(b"f") + END,
    "no end blocks": lambda: FILE,  # it may have been cut there
}

# Odd, but what they mean is clear and safe: they are taken.
TAKEN: dict[str, Callable[[], bytes]] = {
    "a member twice, where the last one counts": lambda: member(b"f", b"one") + member(b"f", b"two") + END,
    "parents that are missing": lambda: member(b"a/b/c", b"x") + END,
    "the root itself": lambda: member(b"./", kind=b"5", mode=0o755) + FILE + END,
    "an empty archive": lambda: END,
    "a device 0:0": lambda: header(b"whiteout", kind=b"3") + END,
    "a symlink that climbs out": lambda: link(b"out", b"../../../etc/passwd") + END,
}
