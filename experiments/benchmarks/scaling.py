"""What the cost grows with: rows, labels and models, from prediction stores on disk, and the whole contest's size.

The job is the usual one: greedy weights for micro-F1 at the best threshold, on all rows, then exact per-label
thresholds of the weighted scores, on all rows too, block by block. Every size runs in a process of its own, so its
peak of resident memory is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.benchmarks.processes import Plan
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS, measure_row
from experiments.benchmarks.worker import Job
from experiments.benchmarks.workload import N_LABELS, write_workload_store

HERE = "experiments.benchmarks.scaling"
CONTEST_ROWS = 1_014_544  # training photos of iMaterialist Fashion 2018
# Three sizes or more of each, so that the growth of one step can be compared with that of another.
ROWS = (10_000, 100_000, CONTEST_ROWS)
LABELS = (57, 114, N_LABELS)  # a quarter, a half, all
MODELS = (3, 6, 12, 20)
STORED_MODELS = MODELS[-1]
MINUTE = 60.0


def measure_scaling(plan: Plan) -> list[Row]:
    """Measure cost and memory against rows, labels and models.

    Parameters
    ----------
    plan : Plan
        Sizes and scratch folder.

    Returns
    -------
    list of Row
        Sizes, then a linear fit for each kind of growth.
    """
    sizes = (1_000, 2_000, 4_000) if plan.quick else ROWS
    middle = sizes[1]
    plan = replace(plan, repeats=1)
    _measure_size(plan, Row("warm-up", OURS, True), sizes[0])  # compiles once for all that follow
    by_rows = [_measure_size(plan, _row("rows", n, plan, n, 6), n, n_models=6) for n in sizes]
    largest = sizes[-1]
    full = _measure_size(plan, _row("rows, 20 models", largest, plan, largest, 20), largest)
    sampled = _row("rows, weights on a sample (default)", largest, plan)
    sampled = _measure_size(plan, sampled, largest, n_models=6, sample=True)
    by_labels = [_measure_size(plan, _row("labels", n, plan), middle, n_labels=n) for n in LABELS]
    by_models = [_measure_size(plan, _row("models", n, plan), middle, n_models=n) for n in MODELS]
    fits = [
        fit_growth("rows", sizes, by_rows),
        fit_growth("labels", LABELS, by_labels),
        fit_growth("models", MODELS, by_models),
    ]
    return [*by_rows, sampled, full, *by_labels, *by_models, *fits]


def weigh_and_cut(store: str, n_labels: int | None = None, n_models: int | None = None, *, sample: bool = False) -> Job:
    """Prepare joint weights and exact thresholds from a store.

    Parameters
    ----------
    store : str
        Its folder.
    n_labels, n_models : int, optional
        Labels (evenly spread) and models (the first) to take; all by default.
    sample : bool, default=False
        Whether the weights may be searched on a sample of the rows, the library's default; else on all rows.

    Returns
    -------
    Job
        Runs weights and thresholds.
    """

    def run() -> tuple[Any, ...]:
        from stacking import WeightedVoting, load_predictions
        from stacking.decision_rules.score_blocks import ScoreBlocks
        from stacking.kernels.compiling import Kernel

        Kernel.is_compiled_at_once = True  # all sizes by the same loops, however small
        predictions = load_predictions(store)
        if n_labels is not None:
            chosen = np.linspace(0, predictions.n_labels - 1, n_labels).round().astype(int)
            predictions = predictions.subset(labels=chosen)
        if n_models is not None:
            predictions = predictions.subset(models=np.arange(n_models))
        options: dict[str, Any] = {} if sample else {"max_rows": None}
        vote = WeightedVoting(optimizer="greedy", objective="micro-f1-best", random_state=0, **options).fit(predictions)
        blocks = ScoreBlocks(lambda rows: vote.predict_proba(predictions.subset(samples=rows)), predictions)
        return blocks, blocks.tune("exact-micro-f1"), vote.shared_weights_

    def describe(answer: tuple[Any, ...]) -> dict[str, Any]:
        blocks, thresholds, weights = answer
        n_cells = blocks.predictions.n_samples * blocks.predictions.n_labels
        return {"train_micro_f1": blocks.micro_f1(thresholds), "n_cells": n_cells, "weights": weights.tolist()}

    return Job(run, describe)


def fit_growth(what: str, sizes: Sequence[int], rows: Sequence[Row]) -> Row:
    """Fit CPU seconds of the first call = a + b · size and see whether the cost per unit stays level.

    Parameters
    ----------
    what : str
        What grows.
    sizes : sequence of int
        The sizes.
    rows : sequence of Row
        Their measurements.

    Returns
    -------
    Row
        With the fit in words, and as a value the cost per additional unit between the upper sizes over that between
        the lower ones (1 when linear).
    """
    job = f"growth with {what}"
    # First calls throughout: the largest sizes are called once only, and a second call reads what the first has cached.
    costs = np.array([row.values.get("first_call_seconds", np.nan) for row in rows])
    if np.isnan(costs).any():
        return Row(job, OURS, True, trouble="not measured: a size is missing")
    units = np.asarray(sizes, float)
    design = np.column_stack([np.ones_like(units), units])
    weight = 1 / costs  # relative errors count, so that the small sizes do too
    (start, slope), *_ = np.linalg.lstsq(design * weight[:, None], costs * weight, rcond=None)
    worst = float(np.abs(design @ [start, slope] / costs - 1).max())
    steps = np.diff(costs) / np.diff(units)
    values = {
        "start_seconds": float(start),
        "seconds_per_unit": float(slope),
        "largest_relative_residual": worst,
        "growth": float(steps[-1] / steps[0]) if steps.min() > 0 else None,  # noise, at small sizes
    }
    unit = what.removesuffix("s")
    note = f"{start:.3g} s + {slope * 1e6:.4g} µs × {what}; largest relative residual {worst:.0%} of one {unit} size"
    return Row(job, OURS, True, values=values, goals=(Goal("growth", 1.3),), note=note)


def _row(what: str, size: int, plan: Plan, n_samples: int = 0, n_models: int = 0) -> Row:
    """Make the row of one size; the contest's size has goals of its own."""
    goals: tuple[Goal, ...] = ()
    if n_samples == CONTEST_ROWS:
        minutes = 5 if n_models == 6 else 15
        goals = (Goal("wall_seconds", minutes * MINUTE), Goal("peak_gib", 6.0))
    job = "joint weights + exact thresholds from disk"
    of_rows = "6 of the store's 20 models" if what != "rows, 20 models" else ""
    n_rows = "2,000" if plan.quick else "100,000"
    note = of_rows if what.startswith("rows") else f"{n_rows} rows, parts of a store of 20 models"
    return Row(job, f"{OURS}, {size:,} {what}", True, goals=goals, note=note)


def _measure_size(plan: Plan, row: Row, n_samples: int, **parts: int) -> Row:
    """Write the store of 20 models if need be; `parts` are further arguments of `weigh_and_cut`."""
    folder = plan.scratch / f"store-{n_samples}-{STORED_MODELS}"
    plan.say(f"store of {n_samples:,} × {N_LABELS} × {STORED_MODELS}")
    try:
        write_workload_store(folder, n_samples, STORED_MODELS)
    except (OSError, ImportError) as error:
        return replace(row, trouble=f"not measured: {error}")
    return measure_row(plan, row, f"{HERE}:weigh_and_cut", {"store": str(folder), **parts})
