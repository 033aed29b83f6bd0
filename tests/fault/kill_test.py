#!/usr/bin/env python3
"""The server is killed again and again under load; programs do not notice.

Eight readers checksum the tree over and over, mappings are read, a listing of 100,000 entries is half way, files are opened
cold. Wanted: no error, no wrong byte, no read that waits longer than a second, no handle left over."""
import mmap
import os
import random
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import trees
from harness import Store

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "50"))
READERS = 8
ENTRIES = 100_000
STALL = 1.0  # seconds, the longest that one system call may take


class Worker(threading.Thread):
    """Repeats one piece of work until told to stop; keeps the first error and the longest call."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error, self.longest, self.rounds, self.stopping = work, None, 0.0, 0, False

    def timed(self, call, *args):
        started = time.monotonic()
        result = call(*args)
        self.longest = max(self.longest, time.monotonic() - started)
        return result

    def run(self):
        try:
            while not self.stopping:
                self.work(self)
                self.rounds += 1
        except BaseException as error:  # what a program would have seen
            self.error = error


def build_tree(root: Path) -> dict[str, str]:
    """Small, middle and large files; returns path → digest."""
    root.mkdir()
    expected = {}
    for number in range(400):
        folder = root / f"d{number % 20}"
        folder.mkdir(exist_ok=True)
        size = random.Random(number).choice([200, 3000, 15_000, 40_000, 200_000, 1_500_000 if number % 40 == 0 else 20_000])
        path = folder / f"f{number}"
        trees.write(path, trees.text(size, number) if number % 2 else trees.noise(size, number), 0o755 if number % 3 == 0 else 0o644)
        expected[str(path.relative_to(root))] = trees.digest(os.fsencode(path))
    trees.write(root / "large", trees.noise(24 * trees.MIB, seed=99))
    expected["large"] = trees.digest(os.fsencode(root / "large"))
    (root / "many").mkdir()
    for number in range(ENTRIES):
        os.close(os.open(root / "many" / f"{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))
    return expected


def checksum_reader(mount: Path, expected: dict[str, str], seed: int):
    names = list(expected)
    rng = random.Random(seed)

    def work(worker: Worker) -> None:
        name = rng.choice(names)
        path = os.fsencode(mount / name)
        found = worker.timed(trees.digest, path) if name != "large" else trees.digest(path)
        if found != expected[name]:
            raise AssertionError(f"wrong bytes in {name}")
        worker.timed(os.stat, path)

    return work


def mapping_reader(mount: Path, expected_pages: dict[int, bytes]):
    file = open(mount / "large", "rb")
    mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    pages = list(expected_pages)
    rng = random.Random(5)

    def work(worker: Worker) -> None:
        at = rng.choice(pages)
        if rng.random() < 0.02:
            mapping.madvise(mmap.MADV_DONTNEED)
        if worker.timed(lambda: mapping[at:at + 64]) != expected_pages[at]:
            raise AssertionError(f"wrong bytes in the mapping at {at}")
        time.sleep(0.001)

    return work


def listing_reader(mount: Path):
    def work(worker: Worker) -> None:
        found = 0
        with os.scandir(mount / "many") as entries:
            for entry in entries:
                found += 1
                if found % 5000 == 0:
                    time.sleep(0.01)  # so that kills happen in the middle
        if found != ENTRIES:
            raise AssertionError(f"a listing showed {found} of {ENTRIES} entries")

    return work


def cold_opener(mount: Path, store: Store, expected: dict[str, str]):
    names = list(expected)
    rng = random.Random(11)

    def work(worker: Worker) -> None:
        Path("/proc/sys/vm/drop_caches").write_text("2")
        name = rng.choice(names)
        if trees.digest(os.fsencode(mount / name)) != expected[name]:
            raise AssertionError(f"wrong bytes in {name}, opened cold")
        time.sleep(0.05)

    return work


class Kill(unittest.TestCase):
    def test_programs_do_not_notice_that_the_server_is_killed(self):
        with Store() as store:
            tree = store.scratch / "tree"
            expected = build_tree(tree)
            whole = (tree / "large").read_bytes()
            pages = {at: whole[at:at + 64] for at in range(0, len(whole), 64 * 1024)}
            store.run("import", tree, "work")
            with store.mounted("work") as mount:
                workers = [Worker(checksum_reader(mount, expected, seed)) for seed in range(READERS)]
                workers += [Worker(mapping_reader(mount, pages)), Worker(listing_reader(mount)),
                            Worker(cold_opener(mount, store, expected))]
                for worker in workers:
                    worker.start()
                rng = random.Random(3)
                killed = 0
                while killed < KILLS:
                    time.sleep(rng.uniform(0.05, 0.4))
                    pid = store.server()
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                    deadline = time.monotonic() + 30
                    while store.processes("server") in ([], [pid]) and time.monotonic() < deadline:
                        time.sleep(0.005)
                time.sleep(1)
                for worker in workers:
                    worker.stopping = True
                for worker in workers:
                    worker.join(60)
                    self.assertFalse(worker.is_alive(), "a reader hangs")
                errors = [repr(worker.error) for worker in workers if worker.error]
                self.assertEqual(errors, [])
                longest = max(worker.longest for worker in workers)
                rounds = sum(worker.rounds for worker in workers)
                print(f"{killed} kills, {rounds} rounds of {len(workers)} workers, longest wait {longest * 1000:.0f} ms",
                      file=sys.stderr)
                waits = ", ".join(f"{worker.longest * 1000:.0f}" for worker in workers)
                self.assertLess(longest, STALL, f"longest waits in ms: {waits}\n{(store.dir / 'run' / 'server.log').read_text()[-6000:]}")
                del workers
                self.assert_no_handle_is_left(store)
            store.run("fsck")

    def assert_no_handle_is_left(self, store: Store):
        import gc
        gc.collect()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            mounts = store.json("stats")["mounts"]
            if all(mount["open_handles"] == 0 for mount in mounts):
                return
            time.sleep(0.1)
        self.fail(f"handles are left: {mounts}")


if __name__ == "__main__":
    harness.main()
