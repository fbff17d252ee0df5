"""Write what was measured as Markdown and JSON, with the machine and the versions it was measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.benchmarks.rows import QUANTITIES, Row
from stacking.files.atomic_files import atomic_write_json, atomic_write_text
from stacking.files.versions import installed_versions
from stacking.process.memory import read_kernel_size
from stacking.process.processors import usable_processors

PACKAGES = (
    "labelstack",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "lightgbm",
    "numba",
    "joblib",
    "pyswarms",
    "cmaes",
    "autogluon.core",
    "hillclimbers",
    "torch",
    "timm",
    "pillow",
)
TITLES = {
    "speed": "Speed: the same job by labelstack and by its peers",
    "workload": "Whole fits on the common workload, whose quality is saturated",
    "simulation": "Quality on simulated CNNs and real label rows",
    "few-rows": "Quality on few scored rows of simulated CNNs",
    "members": "Quality on seven real networks' scores of photos",
    "jamendo": "Quality on music tags, split by artist",
    "tabular": "Quality on small tables: stacked scikit-learn classifiers",
    "fashion": "Quality on photos",
    "unseen": "Auto on sets that tuned nothing, against the better of the plain mean and the best single model",
    "scaling": "Growth with rows, labels and models",
    "votes": "What a cell costs where labels are many and rows few",
    "imports": "Start-up and first calls",
    "serving": "Serving over the loopback, beside the plain function",
    "loading": "Loading photos: packed, kept and decoded, beside a plain copy",
    "packed": "Whole runs: photos packed once, beside photos decoded in every epoch",
    "training": "Training: our loop and timm's, taking turns",
    "bare": "Training: our loop on packed photos, beside bare arithmetic",
}
COLUMNS = (
    "job",
    "system",
    "CPU s",
    "wall s",
    "first call, cached",
    "first call, compiling",
    "peak GiB",
    "result",
    "goal",
    "verdict",
)
COSTS = ("cpu_seconds", "wall_seconds", "first_call_seconds", "compiling_seconds", "peak_gib")
INTRODUCTION = """\
CPU seconds of one thread, child processes included; the cheapest of several calls after a warm-up, each row in a
process of its own (jobs of 20 s and more, and all quality rows: the first call). "First call" is the CPU time of the
first call in a fresh process with the imports that it causes, once with compiled code cached on disk and once without.
Peak is the resident memory of the whole process, data included. Held-out scores are on rows that tuned
nothing, thresholds included. Rows run one after the other on the same machine."""


def describe_machine() -> dict[str, Any]:
    """Say what machine this is and which versions are installed.

    Returns
    -------
    dict
        Processor, counts, memory, system and versions; nothing that names a user or a folder.
    """
    memory = read_kernel_size("/proc/meminfo", "MemTotal")
    return {
        "processor": _processor_name() or platform.processor() or platform.machine(),
        "processors": usable_processors(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES, absent="absent")},
    }


def load_average() -> float | None:
    """Read the load of the last minute.

    Returns
    -------
    float or None
        None where the system does not tell.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe_part(
    rows: Sequence[Row], load_before: float | None, *, quick: bool, minutes: float | None = None
) -> dict[str, Any]:
    """Gather one part's rows with the conditions they were measured in.

    Parameters
    ----------
    rows : sequence of Row
        The rows.
    load_before : float or None
        Load average when the part began.
    quick : bool
        Whether sizes were small.
    minutes : float, optional
        Wall minutes that the part took.

    Returns
    -------
    dict
        JSON-able.
    """
    return {
        "machine": describe_machine(),
        "minutes": None if minutes is None else round(minutes, 1),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "load_before": load_before,
        "load_after": load_average(),
        "rows": [row.as_dict() for row in rows],
    }


def read_parts(folder: Path) -> dict[str, Any]:
    """Read the parts of an earlier run, which a run of other parts keeps.

    Parameters
    ----------
    folder : Path
        Where ``benchmarks.json`` may be.

    Returns
    -------
    dict
        Part name to part; empty if there is none.
    """
    path = folder / "benchmarks.json"
    if not path.exists():
        return {}
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["parts"]
    return {name: part for name, part in parts.items() if name in TITLES}


def write_report(folder: Path, parts: dict[str, Any]) -> None:
    """Write ``benchmarks.json`` and ``benchmarks.md``.

    Parameters
    ----------
    folder : Path
        Made if it is absent.
    parts : dict
        Part name to what `describe_part` returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {name: parts[name] for name in TITLES if name in parts}
    content = {"machine": _join_machines(chosen.values()), "parts": chosen}
    atomic_write_json(folder / "benchmarks.json", content)
    atomic_write_text(folder / "benchmarks.md", as_markdown(content))


def as_markdown(content: dict[str, Any]) -> str:
    """Lay the results out.

    Parameters
    ----------
    content : dict
        What ``benchmarks.json`` holds.

    Returns
    -------
    str
        Markdown.
    """
    machine = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = ["# Benchmarks", "", INTRODUCTION, ""]
    lines += [f"Machine: {machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB,"]
    lines += [f"{machine['system']}. {versions}.", ""]
    lines += [*_missed(content["parts"])]
    for name, part in content["parts"].items():
        lines += [f"## {TITLES[name]}", ""]
        quick = " **Quick run on small sizes: goals are not judged.**" if part["quick"] else ""
        load = f"load average {part['load_before']} before and {part['load_after']} after"
        took = f" in {part['minutes']} minutes" if part.get("minutes") is not None else ""
        lines += [f"Measured {part['measured']}{took}, {load}.{quick}", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        lines += [_markdown_row(row, judged=not part["quick"]) for row in part["rows"]]
        lines.append("")
    return "\n".join(lines)


def _join_machines(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Describe this machine; a package that only another part's environment had is named with the version it had."""
    machine = describe_machine()
    for part in parts:
        for name, version in part.get("machine", {}).get("versions", {}).items():
            if machine["versions"].get(name, "absent") == "absent":
                machine["versions"][name] = version
    return machine


def _missed(parts: dict[str, Any]) -> list[str]:
    """Count the goals, and list those that were missed or not measured."""
    goals = [
        (row, goal) for part in parts.values() if not part["quick"] for row in part["rows"] for goal in row["goals"]
    ]
    if not goals:
        return []
    open_goals = [(row, goal) for row, goal in goals if goal["verdict"] != "reached"]
    lines = [f"**{len(goals) - len(open_goals)} of {len(goals)} goals reached.**", ""]
    lines += [f"- {row['job']}, {row['system']}: {goal['goal']}: {goal['verdict']}" for row, goal in open_goals]
    return [*lines, ""]


def _markdown_row(row: dict[str, Any], *, judged: bool) -> str:
    """Write one line of a table."""
    values = row["values"]
    costs = [_number(values.get(key)) for key in COSTS]
    result = [
        f"{words} {_number(values[key], digits=5)}"
        for key, words in QUANTITIES.items()
        if key in values and key not in COSTS
    ]
    result += [text for text in (row["note"], row["trouble"]) if text]
    goals = [goal["goal"] for goal in row["goals"]]
    verdicts = [goal["verdict"] for goal in row["goals"]] if judged else []
    system = f"**{row['system']}**" if row["ours"] else row["system"]
    cells = [row["job"], system, *costs, "; ".join(result), "; ".join(goals), "; ".join(verdicts)]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None, digits: int = 3) -> str:
    """Write a number shortly."""
    return "" if value is None else f"{value:.{digits}g}"


def _processor_name() -> str:
    """Read the first processor's name where the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return ""
