#!/usr/bin/env python3
"""Every way to make a clone larger, on a disk that a clone's programs have filled, and what then still has to work.

The disk is a small ext4 with blocks reserved for root: an ordinary user in a clone gets none of them, whoever writes for him."""
import errno
import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import full_disk_test
import harness
import trees
import write_sites
from harness import Store

harness.require_mounts()
harness.require(os.path.exists("/dev/loop-control"), "no loop devices")
NOBODY = 65534
RESERVED = 5  # percent
PATIENCE = 5.0  # seconds until removed files have given their space back
HANG = 1.0  # seconds that no call may take without progress


def space(path: Path) -> os.statvfs_result:
    return os.statvfs(path)


def reserve(path: Path) -> int:
    """Bytes that only root may take, as the file system shows them."""
    found = space(path)
    return (found.f_bfree - found.f_bavail) * found.f_frsize


class AsUser:
    """This process is an ordinary user's for a while, as far as files go."""

    def __enter__(self):
        self.groups = os.getgroups()
        os.setgroups([NOBODY])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)

    def __exit__(self, *_):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(self.groups)


class CloneWriteSites(unittest.TestCase):
    def prepare(self, outside: Store, store: Store) -> None:
        image = outside.scratch / "image"
        (image / "home").mkdir(parents=True)
        os.chmod(image, 0o755)
        os.chown(image / "home", NOBODY, NOBODY)
        for number in range(20):
            trees.write(image / "home" / f"i{number}", trees.noise(200_000, seed=number))
            os.chown(image / "home" / f"i{number}", NOBODY, NOBODY)
        trees.write(image / "home" / "large", trees.noise(write_sites.WriteSites.LARGE, seed=99))
        os.chown(image / "home" / "large", NOBODY, NOBODY)
        store.run("import", image, "base")
        store.run("clone", "base", "web")
        store.run("clone", "base", "other")
        for folder in (outside.root, outside.scratch, store.root):
            os.chmod(folder, 0o755)

    def fill(self, home: Path, disk: Path) -> dict[str, str]:
        """Through files that are passed through, until an ordinary user gets nothing more; what is in them."""
        with AsUser():
            for number in range(1000):
                path = home / f"w{number}"
                trees.write(path, trees.noise(trees.MIB, seed=number)) if space(disk).f_bavail * 4096 > 30 * trees.MIB else None
                if not path.exists():
                    break
            last = home / "last"
            self.assertEqual(write_sites.fill_file(last), errno.ENOSPC)
        return {path.name: write_sites.digest(path) for path in home.iterdir() if path.name.startswith(("w", "i", "last"))}

    def compare(self, home: Path, kept: dict[str, str]) -> None:
        self.assertEqual({name: write_sites.digest(home / name) for name in kept}, kept)

    def test_every_write_site_says_enospc_and_leaves_the_hosts_reserve_alone(self):
        with Store() as outside, full_disk_test.small_disk(outside.scratch, reserved=RESERVED) as disk, Store(parent=disk) as store:
            self.prepare(outside, store)
            os.chmod(disk, 0o755)
            with store.mounted("-o", "allow_other", "web") as mount, store.mounted("other") as other:
                os.chmod(mount.parent, 0o755)
                home = mount / "home"
                with AsUser():
                    sites = write_sites.WriteSites(home / "sites", [home / "i0", home / "i1"], home / "large")
                whole = reserve(disk)
                kept = self.fill(home, disk)
                self.assertLess(space(disk).f_bavail * 4096, trees.MIB, "the disk is not full")
                self.assertGreaterEqual(reserve(disk), whole * 0.95, "what was passed through took of the reserve")
                server = store.server()
                with AsUser():
                    sites.try_all(self, errno.ENOSPC)
                    for number in range(300):
                        write_sites.error_of(os.mkdir, home / f"more{number}")
                        write_sites.error_of(os.setxattr, home / "sites" / "named", f"user.more{number}", b"x" * 4000)
                self.assertGreaterEqual(reserve(disk), whole * 0.9, "what the server wrote took of the reserve")
                print(f"{whole >> 10} KiB are root's; after passthrough and the server wrote: {reserve(disk) >> 10} KiB", file=sys.stderr)
                self.assertEqual(store.server(), server, "a server ended")
                self.assertEqual((other / "home" / "i3").read_bytes(), trees.noise(200_000, seed=3))
                self.compare(home, kept)
                self.work_goes_on(store, home, disk, kept)
                sites.close()
            self.assertEqual(store.server(), server, "a server ended")
            store.run("fsck", "--deep")

    def work_goes_on(self, store: Store, home: Path, disk: Path, kept: dict[str, str]) -> None:
        """On the full disk: everything that makes room works, and then everything else does."""
        for command in (("settle",), ("gc",), ("clone", "base", "new")):
            done = store.run(*command, expect=None, timeout=60)
            if done.returncode != 0:
                self.assertRegex(done.stderr, b"No space left|no room", command)
        before = space(disk).f_bavail
        gone = [name for name in kept if name.startswith("w") and int(name[1:]) % 2] + ["last"]
        with AsUser():
            for name in gone:
                os.unlink(home / name)
                del kept[name]
        deadline = time.monotonic() + PATIENCE
        while space(disk).f_bavail - before < 10 * trees.MIB // 4096 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertGreater(space(disk).f_bavail - before, 10 * trees.MIB // 4096, "the space of removed files did not come back")
        with AsUser():
            trees.write(home / "after", trees.noise(4 * trees.MIB, seed=1))
            os.mkdir(home / "after-folder")
        self.assertEqual((home / "after").read_bytes(), trees.noise(4 * trees.MIB, seed=1))
        store.run("settle")
        store.run("gc")
        store.run("clone", "base", "newer")
        self.compare(home, kept)

    def test_writers_are_slowed_down_while_settling_makes_room(self):
        """Compressible bytes without passthrough: more than the disk has room for unsettled, but not settled."""
        with Store() as outside, full_disk_test.small_disk(outside.scratch, size=256 * trees.MIB) as disk, Store(parent=disk) as store:
            self.prepare(outside, store)
            longest, waited, refused = 0.0, 0, 0
            with store.mounted("--no-passthrough", "web") as mount:
                state = store.json("stats")["space"]
                mark = state["mark"]
                self.assertEqual(mark, state["bytes"] // 32)
                block = trees.text(trees.MIB, seed=1)
                total, number = 0, 0
                deadline = time.monotonic() + 120
                while total < 400 * trees.MIB and time.monotonic() < deadline:
                    number += 1
                    fd = os.open(mount / f"f{number}", os.O_CREAT | os.O_WRONLY)
                    for part in range(4):
                        data = number.to_bytes(8, "little") + part.to_bytes(8, "little") + block[16:]
                        began = time.monotonic()
                        try:
                            total += os.write(fd, data)
                        except OSError as error:
                            self.assertEqual(error.errno, errno.ENOSPC)
                            refused += 1
                            time.sleep(0.1)
                        took = time.monotonic() - began
                        longest = max(longest, took)
                        waited += took > 0.02
                    os.close(fd)
                print(f"{total >> 20} MiB written to a disk of 256; longest write {longest:.2f} s, {waited} slow, {refused} refused", file=sys.stderr)
                self.assertGreaterEqual(total, 400 * trees.MIB)
                if not harness.SANITIZED:
                    self.assertLess(longest, HANG)
                self.assertGreaterEqual(space(disk).f_bavail * 4096, mark // 2, "the mark was not kept")
            store.run("fsck")


if __name__ == "__main__":
    harness.main()
