#!/usr/bin/env python3
"""Images from web servers: all at once, or shown before they have arrived; over good lines, bad ones, and none."""
import concurrent.futures
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import harness
from cdn import FaultyOrigin, Link, Nginx, require_nginx


def make_tree(folder: Path) -> None:
    source = random.Random(11)
    (folder / "bin").mkdir(parents=True)
    for n in range(300):
        path = folder / f"folder{n % 7}" / f"small{n}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.randbytes(source.randrange(100, 20_000)))
    for n in range(4):
        (folder / "bin" / f"program{n}").write_bytes(b"\x7fELF" + source.randbytes(1_500_000))
        (folder / "bin" / f"program{n}").chmod(0o755)
    (folder / "large").write_bytes(source.randbytes(30_000_000))


class Remote(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="stellarium-remote-")
        cls.folder = Path(cls.temporary.name)
        cls.config = {"STELLARIUM_CONFIG": str(cls.folder / "config")}
        make_tree(cls.folder / "tree")
        with harness.Store() as store:
            store.environment |= cls.config
            store.run("import", cls.folder / "tree", "app:1")
            store.run("publish", "app:1", cls.folder / "www")
            cls.key = store.run("remote", "key").stdout.decode().strip()
        cls.nginx = cls.enterClassContext(Nginx(cls.folder / "www"))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def setUp(self):
        self.store = harness.Store()
        self.addCleanup(self.store.__exit__)
        self.store.environment |= self.config

    def pull(self, url: str, *options, name: str = "here") -> dict:
        return self.store.json("pull", *options, f"{url}/app:1", name, "--trust", self.key, "--ca-file", self.nginx.ca)

    def mounted(self, name: str = "here") -> Path:
        point = self.store.scratch / "mounted"
        point.mkdir(exist_ok=True)
        self.store.run("mount", name, point)
        return point

    def same(self, point: Path, path: str) -> None:
        self.assertEqual(hashlib.sha256((point / path).read_bytes()).digest(),
                         hashlib.sha256((self.folder / "tree" / path).read_bytes()).digest(), path)

    def all_same(self, point: Path) -> None:
        paths = [path.relative_to(self.folder / "tree") for path in (self.folder / "tree").rglob("*") if path.is_file()]
        self.assertEqual(len(paths), 305)
        for path in paths:
            self.same(point, str(path))

    def test_all_of_an_image_comes_over_https(self):
        pulled = self.pull(self.nginx.url, "--full")
        self.assertFalse(pulled["lazy"])
        self.all_same(self.mounted())
        self.store.run("fsck", "--deep")
        self.assertEqual(self.store.json("stats")["remote"]["lazy_images"], 0)

    def test_a_name_that_nobody_trusted_signed_is_not_followed(self):
        line = self.store.refuses("pull", f"{self.nginx.url}/app:1", "--ca-file", self.nginx.ca)
        self.assertIn(self.key, line)
        self.assertIn("certificate", self.store.refuses("pull", f"{self.nginx.url}/app:1", "--trust", self.key))
        self.assertIn("has no image none:latest", self.store.refuses("pull", f"{self.nginx.url}/none", "--ca-file", self.nginx.ca))

    def test_a_server_that_cannot_be_reached_is_said_in_one_line(self):
        done = self.store.run("pull", "https://127.0.0.1:1/app:1", "--trust", self.key, expect=1)
        self.assertEqual((done.stdout, done.stderr.count(b"\n")), (b"", 1), done.stderr)

    def test_an_image_is_shown_before_it_has_arrived(self):
        pulled = self.pull(self.nginx.url, "--lazy-only")
        self.assertLess(pulled["bytes_fetched"], 200_000)
        point = self.mounted()
        self.nginx.forget()
        names = sorted(str(path.relative_to(point)) for path in point.rglob("*"))
        self.assertEqual(names, sorted(str(path.relative_to(self.folder / "tree")) for path in (self.folder / "tree").rglob("*")))
        self.assertEqual(self.nginx.log(), [])
        self.same(point, "folder3/small10")
        self.same(point, "bin/program2")
        self.assertLess(len(self.nginx.log()), 4)
        with open(point / "large", "rb") as file, open(self.folder / "tree" / "large", "rb") as source:
            for offset in (25_000_000, 3_000_000):
                for each in (file, source):
                    each.seek(offset)
                self.assertEqual(file.read(5000), source.read(5000))
        self.assertLess(sum(line.bytes for line in self.nginx.log()), 8_000_000)
        self.store.run("gc")
        self.store.run("fsck", "--deep")
        self.all_same(point)

    def test_what_nobody_reads_comes_in_the_background(self):
        self.pull(self.nginx.url)
        end = time.monotonic() + 60
        while self.store.json("stats")["remote"]["lazy_images"] != 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        before = len(self.nginx.log())
        self.all_same(self.mounted())
        self.assertEqual(len(self.nginx.log()), before)
        self.store.run("gc")
        self.store.run("fsck", "--deep")

    def test_bad_servers_delay_it_and_change_nothing(self):
        with (FaultyOrigin(self.folder / "www", busy=0.2, cut=0.05, flipped=0.01) as bad,
              FaultyOrigin(self.folder / "www", busy=0.2, cut=0.05, flipped=0.01) as worse, FaultyOrigin(self.folder / "www") as dead):
            dead.dead = True
            name = self.store.scratch.name.replace("_", "-")
            self.store.run("remote", "add", f"bad{name}", dead.url, bad.url, worse.url)
            self.store.run("remote", "trust", f"bad{name}", self.key)
            self.store.run("pull", "--lazy-only", f"bad{name}/app:1", "here")
            self.all_same(self.mounted())
            self.store.run("pull", "--full", f"bad{name}/app:1", "again")
            remote = self.store.json("stats")["remote"]
        self.store.run("fsck", "--deep")
        self.assertGreater(remote["refused"], 0)
        self.assertGreater(remote["retries"], 0)

    def test_without_a_line_what_is_here_can_be_read_and_the_rest_is_an_error(self):
        with Link(self.nginx.port, round_trip=0.01) as link:
            self.pull(self.nginx.url_by(link), "--lazy-only")
            point = self.mounted()
            self.same(point, "folder3/small10")
        began = time.monotonic()
        with self.assertRaises(OSError) as failed:
            (point / "bin" / "program1").read_bytes()
        self.assertLess(time.monotonic() - began, 45)
        self.assertEqual(failed.exception.errno, 5)
        self.same(point, "folder3/small10")
        self.assertEqual(len(list(point.rglob("*"))), 313)
        self.store.run("daemon", "stop", "--unmount")

    def test_a_restart_and_slow_readers_disturb_nobody(self):
        """Readers that wait for another host hold nothing that others need, and the next server answers them."""
        with Link(self.nginx.port, round_trip=0) as link:
            self.pull(self.nginx.url_by(link), "--lazy-only")
            point = self.mounted()
            present = sorted((self.folder / "tree" / "folder3").iterdir())
            for path in present:
                self.same(point, f"folder3/{path.name}")
            Path("/proc/sys/vm/drop_caches").write_text("3")  # so that the server is asked for them once more
            link.round_trip = 4
            with concurrent.futures.ThreadPoolExecutor(24) as pool:
                def read_at(offset: int) -> bytes:
                    with open(point / "large", "rb") as file:
                        file.seek(offset)
                        return file.read(4096)
                offsets = range(0, 24_000_000, 1_000_000)
                reading = [pool.submit(read_at, offset) for offset in offsets]
                time.sleep(0.5)
                began = time.monotonic()
                for path in present:
                    self.same(point, f"folder3/{path.name}")
                self.assertLess(time.monotonic() - began, 2)
                self.assertFalse(any(each.done() for each in reading))
                self.store.run("daemon", "restart")
                link.round_trip = 0.1
                whole = (self.folder / "tree" / "large").read_bytes()
                for offset, each in zip(offsets, reading):
                    self.assertEqual(each.result(60), whole[offset:offset + 4096])

    def test_the_next_server_fetches_what_the_last_one_did_not(self):
        self.pull(self.nginx.url, "--lazy-only")
        point = self.mounted()
        self.same(point, "folder3/small10")
        os.kill(self.store.json("daemon", "status")["pid"], signal.SIGKILL)
        self.same(point, "bin/program0")
        self.store.run("clone", "here", "changed")
        changed = self.store.scratch / "changed"
        changed.mkdir()
        self.store.run("mount", "changed", changed)
        with open(changed / "bin" / "program3", "ab") as file:
            file.write(b"more")
        self.assertEqual((changed / "bin" / "program3").read_bytes(), (self.folder / "tree" / "bin" / "program3").read_bytes() + b"more")
        subprocess.run(["umount", changed], check=True)
        self.store.run("rm", "here", expect=None)
        self.store.run("gc")
        self.store.run("mount", "changed", changed)
        self.same(changed, "bin/program1")
        subprocess.run(["umount", changed], check=True)


if __name__ == "__main__":
    harness.require_mounts()
    require_nginx()
    harness.main()
