#!/usr/bin/env python3
"""Checks of the repository itself: file sizes, leftovers, links, format pages. Needs nothing built."""
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 500
LEFTOVERS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
# Paths that exist on one developer's machine only.
PRIVATE = re.compile(r"(?<![\w.$}{/-])/(work|workspace|root|home|Users)/\w")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
NAMED_FILE = re.compile(r"`((?:src|tools|tests|docs|cmake)/[\w./-]*\w)`")
FORMAT_HEAD = re.compile(r"^# .*version \d+.*code: (\S+).*example: (\S+)")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
    else:  # a source archive without .git
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if "build" not in path.relative_to(ROOT).parts[:1]]
    return [ROOT / name for name in sorted(names) if name and (ROOT / name).is_file()]


def texts():
    """(path, text) of every tracked text file; golden files and fuzz seeds are data."""
    for path in tracked():
        parts = path.relative_to(ROOT).parts
        if parts[:2] == ("tests", "golden") or parts[:3] == ("tests", "fuzz", "corpus"):
            continue
        try:
            yield path.relative_to(ROOT), path.read_text()
        except UnicodeDecodeError:
            raise AssertionError(f"{path.relative_to(ROOT)} is not UTF-8 text: binary files belong in tests/golden")


class Repository(unittest.TestCase):
    def test_no_file_is_longer_than_500_lines(self):
        long = [f"{path}: {text.count(chr(10))} lines" for path, text in texts() if text.count("\n") > MAX_LINES]
        self.assertEqual(long, [])

    def test_nothing_is_left_for_later_in_the_code(self):
        found = [f"{path}:{n}: {line.strip()}" for path, text in texts() for n, line in enumerate(text.splitlines(), 1)
                 if LEFTOVERS.search(line)]
        self.assertEqual(found, [])

    def test_no_path_of_one_machine_is_named(self):
        found = [f"{path}:{n}: {line.strip()}" for path, text in texts() for n, line in enumerate(text.splitlines(), 1)
                 if PRIVATE.search(line)]
        self.assertEqual(found, [])

    def test_lines_end_cleanly(self):
        found = [f"{path}:{n}" for path, text in texts() for n, line in enumerate(text.split("\n"), 1)
                 if line != line.rstrip() and path.suffix != ".md"]
        self.assertEqual(found, [])
        self.assertEqual([str(path) for path, text in texts() if text and not text.endswith("\n")], [])


class Documents(unittest.TestCase):
    def pages(self):
        return [(path, text) for path, text in texts() if path.suffix == ".md"]

    def test_every_link_leads_to_a_file(self):
        broken = [f"{path}: {target}" for path, text in self.pages() for target in LINK.findall(text)
                  if "://" not in target and not (ROOT / path.parent / target).exists()]
        self.assertEqual(broken, [])

    def test_every_file_that_a_page_names_exists(self):
        broken = [f"{path}: {name}" for path, text in self.pages() for name in NAMED_FILE.findall(text)
                  if not (ROOT / name).exists()]
        self.assertEqual(broken, [])

    def test_every_format_page_names_its_code_and_a_golden_file(self):
        wrong = []
        for page in sorted((ROOT / "docs" / "formats").glob("*.md")):
            if page.name == "README.md":
                continue
            head = FORMAT_HEAD.match(page.read_text().splitlines()[0])
            if not head:
                wrong.append(f"{page.name}: first line must be '# NAME, version N   code: PATH   example: PATH'")
                continue
            wrong += [f"{page.name}: {name} does not exist" for name in head.groups() if not (ROOT / name).is_file()]
            if not head.group(2).startswith("tests/golden/"):
                wrong.append(f"{page.name}: the example must be a golden file in tests/golden")
        self.assertEqual(wrong, [])

    def test_the_format_index_lists_every_page(self):
        index = (ROOT / "docs" / "formats" / "README.md").read_text()
        pages = [page.name for page in (ROOT / "docs" / "formats").glob("*.md") if page.name != "README.md"]
        self.assertEqual([name for name in pages if f"({name})" not in index], [])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
