#!/usr/bin/env python3
"""A thousand virtual machines on one daemon, each with a clone of its own: they connect soon, all are answered, and a machine costs neither a
thread nor much memory.

The machines are tests/vm/many_guests.cpp, which knows the protocol and needs no virtual machine."""
import resource
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import roots

GUESTS = harness.BIN.parent / "tests" / "vm" / "many_guests"
DESCRIPTORS = 14  # for each machine, of the daemon's


def possible() -> int:
    wanted = 40 if harness.SANITIZED else 1000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < wanted * DESCRIPTORS + 500:
        try:
            most = wanted * DESCRIPTORS + 500
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (ValueError, PermissionError):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(wanted, (most - 500) // DESCRIPTORS)


class ManyGuests(unittest.TestCase):
    def setUp(self):
        self.count = possible()
        self.assertGreaterEqual(self.count, 40, "this machine allows too few open files")
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        tree = self.store.scratch / "tree"
        roots.minimal_root(tree)
        self.store.run("import", tree, "image")
        for number in range(self.count):
            self.store.run("clone", "image", f"clone{number}")
        self.sockets = self.store.scratch / "sockets"
        self.sockets.mkdir()

    def server_status(self) -> dict[str, int]:
        lines = Path(f"/proc/{self.store.server()}/status").read_text().splitlines()
        return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name in ("VmRSS", "Threads")}

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.store.server()}/fd").iterdir()))

    def test_they_connect_and_are_answered(self):
        before, open_before = self.server_status(), self.descriptors()
        commands = [subprocess.Popen([str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", f"clone{number}", "--socket-path",
                                      str(self.sockets / f"s{number}")], stdin=subprocess.DEVNULL, env=self.store.environment) for number in range(self.count)]
        for number, command in enumerate(commands):
            while not (self.sockets / f"s{number}").exists():
                self.assertIsNone(command.poll())
                time.sleep(0.01)
        with subprocess.Popen([str(GUESTS), str(self.sockets / "s"), str(self.count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guests:
            connected = guests.stdout.readline().split()
            answered = guests.stdout.readline().split()
            self.assertEqual([connected[0], answered[0]], ["connected", "answered"])
            during = self.server_status()
            each = (during["VmRSS"] - before["VmRSS"]) / self.count
            print(f"{self.count} guests connected in {connected[1]} s, answers take {answered[1]} us (median; p99 {answered[2]}), the daemon has {during['Threads']} threads "
                  f"and {during['VmRSS'] >> 10} MiB, {each:.0f} KiB a guest", file=sys.stderr)
            self.assertLess(during["Threads"], before["Threads"] + 10)
            if not harness.SANITIZED:
                self.assertLess(float(connected[1]), 5)
                self.assertLess(during["VmRSS"], 200 << 10)
                self.assertLess(each, 200)
            self.assertEqual(self.store.run("cat", f"clone{self.count - 1}", "/made").stdout, b"bytes")
            guests.stdin.close()
            self.assertEqual(guests.wait(timeout=60), 0)
        for command in commands:
            self.assertEqual(command.wait(timeout=60), 0)
        # What was theirs is given back, and every clone is free. Up to 256 files that were written, and their 256 folders, stay open for who comes next.
        self.assertLess(self.descriptors(), open_before + 512 + 20)
        self.store.run("rm", "clone0")
        self.store.run("fsck")


if __name__ == "__main__":
    harness.require(GUESTS.exists(), f"{GUESTS} is not built")
    harness.main()
