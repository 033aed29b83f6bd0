#!/usr/bin/env python3
"""A guest goes on while its servers are killed: what it asked is answered once, its open files and its window stay.

The guest is tests/vm/surviving_guest.cpp, whose front-end connects again; the command keeps the socket and what the next server must know."""
import contextlib
import json
import os
import random
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
KILLS = 4 if harness.SANITIZED else 7
GIVEN_UP_AFTER = 8  # tools/cli/virtiofsd_command.cpp
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

    @contextlib.contextmanager
    def guest(self, socket: Path):
        with subprocess.Popen([str(GUEST), str(socket), str(WINDOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guest:
            self.assertEqual(guest.stdout.readline(), "begun\n")
            yield guest

    def wait_until_served(self, socket: Path, command: Path):
        """By a server that was not interrupted yet."""
        for _ in range(600):
            if os.fsencode(socket) in subprocess.run([command, "--store", self.store.dir, "daemon", "mounts"], capture_output=True, env=self.store.environment).stdout:
                return
            time.sleep(0.05)
        self.fail("the guest is not served")

    def kill_server(self):
        os.kill(self.store.server(timeout=60), signal.SIGKILL)

    def survive(self, interrupt, times: int, command: Path = harness.COMMAND) -> int:
        """Serves a guest, interrupts its servers, and returns how many rounds it made."""
        socket = self.store.scratch / "socket"
        with self.store.device("clone", socket, "--dax-window", f"{WINDOW}M", command=command), self.guest(socket) as guest:
            for _ in range(times):
                self.wait_until_served(socket, command)
                time.sleep(random.uniform(0, 0.4))
                self.assertIsNone(guest.poll())
                interrupt()
            time.sleep(0.5)
            guest.stdin.close()
            said = guest.stdout.read().split()
            self.assertEqual(guest.wait(timeout=120), 0)
        self.assertEqual(said[0], "survived")
        self.assertGreaterEqual(int(said[1]), times)
        print(f"{said[2]} rounds on {int(said[1]) + 1} servers", file=sys.stderr)
        return int(said[2])

    def check(self, rounds: int):
        self.assertEqual(self.store.run("cat", "clone", "/log").stdout, b"".join(b"%08d" % number for number in range(rounds)))
        names = set(self.store.run("ls", "clone", "/").stdout.decode().split())
        self.assertEqual(names, {"large", "log"} | {f"kept{number}" for number in range(0, rounds, 10)})
        self.store.run("fsck", "--deep")

    def test_servers_are_killed(self):
        self.check(self.survive(self.kill_server, KILLS))

    def test_a_machine_of_which_every_server_dies_is_given_up(self):
        """The others that the daemon serves must not die with each of them."""
        socket = self.store.scratch / "socket"
        command = [str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", "clone", "--socket-path", str(socket), "--dax-window", f"{WINDOW}M"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.store.environment) as serving:
            while not socket.exists():
                self.assertIsNone(serving.poll())
                time.sleep(0.01)
            with self.guest(socket) as guest:
                for _ in range(5 * GIVEN_UP_AFTER):  # one that was not asked yet does not count
                    if serving.poll() is not None:
                        break
                    self.kill_server()
                    time.sleep(0.3)
                self.assertEqual(serving.wait(timeout=60), 1)
                guest.stdin.close()
                self.assertNotEqual(guest.wait(timeout=60), 0)
            self.assertIn(f"the server ended {GIVEN_UP_AFTER} times soon after it had begun to serve this", serving.stderr.read())
        self.assertFalse(socket.exists())
        with self.store.mounted("clone") as mount:  # it is free
            self.assertTrue((mount / "log").exists())
        self.store.run("fsck", "--deep")

    def test_servers_are_replaced(self):
        def restart():
            self.store.run("daemon", "restart")
        self.check(self.survive(restart, 3))

    def test_servers_are_upgraded(self):
        """To another build and back: the command that serves the guest is replaced as well, and its process stays."""
        programs = self.store.scratch / "programs"
        programs.mkdir()
        build = re.search(rb"[0-9]\S*", self.store.run("--version").stdout)[0]
        other = build[:-1] + (b"0" if build[-1:] != b"0" else b"1")

        def install(wanted: bytes):
            for name in ("stellarium", "stellarium-server", "stellarium-keeper"):
                program = (harness.BIN / name).read_bytes()
                self.assertTrue(build in program or name == "stellarium-keeper", name)
                (programs / "new").write_bytes(program.replace(build, wanted))
                (programs / "new").chmod(0o755)
                (programs / "new").rename(programs / name)

        def daemon(*words: str) -> dict:
            command = [programs / "stellarium", "--store", self.store.dir, "--json", "daemon", *words]
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=self.store.environment).stdout)

        def upgrade():
            wanted = builds.pop(0)
            install(wanted)
            daemon("upgrade")
            self.assertEqual(daemon("status")["build"].encode(), wanted)

        builds = [other, build]
        install(build)
        self.store.stop()  # the keeper goes on as the program that lies where it was started from
        daemon("start")
        rounds = self.survive(upgrade, len(builds), command=programs / "stellarium")
        self.check(rounds)


if __name__ == "__main__":
    harness.require(GUEST.exists(), f"{GUEST} is not built")
    harness.main()
