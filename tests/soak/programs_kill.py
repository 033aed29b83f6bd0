#!/usr/bin/env python3
"""The server is killed while real programs work in clones of a Debian root: apt-get installs, tar unpacks, make builds.

    STELLARIUM_BIN=build/release/tools tests/soak/programs_kill.py [--kills 100] ROOT.tar

Each round is a new clone in which all three run at once; a fourth program measures how long single calls wait. Wanted: every program
ends with 0, no call waits a second, dpkg finds every file that it unpacked right, the unpacked tree is its archive, the built
program runs: all that again after the clone was mounted anew, and `fsck --deep` is clean. The packages are fetched once, before the first round.
Needs root, gcc and make; ends with 1 at the first thing that is wrong."""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "mount"), str(TESTS / "fault"), str(TESTS.parent / "tools" / "bench"), str(TESTS.parent / "tools" / "bench" / "workloads")]
import harness
from clone_writers import Writer
from harness import Store
from sources import write_sources

PACKAGES = ["g++", "git", "python3"]
STALL = 1.0  # seconds that a call may wait


def in_root(root: Path, *command: str) -> list[str]:
    return ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command]


def run(command: list) -> str:
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise harness.Failed(f"{command}: exit code {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def fetch(store: Store) -> None:
    """Leaves the clone `fetched`: the root with the packages' archives."""
    store.run("clone", "root", "fetched")
    with store.mounted("fetched") as mount:
        shutil.copy("/etc/resolv.conf", mount / "etc" / "resolv.conf")
        run(in_root(mount, "apt-get", "update", "-qq"))
        run(in_root(mount, "apt-get", "install", "-y", "-qq", "--download-only", "--no-install-recommends", *PACKAGES))
    store.run("snapshot", "fetched@all")


class Loads:
    """The programs of one round, each in a thread that waits for it."""

    def __init__(self, mount: Path, tar: Path):
        (mount / "tree").mkdir()
        write_sources(mount / "sources")
        self.errors: list[str] = []
        commands = {"apt": in_root(mount, "apt-get", "install", "-y", "-qq", "--no-download", "--no-install-recommends", *PACKAGES),
                    "tar": ["tar", "-xf", tar, "-C", mount / "tree"], "make": ["make", "-s", "-C", mount / "sources", "-j2"]}
        self.threads = [threading.Thread(target=self.work, args=[name, command]) for name, command in commands.items()]
        for thread in self.threads:
            thread.start()

    def work(self, name: str, command: list) -> None:
        try:
            run(command)
        except harness.Failed as error:
            self.errors.append(f"{name}: {error}")

    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)


def prober(folder: Path):
    """A program that makes, syncs, renames, reads, lists and removes, one call after the other."""
    def work(writer: Writer) -> None:
        name, final = folder / "new", folder / f"f{writer.rounds % 50}"
        fd = writer.timed(os.open, name, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644)
        writer.timed(os.write, fd, b"%d" % writer.rounds * 100)
        writer.timed(os.close, fd)
        writer.timed(os.rename, name, final)
        fd = writer.timed(os.open, final, os.O_RDONLY)
        if writer.timed(os.read, fd, 1 << 16) != b"%d" % writer.rounds * 100:
            raise AssertionError(f"{final} is not what was written")
        writer.timed(os.close, fd)
        writer.timed(os.listdir, folder)
        if writer.rounds % 50 == 49:
            writer.timed(os.unlink, final)
        time.sleep(0.001)
    folder.mkdir()
    return Writer("prober", work)


def check(mount: Path, tar: Path) -> None:
    for audit in (("dpkg", "--audit"), ("dpkg", "--verify")):
        said = [line for line in run(in_root(mount, *audit)).splitlines() if not line.startswith("??5?????? c ")]
        if said:
            raise harness.Failed(f"{' '.join(audit)}: {said[:20]}")
    run(in_root(mount, "git", "--version"))
    run(["tar", "--compare", "-f", tar, "-C", mount / "tree"])
    if run([mount / "sources" / "program"]).strip() == "":
        raise harness.Failed("the built program prints nothing")


def one_round(store: Store, number: int, kills: int, tar: Path, rng: random.Random) -> tuple[int, float]:
    """How often the server was killed, at most `kills` times, and the longest wait."""
    name, killed = f"r{number}", 0
    store.run("clone", "fetched@all", name)
    with store.mounted(name) as mount:
        probe = prober(mount / "probe")
        probe.start()
        loads = Loads(mount, tar)
        while loads.busy():
            time.sleep(rng.uniform(0.05, 1.2))
            if killed < kills and loads.busy():
                os.kill(store.server(), signal.SIGKILL)
                killed += 1
        if error := probe.end():
            loads.errors.append(error)
        if loads.errors:
            raise harness.Failed("\n".join(loads.errors) + "\n" + (store.dir / "run" / "server.log").read_text()[-4000:])
        if probe.longest >= STALL:
            raise harness.Failed(f"{probe.slowest} waited {probe.longest:.2f} s")
        check(mount, tar)
    with store.mounted(name) as mount:
        check(mount, tar)
    store.run("fsck", "--deep")
    store.run("rm", name)
    return killed, probe.longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tar", type=Path, metavar="ROOT.tar")
    options = parser.parse_args()
    harness.require_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, too
    rng = random.Random(options.seed)
    with Store() as store:
        store.run("import", options.tar, "root")
        fetch(store)
        killed, longest, number = 0, 0.0, 0
        while killed < options.kills:
            here, wait = one_round(store, number, options.kills - killed, options.tar, rng)
            print(f"round {number}: {here} kills, {wait * 1000:.0f} ms the longest wait", flush=True)
            killed, longest, number = killed + here, max(longest, wait), number + 1
    print(f"{killed} kills in {number} round(s) of apt-get, tar and make: no operation failed, {longest * 1000:.0f} ms the longest wait; fsck --deep is clean")


if __name__ == "__main__":
    main()
