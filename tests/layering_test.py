#!/usr/bin/env python3
"""Compares every #include with the tables of docs/architecture.md: who may include whom, and where each library may appear."""
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAW = ROOT / "docs" / "architecture.md"
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<][^">]+[">])', re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def tables() -> list[list[list[str]]]:
    """The page's tables as rows of cells, without their heads."""
    found, current = [], []
    for line in [*LAW.read_text().splitlines(), ""]:
        if line.startswith("|"):
            current.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif current:
            found.append(current[2:])
            current = []
    return found


def folder_rules() -> dict[str, list[str]]:
    return {CODE.findall(row[0])[0]: CODE.findall(row[1]) for row in tables()[0]}


def library_rules() -> dict[str, list[str]]:
    return {CODE.findall(row[0])[0].lstrip("<"): CODE.findall(row[1]) for row in tables()[1]}


def includes():
    """(file, included name, whether in quotes) of all production code."""
    for top in ("src", "tools"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in {".h", ".cpp", ".c"}:
                for quoted in INCLUDE.findall(path.read_text()):
                    yield path.relative_to(ROOT), quoted[1:-1], quoted[0] == '"'


class Layering(unittest.TestCase):
    def test_every_source_folder_is_in_the_table(self):
        present = {"/".join(path.parts[:2]) for path, _, _ in includes() if path.parts[0] == "src"}
        self.assertLessEqual(present, set(folder_rules()))

    def test_a_folder_includes_only_what_the_table_allows(self):
        rules = folder_rules()
        wrong = []
        for path, name, quoted in includes():
            home = next(folder for folder in rules if path.as_posix().startswith(folder + "/"))
            target = "src/" + name.split("/")[0]
            if quoted and target in rules and target != home and target not in rules[home]:
                wrong.append(f"{path}: {home} may not include \"{name}\"")
        self.assertEqual(wrong, [])

    def test_a_quoted_include_names_a_file_of_this_project_from_its_root(self):
        wrong = []
        for path, name, quoted in includes():
            if quoted and not any((ROOT / top / name).is_file() for top in ("src", ".")):
                wrong.append(f"{path}: \"{name}\" is neither src/{name} nor {name}; system headers take <>")
        self.assertEqual(wrong, [])

    def test_a_library_appears_only_in_its_place(self):
        rules = library_rules()
        wrong = []
        for path, name, quoted in includes():
            for prefix, homes in rules.items():
                allowed = any(path.as_posix().startswith(home + "/") or path.as_posix() == home for home in homes)
                if not quoted and name.startswith(prefix) and not allowed:
                    wrong.append(f"{path}: <{name}> belongs to {', '.join(homes)}")
        self.assertEqual(wrong, [])

    def test_no_library_header_that_has_one_place_is_in_a_header_of_another_folder(self):
        heavy = [prefix for prefix in library_rules() if prefix.startswith(("rocksdb/", "zstd", "archive"))]
        seen = {}
        for path, name, quoted in includes():
            if path.suffix == ".h" and not quoted and name.startswith(tuple(heavy)):
                seen[path.as_posix()] = name
        including = [f"{path}: \"{name}\" drags in <{seen['src/' + name]}>" for path, name, quoted in includes()
                     if quoted and "src/" + name in seen and path.parts[:2] != Path("src/" + name).parts[:2]]
        self.assertEqual(including, [])

    def test_zstd_is_used_in_one_file(self):
        users = sorted({str(path) for path, name, quoted in includes() if not quoted and name.startswith("zstd")})
        self.assertLessEqual(len(users), 1, users)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
