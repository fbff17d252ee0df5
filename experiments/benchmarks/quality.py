"""The quality rows: held-out micro-F1 on rows that tuned nothing, beside plain solutions measured in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.benchmarks.datasets import load_split, prepare_jamendo, prepare_simulation, prepare_workload
from experiments.benchmarks.processes import Plan
from experiments.benchmarks.references import micro_f1
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS, PEERS, measure_row
from experiments.benchmarks.tabular import DATA_SETS, SYSTEMS
from experiments.benchmarks.worker import Job

HERE = "experiments.benchmarks.quality"
TABULAR = "experiments.benchmarks.tabular"
LEARNER = "label-context"
"""The meta-learner whose own figures the table asks for, by its name in the library."""
TIME_LIMIT = 300
N_SPLITS = 4
ABSENT = "skipped: {} is absent; set LABELSTACK_SHARED_DATA to the folder of the measuring data"


def measure_quality(plan: Plan) -> list[Row]:
    """Measure all quality rows but those that train networks.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        Data set by data set, references first.
    """
    plan = replace(plan, repeats=1)  # most of these take long, and their score is the point
    return [*_workload(plan), *_simulation(plan), *_jamendo(plan), *_fashion(plan), *_tabular(plan)]


def ensemble(path: str, method: str, time_limit: float | None) -> Job:
    """Prepare a `StackingEnsemble`.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    method : str
        ``auto`` or a registered method.
    time_limit : float or None
        Seconds for the choice.

    Returns
    -------
    Job
        Runs fitting, with thresholds, and prediction of the held-out rows.
    """
    data = load_split(path)

    def run() -> tuple[Any, npt.NDArray[np.bool_]]:
        from stacking import StackingEnsemble

        fitted = StackingEnsemble(method=method, random_state=0, time_limit=time_limit)
        fitted.fit(data.y_scores, data.y_true, groups=data.groups)
        return fitted, np.asarray(fitted.predict(data.y_scores_test), bool)

    def describe(answer: tuple[Any, npt.NDArray[np.bool_]]) -> dict[str, Any]:
        report = str(getattr(answer[0], "report_", ""))
        return {"test_micro_f1": micro_f1(data.y_true_test, answer[1]), "report": report}

    return Job(run, describe)


def _workload(plan: Plan) -> list[Row]:
    """Measure the common workload, 10,000 rows to tune on and 10,000 held out."""
    job = "workload, 10,000 → 10,000 rows"
    path = str(prepare_workload(plan))
    names = ("best-single-half", "mean-half", "mean", "mean-exact", "label-logistic", "ridge-then-logistic")
    autogluon = {"path": path, "metric": "numpy-f1"}
    rows = _references(plan, job, path, names)
    rows.append(measure_row(plan, Row(job, "AutoGluon weights, .5", False), f"{PEERS}:autogluon_greedy", autogluon))
    goal = Goal("test_micro_f1", 0.6945, at_most=False)
    return [*rows, *_ours(plan, job, path, {"ridge-context": (), LEARNER: (goal,), "auto": (goal,)})]


def _simulation(plan: Plan) -> list[Row]:
    """Measure simulated CNNs on real label rows, 80/20."""
    job = "simulate_predictions.py --seed 0, 80/20"
    found = prepare_simulation(plan)
    if found is None:
        return [Row(job, OURS, True, trouble=ABSENT.format("imaterialist2018/simulate_predictions.py"))]
    path = str(found)
    names = ["best-single", "mean", "mean-exact", "label-lightgbm", "label-logistic", "ridge-then-logistic"]
    if not plan.quick:
        names.append("context-lightgbm")
    quality = Goal("test_micro_f1", 0.77, at_most=False)
    goals: dict[str, tuple[Goal, ...]] = {
        "ridge-context": (),
        LEARNER: (quality, Goal("cpu_seconds", 60.0)),
        "auto": (quality, Goal("wall_seconds", TIME_LIMIT * 1.05)),
    }
    return [*_references(plan, job, path, names), *_ours(plan, job, path, goals)]


def _jamendo(plan: Plan) -> list[Row]:
    """Measure random splits of the music tags by artist, and sum them up."""
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
        ours = _ours(plan, job, str(path), {"auto": goals})
        rows += [*plain, *ours]
        if mean is not None and ours[0].values:
            gains.append(ours[0].values["test_micro_f1"] - mean)
    if len(gains) == n_splits:
        values = {"mean_gain": float(np.mean(gains)), "worst_gain": float(min(gains))}
        goals = (Goal("mean_gain", 0.0, at_most=False), Goal("worst_gain", -0.002, at_most=False))
        rows.append(Row("jamendo_moodtheme, all splits", f"{OURS} auto", True, values=values, goals=goals))
    return rows


def _fashion(plan: Plan) -> list[Row]:
    """Say where the row that trains networks is measured."""
    job = "fashion44k, test split"
    if plan.data("fashion44k") is None:
        return [Row(job, OURS, True, trouble=ABSENT.format("fashion44k"))]
    return [
        Row(job, OURS, True, trouble="not part of make bench: it trains networks; run its recipe with labelstack train")
    ]


def _tabular(plan: Plan) -> list[Row]:
    """Measure the small sets and rank the systems over them."""
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
        One per data set and system; a system without a value ranks last.

    Returns
    -------
    list of Row
        One per system; labelstack's with the goals: the best mean rank, and nowhere more than .005 below the mean.
    """
    jobs = sorted({row.job for row in rows})
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
    summary = [Row("tabular, all sets", system, False, values={"mean_rank": ranks[system]}) for system in SYSTEMS]
    ours = {"mean_rank": ranks[OURS], "worst_gain": float(gains.min()), "mean_gain": float(gains.mean())}
    return [*summary[:-1], replace(summary[-1], ours=True, values=ours, goals=goals)]


def _references(plan: Plan, job: str, path: str, names: Sequence[str]) -> list[Row]:
    """Measure plain solutions."""
    return [
        measure_row(plan, Row(job, name.replace("-", " "), False), f"{PEERS}:reference", {"path": path, "name": name})
        for name in names
    ]


def _ours(plan: Plan, job: str, path: str, goals: dict[str, tuple[Goal, ...]]) -> list[Row]:
    """Measure ensembles by method name."""
    rows = []
    for method, wanted in goals.items():
        limit = (20 if plan.quick else TIME_LIMIT) if method == "auto" else None
        arguments = {"path": path, "method": method, "time_limit": limit}
        row = Row(job, f"{OURS} {method}", True, goals=wanted)
        rows.append(measure_row(plan, row, f"{HERE}:ensemble", arguments))
    return rows
