"""Sixty-four mounts of one image: every program and library is in memory once."""
import ctypes
import mmap
import os
import subprocess
from pathlib import Path

import measure
from bench import Bench, Store

MOUNTS = 64
MIB = 1 << 20


CACHESTAT = 451  # system call number on every architecture, Linux 6.5


def cached_pages(path: Path) -> int:
    """Pages of the page cache that belong to this very file: none for one that is passed through, whose pages are the hot file's."""
    span, found = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    fd = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syscall(CACHESTAT, fd, span, found, 0) != 0:
            raise OSError(ctypes.get_errno(), "cachestat (Linux 6.5 has it)")
    finally:
        os.close(fd)
    return found[0]


def cached(store: Store, mounts: list[Path], names: list[Path]) -> int:
    """Bytes of page cache behind `names` seen through `mounts`: the mounts' own pages and the hot files'."""
    through = sum(cached_pages(mount / name) for mount in mounts for name in names)
    hot = sum(cached_pages(path) for path in (store.dir / "hot").rglob("*") if path.is_file())
    return (through + hot) * mmap.PAGESIZE


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


def own_pss() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_File:")) * 1024


def proportional_set(files: list[Path]) -> int:
    """What mapping all the files adds to the Pss of one process: pages that are the same frame count once."""
    before, mappings = own_pss(), []
    for path in files:
        with open(path, "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        sum(mapping[at] for at in range(0, len(mapping), mmap.PAGESIZE))
        mappings.append(mapping)
    return own_pss() - before


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
        read(folders[0], names)
        one = cached(store, folders[:1], names)
        for folder in folders[1:]:
            read(folder, names)
        all_of_them = cached(store, folders, names)
        bench.add(f"{len(names):,} programs through {MOUNTS} mounts", "MiB", all_of_them / MIB, peer="one mount", theirs=one / MIB,
                  ratio_at_most=1.1, command="cachestat of every file on every mount and of the hot files, after mapping and touching all")
        largest = max(names, key=lambda name: (source.tree / name).stat().st_size)
        smallest = min((name for name in names if (source.tree / name).stat().st_size > 4096),
                       key=lambda name: (source.tree / name).stat().st_size)
        for name in (largest, smallest):
            size = -(-(source.tree / name).stat().st_size // mmap.PAGESIZE) * mmap.PAGESIZE
            shared = proportional_set([folder / name for folder in folders])
            bench.add(f"Pss of {name.name} mapped {MOUNTS} times", "KiB", shared / 1024, peer="its size", theirs=size / 1024,
                      ratio_at_most=1.1, command="Pss_File of /proc/self/smaps_rollup")
    finally:
        for folder in folders:
            subprocess.run(store.command("umount", folder), env=store.environment, check=True)
