"""A large file read again and again, against the same file on the host's file system."""
import json
import os
from pathlib import Path

import measure
from bench import Bench

SECONDS = 1
PATTERNS = {  # name → fio's words
    "sequential 1 MiB": ["--rw=read", "--bs=1M", "--ioengine=psync"],
    "random 4 KiB": ["--rw=randread", "--bs=4k", "--ioengine=psync", "--norandommap"],
    "mapped, random 4 KiB": ["--rw=randread", "--bs=4k", "--ioengine=mmap", "--norandommap"],
}


def throughput(file: Path, words: list[str]) -> float:
    used = measure.run(["fio", "--name=read", f"--filename={file}", "--readonly", "--invalidate=0", "--time_based",
                        f"--runtime={SECONDS}", "--output-format=json", *words], capture=True)
    return json.loads(used.output[used.output.index(b"{"):])["jobs"][0]["read"]["bw_bytes"] / (1 << 20)


def run(bench: Bench) -> None:
    folder = bench.large_file()
    store = bench.fresh_store("ours")
    store.run("import", folder, "large")
    with store.mounted("large", bench.folder("mnt")) as mount, bench.overlayfs(folder) as overlay:
        for _ in range(2):
            measure.read_tree(mount)
            measure.read_tree(folder)
        # The same pages without FUSE: what is lost there is the kernel's passthrough, what differs from the host's file
        # beyond that is where its pages happen to lie.
        beneath = store.dir / "hot" / "files" / os.getxattr(mount / "data", "user.stellarium.content").decode()
        for name, words in PATTERNS.items():
            speeds = measure.in_turn(2 * bench.rounds - 1, ours=lambda: throughput(mount / "data", words),
                                     host=lambda: throughput(folder / "data", words), beneath=lambda: throughput(beneath, words),
                                     overlay=lambda: throughput(overlay / "data", words))
            command = f"fio {' '.join(words)} on the mounted file, second pass"
            bench.add(name, "MiB/s", speeds["ours"], peer="host file system", theirs=speeds["host"], ratio_at_least=0.95, command=command)
            bench.add(name, "MiB/s", speeds["ours"], peer="its hot file, no FUSE", theirs=speeds["beneath"], command=command)
            # The kernel's own way of reading through to another file system's file.
            bench.add(name, "MiB/s", speeds["ours"], peer="kernel overlayfs", theirs=speeds["overlay"], command=command)
    store.stop()
