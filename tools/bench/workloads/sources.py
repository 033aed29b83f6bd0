"""What a programmer does in a clone: `git status` of a large tree, and a C build that reads and writes many small files."""
import os
import subprocess
from pathlib import Path

import measure
import writable
from bench import Bench

SOURCES = 300


def run(bench: Bench) -> None:
    base, tar = bench.inputs[0], max((source.tar for source in bench.inputs), key=lambda tar: tar.stat().st_size)

    def status(root: Path) -> float:
        tree = root / "tree"
        tree.mkdir()
        measure.run(["tar", "-xf", tar, "-C", tree, "./usr/share", "./usr/lib", "./usr/include"])
        for command in (["init", "-q"], ["add", "-A"], ["status"]):
            measure.run(["git", "-C", tree, *command])
        return min(measure.timed(lambda: measure.run(["git", "-C", tree, "status", "--short"])) for _ in range(3))

    def build(root: Path) -> float:
        tree = root / "sources"
        write_sources(tree)
        return measure.timed(lambda: measure.run(["make", "-s", "-C", tree, f"-j{os.cpu_count()}"]))

    for what, work, command in ((f"git status of {tar.stem}", status, "git status in a clone, third run"),
                                (f"make of {SOURCES} C files", build, "make -j in a clone")):
        seconds = writable.in_turn(bench, base, work)
        bench.add(what, "s", seconds["clone"], peer="kernel overlayfs", theirs=seconds["overlay"], ratio_at_most=1 / 0.9, command=command)
        bench.add(what, "s", seconds["clone"], peer="fuse-overlayfs", theirs=seconds["fuse_overlayfs"], command=command)


def write_sources(tree: Path) -> None:
    """Each source includes the standard headers and ten of its neighbours'."""
    tree.mkdir()
    for n in range(SOURCES):
        (tree / f"part{n}.h").write_text(f"int part{n}(int);\n")
        includes = "".join(f'#include "part{(n + k) % SOURCES}.h"\n' for k in range(10))
        calls = " + ".join(f"part{(n + k) % SOURCES}(n - 1)" for k in range(1, 10))
        (tree / f"part{n}.c").write_text(f"#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n{includes}"
                                         f"int part{n}(int n) {{ return n <= 0 ? (int)strlen(\"{n}\") : {calls}; }}\n")
    (tree / "main.c").write_text('#include <stdio.h>\n#include "part0.h"\nint main(void) { printf("%d\\n", part0(1)); }\n')
    (tree / "Makefile").write_text("objects = $(patsubst %.c,%.o,$(wildcard *.c))\n"
                                   "program: $(objects)\n\tcc -o $@ $(objects)\n"
                                   "%.o: %.c\n\tcc -O1 -c -o $@ $<\n")
