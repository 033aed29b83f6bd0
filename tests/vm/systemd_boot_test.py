#!/usr/bin/env python3
"""Debian with systemd boots from a clone over virtio-fs to a login prompt, somebody logs in and writes, and powers off; the clone has what was written.

The kernel is one with virtio-fs built in (Debian's 6.12 for virtual machines), so there is no initial file system."""
import os
import pty
import re
import select
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import guest
import harness


class Terminal:
    """A program on a terminal, and what it wrote there."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.screen, side = pty.openpty()
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=subprocess.PIPE, env=environment, start_new_session=True)
        os.close(side)
        self.said = ""

    def wait_for(self, pattern: str, seconds: float = guest.BOOT_SECONDS) -> float:
        """Seconds until the program says it, behind what was waited for before."""
        began = time.monotonic()
        while not (found := re.search(pattern, self.said)):
            left = began + seconds - time.monotonic()
            if left <= 0 or not select.select([self.screen], [], [], left)[0]:
                raise harness.Failed(f"{pattern!r} was not said within {seconds} s; the last was\n{self.said[-3000:]}")
            try:
                self.said += os.read(self.screen, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                raise harness.Failed(f"it ended without {pattern!r}:\n{self.said[-3000:]}") from None
        self.said = self.said[found.end():]
        return time.monotonic() - began

    def type(self, line: str) -> None:
        os.write(self.screen, line.encode() + b"\n")

    def end(self) -> tuple[int, str]:
        """Exit code, and what came on stderr, once it has ended."""
        while True:
            try:
                if not os.read(self.screen, 65536):
                    break
            except OSError:
                break
        complaint = self.process.communicate(timeout=60)[1].decode(errors="replace")
        os.close(self.screen)
        return self.process.returncode, complaint


class SystemdBoot(unittest.TestCase):
    def test_a_login_prompt_and_a_clean_end(self):
        store = self.enterContext(harness.Store())
        root = store.scratch / "root"
        root.mkdir()
        guest.run("tar", "-xf", guest.systemd_root(), "-C", root, "--numeric-owner", "--exclude=./dev/*")
        shadow = root / "etc/shadow"
        shadow.write_text(re.sub(r"(?m)^root:[^:]*:", "root::", shadow.read_text()))  # nobody is asked for a password
        store.run("import", root, "debian")
        command = [str(harness.COMMAND), "--store", str(store.dir), "vm", "--keep", "--accel", "tcg", "--net", "none", "--kernel", str(guest.kernel_with_virtio_fs()), "debian"]
        terminal = Terminal(command, store.environment)
        try:
            login = terminal.wait_for("login: ")
            terminal.type("root")
            terminal.wait_for(r"# $|#.{0,4} $")
            terminal.type("echo written by a guest > /srv/file; systemctl is-system-running --wait; systemctl poweroff")
            state = terminal.wait_for("running\r|degraded\r")
            code, complaint = terminal.end()
        finally:
            terminal.process.kill()
        self.assertEqual(code, 0, complaint)
        [name] = re.findall(r"kept as clone (\S+)", complaint)
        self.assertEqual(store.run("cat", name, "/srv/file").stdout, b"written by a guest\n")
        # The login is on record.
        self.assertGreater(len(store.run("cat", name, "/var/log/wtmp").stdout), 0)
        store.run("fsck", "--deep")
        print(f"login prompt after {login:.1f} s, up {state:.1f} s after the login", file=sys.stderr)


if __name__ == "__main__":
    harness.require(not guest.available(), guest.available())
    harness.main()
