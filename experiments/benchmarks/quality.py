"""The quality rows: held-out scores on rows that tuned nothing, beside plain solutions measured in the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.datasets import (
    load_split,
    prepare_few_rows,
    prepare_jamendo,
    prepare_members,
    prepare_simulation,
    prepare_workload,
)
from experiments.benchmarks.processes import BUDGET_SPENT, Plan
from experiments.benchmarks.references import describe_held_out
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS, PEERS, measure_row
from experiments.benchmarks.tabular import DATA_SETS, SYSTEMS
from experiments.benchmarks.worker import Job
from stacking._typing import FloatingArray

HERE = "experiments.benchmarks.quality"
TABULAR = "experiments.benchmarks.tabular"
LEARNER = "label-context"
"""The meta-learner whose own figures the table asks for, by its name in the library."""
TIME_LIMIT = 300  # seconds for auto's choice: five minutes, as a user would wait
FEW_ROWS = {1_000: (0.778, 0.785), 300: (0.724, 0.755)}
"""Scored rows, and the micro-F1 to reach without and with the truth of the others."""
N_SPLITS = 4  # by artist: the spread over them says how far one split can be trusted
EVERY_LABEL = 12  # a twelfth of the hours that all labels take
FITS_OF_CROSS_FITTING = 5  # five on four fifths of the rows, one on all
FASHION = Path(__file__).parents[1] / "results" / "fashion44k-cpu.json"
ABSENT = "skipped: {} is absent; set LABELSTACK_SHARED_DATA to the folder of the measuring data"


def ensemble(
    path: str, method: str, time_limit: float | None = None, metric: str = "micro-f1", label_rows: bool = False
) -> Job:
    """Prepare a `StackingEnsemble`.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    method : str
        ``auto`` or a registered method.
    time_limit : float, optional
        Seconds for the choice.
    metric : str, default='micro-f1'
        What the method goes by.
    label_rows : bool, default=False
        Whether rows without scores teach it too.

    Returns
    -------
    Job
        Runs fitting, with thresholds, and prediction of the held-out rows.
    """
    data = load_split(path)

    def run() -> tuple[Any, FloatingArray]:
        from stacking import PredictionSet, StackingEnsemble

        given = PredictionSet(data.y_scores, y_true=data.y_true, groups=data.groups)
        if label_rows and data.label_rows is not None:
            given = given.with_label_rows(data.label_rows)
        fitted = StackingEnsemble(method=method, random_state=0, time_limit=time_limit, metric=metric).fit(given)
        return fitted, fitted.predict_proba(data.y_scores_test)

    def describe(answer: tuple[Any, FloatingArray]) -> dict[str, Any]:
        fitted, y_score = answer
        values = describe_held_out(data.y_true_test, np.asarray(fitted.decide(y_score), bool), y_score)
        return {**values, "report": str(fitted.report_)}

    return Job(run, describe)


def measure_workload(plan: Plan) -> list[Row]:
    """Measure the common workload, 10,000 rows to tune on and 10,000 held out: for its costs, its quality is saturated.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    job = "workload, 10,000 → 10,000 rows"
    path = str(prepare_workload(plan))
    names = ("best-single-half", "mean-half", "mean", "mean-exact", "label-logistic", "ridge-then-logistic")
    autogluon = {"path": path, "metric": "numpy-f1"}
    rows = _references(plan, job, path, names)
    rows.append(measure_row(plan, Row(job, "AutoGluon weights, .5", False), f"{PEERS}:autogluon_greedy", autogluon))
    return [*rows, *_ours(plan, job, path, {"ridge-context": (), LEARNER: (), "auto": ()})]


def measure_simulation(plan: Plan) -> list[Row]:
    """Measure simulated CNNs on real label rows, 80/20.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    job = "simulate_predictions.py --seed 0, 80/20"
    found = prepare_simulation(plan)
    if found is None:
        return [Row(job, OURS, True, trouble=ABSENT.format("imaterialist2018/simulate_predictions.py"))]
    path = str(found)
    names = ["best-single", "mean", "mean-exact", "label-logistic", "ridge-then-logistic"]
    quality = Goal("test_micro_f1", 0.77, at_most=False)
    goals: dict[str, tuple[Goal, ...]] = {
        "ridge-context": (),
        LEARNER: (quality, Goal("cpu_seconds", 60.0)),
        "auto": (quality, Goal("wall_seconds", TIME_LIMIT * 1.05)),
    }
    rows = [*_references(plan, job, path, names), *_ours(plan, job, path, goals)]
    if plan.quick:
        return rows
    trees = _references(plan, job, path, ["label-lightgbm"])
    return [*rows, *trees, _extrapolated(plan, job, path, "context-lightgbm", 0.7125)]


def measure_few_rows(plan: Plan) -> list[Row]:
    """Measure few scored rows of the simulation, without and with the truth of the others.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first, for each number of rows.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    rows: list[Row] = []
    for n_rows, (alone, taught) in FEW_ROWS.items():
        job = f"simulate_predictions.py --seed 0, {n_rows:,} scored rows"
        found = prepare_few_rows(plan, n_rows)
        if found is None:
            return [Row(job, OURS, True, trouble=ABSENT.format("imaterialist2018/simulate_predictions.py"))]
        path = str(found)
        rows += _references(plan, job, path, ("best-single", "mean", "label-logistic"))
        rows += _ours(plan, job, path, {LEARNER: (Goal("test_micro_f1", alone, at_most=False),)})
        taught_row = Row(
            job, f"{OURS} {LEARNER}, label rows", True, goals=(Goal("test_micro_f1", taught, at_most=False),)
        )
        arguments = {"path": path, "method": LEARNER, "label_rows": True}
        rows.append(measure_row(plan, taught_row, f"{HERE}:ensemble", arguments))
    return rows


def measure_members(plan: Plan) -> list[Row]:
    """Measure seven real networks on photos, by micro-F1 and by macro-F1.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    job = "fashion44k_members, its own split"
    found = prepare_members(plan)
    if found is None:
        return [Row(job, OURS, True, trouble=ABSENT.format("fashion44k_members"))]
    path = str(found)
    goals = (
        Goal("test_micro_f1", 0.8255, at_most=False),
        Goal("test_mean_average_precision", 0.602, at_most=False),
    )
    names = ("best-single", "mean", "mean-exact", "label-logistic")
    rows = [*_references(plan, job, path, names), *_ours(plan, job, path, {LEARNER: goals, "auto": goals})]
    goals = (Goal("test_macro_f1", 0.54, at_most=False), Goal("test_micro_f1", 0.8, at_most=False))
    for method in (LEARNER, "auto"):
        arguments = {"path": path, "method": method, "metric": "macro-f1"}
        row = Row(job, f"{OURS} {method}, by macro-F1", True, goals=goals)
        rows.append(measure_row(plan, row, f"{HERE}:ensemble", arguments))
    return rows


def measure_jamendo(plan: Plan) -> list[Row]:
    """Measure random splits of the music tags by artist, and sum them up.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    rows: list[Row] = []
    gains = []
    names = ("best-single", "mean", "row-label-lightgbm")
    n_splits = 1 if plan.quick else N_SPLITS
    for number in range(n_splits):
        job = f"jamendo_moodtheme, 65/35 by artist, split {number}"
        path = prepare_jamendo(plan, number)
        if path is None:
            return [Row("jamendo_moodtheme", OURS, True, trouble=ABSENT.format("jamendo_moodtheme"))]
        plain = _references(plan, job, str(path), names)
        mean = plain[1].values.get("test_micro_f1")
        goals: tuple[Goal, ...] = (
            () if mean is None else (Goal("test_micro_f1", mean - 0.002, at_most=False, source="mean − .002"),)
        )
        ours = _ours(plan, job, str(path), {"greedy": (), "auto": goals})
        rows += [*plain, *ours]
        if mean is not None and ours[-1].values:
            gains.append(ours[-1].values["test_micro_f1"] - mean)
    if len(gains) == n_splits:
        values = {"mean_gain": float(np.mean(gains)), "worst_gain": float(min(gains))}
        goals = (Goal("mean_gain", 0.0, at_most=False), Goal("worst_gain", -0.002, at_most=False))
        rows.append(Row("jamendo_moodtheme, all splits", f"{OURS} auto", True, values=values, goals=goals))
    return rows


def read_fashion(plan: Plan) -> list[Row]:
    """Read what the recipe that trains networks on photos left, which takes hours and is not run here.

    Parameters
    ----------
    plan : Plan
        Not used.

    Returns
    -------
    list of Row
        The constant answer, the best member, and the ensemble with its goals.
    """
    job = "fashion44k, test split"
    if not FASHION.exists():
        return [Row(job, OURS, True, trouble=f"not measured: {FASHION.name} is absent; run its recipe")]
    board = json.loads(FASHION.read_text(encoding="utf-8"))
    note = f"read from {FASHION.name}, not measured in this run"
    best = max((row for row in board["rows"] if row["kind"] == "member"), key=lambda row: row["score"])
    ours = next(row for row in board["rows"] if row["kind"] == "auto")
    goals = (
        Goal("test_micro_f1", best["score"], at_most=False, source="its best member"),
        Goal("gain_low", 0.0, at_most=False),
    )
    values = {"test_micro_f1": ours["score"], "gain_low": ours["vs_best_member_low"]}
    return [
        Row(job, "constant answer", False, values={"test_micro_f1": board["constant_answer"]}, note=note),
        Row(job, f"best member, {best['method']}", False, values={"test_micro_f1": best["score"]}, note=note),
        Row(job, f"{OURS} auto", True, values=values, goals=goals, note=note),
    ]


def measure_tabular(plan: Plan) -> list[Row]:
    """Measure the small sets and rank the systems over them.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        References first.
    """
    plan = replace(plan, repeats=0)  # the score is the point
    rows: list[Row] = []
    chosen = DATA_SETS[:2] if plan.quick else DATA_SETS
    for name in chosen:
        path = plan.data("tabular", f"{name}.npz")
        if path is None:
            return [Row("tabular", OURS, True, trouble=ABSENT.format("tabular"))]
        job = f"tabular, {name}, 5 scikit-learn classifiers"
        for system in SYSTEMS:
            arguments = {"path": str(path), "system": system, "quick": plan.quick}
            rows.append(measure_row(plan, Row(job, system, system == OURS), f"{TABULAR}:tabular_job", arguments))
    return [*rows, *rank_systems(rows)]


def rank_systems(rows: Sequence[Row]) -> list[Row]:
    """Rank the systems on every data set by held-out micro-F1 and average the ranks.

    Parameters
    ----------
    rows : sequence of Row
        One per data set and system; a system without a value ranks last. A set for which the time did not suffice is
        left out.

    Returns
    -------
    list of Row
        One per system; labelstack's with the goals: the best mean rank, and nowhere more than .005 below the mean.
    """
    unfinished = {row.job for row in rows if BUDGET_SPENT in row.trouble}
    jobs = sorted({row.job for row in rows} - unfinished)
    if not jobs:
        return [Row("tabular, all sets", OURS, True, trouble=f"not measured: {BUDGET_SPENT}")]
    note = f"{len(jobs)} sets"
    scores = {
        system: [
            max([row.values.get("test_micro_f1", -1.0) for row in rows if (row.job, row.system) == (job, system)])
            for job in jobs
        ]
        for system in SYSTEMS
    }
    table = np.array([scores[system] for system in SYSTEMS])
    better = (table[None] > table[:, None]).sum(axis=1)
    equal = (table[None] == table[:, None]).sum(axis=1) - 1
    ranks = dict(zip(SYSTEMS, (1 + better + equal / 2).mean(axis=1).tolist(), strict=True))
    gains = np.array(scores[OURS]) - np.array(scores["plain mean"])
    best_other = min(rank for system, rank in ranks.items() if system != OURS)
    goals = (
        Goal("mean_rank", best_other, source="the best of the others"),
        Goal("worst_gain", -0.005, at_most=False),
    )
    summary = [
        Row("tabular, all sets", system, False, values={"mean_rank": ranks[system]}, note=note) for system in SYSTEMS
    ]
    ours = {"mean_rank": ranks[OURS], "worst_gain": float(gains.min()), "mean_gain": float(gains.mean())}
    return [*summary[:-1], replace(summary[-1], ours=True, values=ours, goals=goals)]


def _references(plan: Plan, job: str, path: str, names: Sequence[str]) -> list[Row]:
    """Measure plain solutions."""
    return [
        measure_row(plan, Row(job, name.replace("-", " "), False), f"{PEERS}:reference", {"path": path, "name": name})
        for name in names
    ]


def _extrapolated(plan: Plan, job: str, path: str, name: str, earlier: float) -> Row:
    """Measure a part of an expensive solution and say what the whole would cost."""
    arguments = {"path": path, "name": name, "every": EVERY_LABEL}
    row = measure_row(plan, Row(job, name.replace("-", " "), False), f"{PEERS}:reference_part", arguments)
    factor = EVERY_LABEL * FITS_OF_CROSS_FITTING
    note = (
        f"CPU and wall seconds EXTRAPOLATED, {factor:.0f} × one fit of every {EVERY_LABEL}th label; held-out micro-F1 "
        f"{earlier} in an earlier run, not measured in this one"
    )
    costs = {key: value for key, value in row.values.items() if key in ("cpu_seconds", "wall_seconds")}
    return replace(row, values={key: factor * value for key, value in costs.items()}, note=note)


def _ours(plan: Plan, job: str, path: str, goals: dict[str, tuple[Goal, ...]]) -> list[Row]:
    """Measure ensembles by method name."""
    rows = []
    for method, wanted in goals.items():
        limit = (20 if plan.quick else TIME_LIMIT) if method == "auto" else None
        arguments = {"path": path, "method": method, "time_limit": limit}
        row = Row(job, f"{OURS} {method}", True, goals=wanted)
        rows.append(measure_row(plan, row, f"{HERE}:ensemble", arguments))
    return rows
