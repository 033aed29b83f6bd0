"""What tests of power cuts share: a store on a disk whose every write is recorded, cuts at random writes, and a control arm."""
import os
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import power_disk
from harness import Store

SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
SECONDS = float(os.environ.get("STELLARIUM_WRITE_SECONDS", "5"))  # of a load that goes on until it is told to end
EATMYDATA = Path("/usr/lib/x86_64-linux-gnu/libeatmydata.so")


def require() -> None:
    harness.require_mounts()
    harness.require(not power_disk.available(), power_disk.available())
    harness.require(EATMYDATA.exists(), "libeatmydata is not installed")


class StoreOn(Store):
    """A store inside `folder`, which lives on a disk that will lose power."""

    def __init__(self, folder: Path, scratch: Path):
        super().__init__(parent=scratch)
        self.dir = folder / "store"
        # In a /proc of its own the server would read the host's boot id, and not see that the host has started again (power_disk.Boots).
        self.environment["STELLARIUM_SANDBOX"] = "capabilities,network,landlock,seccomp"


def fsck(store: Store) -> str:
    """What it finds; empty if nothing."""
    checked = store.run("fsck", "--deep", expect=None)
    return f"fsck: exit {checked.returncode}: {checked.stdout[-500:]!r} {checked.stderr[-500:]!r}" if checked.returncode != 0 else ""


class PowerCuts(unittest.TestCase):
    """Subclasses say what is done, and what must be there whenever the power goes. Without syncs that must not hold, else the test
    would prove nothing."""
    CUTS = int(os.environ.get("STELLARIUM_CUTS", "10"))
    CONTROL_CUTS = max(3, CUTS // 3)
    DISK_BYTES = 384 << 20

    def record(self, store: Store, disk: power_disk.RecordingDisk) -> tuple[int, int | None]:
        """Works with a store that is being recorded. Between these positions the power may go; None: until the store has stopped."""
        raise NotImplementedError

    def examine(self, store: Store, replay: power_disk.Replay, entry: int) -> str:
        """What is wrong with a store whose disk lost power before this entry; empty if nothing is."""
        raise NotImplementedError

    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="stellarium-power-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.boots = power_disk.Boots(self.work)
        self.addCleanup(self.boots.close)

    def test_every_cut_leaves_what_was_synced(self):
        self.assertEqual("\n".join(self.faults(synced=True, cuts=self.CUTS)), "")

    def test_the_control_arm_without_syncs_loses_something(self):
        self.assertNotEqual(self.faults(synced=False, cuts=self.CONTROL_CUTS), [])

    def faults(self, synced: bool, cuts: int) -> list[str]:
        disk = power_disk.RecordingDisk(self.work, self.DISK_BYTES)
        with disk, StoreOn(disk.mount, self.work) as store:
            if not synced:
                store.environment["LD_PRELOAD"] = str(EATMYDATA)
            began, ended = self.record(store, disk)
            store.stop()
        replay = power_disk.Replay(disk, self.work)
        first = replay.entry_at(began)
        last = len(replay.entries) if ended is None else replay.entry_at(ended)
        print(f"{(replay.entries[last - 1][0] - began) >> 20} MiB recorded", file=sys.stderr)
        found = []
        for entry in sorted(random.Random(SEED).sample(range(first, last), min(cuts, last - first))):
            self.boots.start_again()
            with replay.cut(entry, seed=SEED + entry) as mount, StoreOn(mount, self.work) as store:
                if fault := self._fault(store, replay, entry):
                    found.append(f"cut before write {entry} of {len(replay.entries)} (seed {SEED}): {fault}")
        return found

    def _fault(self, store: Store, replay: power_disk.Replay, entry: int) -> str:
        try:
            fault = self.examine(store, replay, entry)
            if not fault:
                store.stop()
            return fault
        except (harness.Failed, OSError) as failure:
            log = store.dir / "run" / "server.log"
            return f"{failure}\n{log.read_text()[-1500:] if log.exists() else 'no server log'}"
