#!/usr/bin/env python3
"""Images published to a folder and pulled from it: the same trees, names that somebody vouches for, wrong bytes, and processes that
are killed in the middle."""
import contextlib
import filecmp
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

import ed25519
import harness
import trees
from harness import Store

harness.require_mounts()
KILLS = int(os.environ.get("STELLARIUM_KILLS", "20"))  # a third each of commands, servers and transports


class PullingStore(Store):
    """A store whose command has a configuration of its own: nothing is trusted, nothing was seen."""

    def __init__(self):
        super().__init__()
        self.config = self.root / "config"
        self.environment["STELLARIUM_CONFIG"] = str(self.config)

    def images(self) -> list[str]:
        if not self.dir.exists():
            return []  # the first pull makes it, once it knows what to pull
        return sorted(f"{image['name']}:{image['tag']}" for image in self.json("images")["images"])

    def export(self, name: str) -> bytes:
        return self.run("export", name, "-").stdout


def build_tree(root: Path) -> None:
    trees.every_kind(root, large=False)
    for number in range(300):
        size = random.Random(number).choice([100, 2_000, 15_000, 40_000, 120_000])
        make = trees.noise if number % 3 == 0 else trees.text
        trees.write(root / f"f{number}", make(size, number), 0o755 if number % 10 == 0 else 0o644)


class Distribution(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = cls.enterClassContext(PullingStore())
        tree = cls.origin.scratch / "tree"
        build_tree(tree)
        cls.origin.run("import", tree, "app:1")
        trees.write(tree / "added", trees.noise(250_000, 999))
        (tree / "f7").unlink()
        cls.origin.run("import", tree, "app:2")
        cls.www = cls.origin.scratch / "www"
        cls.manifests = {tag: cls.publish(f"app:{tag}", cls.www) for tag in ("1", "2")}
        cls.exports = {tag: cls.origin.export(f"app:{tag}") for tag in ("1", "2")}
        cls.key = cls.origin.run("remote", "key").stdout.decode().strip()
        cls.seed = bytes.fromhex((cls.origin.config / "default.key").read_text().split()[2])

    @classmethod
    def publish(cls, *args) -> str:
        """The manifest's id."""
        return cls.origin.run("publish", *args).stdout.decode().strip()

    @contextlib.contextmanager
    def copy(self):
        """A copy of the remote that a test may damage, and an empty store."""
        with PullingStore() as store:
            www = store.scratch / "www"
            shutil.copytree(self.www, www)
            yield www, store

    def pull(self, store: Store, www: Path, name: str = "app:1", *args):
        return store.run("pull", "--full", "--trust", self.key, f"{www}/{name}", *args)

    def refuses_to_pull(self, store: Store, www: Path, name: str = "app:1", *args) -> str:
        """One line, and nothing is there afterwards that was not before."""
        before = store.images()
        line = store.refuses("pull", "--full", "--trust", self.key, f"{www}/{name}", *args)
        self.assertEqual(store.images(), before)
        if store.dir.exists():
            store.run("fsck", "--deep")
        return line

    def record(self, **changes) -> bytes:
        """A record of app:1 as `publish` makes it, signed by the publisher, with some lines otherwise."""
        now = int(time.time())
        lines = {"repository": "default", "name": "app:1", "manifest": self.manifests["1"], "revision": 1,
                 "not-before": now - 86_400, "expires": 0, "key": self.key} | {key.replace("_", "-"): value for key, value in changes.items()}
        text = "stellarium-name 1\n" + "".join(f"{key}: {value}\n" for key, value in lines.items())
        return f"{text}signature: {ed25519.sign(self.seed, text.encode()).hex()}\n".encode()

    # The same trees

    def test_an_empty_store_pulls_the_same_trees(self):
        with PullingStore() as store:
            first = self.json_of_pull(store, "app:1")
            second = self.json_of_pull(store, "app:2")
            self.assertEqual(store.images(), ["app:1", "app:2"])
            for tag in ("1", "2"):
                self.assertTrue(store.export(f"app:{tag}") == self.exports[tag], f"app:{tag} is another tree")
            self.assertLess(second["bytes_fetched"] - second["metadata_fetched"], 800_000, "only what is new, and what lies beside it")
            self.assertGreater(first["bytes_fetched"], 3_000_000)
            store.run("fsck", "--deep")
            store.stop()
            self.assertTrue(store.export("app:1") == self.exports["1"])

    def json_of_pull(self, store: Store, name: str) -> dict:
        return store.json("pull", "--full", "--trust", self.key, f"{self.www}/{name}")

    def test_a_second_publisher_makes_the_same_objects(self):
        with self.copy() as (www, store):
            self.pull(store, www)
            report = store.json("publish", "app:1", store.scratch / "again")
            self.assertEqual(report["manifest"], self.manifests["1"])
            report = store.json("publish", "app:1", www)
            self.assertEqual(report["objects_sent"], 0)

    def test_every_object_is_named_by_its_bytes(self):
        self.origin.run("import", self.www, "objects")
        objects = [path for folder in ("blobs", "manifests") for path in (self.www / folder).iterdir()]
        self.assertGreater(len(objects), 100)
        for path in objects:
            content = self.origin.json("stat", "objects", path.relative_to(self.www))["content"]
            self.assertEqual(path.name.removesuffix(".json"), content)
        self.origin.run("rm", "objects")

    def test_a_tree_that_is_there_gets_one_more_name(self):
        with PullingStore() as store:
            self.pull(store, self.www)
            report = store.json("pull", "--full", "--trust", self.key, f"{self.www}/app:1", "other:name")
            self.assertLess(report["bytes_fetched"], 100_000)
            self.assertEqual(store.images(), ["app:1", "other:name"])

    def test_a_manifest_is_pulled_by_its_id_without_a_signature(self):
        with PullingStore() as store:
            self.assertIn("has no name", store.refuses("pull", "--full", f"{self.www}@{self.manifests['1']}"))
            store.run("pull", "--full", f"{self.www}@{self.manifests['1']}", "pinned:1")
            self.assertTrue(store.export("pinned:1") == self.exports["1"])
            self.assertIn("0" * 64, store.refuses("pull", "--full", f"{self.www}@{'0' * 64}", "none"))

    def test_gc_takes_nothing_from_a_pull(self):
        with PullingStore() as store:
            self.pull(store, self.www, "app:2")
            ended = threading.Event()

            def collect():
                while not ended.is_set():
                    store.run("gc", "--quiet")

            collecting = threading.Thread(target=collect)
            collecting.start()
            try:
                for _ in range(6):  # with what the removed ones had in common with it, or not any more
                    self.pull(store, self.www, "app:1")
                    self.assertTrue(store.export("app:1") == self.exports["1"])
                    store.run("rm", "app:1")
            finally:
                ended.set()
                collecting.join()
            store.run("fsck", "--deep")
            self.assertTrue(store.export("app:2") == self.exports["2"])

    # Names

    def test_a_key_that_nobody_trusts_is_refused(self):
        with PullingStore() as store:
            line = store.refuses("pull", "--full", f"{self.www}/app:1")
            self.assertIn(self.key, line)
            self.assertIn("not trusted", line)
            other = "ed25519:" + ed25519.public_key(bytes(32)).hex()
            self.assertIn("not trusted", store.refuses("pull", "--full", "--trust", other, f"{self.www}/app:1"))
            self.assertEqual(store.images(), [])

    def test_a_remote_remembers_whom_to_trust(self):
        with PullingStore() as store:
            store.run("remote", "add", "ours", self.www)
            self.assertIn("'stellarium remote trust ours", store.refuses("pull", "--full", "ours/app:1"))
            store.run("remote", "trust", "ours", self.key)
            store.run("pull", "--full", "ours/app:1")
            self.assertEqual(store.images(), ["app:1"])
            store.run("remote", "trust", "ours", "ed25519:" + "0" * 63 + "1")
            self.assertIn("not trusted", store.refuses("pull", "--full", "ours/app:2"))

    def test_an_older_revision_is_refused(self):
        with self.copy() as (www, store):
            old = (www / "names/app/1").read_bytes()
            (www / "names/app/1").write_bytes(self.record(revision=7, manifest=self.manifests["2"]))
            self.pull(store, www)
            self.assertTrue(store.export("app:1") == self.exports["2"])
            (www / "names/app/1").write_bytes(old)
            self.assertIn("older than 7", self.refuses_to_pull(store, www))
            (www / "names/app/1").write_bytes(self.record(revision=7))
            self.assertIn("another manifest", self.refuses_to_pull(store, www))
            (www / "names/app/1").write_bytes(self.record(revision=8))
            self.pull(store, www)
            self.assertTrue(store.export("app:1") == self.exports["1"])

    def test_a_name_that_does_not_count_is_refused(self):
        now = int(time.time())
        with self.copy() as (www, store):
            store.run("remote", "add", "ours", www, "--repository", "ours")
            store.run("remote", "trust", "ours", self.key)
            self.assertIn("repository default, expected ours", store.refuses("pull", "--full", "ours/app:1"))
            for changes, why in (({"expires": now - 10}, "expired"), ({"not_before": now + 5000}, "clock"), ({"name": "app:2"}, "that of app:2"),
                                 ({"revision": 0}, "malformed"), ({"revision": 1 << 63}, "malformed"), ({"manifest": "0" * 63}, "malformed"),
                                 ({"expires": "+0"}, "malformed"), ({"revision": "01"}, "one form")):
                (www / "names/app/1").write_bytes(self.record(**changes))
                self.assertIn(why, self.refuses_to_pull(store, www))
            (www / "names/app/1").write_bytes(self.record(repository="ours"))
            store.run("pull", "--full", "ours/app:1")

    def test_a_publish_follows_the_record_that_is_there(self):
        with self.copy() as (www, store):
            (www / "names/app/1").write_bytes(self.record(revision=41, repository="ours"))
            self.publish("app:1", www)
            text = (www / "names/app/1").read_text()
            self.assertIn("revision: 42\n", text)
            self.assertIn("repository: ours\n", text)
            # One that others have signed says nothing of what we sign.
            stranger = store.scratch / "stranger.key"
            store.run("remote", "key", stranger)
            self.origin.run("publish", "app:1", www, "--key", stranger)
            text = (www / "names/app/1").read_text()
            self.assertIn("revision: 43\n", text)
            self.assertIn("repository: default\n", text)

    # Wrong bytes

    def objects(self, manifest: str) -> dict[str, Path]:
        """One of each kind that a pull reads, by path."""
        whole = json.loads((self.www / "manifests" / f"{manifest}.json").read_text())
        return {"manifest": Path("manifests") / f"{manifest}.json", "metadata": Path("blobs") / whole["metadata"]["id"],
                "bundle": Path("blobs") / whole["bundles"][0][0]}

    def test_wrong_bytes_are_refused_and_named(self):
        with self.copy() as (www, store):
            for kind, path in self.objects(self.manifests["1"]).items():
                whole = (www / path).read_bytes()
                damaged = {"flipped": bytearray(whole), "cut": whole[:len(whole) // 2], "empty": b"", "longer": whole + b"x", "other": os.urandom(len(whole))}
                damaged["flipped"][len(whole) // 3] ^= 4
                for how, bytes_now in damaged.items():
                    (www / path).write_bytes(bytes_now)
                    if how == "longer" and kind != "manifest":
                        continue  # nothing of it is asked for
                    with self.subTest(kind, how=how):
                        self.assertIn(path.name.removesuffix(".json"), self.refuses_to_pull(store, www))
                (www / path).unlink()
                self.assertIn(path.name.removesuffix(".json"), self.refuses_to_pull(store, www))
                (www / path).write_bytes(whole)
            self.pull(store, www)
            self.assertTrue(store.export("app:1") == self.exports["1"])

    def test_a_changed_record_is_refused(self):
        with self.copy() as (www, store):
            whole = (www / "names/app/1").read_bytes()
            for at in random.Random(1).sample(range(len(whole)), 20):
                changed = bytearray(whole)
                changed[at] ^= 1
                (www / "names/app/1").write_bytes(changed)
                self.assertIn("name", self.refuses_to_pull(store, www))
            for junk in (b"", b"\0" * 2048, b"x" * 5000):
                (www / "names/app/1").write_bytes(junk)
                self.refuses_to_pull(store, www)
            (www / "names/app/1").unlink()
            self.assertIn("has no image app:1", self.refuses_to_pull(store, www))

    def test_an_object_that_was_cut_off_is_published_again(self):
        with self.copy() as (www, store):
            bundle = www / self.objects(self.manifests["1"])["bundle"]
            os.truncate(bundle, 1000)
            self.refuses_to_pull(store, www)
            self.publish("app:1", www)
            self.pull(store, www)

    # Kills

    def start(self, store: Store, *args) -> subprocess.Popen:
        return subprocess.Popen([harness.COMMAND, "--store", store.dir, *map(str, args)], env=store.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def kill(self, store: Store, victim: str, command: subprocess.Popen) -> None:
        """With SIGKILL, if it runs."""
        pids = {"command": lambda: [command.pid] if command.poll() is None else [], "server": lambda: store.processes("server"),
                "transport": lambda: transports_of(command.pid)}[victim]()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def killed(self, store: Store, number: int, seconds: float, *args) -> bool:
        """Runs a command of which something is killed at a moment of the time that it takes undisturbed; whether that ended it. Who is
        left says why."""
        victim = ("command", "server", "transport")[number % 3]
        command = self.start(store, *args)
        time.sleep(random.Random(number).uniform(0, seconds))
        self.kill(store, victim, command)
        _, said = command.communicate(timeout=60)
        if command.returncode > 0:
            self.assertRegex(said, r"^stellarium: .+\n$", f"{victim} was killed")
        return command.returncode != 0

    def test_a_publish_that_is_killed_goes_on_when_it_is_run_again(self):
        began = time.monotonic()
        self.publish("app:2", self.origin.scratch / "undisturbed")
        seconds = time.monotonic() - began
        ended = 0
        for number in range(KILLS // 2):
            with self.subTest(number=number):
                target = self.origin.scratch / f"target-{number}"
                ended += self.killed(self.origin, number, seconds, "publish", "app:2", target)
                if (target / "names/app/2").exists():
                    self.assert_complete(target)
                self.publish("app:2", target)
                self.assert_complete(target)
                shutil.rmtree(target)
        self.assertGreater(ended, KILLS // 8, "too few kills came in time to say anything")

    def test_an_interrupted_command_leaves_nothing_half_made(self):
        for number in range(6):
            with PullingStore() as store:
                store.run("daemon", "start")
                target = store.scratch / "target"
                publishing = self.start(self.origin, "publish", "app:1", target)
                pulling = self.start(store, "pull", "--full", "--trust", self.key, f"{self.www}/app:1")
                time.sleep(random.Random(number).uniform(0.005, 0.08))
                for command in (publishing, pulling):
                    command.send_signal(signal.SIGINT)
                for command in (publishing, pulling):
                    command.communicate(timeout=60)
                    self.assertIn(command.returncode, (0, -signal.SIGINT, 128 + signal.SIGINT))
                self.assertEqual((target / "names").exists(), publishing.returncode == 0)
                if pulling.returncode == 0 or store.images():  # it may come too late
                    self.assertTrue(store.export("app:1") == self.exports["1"])

    def test_a_transport_that_hangs_goes_with_its_command(self):
        with PullingStore() as store:
            store.run("daemon", "start")
            command = self.start(store, "pull", "--full", "--trust", self.key, f"{self.www}/app:1")
            while not (pids := transports_of(command.pid)) and command.poll() is None:
                time.sleep(0.001)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            command.kill()
            command.communicate(timeout=60)
            deadline = time.monotonic() + 10
            while any(Path(f"/proc/{pid}").exists() for pid in pids):
                self.assertLess(time.monotonic(), deadline, "the transport is still there")
                time.sleep(0.01)
            self.pull(store, self.www)  # the server is not stuck

    def assert_complete(self, target: Path) -> None:
        """Every object of app:2 has the bytes that an undisturbed publish gave it."""
        names = [path.name for path in (self.origin.scratch / "undisturbed" / "blobs").iterdir()]
        _, differ, missing = filecmp.cmpfiles(self.origin.scratch / "undisturbed" / "blobs", target / "blobs", names, shallow=False)
        self.assertEqual((differ, missing), ([], []))
        self.assertTrue((target / "manifests" / f"{self.manifests['2']}.json").exists())
        self.assertIn(self.manifests["2"], (target / "names/app/2").read_text())

    def test_a_pull_that_is_killed_goes_on_when_it_is_run_again(self):
        seconds, ended = None, 0
        for number in range(KILLS - KILLS // 2):
            with self.subTest(number=number), PullingStore() as store:
                store.run("daemon", "start")
                if seconds is None:
                    began = time.monotonic()
                    self.pull(store, self.www, "app:2", "undisturbed")
                    seconds = time.monotonic() - began
                    continue
                # The transport has done its part early: the rest is the store's.
                until = seconds / 4 if number % 3 == 2 else seconds
                ended += self.killed(store, number, until, "pull", "--full", "--trust", self.key, f"{self.www}/app:2")
                if store.images():
                    self.assertTrue(store.export("app:2") == self.exports["2"])
                store.run("fsck")
                self.pull(store, self.www, "app:2")
                self.assertEqual(store.images(), ["app:2"])
                self.assertTrue(store.export("app:2") == self.exports["2"])
                store.run("fsck", "--deep")
        self.assertGreater(ended, KILLS // 8, "too few kills came in time to say anything")


def transports_of(parent: int) -> list[int]:
    """Pids of the transports that a command has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if re.search(rf"^PPid:\t{parent}$", text, re.MULTILINE) and "stellarium-tran" in text.splitlines()[0]:
                found.append(int(status.parent.name))
    return found


if __name__ == "__main__":
    harness.main()
