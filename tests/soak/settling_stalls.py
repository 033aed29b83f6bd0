#!/usr/bin/env python3
"""How long single calls of writing programs take while what they wrote is settled in the background.

    STELLARIUM_BIN=build/release/tools tests/soak/settling_stalls.py [--seconds 60]

Four programs write, each in its own way, and pause between calls as programs do: at random places of a large file, at the end of a
log, new files, and new files renamed over old ones. They do so in a clone whose files are settled as soon as they are a second
old, in a clone that is never settled, and on the host's file system: what the other two take as well is not settling's. Wanted: no
call of the first takes 50 ms. Needs root; ends with 1 if one did."""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "mount"), str(TESTS / "fault")]
import harness
import trees
from clone_writers import Writer
from harness import Store

STALL = 0.050  # seconds that a call may take
PAUSE = 0.0005  # between rounds
LARGE = 256 * trees.MIB


class Loads:
    """The programs, in one folder."""

    def __init__(self, folder: Path):
        data = trees.noise(trees.MIB, seed=os.getpid())
        piece = data[:16384]
        large = os.open(folder / "large", os.O_RDWR | os.O_CREAT, 0o600)
        for at in range(0, LARGE, trees.MIB):
            os.pwrite(large, data, at)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for name in ("new", "renamed"):
            (folder / name).mkdir()

        def overwrite(writer: Writer) -> None:
            writer.timed(os.pwrite, large, data[:4096], writer.rounds * 7919 % (LARGE // 4096) * 4096)
            time.sleep(PAUSE)

        def append(writer: Writer) -> None:
            writer.timed(os.write, log, piece[:100])
            time.sleep(PAUSE)

        def write(writer: Writer, path: Path, number: int) -> None:
            file = writer.timed(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            writer.timed(os.write, file, number.to_bytes(8, "little") + piece)
            writer.timed(os.close, file)
            time.sleep(PAUSE)

        def create(writer: Writer) -> None:
            write(writer, folder / "new" / str(writer.rounds), writer.rounds)

        def rename(writer: Writer) -> None:
            write(writer, folder / "renamed" / "next", writer.rounds)
            writer.timed(os.rename, folder / "renamed" / "next", folder / "renamed" / str(writer.rounds % 100))

        self.writers = [Writer(work.__name__, work) for work in (overwrite, append, create, rename)]
        self.files = (large, log)

    def measure(self, seconds: float) -> dict[str, tuple[int, float, str]]:
        """For each program its rounds, its longest call in seconds, and which one that was."""
        for writer in self.writers:
            writer.start()
        time.sleep(seconds)
        errors = [error for error in [writer.end() for writer in self.writers] if error]
        for file in self.files:
            os.close(file)
        if errors:
            raise harness.Failed("\n".join(errors))
        return {writer.name: (writer.rounds, writer.longest, writer.slowest) for writer in self.writers}


def in_clone(seconds: float, settle_after: str) -> tuple[dict, int]:
    """(what the programs met, bytes that were settled meanwhile)"""
    with Store() as store:
        store.environment["STELLARIUM_SETTLE_AFTER"] = settle_after
        (store.scratch / "image").mkdir()
        (store.scratch / "image" / "known").write_bytes(b"known")
        store.run("import", store.scratch / "image", "base")
        store.run("clone", "base", "web")
        with store.mounted("web") as mount:
            met = Loads(mount).measure(seconds)
            settled = store.json("stats")["contents"]["raw_bytes"]
        return met, settled


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    seconds = options.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        results = {"host": Loads(Path(folder)).measure(seconds)}
    results["clone, never settled"], _ = in_clone(seconds, "never")
    results["clone, settled"], settled = in_clone(seconds, "1")
    for where, met in results.items():
        for name, (rounds, longest, slowest) in met.items():
            print(f"{where:22} {name:10} {rounds:8} rounds, longest call {longest * 1000:7.1f} ms: {slowest[:60]}")
    print(f"settled meanwhile: {settled / trees.MIB:.0f} MiB")
    worst = max(longest for _, longest, _ in results["clone, settled"].values())
    if settled == 0:
        print("nothing was settled: that proves nothing")
        return 1
    print(f"longest call beside settling: {worst * 1000:.1f} ms, wanted: below {STALL * 1000:.0f}")
    return 0 if worst < STALL else 1


if __name__ == "__main__":
    sys.exit(main())
