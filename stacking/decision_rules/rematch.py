"""Move thresholds so that new rows get as many labels as the rows that the thresholds were tuned on.

Thresholds are tuned on out-of-fold scores, each from one fold's network. New photos are scored by the mean of the fold
networks (or by one refit on more rows), whose scores are distributed otherwise: a mean lies nearer to the middle. No
truth is needed to notice and correct that where both sets of rows are alike: their labels must be equally frequent, so
the share of rows that a label is predicted for should be equal too.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from stacking._checks import check_choice, check_thresholds, check_y_score
from stacking._typing import DoubleArray
from stacking.decision_rules.thresholds import apply_thresholds
from stacking.named_arrays import align_by_name

REMATCHES = ("shift", "per-label")
"""Ways to rematch, the steadier first."""

FARTHEST = 30.0
"""Largest shift, in logits: it takes a threshold of .5 to 1e-13, or above every float32 score but 1."""

N_HALVINGS = 30
"""They leave 30 / 2**30 = 3e-8 logits, far less than `MARGIN`."""

MARGIN = 1e-6
"""Distance that a moved threshold keeps from the score that stopped it, in logits: more than float32 rounds away."""


def rematch_thresholds(
    thresholds: npt.ArrayLike,
    predicted_share: npt.ArrayLike,
    y_score: npt.ArrayLike,
    how: str = "shift",
    *,
    min_count: float = 10.0,
) -> DoubleArray:
    """Move thresholds until new rows are predicted as often as the rows that tuned them.

    It assumes that the labels are as frequent on the new rows as on the others. Where they are not, it hides a real
    difference: then tune the thresholds again, on rows of the new kind with their truth.

    Parameters
    ----------
    thresholds : array of shape (n_labels,)
        As tuned; those at or below 0 and at or above 1 (always, never) stay.
    predicted_share : array of shape (n_labels,)
        Share of the tuning rows for which each label is predicted at these thresholds, in [0, 1].
    y_score : array of shape (n_samples, n_labels)
        Scores of the new rows, in [0, 1]; no truth is needed.
    how : {"shift", "per-label"}, default "shift"
        ``shift`` moves all thresholds by one number on the logit scale until the number of all predicted labels
        matches; ``per-label`` matches every label's own number.
    min_count : float, default 10
        With ``per-label``, labels of which fewer predictions are expected on the new rows take the common shift.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The moved thresholds; the smallest move that matches as nearly as ties allow.

    Raises
    ------
    ValueError
        If shapes differ, a value is out of range, or `how` is unknown.

    Notes
    -----
    O(n_samples · n_labels) for each of 30 bisections. On few rows the counts are chance and so is the rematch.

    Examples
    --------
    >>> tuned_on = np.array([[0.9], [0.8], [0.2], [0.1]])
    >>> share = apply_thresholds(tuned_on, [0.5]).mean(axis=0)
    >>> new = np.array([[0.6], [0.4], [0.3], [0.2]])  # the same order, nearer to the middle
    >>> moved = rematch_thresholds([0.5], share, new)
    >>> apply_thresholds(new, moved)[:, 0].tolist()
    [True, True, False, False]
    """
    check_choice(how, list(REMATCHES), name="how")
    y_score, thresholds, predicted_share = align_by_name(
        y_score=y_score, thresholds=thresholds, predicted_share=predicted_share
    )
    scores = check_y_score(y_score)
    if not scores.size:
        raise ValueError(f"y_score must hold at least one sample and one label: got shape {scores.shape}.")
    limits = check_thresholds(thresholds, scores.shape[1])
    share = _check_share(predicted_share, scores.shape[1])
    wanted = share * len(scores)
    can_move = (limits > 0) & (limits < 1)
    shift = np.zeros(len(limits))
    if can_move.any():
        shift[can_move] = _find_shift(scores[:, can_move], limits[can_move], wanted[can_move], together=True)
    own = can_move & (wanted >= min_count)
    if how == "per-label" and own.any():
        shift[own] = _find_shift(scores[:, own], limits[own], wanted[own], together=False)
    return _moved(limits, shift)


def _find_shift(
    scores: npt.NDArray[np.float32], thresholds: DoubleArray, wanted: DoubleArray, *, together: bool
) -> DoubleArray:
    """Return the smallest shift of the thresholds' logits that fires as often as wanted; one or one per label."""

    def count(shift: DoubleArray) -> DoubleArray:
        fired = apply_thresholds(scores, _moved(thresholds, shift)).sum(axis=0, dtype=np.float64)
        return fired.sum(keepdims=True) if together else fired

    target = wanted.sum(keepdims=True) if together else wanted
    start = count(np.zeros(1))
    # Raised where too many fire, lowered where too few do; counts only fall as thresholds rise, so bisection finds it.
    sign = np.where(start > target, 1.0, -1.0)
    near, far = np.zeros(len(target)), np.full(len(target), FARTHEST)  # too few or too many at near, matched at far
    for _ in range(N_HALVINGS):
        middle = (near + far) / 2
        matched = sign * (count(sign * middle) - target) <= 0
        near, far = np.where(matched, near, middle), np.where(matched, middle, far)
    is_near_better = np.abs(count(sign * near) - target) <= np.abs(count(sign * far) - target)
    found = sign * np.where(is_near_better, np.maximum(near - MARGIN, 0.0), far + MARGIN)
    return np.where(start == target, 0.0, found)


def _moved(thresholds: DoubleArray, shift: DoubleArray) -> DoubleArray:
    """Shift thresholds on the logit scale, leaving those that no score decides and those that are not shifted."""
    inside = (thresholds > 0) & (thresholds < 1) & (shift != 0)
    safe = np.where(inside, thresholds, 0.5)
    return np.where(inside, expit(logit(safe) + shift), thresholds)


def _check_share(values: npt.ArrayLike, n_labels: int) -> DoubleArray:
    """Check shares of rows."""
    share = np.asarray(values, dtype=np.float64)
    if share.shape != (n_labels,) or not ((share >= 0) & (share <= 1)).all():
        raise ValueError(
            f"predicted_share must hold one share in [0, 1] for each of {n_labels} labels: got shape {share.shape} "
            f"with values from {share.min(initial=1.0)} to {share.max(initial=0.0)}."
        )
    return share
