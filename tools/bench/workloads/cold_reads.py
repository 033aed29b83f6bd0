"""Reads with an empty page cache and no hot file: a whole tree, and random 8 KiB pieces."""
import itertools
import os
import random
import resource
import time

import measure
from bench import Bench, Store

BLOCK = 8192


def run(bench: Bench) -> None:
    whole_tree(bench)
    random_reads(bench)


def whole_tree(bench: Bench) -> None:
    source = bench.inputs[0]
    bench.squashfs_image(source.tree)
    rounds = itertools.count()

    def ours() -> float:
        # A new store each time: ext4 takes long to give out inodes again that were freed within the last minute.
        store = bench.fresh_store(f"ours-{next(rounds)}")
        store.run("import", source.tree, source.name)
        with store.mounted(source.name, bench.folder("mnt")) as mount:
            measure.drop_caches()
            took = measure.read_tree(mount)
        store.stop()
        return took

    def theirs() -> float:
        with bench.kernel_squashfs(source.tree) as mount:
            measure.drop_caches()
            return measure.read_tree(mount)

    times = measure.in_turn(3, ours=ours, theirs=theirs)
    size = source.content_bytes / (1 << 20)
    bench.add(f"whole tree of {source.name}", "MiB/s", size / times["ours"], peer="kernel squashfs zstd", theirs=size / times["theirs"],
              ratio_at_least=1.0, command="stellarium import, mount; drop_caches; tar c . | cat >/dev/null")


def random_reads(bench: Bench) -> None:
    store = bench.fresh_store("ours")
    store.run("import", bench.large_file(), "large")
    store.run("tier", "evict")
    with store.mounted("large", bench.folder("mnt")) as mount:
        measure.drop_caches()
        cpu, first_touch = read_randomly(store, str(mount / "data"))
    command = "pread of 8 KiB at random places, twice the file's size in all"
    bench.add("random 8 KiB, CPU per read", "µs", cpu * 1e6, at_most=30, command=command)
    bench.add("random 8 KiB, first touch p99", "µs", first_touch[int(len(first_touch) * 0.99)] * 1e6, at_most=500, command=command)
    bench.add("random 8 KiB, first touch median", "µs", first_touch[len(first_touch) // 2] * 1e6, command=command)
    store.stop()


def read_randomly(store: Store, path: str) -> tuple[float, list[float]]:
    """(CPU seconds per read: the daemon's and the kernel's on behalf of the reader, first-touch times ascending)."""
    blocks = os.path.getsize(path) // BLOCK
    rng = random.Random(1)
    touched, first_touch = bytearray(blocks), []
    daemon = store.daemon()
    fd = os.open(path, os.O_RDONLY)
    before = sum(map(measure.process_cpu, daemon)) + resource.getrusage(resource.RUSAGE_SELF).ru_stime
    for _ in range(2 * blocks):
        block = rng.randrange(blocks)
        started = time.perf_counter()
        os.pread(fd, BLOCK, block * BLOCK)
        if not touched[block]:
            first_touch.append(time.perf_counter() - started)
            touched[block] = 1
    after = sum(map(measure.process_cpu, daemon)) + resource.getrusage(resource.RUSAGE_SELF).ru_stime
    os.close(fd)
    return (after - before) / (2 * blocks), sorted(first_touch)
