"""Who is fitted on what and scored on what: the same for every method.

Nested: each outer fold is scored by methods that were fitted, tuned and chosen on the other folds; inner folds inside
them give the cross-fitted scores that thresholds are tuned on. With a holdout there is one split: fit on everything,
score on the holdout, which tunes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stacking._typing import IndexArray
from stacking.decision_rules.choice import tune_rule
from stacking.folds import deal_folds
from stacking.metrics import constant_labels
from stacking.metrics.counts import DecisionCounts, f1_score
from stacking.metrics.named import DEFAULT_METRIC, Metric
from stacking.named_arrays import AxisNames
from stacking.predictions import PredictionSet
from stacking.truth import Truth


@dataclass(frozen=True)
class Split:
    """One side to fit on, one to score.

    Attributes
    ----------
    fit_side, test_side : PredictionSet
        Disjoint samples, the same models and labels; all rows of the fit side count.
    rows : ndarray of int, shape (n_test,)
        Where the rows of `test_side` stand among all scored rows.
    inner_folds : ndarray of int, shape (n_fit,)
        Folds inside `fit_side`, those that fitting an ensemble on it deals.
    """

    fit_side: PredictionSet
    test_side: PredictionSet
    rows: IndexArray
    inner_folds: IndexArray

    def with_models(self, models: Sequence[str]) -> Split:
        """Keep some models only.

        Parameters
        ----------
        models : sequence of str
            Their names.

        Returns
        -------
        Split
            The same rows.
        """
        return replace(
            self,
            fit_side=self.fit_side.subset(models=list(models)),
            test_side=self.test_side.subset(models=list(models)),
        )


def _fit_side(predictions: PredictionSet, n_splits: int, random_state: int) -> tuple[PredictionSet, IndexArray]:
    """Keep what counts of the side that is fitted on, and deal the folds that `StackingEnsemble.fit` deals."""
    counted = predictions.only_counted()
    return counted, deal_folds(counted.truth, n_splits, random_state=random_state)


def nested_splits(predictions: PredictionSet, n_splits: int, random_state: int) -> list[Split]:
    """Make outer folds, each with inner folds.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    n_splits : int
        Number of outer and of inner folds; fewer where there are fewer samples or groups.
    random_state : int
        Seed.

    Returns
    -------
    list of Split
        One per outer fold; every row is scored once.

    Raises
    ------
    ValueError
        If all samples that count lie in one group, so that nothing can be held out.
    """
    outer = deal_folds(predictions.truth, n_splits, random_state=random_state)
    if not outer.any():
        unit = "samples" if predictions.truth.groups is None else "groups"
        raise ValueError(
            f"predictions must hold at least 2 {unit} that count to be compared: got {predictions.truth.n_units}; give "
            "more, or a holdout."
        )
    splits = []
    for fold in np.unique(outer):
        rows = np.flatnonzero(outer == fold)
        side = predictions.subset(samples=np.flatnonzero(outer != fold))
        fit_side, inner = _fit_side(side, n_splits, random_state)
        splits.append(Split(fit_side, predictions.subset(samples=rows), rows, inner))
    return splits


def holdout_split(predictions: PredictionSet, holdout: PredictionSet, n_splits: int, random_state: int) -> Split:
    """Fit on all predictions, score on the holdout.

    Parameters
    ----------
    predictions, holdout : PredictionSet
        With the truth; the holdout's models and labels are put into the order of `predictions` by name.
    n_splits : int
        Number of inner folds.
    random_state : int
        Seed.

    Returns
    -------
    Split
        The one split.

    Raises
    ------
    ValueError
        If the holdout has no truth or no known cell, lacks a model or label, or shares a sample with `predictions`.
    """
    aligned = align_holdout(predictions, holdout)
    if predictions.label_rows is not None:
        others = predictions.label_rows.without(aligned.ids, aligned.groups, aligned.y_true)
        predictions = predictions._with(label_rows=others)
    fit_side, inner = _fit_side(predictions, n_splits, random_state)
    return Split(fit_side, aligned, np.arange(holdout.n_samples), inner)


def align_holdout(predictions: PredictionSet, holdout: PredictionSet) -> PredictionSet:
    """Put the rows that are scored into the order of those that are fitted on, by name.

    Parameters
    ----------
    predictions : PredictionSet
        What is fitted on.
    holdout : PredictionSet
        Other rows with their truth.

    Returns
    -------
    PredictionSet
        The holdout with the models and labels of `predictions`.

    Raises
    ------
    ValueError
        If the holdout has no truth or no known cell, lacks a model or label, or shares a sample with `predictions`.
    """
    if holdout.y_true is None:
        raise ValueError("holdout must carry y_true: it is what every method is scored on.")
    holdout.truth.check_counted()
    shared = np.intersect1d(predictions.ids, holdout.ids)
    if len(shared) and not _default_ids(predictions, holdout):
        raise ValueError(
            f"holdout must share no sample with predictions: got {len(shared)} shared ids, the first is "
            f"{str(shared[0])!r}; it would tune what it scores."
        )
    for what, asked, held in (
        ("model", predictions.models, holdout.models),
        ("label", predictions.labels, holdout.labels),
    ):
        missing = [name for name in asked if name not in set(held)]
        if missing:
            raise ValueError(
                f"holdout must hold every model and label of predictions: {what} {missing[0]!r} is missing "
                f"({len(missing)} of {len(asked)} {what}s)."
            )
    return holdout.subset(models=list(predictions.models), labels=list(predictions.labels))


def _default_ids(*sets: PredictionSet) -> bool:
    """Say whether all ids are the ones that unnamed arrays get."""
    return all(AxisNames.of(part.ids.tolist(), "sample").is_made_up for part in sets)


def constant_baseline(splits: Sequence[Split], truth: Truth, metric: Metric) -> float:
    """Score an answer that looks at no sample, chosen on each fitting side, on its test side.

    For micro-F1 it is the best fixed label set. For other metrics it is each label's frequency, decided by the metric's
    rule for one threshold where decisions count; for rankings it is one frequency for all rows.

    Parameters
    ----------
    splits : sequence of Split
        As the methods see them.
    truth : Truth
        Of all scored rows.
    metric : Metric
        What is scored by.

    Returns
    -------
    float
        The metric, all splits pooled, as every method is scored.
    """
    if metric.name != DEFAULT_METRIC:
        return _constant_scores(splits, truth, metric)
    totals = np.zeros(3)
    for split in splits:
        seen = split.fit_side.truth
        chosen = constant_labels(seen.y_true, y_known=seen.y_known, sample_weight=seen.sample_weight)
        answer = np.zeros(truth.y_true.shape, dtype=bool)
        answer[split.rows] = chosen
        counts = DecisionCounts.count(answer, truth)
        totals += [counts.label_hits.sum(), counts.label_predicted.sum(), 0.0]
    totals[2] = truth.label_positives.sum()
    return float(f1_score(*totals))


def _constant_scores(splits: Sequence[Split], truth: Truth, metric: Metric) -> float:
    """Answer with the label frequencies of each fitting side."""
    y_score = np.empty(truth.y_true.shape, dtype=np.float32)
    decided = np.zeros(y_score.shape, dtype=bool)
    for split in splits:
        seen = split.fit_side.truth
        known = seen.sum_rows(np.ones(seen.y_true.shape, dtype=bool) if seen.y_known is None else seen.y_known)
        frequency = (seen.label_positives / np.maximum(known, np.finfo(np.float64).tiny)).astype(np.float32)
        y_score[split.rows] = frequency
        if metric.needs_decisions:
            same = np.broadcast_to(frequency, seen.y_true.shape)
            decided[split.rows] = tune_rule(same, seen, metric.rules.single, metric).decide(y_score[split.rows])
    if metric.needs == "scores":
        # A label's frequencies differ from fold to fold, against the truth: a ranking would read that as knowledge.
        y_score[:] = y_score.mean(axis=0, dtype=np.float64)
    return metric.measure(truth, decided, y_score).value
