"""What the workloads share: the inputs, our store with its daemon, the peers' ways to mount the same trees."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import measure
from measure import Usage
from report import Figure

LARGE_FILE = 256 << 20


class Input:
    """A system image as a tar, and the same extracted."""

    def __init__(self, tar: Path, trees: Path):
        self.tar, self.name = tar, tar.name.split(".")[0]
        self.tree = trees / self.name
        if not self.tree.exists():
            part = trees / f"{self.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            subprocess.run(["tar", "-C", part, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tar], check=True)
            part.rename(self.tree)
        self.content_bytes = int(subprocess.run(["du", "-s", "--apparent-size", "--block-size=1", self.tree],
                                                stdout=subprocess.PIPE, check=True).stdout.split()[0])

    def describe(self) -> dict:
        return {"name": self.name, "tar_bytes": self.tar.stat().st_size, "tree_bytes": self.content_bytes}


class Store:
    """One store of ours. The daemon is started first, so that what a command costs it can be told."""

    def __init__(self, program: Path, folder: Path):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.program, self.dir = program, folder / "store"
        self.environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
        self.environment.pop("STELLARIUM_STORE", None)

    def command(self, *args) -> list[str]:
        return [str(self.program), "--store", str(self.dir), *map(str, args)]

    def run(self, *args, **options) -> Usage:
        return measure.run(self.command(*args), daemon=self.daemon(), env=self.environment, **options)

    def json(self, *args) -> dict:
        done = subprocess.run(self.command("--json", *args), stdout=subprocess.PIPE, env=self.environment, check=True,
                              stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)

    def daemon(self) -> list[int]:
        """Pids of the keeper and the server; starts them if need be."""
        found = self.find_daemon()
        if not found:
            subprocess.run(self.command("daemon", "start"), stdout=subprocess.DEVNULL, env=self.environment, check=True,
                           stdin=subprocess.DEVNULL)
            found = self.find_daemon()
        return found

    def find_daemon(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if b"stellarium-" in words[0] and os.fsencode(self.dir) in words:
                        found.append(int(entry.name))
        return sorted(found)

    def requests(self) -> dict[str, int]:
        """What the only mount was asked so far, by opcode."""
        return dict(self.json("stats")["mounts"][0]["by_opcode"])

    def served(self) -> tuple[int, int]:
        """Requests of the only mount so far, and bytes of the answers."""
        mount = self.json("stats")["mounts"][0]
        return mount["requests"], mount["answered_bytes"]

    def stop(self) -> None:
        subprocess.run(self.command("daemon", "stop"), stdout=subprocess.DEVNULL, env=self.environment, check=True,
                       stdin=subprocess.DEVNULL)

    def stored(self) -> int:
        """Bytes on disk; what can be made again at any time (hot files) and what holds nothing (the ballast) is not counted."""
        return measure.du(self.dir, leave_out=["hot", "run", "ballast"])

    @contextlib.contextmanager
    def mounted(self, *ref_and_where: str | Path):
        """REF and where, or only where: the whole store."""
        where = Path(ref_and_where[-1])
        where.mkdir(parents=True, exist_ok=True)
        self.run("mount", *ref_and_where)
        try:
            yield where
        finally:
            self.run("umount", where)

    @contextlib.contextmanager
    def mounted_whole(self, where: Path):
        where.mkdir(parents=True, exist_ok=True)
        self.run("mount", where)
        try:
            yield where
        finally:
            self.run("umount", where)


class Bench:
    """One run of the comparison. Workloads get it, measure, and `add` figures."""

    def __init__(self, program: Path, scratch: Path, tars: list[Path], rounds: int, kernel: Path | None = None):
        self.program, self.scratch, self.rounds, self.kernel = program, scratch, rounds, kernel
        self.figures: list[Figure] = []
        self.workload = ""
        self.inputs = [Input(tar, scratch / "trees") for tar in tars]
        self._shared: Store | None = None
        self._stores: list[Store] = []

    def add(self, what: str, unit: str, ours: float, **rest) -> None:
        self.figures.append(Figure(self.workload, what, unit, ours, **rest))
        print("  " + " | ".join(cell for cell in self.line(self.figures[-1]) if cell), file=sys.stderr, flush=True)

    @staticmethod
    def line(figure: Figure) -> list[str]:
        from report import row
        return row(figure)[1:]

    def folder(self, name: str) -> Path:
        """An empty folder of this workload's own."""
        path = self.scratch / "work" / self.workload / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def fresh_store(self, name: str) -> Store:
        self._stores.append(Store(self.program, self.folder(name)))
        return self._stores[-1]

    @property
    def shared(self) -> Store:
        """A store that holds every input (from its tree), for the workloads that only read."""
        if self._shared is None:
            self._shared = Store(self.program, self.scratch / "work" / "shared")
            self._stores.append(self._shared)
            for source in self.inputs:
                self._shared.run("import", source.tree, source.name)
        return self._shared

    def close(self) -> None:
        """Leaves no daemon and no mount behind, whatever went wrong."""
        for store in self._stores:
            if store.find_daemon():
                subprocess.run(store.command("daemon", "stop", "--unmount"), env=store.environment, stdin=subprocess.DEVNULL)

    @contextlib.contextmanager
    def fresh_disk(self, size: int = 8 << 30):
        """An ext4 that nobody used before: a used one is slow to give out again what was freed within the last minute."""
        image, where = self.folder("disk") / "image", self.folder("disk-mnt")
        with open(image, "wb") as file:
            file.truncate(size)
        measure.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image])
        with measure.unmounting(where):
            measure.run(["mount", "-o", "loop", image, where])
            yield where
        image.unlink()

    # Inputs made from the inputs

    def warm(self) -> None:
        for source in self.inputs:
            measure.read_tree(source.tree)

    def large_file(self) -> Path:
        """A folder with one file of 256 MiB real data (less if the inputs are smaller)."""
        folder = self.scratch / "large"
        if not (folder / "data").exists():
            folder.mkdir(exist_ok=True)
            with open(folder / "data.part", "wb") as out:
                for source in sorted(self.inputs, key=lambda each: -each.tar.stat().st_size):
                    with open(source.tar, "rb") as tar:
                        while out.tell() < LARGE_FILE and (piece := tar.read(min(1 << 20, LARGE_FILE - out.tell()))):
                            out.write(piece)
            (folder / "data.part").rename(folder / "data")
        return folder

    def small_files(self, limit: int = 16 << 10) -> Path:
        """The first input's regular files of up to `limit` bytes, as a tree."""
        folder = self.scratch / "small"
        if not folder.exists():
            part = self.scratch / "small.part"
            shutil.rmtree(part, ignore_errors=True)
            top = self.inputs[0].tree
            for here, _, names in os.walk(top):
                into = part / Path(here).relative_to(top)
                into.mkdir(parents=True, exist_ok=True)
                for name in names:
                    path = Path(here) / name
                    if path.is_file() and not path.is_symlink() and path.stat().st_size <= limit:
                        shutil.copy2(path, into / name)
            part.rename(folder)
        return folder

    # The peers' mounts of a tree

    def squashfs_image(self, tree: Path) -> Path:
        image = self.scratch / "squashfs" / f"{tree.name}.sqfs"
        if not image.exists():
            image.parent.mkdir(exist_ok=True)
            measure.run(["mksquashfs", tree, image, "-comp", "zstd", "-noappend", "-no-progress", "-quiet"])
        return image

    @contextlib.contextmanager
    def kernel_squashfs(self, tree: Path):
        with measure.unmounting(self.folder("squashfs")) as where:
            measure.run(["mount", "-t", "squashfs", "-o", "loop,ro", self.squashfs_image(tree), where])
            yield where

    @contextlib.contextmanager
    def squashfuse(self, tree: Path):
        with measure.unmounting(self.folder("squashfuse")) as where:
            measure.run(["squashfuse", self.squashfs_image(tree), where])
            yield where

    @contextlib.contextmanager
    def overlayfs(self, tree: Path):
        """Read-only."""
        with measure.unmounting(self.folder("overlayfs")) as where:
            measure.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={tree}:{self.folder('nothing')}", where])
            yield where

    @contextlib.contextmanager
    def fuse_overlayfs(self, tree: Path):
        upper, work = self.folder("upper"), self.folder("work")
        with measure.unmounting(self.folder("fuse-overlayfs")) as where:
            measure.run(["fuse-overlayfs", "-o", f"lowerdir={tree},upperdir={upper},workdir={work}", where])
            yield where
