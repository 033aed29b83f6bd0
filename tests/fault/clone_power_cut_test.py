#!/usr/bin/env python3
"""The power is cut at random writes while programs write in a clone, and what they wrote is settled.

Wanted, for every cut: the store opens, `fsck` is clean, the clone mounts; what was synced is there, whole and under its name; a
file that was renamed over another shows the old bytes or all of the new ones, though nobody synced it, and though
records of other things are synced all the time; of a large file that is written in place what was synced is there, and
else only what was written after that; changes of names are a prefix of what was done. A control arm with all syncs disabled must lose something."""
import os
import random
import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import power_cuts
import power_disk
import trees
from harness import Store
from large_file_load import LargeFileLoad

TARGETS = 6


def content(name: str, version: int) -> bytes:
    """What tells by itself whether it is whole."""
    size = [40, 9_000, 70_000, 300_000][(version + len(name)) % 4]
    return f"{name} {version}\n".encode() + random.Random(f"{name} {version}").randbytes(size)


def is_whole(name: str, found: bytes) -> bool:
    head = re.match(re.escape(name).encode() + rb" (\d+)\n", found)
    return bool(head) and found == content(name, int(head[1]))


class Load:
    """What programs do in the clone, and from which place in the record on it must be there."""

    def __init__(self, store: Store, mount: Path, disk: power_disk.RecordingDisk, large: LargeFileLoad):
        self.store, self.mount, self.disk, self.large = store, mount, disk, large
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

    def change_large(self, _number: int) -> None:
        self.large.change(self.mount / "large")

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
                   for work in (self.write_synced, self.rename_over, self.change_names, self.change_large, self.settle, self.change_clones)]
        for thread in threads:
            thread.start()
        time.sleep(power_cuts.SECONDS)
        self.ending = True
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]


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


class ClonePowerCut(power_cuts.PowerCuts):
    def record(self, store, disk):
        self.image = self.work / "image"
        self.image.mkdir()
        for number in range(10):
            trees.write(self.image / f"i{number}", trees.noise(30_000, seed=number))
        large = LargeFileLoad(self.image, disk)
        store.run("import", self.image, "base")
        (self.image / "large").unlink()  # what it must be is the load's to say
        store.run("clone", "base", "web")
        with store.mounted("web") as mount:
            self.load = Load(store, mount, disk, large)
            self.load.prepare()
            began = disk.position()
            self.load.run()
            ended = disk.position()
        print(f"{self.load.rounds}, {self.load.settled} files settled", file=sys.stderr)
        return began, ended

    def examine(self, store, replay, entry):
        if fault := power_cuts.fsck(store):
            return fault
        with store.mounted("web") as mount:
            if fault := self.load.large.wrong(mount / "large", replay, entry):
                return fault
            return look(mount, self.image, [name for name, position in self.load.synced.items() if replay.entry_at(position) <= entry])


if __name__ == "__main__":
    power_cuts.require()
    harness.main()
