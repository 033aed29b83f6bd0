"""Figures side by side: the table for people, the JSON for everything else."""
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SCHEMA = 1


@dataclass
class Figure:
    """One line: what we measured, what the peer needed, and the line that has to be held."""
    workload: str
    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    at_most: float | None = None  # of `ours`
    at_least: float | None = None
    ratio_at_most: float | None = None  # of ours ÷ theirs
    ratio_at_least: float | None = None
    command: str = ""  # what was run on our side
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    @property
    def met(self) -> bool | None:
        checks = [self.at_most is None or self.ours <= self.at_most, self.at_least is None or self.ours >= self.at_least]
        if self.ratio is not None:
            checks += [self.ratio_at_most is None or self.ratio <= self.ratio_at_most,
                       self.ratio_at_least is None or self.ratio >= self.ratio_at_least]
        return all(checks) if self.target else None

    @property
    def target(self) -> str:
        limits = [("≤ {:g} {}", self.at_most), ("≥ {:g} {}", self.at_least)]
        texts = [text.format(value, self.unit) for text, value in limits if value is not None]
        texts += [f"ratio ≤ {self.ratio_at_most:g}"] if self.ratio_at_most is not None else []
        texts += [f"ratio ≥ {self.ratio_at_least:g}"] if self.ratio_at_least is not None else []
        return ", ".join(texts)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(figure: Figure) -> list[str]:
    verdict = {True: "yes", False: "NO", None: ""}[figure.met]
    return [figure.workload, figure.what, f"{shown(figure.ours)} {figure.unit}", figure.peer,
            f"{shown(figure.theirs)} {figure.unit}" if figure.theirs is not None else "",
            shown(figure.ratio), figure.target, verdict]


def table(figures: list[Figure]) -> str:
    rows = [["workload", "what", "Stellarium", "peer", "peer's", "ratio", "target", "met"], *map(row, figures)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |" for cells in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        return done.stdout.decode(errors="replace").strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "not installed"


def machine(scratch: Path) -> dict:
    cpu = next((line.split(": ", 1)[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {"cpu": cpu, "processors": os.cpu_count(), "memory_bytes": int(memory) * 1024, "kernel": platform.release(),
            "filesystem": first_line(["stat", "-f", "-c", "%T", str(scratch)]),
            "load_at_start": os.getloadavg()[0]}


def peer_versions() -> dict[str, str]:
    return {"borg": first_line(["borg", "--version"]), "restic": first_line(["restic", "version"]),
            "casync": first_line(["casync", "--version"]), "mksquashfs": first_line(["mksquashfs", "-version"]),
            "squashfuse": first_line(["squashfuse", "--help"]), "fuse-overlayfs": first_line(["fuse-overlayfs", "--version"])}


def document(figures: list[Figure], scratch: Path, commit: str, inputs: list[dict]) -> str:
    lines = [asdict(figure) | {"ratio": figure.ratio, "target": figure.target, "met": figure.met} for figure in figures]
    return json.dumps({"schema": SCHEMA, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit,
                       "machine": machine(scratch), "peers": peer_versions(), "inputs": inputs, "figures": lines},
                      indent=1, ensure_ascii=False)
