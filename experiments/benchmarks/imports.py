"""What it costs to start: importing, asking for help, and the first call in a fresh process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.datasets import prepare_workload
from experiments.benchmarks.processes import Plan, environment
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import measure_row

SPEED = "experiments.benchmarks.speed"
# The cheapest of so many turns counts: choices, as fresh processes differ much and cost little.
REPEATS = 15
QUICK_REPEATS = 3


def measure_imports(plan: Plan) -> list[Row]:
    """Measure start-up costs; every command is run by turns, in a process of its own.

    Parameters
    ----------
    plan : Plan
        Repeats and scratch folder.

    Returns
    -------
    list of Row
        Imports, the command line, first calls.
    """
    commands = {
        "python -c pass": [sys.executable, "-P", "-c", "pass"],
        "import sklearn.ensemble": [sys.executable, "-P", "-c", "import sklearn.ensemble"],
        "import stacking": [sys.executable, "-P", "-c", "import stacking"],
        "from stacking import StackingEnsemble": [sys.executable, "-P", "-c", "from stacking import StackingEnsemble"],
        "labelstack --help": [*_command_line(), "--help"],
    }
    costs = time_commands(plan, commands)
    peer = costs["import sklearn.ensemble"]
    rows = []
    for name, values in costs.items():
        ours = "stack" in name
        goals: tuple[Goal, ...] = ()
        if "stacking" in name:
            values, goals = _with_ratio(values, peer), (Goal("cpu_ratio", 1.2, source="import sklearn.ensemble"),)
        elif ours:
            goals = (Goal("wall_seconds", 0.5),)
        trouble = values.get("trouble", "")
        rows.append(Row("start", name, ours, values={} if trouble else values, goals=goals, trouble=trouble))
    return [*rows, *_first_calls(plan)]


def time_commands(plan: Plan, commands: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Run commands by turns and keep each one's cheapest run, processor and wall each.

    Parameters
    ----------
    plan : Plan
        Repeats and scratch folder.
    commands : dict of str to list of str
        Name to arguments.

    Returns
    -------
    dict of str to dict
        ``cpu_seconds`` and ``wall_seconds``, or ``trouble`` where the command failed.
    """
    cache = plan.scratch / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    costs: dict[str, dict[str, Any]] = {name: {} for name in commands}
    for turn in range(1 + (QUICK_REPEATS if plan.quick else REPEATS)):
        for name, arguments in commands.items():
            plan.say(f"{name}, turn {turn}")
            found = _time_command(arguments, environment(cache), plan.scratch)
            if turn == 0 or "trouble" in found:  # the first turn fills the disk cache
                costs[name] = {key: value for key, value in found.items() if key == "trouble"}
                continue
            for key, value in found.items():
                costs[name][key] = min(value, costs[name].get(key, value))
    return costs


def _time_command(arguments: list[str], variables: dict[str, str], folder: Path) -> dict[str, Any]:
    """Run one command and read what it used."""
    began = time.perf_counter()
    before = os.times()
    ended = subprocess.run(arguments, env=variables, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, os.times()
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        return {"trouble": f"not measured: {last}"}
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"cpu_seconds": spent, "wall_seconds": wall}


def _command_line() -> list[str]:
    """Find the installed command, or the module where there is none."""
    script = shutil.which("labelstack", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-P", "-m", "experiments"]


def _with_ratio(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """Add how many times the peer's cost ours is."""
    if "cpu_seconds" not in ours or "cpu_seconds" not in peer:
        return ours
    ratios = {f"{kind}_ratio": ours[f"{kind}_seconds"] / peer[f"{kind}_seconds"] for kind in ("cpu", "wall")}
    return {**ours, **ratios}


def _first_calls(plan: Plan) -> list[Row]:
    """Measure first calls in a fresh process; the columns tell cached from compiling."""
    path = str(prepare_workload(plan))
    job = "first call in a fresh process (with imports)"
    return [
        measure_row(plan, Row(job, "exact thresholds", True), f"{SPEED}:exact_thresholds", {"path": path}),
        measure_row(
            plan,
            Row(job, "greedy weights, best threshold", True),
            f"{SPEED}:weighted_voting",
            {"path": path, "optimizer": "greedy", "objective": "micro-f1-best"},
        ),
        measure_row(
            plan,
            Row(job, "convex log-loss weights", True),
            f"{SPEED}:weighted_voting",
            {"path": path, "optimizer": "slsqp", "objective": "log-loss"},
        ),
    ]
