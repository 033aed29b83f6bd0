#!/usr/bin/env python3
"""A virtual machine boots Debian from a clone over virtio-fs, writes to it, powers off or is killed; the clone has what it wrote."""
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import guest
import harness

FILES = 100
# "write" does what programs do to a root; "look" checks it in a later boot; "loop" writes until it is killed.
SCRIPT = """
step="$1"
case $1 in
  write)
    mkdir /written /written/folder
    for i in $(seq %d); do echo "file $i" >/written/$i; done
    dd if=/dev/urandom of=/written/random bs=1M count=16 conv=fsync 2>/dev/null
    sha256sum /written/random >/written/sum
    mv /written/1 /written/folder/one
    ln /written/2 /written/second
    ln -s second /written/link
    mkfifo /written/fifo
    chmod 4750 /written/3
    chown 33:33 /written/4
    rm -r /usr/share/doc
    truncate -s 3 /written/5
    echo more >>/usr/lib/os-release
    sync
    df / ;;
  look)
    test "$(cat /written/folder/one /written/link)" = "$(printf 'file 1\\nfile 2')"
    test "$(stat -c %%h /written/second)" = 2
    test "$(stat -c %%a.%%u /written/3 /written/4)" = "$(printf '4750.0\\n644.33')"
    test -p /written/fifo
    test ! -e /usr/share/doc
    grep -q more /etc/os-release
    sha256sum -c /written/sum ;;
  loop)
    mkdir /looped
    i=0
    while :; do i=$((i + 1)); echo $i >/looped/$i; sync /looped/$i; echo "synced $i."; done ;;
esac
""" % FILES


class SharedBoot(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.socket = self.store.scratch / "socket"
        guest.root_folder(self.store.scratch / "root", SCRIPT)
        self.store.run("import", self.store.scratch / "root", "debian")
        self.store.run("clone", "debian", "machine")

    @contextlib.contextmanager
    def served(self, ref: str, *options: str):
        """The command ends by itself when the machine has gone."""
        command = [str(harness.COMMAND), "--store", str(self.store.dir), "virtiofsd", ref, "--socket-path", str(self.socket), *options]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.store.environment) as serving:
            try:
                while not self.socket.exists() and serving.poll() is None:
                    time.sleep(0.01)
                yield serving
                said = serving.communicate(timeout=30)[0]
                self.assertEqual((serving.returncode, said, self.socket.exists()), (0, b"", False))
            finally:
                serving.kill()

    def boot(self, ref: str, *words: str, options: tuple[str, ...] = ()) -> str:
        with self.served(ref, *options):
            return guest.boot(guest.shared_machine(self.store.scratch, self.socket, *words))

    def cat(self, path: str) -> bytes:
        return self.store.run("cat", "machine", path).stdout

    def test_a_guest_boots_writes_and_finds_it_again(self):
        self.boot("machine", "write")
        self.assertEqual(self.cat("/written/folder/one"), b"file 1\n")
        self.assertEqual(self.cat("/written/5"), b"fil")
        self.assertEqual(hashlib.sha256(self.cat("/written/random")).hexdigest(), self.cat("/written/sum").split()[0].decode())
        self.store.run("settle", "machine")
        self.assertIn("/written/random: OK", self.boot("machine", "look"))
        self.store.run("gc")
        self.store.run("fsck", "--deep")

    def test_an_image_is_read_only(self):
        with self.assertRaisesRegex(harness.Failed, "Read-only file system"):
            self.boot("debian", "write")
        self.assertEqual(self.store.run("diff", "debian", "machine").stdout, b"")

    def test_a_clone_can_be_served_read_only(self):
        with self.assertRaisesRegex(harness.Failed, "Read-only file system"):
            self.boot("machine", "write", options=("--readonly", "--tag", "other"))
        self.assertEqual(self.store.run("diff", "debian", "machine").stdout, b"")

    def test_a_machine_manager_starts_it_as_it_starts_others(self):
        program = self.store.scratch / "virtiofsd"
        program.symlink_to(harness.COMMAND)
        told = subprocess.run([program, "--print-capabilities"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
        self.assertEqual(json.loads(told.stdout), {"type": "fs"})
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.socket))
            listening.listen()
            number = listening.fileno()
            command = [program, "--store", str(self.store.dir), f"--fd={number}", "-o", "source=machine,xattr,cache=auto", "--sandbox=namespace"]
            serving = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       env=self.store.environment)
        with serving:
            try:
                guest.boot(guest.shared_machine(self.store.scratch, self.socket, "write"))
                self.assertEqual(serving.communicate(timeout=30)[0], b"")
            finally:
                serving.kill()
        self.assertEqual(serving.returncode, 0)
        self.assertTrue(self.socket.exists())  # not its own
        self.assertEqual(self.cat("/written/5"), b"fil")

    def test_its_unit_is_started_when_a_machine_can_connect(self):
        text = (harness.BIN / "systemd" / "stellarium-virtiofsd@.service").read_text()
        text = text.replace("%i", "machine").replace("/run/stellarium/machine.sock", str(self.socket))
        [start] = re.findall(r"(?m)^ExecStart=\S+/stellarium (.*)$", text)
        [started] = re.findall(r"(?m)^ExecStartPost=(.*)$", text)
        words = [word for word in start.split() if word != "$STELLARIUM_VIRTIOFSD"]
        with subprocess.Popen([harness.COMMAND, "--store", self.store.dir, *words], stdin=subprocess.DEVNULL, env=self.store.environment) as serving:
            environment = os.environ | {"MAINPID": str(serving.pid)}
            waited = subprocess.run(shlex.split(started), env=environment, timeout=30)
            self.assertEqual((waited.returncode, self.socket.exists()), (0, True))
            serving.terminate()
        self.assertEqual(serving.returncode, 0)
        self.assertEqual(subprocess.run(shlex.split(started), env=environment, timeout=30, stderr=subprocess.DEVNULL).returncode, 1)

    def test_what_cannot_be_served_is_said_in_one_line(self):
        for words, line in ((("nothing", "--socket-path", self.socket), "there is no image nothing:latest"),
                            (("debian",), "--socket-path or --fd"),
                            (("debian", "--fd", "0"), "descriptor 0 is no listening Unix socket"),
                            (("--socket-path", self.socket, "--shared-dir", "/srv"), "/srv: folders are not shared"),
                            (("debian", "--socket-path", self.socket, "--uid-map", ":0:1:1:"), "--uid-map=:0:1:1: cannot be"),
                            (("debian", "--socket-path", self.socket, "--socket-group", "no-group"), "there is no group no-group")):
            self.assertIn(line, self.store.refuses("virtiofsd", *words), words)
            self.assertFalse(self.socket.exists())

    def test_a_killed_machine_loses_nothing_that_was_synced_and_its_clone_is_free(self):
        with self.served("machine") as serving, subprocess.Popen(guest.shared_machine(self.store.scratch, self.socket, "loop"), stdin=subprocess.DEVNULL,
                                                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
            try:
                for line in machine.stdout:
                    if line.startswith(b"synced 50."):
                        break
                busy = self.store.run("mount", "machine", self.store.scratch, expect=1)
                self.assertIn(str(self.socket).encode(), busy.stderr)
                self.assertIn(str(self.socket).encode(), self.store.run("daemon", "stop", expect=1).stderr)
                self.assertIsNone(serving.poll())
            finally:
                os.kill(machine.pid, signal.SIGKILL)
                synced = int(machine.stdout.read().rpartition(b"synced ")[2].split(b".")[0] or 50)
        for number in range(1, synced + 1):
            self.assertEqual(self.cat(f"/looped/{number}"), f"{number}\n".encode())
        self.store.run("rm", "machine")

    def test_a_daemon_that_is_stopped_ends_its_machines(self):
        machine = guest.shared_machine(self.store.scratch, self.socket, "loop")
        with self.served("machine"), subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
            for line in running.stdout:
                if line.startswith(b"synced 5."):
                    break
            stopped = self.store.run("daemon", "stop", "--unmount")
            running.kill()
        self.assertEqual(stopped.stderr, b"")
        self.assertEqual(self.cat("/looped/5"), b"5\n")

    def test_a_signal_ends_it(self):
        with self.served("machine") as serving:
            serving.send_signal(signal.SIGTERM)
        with self.served("machine") as serving:
            for _ in range(5):  # and what is served there goes on: nobody connected to it
                self.assertIn(b"Address already in use", self.store.run("virtiofsd", "debian", "--socket-path", self.socket, expect=1).stderr)
            self.assertIsNone(serving.poll())
            serving.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    harness.require_mounts()
    harness.require(not guest.available(), guest.available())
    harness.main()
