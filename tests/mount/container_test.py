#!/usr/bin/env python3
"""Containers by `stellarium nspawn`: they boot, have users of their own, end when they are told to, and leave nothing."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
from pathlib import Path

import harness
import roots
from harness import BIN, COMMAND, Store

harness.require_mounts()
harness.require(shutil.which("systemd-nspawn") is not None, "systemd-nspawn is missing (package systemd-container)")
harness.require(roots.has_systemd(), "/lib/systemd/systemd is missing (package systemd)")
KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
PATIENCE = 60


class Running:
    """A `stellarium nspawn` that was started; `output` grows while it runs."""

    def __init__(self, store: Store, *words, environment=None, command=None, enter=None):
        self.output = b""
        self.process = subprocess.Popen([*(command or [COMMAND, "--store", store.dir, "nspawn"]), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=store.environment | (environment or {}), start_new_session=True, preexec_fn=enter)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        while data := os.read(self.process.stdout.fileno(), 65_536):
            self.output += data

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise harness.Failed(f"{text!r} was never said, but\n{self.output.decode(errors='replace')[-4000:]}")
            time.sleep(0.005)

    def end(self) -> int:
        """Waits for the exit code."""
        try:
            return self.process.wait(timeout=PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.reader.join()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def own_cgroup():
    """What a process calls to be in a control group of its own, as systemd gives its units; nothing where systemd does so."""
    if Path("/run/systemd/system").exists():
        yield None
        return
    top = Path("/sys/fs/cgroup")
    groups = [hierarchy / f"stellarium-test-{os.getpid()}" for hierarchy in (top, top / "systemd", top / "unified") if (hierarchy / "cgroup.procs").exists()]
    for group in groups:
        group.mkdir()
    try:
        yield lambda: [(group / "cgroup.procs").write_text("0") for group in groups]
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)


class ContainerCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        for name, script in (("off", "echo it is up; systemctl poweroff"), ("stay", "echo it is up"),
                             ("again", "if [ -e /booted ]; then echo second; systemctl poweroff; else touch /booted; echo first; systemctl reboot; fi")):
            roots.systemd_root(cls.store.scratch / name, script)
            cls.store.run("import", cls.store.scratch / name, name)

    def setUp(self):
        self.addCleanup(self.remove_clones)  # after the containers have ended

    def remove_clones(self):
        if clones := self.clones():
            self.store.run("rm", *clones)

    def run_container(self, *words) -> tuple[int, str]:
        running = self.begin(*words)
        return running.end(), running.output.decode(errors="replace").replace("\r", "")

    def clones(self) -> list[str]:
        return self.store.run("--quiet", "clones").stdout.decode().split()

    def mounts(self) -> list[str]:
        return [mount["mountpoint"] for mount in self.store.json("daemon", "mounts")["mounts"]]

    def stat(self, clone: str, path: str) -> dict:
        return self.store.json("stat", clone, path)

    def begin(self, *words, **options) -> Running:
        running = Running(self.store, *words, **options)
        self.addCleanup(running.kill)
        return running

    def started(self, *words, said=b"it is up", **options) -> tuple[Running, Path]:
        """A container that runs, and the folder it was mounted on."""
        running = self.begin(*words, **options)
        running.wait_for(said)
        [folder] = self.mounts()
        self.assertTrue(Path(folder).is_dir())
        self.assertNotIn(folder, Path("/proc/self/mounts").read_text())  # the host does not see it
        return running, Path(folder)

    def gone(self, folder: Path) -> None:
        self.assertEqual(self.mounts(), [])
        self.assertFalse(folder.exists())


class Containers(ContainerCase):
    # Booting

    def test_a_booted_clone_is_in_the_state_of_a_booted_folder(self):
        def report(output: str) -> list[str]:
            lines = output.replace("\r", "").splitlines()
            start = next(number for number, line in enumerate(lines) if line in ("running", "degraded"))
            return lines[start:lines.index("it is up", start)]
        plain = subprocess.run(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--machine=plain", "-D", self.store.scratch / "off"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=True)
        code, output = self.run_container("--boot", "off")
        self.assertEqual(code, 0, output)
        self.assertEqual(report(output), report(plain.stdout.decode(errors="replace")))
        self.assertEqual(report(output), ["degraded", "fails.service loaded failed failed The unit that fails"])

    def test_a_shutdown_from_inside_leaves_nothing_but_a_clone_that_was_there(self):
        self.store.run("clone", "off", "web")
        for ref, left in (("off", ["web"]), ("web", ["web"])):
            code, output = self.run_container("--boot", ref)
            self.assertEqual((code, self.clones(), self.mounts()), (0, left, []), output)
        self.assertEqual(self.stat("web", "/stopped")["uid"], 0)

    def test_a_clone_that_is_to_be_kept_is_kept_and_named(self):
        code, output = self.run_container("--boot", "--keep", "off")
        [clone] = self.clones()
        self.assertEqual((code, output.splitlines()[-1]), (0, f"kept as clone {clone}"))
        self.assertEqual(self.stat(clone, "/stopped")["size"], 0)

    def test_a_reboot_from_inside_boots_the_same_clone_again(self):
        code, output = self.run_container("--boot", "again")
        self.assertEqual((code, self.clones()), (0, []), output)
        self.assertEqual([line for line in output.splitlines() if line in ("first", "second")], ["first", "second"])

    def test_in_a_unit_a_reboot_is_left_to_systemd(self):
        code, output = self.run_container("--boot", "--keep-unit", "again")
        self.assertEqual(code, 133, output)

    # Ending

    def test_a_signal_shuts_a_booted_container_down(self):
        for number, send in enumerate((lambda pid: os.kill(pid, signal.SIGTERM), lambda pid: os.kill(pid, signal.SIGINT),
                                       lambda pid: os.killpg(pid, signal.SIGTERM), lambda pid: os.killpg(pid, signal.SIGINT))):
            with self.subTest(number):
                self.store.run("clone", "stay", f"web{number}")
                running, folder = self.started("--boot", f"web{number}")
                send(running.process.pid)
                self.assertEqual(running.end(), 0, running.output)
                self.gone(folder)
                self.assertIn(f"web{number}", self.clones())
                self.assertEqual(self.stat(f"web{number}", "/stopped")["size"], 0)  # orderly: its units were stopped

    def test_a_second_signal_does_not_wait(self):
        running, folder = self.started("--boot", "--keep", "stay")
        running.process.send_signal(signal.SIGTERM)
        running.wait_for(b"Stopping")  # `stops` takes half a second for that
        running.process.send_signal(signal.SIGTERM)
        running.end()
        self.gone(folder)
        self.store.run("stat", *self.clones(), "/stopped", expect=1)

    def test_a_signal_that_comes_before_the_init_can_hear_it_is_heard(self):
        running, folder = self.started("--boot", "stay", said=b"Detected virtualization")
        running.process.terminate()
        self.assertEqual(running.end(), 0, running.output)
        self.gone(folder)

    def test_a_signal_ends_a_command_and_leaves_nothing(self):
        for what in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            running, folder = self.started("stay", "--", "/bin/sh", "-c", "echo it is up; exec sleep 1000")
            running.process.send_signal(what)
            self.assertNotEqual(running.end(), 127)
            self.gone(folder)
            self.assertEqual(self.clones(), [])

    def test_a_signal_at_any_time_leaves_nothing(self):
        for step in range(24):
            running = self.begin("stay", "--", "/bin/sleep", "1000")
            time.sleep(step * 0.01)  # the shutter of a camera, not a wait for something
            running.process.terminate()
            self.assertNotEqual(running.end(), 0)
            self.assertEqual((step, self.clones(), self.mounts()), (step, [], []), running.output)
        self.assertEqual(list(Path("/run/stellarium").glob("nspawn.*")), [])

    def test_no_mount_outlives_a_killed_command(self):
        running, folder = self.started("--boot", "stay")
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + PATIENCE
        while self.mounts():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        running.end()
        [clone] = self.clones()
        self.assertEqual(self.stat(clone, "/stopped")["size"], 0)
        folder.rmdir()

    # Users of its own

    @unittest.skipIf(KERNEL < (6, 12), "FUSE mounts with shifted owners need Linux 6.12")
    def test_users_of_its_own_are_others_outside_and_stored_as_inside(self):
        script = ("read inside outside count < /proc/self/uid_map; echo $inside $count; [ $outside -ge 65536 ] && echo shifted; mkdir /made; touch /made/file; "
                  "stat -c '%u:%g' / /etc/passwd /made/file")
        code, output = self.run_container("-U", "--keep", "stay", "--", "/bin/sh", "-c", script)
        self.assertEqual((code, output.splitlines()[:5]), (0, ["0 65536", "shifted", "0:0", "0:0", "0:0"]), output)
        [clone] = self.clones()
        for path in ("/made", "/made/file", "/etc/passwd"):
            self.assertEqual((self.stat(clone, path)["uid"], self.stat(clone, path)["gid"]), (0, 0), path)
        with own_cgroup() as enter:  # else its systemd has none that it may write
            running = self.begin("--boot", "-U", "off", enter=enter)
            self.assertEqual(running.end(), 0, running.output)
        self.assertIn(b"degraded", running.output)

    # What is refused

    def test_what_cannot_be_a_machine_is_refused_before_anything_is_made(self):
        for name in ("no_name", "-x", "x" * 65, "a/b"):
            self.assertIn(f"'{name}' cannot be a machine's name", self.store.refuses("nspawn", f"--machine={name}", "stay"))
        self.assertEqual(self.clones(), [])
        code, output = self.run_container("--machine=some.name-1", "stay", "--", "/bin/cat", "/proc/sys/kernel/hostname")
        self.assertEqual((code, output.splitlines()[0]), (0, "some.name-1"))

    def test_a_clone_of_any_name_runs(self):
        self.store.run("clone", "stay", "a_b.-c_")
        code, output = self.run_container("a_b.-c_", "--", "/bin/cat", "/proc/sys/kernel/hostname")
        self.assertEqual((code, output.splitlines()[0]), (0, "a-b.c"), output)


class Unit(ContainerCase):
    """stellarium@.service, as systemd would run it."""

    UNIT = BIN / "systemd" / "stellarium@.service"

    def test_systemd_finds_nothing_wrong(self):
        harness.require(shutil.which("systemd-analyze") is not None, "systemd-analyze is missing (package systemd)")
        folder = self.store.scratch / "units"
        folder.mkdir()
        for name in ("stellarium@.service", "stellarium-virtiofsd@.service", "stellarium.service"):
            instance = name.replace("@", "@web")
            text = (BIN / "systemd" / name).read_text()
            (folder / instance).write_text(re.sub(r"(?m)^(Exec\w+)=\S+/stellarium ", rf"\1={COMMAND.resolve()} ", text))
        for instance in ("stellarium@web.service", "stellarium-virtiofsd@web.service"):
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / instance], capture_output=True,
                                  env=os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"}, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr), (0, b""), instance)

    def test_its_command_says_when_it_runs_and_stops_cleanly(self):
        [line] = re.findall(r"(?m)^ExecStart=\S+/(stellarium .*)$", self.UNIT.read_text())
        words = [str(BIN / line.split()[0]), *(word.replace("%i", "web") for word in line.split()[1:] if word != "$STELLARIUM_NSPAWN")]
        self.store.run("clone", "stay", "web")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.store.scratch / "notify"))
            manager.settimeout(PATIENCE)
            running, folder = self.started(command=words, environment={"STELLARIUM_STORE": str(self.store.dir), "NOTIFY_SOCKET": manager.getsockname()})
            messages = b""
            while b"READY=1" not in messages:
                messages += manager.recv(65_536) + b"\n"
            running.process.terminate()
            self.assertEqual(running.end(), 0, running.output)
        self.gone(folder)
        self.assertEqual(self.clones(), ["web"])
        self.assertEqual(self.stat("web", "/stopped")["size"], 0)


if __name__ == "__main__":
    harness.main()
