"""Programs of every kind that write in one clone at the same time, and what must be there when they end."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import clone_writers as writers
import harness
import trees
from clone_writers import Writer, check
from harness import Store

APPENDERS = 2


def build_image(root: Path) -> None:
    root.mkdir()
    for number in range(60):
        trees.write(root / f"f{number}", trees.noise([100, 9000, 80_000][number % 3], seed=number))
    for name, seed in (("large", 7), ("written", 8)):
        trees.write(root / name, trees.noise(6 * trees.MIB, seed=seed))
    shutil.copy("/usr/bin/sha256sum", root / "program")


def build_tar(scratch: Path) -> tuple[Path, dict]:
    tree = scratch / "tree"
    tree.mkdir()
    for number in range(150):
        folder = tree / f"d{number % 9}"
        folder.mkdir(exist_ok=True)
        trees.write(folder / f"f{number}", trees.noise([0, 500, 20_000, 150_000][number % 4], seed=number), 0o755 if number % 5 == 0 else 0o644)
        if number % 10 == 0:
            os.symlink(f"f{number}", folder / f"l{number}")
            os.link(folder / f"f{number}", folder / f"h{number}")
    subprocess.run(["tar", "-cf", scratch / "tree.tar", "-C", scratch, "tree"], check=True)
    (scratch / "unpacked").mkdir()
    subprocess.run(["tar", "-xf", scratch / "tree.tar", "-C", scratch / "unpacked"], check=True)
    return scratch / "tree.tar", trees.snapshot(scratch / "unpacked" / "tree")


class CloneLoad:
    """The clone `web` of an image made for it, and its programs."""

    def __init__(self, store: Store, seed: int):
        self.seed = seed
        self.image = store.scratch / "image"
        build_image(self.image)
        self.tar, self.unpacked = build_tar(store.scratch)
        self.oracle = store.scratch / "oracle"
        self.oracle.mkdir()
        self.running: list[Writer] = []
        store.run("import", self.image, "base")
        store.run("clone", "base", "web")

    def start(self, mount: Path) -> None:
        (mount / "log").mkdir()
        log = mount / "log" / "records"
        works = [("replacer 1", writers.replacer(mount / "r1", self.oracle / "r1", self.seed)),
                 ("replacer 2", writers.replacer(mount / "r2", self.oracle / "r2", self.seed + 1)),
                 ("storm 1", writers.storm(mount / "s1", self.seed)), ("storm 2", writers.storm(mount / "s2", self.seed + 1)),
                 ("tar", writers.unpacker(mount / "t", self.tar, self.unpacked)),
                 ("mapper", *writers.mapper(mount / "mapped", self.oracle / "mapped", self.seed)),
                 ("large", *writers.large_writer(mount / "written", self.oracle / "written", self.seed)),
                 ("unlinked", writers.unlinked_holder(mount / "u", self.seed)),
                 ("locker", writers.locker(mount / "counter")),
                 ("runner", writers.runner(mount / "program", mount / "large"))]
        works += [(f"appender {who}", *writers.appender(log, who)) for who in range(APPENDERS)]
        self.running = [Writer(*work) for work in works]
        for writer in self.running:
            writer.start()

    def end(self) -> tuple[str, Writer]:
        """What went wrong with any of them, and the one whose call waited longest."""
        errors = [error for writer in self.running if (error := writer.end())]
        return "\n".join(errors), max(self.running, key=lambda writer: writer.longest)

    def rounds(self) -> str:
        return ", ".join(f"{writer.name} {writer.rounds}" for writer in self.running)

    def compare(self, mount: Path) -> None:
        """After their end the clone must hold what they wrote, and else the image."""
        for name in ("r1", "r2"):
            found, wanted = (trees.snapshot(folder / name) for folder in (mount, self.oracle))
            check(found.keys() == wanted.keys(), f"{name} has other names: {found.keys() ^ wanted.keys()}")
            for path in wanted:
                if path:
                    same = (mount / name / os.fsdecode(path)).read_bytes() == (self.oracle / name / os.fsdecode(path)).read_bytes()
                    check(same, f"{name}/{path!r} has other bytes")
        for name in ("mapped", "written"):
            check((mount / name).read_bytes() == (self.oracle / name).read_bytes(), f"{name} has other bytes")
        wrong = writers.appended(mount / "log" / "records", APPENDERS)
        check(not wrong, wrong)
        difference = harness.first_difference(self.unpacked, trees.snapshot(mount / "t" / "tree"))
        check(not difference, difference)
        for path in self.image.iterdir():
            if path.name == "written":
                continue
            check((mount / path.name).read_bytes() == path.read_bytes(), f"{path.name} of the image has other bytes")
