"""A large file of an image that a clone writes in place, and what a power cut may leave of it."""
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import syscalls
import trees

SIZE = 4 * trees.MIB + 300_000  # just large enough not to be copied
PUNCH = 3


class LargeFileLoad:
    """One change after another, often synced. `states` has them all: a later one differs from its predecessor in `touched` only."""

    def __init__(self, image: Path, disk):
        trees.write(image / "large", trees.noise(SIZE, seed=42))
        self.disk, self.random = disk, random.Random(7)
        self.bytes = bytearray(trees.noise(SIZE, seed=42))
        self.changes: list[dict] = []

    def change(self, path: Path) -> None:
        rng = self.random
        offset, length = rng.randrange(SIZE + 50_000), rng.choice((100, 4096, 20_000))
        pick, before = rng.random(), len(self.bytes)
        began = self.disk.position()
        fd = os.open(path, os.O_RDWR)
        if pick < 0.6:
            data = rng.randbytes(length)
            os.pwrite(fd, data, offset)
        elif pick < 0.8:
            offset, data = rng.randrange(4 * trees.MIB + 1, SIZE + 50_000), b""
            os.ftruncate(fd, offset)
        else:
            data = bytes(max(0, min(length, before - offset)))
            syscalls.fallocate(fd, PUNCH, offset, length)
        if 0.6 <= pick < 0.8:
            touched = (min(before, offset), max(before, offset))
            del self.bytes[offset:]
            self.bytes.extend(bytes(offset - len(self.bytes)))
        elif data:
            self.bytes.extend(bytes(max(0, offset - before)))
            self.bytes[offset:offset + len(data)] = data
            touched = (min(before, offset), max(offset + len(data), min(before, offset)))
        else:
            touched = (0, 0)
        if rng.random() < 0.5:
            os.fsync(fd)
            synced = self.disk.position()
        else:
            synced = None
        os.close(fd)
        self.changes.append({"began": began, "synced": synced, "touched": touched, "size": len(self.bytes),
                             "bytes": bytes(self.bytes[touched[0]:touched[1]])})

    def wrong(self, path: Path, replay, entry: int) -> str:
        """What is wrong with the file on a disk that lost power before this entry; empty if nothing is. What was synced last is there;
        of what came after it, any bytes may be."""
        found = path.read_bytes()
        last = max((n for n, change in enumerate(self.changes) if change["synced"] and replay.entry_at(change["synced"]) <= entry), default=-1)
        kept, sizes = bytearray(trees.noise(SIZE, seed=42)), [SIZE]
        later: list[dict] = []
        for number, change in enumerate(self.changes):
            if number > last:
                if replay.entry_at(change["began"]) > entry:
                    break
                later.append(change)
                sizes.append(change["size"])
                continue
            begin, end = change["touched"]
            kept.extend(bytes(max(0, end - len(kept))))
            kept[begin:end] = change["bytes"] + bytes(end - begin - len(change["bytes"]))
            del kept[change["size"]:]
            sizes = [change["size"]]
        if not min(sizes) <= len(found) <= max(sizes):
            return f"the large file has {len(found)} bytes, not {sizes}"
        kept.extend(bytes(max(0, len(found) - len(kept))))
        at = 0
        for place in sorted({edge for change in later for edge in change["touched"]} | {len(found)}):
            part = found[at:place]
            if part != kept[at:at + len(part)]:
                touching = [change for change in later if change["touched"][0] <= at < change["touched"][1]]
                for index in range(at, min(place, len(found))):
                    allowed = {kept[index]} | {(change["bytes"] + bytes(index))[index - change["touched"][0]] for change in touching}
                    if found[index] not in allowed:
                        return f"byte {index} of the large file is what it was long before, or nobody's (change {last} was synced, {len(later)} came after it)"
            at = place
        return ""
