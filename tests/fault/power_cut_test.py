#!/usr/bin/env python3
"""The power is cut at random writes while images are imported, renamed and removed.

Wanted, for every cut: the store opens, `fsck --deep` is clean, exactly the acknowledged images are there (and perhaps the one whose
command had not returned yet), each exports the very bytes it had, and a new import succeeds. A control arm with all syncs
disabled must lose something, else this test would prove nothing."""
import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import power_cuts
import trees
from harness import Store


def build_tree(root: Path, seed: int) -> None:
    """A few megabytes of small and large files; a third of them are the same in every tree."""
    root.mkdir()
    for number in range(120):
        own = seed if number % 3 else 0
        size = [300, 9_000, 60_000, 200_000][number % 4]
        trees.write(root / f"f{number}", trees.noise(size, own * 1000 + number), 0o755 if number % 5 == 0 else 0o644)


def export_digest(store: Store, name: str) -> str:
    return hashlib.sha256(store.run("export", name, "-").stdout).hexdigest()


class Step:
    """One command, and the images (name → tree) that exist once it has returned."""

    def __init__(self, args: list, images: dict[str, int]):
        self.args, self.images = args, images
        self.started = self.returned = 0  # positions in the log


class PowerCut(power_cuts.PowerCuts):
    CUTS = int(os.environ.get("STELLARIUM_CUTS", "20"))
    CONTROL_CUTS = max(10, CUTS // 2)

    def record(self, store, disk):
        for tree in (1, 2, 3):
            build_tree(self.work / f"tree{tree}", tree)
        self.steps = [
            Step(["import", self.work / "tree1", "one"], {"one": 1}),
            Step(["import", self.work / "tree2", "two"], {"one": 1, "two": 2}),
            Step(["rename", "one", "first"], {"first": 1, "two": 2}),
            Step(["import", self.work / "tree3", "two"], {"first": 1, "two": 3}),
            Step(["gc"], {"first": 1, "two": 3}),
            Step(["rm", "first"], {"two": 3}),
            Step(["import", self.work / "tree1", "again"], {"two": 3, "again": 1}),
        ]
        self.digests: dict[int, str] = {}
        for step in self.steps:
            step.started = disk.position()
            store.run(*step.args)
            step.returned = disk.position()
            for name, tree in step.images.items():
                if tree not in self.digests:
                    self.digests[tree] = export_digest(store, name)
        return self.steps[0].started, None

    def examine(self, store, replay, entry):
        returned = max((i for i, step in enumerate(self.steps) if replay.entry_at(step.returned) <= entry), default=-1)
        started = max((i for i, step in enumerate(self.steps) if replay.entry_at(step.started) <= entry), default=-1)
        allowed = [self.steps[i].images if i >= 0 else {} for i in range(returned, started + 1)]
        if not (store.dir / "format").exists():  # the power went while the store was made
            store.run("import", self.work / "tree3", "after-the-cut")
            return "" if {} in allowed else "the store is gone"
        if fault := power_cuts.fsck(store):
            return fault
        listed = {image["name"] for image in store.json("images")["images"]}
        if not any(images.keys() == listed for images in allowed):
            return f"images {sorted(listed)}, expected one of {[sorted(images) for images in allowed]}"
        for name in listed:
            trees_of_name = {images[name] for images in allowed if name in images}
            if export_digest(store, name) not in {self.digests[tree] for tree in trees_of_name}:
                return f"image {name} exports other bytes"
        store.run("import", self.work / "tree3", "after-the-cut")
        return ""


if __name__ == "__main__":
    power_cuts.require()
    harness.main()
