#!/usr/bin/env python3
"""Everything at once for half an hour: programs write in a clone while it is settled, snapshotted, read, collected and checked.

    STELLARIUM_BIN=build/tsan/tools STELLARIUM_SANITIZE=thread tests/soak/mixed_load.py [--minutes 30]

Twelve programs write in a mounted clone (tests/fault/clone_load.py), what is a second old is settled, and commands run one after
the other: a snapshot, a clone of it that is mounted, read and removed, an import of new files, its removal, gc, settle, fsck. Wanted: no call and no
command fails, every byte is there at the end, also after mounting anew, `fsck --deep` is clean, a sanitizer reports nothing, and the server's memory
stays what it was. Needs root; ends with 1 at the first thing that is wrong."""
import argparse
import itertools
import statistics
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "mount"), str(TESTS / "fault")]
import harness
import trees
from clone_load import CloneLoad
from harness import Store

KEPT = 4  # snapshots, and images of new files
GROWTH = 1.15  # of the server's memory between the second quarter of the time and the last: nothing is kept for ever


class Commands:
    """One round of them, again and again."""

    def __init__(self, store: Store):
        self.store = store
        self.snapshots: list[str] = []
        self.fresh = store.scratch / "fresh"
        self.fresh.mkdir()

    def round(self, number: int) -> None:
        run = self.store.run
        snapshot = f"web@s{number}"
        run("snapshot", snapshot)
        self.snapshots.append(snapshot)
        run("clone", snapshot, "shown")
        with self.store.mounted("shown") as mount:
            before = trees.snapshot(mount / "r1")
            trees.write(mount / "own", trees.noise(100_000, seed=number))
            if trees.snapshot(mount / "r1") != before:
                raise harness.Failed(f"{snapshot} changed while it was read")
        run("rm", "shown")
        for name in range(20):
            (self.fresh / f"f{name}").write_bytes(trees.noise(1000 + 9000 * name, seed=100 * number + name % 10))
        run("import", self.fresh, f"fresh:{number}")
        if number >= KEPT:
            run("rm", f"fresh:{number - KEPT}")
            run("rm", self.snapshots.pop(0))
        run("settle", "web")
        if number % 4 == 3:
            run("gc")
            run("fsck")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    memory: list[int] = []
    with Store() as store:
        store.environment["STELLARIUM_SETTLE_AFTER"] = "1"
        load = CloneLoad(store, chosen.seed)
        commands = Commands(store)
        with store.mounted("web") as mount:
            load.start(mount)
            end = time.monotonic() + 60 * chosen.minutes
            for number in itertools.count():
                commands.round(number)
                memory.append(store.json("stats")["process"]["memory_bytes"])
                if time.monotonic() > end:
                    break
                dead = [writer.name for writer in load.running if not writer.is_alive()]
                if dead:
                    print(f"ended early: {dead}")
                    break
            errors, longest = load.end()
            print(f"{len(memory)} rounds of commands; {load.rounds()}; longest call {longest.longest * 1000:.0f} ms ({longest.name}: {longest.slowest})")
            if errors:
                print(errors)
                return 1
            load.compare(mount)
        with store.mounted("web") as mount:
            load.compare(mount)
        store.run("fsck", "--deep")
        for snapshot in commands.snapshots:
            store.run("rm", snapshot)
        store.run("gc")
        store.run("fsck", "--deep")
    quarter = len(memory) // 4
    if quarter == 0:
        print("too short to say how memory grows")
        return 1
    early, late = statistics.mean(memory[quarter:2 * quarter]), statistics.mean(memory[-quarter:])
    print(f"the server's memory: {early / trees.MIB:.1f} MiB in the second quarter of the time, {late / trees.MIB:.1f} MiB in the last")
    return 0 if late <= GROWTH * early else 1


if __name__ == "__main__":
    sys.exit(main())
