"""Time, memory and bytes written of a first import, and of a second one."""
import os
import shutil
import statistics
from dataclasses import dataclass

import measure
from bench import Bench
from measure import Usage

MIB = 1 << 20
COMMAND = "stellarium import TREE NAME (each; page cache warm)"


@dataclass(frozen=True)
class Round:
    """Ours and the peers' in turn, so that a busy moment of the machine meets all of them."""
    first: Usage
    second: Usage
    tars: Usage
    stored: int  # bytes that the first imports added to the store's folder
    restic: Usage
    squashfs: Usage


def settle() -> None:
    """What the one before left to be written is not to be counted for the next."""
    os.sync()


def restic(bench: Bench) -> Usage:
    settle()
    folder = bench.folder("restic")
    environment = {"RESTIC_PASSWORD": "comparison", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    measure.run(["restic", "init", "-q", "--no-cache", "-r", folder / "repo"], env=environment)
    return measure.total([measure.run(["restic", "backup", "-q", "--no-cache", "-r", folder / "repo", source.tree], env=environment)
                          for source in bench.inputs])


def squashfs(bench: Bench) -> Usage:
    settle()
    image = bench.folder("squashfs") / "image.sqfs"
    return measure.run(["mksquashfs", *(source.tree for source in bench.inputs), image, "-comp", "zstd", "-Xcompression-level", 1,
                        "-noappend", "-no-progress", "-quiet"])


def one_round(bench: Bench) -> Round:
    bench.warm()
    for source in bench.inputs:  # the tars, too: reading them from the disk would be counted as ours
        measure.read_file(source.tar)
    store = bench.fresh_store("ours")
    store.daemon()
    empty = store.stored()
    settle()
    first = measure.total([store.run("import", source.tree, source.name) for source in bench.inputs])
    stored = store.stored() - empty
    second = measure.total([store.run("import", source.tree, f"{source.name}:again") for source in bench.inputs])
    tars = measure.total([store.run("import", source.tar, f"{source.name}:tar") for source in bench.inputs])
    store.stop()
    shutil.rmtree(store.dir)
    return Round(first, second, tars, stored, restic(bench), squashfs(bench))


def run(bench: Bench) -> None:
    size = sum(source.content_bytes for source in bench.inputs) / MIB
    tar_size = sum(source.tar.stat().st_size for source in bench.inputs) / 1e9
    rounds = [one_round(bench) for _ in range(bench.rounds)]

    def median(figure) -> float:
        return statistics.median(figure(each) for each in rounds)

    ours = size / median(lambda each: each.first.wall)
    bench.add("import of all trees", "MiB/s", ours, peer="restic", theirs=size / median(lambda each: each.restic.wall), ratio_at_least=4.0,
              command=COMMAND)
    bench.add("import of all trees", "MiB/s", ours, peer="mksquashfs zstd 1", theirs=size / median(lambda each: each.squashfs.wall),
              ratio_at_least=1.0, command=COMMAND)
    bench.add("import of all trees, CPU", "s", median(lambda each: each.first.cpu), command=COMMAND)
    bench.add("peak memory, command and daemon", "MiB", max(each.first.peak_rss for each in rounds) / MIB, at_most=256, command=COMMAND)
    bench.add("second import of all trees, CPU", "s", median(lambda each: each.second.cpu), at_most=1.0, command="the same again (stat cache)")
    bench.add("second import of all trees, wall", "s", median(lambda each: each.second.wall), command="the same again (stat cache)")
    bench.add("second import, from tars, per core", "GB/s", tar_size / median(lambda each: each.tars.cpu), at_least=1.0,
              command="stellarium import TAR NAME (each; content known, page cache warm)")
    bench.add("bytes written ÷ bytes newly stored", "", median(lambda each: each.first.written / each.stored), at_most=1.06,
              command="write_bytes of /proc/PID/io, command and daemon")
