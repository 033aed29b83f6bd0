#!/usr/bin/env python3
"""A guest goes on while its servers are killed: what it asked is answered once, its open files and its window stay.

The guest is tests/vm/surviving_guest.cpp, whose front-end connects again; the command keeps the socket and what the next server must know."""
import os
import random
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness

GUEST = harness.BIN.parent / "tests" / "vm" / "surviving_guest"
KILLS = 4 if harness.SANITIZED else 12
WINDOW = 16  # MiB


class Restart(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        tree = self.store.scratch / "tree"
        tree.mkdir()
        (tree / "large").write_bytes(b"l" * (12 << 20))
        self.store.run("import", tree, "image")
        self.store.run("clone", "image", "clone")

    def survive(self, interrupt, times: int) -> int:
        """Serves a guest, interrupts its servers, and returns how many rounds it made."""
        socket = self.store.scratch / "socket"
        serving = subprocess.Popen([str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", "clone", "--socket-path", str(socket), "--dax-window", f"{WINDOW}M"],
                                   stdin=subprocess.DEVNULL, env=self.store.environment)
        while not socket.exists():
            self.assertIsNone(serving.poll())
            time.sleep(0.01)
        with subprocess.Popen([str(GUEST), str(socket), str(WINDOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guest:
            self.assertEqual(guest.stdout.readline(), "begun\n")
            for _ in range(times):
                time.sleep(random.uniform(0.05, 0.5))
                self.assertIsNone(guest.poll())
                interrupt()
            time.sleep(0.5)
            guest.stdin.close()
            said = guest.stdout.read().split()
            self.assertEqual(guest.wait(timeout=120), 0)
        self.assertEqual(serving.wait(timeout=60), 0)
        self.assertEqual(said[0], "survived")
        self.assertGreater(int(said[1]), times // 2)  # one that was killed before it had the guest is none to it
        print(f"{said[2]} rounds on {int(said[1]) + 1} servers", file=sys.stderr)
        return int(said[2])

    def check(self, rounds: int):
        self.assertEqual(self.store.run("cat", "clone", "/log").stdout, b"".join(b"%08d" % number for number in range(rounds)))
        names = set(self.store.run("ls", "clone", "/").stdout.decode().split())
        self.assertEqual(names, {"large", "log"} | {f"kept{number}" for number in range(0, rounds, 10)})
        self.store.run("fsck", "--deep")

    def test_servers_are_killed(self):
        def kill():
            os.kill(self.store.server(timeout=60), signal.SIGKILL)
        self.check(self.survive(kill, KILLS))

    def test_servers_are_replaced(self):
        def restart():
            self.store.run("daemon", "restart")
        self.check(self.survive(restart, 3))


if __name__ == "__main__":
    harness.require(GUEST.exists(), f"{GUEST} is not built")
    harness.main()
