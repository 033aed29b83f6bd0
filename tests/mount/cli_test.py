#!/usr/bin/env python3
"""The command line against a real store: what every subcommand says, and what happens to commands and mounts when processes die."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

import harness
import trees
from harness import COMMAND, Store

harness.require_mounts()


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.tree = cls.store.scratch / "tree"
        (cls.tree / "bin").mkdir(parents=True)
        (cls.tree / "hello").write_text("hello\n")
        (cls.tree / "bin" / "tool").write_bytes(b"\x7fELF" + os.urandom(200_000))
        (cls.tree / "bin" / "tool").chmod(0o755)
        (cls.tree / "odd\nname\xff".encode("latin-1").decode("utf-8", "surrogateescape")).write_text("odd")
        os.symlink("hello", cls.tree / "link")
        cls.store.run("import", cls.tree, "first:1")
        (cls.tree / "hello").write_text("hello, world\n")
        (cls.tree / "new").write_text("new")
        (cls.tree / "link").unlink()
        cls.store.run("import", cls.tree, "first:2")

    def test_the_command_loads_neither_the_database_nor_libarchive(self):
        """Loading them takes several times as long as everything else that a short command does."""
        loaded = subprocess.run(["ldd", COMMAND], check=True, capture_output=True, text=True).stdout
        self.assertRegex(loaded, "statically linked|libc.so")  # the latter under sanitizers
        for library in ("librocksdb", "libarchive", "libzstd"):
            self.assertNotIn(library, loaded)

    def test_listings_hold_what_was_imported(self):
        self.assertEqual([image["tag"] for image in self.store.json("images")["images"] if image["name"] == "first"], ["1", "2"])
        paths = [entry["path"] for entry in self.store.json("ls", "-R", "first:1")["entries"]]
        self.assertIn("/bin/tool", paths)
        self.assertIn("hello", self.store.run("ls", "-l", "first:1").stdout.decode())
        self.assertIn("-> hello", self.store.run("ls", "-l", "first:1").stdout.decode())
        self.assertIn(b"first:1\nfirst:2\n", self.store.run("images", "--quiet").stdout)

    def test_a_name_with_control_characters_cannot_fake_a_line(self):
        lines = self.store.run("ls", "first:1").stdout.decode().splitlines()
        self.assertIn("odd\\nname\\xff", lines)

    def test_cat_prints_the_bytes(self):
        self.assertEqual(self.store.run("cat", "first:1", "/hello").stdout, b"hello\n")
        self.assertEqual(self.store.run("cat", "first:1", "link").stdout, b"hello\n")
        self.assertEqual(self.store.run("cat", "first:2", "/bin/tool").stdout, (self.tree / "bin" / "tool").read_bytes())

    def test_stat_lists_chunks_that_add_up(self):
        stat = self.store.json("stat", "--chunks", "first:1", "/bin/tool")
        self.assertEqual(sum(chunk["size"] * chunk["repeat"] for chunk in stat["chunks"]), stat["size"])
        self.assertTrue(stat["program"])

    def test_diff_names_what_changed_and_how(self):
        changes = {change["path"]: change for change in self.store.json("diff", "first:1", "first:2")["changes"]}
        self.assertEqual(changes["/new"]["change"], "added")
        self.assertEqual(changes["/link"]["change"], "removed")
        self.assertIn("content", changes["/hello"]["what"])
        self.assertNotIn("/bin/tool", changes)
        self.assertEqual(self.store.run("diff", "first:1", "first:1").stdout, b"")

    def test_history_info_and_names(self):
        self.store.run("import", self.tree, "temporary")
        self.store.run("rename", "temporary", "other:name")
        self.assertIn(str(self.tree), self.store.run("info", "other:name").stdout.decode())
        self.assertIn("first:1", self.store.refuses("rename", "other:name", "first:1"))
        self.store.run("rm", "other:name")
        self.assertEqual([event["what"] for event in self.store.json("history", "other:name")["events"]][-1], "remove")

    def test_every_maintenance_command_runs(self):
        self.assertEqual(self.store.json("fsck", "--deep")["damage"], [])
        self.store.run("tier", "warm", "first:1")
        self.assertGreaterEqual(self.store.json("tier", "status")["hot_files"], 1)
        self.store.run("tier", "pin", "first:1", "/bin")
        self.store.run("tier", "unpin", "first:1", "/bin")
        self.assertEqual(self.store.json("scrub")["damaged"], [])
        self.store.run("tier", "evict")
        self.assertIn("live_chunks", self.store.json("gc", "--dry-run"))
        self.assertIn("descriptor_limit", self.store.json("stats")["process"])
        self.assertEqual(json.loads(self.store.run("--json", "top", "--count", "1").stdout)["schema"], 1)
        self.assertEqual(self.store.json("doctor")["schema"], 1)
        self.assertIn("running", self.store.run("daemon", "status").stdout.decode())

    def test_a_second_import_reads_no_file(self):
        time.sleep(2.1)  # younger files are never taken from the stat cache
        self.store.run("import", self.tree, "again:1", "--rehash")
        again = self.store.json("import", self.tree, "again:2")
        manifests = {image["tag"]: image["manifest"] for image in self.store.json("images")["images"] if image["name"] == "again"}
        self.assertEqual(manifests["1"], manifests["2"])
        self.assertEqual(again["bytes_new"], 0)

    def test_an_exported_image_is_the_tree(self):
        target = self.store.scratch / "out.tar"
        self.store.run("export", "first:2", target)
        subprocess.run(["tar", "--compare", "-f", target, "-C", self.tree], check=True)
        self.assertEqual([path.name for path in self.store.scratch.iterdir() if "partial" in path.name], [])

    def test_excluded_paths_stay_out(self):
        self.store.run("import", self.tree, "small", "--exclude", "bin", "--exclude", "new")
        self.assertNotIn("/bin", [entry["path"] for entry in self.store.json("ls", "small")["entries"]])
        self.store.run("rm", "small")

    def test_a_reader_that_goes_away_ends_the_command(self):
        done = subprocess.run(f"'{COMMAND}' --store '{self.store.dir}' cat first:2 /bin/tool | head -c 10 | wc -c", shell=True, capture_output=True,
                              timeout=20, env=self.store.environment)
        self.assertEqual(done.stdout.strip(), b"10")


    def test_mount_8_finds_its_helper(self):
        helper = self.store.scratch / "mount.stellarium"
        helper.symlink_to(COMMAND)
        where = self.store.root / "helped"
        where.mkdir()
        call = lambda *words: subprocess.run([helper, *words], capture_output=True, env=self.store.environment)
        options = f"rw,nodev,store={self.store.dir}"
        self.assertEqual(call("ghost", where, "-o", options).returncode, 32)
        self.assertEqual(call("first:1", where, "-f", "-o", options).returncode, 0)
        self.assertEqual(os.listdir(where), [])
        # The whole store has volumes, which can be written.
        for image, shown, flags in (("first:1", where, "ro"), ("none", where / "images" / "first" / "1", "rw")):
            done = call(image, where, "-o", options)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual((shown / "hello").read_text(), "hello\n")
            self.assertIn(f"{image} {where} fuse.stellarium {flags},nodev", Path("/proc/self/mounts").read_text())
            subprocess.run(["umount", where], check=True)


class Fstab(unittest.TestCase):
    """mount(8) itself, which finds its helper in a /sbin that only these mounts see."""

    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        tree = cls.store.scratch / "tree"
        tree.mkdir()
        (tree / "hello").write_text("hello\n")
        cls.store.run("import", tree, "web:1")
        cls.store.run("clone", "web:1", "mine")
        (cls.store.scratch / "sbin").mkdir()
        (cls.store.scratch / "sbin" / "mount.stellarium").symlink_to(COMMAND.resolve())
        cls.where = cls.store.root / "where"
        cls.where.mkdir()

    def sh(self, script: str) -> subprocess.CompletedProcess:
        """Runs a script for which `$DIR` is where to mount and `$STORE` the option that names the store."""
        sbin = Path("/sbin").resolve()
        prepare = f"set -e; mount -t overlay none -o lowerdir={self.store.scratch}/sbin:{sbin} {sbin}; "
        return subprocess.run(["unshare", "--mount", "sh", "-c", prepare + script], capture_output=True, timeout=60,
                              env=self.store.environment | {"DIR": str(self.where), "STORE": f"store={self.store.dir}"})

    def mounted(self, what: str, options: str, look: str) -> list[str]:
        """The mount's flags, and what `look` says while it is there."""
        done = self.sh(f"mount -t stellarium {what} $DIR -o $STORE,{options}; findmnt -no VFS-OPTIONS $DIR; {look}; umount $DIR; ! findmnt $DIR")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        flags, *rest = done.stdout.decode().splitlines()
        return [flags, *rest]

    def test_an_image_a_clone_and_the_whole_store_are_mounted_and_unmounted(self):
        self.assertEqual(self.mounted("web:1", "defaults", "cat $DIR/hello"), ["ro,relatime", "hello"])
        self.assertEqual(self.mounted("mine", "defaults", "echo new >$DIR/new; cat $DIR/new $DIR/hello"), ["rw,relatime", "new", "hello"])
        self.assertEqual(self.mounted("none", "defaults", "cat $DIR/images/web/1/hello"), ["rw,relatime", "hello"])

    def test_options_mean_what_they_mean_for_mount(self):
        self.assertEqual(self.mounted("mine", "ro,nosuid,nodev,noexec,noatime", "touch $DIR/x 2>/dev/null || echo refused"),
                         ["ro,nosuid,nodev,noexec,noatime", "refused"])
        self.assertEqual(self.mounted("mine", "nosuid,suid,rw", ":"), ["rw,relatime"])
        self.assertEqual(self.mounted("web:1", "users", ":"), ["ro,nosuid,nodev,noexec,relatime"])
        self.assertEqual(self.mounted("web:1", "noauto,nofail,_netdev,x-systemd.automount,x-systemd.requires=stellarium.service,comment=why,no_passthrough", ":"),
                         ["ro,relatime"])

    def test_lines_of_fstab_are_mounted_by_their_directory(self):
        fstab = self.store.scratch / "fstab"
        fstab.write_text(f"mine {self.where} stellarium store={self.store.dir},nodev,nofail,x-systemd.requires=stellarium.service 0 0\n")
        done = self.sh(f"mount -T {fstab} $DIR; mount -T {fstab} -a; findmnt -no SOURCE,VFS-OPTIONS $DIR; umount $DIR")
        self.assertEqual((done.returncode, done.stderr, done.stdout.split()), (0, b"", [b"mine", b"rw,nodev,relatime"]))

    def test_what_is_wrong_is_said_in_one_line(self):
        for what, options, said in (("mine", "nosuchthing", "unknown mount option 'nosuchthing'"), ("mine", "ro,size=5", "unknown mount option 'size=5'"),
                                    ("mine", "remount", "'remount' is not possible"), ("ghost", "ro", "ghost")):
            done = self.sh(f"mount.stellarium {what} $DIR -o $STORE,{options}")
            self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (32, b"", 1), done.stderr)
            self.assertIn(said, done.stderr.decode())
            self.assertNotEqual(self.sh(f"mount -t stellarium {what} $DIR -o $STORE,{options}").returncode, 0)
        self.assertEqual(os.listdir(self.where), [])


class Dying(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.tree = cls.store.scratch / "tree"
        for folder in range(20):
            (cls.tree / str(folder)).mkdir(parents=True)
            for number in range(20):
                (cls.tree / str(folder) / str(number)).write_bytes(os.urandom(1000 * number + 17))
        cls.store.run("import", cls.tree, "image")

    def test_readers_do_not_notice_a_killed_server(self):
        expected = trees.snapshot(self.tree)
        wrong = []
        with self.store.mounted("image") as mount:
            def read():
                for _ in range(6):
                    if difference := harness.first_difference(expected, trees.snapshot(mount)):
                        wrong.append(difference)
            readers = [threading.Thread(target=read) for _ in range(3)]
            for reader in readers:
                reader.start()
            killed = set()
            while any(reader.is_alive() for reader in readers):
                pid = self.store.server()
                if pid not in killed and len(killed) < 5:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                time.sleep(0.1)
            for reader in readers:
                reader.join()
        self.assertEqual(wrong, [])
        self.assertGreaterEqual(len(killed), 1)

    def test_restart_and_upgrade_keep_mounts(self):
        with self.store.mounted("image") as mount:
            keeper = self.store.processes("keeper")
            for action in ("restart", "upgrade"):
                before = self.store.server()
                self.store.run("daemon", action)
                self.assertNotEqual(self.store.server(), before)
                self.assertEqual(harness.first_difference(trees.snapshot(self.tree), trees.snapshot(mount)), "")
            self.assertEqual(self.store.processes("keeper"), keeper)

    def test_stop_refuses_while_something_is_mounted(self):
        with self.store.mounted("image") as mount:
            self.assertIn(str(mount), self.store.refuses("daemon", "stop"))
        self.store.stop()
        self.store.wait_until_gone()
        self.assertEqual(self.store.json("daemon", "status")["running"], False)
        self.store.run("images")

    def test_stop_waits_for_what_was_unmounted_just_before(self):
        with contextlib.ExitStack() as mounts:
            for _ in range(40):
                mounts.enter_context(self.store.mounted("image"))
            server = self.store.server()
            os.kill(server, signal.SIGSTOP)  # it hears of all that follows at once
        with subprocess.Popen([COMMAND, "--store", self.store.dir, "daemon", "stop"], stderr=subprocess.PIPE, env=self.store.environment) as stop:
            time.sleep(0.1)
            os.kill(server, signal.SIGCONT)
            self.assertEqual(stop.communicate(timeout=60)[1], b"")
        self.assertEqual(stop.returncode, 0)

    def test_an_interrupted_import_leaves_nothing(self):
        big = self.store.scratch / "big"
        big.mkdir(exist_ok=True)
        with open(big / "data", "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        for number in (signal.SIGINT, signal.SIGKILL):
            command = subprocess.Popen([COMMAND, "--store", self.store.dir, "import", big, "half"], env=self.store.environment, stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            command.send_signal(number)
            self.assertNotEqual(command.wait(timeout=20), 0)
            self.assertEqual([image["name"] for image in self.store.json("images")["images"]], ["image"])
        self.assertEqual(self.store.json("fsck")["damage"], [])

    def test_a_lost_database_is_rebuilt(self):
        with Store() as store:
            store.run("import", self.tree, "image:1")
            store.run("import", self.tree, "image:2")
            store.run("rm", "image:2")
            manifest = store.json("info", "image:1")["manifest"]
            store.stop()
            os.rename(store.dir / "db", store.dir / "gone")
            self.assertIn("fsck --repair", store.refuses("images"))
            store.run("fsck", "--repair", expect=1)
            self.assertEqual(store.json("info", "image:1")["manifest"], manifest)
            self.assertEqual(len(store.json("images")["images"]), 1)
            store.run("fsck", "--deep")
            with store.mounted("image:1") as mount:
                self.assertEqual(harness.first_difference(trees.snapshot(self.tree), trees.snapshot(mount)), "")

    def test_a_rebuilt_database_leaves_what_was_written_in_clones_aside(self):
        with Store() as store:
            store.run("import", self.tree, "image")
            store.run("clone", "image", "web")
            with store.mounted("web") as mount:
                (mount / "written").write_bytes(b"by hand")
            store.stop()
            os.rename(store.dir / "db", store.dir / "gone")
            store.refuses("images")
            lost = store.json("fsck", "--repair", expect=4)["lost"]
            self.assertEqual([line.partition(",")[0] for line in lost], ["clone web"])
            store.run("clone", "image", "web")
            self.assertEqual([file.read_bytes() for file in (store.dir / "staged.damaged").glob("*/*")], [b"by hand"])

    def test_damaged_contents_are_mended_from_hot_files_and_from_a_new_import(self):
        with Store() as store:
            tree = store.scratch / "damaged"
            (tree / "hot").mkdir(parents=True)
            (tree / "cold").mkdir()
            for number in range(6):
                trees.write(tree / ("hot" if number % 2 else "cold") / f"{number}", trees.noise(300_000, seed=number), 0o755)
            expected = trees.snapshot(tree)
            store.run("import", tree, "image")
            store.run("tier", "warm", "image", "/hot")
            store.stop()
            for segment in (store.dir / "segments").iterdir():
                with open(segment, "r+b") as file:
                    for at in range(100_000, segment.stat().st_size, 250_000):
                        file.seek(at)
                        byte = file.read(1)
                        file.seek(at)
                        file.write(bytes([byte[0] ^ 4]))
            lost = store.json("fsck", "--deep", expect=4)["files"]
            self.assertEqual({entry["path"].split("/")[1] for entry in lost}, {"hot", "cold"})
            mended = store.json("fsck", "--repair", expect=4)
            self.assertGreater(mended["repaired"]["restored_chunks"], 0)
            self.assertGreater(mended["repaired"]["lost_chunks"], 0)
            self.assertEqual({entry["path"].split("/")[1] for entry in mended["files"]}, {"cold"})
            store.run("import", "--rehash", tree, "again")
            store.run("fsck", "--deep")
            store.run("gc")
            store.run("fsck", "--deep")
            store.run("tier", "evict")
            trees.drop_caches()
            with store.mounted("image") as mount:
                self.assertEqual(harness.first_difference(expected, trees.snapshot(mount)), "")

    def test_a_damaged_layer_object_is_written_again_from_the_database(self):
        with Store() as store:
            tree = store.scratch / "names"
            tree.mkdir()
            for number in range(4000):
                (tree / f"{trees.noise(80, seed=number).hex()}").touch()
            store.run("import", tree, "image")
            manifest = store.json("info", "image")["manifest"]
            store.stop()
            segment = next((store.dir / "segments").iterdir())  # files of 0 bytes: nothing but the layer object is in it
            with open(segment, "r+b") as file:
                file.seek(segment.stat().st_size // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 4]))
            self.assertIn(b"layer object", store.run("fsck", "--deep", expect=4).stdout)
            self.assertEqual(store.json("fsck", "--repair", expect=1)["repaired"]["lost_chunks"], 0)
            store.run("fsck", "--deep")
            store.stop()
            os.rename(store.dir / "db", store.dir / "gone")
            store.run("fsck", "--repair", expect=1)
            self.assertEqual(store.json("info", "image")["manifest"], manifest)

    def test_a_names_journal_that_is_none_any_more_is_written_anew(self):
        with Store() as store:
            store.run("import", self.tree, "image:1")
            store.run("import", self.tree, "image:2")
            before = store.json("images")["images"]
            store.stop()
            with open(store.dir / "names.journal", "r+b") as file:
                file.write(b"X")
            self.assertIn("fsck --repair", store.refuses("images"))
            store.run("fsck", "--repair", expect=1)
            self.assertEqual(store.json("images")["images"], before)
            store.run("rm", "image:2")
            store.stop()
            os.rename(store.dir / "db", store.dir / "gone")
            store.run("fsck", "--repair", expect=1)  # the new journal is enough to rebuild from
            self.assertEqual(store.json("images")["images"], before[:1])

    def test_two_commands_at_once_start_one_daemon(self):
        with Store() as store:
            commands = [subprocess.Popen([COMMAND, "--store", store.dir, "daemon", "start"], stdout=subprocess.DEVNULL, env=store.environment)
                        for _ in range(8)]
            self.assertEqual([command.wait(timeout=30) for command in commands], [0] * 8)
            self.assertEqual(len(store.processes("keeper")), 1)
            self.assertEqual(len(store.processes("server")), 1)


if harness.SANITIZED:
    class Sanitizers(unittest.TestCase):
        def test_a_report_from_a_server_fails_the_test(self):
            with self.assertRaisesRegex(harness.Failed, "SEGV"):
                with Store() as store:
                    store.run("daemon", "start")
                    pid = store.server()
                    os.kill(pid, signal.SIGSEGV)
                    deadline = time.monotonic() + 20
                    while pid in store.processes("server") and time.monotonic() < deadline:
                        time.sleep(0.02)


class Speed(unittest.TestCase):
    def test_a_mount_answers_within_ten_milliseconds(self):
        with Store() as store:
            tree = store.scratch / "tree"
            tree.mkdir()
            (tree / "file").write_text("x")
            store.run("import", tree, "image")
            times = []
            for _ in range(10):
                where = Path(store.root / "where")
                where.mkdir(exist_ok=True)
                began = time.perf_counter()
                store.run("mount", "image", where)
                os.stat(where / "file")
                times.append(time.perf_counter() - began)
                store.run("umount", where)
            print(f"mount and first stat: best {min(times) * 1000:.1f} ms, median {sorted(times)[5] * 1000:.1f} ms")
            if not harness.SANITIZED:
                self.assertLess(min(times), 0.010 * 2)  # the process that starts it is Python


if __name__ == "__main__":
    harness.main()
