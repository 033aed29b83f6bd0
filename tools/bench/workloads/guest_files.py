"""In a virtual machine: find, tar, 4 KiB reads at random places and untarring, over our virtio-fs and QEMU's virtiofsd on a folder."""
import random
import subprocess

import machines
import measure
from bench import Bench

WORKS = {"find": "find /usr", "tar": "tar -cf - /usr | cat", "random": "300 reads of 4 KiB", "untar": "tar -xf of 200 MB"}
UNTARRED = 200 << 20


def run(bench: Bench) -> None:
    kernel = machines.require(bench.kernel)
    tree = bench.folder("tree") / "root"
    base, large = bench.inputs[0], max(bench.inputs, key=lambda each: each.tar.stat().st_size)
    subprocess.run(["cp", "-a", base.tree, tree], check=True)
    machines.add_program(tree)
    folder = small_tree(bench, large.tree, UNTARRED)
    subprocess.run(["tar", "-C", folder, "-cf", tree / "bench-tar", "."], check=True)
    with open(large.tar, "rb") as source, open(tree / "bench-large", "wb") as out:
        out.write(source.read(128 << 20))
    places = random.Random(1).sample(range((128 << 20) // 4096), 300)
    (tree / "bench-places").write_text(" ".join(map(str, places)))

    runs: dict[str, list[machines.Run]] = {"ours": [], "theirs": []}
    for _ in range(bench.rounds):
        with bench.fresh_disk() as disk:
            (store := bench_store(bench, disk)).run("import", tree, "base")
            store.run("clone", "base", "root")
            with machines.ours(store, "root", bench.folder("sockets")) as device:
                runs["ours"].append(machines.start(kernel, device, " ".join(WORKS)))
            store.stop()
        with bench.fresh_disk() as disk:
            subprocess.run(["cp", "-a", tree, disk / "root"], check=True)
            subprocess.run(["sync"], check=True)
            with machines.peers(disk / "root", bench.folder("sockets")) as device:
                runs["theirs"].append(machines.start(kernel, device, " ".join(WORKS)))
    for work, what in WORKS.items():
        wall = {who: measure.statistics.median(run.wall_of(work) for run in all_runs) for who, all_runs in runs.items()}
        cpu = {who: measure.statistics.median(run.cpu_of(work) for run in all_runs) for who, all_runs in runs.items()}
        bench.add(f"in a guest: {what}", "s", wall["ours"], peer="QEMU's virtiofsd", theirs=wall["theirs"], ratio_at_most=1 / 1.2,
                  note=f"host CPU {cpu['ours']:.2f} s, the peer's {cpu['theirs']:.2f} s: {cpu['ours'] / max(cpu['theirs'], 0.01):.2f}")


def bench_store(bench: Bench, disk):
    from bench import Store
    return Store(bench.program, disk / "ours")


def small_tree(bench: Bench, source, size: int):
    """Whole folders of a tree, about so many bytes."""
    folder = bench.folder("untar")
    done = 0
    for part in sorted((source / "usr").iterdir()):
        for child in sorted(part.iterdir()) if part.is_dir() and not part.is_symlink() else []:
            if child.is_symlink() or done >= size:
                continue
            (folder / part.name).mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", child, folder / part.name], check=True)
            done += measure.du(child)
    return folder
