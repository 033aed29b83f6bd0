"""Many clones of one image: what making one, keeping what each of them wrote, and removing them costs."""
import os
import random
import statistics
import threading
import time
from pathlib import Path

import measure
from bench import Bench, Store

MIB = 1 << 20
PRIVATE = 10 * MIB  # that each writing clone changes
WRITERS, SLEEPERS = 1_000, 10_000
AT_ONCE = 4_000  # names in one command
ROUNDS = 3


def run(bench: Bench) -> None:
    source = max(bench.inputs, key=lambda each: each.content_bytes)
    with bench.fresh_disk(20 << 30) as disk:
        store = Store(bench.program, disk / "ours")
        try:
            store.run("import", source.tree, "image")
            one_clone(bench, store)
            many_clones(bench, store, disk)
            private_changes(bench, store, disk, source.content_bytes)
        finally:
            store.stop()


def one_clone(bench: Bench, store: Store) -> None:
    walls = {"clone": [], "snapshot": []}
    for number in range(max(20, bench.rounds)):
        walls["clone"].append(store.run("clone", "image", f"one{number}").wall)
        walls["snapshot"].append(store.run("snapshot", f"one{number}@s").wall)
    nothing = statistics.median(store.run("clones").wall for _ in range(20))
    for name, times in walls.items():
        bench.add(f"{name}, the whole command", "ms", statistics.median(times) * 1000, peer="a command that only lists", theirs=nothing * 1000,
                  command=f"stellarium {name}")


def many_clones(bench: Bench, store: Store, disk: Path) -> None:
    """Three times: ten thousand clones are made and removed, while somebody looks up names that are not there."""
    names = [f"sleeper{number}" for number in range(SLEEPERS)]
    groups = [names[at:at + AT_ONCE] for at in range(0, SLEEPERS, AT_ONCE)]
    store.run("clone", "image", "watched")
    made, removed, rounds = [], [], []
    with store.mounted("watched", disk / "mnt") as clone, store.mounted_whole(disk / "all") as whole:
        for _ in range(ROUNDS):
            made.append(measure.timed(lambda: [store.run("clone", "image", *group) for group in groups]))
            time.sleep(1)
            rounds.append({"before": look_ups((clone, whole / "images"), lambda: time.sleep(3)),
                           "while": look_ups((clone, whole / "images"), lambda: removed.append(measure.timed(lambda: remove_all(store, groups)))),
                           "after": look_ups((clone, whole / "images"), lambda: time.sleep(3))})
    bench.add(f"{SLEEPERS:,} clones made", "s", statistics.median(made), at_most=10, command=f"stellarium clone IMAGE NAME… ({AT_ONCE:,} names a command)")
    bench.add(f"{SLEEPERS:,} clones removed, until no record of them is left", "s", statistics.median(removed), at_most=60,
              command=f"stellarium rm NAME… ({AT_ONCE:,} names a command)")
    for number, place in enumerate(("a mounted clone", "a mount of the whole store")):
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            figures = [{when: quantile(times[number], share) * 1e6 for when, times in each.items()} for each in rounds]
            bench.add(f"look-up of an absent name in {place}, {name}, while they are removed", "µs", statistics.median(each["while"] for each in figures),
                      peer="before", theirs=statistics.median(each["before"] for each in figures), command="stat(2) of names that are not there",
                      note="; ".join(" → ".join(f"{each[when]:.0f}" for when in ("before", "while", "after")) for each in figures))


def remove_all(store: Store, groups: list[list[str]]) -> None:
    for group in groups:
        store.run("rm", *group)
    while any(store.json("stats")["layers"].values()):
        time.sleep(0.1)


def look_ups(places, meanwhile) -> list[list[float]]:
    """How long each took while `meanwhile` ran, by place."""
    worker = threading.Thread(target=meanwhile)
    worker.start()
    times: list[list[float]] = [[] for _ in places]
    while worker.is_alive():
        for number, place in enumerate(places):
            path = str(place / f"absent-{random.getrandbits(60)}")
            began = time.perf_counter()
            os.path.lexists(path)
            times[number].append(time.perf_counter() - began)
        time.sleep(0.0005)
    worker.join()
    return times


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


def private_changes(bench: Bench, store: Store, disk: Path, image_bytes: int) -> None:
    for number in range(WRITERS):
        store.run("clone", "image", f"writer{number}")
        with store.mounted(f"writer{number}", disk / "mnt") as mount:
            (mount / "private").write_bytes(random.Random(number).randbytes(PRIVATE))
    os.sync()
    holds, copies = store.stored(), WRITERS * (image_bytes + PRIVATE)
    bench.add(f"{WRITERS:,} clones with {PRIVATE // MIB} MiB of their own: space saved", "%", 100 * (1 - holds / copies), at_least=98,
              command="du of the store", note=f"the store holds {holds / 1e9:.2f} GB, copies would take {copies / 1e9:.0f} GB")
