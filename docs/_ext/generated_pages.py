"""Write the pages that are made from the code: the command's help and the public names."""

import importlib
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

SEEDS = tuple(f"seeds/{number:03}" for number in range(5))
MEASUREMENTS = ("ablation", "benchmarks", "contest-walk", "fashion44k-cpu", "gpu", "judgments", *SEEDS)
"""Pages of experiments/results that the site shows, and that other pages may link to."""
MEASURED = """# Measurements

The whole tables behind [results](../../results.md): every row, with the machine, the versions and the command that
measures it anew.
"""
PACKAGES = {
    "labelstack": "What `import labelstack as ls` gives: the verbs, and the classes that they take and return.",
    "stacking": "The layer below the verbs: scores, methods, decision rules, metrics. It needs no torch.",
    "stacking.decision_rules": "Thresholds, rules on the labels of one sample, and files of thresholds.",
    "stacking.diagnosis": "What `labelstack check` looks for.",
    "stacking.metrics": "Metrics, their limits by bootstrap, and the register of those that `metric=` takes.",
    "optimizers": "Search for weights that are not negative and sum to 1, whatever the objective.",
    "base_models": "From photos to out-of-fold scores, as plain functions. It needs the extra `train`.",
}


def write_generated_pages(docs: Path) -> None:
    """Write all of them, each only where its text is another than before, so that Sphinx builds little anew."""
    reference = docs / "reference"
    _write(reference / "commands.md", "\n".join(_command_lines()))
    described: set[int] = set()
    for package, purpose in PACKAGES.items():
        _write(reference / "api" / f"{package}.rst", _api_page(package, purpose, described))
    for stale in (reference / "api" / "generated").glob("*.rst"):
        package, _, name = stale.stem.rpartition(".")
        if f"   {name}\n" not in (reference / "api" / f"{package}.rst").read_text("utf-8"):
            stale.unlink()
    listed = "\n".join(MEASUREMENTS)
    _write(reference / "measurements" / "index.md", f"{MEASURED}\n```{{toctree}}\n{listed}\n```\n")
    for name in MEASUREMENTS:
        up = "../" * (3 + name.count("/"))
        included = f"```{{include}} {up}experiments/results/{name}.md\n:relative-images:\n```\n"
        _write(reference / "measurements" / f"{name}.md", included)


def earlier_names() -> set[str]:
    """List the members of classes that only answer to names of earlier versions."""
    from stacking._earlier_names import Renamed

    found = [getattr(importlib.import_module(package), name) for package in PACKAGES for name in _names_of(package)]
    classes = {base for value in found if isinstance(value, type) for base in value.__mro__}
    return {name for base in classes for name, value in vars(base).items() if isinstance(value, Renamed)}


def _names_of(package: str) -> list[str]:
    """List the public names of a package."""
    return sorted(importlib.import_module(package).__all__, key=str.lower)


def _write(path: Path, text: str) -> None:
    """Write a page unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def _command_lines() -> list[str]:
    """Show the help of every command, as it is typed."""
    from experiments.cli import app

    lines = [
        "# Commands",
        "",
        "Each command's own help, as `labelstack COMMAND --help` prints it. This page is made from it by the build.",
        "What a command writes, and how it treats files that are there already, is told in [Files](files.md).",
        "",
    ]
    return [
        *lines,
        *_help_of(get_command(app), ()),
        "Next: [the keys of a recipe](../recipe.md), [files](files.md).",
        "",
    ]


def _help_of(command: Any, path: tuple[str, ...]) -> list[str]:
    """Show one command's help, then those of the commands in it."""
    from experiments.cli import app

    text = CliRunner().invoke(app, [*path, "--help"], terminal_width=80, prog_name="labelstack").output.rstrip()
    lines = ["#" * min(2 + (len(path) > 1), 3) + " " + " ".join(("labelstack", *path)), "", "```text", text, "```", ""]
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        lines += _help_of(inner, (*path, name))
    return lines


def _api_page(package: str, purpose: str, described: set[int]) -> str:
    """List a package's public names for autosummary; what an earlier package has described is named only."""
    module = importlib.import_module(package)
    found = {name: getattr(module, name) for name in _names_of(package)}
    own = [name for name, value in found.items() if id(value) not in described]
    described.update(id(value) for value in found.values())
    listed = "\n".join(f"   {name}" for name in own)
    again = ", ".join(f"`{name}`" for name in found if name not in own)
    return (
        f"{package}\n{'=' * len(package)}\n\n{purpose.replace('`', '``')}\n\n.. currentmodule:: {package}\n\n"
        f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{listed}\n"
        + (f"\nAlso here, and described before: {again}.\n" if again else "")
    )
