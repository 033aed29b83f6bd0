"""From the command to a mount that answers."""
import statistics

import measure
from bench import Bench


def run(bench: Bench) -> None:
    store = bench.shared
    where = bench.folder("mnt")
    slowest, name = 0.0, ""
    for source in bench.inputs:
        times = []
        for _ in range(bench.rounds):
            times.append(store.run("mount", source.name, where).wall)
            store.run("umount", where)
        if statistics.median(times) > slowest:
            slowest, name = statistics.median(times), source.name
    with bench.squashfuse(bench.inputs[0].tree):
        pass  # makes the image, so that only mounting is timed
    def squashfuse() -> float:
        with measure.unmounting(bench.folder("peer")) as peer:
            return measure.run(["squashfuse", bench.squashfs_image(bench.inputs[0].tree), peer]).wall

    theirs = measure.in_turn(bench.rounds, squashfuse=squashfuse)["squashfuse"]
    bench.add(f"mount, slowest image ({name})", "ms", slowest * 1000, peer="squashfuse", theirs=theirs * 1000, at_most=10,
              command="stellarium mount NAME DIR (daemon running)")
