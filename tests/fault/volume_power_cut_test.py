#!/usr/bin/env python3
"""The power is cut at random writes while programs write a volume, and while it is settled, cloned and swept.

Wanted, for every cut: the store opens, `fsck` is clean; each place of 4 KiB is the last that was synced (fsync, fdatasync, msync,
O_DSYNC, O_DIRECT) or something that was written since, never anything else; each clone that was acknowledged is there and is what its source was at
one moment. A control arm with all syncs disabled must lose something."""
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import power_cuts
import power_disk
from harness import Store
from volume_writers import HOWS, VolumeWriter, wrong_places

BLOCKS_EACH = 24


class Clone:
    """A clone that a command made: moments of this process, and the position when it had returned."""

    def __init__(self, name: str, begun: float, ended: float, acked: int):
        self.name, self.begun, self.ended, self.acked = name, begun, ended, acked


class Load:
    def __init__(self, store: Store, mount: Path, disk: power_disk.RecordingDisk):
        self.store, self.disk = store, disk
        path = mount / "volumes" / "disk.img"
        self.writers = [VolumeWriter(path, number * BLOCKS_EACH, BLOCKS_EACH, how, power_cuts.SEED, disk.position) for number, how in enumerate(HOWS)]
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
        time.sleep(power_cuts.SECONDS)
        self.ending = True
        for thread in threads:
            thread.join()
        for writer in self.writers:
            writer.close()
        if self.failed:
            raise self.failed[0]


class VolumePowerCut(power_cuts.PowerCuts):
    DISK_BYTES = 512 << 20

    def record(self, store, disk):
        store.run("volume", "create", "disk", "--size", str((len(HOWS) * BLOCKS_EACH + 1) * 64 << 10))
        with store.mounted() as mount:
            began = disk.position()
            self.load = Load(store, mount, disk)
            self.load.run()
            ended = disk.position()
        print(f"{ {writer.how: writer.steps for writer in self.load.writers} } changes, {len(self.load.clones)} clones", file=sys.stderr)
        return began, ended

    def examine(self, store, replay, entry):
        if fault := power_cuts.fsck(store):
            return fault
        position = replay.entries[entry][0]
        listed = {one["name"] for one in store.json("volume", "list")["volumes"]}
        if "disk" not in listed:
            return "the volume is gone"
        with store.mounted() as mount:
            if fault := self.look(mount / "volumes", listed, position):
                return fault
            with open(mount / "volumes" / "disk.img", "r+b") as file:
                file.write(b"goes on")
        store.run("volume", "clone", "disk", "new")
        return ""

    def look(self, volumes: Path, listed: set[str], position: int) -> str:
        writers = self.load.writers
        if wrong := wrong_places(volumes / "disk.img", writers, lambda writer, place: writer.after_cut(place, position)):
            return f"{len(wrong)} places are wrong: {', '.join(wrong[:8])}"
        for clone in self.load.clones:
            if clone.name not in listed:
                if clone.acked < position:
                    return f"{clone.name} was acknowledged and is not there"
                continue
            if wrong := wrong_places(volumes / f"{clone.name}.img", writers, lambda writer, place: writer.between(place, clone.begun, clone.ended)):
                return f"{clone.name}: {len(wrong)} places are wrong: {', '.join(wrong[:8])}"
        return ""


if __name__ == "__main__":
    power_cuts.require()
    harness.main()
