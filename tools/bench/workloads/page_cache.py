"""Sixty-four mounts of one image: every program and library is in memory once."""
import mmap
import os
import subprocess
from pathlib import Path

import measure
from bench import Bench

MOUNTS = 64
MIB = 1 << 20


def cached() -> int:
    """Bytes of page cache, files' pages only."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["Cached"].split()[0]) * 1024


def programs(tree: Path) -> list[Path]:
    """Executables and libraries, relative to the tree."""
    found = []
    for here, _, names in os.walk(tree):
        for name in names:
            path = Path(here) / name
            if path.is_file() and not path.is_symlink() and (os.access(path, os.X_OK) or ".so" in name):
                found.append(path.relative_to(tree))
    return found


def read(mount: Path, names: list[Path]) -> None:
    """Through mappings, as the loader does."""
    for name in names:
        with open(mount / name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size:
                with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapping:
                    sum(mapping[at] for at in range(0, size, mmap.PAGESIZE))


def proportional_set(files: list[Path]) -> int:
    """Pss of one process that maps all the files: pages that are the same frame count once."""
    mappings, addresses = [], []
    for path in files:
        with open(path, "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        sum(mapping[at] for at in range(0, len(mapping), mmap.PAGESIZE))
        mappings.append(mapping)
    total, ours = 0, False
    wanted = {str(path) for path in files}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split(" ", 1)[0].count("-") == 1 and not line.split(" ", 1)[0].endswith(":"):
            ours = line.split(None, 5)[-1] in wanted
            addresses += [line] if ours else []
        elif ours and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    assert len(addresses) == len(files), "every mapping is in smaps"
    return total


def run(bench: Bench) -> None:
    source = bench.inputs[0]
    store = bench.shared
    names = programs(source.tree)
    folders = [bench.folder(f"mnt{number:02}") for number in range(MOUNTS)]
    for folder in folders:
        store.run("mount", source.name, folder)
    try:
        store.run("tier", "evict")
        measure.drop_caches()
        start = cached()
        read(folders[0], names)
        one = cached() - start
        for folder in folders[1:]:
            read(folder, names)
        all_of_them = cached() - start
        bench.add(f"{len(names):,} programs through {MOUNTS} mounts", "MiB", all_of_them / MIB, peer="one mount", theirs=one / MIB,
                  ratio_at_most=1.1, command="growth of Cached in /proc/meminfo; files mapped and touched")
        largest = max(names, key=lambda name: (source.tree / name).stat().st_size)
        smallest = min((name for name in names if (source.tree / name).stat().st_size > 4096),
                       key=lambda name: (source.tree / name).stat().st_size)
        for name in (largest, smallest):
            size = -(-(source.tree / name).stat().st_size // mmap.PAGESIZE) * mmap.PAGESIZE
            shared = proportional_set([folder / name for folder in folders])
            bench.add(f"Pss of {name.name} mapped {MOUNTS} times", "KiB", shared / 1024, peer="its size", theirs=size / 1024,
                      ratio_at_most=1.1, command="/proc/self/smaps")
    finally:
        for folder in folders:
            subprocess.run(store.command("umount", folder), env=store.environment, check=True)
