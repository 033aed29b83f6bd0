"""A tree unpacked into a clone, and into what else containers write to, each on a disk that nobody used before."""
import contextlib
import subprocess
from pathlib import Path

import measure
from bench import Bench, Store


def run(bench: Bench) -> None:
    base, tar = bench.inputs[0], max((source.tar for source in bench.inputs), key=lambda tar: tar.stat().st_size)
    sent: dict[str, int] = {}

    def unpack(where: Path) -> float:
        into = where / "unpacked"
        into.mkdir()
        return measure.timed(lambda: subprocess.run(["tar", "-xf", tar, "-C", into], check=True))

    def ours() -> float:
        with bench.fresh_disk() as disk:
            store = Store(bench.program, disk / "ours")
            try:
                store.run("import", base.tree, "base")
                store.run("clone", "base", "unpacked")
                with store.mounted("unpacked", disk / "mnt") as mount:
                    took = unpack(mount)
                    sent.update(store.requests())
            finally:
                store.stop()
            return took

    def overlay() -> float:
        with bench.fresh_disk() as disk, over(disk, base.tree, ["mount", "-t", "overlay", "overlay"]) as mount:
            return unpack(mount)

    def fuse_overlayfs() -> float:
        with bench.fresh_disk() as disk, over(disk, base.tree, ["fuse-overlayfs"]) as mount:
            return unpack(mount)

    times = measure.in_turn(bench.rounds, ours=ours, overlay=overlay, fuse_overlayfs=fuse_overlayfs)
    files = int(subprocess.run(f"tar -tvf '{tar}' | grep -c '^-'", shell=True, stdout=subprocess.PIPE, check=True).stdout)
    rates = {name: files / seconds for name, seconds in times.items()}
    what, command = f"{files:,} files of {tar.stem}", "tar -xf TAR in a clone"
    bench.add(what, "files/s", rates["ours"], peer="kernel overlayfs", theirs=rates["overlay"], ratio_at_least=0.5, command=command)
    bench.add(what, "files/s", rates["ours"], peer="fuse-overlayfs", theirs=rates["fuse_overlayfs"], ratio_at_least=2.0, command=command)
    bench.add("requests per file", "", sum(sent.values()) / files, command=command,
              note=", ".join(f"{name} {n / files:.2f}" for name, n in sorted(sent.items(), key=lambda item: -item[1])))


@contextlib.contextmanager
def over(disk: Path, lower: Path, command: list[str]):
    folders = {"lowerdir": lower, "upperdir": disk / "upper", "workdir": disk / "work"}
    for folder in (disk / "upper", disk / "work"):
        folder.mkdir()
    with measure.unmounting(disk / "mnt") as mount:
        measure.run([*command, "-o", ",".join(f"{name}={folder}" for name, folder in folders.items()), mount])
        yield mount
