"""The speed rows: every job of the first table, by labelstack and by its peers, on the common workload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from experiments.benchmarks.datasets import load_split, prepare_workload
from experiments.benchmarks.peers import describe_stack, describe_thresholds, describe_weights
from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.references import best_single_threshold, exact_label_thresholds, micro_f1
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.worker import Job
from stacking._typing import FloatingArray

HERE = "experiments.benchmarks.speed"
PEERS = "experiments.benchmarks.peers"
OURS = "labelstack"
SAME_OPTIMUM = 1e-6  # relative difference of two log losses that count as one; far below what a held-out score shows


def measure_speed(plan: Plan) -> list[Row]:
    """Measure all speed rows.

    Parameters
    ----------
    plan : Plan
        Sizes and repeats.

    Returns
    -------
    list of Row
        Peers first, then labelstack, job by job.
    """
    path = str(prepare_workload(plan))
    rows = [*_greedy_half(plan, path), *_greedy_best(plan, path), *_greedy_per_label(plan, path)]
    rows += [*_greedy_log_loss(plan, path), *_swarm(plan, path), *_convex(plan, path)]
    return [*rows, *_thresholds(plan, path), *_label_lightgbm(plan, path)]


def measure_row(plan: Plan, row: Row, job: str, arguments: dict[str, Any]) -> Row:
    """Measure one row; what goes wrong becomes the row's trouble.

    Parameters
    ----------
    plan : Plan
        Repeats and scratch folder.
    row : Row
        Job, system, goals and note, yet without values. Our own repeated rows are also measured with compilation.
    job : str
        ``module:function`` that returns a `Job`.
    arguments : dict
        Its arguments.

    Returns
    -------
    Row
        With values or trouble.
    """
    try:
        return replace(
            row, values=measure(plan, job, arguments, compiles=row.ours and plan.repeats > 1 and not plan.quick)
        )
    except MeasurementFailedError as error:
        return replace(row, trouble=f"not measured: {error}")


def weighted_voting(path: str, optimizer: str, objective: str) -> Job:
    """Prepare labelstack's weighted vote.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    optimizer : str
        One of ``optimizers.list_optimizers()``.
    objective : str
        What is optimized.

    Returns
    -------
    Job
        Runs `fit`; weights for micro-F1 at the best threshold are scored at that threshold, others at .5.
    """
    data = load_split(path)

    def run() -> Any:
        from stacking import WeightedVoting

        return WeightedVoting(optimizer=optimizer, objective=objective, random_state=0).fit(data.y_scores, data.y_true)

    def describe(vote: Any) -> dict[str, Any]:
        weights = np.asarray(vote.weights_, float)
        shared = weights if weights.ndim == 1 else weights[:, 0]
        values = describe_weights(shared, data)
        if objective == "micro-f1-best":
            tune = np.tensordot(shared.astype(np.float32), data.y_scores, 1)
            test = np.tensordot(shared.astype(np.float32), data.y_scores_test, 1)
            threshold = best_single_threshold(tune, data.y_true)
            values["train_micro_f1"] = micro_f1(data.y_true, tune >= threshold)
            values["test_micro_f1"] = micro_f1(data.y_true_test, test >= threshold)
        return values

    return Job(run, describe)


def exact_thresholds(path: str) -> Job:
    """Prepare labelstack's exact per-label thresholds on the mean of the models.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs `tune_thresholds`.
    """
    data = load_split(path)
    mean = data.y_scores.mean(axis=0)

    def run() -> FloatingArray:
        from stacking import tune_thresholds

        return tune_thresholds(mean, data.y_true)

    return Job(run, lambda thresholds: describe_thresholds(thresholds, data))


def sorted_thresholds(path: str) -> Job:
    """Prepare the same optimum by plain numpy: argsort, cumulative counts, Dinkelbach.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs `references.exact_label_thresholds`.
    """
    data = load_split(path)
    mean = data.y_scores.mean(axis=0)
    return Job(
        lambda: exact_label_thresholds(mean, data.y_true), lambda thresholds: describe_thresholds(thresholds, data)
    )


def label_stacker(path: str) -> Job:
    """Prepare labelstack's per-label LightGBM: one fit on five folds, which gives out-of-fold scores and the stacker.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs folds, fitting with cross-fitting, and prediction.
    """
    data = load_split(path)

    def run() -> tuple[FloatingArray, FloatingArray]:
        from stacking import PerLabelStacker, PredictionSet
        from stacking.folds import stratified_group_folds

        predictions = PredictionSet(data.y_scores, y_true=data.y_true)
        folds = stratified_group_folds(data.y_true, random_state=0)
        stacker, held_out = PerLabelStacker(random_state=0).fit_out_of_fold(predictions, folds=folds)
        return held_out, stacker.predict_proba(data.y_scores_test)

    return Job(run, lambda scores: describe_stack(scores, data))


def _greedy_half(plan: Plan, path: str) -> list[Row]:
    """Greedy selection for micro-F1 at .5: the peers, the plain loop, ours with the same weights."""
    job = "greedy weights, micro-F1 at .5, 25 iterations"
    peers = [
        ("AutoGluon EnsembleSelection, its own F1", f"{PEERS}:autogluon_greedy", {"path": path, "metric": "own-f1"}),
        ("AutoGluon EnsembleSelection, numpy F1", f"{PEERS}:autogluon_greedy", {"path": path, "metric": "numpy-f1"}),
        ("hillclimbers, numpy F1", f"{PEERS}:hillclimbers_greedy", {"path": path}),
        ("plain float32 numpy loop", f"{PEERS}:numpy_greedy", {"path": path}),
    ]
    rows = [measure_row(plan, Row(job, system, False), function, arguments) for system, function, arguments in peers]
    arguments = {"path": path, "optimizer": "greedy", "objective": "micro-f1-half"}
    goals = (Goal("cpu_seconds", 0.08), Goal("weight_difference", 1e-9, source="to the peers"))
    ours = measure_row(plan, Row(job, OURS, True, goals=goals), f"{HERE}:weighted_voting", arguments)
    theirs = rows[1].values.get("weights") or rows[3].values.get("weights")
    if theirs and ours.values:
        difference = np.abs(np.array(theirs) - np.array(ours.values["weights"])).max()
        ours.values["weight_difference"] = float(difference)
    return [*rows, ours]


def _greedy_best(plan: Plan, path: str) -> list[Row]:
    """Greedy selection for micro-F1 at the best threshold, which no peer offers."""
    job = "greedy weights, micro-F1 at the best threshold, 25 iterations"
    goals = (Goal("cpu_seconds", 0.12), Goal("test_micro_f1", 0.684, at_most=False))
    row = Row(job, OURS, True, goals=goals, note="no peer has it")
    arguments = {"path": path, "optimizer": "greedy", "objective": "micro-f1-best"}
    return [measure_row(plan, row, f"{HERE}:weighted_voting", arguments)]


def _greedy_per_label(plan: Plan, path: str) -> list[Row]:
    """Greedy selection for the objectives that give each label its own cut or ranking, which no peer offers."""
    names = {
        "micro-f1-per-label": "micro-F1 at exact per-label thresholds",
        "macro-f1": "macro-F1 at exact per-label thresholds",
        "mean-average-precision": "mean average precision",
    }
    return [
        measure_row(
            plan,
            Row(f"greedy weights, {words}, 25 iterations", OURS, True, note="no peer has it; micro-F1 here is at .5"),
            f"{HERE}:weighted_voting",
            {"path": path, "optimizer": "greedy", "objective": objective},
        )
        for objective, words in names.items()
    ]


def _greedy_log_loss(plan: Plan, path: str) -> list[Row]:
    """Greedy selection for log loss: the peer keeps the probability of the truth and a running sum."""
    job = "greedy weights, log loss, 25 iterations"
    name = "TabArena's fast log loss, in numpy"
    peer = measure_row(plan, Row(job, name, False), f"{PEERS}:fast_log_loss_greedy", {"path": path})
    goals: tuple[Goal, ...] = ()
    if peer.values:
        goals = (
            Goal("cpu_seconds", peer.values["cpu_seconds"], source="the peer"),
            Goal("log_loss", peer.values["log_loss"] * (1 + SAME_OPTIMUM), source="the peer's"),
        )
    arguments = {"path": path, "optimizer": "greedy", "objective": "log-loss"}
    return [peer, measure_row(plan, Row(job, OURS, True, goals=goals), f"{HERE}:weighted_voting", arguments)]


def _swarm(plan: Plan, path: str) -> list[Row]:
    """Particle swarm, 15 particles and 100 iterations."""
    rows = []
    for objective, words, limit in (("micro-f1-half", "micro-F1 at .5", 0.7), ("log-loss", "log loss", 3.0)):
        job = f"PSO 15 × 100, {words}"
        arguments = {"path": path, "objective": objective}
        peer = Row(job, "pyswarms, numpy objective", False)
        rows.append(measure_row(plan, peer, f"{PEERS}:pyswarms_weights", arguments))
        ours = Row(job, OURS, True, goals=(Goal("cpu_seconds", limit),))
        rows.append(measure_row(plan, ours, f"{HERE}:weighted_voting", {"optimizer": "pso", **arguments}))
    return rows


def _convex(plan: Plan, path: str) -> list[Row]:
    """Log-loss weights by their gradient."""
    job = "convex log-loss weights"
    peer = measure_row(plan, Row(job, "scipy SLSQP, numpy objective", False), f"{PEERS}:slsqp_weights", {"path": path})
    goals = [Goal("cpu_seconds", 0.3)]
    if peer.values:
        goals.append(Goal("log_loss", peer.values["log_loss"] * (1 + SAME_OPTIMUM), source="the peer's optimum"))
    arguments = {"path": path, "optimizer": "slsqp", "objective": "log-loss"}
    return [peer, measure_row(plan, Row(job, OURS, True, goals=tuple(goals)), f"{HERE}:weighted_voting", arguments)]


def _thresholds(plan: Plan, path: str) -> list[Row]:
    """Exact per-label thresholds."""
    job = "exact per-label thresholds for micro-F1"
    grid = "maximizes each label's own F1, which is not micro-F1"
    peers = [
        (Row(job, "grid of 50 thresholds, scikit-learn F1", False, note=grid), f"{PEERS}:grid_thresholds"),
        (Row(job, "argsort and Dinkelbach in numpy", False), f"{HERE}:sorted_thresholds"),
        (Row(job, "np.sort of the matrix alone", False, note="not a solution"), f"{PEERS}:numpy_sort"),
    ]
    rows = [measure_row(plan, row, function, {"path": path}) for row, function in peers]
    goals = [Goal("cpu_seconds", 0.05)]
    if rows[1].values:
        optimum = rows[1].values["train_micro_f1"] - 1e-9
        goals.append(Goal("train_micro_f1", optimum, at_most=False, source="the global optimum"))
    note = "coordinate ascent by scikit-learn calls would take days and is not run"
    ours = Row(job, OURS, True, goals=tuple(goals), note=note)
    return [*rows, measure_row(plan, ours, f"{HERE}:exact_thresholds", {"path": path})]


def _label_lightgbm(plan: Plan, path: str) -> list[Row]:
    """One LightGBM per label."""
    job = "per-label LightGBM, 5-fold out-of-fold scores and held-out prediction"
    peer = Row(job, "LightGBM defaults, 50 trees", False)
    goals = (Goal("cpu_seconds", 20.0), Goal("test_micro_f1", 0.6865, at_most=False))
    return [
        measure_row(plan, peer, f"{PEERS}:lightgbm_per_label", {"path": path}),
        measure_row(plan, Row(job, OURS, True, goals=goals), f"{HERE}:label_stacker", {"path": path}),
    ]
