"""The members' scores as a meta-learner reads them: logits with gaps filled, the truth, and a weight per cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizers._checks import check_random_state
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.folds import deal_folds
from stacking.links import logit

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet


@dataclass(frozen=True)
class TruthRows:
    """Truth that teaches what labels say about each other.

    Attributes
    ----------
    y_true : ndarray of float, shape (n_rows, n_labels)
        The truth; cells that are not annotated hold the label's frequency and weigh 0.
    weight : ndarray of float64, shape (n_rows, n_labels), or None
        Weight of each cell, None if all are 1.
    """

    y_true: DoubleArray
    weight: DoubleArray | None = None

    def of(self, chosen: BoolArray) -> TruthRows:
        """Take some of the rows.

        Parameters
        ----------
        chosen : ndarray of bool, shape (n_rows,)
            Which.

        Returns
        -------
        TruthRows
            Copies.
        """
        return TruthRows(self.y_true[chosen], None if self.weight is None else self.weight[chosen])

    def before(self, more: TruthRows | None) -> TruthRows:
        """Put further rows after these.

        Parameters
        ----------
        more : TruthRows or None
            With the same labels.

        Returns
        -------
        TruthRows
            Both; itself for None.
        """
        if more is None:
            return self
        weight = None
        if self.weight is not None or more.weight is not None:
            parts = [np.ones(one.y_true.shape) if one.weight is None else one.weight for one in (self, more)]
            weight = np.concatenate(parts)
        return TruthRows(np.concatenate([self.y_true, more.y_true]), weight)


@dataclass(frozen=True)
class TrainingRows:
    """Rows a meta-learner fits on.

    Attributes
    ----------
    logits : ndarray of float32, shape (n_models, n_samples, n_labels)
        Logits of the scores, 0 where a model does not cover a label.
    y_true : ndarray of float64, shape (n_samples, n_labels)
        The truth; cells that are not annotated hold the label's frequency and weigh 0.
    weight : ndarray of float64, shape (n_samples, n_labels), or None
        Weight of each cell, None if all are 1.
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members' logits a label may use.
    folds : ndarray of int, shape (n_samples,)
        Inner folds, all 0 if there is nothing to split.
    label_rows : TruthRows or None
        Truth of further rows without logits.
    """

    logits: FloatArray
    y_true: DoubleArray
    weight: DoubleArray | None
    usable: BoolArray
    folds: IndexArray
    label_rows: TruthRows | None = None

    @property
    def truth(self) -> TruthRows:
        """Return the truth of these rows with its weights."""
        return TruthRows(self.y_true, self.weight)

    @property
    def fold_masks(self) -> list[BoolArray]:
        """Return one mask of held-out rows per fold; none if there is one fold only."""
        names = np.unique(self.folds)
        return [] if len(names) < 2 else [self.folds == fold for fold in names]

    def subset(self, chosen: BoolArray) -> TrainingRows:
        """Take some of the rows.

        Parameters
        ----------
        chosen : ndarray of bool, shape (n_samples,)
            Which.

        Returns
        -------
        TrainingRows
            Copies.
        """
        weight = None if self.weight is None else self.weight[chosen]
        parts = (self.logits[:, chosen], self.y_true[chosen], weight, self.usable, self.folds[chosen])
        return TrainingRows(*parts, self.label_rows)

    @property
    def positives(self) -> DoubleArray:
        """Count the positives of each label, weighted by cell where there are weights."""
        return self.y_true.sum(axis=0) if self.weight is None else (self.y_true * self.weight).sum(axis=0)

    @property
    def one_class(self) -> BoolArray:
        """Tell which labels have no positive or no negative to learn from."""
        total = len(self.y_true) if self.weight is None else self.weight.sum(axis=0)
        return (self.positives <= 0) | (self.positives >= total)


def prepare_rows(
    predictions: PredictionSet, *, max_rows: int | None, n_folds: int, random_state: int | np.random.Generator | None
) -> TrainingRows:
    """Read (a sample of) the rows of a prediction set for fitting.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    max_rows : int or None
        More rows than these are sampled.
    n_folds : int
        Inner folds, stratified and grouped.
    random_state : int, Generator or None
        Draws the sample and breaks ties among folds.

    Returns
    -------
    TrainingRows
        Everything in memory.
    """
    rng = check_random_state(random_state)
    sample = predictions.sample(max_rows, random_state=rng).in_memory()
    truth = sample.truth
    y_true = truth.y_true.astype(np.float64)
    weight = None if truth.y_known is None else truth.y_known.astype(np.float64)
    if truth.sample_weight is not None:
        scaled = truth.sample_weight / truth.mean_weight
        weight = np.broadcast_to(scaled[:, None], y_true.shape) * (1.0 if weight is None else weight)
    if truth.y_known is not None and weight is not None:
        y_true = _fill_unknown(y_true, truth.y_known, weight)
    covers = np.asarray(sample.covers, dtype=bool)
    logits = np.nan_to_num(logit(sample.to_array()), copy=False)
    folds = deal_folds(truth, n_folds, random_state=rng)
    more = None
    if sample.label_rows is not None and len(sample.label_rows):
        drawn = sample.label_rows.sample(max_rows, rng)
        known, more = drawn.y_known, TruthRows(drawn.y_true.astype(np.float64))
        if known is not None:
            more = TruthRows(_fill_unknown(more.y_true, known, known.astype(np.float64)), known.astype(np.float64))
    return TrainingRows(logits, y_true, weight, covers.T.copy(), folds, more)


def _fill_unknown(y_true: DoubleArray, known: BoolArray, weight: DoubleArray) -> DoubleArray:
    """Let cells that are not annotated hold their label's frequency."""
    frequency = (y_true * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    return np.where(known, y_true, frequency)


def fill_gaps(scores: FloatArray, covers: BoolArray, centers: DoubleArray, expected: BoolArray) -> FloatArray:
    """Turn a block of scores into logits, guessing members that are absent from those present.

    An absent member is assumed to sit as far from its own mean logit as the present ones sit from theirs.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_models, n_rows, n_labels)
        Scores, NaN where `covers` is False.
    covers : ndarray of bool, shape (n_models, n_labels)
        What is there now.
    centers : ndarray of float64, shape (n_models, n_labels)
        Each member's mean logit when fitted.
    expected : ndarray of bool, shape (n_models, n_labels)
        What was there when fitted; the rest becomes 0.

    Returns
    -------
    ndarray of float32, shape (n_models, n_rows, n_labels)
        Logits without NaN.
    """
    logits = logit(scores)
    here = covers & expected
    if not here.all():
        np.copyto(logits, 0.0, where=~here[:, None, :])
    absent = expected & ~here
    if absent.any():
        deviation = np.where(here[:, None, :], logits - centers[:, None, :], 0.0).sum(axis=0)
        deviation /= np.maximum(here.sum(axis=0), 1)
        for model in np.flatnonzero(absent.any(axis=1)):
            guess = (deviation + centers[model]).astype(np.float32)
            logits[model] = np.where(absent[model], guess, logits[model])
    return logits


def describe_fallback(
    method: str, fell_back: BoolArray, positives: DoubleArray, simpler: str
) -> tuple[dict[str, float], list[str]]:
    """Tell which labels a meta-learner left to something simpler.

    Parameters
    ----------
    method : str
        Name of the meta-learner, for the note.
    fell_back : ndarray of bool, shape (n_labels,)
        Labels left to something simpler.
    positives : ndarray of float64, shape (n_labels,)
        Positives of each label.
    simpler : str
        What answers instead.

    Returns
    -------
    shares : dict
        Shares of ``labels`` and of ``positives`` that fell back, in [0, 1].
    notes : list of str
        The same as a line of the report; empty if no label fell back.

    Examples
    --------
    >>> describe_fallback("trees", np.array([True, False]), np.array([1.0, 4.0]), "a line")[1]
    ['trees: 1 of 2 labels (20.0% of the positives) kept to a line']
    """
    shares = {
        "labels": float(np.mean(fell_back)),
        "positives": float(positives[fell_back].sum() / max(positives.sum(), 1.0)),
    }
    count = int(np.sum(fell_back))
    if count == 0:
        return shares, []
    labels = f"{count:,} of {len(fell_back):,} labels"
    return shares, [f"{method}: {labels} ({shares['positives']:.1%} of the positives) kept to {simpler}"]


def mean_logits(logits: Sequence[FloatArray] | FloatArray, usable: BoolArray) -> DoubleArray:
    """Average logits over the members that a label may use.

    Parameters
    ----------
    logits : ndarray of shape (n_models, n_samples, n_labels)
        Logits, 0 where not usable.
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members count.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        The mean, 0 for a label without members.
    """
    total = np.zeros(np.shape(logits)[1:], dtype=np.float64)
    for block, counts in zip(logits, usable.T, strict=True):
        total += np.where(counts, block, 0.0)
    return total / np.maximum(usable.sum(axis=1), 1)
