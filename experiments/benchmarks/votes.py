"""What a cell costs the votes where labels are many and rows few: 100 × 6,000 beside 5,000 × 120, as many cells.

Each vote is fitted whole, with its thresholds, as `labelstack fit` does. Both shapes are measured in one process, in
turn, so that what else runs on the machine slows both down alike.

CPU nanoseconds a cell as measured by hand on two processors of an AMD EPYC that others kept busy, the cheapest of two
or three fits. "Search" is the method's own `fit`, "whole" that of `StackingEnsemble` with its nested thresholds:

================  ================  ======  ================  ======
method            search            ratio   whole             ratio
================  ================  ======  ================  ======
mean              (nothing)                 1,507 → 1,413       .94
geometric         (nothing)                 1,432 → 1,286       .90
harmonic          (nothing)                 1,376 → 1,278       .93
majority          (nothing)                 1,500 → 1,455       .97
rank                 26 → 27        1.04    1,508 → 1,434       .95
greedy              185 → 199       1.08    2,997 → 2,977       .99
greedy-geometric    235 → 229        .98
convex              149 → 144        .97
hill-climbing     2,122 → 2,294     1.08
pso               2,119 → 1,884      .89
greedy-per-label    504 → 899       1.78    4,202 → 6,013      1.43
================  ================  ======  ================  ======

One search a label took 712 → 7,310 (10.3) in the last row.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.benchmarks.processes import Plan
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS, measure_row
from experiments.benchmarks.worker import Job

HERE = "experiments.benchmarks.votes"
ROWS_AND_LABELS = ((5_000, 120), (100, 6_000))  # as many cells in both, so that only the shape differs
QUICK = ((500, 12), (50, 120))
N_MODELS = 5  # a choice: what an ensemble usually has
FREQUENCY = 0.02  # of each label: two positives in 100 rows, so that most labels have something to search
TURNS = 3
TWICE = 2.0  # the goal: many labels may make a cell so many times as costly


def measure_votes(plan: Plan) -> list[Row]:
    """Measure the cost of a cell at both shapes for every vote.

    Parameters
    ----------
    plan : Plan
        Sizes and scratch folder.

    Returns
    -------
    list of Row
        One row for each vote, with CPU nanoseconds a cell at both shapes and their ratio.
    """
    from stacking.combiners.registry import find_method, list_methods

    shapes = QUICK if plan.quick else ROWS_AND_LABELS
    job = "fit a vote with its thresholds, {1[0]:,} rows × {1[1]:,} labels beside {0[0]:,} × {0[1]:,}".format(*shapes)
    rows = []
    for method in list_methods():
        if find_method(method).kind == "vote":
            row = Row(job, f"{OURS} {method}", True, goals=(Goal("cell_ratio", TWICE),))
            row = measure_row(
                replace(plan, repeats=1), row, f"{HERE}:fit_both_shapes", {"method": method, "shapes": shapes}
            )
            costs = row.values.get("nanoseconds_per_cell")
            rows.append(replace(row, note="{1:,.0f} beside {0:,.0f} CPU ns a cell".format(*costs)) if costs else row)
    return rows


def fit_both_shapes(method: str, shapes: Sequence[Sequence[int]], turns: int = TURNS) -> Job:
    """Prepare the fits of one vote at two shapes of equally many cells.

    Parameters
    ----------
    method : str
        One of `list_methods`.
    shapes : sequence of (n_samples, n_labels)
        Few labels, then many.
    turns : int, default=3
        Fits of each; the cheapest counts.

    Returns
    -------
    Job
        Fits both in turn.
    """
    sets = [_make_scores(*shape) for shape in shapes]

    def run() -> list[list[float]]:
        from stacking import StackingEnsemble

        spent: list[list[float]] = [[], []]
        for _ in range(turns):
            for seconds, (y_scores, y_true) in zip(spent, sets, strict=True):
                began = time.process_time()
                StackingEnsemble(method).fit(y_scores, y_true)
                seconds.append(time.process_time() - began)
        return spent

    def describe(spent: list[list[float]]) -> dict[str, Any]:
        costs = [min(seconds) / y_true.size * 1e9 for seconds, (_, y_true) in zip(spent, sets, strict=True)]
        return {"nanoseconds_per_cell": costs, "cell_ratio": costs[1] / costs[0]}

    return Job(run, describe)


def _make_scores(n_samples: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores of a few models that see the truth through noise."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((n_samples, n_labels)) < FREQUENCY).astype(np.uint8)
    noise = rng.normal(size=(N_MODELS, n_samples, n_labels))
    return (1 / (1 + np.exp(-(3 * y_true - 3 + noise)))).astype(np.float32), y_true
