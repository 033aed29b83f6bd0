#!/usr/bin/env python3
"""The power is cut at random writes while programs write a volume, and while it is settled, cloned and swept.

Wanted, for every cut: the store opens, `fsck` is clean; each place of 4 KiB is the last that was synced (fsync, fdatasync, msync,
O_DSYNC, O_DIRECT) or something that was written since, never anything else; each clone that was acknowledged is there and is what its source was at
one moment. A control arm with all syncs disabled must lose something."""
import os
import random
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
from harness import Store
from volume_writers import HOWS, VolumeWriter, wrong_places

harness.require_mounts()
harness.require(not power_disk.available(), power_disk.available())
CUTS = int(os.environ.get("STELLARIUM_CUTS", "10"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
SECONDS = float(os.environ.get("STELLARIUM_WRITE_SECONDS", "5"))
DISK_BYTES = 512 << 20
BLOCKS_EACH = 24
EATMYDATA = Path("/usr/lib/x86_64-linux-gnu/libeatmydata.so")


class StoreOn(Store):
    """A store inside `folder`, which lives on a disk that will lose power."""

    def __init__(self, folder: Path, scratch: Path):
        super().__init__(parent=scratch)
        self.dir = folder / "store"


class Clone:
    """A clone that a command made: moments of this process, and the position when it had returned."""

    def __init__(self, name: str, begun: float, ended: float, acked: int):
        self.name, self.begun, self.ended, self.acked = name, begun, ended, acked


class Load:
    def __init__(self, store: Store, mount: Path, disk: power_disk.RecordingDisk):
        self.store, self.disk = store, disk
        path = mount / "volumes" / "disk.img"
        self.writers = [VolumeWriter(path, number * BLOCKS_EACH, BLOCKS_EACH, how, SEED, disk.position) for number, how in enumerate(HOWS)]
        self.clones: list[Clone] = []
        self.failed: list[BaseException] = []
        self.ending = False

    def command(self, number: int) -> None:
        """Settles, clones and sweeps, so that cuts fall into each."""
        begun = time.monotonic()
        name = f"clone{number}"
        self.store.run("volume", "clone", "disk", name)
        self.clones.append(Clone(name, begun, time.monotonic(), self.disk.position()))
        self.store.run("gc" if number % 3 == 2 else "volume", *(() if number % 3 == 2 else ("map", "disk")))

    def run(self) -> None:
        def repeat(work):
            try:
                number = 0
                while not self.ending:
                    work(number)
                    number += 1
            except BaseException as error:
                self.failed.append(error)

        works = [lambda _, writer=writer: (writer.step(), time.sleep(0.002)) for writer in self.writers] + [self.command]
        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        self.ending = True
        for thread in threads:
            thread.join()
        for writer in self.writers:
            writer.close()
        if self.failed:
            raise self.failed[0]


def record(work: Path, preload: bool) -> tuple[power_disk.RecordingDisk, Load, int]:
    """Runs the load on a recorded disk; also where in the record it began."""
    disk = power_disk.RecordingDisk(work, DISK_BYTES)
    with disk, StoreOn(disk.mount, work) as store:
        if preload:
            store.environment["LD_PRELOAD"] = str(EATMYDATA)
        store.run("volume", "create", "disk", "--size", str((len(HOWS) * BLOCKS_EACH + 1) * 64 << 10))
        with store.mounted() as mount:
            began = disk.position()
            load = Load(store, mount, disk)
            load.run()
            load.ended = disk.position()
        store.stop()
    print(f"{ {writer.how: writer.steps for writer in load.writers} } changes, {len(load.clones)} clones, {(load.ended - began) >> 20} MiB recorded",
          file=sys.stderr)
    return disk, load, began


def examine(folder: Path, work: Path, load: Load, position: int) -> str:
    """What is wrong with the store; empty if nothing is."""
    with StoreOn(folder, work) as store:
        try:
            checked = store.run("fsck", "--deep", expect=None)
            if checked.returncode != 0:
                return f"fsck: exit {checked.returncode}: {checked.stdout[-500:]!r} {checked.stderr[-500:]!r}"
            listed = {one["name"] for one in store.json("volume", "list")["volumes"]}
            with store.mounted() as mount:
                if "disk" not in listed:
                    return "the volume is gone"
                if wrong := wrong_places(mount / "volumes" / "disk.img", load.writers, lambda writer, place: writer.after_cut(place, position)):
                    return f"{len(wrong)} places are wrong: {', '.join(wrong[:8])}"
                for clone in load.clones:
                    if clone.name not in listed:
                        if clone.acked < position:
                            return f"{clone.name} was acknowledged and is not there"
                        continue
                    if wrong := wrong_places(mount / "volumes" / f"{clone.name}.img", load.writers,
                                             lambda writer, place: writer.between(place, clone.begun, clone.ended)):
                        return f"{clone.name}: {len(wrong)} places are wrong: {', '.join(wrong[:8])}"
                with open(mount / "volumes" / "disk.img", "r+b") as file:
                    file.write(b"goes on")
            store.run("volume", "clone", "disk", "new")
            store.stop()
        except (harness.Failed, OSError) as failure:
            return f"{failure}\n{(store.dir / 'run' / 'server.log').read_text()[-1500:]}"
    return ""


def faults(work: Path, preload: bool, cuts: int) -> list[str]:
    disk, load, began = record(work, preload)
    replay = power_disk.Replay(disk, work)
    first, last = replay.entry_at(began), replay.entry_at(load.ended)
    found = []
    for number in sorted(random.Random(SEED).sample(range(first, last), min(cuts, last - first))):
        with replay.cut(number, seed=SEED + number) as mount:
            if fault := examine(mount, work, load, replay.entries[number][0]):
                found.append(f"cut before write {number} of {len(replay.entries)} (seed {SEED}): {fault}")
    return found


class VolumePowerCut(unittest.TestCase):
    maxDiff = None

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
