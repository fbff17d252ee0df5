"""Search the weights of a vote and keep what was found: weights, course of the search, a chart of it.

The weights are fitted on all rows that are given, so the score that is written is an in-sample one and says so;
`compare` gives held-out ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.reports.result_manifest import build_manifest, claimed, commit_result

if TYPE_CHECKING:
    from stacking.combiners.voting import WeightedVoting
    from stacking.files.output_folder import OutputFolder
    from stacking.metrics import Metric
    from stacking.predictions import PredictionSet

SCORING_COST = 0.1
"""Usual time of scoring and writing beside that of a search of some seconds; for the time left only."""


def search_weights(  # noqa: PLR0913 - all but the first two are keyword-only and go into one vote
    predictions: "PredictionSet",
    folder: "str | Path | OutputFolder",
    *,
    optimizer: str = "greedy",
    objective: str = "micro-f1-best",
    mean: str = "arithmetic",
    random_state: int = 0,
    optimizer_options: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Search weights and write ``weights.json``, ``history.csv``, ``history.svg`` and, last, ``manifest.json``.

    Parameters
    ----------
    predictions : PredictionSet
        Scores and truth.
    folder : str, Path or OutputFolder
        Made if it is absent; an earlier search is replaced only in a folder that was claimed for that.
    optimizer : str, default='greedy'
        A name of `optimizers.list_optimizers`.
    objective : str, default='micro-f1-best'
        What is optimized, an objective or a metric; the vote is scored by the latter as well.
    mean : str, default='arithmetic'
        How scores are averaged: arithmetic or geometric.
    random_state : int, default=0
        Seed of the search.
    optimizer_options : mapping, optional
        Options of the optimizer, such as ``{"n_iterations": 2000}``.
    limits : mapping, optional
        More parameters of `WeightedVoting`: `start`, `max_members`, `member_costs`, `max_cost`.

    Returns
    -------
    dict
        What ``weights.json`` holds.

    Raises
    ------
    ValueError
        If a name is unknown or the truth is missing.
    """
    from stacking.combiners.voting import WeightedVoting
    from stacking.decision_rules.score_blocks import ScoreBlocks
    from stacking.ensemble.answered import answered_by, spread
    from stacking.files.atomic_files import atomic_write_json, atomic_write_text
    from stacking.files.csv_cells import to_csv
    from stacking.process.progress import steps
    from stacking.report.chart_files import stand_alone
    from stacking.report.figures import search_figure

    if predictions.y_true is None:
        raise ValueError(
            "predictions must carry the truth to search weights: give it (--truth), or a bundle or store with y_true."
        )
    options: dict[str, Any] = {
        "optimizer": optimizer,
        "objective": objective,
        "mean": mean,
        "random_state": random_state,
    }
    options |= {"optimizer_options": dict(optimizer_options)} if optimizer_options else {}
    options |= limits or {}
    with claimed(folder, "optimize") as output, steps({"searching": 1.0, "scoring": SCORING_COST}) as begin:
        begin("searching")
        vote = WeightedVoting(**options)
        heard = predictions.only_answered()
        vote.fit(heard)
        begin("scoring")
        blocks = ScoreBlocks(
            lambda rows: spread(vote.predict_proba(heard.subset(samples=rows)), vote.labels_, predictions.labels),
            predictions,
            answered=answered_by(vote, predictions.labels),
        )
        thresholds = blocks.tune("single")
        score = blocks.micro_f1(thresholds)
        result = {
            "models": list(predictions.models),
            "weights": [float(weight) for weight in vote.shared_weights_],
            "optimizer": optimizer,
            "objective": objective,
            "loss": vote.loss_,
            "n_evaluations": vote.n_evaluations_,
            "n_tuning_rows": vote.n_tuning_rows_,
            "threshold": float(thresholds.min()),
            "in_sample_micro_f1": float(score),
        }
        metric = _metric_of(objective)
        if metric is not None:
            result |= {"metric": metric.name, "in_sample_score": _measure(vote, predictions, metric)}
        atomic_write_json(output.path_of("weights.json"), result)
        atomic_write_text(output.path_of("history.csv"), to_csv([["n_evaluations", "best_loss"], *vote.history_]))
        atomic_write_text(
            output.path_of("history.svg"),
            stand_alone(search_figure({optimizer: vote.history_}, loss=objective)),
        )
        commit_result(output, build_manifest("optimize", {"predictions": predictions.fingerprint}, options))
    return result


def _metric_of(objective: str) -> "Metric | None":
    """Return the metric that an objective is named after, if it is one."""
    from stacking.metrics import find_metric

    try:
        return find_metric(objective)
    except ValueError:  # micro-f1-best and its like
        return None


def _measure(vote: "WeightedVoting", predictions: "PredictionSet", metric: "Metric") -> float:
    """Score the vote by a metric, with one threshold that is tuned for it where decisions count."""
    from stacking.decision_rules.choice import tune_rule
    from stacking.ensemble.answered import answered_by, spread

    truth, answered = predictions.truth, answered_by(vote, predictions.labels)
    y_score = spread(vote.predict_proba(predictions.only_answered()), vote.labels_, predictions.labels)
    decided = tune_rule(y_score, truth, metric.rules.single, metric, answered).decide(y_score)
    return metric.measure(truth, decided, y_score).value
