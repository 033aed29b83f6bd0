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
AT_ONCE = 500  # names in one command


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
    names = [f"sleeper{number}" for number in range(SLEEPERS)]
    groups = [names[at:at + AT_ONCE] for at in range(0, SLEEPERS, AT_ONCE)]
    bench.add(f"{SLEEPERS:,} clones made", "s", measure.timed(lambda: [store.run("clone", "image", *group) for group in groups]), at_most=10,
              command=f"stellarium clone IMAGE NAME… ({AT_ONCE} names a command)")
    store.run("clone", "image", "watched")
    with store.mounted("watched", disk / "mnt") as mount:
        before = look_ups(mount, lambda: time.sleep(2))
        took = 0.0

        def remove() -> None:
            nonlocal took
            took = measure.timed(lambda: [store.run("rm", *group) for group in groups])

        during = look_ups(mount, remove)
    bench.add(f"{SLEEPERS:,} clones removed", "s", took, command=f"stellarium rm NAME… ({AT_ONCE} names a command)")
    bench.add("look-up of an absent name, p99, while they are removed", "µs", p99(during) * 1e6, peer="before", theirs=p99(before) * 1e6,
              command="stat(2) of names that are not there")


def look_ups(mount: Path, meanwhile) -> list[float]:
    """How long each took while `meanwhile` ran."""
    worker = threading.Thread(target=meanwhile)
    worker.start()
    times = []
    while worker.is_alive():
        path = str(mount / f"absent-{random.getrandbits(60)}")
        began = time.perf_counter()
        os.path.lexists(path)
        times.append(time.perf_counter() - began)
        time.sleep(0.0005)
    worker.join()
    return times


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def private_changes(bench: Bench, store: Store, disk: Path, image_bytes: int) -> None:
    for number in range(WRITERS):
        store.run("clone", "image", f"writer{number}")
        with store.mounted(f"writer{number}", disk / "mnt") as mount:
            (mount / "private").write_bytes(random.Random(number).randbytes(PRIVATE))
    os.sync()
    holds, copies = store.stored(), WRITERS * (image_bytes + PRIVATE)
    bench.add(f"{WRITERS:,} clones with {PRIVATE // MIB} MiB of their own: space saved", "%", 100 * (1 - holds / copies), at_least=98,
              command="du of the store", note=f"the store holds {holds / 1e9:.2f} GB, copies would take {copies / 1e9:.0f} GB")
