#!/usr/bin/env python3
"""A container runs from a mounted image."""
import os
import shutil
import subprocess
import unittest

import harness
from harness import Store

harness.require_mounts()
harness.require(shutil.which("systemd-nspawn") is not None, "systemd-nspawn is missing (package systemd-container)")


def minimal_root(root) -> None:
    """The host's shell and what it needs, in the shape systemd-nspawn accepts."""
    for folder in ("usr/bin", "etc", "proc", "sys", "dev", "tmp", "run", "var", "root"):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{'bin' if name == 'sbin' else name}", root / name)
    (root / "etc/os-release").write_text("ID=test\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for program in ("/bin/sh", "/bin/cat", "/usr/bin/id"):
        real = os.path.realpath(program)
        shutil.copy2(real, root / "usr/bin" / os.path.basename(program))
        for word in subprocess.run(["ldd", real], stdout=subprocess.PIPE, check=True).stdout.decode().split():
            if word.startswith("/"):
                target = root / "usr" / word.lstrip("/").removeprefix("usr/")
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    shutil.copy2(os.path.realpath(word), target)


class Nspawn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        root = cls.store.scratch / "root"
        minimal_root(root)
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
