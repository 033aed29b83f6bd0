"""An image as a writable root: our clone, and what else containers write to, each on a disk that nobody used before."""
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import measure
from bench import Bench, Input, Store

Sent = dict[str, int]


@contextlib.contextmanager
def clone(bench: Bench, base: Input, sent: Sent | None = None) -> Iterator[Path]:
    """`sent` gets what the mount was asked, by opcode."""
    with bench.fresh_disk() as disk:
        store = Store(bench.program, disk / "ours")
        try:
            store.run("import", base.tree, "base")
            store.run("clone", "base", "root")
            with store.mounted("root", disk / "mnt") as mount:
                yield mount
                if sent is not None:
                    sent.update(store.requests())
        finally:
            store.stop()


@contextlib.contextmanager
def overlay(bench: Bench, base: Input) -> Iterator[Path]:
    with bench.fresh_disk() as disk, _over(disk, base.tree, ["mount", "-t", "overlay", "overlay"]) as mount:
        yield mount


@contextlib.contextmanager
def fuse_overlayfs(bench: Bench, base: Input) -> Iterator[Path]:
    # What libfuse leaves out unless it is told, and containers need.
    with bench.fresh_disk() as disk, _over(disk, base.tree, ["fuse-overlayfs", "-o", "dev,suid"]) as mount:
        yield mount


def in_turn(bench: Bench, base: Input, work: Callable[[Path], float], sent: Sent | None = None) -> dict[str, float]:
    """The median of what `work` says of each kind of root, under the names of the functions above."""
    def within(root) -> Callable[[], float]:
        def run() -> float:
            with root() as mount:
                return work(mount)
        return run

    return measure.in_turn(bench.rounds, clone=within(lambda: clone(bench, base, sent)),
                           overlay=within(lambda: overlay(bench, base)),
                           fuse_overlayfs=within(lambda: fuse_overlayfs(bench, base)))


@contextlib.contextmanager
def _over(disk: Path, lower: Path, command: list[str]) -> Iterator[Path]:
    folders = {"lowerdir": lower, "upperdir": disk / "upper", "workdir": disk / "work"}
    for folder in (disk / "upper", disk / "work"):
        folder.mkdir()
    with measure.unmounting(disk / "mnt") as mount:
        measure.run([*command, "-o", ",".join(f"{name}={folder}" for name, folder in folders.items()), mount])
        yield mount
