#!/usr/bin/env python3
"""A guest that names the files of another guest's clone, of the image below, and numbers that nobody has, reaches none of them.

The guest is tests/vm/foreign_guest.cpp, which knows the protocol and needs no virtual machine."""
import contextlib
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import trees

GUEST = harness.BIN.parent / "tests" / "vm" / "foreign_guest"
SECRET = b"what only the other guest may know " * 1000
WAYS = 19


class ForeignGuest(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        image = self.store.scratch / "image"
        (image / "folder").mkdir(parents=True)
        trees.write(image / "public", trees.noise(100_000, seed=1))
        self.store.run("import", image, "base")
        for clone in ("victim", "hostile"):
            self.store.run("clone", "base", clone)
        with self.store.mounted("victim") as mount:
            trees.write(mount / "secret", SECRET)
            (mount / "link").symlink_to("secret")
        with self.store.mounted("hostile") as mount:
            trees.write(mount / "own", b"own")

    @contextlib.contextmanager
    def served(self, ref: str):
        socket = self.store.scratch / f"socket-{ref}"
        with self.store.device(ref, socket, "--dax-window", "0"):
            yield socket

    def ask(self, socket: Path, *words) -> list[list[str]]:
        said = subprocess.run([GUEST, socket, *map(str, words)], check=True, capture_output=True, timeout=120).stdout
        return [line.split(" ", 2) for line in said.decode().splitlines()]

    def nodes_of(self, ref: str) -> dict[str, int]:
        with self.served(ref) as socket:
            return {name: int(node) for node, name in self.ask(socket, "list") if name not in (".", "..")}

    def reached(self, ref: str, nodes: list[int]) -> list[list[str]]:
        with self.served(ref) as socket:
            said = self.ask(socket, "reach", *nodes)
        self.assertEqual([line for line in said if line[0] == "tried"], [["tried", str(WAYS)]] * len(nodes))
        return [line for line in said if line[0] == "reached"]

    def test_a_guest_reaches_what_it_is_shown_and_nothing_else(self):
        victim, hostile, base = (self.nodes_of(ref) for ref in ("victim", "hostile", "base"))
        self.assertLessEqual({"secret", "link", "public", "folder"}, victim.keys())
        self.assertNotEqual(victim["public"], hostile["public"], "each clone has numbers of its own")
        tree = 1 << 44
        foreign = [*victim.values(), *base.values(),
                   *(number * tree + (node & (tree - 1)) for number in range(20) for node in victim.values()),
                   0, 1 << 63, (1 << 64) - 1, (1 << 38) + 1, 2, *(number * tree + 1 for number in range(20))]
        own = {hostile["own"] // tree}
        foreign = sorted({node for node in foreign if node // tree not in own and node != 1})
        with self.store.mounted("victim") as mount:
            before = trees.snapshot(mount)
            self.assertEqual(self.reached("hostile", foreign), [])
            self.assertEqual(self.reached("base", [node for node in foreign if node not in base.values() and node // tree != base["public"] // tree]), [])
            self.assertEqual(trees.snapshot(mount), before)
            self.assertEqual((mount / "secret").read_bytes(), SECRET)
        with self.store.mounted("hostile") as mount:
            self.assertEqual(sorted(entry.name for entry in mount.iterdir()), ["folder", "own", "public"])
        # The guest knows how to ask: its own file it does reach.
        ways = {way for _, _, way in self.reached("hostile", [hostile["own"]])}
        self.assertLessEqual({"GETATTR", "OPEN", "READ", "WRITE", "LINK"}, ways)


if __name__ == "__main__":
    harness.require_mounts()
    harness.require(GUEST.exists(), f"{GUEST} is not built")
    harness.main()
