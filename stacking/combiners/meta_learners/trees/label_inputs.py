"""What a learner that works label by label reads: one label's logits at a time, with a regression to start from.

Rows that fit in memory are held. Of more, only the members' mean logits are (four bytes a cell); a label's own logits
are read from the predictions when its turn comes, which a by-label copy of a store makes one pass over its files. The
regressions are fitted on at most `BASE_ROWS` rows, evenly drawn: a few coefficients a label settle long before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from optimizers._checks import check_random_state
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.meta_learners.batched_logistic import apply_logistic, fit_logistic
from stacking.combiners.meta_learners.logit_stacker import logit_penalty
from stacking.combiners.meta_learners.pooled_logits import fit_pool_weights, pool_logits
from stacking.combiners.meta_learners.training_rows import TrainingRows, prepare_rows
from stacking.files.result_cache import cache_folder, cache_key, cached
from stacking.folds import deal_folds, sample_rows
from stacking.links import logit
from stacking.predictions import PredictionSet

BASE_ROWS = 100_000
"""As many as the stackers on logits take by default (`max_rows`)."""

PENALTY = 10.0
"""The default of the stackers on logits."""


@dataclass(frozen=True)
class LabelInputs:
    """Rows of all labels, given out label by label.

    Attributes
    ----------
    read_logits : callable
        Takes label positions, yields each with its logits, shape (n_models, n_samples), 0 where not covered.
    pooled : ndarray of float32, shape (n_samples, n_labels)
        Fused logit of the members that cover a label.
    pool_weights : ndarray of float64, shape (n_models,)
        Weights of the members in it.
    weigh : callable
        Takes a label, returns its truth and the weights of its rows (None if all are 1), float64 each.
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members' logits a label may use.
    masks : list of ndarray of bool, shape (n_samples,)
        Rows held out in each fold; empty if there is one fold only.
    centers : ndarray of float64, shape (n_models, n_labels)
        Mean logits.
    positives, total : ndarray of float64, shape (n_labels,)
        Weight of each label's positives, and of all its rows.
    coefficients : ndarray of float64, shape (n_labels, n_models + 1)
        The regressions on all rows, intercept last.
    fold_coefficients : ndarray of float64, shape (n_folds, n_labels, n_models + 1)
        Those of each fold, fitted without it.
    """

    read_logits: Callable[[IndexArray], Iterator[tuple[int, FloatArray]]]
    pooled: FloatArray
    pool_weights: DoubleArray
    weigh: Callable[[int], tuple[DoubleArray, DoubleArray | None]]
    usable: BoolArray
    masks: list[BoolArray]
    centers: DoubleArray
    positives: DoubleArray
    total: DoubleArray
    coefficients: DoubleArray
    fold_coefficients: DoubleArray

    def starts(self, label: int, logits: FloatArray) -> DoubleArray:
        """Apply each fold's regression of a label.

        Parameters
        ----------
        label : int
            Position of the label.
        logits : ndarray of float32, shape (n_models, n_samples)
            The members' logits for it.

        Returns
        -------
        ndarray of float64, shape (n_folds, n_samples)
            Logits.
        """
        columns = [member[:, None] for member in logits]
        return np.array([apply_logistic(columns, own[[label]])[:, 0] for own in self.fold_coefficients])


def inputs_from_memory(rows: TrainingRows) -> LabelInputs:
    """Give out rows that are held in memory.

    Parameters
    ----------
    rows : TrainingRows
        All of them.

    Returns
    -------
    LabelInputs
        The feed.
    """

    def read_logits(labels: IndexArray) -> Iterator[tuple[int, FloatArray]]:
        for label in labels:
            yield int(label), rows.logits[:, :, label]

    def weigh(label: int) -> tuple[DoubleArray, DoubleArray | None]:
        return rows.y_true[:, label], None if rows.weight is None else rows.weight[:, label]

    total = np.full(len(rows.usable), float(len(rows.y_true))) if rows.weight is None else rows.weight.sum(axis=0)
    pool_weights = fit_pool_weights(rows)
    pooled = pool_logits(rows.logits, rows.usable, pool_weights).astype(np.float32)
    centers = rows.logits.mean(axis=1, dtype=np.float64)
    shared = (read_logits, pooled, pool_weights, weigh, rows.usable, rows.fold_masks, centers, rows.positives, total)
    return LabelInputs(*shared, *_fit_bases(rows))


def inputs_from_predictions(
    predictions: PredictionSet,
    folds: IndexArray | None,
    *,
    n_folds: int,
    random_state: int | np.random.Generator | None,
) -> LabelInputs:
    """Give out all rows of predictions that need not fit in memory.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    folds : ndarray of int, shape (n_samples,), or None
        The folds; None deals `n_folds` stratified grouped ones.
    n_folds : int
        Folds to deal.
    random_state : int, Generator or None
        Draws the rows of the regressions and breaks ties among folds.

    Returns
    -------
    LabelInputs
        The feed.
    """
    rng = check_random_state(random_state)
    n_samples, n_labels = predictions.n_samples, predictions.n_labels
    truth = predictions.truth
    drawn = sample_rows(truth, BASE_ROWS, random_state=rng)
    drawn = np.arange(n_samples) if drawn is None else drawn
    if folds is None:
        folds = deal_folds(truth, n_folds, random_state=rng)
    base = prepare_rows(predictions.subset(samples=drawn), max_rows=None, n_folds=1, random_state=rng)
    base = TrainingRows(base.logits, base.y_true, base.weight, base.usable, folds[drawn])
    pool_weights, pooled = fit_pool_weights(base), np.empty((n_samples, n_labels), np.float32)
    sums = np.zeros((predictions.n_models, n_labels))
    for rows, scores in predictions.iter_rows():
        logits = np.nan_to_num(logit(scores), copy=False)
        pooled[rows] = pool_logits(logits, base.usable, pool_weights)
        sums += logits.sum(axis=1, dtype=np.float64)

    def read_logits(labels: IndexArray) -> Iterator[tuple[int, FloatArray]]:
        if len(labels):
            for place, scores in predictions.subset(labels=labels).iter_labels():
                yield int(labels[place.start]), np.nan_to_num(logit(scores[:, :, 0]), copy=False)

    def weigh(label: int) -> tuple[DoubleArray, DoubleArray | None]:
        own = truth.y_true[:, label].astype(np.float64)
        if truth.y_known is None and truth.sample_weight is None:
            return own, None
        weight = np.ones(n_samples) if truth.sample_weight is None else truth.sample_weight / truth.mean_weight
        weight = weight if truth.y_known is None else weight * truth.y_known[:, label]
        return np.where(weight > 0, own, (own @ weight) / max(weight.sum(), 1e-12)), weight

    sizes = np.empty((2, n_labels))
    for label in range(n_labels):
        own, weight = weigh(label)
        sizes[:, label] = (own.sum(), n_samples) if weight is None else (own @ weight, weight.sum())
    masks = [folds == fold for fold in np.unique(folds)] if len(np.unique(folds)) > 1 else []
    shared = (read_logits, pooled, pool_weights, weigh, base.usable, masks, sums / n_samples, sizes[0], sizes[1])
    return LabelInputs(*shared, *_fit_bases(base))


def _fit_bases(rows: TrainingRows) -> tuple[DoubleArray, DoubleArray]:
    """Fit every label's regression on all rows, and for each fold without it."""
    folder = cache_folder()
    data = "" if folder is None else cache_key(rows.logits, rows.y_true, rows.weight, rows.usable)

    def fit(fitting: BoolArray) -> DoubleArray:
        def compute() -> dict[str, DoubleArray]:
            coefficients = fit_logistic(
                [logits[fitting] for logits in rows.logits],
                rows.y_true[fitting],
                weight=None if rows.weight is None else rows.weight[fitting],
                usable=rows.usable,
                penalty=logit_penalty(PENALTY, len(rows.logits)),
            )
            return {"coefficients": coefficients}

        return cached(folder, cache_key("regressions", PENALTY, data, fitting), compute)["coefficients"]

    whole = fit(np.ones(len(rows.y_true), dtype=bool))
    return whole, np.array([fit(~held) for held in rows.fold_masks])
