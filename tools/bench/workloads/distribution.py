"""The first command in a container from an image that is elsewhere: over 100 Mbit/s and 50 ms, and as a whole over loopback.

The first image is the one that is started; with a second one on the command line, it is started again where that one (a sibling) is present."""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
from bench import Bench, Store

sys.path.append(str(Path(__file__).resolve().parents[3] / "tests" / "mount"))
import cdn  # noqa: E402

NSPAWN = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]
COMMAND = ["/bin/sh", "-c", "id -u; ls /usr/bin | wc -l"]
LINE = {"round_trip": 0.05, "rate": 12_500_000}


def quietly(*words, **options) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options)


class Published:
    """Our images in a folder that nginx serves."""

    def __init__(self, bench: Bench):
        self.bench, self.www = bench, bench.folder("www")
        self.config = bench.folder("config")
        store = self.store("publisher")
        for source in bench.inputs[:2]:
            store.run("import", source.tar, source.name)
            store.run("publish", source.name, self.www)
        self.key = store.json("remote", "key")["key"]
        store.stop()

    def store(self, name: str) -> Store:
        store = Store(self.bench.program, self.bench.folder(name))
        store.environment["STELLARIUM_CONFIG"] = str(self.config)
        return store

    def pull(self, store: Store, url: str, authority: Path, name: str, *options: str) -> dict:
        return store.json("pull", *options, f"{url}/{name}", "--trust", self.key, "--ca-file", authority)


class Registry:
    """The peer's: the same tree as one OCI layer in a registry of this host."""

    def __init__(self, bench: Bench):
        source, self.folder = bench.inputs[0], bench.folder("registry")
        layout = self.folder / "layout"
        quietly("umoci", "init", "--layout", layout)
        quietly("umoci", "new", "--image", f"{layout}:x")
        quietly("umoci", "raw", "add-layer", "--image", f"{layout}:x", source.tar)
        certificate, key = cdn.Authority(self.folder / "tls").sign("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.port = cdn.free_port()
        settings = self.folder / "settings.yml"
        settings.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.folder}/blobs}}}}\n"
                            f"http: {{addr: '127.0.0.1:{self.port}', tls: {{certificate: {certificate}, key: {key}}}}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        quietly("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://localhost:{self.port}/image:x")

    def start(self, port: int) -> float:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            began = time.monotonic()
            quietly("skopeo", "copy", "--src-tls-verify=false", f"docker://localhost:{port}/image:x", f"oci:{folder}/layout:x")
            quietly("umoci", "unpack", "--image", f"{folder}/layout:x", f"{folder}/bundle")
            quietly(*NSPAWN, "-D", f"{folder}/bundle/rootfs", *COMMAND)
            return time.monotonic() - began

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def run(bench: Bench) -> None:
    published, registry = Published(bench), Registry(bench)
    name, sibling = bench.inputs[0].name, bench.inputs[1].name if len(bench.inputs) > 1 else None
    told: dict[str, float] = {}
    try:
        with cdn.Nginx(published.www) as nginx, cdn.Link(nginx.port, **LINE) as near, cdn.Link(registry.port, **LINE) as far:

            def first_command(warm: bool) -> float:
                store = published.store("cold")
                store.daemon()
                if warm:
                    published.pull(store, nginx.url, nginx.ca, sibling, "--full")
                nginx.forget()
                began = time.monotonic()
                published.pull(store, nginx.url_by(near), nginx.ca, name)
                quietly(*store.command("nspawn", name, "--", *COMMAND), env=store.environment)
                took = time.monotonic() - began
                log = nginx.log()
                told.update(requests=len(log), bytes=sum(line.bytes for line in log))
                store.stop()
                return took

            def whole() -> float:
                store = published.store("whole")
                store.daemon()
                began = time.monotonic()
                pulled = published.pull(store, nginx.url, nginx.ca, name, "--full")
                took = time.monotonic() - began
                told.update(content=pulled["bytes"], peak=store.json("stats")["process"]["peak_memory_bytes"])
                store.stop()
                return pulled["bytes"] / took / 1e6

            line = "100 Mbit/s, 50 ms round trip"
            command = "stellarium pull URL/NAME; stellarium nspawn NAME -- sh -c 'id -u; ls /usr/bin | wc -l'"
            times = measure.in_turn(bench.rounds, ours=lambda: first_command(False), theirs=lambda: registry.start(far.port))
            bench.add(f"cold start over {line}", "s", times["ours"], peer="skopeo copy, umoci unpack", theirs=times["theirs"], ratio_at_most=0.2,
                      command=command, note=f"{told['requests']} requests, {told['bytes'] / 1e6:.2f} MB")
            if sibling:
                warm = measure.in_turn(bench.rounds, ours=lambda: first_command(True))["ours"]
                bench.add(f"start over {line} where {sibling} is present", "s", warm, peer="skopeo copy, umoci unpack", theirs=times["theirs"],
                          ratio_at_most=0.1, command=command, note=f"{told['requests']} requests, {told['bytes'] / 1e6:.2f} MB")
            rate = measure.in_turn(bench.rounds, ours=whole)["ours"]
            bench.add("a whole image over loopback, HTTPS", "MB/s", rate, at_least=400, command="stellarium pull --full URL/NAME",
                      note=f"of content; server's memory at most {told['peak'] / 2 ** 20:.0f} MiB")
    finally:
        registry.stop()
        shutil.rmtree(registry.folder, ignore_errors=True)
