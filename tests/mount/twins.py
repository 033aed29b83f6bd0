"""The POSIX cases, run in a clone and on ext4: the same calls must say the same and leave the same."""
import os
import unittest
from pathlib import Path

import harness
import posix_cases
import posix_cases_bytes  # noqa: F401  both add their cases
import posix_cases_owners  # noqa: F401
import trees
from harness import Store

CASES = posix_cases.CASES


def without_times(tree: dict) -> dict:
    return {path: {key: value for key, value in entry.items() if key != "mtime"} for path, entry in tree.items()}


class Twins(unittest.TestCase):
    """A folder for each case in a clone (`mount`) and in the folder that was imported (`twin`). Who inherits says how a case is run, and
    asks for `add_cases`."""

    @classmethod
    def setUpClass(cls):
        cls.store = cls.enterClassContext(Store())
        cls.twin = cls.store.scratch / "twin"
        for name in CASES:
            posix_cases.populate(cls.twin / name)
        for folder in (cls.store.root, cls.store.scratch, cls.twin):
            folder.chmod(0o755)
        cls.store.run("import", cls.twin, "base")
        cls.store.run("clone", "base", "web")
        cls.mount = cls.enterClassContext(cls.store.mounted("web"))

    def run_twice(self, name: str) -> list[list]:
        """What the case said of the twin, and of the clone."""
        raise NotImplementedError

    def compare(self, name: str) -> None:
        os.umask(0o022)
        there, here = self.run_twice(name)
        differences = [f"line {a[0]}: ext4 {a[1]!r}, clone {b[1]!r}" for a, b in zip(there, here) if a != b]
        if len(there) != len(here):
            differences.append(f"ext4 says {len(there)} things, the clone {len(here)}")
        differences.append(self.difference(self.twin / name, self.mount / name))
        if text := "\n".join(filter(None, differences)):
            self.fail(f"{name}:\n{text[:6000]}")

    @staticmethod
    def difference(there: Path, here: Path) -> str:
        return harness.first_difference(without_times(trees.snapshot(there)), without_times(trees.snapshot(here)))

    @classmethod
    def add_cases(cls) -> None:
        for case_name in CASES:
            setattr(cls, f"test_{case_name}", lambda self, name=case_name: self.compare(name))
