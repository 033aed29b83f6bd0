#!/usr/bin/env python3
"""The power is cut at random writes while programs write in a clone, and what they wrote is settled.

Wanted, for every cut: the store opens, `fsck` is clean, the clone mounts; what was synced is there, whole and under its name; a
file that was renamed over another shows the old bytes or all of the new ones, though nobody synced it, and though
records of other things are synced all the time; changes of names
are a prefix of what was done. A control arm with all syncs disabled must lose something."""
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import power_disk
import trees
from harness import Store

harness.require_mounts()
harness.require(not power_disk.available(), power_disk.available())
CUTS = int(os.environ.get("STELLARIUM_CUTS", "10"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
SECONDS = float(os.environ.get("STELLARIUM_WRITE_SECONDS", "5"))
DISK_BYTES = 384 << 20
TARGETS = 6
EATMYDATA = Path("/usr/lib/x86_64-linux-gnu/libeatmydata.so")


def content(name: str, version: int) -> bytes:
    """What tells by itself whether it is whole."""
    size = [40, 9_000, 70_000, 300_000][(version + len(name)) % 4]
    return f"{name} {version}\n".encode() + random.Random(f"{name} {version}").randbytes(size)


def is_whole(name: str, found: bytes) -> bool:
    head = re.match(re.escape(name).encode() + rb" (\d+)\n", found)
    return bool(head) and found == content(name, int(head[1]))


class StoreOn(Store):
    """A store inside `folder`, which lives on a disk that will lose power."""

    def __init__(self, folder: Path, scratch: Path):
        super().__init__(parent=scratch)
        self.dir = folder / "store"


class Load:
    """What programs do in the clone, and from which place in the record on it must be there."""

    def __init__(self, store: Store, mount: Path, disk: power_disk.RecordingDisk):
        self.store, self.mount, self.disk = store, mount, disk
        self.synced: dict[str, int] = {}  # file → position
        self.failed: list[BaseException] = []
        self.rounds: dict[str, int] = {}
        self.settled = 0
        self.ending = False

    def prepare(self) -> None:
        for folder in ("synced", "over", "order", "chain"):
            os.mkdir(self.mount / folder)
        for number in range(TARGETS):
            self.put(self.mount / "over" / f"t{number}", content(f"t{number}", 0))
        self.put(self.mount / "chain" / "0", b"")
        fd = os.open(self.mount, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    @staticmethod
    def put(path: Path, data: bytes, sync: bool = True) -> None:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        while data:
            data = data[os.write(fd, data):]
        if sync:
            os.fsync(fd)
        os.close(fd)

    def write_synced(self, number: int) -> None:
        name = f"s{number}"
        self.put(self.mount / "synced" / name, content(name, 1))
        self.synced[name] = self.disk.position()

    def rename_over(self, number: int) -> None:
        name = f"t{number % TARGETS}"
        self.put(self.mount / "over" / f"{name}.new", content(name, number), sync=False)
        os.rename(self.mount / "over" / f"{name}.new", self.mount / "over" / name)

    def change_names(self, number: int) -> None:
        os.mkdir(self.mount / "order" / str(number))
        os.rename(self.mount / "chain" / str(number), self.mount / "chain" / str(number + 1))
        time.sleep(0.002)

    def settle(self, _number: int) -> None:
        self.settled += self.store.json("settle")["files"]

    def change_clones(self, number: int) -> None:
        """Records that are synced at once, and have nothing to do with the files that others write meanwhile."""
        self.store.run("clone", "base", f"other{number}")
        self.store.run("rm", f"other{number}")

    def run(self) -> None:
        def repeat(work):
            try:
                number = 0
                while not self.ending:
                    work(number)
                    number += 1
                self.rounds[work.__name__] = number
            except BaseException as error:
                self.failed.append(error)

        threads = [threading.Thread(target=repeat, args=(work,))
                   for work in (self.write_synced, self.rename_over, self.change_names, self.settle, self.change_clones)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        self.ending = True
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]


def record(work: Path, preload: bool) -> tuple[power_disk.RecordingDisk, Load, int]:
    """Runs the load on a recorded disk; also where in the record it began."""
    image = work / "image"
    image.mkdir()
    for number in range(10):
        trees.write(image / f"i{number}", trees.noise(30_000, seed=number))
    disk = power_disk.RecordingDisk(work, DISK_BYTES)
    with disk, StoreOn(disk.mount, work) as store:
        if preload:
            store.environment["LD_PRELOAD"] = str(EATMYDATA)
        store.run("import", image, "base")
        store.run("clone", "base", "web")
        with store.mounted("web") as mount:
            load = Load(store, mount, disk)
            load.prepare()
            began = disk.position()
            load.run()
            ended = disk.position()
        store.stop()
    print(f"{load.rounds}, {load.settled} files settled, {(ended - began) >> 20} MiB recorded", file=sys.stderr)
    load.ended = ended
    return disk, load, began


def look(mount: Path, image: Path, expected: list[str]) -> str:
    """What is wrong with the clone; empty if nothing is."""
    for path in image.iterdir():
        if (mount / path.name).read_bytes() != path.read_bytes():
            return f"{path.name} of the image has other bytes"
    for name in expected:
        path = mount / "synced" / name
        if not path.exists():
            return f"{name} was synced and is not there"
        if path.read_bytes() != content(name, 1):
            return f"{name} was synced and has other bytes"
    for number in range(TARGETS):
        found = (mount / "over" / f"t{number}").read_bytes()
        if not is_whole(f"t{number}", found):
            return f"t{number} shows neither old nor new content: {len(found)} bytes, {found[:40]!r}"
    order = sorted(int(name) for name in os.listdir(mount / "order"))
    if order != list(range(len(order))):
        return f"folders {order[-5:]} of {len(order)} are no prefix"
    chain = os.listdir(mount / "chain")
    if len(chain) != 1 or int(chain[0]) not in (len(order) - 1, len(order)):
        return f"the file that is renamed is {chain}, after {len(order)} folders"
    for folder, _, files in os.walk(mount):  # what nobody synced may be short, but can be read
        for name in files:
            (Path(folder) / name).read_bytes()
    (mount / "new").write_bytes(b"goes on")
    return ""


def examine(folder: Path, work: Path, expected: list[str]) -> str:
    with StoreOn(folder, work) as store:
        try:
            checked = store.run("fsck", "--deep", expect=None)
            if checked.returncode != 0:
                return f"fsck: exit {checked.returncode}: {checked.stdout[-500:]!r} {checked.stderr[-500:]!r}"
            with store.mounted("web") as mount:
                if fault := look(mount, work / "image", expected):
                    return fault
            store.stop()
        except (harness.Failed, OSError) as failure:
            return f"{failure}\n{(store.dir / 'run' / 'server.log').read_text()[-1500:]}"
    return ""


def faults(work: Path, preload: bool, cuts: int) -> list[str]:
    disk, load, began = record(work, preload)
    replay = power_disk.Replay(disk, work)
    rng = random.Random(SEED)
    positions = {name: replay.entry_at(position) for name, position in load.synced.items()}
    first, last = replay.entry_at(began), replay.entry_at(load.ended)
    found = []
    for number in sorted(rng.sample(range(first, last), min(cuts, last - first))):
        expected = [name for name, entry in positions.items() if entry <= number]
        with replay.cut(number, seed=SEED + number) as mount:
            if fault := examine(mount, work, expected):
                found.append(f"cut before write {number} of {len(replay.entries)} (seed {SEED}): {fault}")
    return found


class ClonePowerCut(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="stellarium-power-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def test_every_cut_leaves_what_was_synced(self):
        self.assertEqual("\n".join(faults(self.work, preload=False, cuts=CUTS)), "")

    def test_the_control_arm_without_syncs_loses_something(self):
        if not EATMYDATA.exists():
            self.skipTest("libeatmydata is not installed")
        self.assertNotEqual(faults(self.work, preload=True, cuts=max(3, CUTS // 3)), [])


if __name__ == "__main__":
    harness.main()
