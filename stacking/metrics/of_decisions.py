"""Metrics of decisions; the micro-averaged ones rest on `micro_f1_counts`, which adds up over shards of rows."""

import numpy as np
import numpy.typing as npt

from stacking._checks import check_mask
from stacking._typing import DoubleArray
from stacking.metrics._cells import check_cells, ratio, row_weight, weighted_mean
from stacking.named_arrays import align_by_name
from stacking.ties import exceeds


def micro_f1_counts(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Count what micro-F1 is made of: true positives, predicted positives, positives.

    The counts add up over shards of rows, so a set too large for memory is scored shard by shard.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way. All cells count by default.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    tuple of float
        ``(true_positives, predicted, positives)``, weighted;
        micro-F1 is ``2 true_positives / (predicted + positives)``.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> micro_f1_counts([[1, 0], [1, 1]], [[1, 1], [0, 1]])
    (2.0, 3.0, 3.0)
    """
    true_positives, predicted, positives = _counts_per_label(y_true, y_pred, y_known, sample_weight)
    return float(true_positives.sum()), float(predicted.sum()), float(positives.sum())


def micro_f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Score decisions by F1 over all cells pooled, the contest's metric.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        ``2 TP / (predicted + positives)`` in [0, 1]; 0 where nothing is positive or predicted, as in scikit-learn.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> round(micro_f1([[1, 0], [1, 1]], [[1, 1], [0, 1]]), 3)
    0.667
    """
    true_positives, predicted, positives = micro_f1_counts(y_true, y_pred, y_known=y_known, sample_weight=sample_weight)
    total = predicted + positives
    return 2.0 * true_positives / total if total > 0 else 0.0


def f1_per_label(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> DoubleArray:
    """Score each label by its own F1.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        F1 in [0, 1]; 0 for a label with neither positives nor predictions, as in scikit-learn.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> f1_per_label([[1, 0], [1, 1]], [[1, 1], [1, 1]]).round(3).tolist()
    [1.0, 0.667]
    """
    true_positives, predicted, positives = _counts_per_label(y_true, y_pred, y_known, sample_weight)
    return ratio(2.0 * true_positives, predicted + positives)


def macro_f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Score decisions by the plain mean of the labels' own F1.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Mean over all labels, in [0, 1]; a label with neither positives nor predictions counts as 0, as in scikit-learn.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> round(macro_f1([[1, 0], [1, 1]], [[1, 1], [1, 1]]), 3)
    0.833
    """
    return float(np.mean(f1_per_label(y_true, y_pred, y_known=y_known, sample_weight=sample_weight)))


def samples_f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Score decisions by the mean of the samples' own F1.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Weighted mean over samples with at least one known cell, in [0, 1]; a sample with neither positives nor
        predictions counts as 0, as in scikit-learn. 0 if no sample has a known cell.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> round(samples_f1([[1, 0], [1, 1]], [[1, 1], [1, 1]]), 3)
    0.833
    """
    truth, decided, known, weight = check_cells(y_true, y_pred, y_known, sample_weight)
    hits = (truth & decided).sum(axis=1)
    f1 = ratio(2.0 * hits, (truth.sum(axis=1) + decided.sum(axis=1)).astype(np.float64))
    return weighted_mean(f1, row_weight(known, weight, len(f1)))


def subset_accuracy(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Return the share of samples whose known labels are all decided correctly.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Weighted share in [0, 1] of the samples with at least one known cell; 0 if there is none.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> subset_accuracy([[1, 0], [1, 1]], [[1, 1], [1, 1]])
    0.5
    """
    truth, decided, known, weight = check_cells(y_true, y_pred, y_known, sample_weight)
    right = (truth == decided).all(axis=1).astype(np.float64)
    return weighted_mean(right, row_weight(known, weight, len(right)))


def hamming_loss(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Return the share of known cells decided wrongly.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_pred : array of shape (n_samples, n_labels)
        The decisions, 0 or 1.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    float
        Weighted share in [0, 1], less is better; 0 if no cell is known.

    Raises
    ------
    ValueError
        If shapes differ, `y_true` or `y_pred` holds anything but 0 and 1, or weights are negative, not finite or all 0.

    Examples
    --------
    >>> hamming_loss([[1, 0], [1, 1]], [[1, 1], [1, 1]])
    0.25
    """
    truth, decided, known, weight = check_cells(y_true, y_pred, y_known, sample_weight)
    wrong = np.count_nonzero(truth != decided, axis=1).astype(np.float64)
    n_known = np.full(len(truth), truth.shape[1]) if known is None else np.count_nonzero(known, axis=1)
    weight = np.ones(len(truth)) if weight is None else weight
    total = float(weight @ n_known)
    return float(weight @ wrong) / total if total > 0 else 0.0


def constant_answer(
    y_true_train: npt.ArrayLike,
    y_true_test: npt.ArrayLike,
    *,
    y_known_train: npt.ArrayLike | None = None,
    y_known_test: npt.ArrayLike | None = None,
) -> float:
    """Score the best answer that never looks at the photo: one fixed label set, chosen on `y_true_train`.

    A method that does not beat it has learnt nothing.

    Parameters
    ----------
    y_true_train : array of shape (n_samples, n_labels)
        Truth on which the set with the highest micro-F1 is chosen.
    y_true_test : array of shape (n_samples, n_labels)
        Truth on which that set is scored.
    y_known_train, y_known_test : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated.

    Returns
    -------
    float
        Micro-F1 on `y_true_test`, in [0, 1].

    Raises
    ------
    ValueError
        If the two truths differ in labels, or hold anything but 0 and 1.

    Notes
    -----
    The chosen set is the exact optimum: a label belongs to it if its positives p and known rows n satisfy 2 p > F n
    for the optimal value F, found by Dinkelbach's iteration.

    Examples
    --------
    >>> constant_answer([[1, 0], [1, 0], [1, 1]], [[1, 1], [1, 0]])
    0.8
    """
    y_true_train, y_true_test, y_known_train, y_known_test = align_by_name(
        y_true_train=y_true_train, y_true_test=y_true_test, y_known_train=y_known_train, y_known_test=y_known_test
    )
    chosen = constant_labels(y_true_train, y_known=y_known_train)
    test = check_mask(y_true_test, n_labels=len(chosen), name="y_true_test")
    return micro_f1(test, np.broadcast_to(chosen, test.shape), y_known=y_known_test)


def constant_labels(
    y_true: npt.ArrayLike, *, y_known: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
) -> npt.NDArray[np.bool_]:
    """Find the fixed label set with the highest micro-F1.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        Truth.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample, not negative; 1 by default.

    Returns
    -------
    ndarray of bool, shape (n_labels,)
        The labels of the set.

    Raises
    ------
    ValueError
        If the truth holds anything but 0 and 1.
    """
    truth, _, known, weight = check_cells(y_true, y_true, y_known, sample_weight)
    weight = np.ones(len(truth)) if weight is None else weight
    n_known = np.full(truth.shape[1], weight.sum()) if known is None else weight @ known
    positives = weight @ truth
    chosen = np.zeros(truth.shape[1], dtype=bool)
    value = -1.0
    while True:
        total = positives.sum() + n_known[chosen].sum()
        reached = 2.0 * positives[chosen].sum() / total if total else 0.0
        if reached <= value:
            break
        value = reached
        chosen = exceeds(2.0 * positives, value * n_known)
    return chosen


def _counts_per_label(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return weighted true positives, predicted positives and positives of each label."""
    truth, decided, _, weight = check_cells(y_true, y_pred, y_known, sample_weight)
    counts = []
    for cells in (truth & decided, decided, truth):
        counts.append(cells.sum(axis=0, dtype=np.float64) if weight is None else weight @ cells)
    return counts[0], counts[1], counts[2]
