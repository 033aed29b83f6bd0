#!/usr/bin/env python3
"""A container runs from a mounted image."""
import shutil
import subprocess
import unittest

import harness
import roots
from harness import Store

harness.require_mounts()
harness.require(shutil.which("systemd-nspawn") is not None, "systemd-nspawn is missing (package systemd-container)")


class Nspawn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        root = cls.store.scratch / "root"
        roots.minimal_root(root)
        cls.store.run("import", root, "root")

    def run_in(self, mount, *options):
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", "--resolv-conf=off", "--timezone=off", *options, "-D", mount,
                   "/bin/sh", "-c", "id -u; cat /etc/os-release"]
        return subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)

    def test_a_command_runs_from_a_read_only_root(self):
        with self.store.mounted("root") as mount:
            done = self.run_in(mount, "--read-only")
            self.assertEqual((done.returncode, done.stdout), (0, b"0\nID=test\n"), done.stderr)

    def test_a_command_runs_under_a_volatile_overlay(self):
        with self.store.mounted("root") as mount:
            done = self.run_in(mount, "--volatile=overlay")
            self.assertEqual((done.returncode, done.stdout), (0, b"0\nID=test\n"), done.stderr)

    def nspawn(self, *words):
        """`stellarium nspawn`: exit code and output of the container."""
        done = self.store.run("nspawn", *words, expect=None, timeout=120)
        return done.returncode, done.stdout.decode().strip(), done.stderr.decode()

    def clones(self):
        return self.store.run("--quiet", "clones").stdout.decode().split()

    def test_a_container_on_an_image_writes_and_leaves_nothing(self):
        code, out, complaint = self.nspawn("root", "--", "/bin/sh", "-c", "echo made > /made; cat /made; exit 3")
        self.assertEqual((code, out), (3, "made"), complaint)
        self.assertEqual(self.clones(), [])

    def test_a_container_on_a_clone_keeps_what_it_wrote(self):
        self.store.run("clone", "root", "kept")
        code, _, complaint = self.nspawn("kept", "--", "/bin/sh", "-c", "echo made > /made")
        self.assertEqual(code, 0, complaint)
        code, out, complaint = self.nspawn("kept", "--", "/bin/cat", "/made")
        self.assertEqual((code, out), (0, "made"), complaint)
        self.store.run("rm", "kept")
        self.assertEqual(self.clones(), [])


if __name__ == "__main__":
    harness.main()
