#!/usr/bin/env python3
"""Guests read the programs of one image by way of their DAX windows: the right bytes, in the same pages of the host's memory for all.

The guests are tests/vm/dax_guest.cpp, which knows the protocol and needs no virtual machine: no monitor of Debian 12 has DAX windows."""
import contextlib
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import roots

GUEST = harness.BIN.parent / "tests" / "vm" / "dax_guest"
GUESTS = 3 if harness.SANITIZED else 32
WINDOW = 64  # MiB: less than what is mapped one after the other


def pss_of(guest: subprocess.Popen, said: list[list[str]]) -> int:
    """KiB of the window that are there, each page divided by how many map it."""
    window = range(int(said[-1][2], 16), int(said[-1][3], 16))
    total, inside = 0, False
    for line in Path(f"/proc/{guest.pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = int(words[0].partition("-")[0], 16) in window
        elif inside and words[0] == "Pss:":
            total += int(words[1])
    return total


class Windows(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.tree = self.store.scratch / "tree"
        roots.minimal_root(self.tree)
        # More than a range, a page and a byte, and less than a page.
        for name, size in (("large", (5 << 20) + 4097), ("range", 2 << 20), ("page", 1 << 20)):
            (self.tree / name).write_bytes(os.urandom(size))
        (self.tree / "program").write_bytes(b"#" * 200)
        (self.tree / "program").chmod(0o755)
        (self.tree / "text").write_bytes(b"t" * 100_000)  # no program, and not large: not worth a range
        self.store.run("import", self.tree, "image")

    @contextlib.contextmanager
    def guests(self, count: int):
        """Their processes and what they said, while all hold their mappings."""
        with contextlib.ExitStack() as running:
            serving = []
            for number in range(count):
                socket = self.store.scratch / f"socket{number}"
                command = [str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", "image", "--socket-path", str(socket), "--dax-window", f"{WINDOW}M"]
                serving.append((running.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL, env=self.store.environment)), socket))
            started = []
            for served, socket in serving:
                while not socket.exists():
                    self.assertIsNone(served.poll())
                    time.sleep(0.01)
                started.append(running.enter_context(subprocess.Popen([str(GUEST), str(socket), str(self.tree), str(WINDOW)], stdin=subprocess.PIPE,
                                                                      stdout=subprocess.PIPE)))
            said = []
            for guest in started:
                lines = []
                for line in guest.stdout:
                    lines.append(line.decode().split())
                    if lines[-1][0] == "mapped":
                        break
                else:
                    self.fail(f"a guest ended with {guest.wait()}")
                said.append(lines)
            yield started, said
            for guest in started:
                guest.stdin.close()
                self.assertEqual(guest.wait(timeout=60), 0)
            for served, _ in serving:
                self.assertEqual(served.wait(timeout=60), 0)

    def test_all_guests_see_the_same_pages(self):
        with self.guests(1) as (processes, said):
            alone = pss_of(processes[0], said[0])
        with self.guests(GUESTS) as (processes, said):
            files = said[0][:-1]
            self.assertLessEqual({"/large", "/range", "/page", "/program", "/usr/bin/cat"}, {line[0] for line in files})
            self.assertNotIn("/text", {line[0] for line in files})
            self.assertTrue(all(frame != "0" for line in files for frame in line[2:]))
            for other in said[1:]:
                self.assertEqual(other[:-1], files)
            together = sum(pss_of(process, lines) for process, lines in zip(processes, said))
        self.assertGreater(alone, 5 << 10)
        self.assertLess(together, 1.05 * alone)
        print(f"{len(files)} files in the windows of {GUESTS} guests: {together} KiB together, {alone} KiB for one alone", file=sys.stderr)
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.require(os.geteuid() == 0, "must be root to see page frames")
    harness.require(GUEST.exists(), f"{GUEST} is not built")
    harness.main()
