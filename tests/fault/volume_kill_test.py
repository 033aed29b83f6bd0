#!/usr/bin/env python3
"""The server is killed again and again while programs write a volume in every way there is; they do not notice.

Wanted: no call fails or waits longer than a second, every byte that was written is there, synced or not, though the volume is settled, cloned
and swept meanwhile, by commands that a kill may end. Afterwards `fsck` is clean."""
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
from volume_writers import BLOCK, HOWS, VolumeWriter, wrong_places

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "25"))
SEED = int(os.environ.get("STELLARIUM_SEED", "1"))
STALL = 1.0  # seconds, the longest that one system call may take
BLOCKS_EACH = 48


class VolumeKill(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.store.run("volume", "create", "disk", "--size", str((len(HOWS) * BLOCKS_EACH + 1) * BLOCK))
        self.failed: list[BaseException] = []
        self.commands = 0
        self.ending = threading.Event()

    def repeat(self, work) -> None:
        try:
            while not self.ending.is_set():
                work()
        except BaseException as error:
            self.failed.append(error)
            self.ending.set()

    def command(self) -> None:
        number, self.commands = self.commands, self.commands + 1
        words = [("volume", "map", "disk"), ("volume", "clone", "disk", f"clone{number}"), ("gc",)][number % 3]
        self.store.run(*words, expect=None)  # a kill ends it
        time.sleep(0.1)

    def kill_again_and_again(self) -> None:
        rng = random.Random(SEED)
        for number in range(KILLS):
            if self.ending.is_set():
                return
            if number % 3 == 2:  # while it starts: the one that was killed before has answered nobody again
                time.sleep(rng.uniform(0.0, 0.15))
            else:
                self.store.run("volume", "list")  # it serves
                time.sleep(rng.uniform(0.05, 0.7))
            pid = self.store.server()
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while self.store.processes("server") in ([], [pid]) and time.monotonic() < deadline:
                time.sleep(0.005)
        time.sleep(0.5)

    def compare(self, path: Path, writers: list[VolumeWriter]) -> None:
        wrong = wrong_places(path, writers, lambda writer, place: writer.history[place][-1:])
        self.assertEqual(wrong, [])

    def test_programs_do_not_notice_that_the_server_is_killed(self):
        with self.store.mounted() as mount:
            path = mount / "volumes" / "disk.img"
            writers = [VolumeWriter(path, number * BLOCKS_EACH, BLOCKS_EACH, how, SEED) for number, how in enumerate(HOWS)]
            threads = [threading.Thread(target=self.repeat, args=(work,)) for work in [writer.step for writer in writers] + [self.command]]
            for thread in threads:
                thread.start()
            try:
                self.kill_again_and_again()
            finally:
                self.ending.set()
                for thread in threads:
                    thread.join()
            longest = max(writers, key=lambda writer: writer.longest)
            print(f"{KILLS} kills, { {writer.how: writer.steps for writer in writers} } changes, {self.commands} commands; longest wait "
                  f"{longest.longest * 1000:.0f} ms ({longest.how})", file=sys.stderr)
            log = (self.store.dir / "run" / "server.log").read_text()[-4000:]
            if self.failed:
                raise harness.Failed(log) from self.failed[0]
            self.assertLess(longest.longest, STALL, log)
            self.compare(path, writers)
            for writer in writers:
                writer.close()
            self.compare(path, writers)
        self.store.stop()  # everything must be on disk
        with self.store.mounted() as mount:
            self.compare(mount / "volumes" / "disk.img", writers)
        self.store.run("gc")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.main()
