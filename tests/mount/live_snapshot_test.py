#!/usr/bin/env python3
"""Snapshots of a clone that is mounted and in use: they hold what was there, and programs go on."""
import contextlib
import ctypes
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import harness
import trees
from harness import Store

harness.require_mounts()

ROUNDS = 10 if harness.SANITIZED else 50
SNAPSHOTS = 5 if harness.SANITIZED else 15  # that one thread makes

# Each change of the database is one transaction; what is committed is told in a file outside.
DATABASE = """
import os, sqlite3, sys
os.environ["SQLITE_TMPDIR"] = "."
base = sqlite3.connect("base.db", isolation_level=None)
base.execute("pragma journal_mode = " + sys.argv[1])
base.execute("create table if not exists t (id integer primary key, twice integer, filling blob)")
told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o600)
number = base.execute("select count(*) from t").fetchone()[0]
while True:
    number += 1
    base.execute("begin immediate")
    base.execute("insert into t values (?, ?, randomblob(?))", (number, 2 * number, number % 3000))
    base.execute("update t set filling = randomblob(100) where id = ?", (number // 2,))
    base.execute("commit")
    os.pwrite(told, b"%20d" % number, 0)
"""

# Names change one after the other: a tree of one moment has all numbers up to one, the last one perhaps half done. It
# rests now and then: all of them are read and removed again.
NAMES = """
import os, time
number = 0
while True:
    if number % 100 == 0: time.sleep(0.05)
    number += 1
    os.mkdir(f"making{number}")
    with open(f"making{number}/file", "wb") as file: file.write(b"%d" % number * 100)
    os.rename(f"making{number}", f"made{number}")
"""

# Beginning and end of a mapping, always equal or one store apart.
MAPPED = """
import mmap, os
file = os.open("mapped", os.O_RDWR)
size = os.fstat(file).st_size
pages = mmap.mmap(file, size)
os.close(file)
number = 0
while True:
    number += 1
    pages[0:8] = pages[size - 8:size] = number.to_bytes(8, "little")
"""

# The same by write(2) to a file that is opened anew each time.
OPENED = """
import os
size = os.stat("opened").st_size
number = 0
while True:
    number += 1
    file = os.open("opened", os.O_RDWR)
    os.pwrite(file, number.to_bytes(8, "little"), 0)
    os.pwrite(file, number.to_bytes(8, "little"), size - 8)
    os.close(file)
"""

FSYNCED = """
import os
file = os.open("synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
while True:
    os.write(file, b"line\\n")
    os.fsync(file)
"""


def state_of(process: subprocess.Popen) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Mapping:
    """A shared mapping whose handle is closed; Python's own keeps one."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def __init__(self, path: Path, size: int):
        file = os.open(path, os.O_RDWR)
        self.address = self.libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
        self.size = size
        os.close(file)
        if self.address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")

    def store(self, offset: int, data: bytes) -> None:
        ctypes.memmove(self.address + offset, data, len(data))

    def close(self) -> None:
        self.libc.munmap(self.address, self.size)


class LiveSnapshot(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store())
        self.store.environment["STELLARIUM_SETTLE_AFTER"] = "never"
        image = self.store.scratch / "image"
        image.mkdir()
        trees.write(image / "known", trees.noise(trees.MIB, seed=1))
        self.store.run("import", image, "base")
        self.store.run("clone", "base", "web")

    def snapshot(self, name: str, *options) -> dict:
        return self.store.json("snapshot", *options, f"web@{name}")

    @contextlib.contextmanager
    def shown(self, snapshot: str):
        """A folder that shows what the snapshot has."""
        self.store.run("clone", f"web@{snapshot}", "shown")
        with self.store.mounted("shown") as mount:
            yield mount
        self.store.run("rm", "shown")

    @contextlib.contextmanager
    def running(self, program: str, where: Path, *words):
        """A program that goes on until the block ends; it must not have ended by itself."""
        process = subprocess.Popen([sys.executable, "-c", program, *words], cwd=where, stderr=subprocess.PIPE)
        try:
            yield process
            self.assertIsNone(process.poll(), "it ended by itself")
        finally:
            process.kill()
            _, said = process.communicate()
        self.assertEqual(said, b"")

    def wait_for(self, condition, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def check_whole(self) -> None:
        """Nothing is damaged, and nothing is left when all is removed."""
        self.store.run("fsck", "--deep")
        self.store.run("rm", "web")
        self.wait_for(lambda: not list((self.store.dir / "staged").glob("*/*")))
        self.store.run("gc")
        self.store.run("fsck", "--deep")

    def test_an_idle_clone(self):
        with self.store.mounted("web") as mount:
            trees.every_kind(mount / "tree")
            (mount / "known").chmod(0o600)
            time.sleep(0.1)
            before = trees.snapshot(mount)
            report = self.snapshot("one")
            self.assertEqual(report, {"schema": 1, "snapshot": "web@one", "mounted": True, "copied": {"files": 0, "bytes": 0}, "fuzzy": []})
            (mount / "known").write_bytes(b"written after it")
            for path in (mount / "tree").iterdir():
                path.rename(path.with_name(path.name + ".moved"))
            with self.shown("one") as shown:
                self.assertEqual(harness.first_difference(before, trees.snapshot(shown)), "")
            times = []
            for number in range(20):
                (mount / "known").write_bytes(b"%d" % number)
                time.sleep(0.1)
                started = time.monotonic()
                self.assertEqual(self.snapshot(f"more{number}")["copied"]["files"], 0)
                times.append(time.monotonic() - started)
            print(f"snapshot of an idle mounted clone, with the command: {min(times) * 1000:.1f} ms")
            self.assertIn("already", self.store.refuses("snapshot", "web@one"))
            self.assertIn("mounted", self.store.refuses("rollback", "web@one"))
        self.store.run("rollback", "web@one")
        with self.store.mounted("web") as mount:
            self.assertEqual(harness.first_difference(before, trees.snapshot(mount)), "")
        self.check_whole()

    def test_files_that_are_open_for_writing(self):
        for passthrough in (True, False):
            with self.subTest(passthrough=passthrough), contextlib.ExitStack() as files:
                mount = files.enter_context(self.store.mounted(*([] if passthrough else ["--no-passthrough"]), "web"))
                (mount / "file").write_bytes(b"0123456789")
                log = files.enter_context(open(mount / "log", "ab", buffering=0))
                file = files.enter_context(open(mount / "file", "r+b", buffering=0))
                large = files.enter_context(open(mount / "large", "w+b", buffering=0))
                large.truncate(64 * trees.MIB)
                os.pwrite(large.fileno(), b"end", 64 * trees.MIB - 3)
                log.truncate(0)
                log.write(b"one ")
                time.sleep(0.1)
                name = f"open{passthrough}"
                report = self.snapshot(name)
                self.assertEqual(report["fuzzy"], [])
                self.assertEqual(report["copied"]["files"], 3 if passthrough else 0)
                self.assertEqual(self.store.run("stats").returncode, 0)
                log.write(b"two")
                file.write(b"changed")
                os.pwrite(large.fileno(), b"begin", 0)
                self.assertEqual(os.fstat(log.fileno()).st_size, 7)
                with self.shown(name) as shown:
                    self.assertEqual((shown / "log").read_bytes(), b"one ")
                    self.assertEqual((shown / "file").read_bytes(), b"0123456789")
                    content = (shown / "large").read_bytes()
                    self.assertEqual((len(content), content[:5], content[-3:]), (64 * trees.MIB, bytes(5), b"end"))
                    self.assertLess(os.stat(shown / "large").st_blocks * 512, trees.MIB)
                    os.truncate(shown / "log", 1)
                self.assertEqual((mount / "log").read_bytes(), b"one two")
                self.assertEqual((mount / "file").read_bytes(), b"changed789")
                files.pop_all().close()
        self.check_whole()

    def test_a_mapping_goes_on_and_the_snapshot_does_not(self):
        with self.store.mounted("web") as mount:
            (mount / "mapped").write_bytes(bytes(2 * 4096))
            mapping = Mapping(mount / "mapped", 2 * 4096)
            mapping.store(0, b"before")
            time.sleep(0.1)
            self.assertEqual(self.snapshot("one")["copied"], {"files": 1, "bytes": 8192})
            mapping.store(0, b"after!")
            mapping.store(4096, b"later")
            os.kill(self.store.server(), signal.SIGKILL)  # the next one does not know of the mapping
            self.assertEqual(self.snapshot("two")["copied"]["files"], 1)
            mapping.store(0, b"at end")
            for name, expected in (("one", (b"before", bytes(5))), ("two", (b"after!", b"later"))):
                with self.shown(name) as shown:
                    content = (shown / "mapped").read_bytes()
                    self.assertEqual((content[:6], content[4096:4101]), expected)
            mapping.close()
            self.assertEqual((mount / "mapped").read_bytes()[:6], b"at end")
            self.assertEqual(self.snapshot("three")["copied"]["files"], 0)
        self.check_whole()

    def test_stores_to_a_mapping_never_stop(self):
        with self.store.mounted("web") as mount:
            (mount / "mapped").write_bytes(bytes(2 * trees.MIB))
            with self.running(MAPPED, mount):
                self.wait_for(lambda: (mount / "mapped").read_bytes()[-8:] != bytes(8))
                for number in range(100):
                    done = self.store.run("snapshot", f"web@s{number}")
                    if b"fuzzy" in done.stdout:
                        break
                    self.check_moment(f"s{number}")  # it did not get to run meanwhile
                self.assertIn(b"fuzzy: /mapped\n", done.stdout)
                self.assertIn(b"1 files changed", done.stderr)
                for number in range(10):
                    self.assertEqual(self.snapshot(f"exact{number}", "--freeze")["fuzzy"], [])
                    now = (mount / "mapped").read_bytes()
                    self.wait_for(lambda: (mount / "mapped").read_bytes() != now)  # it goes on
                    self.check_moment(f"exact{number}")
        self.check_whole()

    def check_moment(self, snapshot: str) -> None:
        with self.shown(snapshot) as shown:
            content = (shown / "mapped").read_bytes()
            first, second = (int.from_bytes(content[at:][:8], "little") for at in (0, 2 * trees.MIB - 8))
            self.assertIn(first - second, (0, 1))
            time.sleep(0.05)
            trees.drop_caches()
            self.assertEqual((shown / "mapped").read_bytes(), content)

    def test_a_file_without_a_name_goes_on_and_is_in_no_snapshot(self):
        with self.store.mounted("web") as mount, open(mount / "gone", "w+b", buffering=0) as gone:
            gone.write(b"one")
            os.setxattr(gone.fileno(), "user.note", b"kept")
            os.unlink(mount / "gone")
            unnamed = os.open(mount, os.O_TMPFILE | os.O_RDWR, 0o600)
            os.write(unnamed, b"tmp")
            self.assertEqual(self.snapshot("one")["copied"]["files"], 0)
            for step in range(2):
                gone.write(b"two")
                os.fsync(gone.fileno())
                gone.seek(0)
                self.assertEqual(gone.read(), b"one" + b"two" * (step + 1))
                self.assertEqual(os.getxattr(gone.fileno(), "user.note"), b"kept")
                self.assertEqual(os.fstat(gone.fileno()).st_nlink, 0)
                os.kill(self.store.server(), signal.SIGKILL)
                self.snapshot(f"more{step}")
            os.link(f"/proc/self/fd/{unnamed}", mount / "named", src_dir_fd=unnamed, follow_symlinks=True)
            os.write(unnamed, b"file")
            os.close(unnamed)
            self.assertEqual((mount / "named").read_bytes(), b"tmpfile")
            with self.shown("one") as shown:
                self.assertEqual(os.listdir(shown), ["known"])
        self.check_whole()

    def test_names_are_those_of_one_moment(self):
        with self.store.mounted("web") as mount, self.running(NAMES, mount):
            self.wait_for(lambda: (mount / "made1").exists())
            for number in range(5):
                time.sleep(0.1)
                self.snapshot(f"s{number}")
            for number in range(5):
                with self.shown(f"s{number}") as shown:
                    names = set(os.listdir(shown)) - {"known"}
                    count = sum(1 for name in names if name.startswith("made"))
                    self.assertGreater(count, 0)
                    self.assertLessEqual(names - {f"made{n}" for n in range(1, count + 1)}, {f"making{count + 1}"})
                    for n in range(1, count + 1):
                        self.assertEqual((shown / f"made{n}" / "file").read_bytes(), b"%d" % n * 100)
        self.check_whole()

    def test_a_file_is_opened_and_written_and_closed(self):
        for passthrough in (True, False):
            with self.subTest(passthrough=passthrough), self.store.mounted(*([] if passthrough else ["--no-passthrough"]), "web") as mount:
                (mount / "opened").write_bytes(bytes(trees.MIB))
                contents = {}
                with self.running(OPENED, mount):
                    for number in range(ROUNDS):
                        name = f"{passthrough}{number}"
                        fuzzy = self.snapshot(name)["fuzzy"]
                        contents[name] = content = self.store.run("cat", f"web@{name}", "/opened").stdout
                        first, second = (int.from_bytes(content[at:][:8], "little") for at in (0, trees.MIB - 8))
                        self.assertEqual(len(content), trees.MIB)
                        if not fuzzy:
                            self.assertIn(first - second, (0, 1))
                for name, content in contents.items():
                    self.assertEqual(self.store.run("cat", f"web@{name}", "/opened").stdout, content)
                self.assertGreater(len(set(contents.values())), ROUNDS // 4)
        self.check_whole()

    def test_fsync_goes_on(self):
        with self.store.mounted("web") as mount, self.running(FSYNCED, mount):
            sizes = []
            for number in range(5):
                self.wait_for(lambda: (mount / "synced").exists() and os.stat(mount / "synced").st_size > 5 * number)
                before = os.stat(mount / "synced").st_size
                self.snapshot(f"s{number}")
                sizes.append((before, os.stat(mount / "synced").st_size))
            for number, (least, most) in enumerate(sizes):
                with self.shown(f"s{number}") as shown:
                    content = (shown / "synced").read_bytes()
                    self.assertEqual(content, b"line\n" * (len(content) // 5))
                    self.assertTrue(least <= len(content) <= most, (least, len(content), most))
        self.check_whole()

    def test_the_server_is_killed_around_it(self):
        with self.store.mounted("web") as mount, open(mount / "log", "ab", buffering=0) as log:
            expected = b""
            for number in range(SNAPSHOTS):
                killer = threading.Timer(0.005 * number, os.kill, (self.store.server(), signal.SIGKILL))
                killer.start()
                made = self.store.run("snapshot", f"web@s{number}", expect=None).returncode == 0
                killer.join()
                log.write(b"%d " % number)
                expected += b"%d " % number
                (mount / "file").write_bytes(expected)
                self.assertEqual((mount / "log").read_bytes(), expected)
                self.store.server()
                known = f"web@s{number}" in self.store.run("--quiet", "clones").stdout.decode().split()
                self.assertTrue(known or not made)
                if known:
                    with self.shown(f"s{number}") as shown:
                        self.assertEqual((shown / "log").read_bytes(), b"".join(b"%d " % n for n in range(number)))
            self.assertEqual((mount / "file").read_bytes(), expected)
        self.check_whole()

    def check_database(self, mode: str) -> None:
        told = self.store.scratch / f"told-{mode}"
        with self.store.mounted("web") as mount:
            with self.running(DATABASE, mount, mode, told):
                self.wait_for(lambda: told.exists() and int(told.read_bytes() or b"0") > 10)
                for number in range(ROUNDS):
                    committed = int(told.read_bytes())
                    report = self.snapshot(f"{mode}{number}", "--freeze")
                    self.assertEqual(report["fuzzy"], [])
                    with self.shown(f"{mode}{number}") as shown, contextlib.closing(sqlite3.connect(shown / "base.db")) as base:
                        self.assertEqual(base.execute("pragma integrity_check").fetchall(), [("ok",)])
                        count, last, wrong = base.execute("select count(*), max(id), sum(twice != 2 * id) from t").fetchone()
                        self.assertEqual((last, wrong), (count, 0))
                        self.assertGreaterEqual(count, committed)
            with contextlib.closing(sqlite3.connect(mount / "base.db")) as base:
                self.assertEqual(base.execute("pragma integrity_check").fetchall(), [("ok",)])
                self.assertGreaterEqual(base.execute("select count(*) from t").fetchone()[0], int(told.read_bytes()))
        self.check_whole()

    def test_a_database_with_a_write_ahead_log(self):
        self.check_database("wal")

    def test_a_database_with_a_rollback_journal(self):
        self.check_database("delete")

    def test_other_commands_at_the_same_time(self):
        """Settling changes records and removes files under it; each command succeeds, or says in one line why not."""
        contents = {}
        with contextlib.ExitStack() as running:
            mount = running.enter_context(self.store.mounted("web"))
            (mount / "opened").write_bytes(bytes(trees.MIB))
            for program in (NAMES, OPENED):
                running.enter_context(self.running(program, mount))
            done = threading.Event()

            def settle() -> None:
                while not done.is_set():
                    self.store.run("settle", "web")

            def snapshots(prefix: str) -> None:
                for number in range(SNAPSHOTS):
                    name = f"{prefix}{number}"
                    self.snapshot(name)
                    contents[name] = self.store.run("cat", f"web@{name}", "/opened").stdout

            threads = [threading.Thread(target=settle), *(threading.Thread(target=snapshots, args=(prefix,)) for prefix in ("a", "b"))]
            for thread in threads:
                thread.start()
            for command in (("rollback", "web@a0"), ("commit", "web", "new"), ("rm", "web"), ("rename", "web", "other")):
                self.assertIn("mounted", self.store.refuses(*command))
            for thread in threads[1:]:
                thread.join()
            done.set()
            threads[0].join()
        self.assertEqual(len(contents), 2 * SNAPSHOTS)
        self.store.run("settle")
        for name, content in contents.items():
            self.assertEqual(self.store.run("cat", f"web@{name}", "/opened").stdout, content)
        with self.shown(f"a{SNAPSHOTS - 1}") as shown:
            for path in shown.glob("made*"):
                number = int(path.name.removeprefix("made"))
                self.assertEqual((path / "file").read_bytes(), b"%d" % number * 100)
        self.check_whole()

    def test_a_killed_command_leaves_nobody_stopped(self):
        with self.store.mounted("web") as mount, open(mount / "large", "w+b") as large:
            large.write(trees.noise(trees.MIB, seed=2) * 200)  # to be copied, which takes a moment
            large.flush()
            sleeper = subprocess.Popen(["sleep", "1000"], cwd=mount)
            try:
                command = subprocess.Popen([str(harness.COMMAND), "--store", str(self.store.dir), "snapshot", "--freeze", "web@one"], env=self.store.environment)
                self.wait_for(lambda: state_of(sleeper) == "T")
                command.kill()
                command.wait()
                self.wait_for(lambda: state_of(sleeper) == "S")
            finally:
                sleeper.kill()
                sleeper.wait()
        self.check_whole()

    def test_what_was_stopped_before_stays_so(self):
        with self.store.mounted("web") as mount:
            sleeper = subprocess.Popen(["sleep", "1000"], cwd=mount)
            outside = subprocess.Popen(["sleep", "1000"])
            try:
                os.kill(sleeper.pid, signal.SIGSTOP)
                self.wait_for(lambda: state_of(sleeper) == "T")
                self.snapshot("one", "--freeze")
                self.assertEqual((state_of(sleeper), state_of(outside)), ("T", "S"))
                os.kill(sleeper.pid, signal.SIGCONT)
                self.wait_for(lambda: state_of(sleeper) == "S")
                self.store.refuses("snapshot", "--freeze", "web@one")  # it goes on after an error, too
                self.wait_for(lambda: state_of(sleeper) == "S")
            finally:
                for process in (sleeper, outside):
                    process.kill()
                    process.wait()
        self.check_whole()


if __name__ == "__main__":
    harness.main()
