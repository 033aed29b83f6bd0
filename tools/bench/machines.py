"""The same Debian root in virtual machines of the same kernel: over our virtio-fs, over QEMU's own virtiofsd, and on a disk.

The kernel must have virtio-fs and the drivers of its devices built in, as Debian's linux-image-6.12*-cloud-amd64 has."""
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import measure
from bench import Bench, Store

PEER = Path("/usr/lib/qemu/virtiofsd")
SCRIPT = "bench-init"
# Does what it is told by the kernel's command line, as the first program, and says when.
PROGRAM = """#!/bin/sh
mount -t proc none /proc
mount -t devtmpfs none /dev 2>/dev/null
mount -t tmpfs none /tmp
echo "mark first program"
for work in $BENCH; do
  echo "mark begin $work"
  case $work in
    find) find /usr >/dev/null ;;
    find_again) find /usr >/dev/null ;;
    tar) tar -cf - /usr | cat >/dev/null ;;
    random) for place in $(cat /bench-places); do dd if=/bench-large of=/dev/null bs=4k count=1 skip=$place 2>/dev/null; done ;;
    untar) mkdir /untarred && tar -C /untarred -xf /bench-tar && sync ;;
  esac
  echo "mark end $work"
done
sync
mount -o remount,ro / 2>/dev/null
echo o >/proc/sysrq-trigger
read never
"""
PATIENCE = 600


def descendants(pid: int) -> list[int]:
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return children + [each for child in children for each in descendants(child)]


@dataclass
class Device:
    """What a machine has its root from."""
    words: list[str]  # of QEMU
    root: str  # of the kernel's command line
    pids: list[int] = field(default_factory=list)  # whose CPU time its daemon takes, with the processes that they start
    served: Callable[[], tuple[int, int]] = lambda: (0, 0)  # requests and bytes of answers so far, where the daemon counts them

    def cpu(self) -> float:
        return sum(measure.process_cpu(each) for each in {each for pid in self.pids for each in [pid, *descendants(pid)]})


@dataclass
class Run:
    """Seconds since the machine was started, and the daemon's CPU seconds by then, at each mark."""
    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    requests: int = 0  # until the first program
    answered: int = 0  # bytes

    def wall_of(self, work: str) -> float:
        return self.wall[f"end {work}"] - self.wall[f"begin {work}"]

    def cpu_of(self, work: str) -> float:
        return self.cpu[f"end {work}"] - self.cpu[f"begin {work}"]


def add_program(tree: Path) -> None:
    (tree / SCRIPT).write_text(PROGRAM)
    (tree / SCRIPT).chmod(0o755)


def start(kernel: Path, device: Device, works: str = "") -> Run:
    """Runs a machine to its end."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1G", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
               "-serial", "stdio", "-object", "memory-backend-memfd,id=memory,size=1G,share=on", "-machine", "q35,memory-backend=memory", *device.words,
               "-kernel", str(kernel), "-append", f"console=ttyS0 panic=-1 quiet {device.root} init=/{SCRIPT} BENCH=\"{works}\""]
    run, said, began, cpu = Run(), [], time.perf_counter(), device.cpu()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
        for line in machine.stdout:
            said.append(line.decode(errors="replace").strip())
            if said[-1].startswith("mark "):
                name = said[-1].removeprefix("mark ")
                run.wall[name], run.cpu[name] = time.perf_counter() - began, device.cpu() - cpu
                if name == "first program":
                    run.requests, run.answered = device.served()
        if machine.wait(PATIENCE) != 0:
            sys.exit("\n".join([f"a machine ended with {machine.returncode}", *said[-50:]]))
    if "first program" not in run.wall or any(f"end {work}" not in run.wall for work in works.split()):
        sys.exit("\n".join(["a machine did not do what it should", *said[-50:]]))
    return run


def shared(socket: Path) -> list[str]:
    return ["-chardev", f"socket,id=device,path={socket}", "-device", "vhost-user-fs-pci,chardev=device,tag=root,queue-size=1024"]


def wait_for(socket: Path, serving: subprocess.Popen) -> None:
    while not socket.exists():
        if serving.poll() is not None:
            sys.exit(f"{serving.args}: ended with {serving.returncode}")
        time.sleep(0.005)


@contextlib.contextmanager
def ours(store: Store, ref: str, folder: Path) -> Iterator[Device]:
    socket = folder / "ours.sock"
    command = store.command("virtiofsd", ref, "--socket-path", socket, "--tag", "root")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=store.environment) as serving:
        wait_for(socket, serving)
        yield Device(shared(socket), "root=root rootfstype=virtiofs rw", store.daemon(), store.served)


@contextlib.contextmanager
def peers(tree: Path, folder: Path) -> Iterator[Device]:
    socket = folder / "peer.sock"
    socket.unlink(missing_ok=True)
    command = [str(PEER), f"--socket-path={socket}", "-o", f"source={tree}", "-o", "cache=always", "-o", "xattr"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
        wait_for(socket, serving)
        yield Device(shared(socket), "root=root rootfstype=virtiofs rw", [serving.pid])


def disk(image: Path) -> Device:
    return Device(["-drive", f"if=none,id=disk,format=raw,file={image},cache=writeback", "-device", "nvme,drive=disk,serial=1"], "root=/dev/nvme0n1 rootfstype=ext4 rw")


def disk_image(bench: Bench, tree: Path) -> Path:
    image = bench.folder("image") / "root.ext4"
    measure.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, f"{(measure.du(tree) >> 20) * 3 // 2 + 256}M"])
    return image


def require(kernel: Path | None) -> Path:
    if kernel is None or not kernel.is_file():
        sys.exit("this workload needs --kernel FILE, with virtio-fs built in (linux-image-6.12*-cloud-amd64 of Debian has)")
    if not PEER.exists() or os.system("command -v qemu-system-x86_64 >/dev/null") != 0:
        sys.exit("this workload needs qemu-system-x86 and qemu-system-common")
    return kernel
