"""Root folders for containers, made from the host's own programs, so that no test needs a network."""
import os
import shutil
import subprocess
from pathlib import Path

UNITS = Path("/lib/systemd/system")


def add_program(root: Path, program: str) -> None:
    """A program and the libraries it needs, where the host has them."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # fails for static ones
    for name in (program, *(word for word in done.stdout.decode().split() if word.startswith("/"))):
        target = root / "usr" / name.lstrip("/").removeprefix("usr/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(os.path.realpath(name), target)


def minimal_root(root: Path) -> None:
    """The host's shell and what it needs, in the shape systemd-nspawn accepts."""
    for folder in ("usr/bin", "usr/sbin", "etc", "proc", "sys", "dev", "tmp", "run", "var", "root"):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{name}", root / name)
    (root / "etc/os-release").write_text("ID=test\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n")
    for program in ("sh", "cat", "id", "sleep", "touch", "mkdir", "stat"):
        add_program(root, shutil.which(program))


def has_systemd() -> bool:
    return Path("/lib/systemd/systemd").exists() and (UNITS / "multi-user.target").exists()


def systemd_root(root: Path, script: str) -> None:
    """A system that boots, has one unit that fails, and runs `script` once it is up; `/stopped` is made by an orderly shutdown."""
    minimal_root(root)
    for program in ("/lib/systemd/systemd", "/lib/systemd/systemd-shutdown", *map(shutil.which, ("systemctl", "mount", "umount", "false"))):
        add_program(root, program)
    (root / "usr/lib/systemd/system").mkdir()
    for name in ("sysinit", "basic", "sockets", "timers", "paths", "slices", "local-fs", "swap", "multi-user", "shutdown", "umount", "final", "halt",
                 "poweroff", "reboot"):
        shutil.copy2(UNITS / f"{name}.target", root / "usr/lib/systemd/system")
    for name in ("halt", "poweroff", "reboot"):
        shutil.copy2(UNITS / f"systemd-{name}.service", root / "usr/lib/systemd/system")
    os.symlink("../systemd/systemd", root / "usr/lib/systemd/init")
    os.symlink("../lib/systemd/systemd", root / "usr/sbin/init")
    (root / "etc/machine-id").touch()
    (root / "etc/script").write_text(f"exec >/dev/console 2>&1\nsystemctl is-system-running --wait\nsystemctl --failed --plain --no-legend\n{script}\n")
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    os.symlink("/lib/systemd/system/multi-user.target", root / "etc/systemd/system/default.target")
    for name, lines in (("fails", "ExecStart=/bin/false"), ("runs", "ExecStart=/bin/sh /etc/script"),
                        ("stops", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c true\nExecStop=/bin/sh -c 'sleep 0.5; touch /stopped'")):
        (root / f"etc/systemd/system/{name}.service").write_text(f"[Unit]\nDescription=The unit that {name}\n[Service]\n{lines}\n")
        os.symlink(f"../{name}.service", wanted / f"{name}.service")
