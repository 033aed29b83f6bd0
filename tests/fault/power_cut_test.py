#!/usr/bin/env python3
"""The power is cut at random writes while images are imported, renamed and removed.

Wanted, for every cut: the store opens, `fsck --deep` is clean, exactly the acknowledged images are there (and perhaps the one whose
command had not returned yet), each exports the very bytes it had, and a new import succeeds. A control arm with all syncs
disabled must lose something, else this test would prove nothing."""
import hashlib
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
import trees
from harness import Store

harness.require_mounts()
harness.require(not power_disk.available(), power_disk.available())
CUTS = int(os.environ.get("STELLARIUM_CUTS", "20"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
DISK_BYTES = 384 << 20
EATMYDATA = Path("/usr/lib/x86_64-linux-gnu/libeatmydata.so")


def build_tree(root: Path, seed: int) -> None:
    """A few megabytes of small and large files; a third of them are the same in every tree."""
    root.mkdir()
    for number in range(120):
        own = seed if number % 3 else 0
        size = [300, 9_000, 60_000, 200_000][number % 4]
        trees.write(root / f"f{number}", trees.noise(size, own * 1000 + number), 0o755 if number % 5 == 0 else 0o644)


class StoreOn(Store):
    """A store inside `folder`, which lives on a disk that will lose power."""

    def __init__(self, folder: Path, scratch: Path):
        super().__init__(parent=scratch)
        self.dir = folder / "store"


def export_digest(store: Store, name: str) -> str:
    return hashlib.sha256(store.run("export", name, "-").stdout).hexdigest()


class Step:
    """One command, and the images (name → tree) that exist once it has returned."""

    def __init__(self, args: list, images: dict[str, int]):
        self.args, self.images = args, images
        self.started = self.returned = 0  # positions in the log


def record(work: Path, preload: bool) -> tuple[power_disk.RecordingDisk, list[Step], dict[int, str]]:
    """Runs all steps on a recorded disk."""
    for tree in (1, 2, 3):
        build_tree(work / f"tree{tree}", tree)
    steps = [
        Step(["import", work / "tree1", "one"], {"one": 1}),
        Step(["import", work / "tree2", "two"], {"one": 1, "two": 2}),
        Step(["rename", "one", "first"], {"first": 1, "two": 2}),
        Step(["import", work / "tree3", "two"], {"first": 1, "two": 3}),
        Step(["gc"], {"first": 1, "two": 3}),
        Step(["rm", "first"], {"two": 3}),
        Step(["import", work / "tree1", "again"], {"two": 3, "again": 1}),
    ]
    digests: dict[int, str] = {}
    disk = power_disk.RecordingDisk(work, DISK_BYTES)
    with disk, StoreOn(disk.mount, work) as store:
        if preload:
            store.environment["LD_PRELOAD"] = str(EATMYDATA)
        for step in steps:
            step.started = disk.position()
            store.run(*step.args)
            step.returned = disk.position()
            for name, tree in step.images.items():
                if tree not in digests:
                    digests[tree] = export_digest(store, name)
        store.stop()
    return disk, steps, digests


def examine(folder: Path, work: Path, digests: dict[int, str], allowed: list[dict[str, int]]) -> str:
    """What is wrong with the store after a cut; empty if nothing is."""
    with StoreOn(folder, work) as store:
        try:
            if not (store.dir / "format").exists():  # the power went while the store was made
                store.run("import", work / "tree3", "after-the-cut")
                return "" if {} in allowed else "the store is gone"
            checked = store.run("fsck", "--deep", expect=None)
            if checked.returncode != 0:
                return f"fsck: exit {checked.returncode}: {checked.stdout[-500:]!r} {checked.stderr[-500:]!r}"
            listed = {image["name"] for image in store.json("images")["images"]}
            match = next((images for images in allowed if images.keys() == listed), None)
            if match is None:
                return f"images {sorted(listed)}, expected one of {[sorted(images) for images in allowed]}"
            for name in listed:
                trees_of_name = {images[name] for images in allowed if name in images}
                if export_digest(store, name) not in {digests[tree] for tree in trees_of_name}:
                    return f"image {name} exports other bytes"
            store.run("import", work / "tree3", "after-the-cut")
            store.stop()
        except harness.Failed as failure:
            return str(failure)
    return ""


def faults(work: Path, preload: bool, cuts: int) -> list[str]:
    disk, steps, digests = record(work, preload)
    replay = power_disk.Replay(disk, work)
    rng = random.Random(SEED)
    first = replay.entry_at(steps[0].started)
    found = []
    for number in sorted(rng.sample(range(first, len(replay.entries)), min(cuts, len(replay.entries) - first))):
        returned = max((i for i, step in enumerate(steps) if replay.entry_at(step.returned) <= number), default=-1)
        started = max((i for i, step in enumerate(steps) if replay.entry_at(step.started) <= number), default=-1)
        allowed = [steps[i].images if i >= 0 else {} for i in range(returned, started + 1)]
        with replay.cut(number, seed=SEED + number) as mount:
            if fault := examine(mount, work, digests, allowed):
                found.append(f"cut before write {number} of {len(replay.entries)} (seed {SEED}): {fault}")
    return found


class PowerCut(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="stellarium-power-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def test_every_cut_leaves_a_whole_store(self):
        self.assertEqual(faults(self.work, preload=False, cuts=CUTS), [])

    def test_the_control_arm_without_syncs_loses_something(self):
        if not EATMYDATA.exists():
            self.skipTest("libeatmydata is not installed")
        self.assertNotEqual(faults(self.work, preload=True, cuts=max(10, CUTS // 2)), [])


if __name__ == "__main__":
    harness.main()
