#!/usr/bin/env python3
"""A virtual machine boots Debian from a volume, writes to it, powers off; its clones keep what they had, and boot, too.

The disk comes in as qcow2 and is a plain file of a mount to QEMU: opened with O_DIRECT and without, written by threads and by
Linux's asynchronous I/O, and while a server of ours is killed."""
import hashlib
import os
import signal
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import guest
import harness

FILES = 100
# "write" makes files, removes a folder and gives its blocks back; "look" checks what "write" made in an earlier boot.
SCRIPT = """
step="$1"
case $1 in
  write)
    test ! -e /written
    mkdir /written
    for i in $(seq %d); do echo "file $i of $2" >/written/$i; done
    dd if=/dev/urandom of=/written/random bs=1M count=16 conv=fsync 2>/dev/null
    sha256sum /written/random >/written/sum
    rm -r /usr/share/locale /usr/share/doc
    sync
    fstrim -v / ;;
  look)
    grep -q "of $2" /written/1
    test ! -e /usr/share/locale
    echo 3 >/proc/sys/vm/drop_caches
    sha256sum -c /written/sum ;;
esac
""" % FILES


class VolumeBoot(unittest.TestCase):
    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)

    def check_disk(self, disk: Path, said: str) -> None:
        """The file system on it is clean, and has what a guest wrote that said so."""
        guest.run("fsck.ext4", "-f", "-n", disk)
        for number in (1, FILES):
            self.assertEqual(guest.read_file(disk, f"/written/{number}"), f"file {number} of {said}\n".encode())
        expected = guest.read_file(disk, "/written/sum").split()[0].decode()
        self.assertEqual(hashlib.sha256(guest.read_file(disk, "/written/random")).hexdigest(), expected)

    def boot_under_kills(self, disk: Path, *words: str, **how: str) -> str:
        """Meanwhile the server is killed a few times, and the guest must not notice."""
        over = threading.Event()
        kills = []

        def kill() -> None:
            while not over.wait(2):
                kills.append(self.store.server())
                os.kill(kills[-1], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            said = guest.boot_disk(self.store.scratch, disk, *words, **how)
        finally:
            over.set()
            killer.join()
        self.assertGreaterEqual(len(set(kills)), 2)
        self.assertNotIn("I/O error", said)
        return said

    def test_a_guest_boots_writes_and_its_clones_keep_what_they_had(self):
        raw, image = self.store.scratch / "disk.raw", self.store.scratch / "disk.qcow2"
        guest.disk_image(raw, "400M", SCRIPT)
        guest.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
        self.store.run("volume", "import", image, "disk")
        self.store.run("volume", "clone", "disk", "before")
        with self.store.mounted() as mount:
            disk, before, after = (mount / "volumes" / f"{name}.img" for name in ("disk", "before", "after"))
            for volume in (disk, before):
                self.assertIn("identical", guest.run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, volume))

            self.assertIn("trimmed", guest.boot_disk(self.store.scratch, disk, "write", "disk", cache="none"))
            self.check_disk(disk, "disk")
            self.assertIn("identical", guest.run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, before))

            self.store.run("volume", "clone", "disk", "after")
            self.boot_under_kills(before, "write", "before", cache="writeback")
            self.check_disk(before, "before")

            self.assertIn("/written/random: OK", guest.boot_disk(self.store.scratch, after, "look", "disk", cache="none", aio="native"))
            self.check_disk(after, "disk")
            self.check_disk(disk, "disk")
        self.store.run("gc")
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    harness.require_mounts()
    harness.require(not guest.available(), guest.available())
    harness.main()
