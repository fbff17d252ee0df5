"""Metrics of scores, which no threshold takes part in."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray
from stacking.links import SMALLEST_SCORE
from stacking.metrics._cells import Array, check_scored_cells, ratio

_BLOCK_CELLS = 1 << 20


def mean_average_precision(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Score rankings by average precision, averaged over the labels that have positives.

    A label without positives has no ranking to judge and is left out; scikit-learn counts it as 0.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_score : array of shape (n_samples, n_labels)
        Scores in [0, 1]; only their order within a label matters.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Mean over labels with positives of ``Σ_k (recall_k − recall_(k−1)) precision_k``, in [0, 1];
        0 if no label has any.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` holds anything but 0 and 1, or scores or weights are out of range or not finite.

    Notes
    -----
    O(n_labels · n_samples log n_samples). Equal scores share one cut, as in scikit-learn.

    Examples
    --------
    >>> mean_average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    0.8333333333333333
    """
    truth, score, known, weight = check_scored_cells(y_true, y_score, y_known, sample_weight)
    weight = np.ones(len(truth)) if weight is None else weight
    precisions = []
    for label in range(truth.shape[1]):
        rows = slice(None) if known is None else known[:, label]
        hit = weight[rows] * truth[rows, label]
        if hit.sum() > 0:
            precisions.append(_average_precision(hit, weight[rows], score[rows, label]))
    return float(np.mean(precisions)) if precisions else 0.0


def recall_at_k(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    k: int,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Measure how many of all true labels are among the k highest-scored labels of their sample.

    No threshold takes part, so it tells a ranking that is poor from thresholds that are.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_score : array of shape (n_samples, n_labels)
        Scores in [0, 1]; only their order within a sample matters.
    k : int
        Labels looked at, from 1 to n_labels.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell takes no place.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        In [0, 1]; 0 where nothing is true.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` holds anything but 0 and 1, scores or weights are out of range or not finite, or `k`
        is out of range.

    Notes
    -----
    O(n_samples · n_labels log n_labels). Among equal scores the label that comes first is taken first.

    Examples
    --------
    >>> recall_at_k([[1, 1, 0], [0, 1, 0]], [[0.9, 0.2, 0.3], [0.1, 0.8, 0.3]], k=1)
    0.6666666666666666
    """
    truth, score, known, weight = check_scored_cells(y_true, y_score, y_known, sample_weight)
    if not 1 <= k <= truth.shape[1]:
        raise ValueError(f"k must lie between 1 and the number of labels, {truth.shape[1]}: got {k}.")
    shown = np.asarray(score if known is None else np.where(known, score, -1), dtype=np.float64)
    first = np.argsort(-shown, axis=1, kind="stable")[:, :k]
    truth = truth if known is None else truth & known
    weight = np.ones(len(truth)) if weight is None else weight
    found = np.take_along_axis(truth, first, axis=1).sum(axis=1)
    return float(ratio(np.array([weight @ found]), np.array([weight @ truth.sum(axis=1)]))[0])


def log_loss(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Score probabilities by binary cross-entropy, averaged over the known cells.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_score : array of shape (n_samples, n_labels)
        Probabilities in [0, 1]; clipped to [1e-7, 1 − 1e-7], so a sure mistake costs 16.1 and not infinity.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Weighted mean of ``−y ln p − (1 − y) ln(1 − p)``, in nats; 0 if no cell is known.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` holds anything but 0 and 1, or scores or weights are out of range or not finite.

    Notes
    -----
    Computed in float64 in blocks of about a million cells, so memory beyond the inputs stays bounded.

    Examples
    --------
    >>> round(log_loss([[1, 0]], [[0.5, 0.5]]), 4)
    0.6931
    """
    truth, score, known, weight = check_scored_cells(y_true, y_score, y_known, sample_weight)
    total = mass = 0.0
    for rows in _row_blocks(*truth.shape):
        probability = np.where(truth[rows], score[rows], 1.0 - score[rows].astype(np.float64))
        cost = -np.log(np.clip(probability, SMALLEST_SCORE, 1.0 - SMALLEST_SCORE))
        counted = np.ones(cost.shape) if known is None else known[rows].astype(np.float64)
        if weight is not None:
            counted *= weight[rows, None]
        total += float(np.sum(cost * counted))
        mass += float(np.sum(counted))
    return total / mass if mass > 0 else 0.0


def _average_precision(hit: DoubleArray, weight: DoubleArray, score: Array) -> float:
    """Return Σ (recall step) · precision over the distinct scores of one label."""
    order = np.argsort(score, kind="stable")[::-1]
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    true_positives = np.cumsum(hit[order])[last_of_tie]
    predicted = np.cumsum(weight[order])[last_of_tie]
    steps = np.diff(true_positives, prepend=0.0)
    return float(np.sum(steps * ratio(true_positives, predicted)) / true_positives[-1])


def _row_blocks(n_samples: int, n_labels: int) -> Iterator[slice]:
    """Yield row slices of about a million cells."""
    step = max(1, _BLOCK_CELLS // n_labels)
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))
