#!/usr/bin/env python3
"""Guests read the programs of one image by way of their DAX windows: the right bytes, in the same pages of the host's memory for all.

The guests are tests/vm/dax_guest.cpp and dax_writer.cpp, which know the protocol and need no virtual machine: no monitor of Debian 12 has DAX windows."""
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
WRITER = GUEST.with_name("dax_writer")
GUESTS = 3 if harness.SANITIZED else 32
CONTAINERS = 2 if harness.SANITIZED else 8
LIBRARY = "libc.so.6"
PAGE = 4096
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


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [each for child in children for each in descendants(child)]


def frames_of(pid: int, name: str) -> dict[int, int]:
    """The page frames that a process has mapped of a file, by page of the file."""
    found = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split()
        if len(words) < 6 or not words[5].endswith(name) or "w" in words[1]:
            continue
        begin, end = (int(word, 16) for word in words[0].split("-"))
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages:
            entries = os.pread(pages.fileno(), (end - begin) // PAGE * 8, begin // PAGE * 8)
        for number in range(len(entries) // 8):
            entry = int.from_bytes(entries[number * 8:number * 8 + 8], "little")
            if entry >> 63 and entry >> 61 & 1:  # it is there, and the file's: what the loader wrote to is a copy
                found[int(words[2], 16) // PAGE + number] = entry & ((1 << 55) - 1)
    return found


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
    def served(self, ref: str, number: int = 0, window: int = WINDOW):
        """The socket of a device, which must end well after its guest has gone."""
        socket = self.store.scratch / f"socket{number}"
        with self.store.device(ref, socket, "--dax-window", f"{window}M"):
            yield socket

    @contextlib.contextmanager
    def guest(self, *words: object):
        """A guest and what it said, once it has everything mapped. It must end well when it is told to."""
        with subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            lines = []
            for line in process.stdout:
                lines.append(line.decode().split())
                if lines[-1][0] in ("mapped", "written"):
                    break
            else:
                self.fail(f"a guest ended with {process.wait()}")
            yield process, lines
            process.stdin.close()
            self.assertEqual(process.wait(timeout=60), 0)

    @contextlib.contextmanager
    def guests(self, count: int):
        """Their processes and what they said, while all hold their mappings."""
        with contextlib.ExitStack() as running:
            sockets = [running.enter_context(self.served("image", number)) for number in range(count)]
            both = [running.enter_context(self.guest(GUEST, socket, self.tree, WINDOW)) for socket in sockets]
            yield [process for process, _ in both], [said for _, said in both]

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

    @contextlib.contextmanager
    def containers(self, count: int):
        """The pids of the programs that run in containers on clones of the image."""
        command = [str(harness.COMMAND), "--store", str(self.store.dir), "nspawn", "--keep-unit", "image", "--", "/bin/sleep", "1000"]
        with contextlib.ExitStack() as running:
            started = [running.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.store.environment))
                       for _ in range(count)]
            programs = []
            for each in started:
                running.callback(each.terminate)
                while not (found := [pid for pid in descendants(each.pid) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]):
                    self.assertIsNone(each.poll())
                    time.sleep(0.02)
                programs += found
            time.sleep(0.2)  # they have mapped their libraries, and sleep
            yield programs

    def test_containers_and_guests_have_the_same_pages(self):
        with self.containers(CONTAINERS) as programs, self.guests(2) as (processes, said):
            [frames] = [[int(frame) for frame in line[2:]] for line in said[0] if line[0].endswith(LIBRARY)]
            for pid in programs:
                mapped = frames_of(pid, LIBRARY)
                self.assertGreater(len(mapped), 20)
                self.assertEqual(mapped, {page: frames[page] for page in mapped})
            print(f"{len(programs)} containers have {len(mapped)} pages of {LIBRARY} each from the {len(frames)} that guests see", file=sys.stderr)

    def test_a_clone_shares_the_pages_of_its_image(self):
        self.store.run("clone", "image", "clone")
        with self.served("image", 0) as first, self.served("clone", 1) as second:
            with self.guest(GUEST, first, self.tree, WINDOW) as (_, image), self.guest(GUEST, second, self.tree, WINDOW) as (_, clone):
                self.assertEqual(image[:-1], clone[:-1])

    def test_a_range_is_there_soon_and_is_read_as_memory(self):
        (self.tree / "large").write_bytes(os.urandom(16 << 20))
        self.store.run("import", self.tree, "speed")
        with self.served("speed", window=16) as socket:
            done = subprocess.run([GUEST.with_name("window_speed"), socket, "16"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0)
        print(done.stdout, file=sys.stderr)
        words = done.stdout.split()
        window, memory = (float(word) for word in words[words.index("read") + 1:])
        if not harness.SANITIZED:
            self.assertLess(float(words[1]), 1000)  # microseconds: nothing is read or decoded for it
            self.assertGreater(window, memory / 2)

    def test_a_monitor_that_maps_whole_pages_only(self):
        with self.served("image") as socket, self.guest(GUEST, socket, self.tree, WINDOW, "whole") as (_, said):
            self.assertIn("/program", {line[0] for line in said})

    def test_what_is_written_while_it_is_mapped(self):
        (self.tree / "large").write_bytes(b"l" * ((4 << 20) + 4097))
        (self.tree / "program").write_bytes(b"p" * 200)
        self.store.run("import", self.tree, "written")
        self.store.run("clone", "written", "clone")
        with self.served("clone") as socket, self.guest(WRITER, socket, WINDOW):
            self.assertTrue(self.store.run("cat", "clone", "/large").stdout.startswith(b"newlll"))
            # What the guest heard first still counts when its files are settled under it; gc keeps what is mapped.
            self.store.run("settle", "clone")
            self.store.run("gc")
        self.assertEqual(self.store.run("cat", "clone", "/program").stdout, b"")
        # The next guest hears of the files as they are now: all of them have contents, and are in its window.
        with (self.tree / "large").open("r+b") as large:
            large.write(b"new")
        (self.tree / "program").write_bytes(b"")
        (self.tree / "made").write_bytes(b"m" * (64 << 10))
        with self.served("clone") as socket, self.guest(GUEST, socket, self.tree, WINDOW) as (_, said):
            names = {line[0] for line in said}
            self.assertLessEqual({"/large", "/made", "/range"}, names)
            self.assertNotIn("/program", names)
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.require(os.geteuid() == 0, "must be root to see page frames")
    harness.require(GUEST.exists() and WRITER.exists(), f"{GUEST} or {WRITER} is not built")
    harness.main()
