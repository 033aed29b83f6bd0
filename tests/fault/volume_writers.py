"""Programs that write a volume in every way there is, and remember what each place of it may be afterwards.

A place of 4 KiB is what a volume promises to write as a whole. Each writer has places of its own, in whole blocks, so that its history
needs no locks; what neighbours share are the volume, its staged file and its map."""
import bisect
import ctypes
import hashlib
import mmap
import os
import random
import time
from pathlib import Path
from typing import Callable

PLACE, BLOCK = 4 << 10, 64 << 10
PUNCH, ZERO = 2 | 1, 16 | 1  # FALLOC_FL_PUNCH_HOLE and ZERO_RANGE, with KEEP_SIZE
HOWS = ("fsync", "fdatasync", "dsync", "direct", "mapped", "never")
NEVER = 1 << 62
libc = ctypes.CDLL(None, use_errno=True)


def digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=12).digest()


class Version:
    """What a place was made to be: `begun` and `acked` are positions in a recording, the others moments of this process."""

    def __init__(self, data: bytes | memoryview, begun: int, before: float, torn: bool = False):
        self.sum, self.begun, self.acked = digest(data), begun, NEVER
        self.data = bytes(data) if torn else None  # of what may be torn: see could_be
        self.before, self.after = before, float("inf")


class VolumeWriter:
    """Writes `blocks` blocks from block `first` on, and has them synced as `how` says."""

    def __init__(self, path: Path, first: int, blocks: int, how: str, seed: int, position: Callable[[], int] = lambda: 0):
        self.how, self.position, self.rng = how, position, random.Random(f"{how} {seed}")
        self.start, self.size = first * BLOCK, blocks * BLOCK
        self.bytes = bytearray(self.size)  # as they are now
        empty = Version(bytes(PLACE), -1, 0, how == "mapped")
        empty.acked, empty.after = -1, 0
        self.history = {self.start // PLACE + place: [empty] for place in range(self.size // PLACE)}
        self.unsynced: list[Version] = []
        self.steps, self.longest = 0, 0.0
        flags = {"dsync": os.O_DSYNC, "direct": os.O_DIRECT}.get(how, 0)
        self.fd = os.open(path, os.O_RDWR | flags)
        self.map = mmap.mmap(self.fd, self.size, offset=self.start) if how == "mapped" else None

    def close(self) -> None:
        if self.map is not None:
            self.map.close()
        os.close(self.fd)

    def step(self) -> None:
        """One change of a few bytes up to some blocks, every few times a sync."""
        unit = PLACE if self.how == "direct" else 1
        offset = self.rng.randrange(self.size) // unit * unit
        length = min(self.size - offset, self.rng.choice([1, 700, PLACE, 3 * PLACE, 5000, BLOCK, 3 * BLOCK + 123]))
        length = max(length // unit * unit, unit)
        discards = self.how not in ("mapped", "dsync") and self.rng.random() < 0.2
        data = bytes(length) if discards else self.rng.randbytes(length)
        self.bytes[offset:offset + length] = data
        places = range(offset // PLACE, (offset + length - 1) // PLACE + 1)
        begun, before = self.position(), time.monotonic()
        versions = [Version(memoryview(self.bytes)[place * PLACE:(place + 1) * PLACE], begun, before, self.map is not None) for place in places]
        for place, version in zip(places, versions):
            self.history[self.start // PLACE + place].append(version)
        self.unsynced += versions
        if discards:
            if libc.fallocate(self.fd, self.rng.choice([PUNCH, ZERO]), ctypes.c_long(self.start + offset), ctypes.c_long(length)) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")
        elif self.map is not None:
            self.map[offset:offset + length] = data
        else:
            self.write(offset, data)
        after = time.monotonic()
        self.longest = max(self.longest, after - before)
        if self.map is None:  # what is stored to a mapping nobody learns of before it is synced
            for version in versions:
                version.after = after
        self.steps += 1
        if self.how != "never" and (self.how == "dsync" or self.steps % 4 == 0):
            self.sync()

    def write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        if self.how == "direct":
            aligned = mmap.mmap(-1, len(data))
            aligned[:] = data
            view = memoryview(aligned)
        done = 0
        while done < len(view):
            done += os.pwrite(self.fd, view[done:], self.start + offset + done)

    def sync(self) -> None:
        before = time.monotonic()
        if self.map is not None:
            self.map.flush()
        elif self.how == "fdatasync":
            os.fdatasync(self.fd)
        elif self.how != "dsync":
            os.fsync(self.fd)
        self.longest = max(self.longest, time.monotonic() - before)
        acked, after = self.position(), time.monotonic()
        for version in self.unsynced:
            version.acked, version.after = acked, min(version.after, after)
        self.unsynced = []

    def after_cut(self, place: int, position: int) -> list[Version]:
        """What a place may be when the power goes at `position`: the last that was synced, or what was begun since."""
        versions = self.history[place]
        last = max(number for number, version in enumerate(versions) if version.acked < position)
        return [version for version in versions[last:] if version.begun < position]

    def between(self, place: int, begun: float, ended: float) -> list[Version]:
        """What a place may be in a clone that was made between two moments."""
        versions = self.history[place]
        last = max(number for number, version in enumerate(versions) if version.after < begun)
        return [version for version in versions[last:] if version.before < ended]


def could_be(data: bytes, versions: list[Version]) -> bool:
    """Whether a place is one of these. What is stored to a mapping is not stored at once: somebody's sync(2) may write the page back in the
    middle of it, on any file system. Then each of its bytes is one of theirs."""
    if digest(data) in {version.sum for version in versions}:
        return True
    choices = [version.data for version in versions]
    return None not in choices and all(byte in bytes_there for byte, bytes_there in zip(data, zip(*choices)))


def wrong_places(path: Path, writers: list[VolumeWriter], allowed: Callable[[VolumeWriter, int], list[Version]]) -> list[str]:
    """The places of a volume that are none of what they may be."""
    wrong = []
    firsts = [writer.start for writer in writers]
    with open(path, "rb", buffering=0) as file:
        for place, data in enumerate(iter(lambda: file.read(PLACE), b"")):
            number = bisect.bisect_right(firsts, place * PLACE) - 1
            writer = writers[number] if number >= 0 else None
            mine = writer is not None and place in writer.history
            if not (could_be(data, allowed(writer, place)) if mine else not any(data)):
                wrong.append(f"place {place} of {writer.how if mine else 'nobody'}{' is zeros' if not any(data) else ''}")
    return wrong
