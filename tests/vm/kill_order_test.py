#!/usr/bin/env python3
"""A machine, the command that serves it and the server are killed in every order: nothing of it stays, and the clone can be attached again at once."""
import collections
import itertools
import os
import re
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness

GUEST = harness.BIN.parent / "tests" / "vm" / "surviving_guest"
WINDOW = 16  # MiB
LARGE = 12 << 20


class KillOrder(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.socket = self.store.scratch / "socket"
        tree = self.store.scratch / "tree"
        tree.mkdir()
        (tree / "large").write_bytes(b"l" * LARGE)
        self.store.run("import", tree, "image")

    def start(self, clone: str, prefix: str) -> tuple[subprocess.Popen, subprocess.Popen]:
        """The command and a guest that has files open, maps of a window, and asks all the time."""
        command = [str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", clone, "--socket-path", str(self.socket), "--dax-window", f"{WINDOW}M"]
        left = self.socket.stat().st_ctime_ns if self.socket.exists() else 0  # by a command that was killed
        serving = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.store.environment)
        while not self.socket.exists() or self.socket.stat().st_ctime_ns == left:
            self.assertIsNone(serving.poll())
            time.sleep(0.01)
        guest = subprocess.Popen([str(GUEST), str(self.socket), str(WINDOW), prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for process in (serving, guest):
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        self.assertEqual(guest.stdout.readline(), "begun\n")
        return serving, guest

    def wait_until_free(self):
        deadline = time.monotonic() + 30
        while self.store.json("daemon", "mounts")["mounts"]:
            self.assertLess(time.monotonic(), deadline, "the clone is still attached")
            time.sleep(0.02)

    def held(self) -> collections.Counter:
        """What the server has open and mapped, by kind; of the clones' own files, which stay open for who comes next, nothing."""
        server = Path(f"/proc/{self.store.server()}")
        kinds = collections.Counter()
        for entry in (server / "fd").iterdir():
            try:
                target = os.readlink(entry)
            except FileNotFoundError:
                continue
            if not target.startswith("/"):
                kinds["descriptor of " + re.sub(r"\[?\d+\]?$", "", target)] += 1
            elif target.startswith("/memfd:"):
                kinds["descriptor of " + target] += 1
        for line in (server / "maps").read_text().splitlines():
            if "/memfd:" in line:
                kinds["mapping of " + line.split("/memfd:")[1]] += 1
        return kinds

    def settled(self) -> collections.Counter:
        """Two looks in a row that say the same: threads that just end hold things, too."""
        before = None
        while before != (now := self.held()):
            before = now
            time.sleep(0.2)
        return now

    def serve_well(self, clone: str, prefix: str):
        """One that ends as it should, and has found everything free."""
        serving, guest = self.start(clone, prefix)
        guest.stdin.close()
        self.assertEqual(guest.wait(timeout=60), 0)
        self.assertEqual(serving.wait(timeout=60), 0)

    def test_every_order(self):
        self.store.run("clone", "image", "before")
        self.serve_well("before", "first-")
        os.kill(self.store.server(), signal.SIGKILL)  # as those that are compared, a server that took over
        self.store.server(timeout=60)
        self.serve_well("before", "second-")
        self.wait_until_free()
        usual = self.settled()

        for number, order in enumerate(itertools.permutations(["machine", "command", "server"])):
            clone = f"clone{number}"
            with self.subTest(order=order):
                self.store.run("clone", "image", clone)
                serving, guest = self.start(clone, "killed-")
                for victim in order:
                    time.sleep(0.1)
                    {"machine": guest.kill, "command": serving.kill, "server": lambda: os.kill(self.store.server(timeout=60), signal.SIGKILL)}[victim]()
                self.store.server(timeout=60)
                self.serve_well(clone, "next-")  # at once, on the same socket
                self.wait_until_free()
                self.assertEqual(self.settled() - usual, collections.Counter())
                with self.store.mounted(clone) as mount:
                    self.assertEqual((mount / "large").stat().st_size, LARGE)
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.require(GUEST.exists(), f"{GUEST} is not built")
    harness.main()
