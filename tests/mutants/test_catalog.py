"""The mutants fit the tree: each finds its line, the broken source is still Python, and the tests named for it exist.

They are tried by ``make mutants``, which takes a quarter of an hour; that they can be tried is seen here at once.
"""

import ast
import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load_catalog():
    """Import the script's neighbors, which are no package."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        return importlib.import_module("catalog").MUTANTS
    finally:
        sys.path.pop(0)


MUTANTS = load_catalog()


def test_names_are_different_and_there_are_enough():
    assert len(MUTANTS) >= 40
    assert not [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_tried(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    ast.parse(mutant.apply(source))
    for name in mutant.tests:
        file, _, test = name.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not test or test in tests, f"{file} holds no {test}"


def test_a_line_that_is_gone_or_twice_is_said_aloud():
    with pytest.raises(ValueError, match=r"must find its line once in .*: found 0 times; adapt it"):
        MUTANTS[0].apply("nothing\n")
    with pytest.raises(ValueError, match="found 2 times"):
        MUTANTS[0].apply(2 * MUTANTS[0].old)
