"""Debian in QEMU: a root on a disk or over virtio-fs, and a boot of it that runs one script and powers off, from the host's packages alone.

The kernel is Debian's for virtual machines (package linux-image-cloud-amd64). Its virtio drivers are modules, so there is an
initial file system, made here from the host's own shell, insmod and switch_root."""
import dataclasses
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
import roots

QEMU = "qemu-system-x86_64"
SCRIPT = "guest-script"  # in the guest's root: what it runs instead of an init
# The root does not depend on what is tested, so all runs of a build folder share it.
CACHE = harness.BIN.parent / "tests" / "vm" / "cache"
BOOT_SECONDS = 240  # on two slow cores, with emulated instructions
# Mounts, runs the script with the words after "--", and is gone: without an init there is nobody else to stop.
INIT = """#!/bin/sh
mount -t devtmpfs none /dev
for module in $(cat /modules); do insmod /$module || echo "insmod $module failed"; done
tries=0
until mount -t %s %s /mnt || [ $tries -eq 100 ]; do sleep 0.1; tries=$((tries + 1)); done 2>/dev/null
mount --move /dev /mnt/dev
exec switch_root /mnt /bin/sh /%s "$@"
"""
# `o` of sysrq needs no init and no program of the root.
PROLOGUE = """mount -t proc none /proc
mount -t tmpfs none /tmp
finish() {
  cd /
  sync
  mount -o remount,ro / || echo "remounting failed"
  echo "guest: $1"
  echo o >/proc/sysrq-trigger
  read never  # without a look at the disk, which goes before the machine does
}
trap 'finish "failed at $step"' EXIT
set -e
step=start
"""
EPILOGUE = """
trap - EXIT
finish done
"""


@dataclasses.dataclass(frozen=True)
class Root:
    """Where a guest finds its root."""
    name: str
    drivers: tuple[str, ...]
    kind: str  # of file system
    device: str

    def initrd(self, folder: Path, kernel: Path) -> Path:
        """Made once in `folder`."""
        target = folder / f"initrd-{self.name}"
        if not target.exists():
            initial_filesystem(kernel, self, target)
        return target


DISK = Root("disk", ("virtio_pci", "virtio_blk", "ext4"), "ext4", "/dev/vda")
SHARED = Root("shared", ("virtio_pci", "virtiofs"), "virtiofs", "root")


def kernels() -> list[Path]:
    """Kernels whose modules are there, too, the newest last."""
    found = [path for path in Path("/boot").glob("vmlinuz-*-cloud-amd64") if modules_folder(path).is_dir()]
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else 0 for part in path.name.replace("-", ".").split(".")])


def modules_folder(kernel: Path) -> Path:
    return Path("/lib/modules") / kernel.name.removeprefix("vmlinuz-")


def available() -> str:
    """What is missing here, or an empty string."""
    for program in (QEMU, "qemu-img", "mke2fs", "debugfs", "modprobe", "switch_root", "cpio"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return "" if kernels() else "no kernel of the package linux-image-cloud-amd64 is installed"


def run(*command, **options) -> str:
    """The output of a program that must succeed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 600} | options
    done = subprocess.run([str(word) for word in command], **options)
    if done.returncode != 0:
        raise harness.Failed(f"{command} ended with {done.returncode}\n{(done.stdout or b'').decode(errors='replace')[-4000:]}")
    return (done.stdout or b"").decode(errors="replace")


def modules(kernel: Path, drivers: tuple[str, ...]) -> list[Path]:
    """What to load, in order."""
    version = kernel.name.removeprefix("vmlinuz-")
    lines = "".join(run("modprobe", "--set-version", version, "--show-depends", driver) for driver in drivers)
    paths = [Path(line.split()[1]) for line in lines.splitlines() if line.startswith("insmod ")]
    return list(dict.fromkeys(paths))


def initial_filesystem(kernel: Path, wanted: Root, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        root = Path(scratch) / "root"
        roots.minimal_root(root)
        (root / "mnt").mkdir()
        for program in ("mount", "insmod", "switch_root"):
            roots.add_program(root, shutil.which(program))
        needed = modules(kernel, wanted.drivers)
        for module in needed:
            shutil.copy2(module, root / module.name)
        (root / "modules").write_text("".join(f"{module.name}\n" for module in needed))
        (root / "init").write_text(INIT % (wanted.kind, wanted.device, SCRIPT))
        (root / "init").chmod(0o755)
        names = "\0".join(os.path.relpath(Path(folder) / name, root) for folder, folders, files in os.walk(root) for name in folders + files)
        with open(target, "wb") as out:
            subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out, check=True)


def debian_root() -> Path:
    """A tar of a small Debian root. The first one in a build folder asks the host's package mirror, as for the others below."""
    return bootstrapped("debian", "--variant=essential", "--include=mount")


def systemd_root() -> Path:
    """… with systemd, and what it needs to offer a login on a serial console."""
    return bootstrapped("systemd", "--variant=minbase", "--include=systemd-sysv,udev")


def python_root() -> Path:
    """… with Python."""
    return bootstrapped("python", "--variant=essential", "--include=mount,python3")


def bootstrapped(name: str, *options: str) -> Path:
    tar = CACHE / f"{name}.tar"
    if not tar.exists():
        harness.require(shutil.which("mmdebstrap") is not None, "mmdebstrap is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = CACHE / f"{name}-{os.getpid()}.tar"
        try:
            run("mmdebstrap", "--quiet", *options, "bookworm", partial)
            os.replace(partial, tar)
        finally:
            partial.unlink(missing_ok=True)
    return tar


def kernel_with_virtio_fs() -> Path:
    """Debian's 6.12 kernel for virtual machines, of which nothing is installed: it is taken out of its package."""
    found = sorted(CACHE.glob("kernel/boot/vmlinuz-6.12*"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        names = run("apt-cache", "search", "--names-only", r"^linux-image-6\.12.*-cloud-amd64-unsigned$").split("\n")
        packages = sorted((line.split()[0] for line in names if line), key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
        harness.require(bool(packages), "this Debian has no package linux-image-6.12*-cloud-amd64-unsigned")
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            os.chmod(scratch, 0o755)  # apt-get downloads as another user
            run("apt-get", "download", packages[-1], cwd=scratch)
            [package] = Path(scratch).glob("*.deb")
            run("dpkg", "-x", package, Path(scratch) / "kernel")
            shutil.rmtree(Path(scratch) / "kernel" / "lib", ignore_errors=True)
            (Path(scratch) / "kernel").rename(CACHE / "kernel")
        found = sorted(CACHE.glob("kernel/boot/vmlinuz-6.12*"))
    return found[-1]


def root_folder(target: Path, script: str, tar: Path | None = None) -> None:
    """Debian, which runs `script` when it boots; the script's words are $1, $2, …"""
    target.mkdir()
    run("tar", "-xf", tar or debian_root(), "-C", target, "--numeric-owner", "--exclude=./dev/*")
    (target / SCRIPT).write_text("#!/bin/sh\n" + PROLOGUE + script + EPILOGUE)
    (target / SCRIPT).chmod(0o755)


def disk_image(target: Path, size: str, script: str) -> None:
    """A raw disk with that on ext4."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        root = Path(scratch) / "root"
        root_folder(root, script)
        run("mke2fs", "-q", "-t", "ext4", "-d", root, target, size)


def command(folder: Path, root: Root, words: tuple[str, ...], *devices: str) -> list[str]:
    """What starts a machine; it writes its console to stdout."""
    kernel = kernels()[-1]
    return [QEMU, "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-serial", "stdio", *devices, "-kernel", str(kernel), "-initrd", str(root.initrd(folder, kernel)),
            "-append", f"console=ttyS0 panic=-1 quiet -- {' '.join(words)}"]


def boot(machine: list[str]) -> str:
    """Returns what the guest said after its script ended and it had powered off."""
    with subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        why = ""
        try:
            output, _ = process.communicate(timeout=BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            asleep = sorted(path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/wchan"))  # in FUSE, perhaps
            why = f", it took longer than {BOOT_SECONDS} s; its threads are in {asleep}"
            process.kill()
            output, _ = process.communicate()
    said = output.decode(errors="replace").replace("\r", "")
    if process.returncode != 0 or "guest: done" not in said:
        raise harness.Failed(f"the guest did not end as it should (exit {process.returncode}{why}):\n{said[-4000:]}")
    return said


def boot_disk(folder: Path, disk: Path, *words: str, cache: str = "none", aio: str = "threads") -> str:
    """From a raw disk."""
    drive = f"if=virtio,format=raw,file={disk},cache={cache},aio={aio},discard=unmap,detect-zeroes=unmap"
    return boot(command(folder, DISK, words, "-drive", drive))


def shared_machine(folder: Path, socket: Path, *words: str) -> list[str]:
    """From a virtio-fs device that is served on `socket`."""
    return command(folder, SHARED, words, "-object", "memory-backend-memfd,id=memory,size=512M,share=on", "-machine", "memory-backend=memory",
                   "-chardev", f"socket,id=device,path={socket}", "-device", f"vhost-user-fs-pci,chardev=device,tag={SHARED.device},queue-size=1024")


def read_file(disk: Path, path: str) -> bytes:
    """A file of the disk's ext4, read without mounting it."""
    done = subprocess.run(["debugfs", "-R", f"cat {path}", str(disk)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if b"File not found" in done.stderr:
        raise FileNotFoundError(path)
    return done.stdout
