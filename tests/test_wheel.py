"""What is installed: the five packages and what they read; the benchmarks stay in the repository."""

import re
import runpy
import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_package_but_the_benchmarks_is_installed():
    chosen = SETTINGS["packages"]["find"]
    installed = set(find_packages(ROOT, include=chosen["include"], exclude=chosen["exclude"]))
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("optimizers", "stacking", "base_models", "experiments", "labelstack")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert {name for name in folders - installed} == {"experiments.benchmarks"}


def test_every_file_that_is_no_module_is_declared_or_stays_out():
    for package, patterns in SETTINGS["package-data"].items():
        declared = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        present = {path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix != ".py"}
        stray = {path for path in present - declared if "__pycache__" not in path.parts}
        assert {path.relative_to(ROOT).parts[:2] for path in stray} <= {("experiments", "results")}


def test_the_description_on_an_index_has_no_link_that_leads_nowhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = runpy.run_path(str(ROOT / "setup.py"))["describe"](readme)
    assert re.search(r"\]\((?!https:)", readme) and not re.search(r"\]\((?!https:)", shown)
    assert "Your own predictions (`docs/predictions.md`)" in shown and "source distribution" in shown
