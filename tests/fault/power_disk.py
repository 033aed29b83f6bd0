"""A disk whose power can be cut at any write: ext4 on a block device whose every write and flush is recorded and can be replayed.

QEMU's storage daemon exports a raw image over FUSE and logs through its `blklogwrites` driver (the format of Linux's
dm-log-writes); a loop device makes it mountable. A cut replays the log up to a point: everything up to the last flush, and of
what was written after it a random half, because a drive may keep any of those writes."""
import contextlib
import ctypes
import os
import random
import shutil
import signal
import struct
import subprocess
import time
import uuid
from pathlib import Path

SECTOR = 512
FLUSH, FUA, DISCARD = 1, 2, 4


def available() -> str:
    """What is missing here, or an empty string."""
    for program in ("qemu-storage-daemon", "losetup", "mkfs.ext4"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return ""


class RecordingDisk:
    """`with RecordingDisk(folder, size) as mount:` work on `mount`; `position()` says how much was recorded so far."""

    def __init__(self, folder: Path, size: int):
        self.folder, self.size = folder, size
        self.base, self.image, self.log = folder / "base.img", folder / "disk.img", folder / "writes.log"
        self.mount = folder / "recorded"

    def __enter__(self) -> "RecordingDisk":
        self.mount.mkdir()
        with open(self.base, "wb") as file:
            file.truncate(self.size)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.base)], check=True)
        subprocess.run(["cp", "--sparse=always", self.base, self.image], check=True)
        self.log.touch()
        exported = self.folder / "exported"
        exported.touch()
        pid_file = self.folder / "qsd.pid"
        self.daemon = subprocess.Popen([
            "qemu-storage-daemon", "--pidfile", str(pid_file),
            "--blockdev", f"driver=file,node-name=image,filename={self.image},cache.direct=off",
            "--blockdev", f"driver=file,node-name=log,filename={self.log}",
            "--blockdev", f"driver=blklogwrites,node-name=recorded,file=image,log=log,log-sector-size={SECTOR}",
            "--export", f"type=fuse,id=export,node-name=recorded,mountpoint={exported},writable=on,growable=off"])
        deadline = time.monotonic() + 20
        while exported.stat().st_size != self.size:
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("qemu-storage-daemon did not export the disk")
            time.sleep(0.02)
        self.loop = subprocess.run(["losetup", "--find", "--show", str(exported)], check=True, capture_output=True,
                                   text=True).stdout.strip()
        subprocess.run(["mount", self.loop, str(self.mount)], check=True)
        return self

    def position(self) -> int:
        return self.log.stat().st_size

    def __exit__(self, *_) -> None:
        subprocess.run(["umount", str(self.mount)], check=False)
        with contextlib.suppress(AttributeError):
            subprocess.run(["losetup", "--detach", self.loop], check=False)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(timeout=30)


def read_log(log: Path) -> list[tuple[int, int, int, int]]:
    """The recorded operations as (offset in the log of the data, byte on the disk, bytes, flags), in order."""
    entries = []
    with open(log, "rb") as file:
        magic, version, count, sector = struct.unpack("<QQQI", file.read(28))
        if magic != 0x6A736677736872 or version != 1 or sector != SECTOR:
            raise RuntimeError("the write log is not in the expected format")
        at = SECTOR
        for _ in range(count):
            file.seek(at)
            block, blocks, flags, _data = struct.unpack("<QQQQ", file.read(32))
            entries.append((at + SECTOR, block * SECTOR, blocks * SECTOR, flags))
            at += SECTOR + (0 if flags & DISCARD else blocks * SECTOR)
    return entries


def unmount(mount: Path) -> None:
    """A server that was killed just now is a moment in ending, and until then has its files open."""
    deadline = time.monotonic() + 20
    while (done := subprocess.run(["umount", str(mount)], stderr=subprocess.PIPE)).returncode != 0:
        if time.monotonic() > deadline:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        time.sleep(0.05)


class Boots:
    """Lets the host seem to start again, for this process and those it starts: they see another boot id."""
    ID = Path("/proc/sys/kernel/random/boot_id")
    CLONE_NEWNS = 0x20000

    def __init__(self, folder: Path):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(self.CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        self.text = folder / "boot_id"
        self.start_again()
        subprocess.run(["mount", "--bind", str(self.text), str(self.ID)], check=True)

    def start_again(self) -> None:
        self.text.write_text(f"{uuid.uuid4()}\n")

    def close(self) -> None:
        subprocess.run(["umount", str(self.ID)], check=True)


class Replay:
    """Walks forward through a recording; each `cut` is a disk as it would be found after a power failure there."""

    def __init__(self, disk: RecordingDisk, folder: Path):
        self.log, self.folder = disk.log, folder
        self.entries = read_log(disk.log)
        self.durable = folder / "durable.img"  # everything up to the last flush before the current cut
        shutil.copyfile(disk.base, self.durable)
        self.applied = 0

    def apply(self, image: Path, numbers) -> None:
        with open(self.log, "rb") as log, open(image, "r+b") as out:
            for number in numbers:
                data_at, disk_at, size, flags = self.entries[number]
                out.seek(disk_at)
                if flags & DISCARD:
                    out.write(b"\0" * size)
                elif size:
                    log.seek(data_at)
                    out.write(log.read(size))

    def entry_at(self, position: int) -> int:
        """The first entry that was not yet recorded when the log had `position` bytes."""
        return next((number for number, entry in enumerate(self.entries) if entry[0] > position), len(self.entries))

    @contextlib.contextmanager
    def cut(self, entry: int, seed: int):
        """Mounts the disk as of the power failing before operation `entry`; cuts must come in ascending order."""
        flush = max((n for n in range(entry) if self.entries[n][3] & FLUSH), default=-1) + 1
        if flush > self.applied:
            self.apply(self.durable, range(self.applied, flush))
            self.applied = flush
        found = self.folder / "found.img"
        subprocess.run(["cp", "--sparse=always", self.durable, found], check=True)
        rng = random.Random(seed)
        self.apply(found, [n for n in range(flush, entry) if rng.random() < 0.5])
        mount = self.folder / "found"
        mount.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", str(found), str(mount)], check=True)
        try:
            yield mount
        finally:
            unmount(mount)
