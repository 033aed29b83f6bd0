#!/usr/bin/env python3
"""What the serving process has given up, as the kernel says, and that everything goes on working without it."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import harness
import oci_images
import trees
from harness import Store

harness.require_mounts()

NEEDED = {7: "setuid", 14: "ipc_lock", 21: "sys_admin", 24: "sys_resource"}
NAMESPACES = ("mnt", "net", "pid")
NOBODY = 65534


def status(pid: int, thread: int | None = None) -> dict[str, str]:
    folder = Path("/proc") / str(pid) / ("" if thread is None else f"task/{thread}")
    return dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)


def capabilities(text: str) -> set[int]:
    return {bit for bit in range(64) if int(text, 16) >> bit & 1}


def namespace(pid: int | str, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{name}")


def processes_in(pid_namespace: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if namespace(entry.name, "pid") == pid_namespace:
                    found.append(int(entry.name))
    return found


class InForce(unittest.TestCase):
    def setUp(self):
        self.store = Store().__enter__()
        self.addCleanup(self.store.__exit__)
        self.store.run("daemon", "start")
        self.server = self.store.server()

    def test_no_thread_has_a_capability_more_than_it_needs_and_none_can_come_back(self):
        image = self.store.scratch / "image"
        image.mkdir()
        trees.write(image / "file", trees.noise(100_000, seed=1))
        self.store.run("import", image, "base")  # workers of all kinds have been started then
        threads = [int(entry.name) for entry in Path(f"/proc/{self.server}/task").iterdir()]
        self.assertGreater(len(threads), 3)
        for thread in threads:
            try:
                of = status(self.server, thread)
            except FileNotFoundError:
                continue  # it ended just now
            self.assertLessEqual(capabilities(of["CapPrm"]), set(NEEDED), of["Name"])
            self.assertLessEqual(capabilities(of["CapEff"]), set(NEEDED), of["Name"])
            for empty in ("CapInh", "CapBnd", "CapAmb"):
                self.assertEqual(capabilities(of[empty]), set(), f"{of['Name']}: {empty}")
            self.assertEqual((of["NoNewPrivs"], of["Seccomp"]), ("1", "2"), of["Name"])

    def test_its_mounts_processes_and_network_are_its_own(self):
        for name in NAMESPACES:
            self.assertNotEqual(namespace(self.server, name), namespace("self", name), name)
        self.assertEqual(status(self.server)["NSpid"].split(), [str(self.server), "2"])
        links = subprocess.check_output(["nsenter", "-t", str(self.server), "-n", "cat", "/proc/self/net/dev"], text=True)
        self.assertEqual([line.split(":")[0].strip() for line in links.splitlines()[2:]], ["lo"])

    def test_it_sees_the_store_and_nothing_of_the_host(self):
        root = Path(f"/proc/{self.server}/root")
        first = self.store.dir.resolve().parts[1]
        self.assertEqual(set(os.listdir(root)), {"proc", "sys", "dev", first})
        self.assertEqual(os.listdir(root / "dev"), [name for name in ("cpu_dma_latency",) if Path("/dev", name).exists()])
        # Of the host's processes, too: only its namespace's first one, and itself.
        self.assertEqual({name for name in os.listdir(root / "proc") if name.isdigit()}, {"1", "2"})
        folder = root
        for part in self.store.dir.resolve().parts[1:]:
            self.assertEqual(set(os.listdir(folder)) & {part}, {part})
            if folder != root:
                self.assertEqual(os.listdir(folder), [part])
            folder = folder / part
        self.assertEqual(set(os.listdir(folder)), set(os.listdir(self.store.dir)))

    def test_what_the_daemon_says_of_itself_is_what_the_host_calls_it(self):
        said = self.store.json("daemon", "status")
        self.assertEqual(said["pid"], self.server)
        self.assertEqual(said["keeper_pid"], self.store.processes("keeper")[0])
        self.assertEqual(said["sandbox"]["missing"], [])
        self.assertEqual(len(said["sandbox"]["in_force"]), 6)
        [line] = [check for check in self.store.json("doctor")["checks"] if check["what"] == "sandbox"]
        self.assertEqual(line["state"], "ok")

    def test_nothing_that_the_host_unmounts_is_kept_by_it(self):
        with tempfile.TemporaryDirectory(dir=self.store.root) as folder:
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
            try:
                self.store.run("daemon", "restart")  # a server that starts while it is mounted
                self.assertNotIn(folder, Path(f"/proc/{self.store.server()}/mountinfo").read_text())
            finally:
                subprocess.run(["umount", folder], check=True)

    def test_its_pid_namespace_ends_with_it_even_without_a_keeper(self):
        space = namespace(self.server, "pid")
        self.assertEqual(len(processes_in(space)), 2)
        for pid in (*self.store.processes("keeper"), self.server):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while processes_in(space):
            self.assertLess(time.monotonic(), deadline, "the first process of the namespace goes on")
            time.sleep(0.01)

    def test_the_next_servers_are_as_shut_in_and_nothing_piles_up(self):
        for _ in range(3):
            space = namespace(self.store.server(), "pid")
            self.store.run("daemon", "restart")
            self.assertEqual(processes_in(space), [])
        self.store.run("daemon", "upgrade")
        server = self.store.server()
        for name in NAMESPACES:
            self.assertNotEqual(namespace(server, name), namespace("self", name), name)
        [keeper] = self.store.processes("keeper")
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        self.assertEqual(len(children), 2, "the server, and the first process of its namespace")
        self.assertEqual(namespace(keeper, "pid_for_children"), namespace("self", "pid"))


class GoesOn(unittest.TestCase):
    """What reaches the most of the kernel. That nothing was refused, Store.__exit__ asserts of every test."""

    def setUp(self):
        self.store = Store().__enter__()
        self.addCleanup(self.store.__exit__)
        self.store.environment["STELLARIUM_CONFIG"] = str(self.store.scratch / "config")  # the keeper's, too
        image = self.store.scratch / "image"
        image.mkdir()
        shutil.copy("/bin/cat", image / "cat")
        trees.write(image / "large", trees.noise(3 * trees.MIB, seed=1))
        trees.write(image / "small", b"small")
        self.store.run("import", image, "base")

    def test_programs_and_files_of_images_and_clones_across_restarts(self):
        self.store.run("clone", "base", "web")
        with self.store.mounted("base") as image, self.store.mounted("web") as clone:
            shutil.copy("/bin/echo", clone / "echo")
            trees.write(clone / "staged", trees.noise(trees.MIB, seed=2))
            with open(clone / "staged", "r+b") as held, subprocess.Popen([image / "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
                for again in ("restart", "restart", "upgrade"):
                    self.store.run("daemon", again)
                    # Opened by way of an id that an earlier server made, in mounts that are no more.
                    self.assertEqual(subprocess.check_output([image / "cat", image / "small"]), b"small")
                    self.assertEqual(subprocess.check_output([clone / "cat", clone / "small"]), b"small")
                    self.assertEqual(subprocess.check_output([clone / "echo", "written"]), b"written\n")
                    held.seek(0)
                    held.write(again.encode())
                    held.flush()
                    os.fsync(held.fileno())
                    self.assertTrue((clone / "staged").read_bytes().startswith(again.encode()))
                program.stdin.write(b"still here")
                program.stdin.close()
                self.assertEqual(program.stdout.read(), b"still here")
            os.rename(clone / "staged", clone / "moved")
            os.truncate(clone / "moved", 5)
            self.store.run("snapshot", "web@one")
            self.store.run("tier", "evict")
            self.assertEqual((image / "large").read_bytes(), trees.noise(3 * trees.MIB, seed=1))

    def test_every_command_that_works_on_the_store_itself(self):
        run = self.store.run
        run("clone", "base", "web", "--quota", 64 * trees.MIB)
        run("volume", "create", "disk", "--size", "16M")
        run("volume", "clone", "disk", "copy")
        with self.store.mounted("web") as clone, self.store.mounted() as whole:
            trees.write(clone / "new", trees.noise(trees.MIB, seed=4))
            with open(whole / "volumes" / "disk.img", "r+b") as disk:
                disk.write(b"bytes of a volume")
                os.fsync(disk.fileno())
            run("settle", "web")
            run("quota", "web", 32 * trees.MIB)
        archive = self.store.scratch / "image.tar.xz"
        subprocess.run(["tar", "-C", self.store.scratch / "image", "-cJf", archive, "."], check=True)
        run("import", archive, "packed")
        run("export", "base", self.store.scratch / "base.tar")
        for command in (("snapshot", "web@one"), ("rollback", "web@one"), ("commit", "web", "made:1"), ("rename", "made:1", "made:2"), ("images",),
                        ("clones",), ("info", "web"), ("ls", "-lR", "made:2"), ("stat", "--chunks", "made:2", "/new"), ("diff", "base", "made:2"),
                        ("history", "made:2"), ("volume", "export", "copy", self.store.scratch / "disk"), ("volume", "map", "disk")):
            run(*command)
        self.assertEqual(run("cat", "made:2", "/new").stdout, trees.noise(trees.MIB, seed=4))
        remote = self.store.scratch / "remote"
        run("publish", "made:2", remote)
        key = self.store.json("remote", "key")["key"]
        run("rm", "made:2", "web@one", "web")
        run("gc")
        run("pull", f"{remote}/made:2", "--trust", key, "--lazy-only")  # what is read comes by way of the keeper
        self.assertEqual(run("cat", "made:2", "/new").stdout, trees.noise(trees.MIB, seed=4))
        self.assertIn("has not arrived completely", self.store.refuses("publish", "made:2", remote))
        run("pull", f"{remote}/made:2", "whole:1", "--trust", key, "--full")
        run("publish", "made:2", remote)
        layers = oci_images.Image(oci_images.Layer().file("f", trees.noise(100_000, 5)).bytes())
        run("import", oci_images.layout_of(self.store.scratch / "layout", layers), "oci:1", "--oci", "equivalent")
        run("export", "--oci", "oci:1", self.store.scratch / "layout-again")
        run("rename", "oci:1", "oci:2")
        run("rm", "oci:2")
        for command in (("stats",), ("gc",), ("scrub",), ("fsck", "--deep"), ("fsck", "--repair"), ("tier", "status"), ("rm", "packed"), ("gc",)):
            run(*command)

    def test_a_lost_database_is_built_again(self):
        self.store.stop()
        self.store.wait_until_gone()
        shutil.rmtree(self.store.dir / "db")
        self.store.run("fsck", "--repair", expect=1)
        with self.store.mounted("base") as mount:
            self.assertEqual((mount / "small").read_bytes(), b"small")

    def test_a_part_of_the_store_that_was_moved_to_another_disk(self):
        self.store.stop()
        self.store.wait_until_gone()
        for part in ("segments", "hot"):
            shutil.move(self.store.dir / part, self.store.root / f"elsewhere-{part}")
            (self.store.dir / part).symlink_to(self.store.root / f"elsewhere-{part}")
        self.store.run("clone", "base", "web")
        with self.store.mounted("base") as image, self.store.mounted("web") as clone:
            self.assertEqual((image / "large").read_bytes(), trees.noise(3 * trees.MIB, seed=1))
            self.assertEqual(subprocess.check_output([image / "cat", image / "small"]), b"small")
            trees.write(clone / "new", trees.noise(trees.MIB, seed=4))
            self.store.run("settle", "web")

    def test_a_store_reached_through_a_symlink(self):
        self.store.stop()
        link = self.store.root / "link"
        link.symlink_to(self.store.dir)
        subprocess.run([harness.COMMAND, "--store", link, "images"], check=True, stdout=subprocess.DEVNULL, env=self.store.environment)


class Without(unittest.TestCase):
    def test_it_can_be_switched_off_to_look_for_a_fault(self):
        with Store() as store:
            store.environment["STELLARIUM_SANDBOX"] = "none"
            store.run("daemon", "start")
            server = store.server()
            for name in NAMESPACES:
                self.assertEqual(namespace(server, name), namespace("self", name))
            for line in ("Seccomp", "NoNewPrivs", "CapBnd", "CapEff"):
                self.assertEqual(status(server)[line], status(os.getpid())[line])
            self.assertEqual(store.json("daemon", "status")["sandbox"]["in_force"], [])

    def test_single_layers_can_be_chosen(self):
        with Store() as store:
            store.environment["STELLARIUM_SANDBOX"] = "seccomp,network"
            store.run("daemon", "start")
            self.assertEqual(store.json("daemon", "status")["sandbox"]["in_force"], ["network namespace", "seccomp"])

    def test_an_ordinary_users_server_has_what_needs_no_privilege(self):
        with Store() as store:
            os.chmod(store.root, 0o755)
            store.dir.mkdir()
            os.chown(store.dir, NOBODY, NOBODY)
            as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
            store.run("daemon", "start", **as_nobody)
            said = store.json("daemon", "status", **as_nobody)["sandbox"]
            of = status(store.server())
            self.assertEqual((of["NoNewPrivs"], of["Seccomp"]), ("1", "2"))
            self.assertEqual(capabilities(of["CapPrm"]), set())
            self.assertIn("seccomp", said["in_force"])
            self.assertTrue(any(part.startswith("network: ") for part in said["missing"]), said)
            image = store.scratch / "image"
            image.mkdir()
            trees.write(image / "file", b"of nobody")
            os.chmod(store.scratch, 0o755)
            store.run("import", image, "base", **as_nobody)
            self.assertEqual(store.run("cat", "base", "/file", **as_nobody).stdout, b"of nobody")
            store.run("daemon", "stop", **as_nobody)


if __name__ == "__main__":
    if harness.SANITIZED:
        del InForce  # such a build has neither mounts nor processes of its own (docs/sandbox.md)
    harness.main()
