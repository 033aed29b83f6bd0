"""A virtual machine to its first program, the plain image: from a fresh clone over virtio-fs, QEMU's virtiofsd on a folder, ext4 on a disk."""
import subprocess

import machines
import measure
from bench import Bench


def run(bench: Bench) -> None:
    kernel = machines.require(bench.kernel)
    tree = bench.folder("tree") / "root"
    subprocess.run(["cp", "-a", bench.inputs[0].tree, tree], check=True)
    machines.add_program(tree)
    image = machines.disk_image(bench, tree)
    store, sockets = bench.fresh_store("store"), bench.folder("sockets")
    store.run("import", tree, "base")
    told: dict[str, float] = {}
    number = 0

    def ours() -> float:
        nonlocal number
        number += 1
        store.run("clone", "base", f"root{number}")
        with machines.ours(store, f"root{number}", sockets) as device:
            done = machines.start(kernel, device)
        told.update(cpu=done.cpu["first program"], requests=done.requests, answered=done.answered)
        return done.wall["first program"]

    def theirs() -> float:
        with machines.peers(tree, sockets) as device:
            done = machines.start(kernel, device)
        told.update(peer_cpu=done.cpu["first program"])
        return done.wall["first program"]

    def disk() -> float:
        return machines.start(kernel, machines.disk(image)).wall["first program"]

    ours(), theirs(), disk()
    times = measure.in_turn(2 * bench.rounds, ours=ours, theirs=theirs, disk=disk)
    note = (f"{told['requests']:,} requests, {told['answered']:,} bytes; "
            f"daemon's CPU {told['cpu'] * 1000:.0f} ms, the peer's {told['peer_cpu'] * 1000:.0f} ms")
    command = "stellarium virtiofsd CLONE --socket-path S; qemu-system-x86_64 -accel tcg"
    bench.add("boot to the first program", "ms", times["ours"] * 1000, peer="QEMU's virtiofsd", theirs=times["theirs"] * 1000, ratio_at_most=1, command=command, note=note)
    bench.add("boot to the first program", "ms", times["ours"] * 1000, peer="ext4 on NVMe", theirs=times["disk"] * 1000, ratio_at_most=1, command=command)
