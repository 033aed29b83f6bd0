"""apt-get install in a clone, and in what else containers write to. The packages are fetched once, before it is measured."""
import shutil
import subprocess
from pathlib import Path

import measure
import writable
from bench import Bench

PACKAGES = ["g++", "git", "cmake", "python3"]  # about 200 MB
FETCHED = ["var/lib/apt/lists", "var/cache/apt/archives"]


def run(bench: Bench) -> None:
    base = bench.inputs[0]
    fetched = fetch(bench)

    def install(root: Path) -> float:
        for folder in FETCHED:
            shutil.copytree(fetched / folder, root / folder, dirs_exist_ok=True)
        return measure.timed(lambda: in_root(root, "apt-get", "install", "-y", "-qq", "--no-download", "--no-install-recommends", *PACKAGES))

    seconds = writable.in_turn(bench, base, install)
    what, command = f"apt-get install {' '.join(PACKAGES)}", "chroot CLONE apt-get install --no-download …"
    bench.add(what, "s", seconds["clone"], peer="kernel overlayfs", theirs=seconds["overlay"], ratio_at_most=1 / 0.85, command=command)
    bench.add(what, "s", seconds["clone"], peer="fuse-overlayfs", theirs=seconds["fuse_overlayfs"], ratio_at_most=1 / 1.5, command=command)


def fetch(bench: Bench) -> Path:
    """A folder with the packages' archives and apt's lists; kept with the scratch folder."""
    kept = bench.scratch / "packages"
    if not kept.exists():
        part = bench.scratch / "packages.part"
        shutil.rmtree(part, ignore_errors=True)
        with writable.overlay(bench, bench.inputs[0]) as root:
            shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
            in_root(root, "apt-get", "update", "-qq")
            in_root(root, "apt-get", "install", "-y", "-qq", "--download-only", "--no-install-recommends", *PACKAGES)
            for folder in FETCHED:
                shutil.copytree(root / folder, part / folder)
        part.rename(kept)
    return kept


def in_root(root: Path, *command: str) -> None:
    done = subprocess.run(["chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout.decode(errors='replace')[-2000:]}")
