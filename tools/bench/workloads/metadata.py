"""`find -ls` over a whole image: warm, and the first time after mounting."""
import measure
from bench import Bench


def run(bench: Bench) -> None:
    source = bench.inputs[0]
    store = bench.shared
    entries = sum(1 for _ in source.tree.rglob("*"))

    with store.mounted(source.name, bench.folder("mnt")) as mount:
        for root in (mount, source.tree):
            measure.list_tree(root)
        times = measure.in_turn(2 * bench.rounds, ours=lambda: measure.list_tree(mount), host=lambda: measure.list_tree(source.tree))
    rates = {name: entries / seconds for name, seconds in times.items()}
    bench.add("warm", "entries/s", rates["ours"], peer="host file system", theirs=rates["host"], ratio_at_least=0.9, command="find DIR -ls")

    def ours() -> float:
        with store.mounted(source.name, bench.folder("mnt")) as mount:
            return measure.list_tree(mount)

    def squashfuse() -> float:
        with bench.squashfuse(source.tree) as mount:
            return measure.list_tree(mount)

    def overlay() -> float:
        with bench.fuse_overlayfs(source.tree) as mount:
            return measure.list_tree(mount)

    first = measure.in_turn(bench.rounds, ours=ours, squashfuse=squashfuse, overlay=overlay)
    for peer, name in (("squashfuse", "squashfuse"), ("fuse-overlayfs", "overlay")):
        bench.add("first pass after mounting", "entries/s", entries / first["ours"], peer=peer, theirs=entries / first[name],
                  ratio_at_least=3.0, command="stellarium mount NAME DIR; find DIR -ls")
