"""A command in systemd-nspawn, from a mount and from a plain directory."""
import measure
from bench import Bench

OPTIONS = ["--quiet", "--register=no", "--keep-unit", "--pipe", "--resolv-conf=off", "--timezone=off"]


def run(bench: Bench) -> None:
    source = bench.inputs[0]
    store = bench.shared

    def nspawn(root, mode: str) -> float:
        return measure.run(["systemd-nspawn", *OPTIONS, mode, "-D", root, "/bin/sh", "-c", "ls -R /usr/share >/dev/null; id -u"]).wall

    with store.mounted(source.name, bench.folder("mnt")) as mount:
        for mode in ("--read-only", "--volatile=overlay"):
            nspawn(mount, mode), nspawn(source.tree, mode)
            times = measure.in_turn(2 * bench.rounds, ours=lambda: nspawn(mount, mode), theirs=lambda: nspawn(source.tree, mode))
            bench.add(f"a command, {mode}", "ms", times["ours"] * 1000, peer="plain directory", theirs=times["theirs"] * 1000,
                      ratio_at_most=1.2, command=f"systemd-nspawn {mode} -D DIR sh -c 'ls -R /usr/share; id -u'")
