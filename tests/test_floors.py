"""The floors of the dependencies lie at the releases that mend what a stranger's file or a server could do to us."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXT = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
FIXES = {
    # package: first release without the faults, and their numbers
    "lightgbm": ("4.6.0", {"CVE-2024-43598"}),
    "filelock": ("3.20.3", {"CVE-2025-68146", "CVE-2026-22701"}),
    "jinja2": ("3.1.6", {"CVE-2025-27516"}),
    "pillow": ("12.3", {"CVE-2026-40192"}),
    "torch": ("2.10", {"CVE-2025-32434", "CVE-2026-24747"}),
    "aiohttp": ("3.14.3", {"CVE-2026-22815", "CVE-2026-69244"}),
    "pyarrow": ("23.0.1", {"CVE-2026-25087"}),
    "ray": ("2.55", {"CVE-2026-41486"}),
    "starlette": ("0.47.2", {"CVE-2025-54121"}),
    "h11": ("0.16.0", {"CVE-2025-43859"}),
    "python-multipart": ("0.0.26", {"CVE-2026-40347"}),
}


def requirements():
    """Return every requirement, extras included."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(line) for lines in lists for line in lines]


def floor_of(requirement):
    """Return the lowest version that a requirement allows, None where it has no floor."""
    floors = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
    return max(floors, default=None)


@pytest.mark.parametrize("name", FIXES)
def test_no_floor_lies_below_a_known_fix(name):
    found = [floor_of(requirement) for requirement in requirements() if requirement.name == name]
    assert found, f"{name} is required no more: take it out of FIXES"
    assert all(floor is not None and floor >= Version(FIXES[name][0]) for floor in found)


def test_every_fault_that_is_named_beside_a_floor_is_known_here():
    named = {
        (line.split('"')[1].partition(">=")[0], fault)
        for line in TEXT.splitlines()
        if "CVE-" in line
        for fault in re.findall(r"CVE-\d+-\d+", line)
    }
    named = {(Requirement(re.sub(r"^[\w-]+ = \[", "", name)).name, fault) for name, fault in named}
    known = {(name, fault) for name, (_, faults) in FIXES.items() for fault in faults}
    assert named == known


def test_every_requirement_has_a_floor():
    assert not [str(one) for one in requirements() if one.name != "labelstack" and floor_of(one) is None]


def test_what_is_installed_keeps_the_floors():
    """The suite proves nothing about versions that it does not run with."""
    installed = {}
    for requirement in requirements():
        try:
            installed[requirement] = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # an extra
    assert len(installed) > 10
    below = [
        f"{requirement}: {version}"
        for requirement, version in installed.items()
        if not requirement.specifier.contains(version, prereleases=True)
    ]
    assert not below
