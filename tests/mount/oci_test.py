#!/usr/bin/env python3
"""OCI images in and out: the trees that umoci makes of them, the digests that they came with, and what is refused."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

import harness
import oci_images
import trees
from harness import Store
from oci_images import OPAQUE, Image, Layer, archive_of, digest, docker_archive, layout_of, named, write_layout

harness.require_mounts()
for PROGRAM in ("umoci", "skopeo", "zstd"):
    harness.require(shutil.which(PROGRAM) is not None, f"{PROGRAM} is missing")
KILLS = int(os.environ.get("STELLARIUM_KILLS", "20")) // 2
LARGE = trees.noise(700_000, 1)


def base() -> bytes:
    return (Layer().folder("./").folder("etc").file("etc/hosts", b"127.0.0.1\n", uid=7, gid=8).file("etc/shadow", b"x" * 200, mode=0o600)
            .folder("usr", mode=0o755).folder("usr/bin").file("usr/bin/tool", LARGE, mode=0o4755, mtime=1_500_000_000)
            .file("usr/bin/other", trees.text(90_000, 2), mode=0o755, xattrs={"user.note": "kept"}).link("usr/bin/alias", "usr/bin/tool")
            .folder("usr/share").folder("usr/share/doc").file("usr/share/doc/a", b"a" * 70).file("usr/share/doc/b", b"b" * 70)
            .folder("usr/share/gone").folder("usr/share/gone/deep").file("usr/share/gone/deep/file", b"g" * 70)
            .symlink("bin", "usr/bin").symlink("etc/link", "../usr/share/doc/a").file("becomes-folder", b"f").folder("becomes-file")
            .file("becomes-file/inside", b"i").add("dev-null", tarfile.CHRTYPE, devmajor=1, devminor=3).add("pipe", tarfile.FIFOTYPE)
            .file("n" * 120 + "/" + "m" * 120, b"long").file("first", b"1" * 80).link("second", "first").bytes())


def change() -> bytes:
    """Everything that a layer can do to what lies below it."""
    return (Layer().folder("etc", mode=0o700, uid=3).file("etc/hosts", b"changed\n").file("etc/.wh.shadow")
            .folder("usr/share/doc").file("usr/share/doc/new", b"n" * 70).file("usr/share/doc/" + OPAQUE)
            .file("usr/share/.wh.gone").folder("becomes-folder").file("becomes-folder/inside", b"i" * 70).file("becomes-file", b"now")
            .link("usr/bin/third", "usr/bin/tool").file("usr/bin/tool", b"another tool" * 10, mode=0o755).file(".wh.first")
            .file("bin/through", b"t" * 70).symlink("etc/link", "hosts").bytes())


class Images(unittest.TestCase):
    def setUp(self):
        self.store = self.enterContext(Store())
        self.scratch = self.store.scratch

    def imported(self, source: Path, name: str = "app:1", *options) -> None:
        self.store.run("import", *options, source, name)

    def unpacked(self, layout: Path, ref: str = "one") -> dict:
        """What umoci makes of it."""
        bundle = Path(tempfile.mkdtemp(dir=self.scratch)) / "bundle"
        subprocess.run(["umoci", "unpack", "--image", f"{layout}:{ref}", bundle], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return trees.snapshot(bundle / "rootfs")

    def assert_as_umoci(self, layout: Path, name: str = "app:1", ref: str = "one") -> None:
        expected = self.unpacked(layout, ref)
        with self.store.mounted(name) as mount:
            found = trees.snapshot(mount)
        # The time of unpacking is that of the root, to which umoci adds names after it was made, and of folders that no layer has.
        for tree in (expected, found):
            for path in (b"", b"n" * 120):
                tree.get(path, {}).pop("mtime", None)
        self.assertEqual(harness.first_difference(expected, found), "")

    # The same trees

    def test_layers_become_the_tree_that_umoci_makes(self):
        for how in ("none", "gzip", "zstd"):
            with self.subTest(how):
                layout = layout_of(self.scratch / how, Image(base(), change(), how=how))
                self.imported(layout)
                # umoci of Debian 12 does not know zstd; the layers are the same.
                self.assert_as_umoci(self.scratch / "gzip" if how == "zstd" else layout)
                with self.store.mounted("app:1") as mount:
                    self.assertEqual(mount.stat().st_mtime, 1_600_000_000)
        self.store.run("fsck", "--deep")

    def test_what_umoci_packs_comes_in(self):
        layout = self.scratch / "packed"
        run = lambda *words: subprocess.run(["umoci", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: E731
        run("init", "--layout", str(layout))
        run("new", "--image", f"{layout}:one")
        bundle = self.scratch / "bundle"
        run("unpack", "--image", f"{layout}:one", str(bundle))
        shutil.copytree("/etc", bundle / "rootfs/etc", symlinks=True)
        shutil.copytree("/usr/share/doc/bash", bundle / "rootfs/doc", symlinks=True)
        run("repack", "--image", f"{layout}:one", str(bundle))
        shutil.rmtree(bundle)
        run("unpack", "--image", f"{layout}:one", str(bundle))
        shutil.rmtree(bundle / "rootfs/etc/apt", ignore_errors=True)
        (bundle / "rootfs/etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        os.link(bundle / "rootfs/etc/passwd", bundle / "rootfs/etc/passwd2")
        run("repack", "--image", f"{layout}:one", str(bundle))
        self.imported(layout)
        self.assert_as_umoci(layout)

    def test_archives_of_both_kinds_are_the_same_image(self):
        image = Image(base(), change(), base())
        layout = layout_of(self.scratch / "layout", image)
        self.imported(layout, "layout")
        self.imported(archive_of(layout, self.scratch / "oci.tar"), "archive")
        plain = Image(base(), change(), base(), how="none")
        self.imported(docker_archive(self.scratch / "docker.tar", plain), "docker", "--ref", "app:1")
        manifests = {self.store.json("info", name)["manifest"] for name in ("layout", "archive", "docker")}
        self.assertEqual(len(manifests), 1)
        self.assertEqual(self.store.json("info", "docker")["oci"]["config"], plain.config)

    def test_an_index_for_several_machines_gives_this_ones(self):
        mine, other = Image(base()), Image(base(), architecture="pdp11")
        inner = [mine.descriptor(platform={"os": "linux", "architecture": oci_images.ARCHITECTURE}),
                 other.descriptor(platform={"os": "linux", "architecture": "pdp11", "variant": "40"})]
        text = json.dumps({"schemaVersion": 2, "mediaType": oci_images.INDEX, "manifests": inner}).encode()
        entry = {"mediaType": oci_images.INDEX, "digest": digest(text), "size": len(text), "annotations": {"org.opencontainers.image.ref.name": "many"}}
        layout = write_layout(self.scratch / "layout", [entry], mine.blobs, other.blobs, {digest(text): text})
        self.imported(layout, "mine", "--ref", "many")
        self.imported(layout, "other", "--platform", "linux/pdp11")
        self.assertEqual(self.store.json("info", "mine")["oci"]["config"]["architecture"], oci_images.ARCHITECTURE)
        self.assertEqual(self.store.json("info", "other")["oci"]["config"]["architecture"], "pdp11")
        self.assertIn("pdp11/40", self.store.refuses("import", "--platform", "linux/vax", layout, "none"))

    def test_one_of_several_is_chosen_by_its_ref(self):
        one, two = Image(base()), Image(base(), change())
        layout = write_layout(self.scratch / "layout", [named(one, "one"), named(two, "two")], one.blobs, two.blobs)
        self.assertIn("several", self.store.refuses("import", layout, "app"))
        self.assertIn("one", self.store.refuses("import", "--ref", "three", layout, "app"))
        self.imported(layout, "app:1", "--ref", "one")
        self.assert_as_umoci(layout)

    def test_a_layout_or_archive_may_be_taken_as_files(self):
        layout = layout_of(self.scratch / "layout", Image(base()))
        self.imported(layout, "tree", "--as", "files")
        self.imported(archive_of(layout, self.scratch / "oci.tar"), "tar", "--as", "files")
        for name in ("tree", "tar"):
            self.assertIn("oci-layout", self.store.run("ls", name).stdout.decode())
            self.assertNotIn("oci", self.store.json("info", name))

    # Out again

    def exported(self, name: str, target: Path) -> tuple[dict, dict, dict]:
        """Index entry, manifest and configuration of an exported folder, all blobs of which were compared with their names."""
        self.store.run("export", "--oci", name, target)
        for blob in (target / "blobs/sha256").iterdir():
            self.assertEqual(digest(blob.read_bytes()), "sha256:" + blob.name)
        read = lambda descriptor: json.loads((target / "blobs" / descriptor["digest"].replace(":", "/")).read_text())  # noqa: E731
        entry = json.loads((target / "index.json").read_text())["manifests"][0]
        manifest = read(entry)
        return entry, manifest, read(manifest["config"])

    def test_what_was_kept_exactly_has_the_digests_that_it_came_with(self):
        for how in ("none", "gzip", "zstd"):
            with self.subTest(how):
                image = Image(base(), change(), how=how)
                layout = layout_of(self.scratch / how, image)
                self.imported(layout)
                entry, manifest, config = self.exported("app:1", self.scratch / f"{how}-out")
                self.assertEqual(entry["digest"], image.descriptor()["digest"])
                self.assertEqual(manifest["layers"], image.manifest["layers"])
                self.assertEqual(config, image.config)
                self.assertEqual(entry["annotations"]["org.opencontainers.image.ref.name"], "1")

    def test_recipes_give_the_same_tars(self):
        image = Image(base(), change(), base())
        self.imported(layout_of(self.scratch / "layout", image), "app:1", "--oci", "equivalent")
        _, manifest, config = self.exported("app:1", self.scratch / "out")
        self.assertEqual(config, image.config)
        self.assertEqual(len(manifest["layers"]), 3)
        self.assert_as_umoci(self.scratch / "out", ref="1")
        self.assertGreater(len(self.store.run("export", "--oci", "app:1", "-").stdout), 100_000)

    def test_others_take_what_is_exported(self):
        self.imported(layout_of(self.scratch / "layout", Image(base(), change())))
        self.store.run("clone", "app:1", "work")
        tree = self.scratch / "tree"
        trees.every_kind(tree, large=False)
        self.imported(tree, "plain")
        for name, ref in (("app:1", "1"), ("work", "latest"), ("plain", "latest")):
            with self.subTest(name):
                target = self.scratch / f"out-{name.replace(':', '-')}"
                archive = target.with_suffix(".tar")
                self.store.run("export", "--oci", name, archive)
                self.exported(name, target)
                for where in (f"oci:{target}:{ref}", f"oci-archive:{archive}"):
                    seen = json.loads(subprocess.run(["skopeo", "inspect", where], check=True, stdout=subprocess.PIPE).stdout)
                    self.assertEqual(seen["Os"], "linux")
                self.assertTrue(self.unpacked(target, ref))
                self.imported(archive, "again")
                self.assertEqual(self.store.json("info", "again")["manifest"], self.store.json("info", name if ":" in name else "again")["manifest"])

    def test_an_export_is_there_as_a_whole_or_not_at_all(self):
        self.imported(layout_of(self.scratch / "layout", Image(base())))
        target = self.scratch / "out"
        target.mkdir()
        self.assertIn("there already", self.store.refuses("export", "--oci", "app:1", target))
        self.assertIn("none:latest", self.store.refuses("export", "--oci", "none", self.scratch / "none"))
        self.assertEqual(sorted(path.name for path in self.scratch.iterdir()), ["layout", "out"])

    # What an image came as goes with it

    def test_names_take_along_what_the_image_came_as(self):
        image = Image(base(), change())
        self.imported(layout_of(self.scratch / "layout", image))
        before = self.store.json("info", "app:1")["oci"]
        self.store.run("rename", "app:1", "other:2")
        self.assertEqual(self.store.json("info", "other:2")["oci"], before)
        self.assertEqual([entry["name"] for entry in self.store.json("images")["images"]], ["other"])
        with self.store.mounted() as mount:
            self.assertEqual(os.listdir(mount / "images/other"), ["2"])
        self.store.run("gc")
        self.assertEqual(self.exported("other:2", self.scratch / "out")[0]["digest"], image.descriptor()["digest"])
        self.store.run("rm", "other:2")
        self.store.run("gc", "--allow-empty")
        self.assertEqual(self.store.json("stats")["contents"]["chunks"], 0)

    def test_it_outlives_the_database(self):
        image = Image(base(), change())
        self.imported(layout_of(self.scratch / "layout", image))
        self.store.stop()
        shutil.rmtree(self.store.dir / "db")
        self.store.run("fsck", "--repair", expect=None)
        self.assertEqual(self.exported("app:1", self.scratch / "out")[0]["digest"], image.descriptor()["digest"])

    def test_a_name_of_the_reserved_form_is_refused(self):
        tree = self.scratch / "tree"
        tree.mkdir()
        self.assertIn("reserved", self.store.refuses("import", tree, "app:1.oci-0123456789abcdef"))

    # Refused

    def refuses_image(self, image: Image, **entry) -> str:
        layout = Path(tempfile.mkdtemp(dir=self.scratch)) / "layout"
        write_layout(layout, [named(image, "one") | entry], image.blobs)
        return self.refuses_source(layout)

    def refuses_source(self, source: Path, *options) -> str:
        line = self.store.refuses("import", *options, source, "app:1")
        self.assertEqual(self.store.json("images")["images"], [])
        return line

    def test_wrong_images_are_refused_and_named(self):
        self.store.run("daemon", "start")
        wrong = Image(base())
        wrong.blobs[wrong.manifest["layers"][0]["digest"]] = Image(change()).blobs[Image(change()).manifest["layers"][0]["digest"]]
        self.assertIn("bytes", self.refuses_image(wrong))
        blob = bytearray((right := Image(base())).blobs[right.manifest["layers"][0]["digest"]])
        blob[len(blob) // 2] ^= 8
        right.blobs[right.manifest["layers"][0]["digest"]] = bytes(blob)
        self.assertIn("layer 1 of 1", self.refuses_image(right))
        other = Image(base())
        other.config["rootfs"]["diff_ids"] = [digest(b"other")]
        self.assertIn("its tar is", self.refuses_image(other))
        short = Image(base())
        short.config["rootfs"]["diff_ids"] *= 2
        self.assertIn("layers", self.refuses_image(short))
        for change_of in ({"size": 1 << 62}, {"size": -1}, {"digest": "sha256:" + "../" * 21 + "a"}, {"digest": "sha512:" + "a" * 128}, {"digest": "sha256:" + "0" * 64},
                          {"mediaType": "text/html"}, {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}):
            with self.subTest(change_of):
                hostile = Image(base())
                hostile.manifest["layers"][0] |= change_of
                self.refuses_image(hostile)
                if "digest" in change_of:
                    self.refuses_image(Image(base()), **change_of)
        circle = json.dumps({"schemaVersion": 2, "mediaType": oci_images.INDEX, "manifests": [
            {"mediaType": oci_images.INDEX, "digest": digest(b"itself"), "size": 6}]}).encode()
        entry = {"mediaType": oci_images.INDEX, "digest": digest(b"itself"), "size": 6}
        self.assertIn("no such image", self.refuses_source(write_layout(self.scratch / "circle", [entry], {digest(b"itself"): circle})))
        self.store.run("fsck", "--deep")

    def test_wrong_layers_are_refused_and_named(self):
        self.store.run("daemon", "start")
        for why, tar in {"..": Layer().file("../out", b"x"), "whiteout": Layer().file("etc/.wh."), "not there": Layer().link("a", "nowhere"),
                         "no directory": Layer().file("etc/hosts/x"), "circle": Layer().symlink("a", "b").symlink("b", "a").file("a/x"),
                         "hard link to": Layer().link("a", "usr")}.items():
            with self.subTest(why):
                line = self.refuses_image(Image(base(), tar.bytes()))
                self.assertIn(why, line)
                self.assertIn("layer 2 of 2", line)
        self.refuses_image(Image(base()[:3000]))
        self.refuses_image(Image(b""))
        self.refuses_image(Image(b"no tar at all" * 100))

    def test_wrong_layouts_are_refused(self):
        self.store.run("daemon", "start")
        layout = layout_of(self.scratch / "layout", Image(base()))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "9.0.0"}')
        self.assertIn("9.0.0", self.refuses_source(layout))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        for text in ("", "[]", "{}", '{"schemaVersion": 2, "manifests": 5}', "[" * 100_000, '{"schemaVersion": 2, "manifests": []}'):
            (layout / "index.json").write_text(text)
            self.refuses_source(layout)
        os.unlink(layout / "index.json")
        os.symlink("/etc/passwd", layout / "index.json")
        self.refuses_source(layout)
        tree = self.scratch / "tree"
        tree.mkdir()
        self.assertIn("no OCI image", self.refuses_source(tree, "--ref", "one"))

    def test_a_layer_of_nothing_but_zeros_costs_no_memory(self):
        bomb = Layer().file("zeros", bytes(1 << 28)).bytes()
        layout = layout_of(self.scratch / "layout", Image(bomb))
        report = self.store.json("import", layout, "app:1")
        self.assertLess(report["bytes_stored"], 2 << 20)
        if not harness.SANITIZED:
            self.assertLess(report["peak_rss_bytes"], 300 << 20)

    # Kills

    def test_an_import_that_is_killed_leaves_nothing(self):
        layout = layout_of(self.scratch / "layout", Image(base(), change(), Layer().file("large", trees.noise(6_000_000, 9)).bytes()))
        began = time.monotonic()
        self.imported(layout, "undisturbed")
        seconds = time.monotonic() - began
        for number in range(KILLS):
            with self.subTest(number=number):
                self.store.run("rm", "undisturbed", expect=None)
                self.store.run("gc", "--allow-empty", expect=None)
                command = subprocess.Popen([harness.COMMAND, "--store", self.store.dir, "import", layout, "app:1"], env=self.store.environment,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(random.Random(number).uniform(0, seconds))
                victim = command.pid if number % 2 == 0 else self.store.server()
                os.kill(victim, signal.SIGKILL)
                command.wait(timeout=60)
                listed = [entry["name"] for entry in self.store.json("images")["images"]]
                self.assertIn(listed, ([], ["app"]))
                if listed:
                    self.assertEqual(len(self.store.json("info", "app:1")["oci"]["config"]["rootfs"]["diff_ids"]), 3)
                    self.store.run("rm", "app:1")
                self.store.run("fsck")
        self.imported(layout)
        self.assert_as_umoci(layout)
        self.store.run("fsck", "--deep")


if __name__ == "__main__":
    sys.exit(harness.main())
