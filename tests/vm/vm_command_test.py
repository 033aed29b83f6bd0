#!/usr/bin/env python3
"""`stellarium vm` boots a machine from an image or a clone, ends as it ends, and leaves nothing, whatever is killed."""
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import guest
import harness

RUNS = Path("/run/stellarium")
SCRIPT = """
step="$1"
case $1 in
  write)
    test ! -e /written
    echo "written by a guest" >/written
    test "$(nproc)" = 1
    if grep 1af41000 /proc/bus/pci/devices; then false; fi ;;  # a virtio network
  look)
    grep guest /written
    test "$(nproc)" = 2
    grep 1af41000 /proc/bus/pci/devices ;;
  reboot)
    if [ -e /booted ]; then trap - EXIT; finish done; fi
    touch /booted
    sync
    echo "the first boot"
    sleep 1  # the console is slower than the reset
    echo b >/proc/sysrq-trigger
    read never ;;
  loop)
    i=0
    while :; do i=$((i + 1)); echo $i >/looped; sync /looped; echo "synced $i."; done ;;
esac
"""


class VmCommand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(harness.Store())
        root = cls.store.scratch / "root"
        guest.root_folder(root, SCRIPT)
        cls.store.run("import", root, "plain")
        cls.kernel = guest.kernels()[-1]
        cls.initrd = guest.SHARED.initrd(cls.store.scratch, cls.kernel)
        version = cls.kernel.name.removeprefix("vmlinuz-")
        shutil.copy(cls.kernel, root / "boot" / cls.kernel.name)
        shutil.copy(cls.initrd, root / "boot" / f"initrd.img-{version}")
        (root / "boot" / "vmlinuz-2.6.32").write_text("an older one")
        cls.store.run("import", root, "debian")

    def setUp(self):
        self.runs = self.left_of_runs()

    def tearDown(self):
        self.assertEqual(self.left_of_runs(), self.runs)

    def left_of_runs(self) -> set[str]:
        return set(os.listdir(RUNS)) if RUNS.exists() else set()

    def clones(self) -> list[str]:
        return self.store.run("--quiet", "clones").stdout.decode().split()

    def words(self, *words, step: str) -> list[str]:
        return ["vm", "--accel", "tcg", "--memory", "512M", "--append", f"quiet panic=-1 -- {step}", *words]

    def vm(self, *words, step: str) -> tuple[int, str, str]:
        done = self.store.run(*self.words(*words, step=step), expect=None, timeout=guest.BOOT_SECONDS)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def test_an_image_boots_with_its_own_kernel_and_nothing_is_left(self):
        code, said, complaint = self.vm("debian", "--cpus", "1", "--net", "none", step="write")
        self.assertEqual((code, complaint), (0, ""), said)
        self.assertIn("guest: done", said)
        self.assertEqual(self.clones(), [])

    def test_a_kept_clone_has_what_the_guest_wrote_and_boots_again(self):
        files = ("--kernel", self.kernel, "--initrd", self.initrd)
        code, said, complaint = self.vm("plain", "--keep", "--cpus", "1", "--net", "none", *files, step="write")
        self.assertEqual(code, 0, said + complaint)
        kept = re.fullmatch(r"kept as clone (plain-[0-9a-f]{8})\n", complaint)[1]
        self.assertEqual(self.clones(), [kept])
        self.assertEqual(self.store.run("cat", kept, "/written").stdout, b"written by a guest\n")
        code, said, complaint = self.vm(kept, *files, step="look")
        self.assertEqual((code, complaint), (0, ""), said)
        self.assertIn("written by a guest", said)
        self.store.run("rm", kept)

    def test_a_guest_that_reboots_finds_what_it_wrote(self):
        code, said, complaint = self.vm("debian", step="reboot")
        self.assertEqual((code, complaint, said.count("the first boot")), (0, "", 1), said)
        self.assertEqual(said.count("guest: "), 1)

    @contextlib.contextmanager
    def running(self):
        """A machine that writes, while the block runs; what it said afterwards is in `said`."""
        command = [str(harness.COMMAND), "--store", str(self.store.dir), *self.words("debian", step="loop")]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.store.environment) as process:
            try:
                said = b""
                for line in process.stdout:
                    said += line
                    if b"synced 5." in line:
                        break
                else:
                    raise harness.Failed(f"the guest did not run:\n{said[-4000:]!r}\n{process.stderr.read()!r}")
                yield process
            finally:
                process.kill()

    def qemu(self, process) -> int:
        """The pid of its QEMU."""
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if guest.QEMU.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        raise harness.Failed("no QEMU runs")

    def test_a_signal_ends_the_machine(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.running() as process:
                process.send_signal(number)
                process.communicate(timeout=30)
                self.assertEqual(process.returncode, 128 + number)
            self.assertEqual(self.clones(), [])

    def test_nothing_is_left_of_a_command_that_is_killed(self):
        with self.running() as process:
            qemu = self.qemu(process)
            os.kill(process.pid, signal.SIGKILL)
            _, complaint = process.communicate(timeout=30)  # until the last of its processes is gone
        self.assertEqual((self.clones(), complaint), ([], b""))
        state = Path(f"/proc/{qemu}/stat")
        self.assertTrue(not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z")

    def test_a_killed_qemu_ends_the_command(self):
        with self.running() as process:
            os.kill(self.qemu(process), signal.SIGKILL)
            process.communicate(timeout=30)
            self.assertEqual(process.returncode, 128 + signal.SIGKILL)
        self.assertEqual(self.clones(), [])

    def test_a_machine_whose_server_was_killed_is_ended(self):
        with self.running() as process:
            os.kill(self.store.server(), signal.SIGKILL)
            _, complaint = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 1)
        self.assertIn(b"stellarium: the server ended in the middle of the command", complaint)
        self.assertEqual(self.clones(), [])

    def test_a_machine_whose_daemon_is_stopped_is_ended(self):
        with self.running() as process:
            self.assertEqual(self.store.run("daemon", "stop", "--unmount").stderr, b"")
            _, complaint = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 1)
        self.assertIn(b"the daemon does not serve its root any more", complaint)
        self.assertEqual(self.clones(), [])

    def test_a_clone_has_one_machine(self):
        self.store.run("clone", "debian", "busy")
        with self.store.mounted("busy") as mount:
            self.assertIn(f"clone busy is mounted on {mount}", self.store.refuses("vm", "busy"))
        self.store.run("rm", "busy")

    def test_a_dry_run_prints_a_command_and_makes_nothing(self):
        done = self.store.run("vm", "debian", "--dry-run", "--append", "it's quiet", "--", "-no-reboot")
        words = shlex.split(done.stdout.decode())
        self.assertEqual((words[0], words[-1]), (guest.QEMU, "-no-reboot"))
        self.assertIn("console=ttyS0 root=root rootfstype=virtiofs rw it's quiet", words)
        self.assertIn(self.kernel.name, words)
        self.assertIn(f"stellarium --store {self.store.dir} cat debian /boot/{self.kernel.name} >{self.kernel.name}", done.stderr.decode())
        self.assertEqual(self.clones(), [])

    def test_what_cannot_work_is_said_in_one_line_and_makes_nothing(self):
        for words, line in ((("plain",), "plain has no kernel (/boot/vmlinuz-VERSION): name one with --kernel FILE"),
                            (("nothing",), "there is no image nothing:latest"),
                            (("debian", "--kernel", "/nowhere"), "--kernel /nowhere: No such file or directory"),
                            (("debian", "--initrd", "/tmp"), "--initrd /tmp is not a file"),
                            (("debian", "--memory", "lots"), "--memory lots: a machine has at least 32M"),
                            (("debian", "--qemu", "no-qemu"), "no-qemu is not there")):
            self.assertIn(line, self.store.refuses("vm", *words), words)
        code, _, complaint = self.vm("debian", "--", "-no-such-option", step="look")
        self.assertEqual((code, self.clones()), (1, []))
        self.assertIn("-no-such-option: invalid option", complaint)


if __name__ == "__main__":
    harness.require_mounts()
    harness.require(not guest.available(), guest.available())
    harness.main()
