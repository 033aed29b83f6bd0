"""A tree unpacked into a clone, and into what else containers write to."""
import subprocess
from pathlib import Path

import measure
import writable
from bench import Bench


def run(bench: Bench) -> None:
    base, tar = bench.inputs[0], max((source.tar for source in bench.inputs), key=lambda tar: tar.stat().st_size)
    sent: writable.Sent = {}

    def unpack(root: Path) -> float:
        into = root / "unpacked"
        into.mkdir()
        return measure.timed(lambda: subprocess.run(["tar", "-xf", tar, "-C", into], check=True))

    times = writable.in_turn(bench, base, unpack, sent)
    files = int(subprocess.run(f"tar -tvf '{tar}' | grep -c '^-'", shell=True, stdout=subprocess.PIPE, check=True).stdout)
    rates = {name: files / seconds for name, seconds in times.items()}
    what, command = f"{files:,} files of {tar.stem}", "tar -xf TAR in a clone"
    bench.add(what, "files/s", rates["clone"], peer="kernel overlayfs", theirs=rates["overlay"], ratio_at_least=0.5, command=command)
    bench.add(what, "files/s", rates["clone"], peer="fuse-overlayfs", theirs=rates["fuse_overlayfs"], ratio_at_least=2.0, command=command)
    bench.add("requests per file", "", sum(sent.values()) / files, command=command,
              note=", ".join(f"{name} {n / files:.2f}" for name, n in sorted(sent.items(), key=lambda item: -item[1])))
