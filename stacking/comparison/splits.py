"""Who is fitted on what and scored on what: the same for every method.

Nested: each outer fold is scored by methods that were fitted, tuned and chosen on the other folds; inner folds inside
them give the cross-fitted scores that thresholds are tuned on. With a holdout there is one split: fit on everything,
score on the holdout, which tunes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.cross_fitting import make_folds
from stacking.metrics import constant_labels, micro_f1_counts
from stacking.metrics.counts import Truth, f1_score
from stacking.predictions import PredictionSet

__all__ = ["Split", "constant_baseline", "holdout_split", "nested_splits", "truth_of"]

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Split:
    """One side to fit on, one to score.

    Attributes
    ----------
    fit_side, test_side : PredictionSet
        Disjoint samples, the same models and labels.
    rows : ndarray of int, shape (n_test,)
        Where the rows of `test_side` stand among all scored rows.
    inner_folds : ndarray of int, shape (n_fit,)
        Folds inside `fit_side`.
    """

    fit_side: PredictionSet
    test_side: PredictionSet
    rows: IntArray
    inner_folds: IntArray

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


def _labels_of(predictions: PredictionSet) -> npt.NDArray[np.uint8]:
    """Return the truth of a set that must carry it."""
    if predictions.y_true is None:
        raise ValueError("predictions must carry y_true: pass y_true or a PredictionSet that carries it.")
    return predictions.y_true


def _inner_folds(fit_side: PredictionSet, n_splits: int, random_state: int) -> IntArray:
    """Split the side that is fitted on, for cross-fitted scores."""
    _labels_of(fit_side)
    return make_folds(fit_side, n_splits, random_state=random_state)


def nested_splits(predictions: PredictionSet, n_splits: int, random_state: int) -> list[Split]:
    """Make outer folds, each with inner folds.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    n_splits : int
        Number of outer and of inner folds.
    random_state : int
        Seed.

    Returns
    -------
    list of Split
        One per outer fold; every row is scored once.
    """
    _labels_of(predictions)
    outer = make_folds(predictions, n_splits, random_state=random_state)
    if len(np.unique(outer)) < 2:
        unit = "sample" if predictions.groups is None else "group"
        raise ValueError(
            f"predictions must hold at least two {unit}s to compare methods: got one {unit}, so no other could score "
            "what it teaches; give a holdout, or more of them."
        )
    splits = []
    for fold in np.unique(outer):
        rows = np.flatnonzero(outer == fold)
        fit_side = predictions.subset(samples=np.flatnonzero(outer != fold))
        inner = _inner_folds(fit_side, n_splits, random_state + 1 + int(fold))
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
        If the holdout has no truth, lacks a model or label, or shares a sample with `predictions`.
    """
    if holdout.y_true is None:
        raise ValueError("holdout must carry y_true: it is what every method is scored on.")
    shared = np.intersect1d(predictions.ids, holdout.ids)
    if len(shared) and not _default_ids(predictions, holdout):
        raise ValueError(
            f"holdout must share no sample with predictions: got {len(shared)} shared ids, the first is {shared[0]!r}; "
            "it would tune what it scores."
        )
    aligned = holdout.subset(models=list(predictions.models), labels=list(predictions.labels))
    inner = _inner_folds(predictions, n_splits, random_state + 1)
    return Split(predictions, aligned, np.arange(holdout.n_samples), inner)


def _default_ids(*sets: PredictionSet) -> bool:
    """Say whether all ids are the ones that unnamed arrays get."""
    return all(part.ids[0] == "sample0" and part.ids[-1] == f"sample{part.n_samples - 1}" for part in sets)


def truth_of(predictions: PredictionSet) -> Truth:
    """Take the truth of a set.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.

    Returns
    -------
    Truth
        The truth as booleans, False where not annotated.
    """
    y_true = _labels_of(predictions).astype(bool)
    if predictions.y_known is not None:
        y_true &= predictions.y_known
    return Truth(y_true, predictions.y_known, predictions.sample_weight)


def constant_baseline(splits: Sequence[Split]) -> float:
    """Score the best fixed label set, chosen on each fitting side, on its test side.

    Parameters
    ----------
    splits : sequence of Split
        As the methods see them.

    Returns
    -------
    float
        Micro-F1, all splits pooled, as every method is scored.
    """
    totals = np.zeros(3)
    for split in splits:
        chosen = constant_labels(_labels_of(split.fit_side), y_known=split.fit_side.y_known)
        side = split.test_side
        truth = _labels_of(side)
        answer = np.broadcast_to(chosen, truth.shape)
        totals += micro_f1_counts(truth, answer, y_known=side.y_known, sample_weight=side.sample_weight)
    return float(f1_score(*totals))
