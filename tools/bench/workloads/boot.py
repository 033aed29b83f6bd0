"""systemd as PID 1 of a container, to `running` or `degraded`: from a fresh clone, and from a fresh copy in a plain directory."""
import re
import subprocess
import sys
import time
from pathlib import Path

import measure
from bench import Bench

PLAIN = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"]
# Says how the boot ended and which units failed, and ends the container.
REPORT = """[Unit]
Description=Report
[Service]
ExecStart=/bin/sh -c 'state=$(systemctl is-system-running --wait); echo reached $state without $(systemctl --failed --plain --no-legend | cut -d" " -f1) >/dev/console; systemctl poweroff'
"""
STATE = re.compile(r"reached \w+ without[^\\r]*")


def run(bench: Bench) -> None:
    tree = prepared(bench)
    store = bench.fresh_store("store")
    store.run("import", tree, "system")
    states: dict[str, set[str]] = {"clone": set(), "plain": set()}

    def plain() -> float:
        root = bench.folder("plain") / "root"
        subprocess.run(["cp", "-a", "--reflink=never", tree, root], check=True)
        subprocess.run(["sync"], check=True)
        return boot([*PLAIN, "--machine=plain", "-D", root], states["plain"])

    def clone() -> float:
        return boot(store.command("nspawn", "--boot", "system"), states["clone"], env=store.environment)

    plain(), clone()
    times = measure.in_turn(2 * bench.rounds, ours=clone, theirs=plain)
    if states["clone"] != states["plain"]:
        sys.exit(f"the clone {' or '.join(states['clone'])}, the folder {' or '.join(states['plain'])}")
    bench.add("boot of " + tree.name, "ms", times["ours"] * 1000, peer="plain directory", theirs=times["theirs"] * 1000, ratio_at_most=1.1,
              command="stellarium nspawn --boot REF", note=" or ".join(states["clone"]))


def prepared(bench: Bench) -> Path:
    """A copy of the first input that has systemd, with the unit that reports."""
    source = next((source for source in bench.inputs if (source.tree / "usr/lib/systemd/systemd").exists()), None)
    if source is None:
        sys.exit("boot: none of the inputs has systemd")
    tree = bench.folder("tree") / source.name
    subprocess.run(["cp", "-a", source.tree, tree], check=True)
    units = tree / "etc/systemd/system"
    (units / "report.service").write_text(REPORT)
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "report.service").symlink_to("../report.service")
    return tree


def boot(command: list, states: set[str], **options) -> float:
    """Seconds until it is up; waits for its end, too."""
    started = time.perf_counter()
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options) as container:
        seen = []
        for line in container.stdout:
            seen.append(line.decode(errors="replace").strip())
            if state := STATE.search(seen[-1]):
                seconds = time.perf_counter() - started
                states.add(state[0])
                break
        else:
            sys.exit("\n".join(["the container ended before it was up", *seen[-200:]]))
        container.stdout.read()
    return seconds
