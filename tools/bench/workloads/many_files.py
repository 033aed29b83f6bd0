"""Memory while a tree of two million entries comes in (as a tar stream, made on the fly)."""
import subprocess
import sys

from bench import Bench

MIB = 1 << 20
ENTRIES = 2_000_000
PER_FOLDER = 1000

def header(name: bytes, size: int, kind: bytes) -> bytes:
    block = bytearray(512)
    block[0:len(name)] = name
    block[100:108] = b"0000755\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"14000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)

def stream(out) -> None:
    """Folders of 1,000 files; every tenth file has a few bytes of its own."""
    with out:
        for number in range(ENTRIES):
            folder = b"./d%05d" % (number // PER_FOLDER)
            if number % PER_FOLDER == 0:
                out.write(header(folder + b"/", 0, b"5"))
            data = b"%d\n" % number if number % 10 == 0 else b""
            out.write(header(folder + b"/file%07d" % number, len(data), b"0") + data + bytes(-len(data) % 512))
        out.write(bytes(1024))


def run(bench: Bench) -> None:
    store = bench.fresh_store("ours")
    reader = subprocess.Popen([sys.executable, "-c", "import many_files, sys; many_files.stream(sys.stdout.buffer)"],
                              stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)})
    used = store.run("import", "-", "many", stdin=reader.stdout)
    bench.add(f"peak memory, {ENTRIES:,} entries", "MiB", used.peak_rss / MIB, at_most=256, command="stellarium import - NAME")
    bench.add(f"time, {ENTRIES:,} entries", "s", used.wall, command="stellarium import - NAME")
    store.stop()
