"""Time, memory and bytes written of a first import, and of a second one."""
import measure
from bench import Bench, Store
from measure import Usage

MIB = 1 << 20


def ours(bench: Bench) -> tuple[Store, Usage]:
    store = bench.fresh_store("ours")
    return store, measure.total([store.run("import", source.tree, source.name) for source in bench.inputs])


def restic(bench: Bench) -> Usage:
    folder = bench.folder("restic")
    environment = {"RESTIC_PASSWORD": "comparison", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    measure.run(["restic", "init", "-q", "--no-cache", "-r", folder / "repo"], env=environment)
    return measure.total([measure.run(["restic", "backup", "-q", "--no-cache", "-r", folder / "repo", source.tree], env=environment)
                          for source in bench.inputs])


def squashfs(bench: Bench) -> Usage:
    image = bench.folder("squashfs") / "image.sqfs"
    return measure.run(["mksquashfs", *(source.tree for source in bench.inputs), image, "-comp", "zstd", "-Xcompression-level", 1,
                        "-noappend", "-no-progress", "-quiet"])


def run(bench: Bench) -> None:
    size = sum(source.content_bytes for source in bench.inputs) / MIB
    bench.warm()
    store, first = ours(bench)
    command = "stellarium import TREE NAME (each; page cache warm)"
    bench.add("import of all trees", "MiB/s", size / first.wall, peer="restic", theirs=size / restic(bench).wall, ratio_at_least=4.0,
              command=command)
    bench.add("import of all trees", "MiB/s", size / first.wall, peer="mksquashfs zstd 1", theirs=size / squashfs(bench).wall,
              ratio_at_least=1.0, command=command)
    bench.add("peak memory, command and daemon", "MiB", first.peak_rss / MIB, at_most=256, command=command)

    second = measure.total([store.run("import", source.tree, f"{source.name}:again") for source in bench.inputs])
    bench.add("second import of all trees, CPU", "s", second.cpu, at_most=1.0, command="the same again (stat cache)")
    bench.add("second import of all trees, wall", "s", second.wall, command="the same again (stat cache)")
    tars = measure.total([store.run("import", source.tar, f"{source.name}:tar") for source in bench.inputs])
    bench.add("second import, from tars, per core", "GB/s", sum(source.tar.stat().st_size for source in bench.inputs) / 1e9 / tars.cpu,
              at_least=1.0, command="stellarium import TAR NAME (each; content known)")
    store.stop()

    fresh = bench.fresh_store("written")
    fresh.daemon()
    empty = fresh.stored()
    written = measure.total([fresh.run("import", source.tree, source.name) for source in bench.inputs]).written
    bench.add("bytes written ÷ bytes newly stored", "", written / (fresh.stored() - empty), at_most=1.06,
              command="write_bytes of /proc/PID/io, command and daemon")
    fresh.stop()
