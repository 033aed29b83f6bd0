"""One virtual machine after the other reads the same image: over our virtio-fs, each on a clone of its own, and over QEMU's virtiofsd on one folder."""
import subprocess

import machines
import measure
from bench import Bench

MACHINES = 4
WORK = "tar"


def run(bench: Bench) -> None:
    kernel = machines.require(bench.kernel)
    tree = bench.folder("tree") / "root"
    subprocess.run(["cp", "-a", bench.inputs[0].tree, tree], check=True)
    machines.add_program(tree)
    store, sockets = bench.fresh_store("store"), bench.folder("sockets")
    store.run("import", tree, "base")
    ours: list[machines.Run] = []
    theirs: list[machines.Run] = []
    for number in range(MACHINES):
        store.run("clone", "base", f"root{number}")
        with machines.ours(store, f"root{number}", sockets) as device:
            ours.append(machines.start(kernel, device, WORK))
        with machines.peers(tree, sockets) as device:
            theirs.append(machines.start(kernel, device, WORK))
    told = {"peer": "QEMU's virtiofsd", "command": "tar -cf - /usr | cat, in a guest"}
    for name, number in (("first", 0), ("second", 1), (f"{MACHINES}th", MACHINES - 1)):
        bench.add(f"{name} machine of an image: tar", "s", ours[number].wall_of(WORK), theirs=theirs[number].wall_of(WORK), **told)
        bench.add("… the daemon's CPU", "s", ours[number].cpu_of(WORK), theirs=theirs[number].cpu_of(WORK), **told)
