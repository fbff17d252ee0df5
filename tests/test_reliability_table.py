"""The table of faults is true: every fault has its row, and every test that it names exists."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "reliability.md"
N_FAULTS = 61


def rows():
    """Return the cells of every row that begins with a fault's number."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if re.match(r"\| [A-Z]\d+ ", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def functions_of(path):
    """Return the names of the test functions of a file, without running it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_fault_has_one_row_with_a_promise_and_a_test():
    found = Counter(row[0].split()[0] for row in rows())
    assert not [name for name, times in found.items() if times > 1]
    assert {f"F{number}" for number in range(1, N_FAULTS + 1)} <= found.keys()
    for row in rows():
        assert len(row) == 4 and all(row), row
        assert re.findall(r"`tests/[\w/]+\.py::test_\w+`", row[3]), f"{row[0]} names no test"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].split()[0])
def test_every_test_that_is_named_exists(row):
    leftover = re.sub(r"`tests/[\w/]+\.py::test_\w+`", "", row[3])
    assert not leftover.strip(), f"{row[0]}: what is no test: {leftover}"
    for name in re.findall(r"`([^`]+)`", row[3]):
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), f"{row[0]}: {file} is gone"
        assert test in functions_of(ROOT / file), f"{row[0]}: {file} holds no {test}"
