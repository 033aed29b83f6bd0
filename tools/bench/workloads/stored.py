"""Bytes on disk for all inputs, and for the first one alone; and how long gc looks for what nobody needs."""
import measure
from bench import Bench

MB = 1e6
# What the seven Debian roots of the acceptance test may take; for other inputs the peers are the line.
SEVEN, SEVEN_RECOMPRESSED = 350, 308
LEVEL = 3  # of zstd: ours by default, and squashfs's for the comparison of one image


def squashfs(bench: Bench, level: int, trees: list) -> int:
    image = bench.folder(f"squashfs-{level}") / "image.sqfs"
    measure.run(["mksquashfs", *trees, image, "-comp", "zstd", "-Xcompression-level", level, "-noappend", "-no-progress", "-quiet"])
    return measure.du(image)


def borg(bench: Bench) -> int:
    folder = bench.folder("borg")
    environment = {"BORG_BASE_DIR": str(folder / "home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    measure.run(["borg", "init", "-e", "none", folder / "repo"], env=environment)
    for source in bench.inputs:
        measure.run(["borg", "create", "-C", "zstd,3", f"{folder}/repo::{source.name}", "."], env=environment, cwd=source.tree)
    return measure.du(folder / "repo")


def restic(bench: Bench) -> int:
    folder = bench.folder("restic")
    environment = {"RESTIC_PASSWORD": "comparison", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    measure.run(["restic", "init", "-q", "--no-cache", "-r", folder / "repo"], env=environment)
    for source in bench.inputs:
        measure.run(["restic", "backup", "-q", "--no-cache", "-r", folder / "repo", source.tree], env=environment)
    return measure.du(folder / "repo")


def casync(bench: Bench) -> int:
    folder = bench.folder("casync")
    for source in bench.inputs:
        measure.run(["casync", "make", f"--store={folder}/store.castr", f"{folder}/{source.name}.caidx", source.tree])
    return measure.du(folder)


def run(bench: Bench) -> None:
    store = bench.fresh_store("ours")
    for source in bench.inputs:
        store.run("import", source.tree, source.name)
    marked = store.run("gc", "--dry-run")
    bench.add("gc finds nothing to free", "s", marked.wall, command="stellarium gc --dry-run")
    store.stop()
    ours = store.stored() / MB
    seven = len(bench.inputs) == 7
    command = "stellarium import TREE NAME (each); daemon stop; du without hot/ and ballast"
    for name, theirs in (("borg zstd,3", borg), ("restic", restic), ("casync", casync)):
        bench.add("all inputs", "MB", ours, peer=name, theirs=theirs(bench) / MB, ratio_at_most=1.0,
                  at_most=SEVEN if seven else None, command=command)

    store.run("gc", "--recompress")
    store.stop()
    bench.add("all inputs, recompressed", "MB", store.stored() / MB, peer="mksquashfs zstd 15",
              theirs=squashfs(bench, 15, [source.tree for source in bench.inputs]) / MB, ratio_at_most=1.0,
              at_most=SEVEN_RECOMPRESSED if seven else None, command="stellarium gc --recompress; daemon stop; du without hot/ and ballast")

    alone = bench.fresh_store("alone")
    alone.run("import", bench.inputs[0].tree, "image")
    alone.stop()
    bench.add(f"{bench.inputs[0].name} alone", "MB", alone.stored() / MB, peer=f"mksquashfs zstd {LEVEL}",
              theirs=squashfs(bench, LEVEL, [bench.inputs[0].tree]) / MB, ratio_at_most=1.0,
              command="stellarium import TREE NAME; daemon stop; du without hot/ and ballast")
