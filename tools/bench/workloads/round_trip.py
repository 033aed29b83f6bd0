"""What the kernel's way to a FUSE server and back takes: a request that is refused at once (an ioctl), one after the other."""
import contextlib
import fcntl
import os
import termios
from pathlib import Path

import measure
from bench import Bench

CALLS = 20_000


def run(bench: Bench) -> None:
    source = bench.inputs[0]
    name = next(Path(folder).relative_to(source.tree) / names[0] for folder, _, names in os.walk(source.tree / "usr/share/doc") if names)
    store = bench.shared
    with store.mounted(source.name, bench.folder("mnt")) as mount, bench.squashfuse(source.tree) as squashed:
        times = measure.in_turn(bench.rounds, ours=lambda: refused(mount / name), theirs=lambda: refused(squashed / name),
                                host=lambda: refused(source.tree / name))
    bench.add("a request and its answer", "µs", times["ours"] - times["host"], peer="squashfuse", theirs=times["theirs"] - times["host"],
              command="ioctl(TCGETS) of a file; what it takes on the host's file system is subtracted")


def refused(path: Path) -> float:
    """µs a call, of this interpreter's own, too."""
    with open(path, "rb") as file:
        fd = file.fileno()

        def calls() -> None:
            for _ in range(CALLS):
                with contextlib.suppress(OSError):
                    fcntl.ioctl(fd, termios.TCGETS)
        return measure.timed(calls) / CALLS * 1e6
