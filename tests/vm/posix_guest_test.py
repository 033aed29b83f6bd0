#!/usr/bin/env python3
"""What programs do to a tree says the same in a guest, on a clone over virtio-fs, as on ext4: the cases of tests/mount/posix_cases.py, run in a virtual machine.

tests/mount/clone_test.py does the same with a clone that is mounted on the host."""
import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

CASES = Path(__file__).resolve().parents[1] / "mount"
sys.path.insert(0, str(CASES))
import guest
import harness
import twins

# A request names its sender's user and first group. That he is in a file's group by another of his groups is not known of a guest's: sgid goes
# then, as it does when a stranger writes.
OTHER_GROUPS = "sgid_that_the_group_cannot_execute"
SCRIPTS = ("posix_cases.py", "posix_cases_bytes.py", "posix_cases_owners.py", "syscalls.py", "trees.py")
# Runs all cases, each in its folder, and writes down what they said.
RECORD = """import json, os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import posix_cases, posix_cases_bytes, posix_cases_owners, syscalls
from pathlib import Path
os.umask(0o022)
said = {}
for name, case in posix_cases.CASES.items():
    recorder = syscalls.Recorder()
    try:
        case(Path(sys.argv[1]) / name, recorder)
    except BaseException as error:
        recorder.said.append((0, f"{type(error).__name__}: {error}"))
    said[name] = [[line, repr(what)] for line, what in recorder.said]
Path(sys.argv[2]).write_text(json.dumps(said))
"""
SCRIPT = """
step=cases
mount -o remount,rw / 2>/dev/null || true
mount -t tmpfs none /run
python3 /cases/record.py /work /said
"""


def same(name: str, there: list, here: list) -> bool:
    return there == here or (name == OTHER_GROUPS and there[1].replace("'0o102666'", "'0o100666'") == here[1])


class PosixInAGuest(unittest.TestCase):
    maxDiff = None

    def test_every_case_says_what_it_says_on_ext4(self):
        store = self.enterContext(harness.Store())
        for folder in (store.root, store.scratch):
            folder.chmod(0o755)
        root, twin = store.scratch / "root", store.scratch / "twin"
        guest.root_folder(root, SCRIPT, guest.python_root())
        scripts = store.scratch / "cases"
        scripts.mkdir()
        for name in SCRIPTS:
            shutil.copy(CASES / name, scripts / name)
        (scripts / "record.py").write_text(RECORD)
        shutil.copytree(scripts, root / "cases")
        for name in twins.CASES:
            twins.posix_cases.populate(root / "work" / name)
        twin.mkdir(mode=0o755)
        subprocess.run(["cp", "-a", root / "work", twin / "work"], check=True)
        store.run("import", root, "root")
        store.run("clone", "root", "machine")

        subprocess.run([sys.executable, scripts / "record.py", twin / "work", twin / "said"], check=True, timeout=600)
        code = store.run("vm", "--accel", "tcg", "--memory", "512M", "--net", "none", "--kernel", guest.kernel_with_virtio_fs(), "--append", f"quiet panic=-1 init=/{guest.SCRIPT}",
                         "machine", "--", "-no-reboot", timeout=guest.BOOT_SECONDS * 3)
        self.assertIn(b"guest: done", code.stdout)
        there, here = json.loads((twin / "said").read_text()), json.loads(store.run("cat", "machine", "/said").stdout)
        self.assertEqual(there.keys(), here.keys())
        differences = [f"{name}, line {a[0]}: ext4 {a[1]}, guest {b[1]}" for name in there for a, b in zip(there[name], here[name]) if not same(name, a, b)]
        differences += [f"{name}: ext4 says {len(there[name])} things, the guest {len(here[name])}" for name in there if len(there[name]) != len(here[name])]
        self.assertEqual("\n".join(differences), "")
        with store.mounted("machine") as mount:
            for name in set(twins.CASES) - {OTHER_GROUPS}:
                self.assertEqual(twins.Twins.difference(twin / "work" / name, mount / "work" / name), "", name)
        store.run("fsck", "--deep")
        print(f"{sum(map(len, there.values()))} answers of {len(there)} cases are the same", file=sys.stderr)


if __name__ == "__main__":
    harness.require(os.geteuid() == 0, "must be root: files have owners")
    harness.require(not guest.available(), guest.available())
    harness.main()
