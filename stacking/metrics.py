"""Multi-label metrics on plain arrays, each with a mask of annotated cells and with sample weights.

scikit-learn has the same metrics without the mask: a label that was never annotated counts there as a negative. Here a
cell with ``y_known`` False counts neither way. Where every cell is known the values equal scikit-learn's (tested).
Every micro-averaged metric rests on `micro_f1_counts`, which adds up over shards of rows.

Decisions and truth are {0, 1} or bool of shape (n_samples, n_labels); scores lie in [0, 1].
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stacking._checks import check_mask, check_sample_weight, check_y_score

__all__ = [
    "constant_answer",
    "f1_per_label",
    "hamming_loss",
    "log_loss",
    "macro_f1",
    "mean_average_precision",
    "micro_f1",
    "micro_f1_counts",
    "recall_at_k",
    "samples_f1",
    "subset_accuracy",
]

Array = npt.NDArray[np.generic]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK_CELLS = 1 << 20
_SMALLEST_PROBABILITY = 1e-7


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
) -> Float64Array:
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
    return _ratio(2.0 * true_positives, predicted + positives)


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
    truth, decided, known, weight = _check_cells(y_true, y_pred, y_known, sample_weight)
    hits = (truth & decided).sum(axis=1)
    f1 = _ratio(2.0 * hits, (truth.sum(axis=1) + decided.sum(axis=1)).astype(np.float64))
    return _weighted_mean(f1, _row_weight(known, weight, len(f1)))


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
    truth, decided, known, weight = _check_cells(y_true, y_pred, y_known, sample_weight)
    right = (truth == decided).all(axis=1).astype(np.float64)
    return _weighted_mean(right, _row_weight(known, weight, len(right)))


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
    truth, decided, known, weight = _check_cells(y_true, y_pred, y_known, sample_weight)
    wrong = np.count_nonzero(truth != decided, axis=1).astype(np.float64)
    n_known = np.full(len(truth), truth.shape[1]) if known is None else np.count_nonzero(known, axis=1)
    weight = np.ones(len(truth)) if weight is None else weight
    total = float(weight @ n_known)
    return float(weight @ wrong) / total if total > 0 else 0.0


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
    truth, score, known, weight = _check_scored_cells(y_true, y_score, y_known, sample_weight)
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
    truth, score, known, weight = _check_scored_cells(y_true, y_score, y_known, sample_weight)
    if not 1 <= k <= truth.shape[1]:
        raise ValueError(f"k must lie between 1 and the number of labels, {truth.shape[1]}: got {k}.")
    shown = np.asarray(score if known is None else np.where(known, score, -1), dtype=np.float64)
    first = np.argsort(-shown, axis=1, kind="stable")[:, :k]
    truth = truth if known is None else truth & known
    weight = np.ones(len(truth)) if weight is None else weight
    found = np.take_along_axis(truth, first, axis=1).sum(axis=1)
    return float(_ratio(np.array([weight @ found]), np.array([weight @ truth.sum(axis=1)]))[0])


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
    truth, score, known, weight = _check_scored_cells(y_true, y_score, y_known, sample_weight)
    total = mass = 0.0
    for rows in _row_blocks(*truth.shape):
        probability = np.where(truth[rows], score[rows], 1.0 - score[rows].astype(np.float64))
        cost = -np.log(np.clip(probability, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY))
        counted = np.ones(cost.shape) if known is None else known[rows].astype(np.float64)
        if weight is not None:
            counted *= weight[rows, None]
        total += float(np.sum(cost * counted))
        mass += float(np.sum(counted))
    return total / mass if mass > 0 else 0.0


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
    truth, _, known, _ = _check_cells(y_true_train, y_true_train, y_known_train, None)
    n_known = np.full(truth.shape[1], len(truth)) if known is None else np.count_nonzero(known, axis=0)
    positives = np.count_nonzero(truth, axis=0)
    chosen = np.zeros(truth.shape[1], dtype=bool)
    value = -1.0
    while True:
        total = positives.sum() + n_known[chosen].sum()
        reached = 2.0 * positives[chosen].sum() / total if total else 0.0
        if reached <= value:
            break
        value = reached
        chosen = 2.0 * positives > value * n_known
    test = check_mask(y_true_test, n_labels=len(chosen), name="y_true_test")
    return micro_f1(test, np.broadcast_to(chosen, test.shape), y_known=y_known_test)


def _counts_per_label(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return weighted true positives, predicted positives and positives of each label."""
    truth, decided, _, weight = _check_cells(y_true, y_pred, y_known, sample_weight)
    counts = []
    for cells in (truth & decided, decided, truth):
        counts.append(cells.sum(axis=0, dtype=np.float64) if weight is None else weight @ cells)
    return counts[0], counts[1], counts[2]


def _average_precision(hit: Float64Array, weight: Float64Array, score: Array) -> float:
    """Return Σ (recall step) · precision over the distinct scores of one label."""
    order = np.argsort(score, kind="stable")[::-1]
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    true_positives = np.cumsum(hit[order])[last_of_tie]
    predicted = np.cumsum(weight[order])[last_of_tie]
    steps = np.diff(true_positives, prepend=0.0)
    return float(np.sum(steps * _ratio(true_positives, predicted)) / true_positives[-1])


def _check_cells(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, BoolArray, BoolArray | None, Float64Array | None]:
    """Return truth and decisions as bool (False where unknown), the mask and the weights, all checked."""
    truth, known, weight = _check_truth(y_true, y_known, sample_weight)
    decided = check_mask(y_pred, n_samples=truth.shape[0], n_labels=truth.shape[1], name="y_pred")
    if known is not None:
        truth, decided = truth & known, decided & known
    return truth, decided, known, weight


def _check_scored_cells(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, Array, BoolArray | None, Float64Array | None]:
    """Return truth as bool, scores in their own precision, the mask and the weights, all checked."""
    truth, known, weight = _check_truth(y_true, y_known, sample_weight)
    checked = check_y_score(y_score, n_samples=truth.shape[0], n_labels=truth.shape[1])
    score = np.asarray(y_score)
    return truth, score if score.dtype == np.float64 else checked, known, weight


def _check_truth(
    y_true: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, BoolArray | None, Float64Array | None]:
    """Return truth, mask and weights, checked to describe the same cells."""
    truth = check_mask(y_true, name="y_true")
    if not truth.size:
        raise ValueError(f"y_true must hold at least one sample and one label: got shape {truth.shape}.")
    known = None if y_known is None else check_mask(y_known, n_samples=truth.shape[0], n_labels=truth.shape[1])
    weight = None if sample_weight is None else check_sample_weight(sample_weight, len(truth))
    return truth, known, weight


def _ratio(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Divide where the denominator is positive; 0 elsewhere."""
    return np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)


def _row_weight(known: BoolArray | None, weight: Float64Array | None, n_samples: int) -> Float64Array:
    """Return the sample weights, 0 for a sample without a known cell."""
    weight = np.ones(n_samples) if weight is None else weight
    return weight if known is None else weight * known.any(axis=1)


def _weighted_mean(values: Float64Array, weight: Float64Array) -> float:
    """Return the weighted mean, 0 if all weights are 0."""
    total = float(weight.sum())
    return float(weight @ values) / total if total > 0 else 0.0


def _row_blocks(n_samples: int, n_labels: int) -> Iterator[slice]:
    """Yield row slices of about a million cells."""
    step = max(1, _BLOCK_CELLS // n_labels)
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))
