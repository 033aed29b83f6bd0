"""Every file of a tree of small files, with a warm cache."""
import measure
from bench import Bench


def run(bench: Bench) -> None:
    tree = bench.small_files()
    count = sum(1 for path in tree.rglob("*") if path.is_file())
    store = bench.fresh_store("ours")
    store.run("import", tree, "small")
    with store.mounted("small", bench.folder("mnt")) as mount, bench.squashfuse(tree) as squash:
        for root in (mount, squash, tree):
            measure.read_tree(root)
            measure.read_tree(root)
        before = store.requests()
        measure.read_tree(mount)
        sent = {name: n - before.get(name, 0) for name, n in store.requests().items() if n != before.get(name, 0)}
        times = measure.in_turn(bench.rounds, ours=lambda: measure.read_tree(mount), squash=lambda: measure.read_tree(squash),
                                host=lambda: measure.read_tree(tree))
    command = "tar c . | cat >/dev/null, warm"
    rates = {name: count / seconds for name, seconds in times.items()}
    bench.add(f"{count:,} files", "files/s", rates["ours"], peer="host file system", theirs=rates["host"], ratio_at_least=0.5, command=command)
    bench.add(f"{count:,} files", "files/s", rates["ours"], peer="squashfuse", theirs=rates["squash"], ratio_at_least=1.5, command=command)
    bench.add("requests per file", "", sum(sent.values()) / count, command=command,
              note=", ".join(f"{name} {n / count:.2f}" for name, n in sorted(sent.items(), key=lambda item: -item[1])))
    store.stop()
