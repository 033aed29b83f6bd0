"""Writes to a file of a clone, and to one of the ext4 that holds the store: sequential, random, and synced."""
import json
import subprocess
from pathlib import Path

import measure
from bench import Bench, Store

KINDS = {  # of fio: what it does for so many seconds
    "sequential writes, 1 MiB": ["--rw=write", "--bs=1M", "--end_fsync=1"],
    "random writes, 4 KiB": ["--rw=randwrite", "--bs=4k", "--end_fsync=1"],
    "random writes, 4 KiB, each synced": ["--rw=randwrite", "--bs=4k", "--fdatasync=1"],
}
SIZE, SECONDS = "512M", 5


def run(bench: Bench) -> None:
    base = bench.inputs[0]
    with bench.fresh_disk() as disk:
        store = Store(bench.program, disk / "ours")
        try:
            store.run("import", base.tree, "base")
            store.run("clone", "base", "written")
            with store.mounted("written", disk / "mnt") as mount:
                plain = disk / "plain"
                plain.mkdir()
                for what, options in KINDS.items():
                    for where in (mount, plain):
                        fio(where, ["--rw=write", "--bs=1M", "--end_fsync=1"])  # lays the file out
                    speeds = measure.in_turn(bench.rounds, ours=lambda: fio(mount, options), ext4=lambda: fio(plain, options))
                    bench.add(what, "MiB/s", speeds["ours"], peer="ext4", theirs=speeds["ext4"], ratio_at_least=0.9,
                              command=f"fio {' '.join(options)} --size={SIZE} in a clone")
        finally:
            store.stop()


def fio(folder: Path, options: list[str]) -> float:
    """MiB per second. fio would drop the plain file's pages first: those of a file that the kernel passes through to a
    staged one it does not reach, and since Linux 6.16 ext4 takes four times as long for 4 KiB of a large folio."""
    done = subprocess.run(["fio", "--name=writes", f"--filename={folder / 'written'}", f"--size={SIZE}", f"--runtime={SECONDS}",
                           "--ioengine=psync", "--invalidate=0", "--output-format=json", "--randseed=1", *options],
                          stdout=subprocess.PIPE, check=True)
    job = json.loads(done.stdout)["jobs"][0]
    return job["write"]["bw_bytes"] / (1 << 20)
