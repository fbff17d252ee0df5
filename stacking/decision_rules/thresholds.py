"""Tune thresholds by the name of a rule, apply them, and see which labels they never predict."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import check_thresholds
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import get_decision_rule
from stacking.named_arrays import align_by_name, read_array


def tune_thresholds(
    y_score: npt.ArrayLike,
    y_true: npt.ArrayLike,
    rule: str = "exact-micro-f1",
    *,
    y_known: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    **options: Any,
) -> npt.NDArray[np.float64]:
    """Choose one threshold per label by a named rule.

    Tune on scores that did not see their own row's truth (out-of-fold scores), or the thresholds come out too high.

    Parameters
    ----------
    y_score : array of shape (n_samples, n_labels)
        Scores in [0, 1]; compared as float32.
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    rule : str, default "exact-micro-f1"
        One of `list_decision_rules`, with options after a colon if wanted (``"own-f1:fbr=0.2"``);
        `get_decision_rule` says which average it optimizes.
    y_known : array of bool, shape (n_samples, n_labels), optional
        False where a cell is not annotated; such a cell counts neither way.
    sample_weight : array of shape (n_samples,), optional
        Weights of the samples, in any unit; 1 by default.
    groups : array of int or str, shape (n_samples,), optional
        Samples with an equal value belong together: a rule that splits rows, as ``"cross-validated"`` does, never
        splits them.
    **options : dict
        Options of the rule, such as ``fbr`` of ``"own-f1"``.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        A label fires when its score is at or above its threshold; +inf = never.

    Raises
    ------
    ValueError
        If the rule is unknown or decides sample by sample, shapes differ, a value is out of range, or no cell is known.
    TypeError
        If the rule does not take an option.

    Examples
    --------
    >>> thresholds = tune_thresholds([[0.9, 0.2], [0.4, 0.1], [0.3, 0.3]], [[1, 0], [1, 0], [0, 0]])
    >>> thresholds.round(2).tolist()
    [0.35, inf]
    """
    found = get_decision_rule(rule)
    if found.by_sample:
        raise ValueError(
            f"rule must be one that has thresholds: got {rule!r}, which decides sample by sample; give it to "
            "StackingEnsemble, or call its function."
        )
    found.check_options(options)
    y_score, y_true, y_known, sample_weight, groups = align_by_name(
        y_score=y_score, y_true=y_true, y_known=y_known, sample_weight=sample_weight, groups=groups
    )
    scores = LabeledScores.check(y_score, y_true, y_known, sample_weight, groups)
    scores.truth.check_counted()
    thresholds: npt.NDArray[np.float64] = found.tune(scores, **options)
    return thresholds


def apply_thresholds(y_score: npt.ArrayLike, thresholds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Decide: a label fires when its score is at or above its threshold.

    Parameters
    ----------
    y_score : array of shape (n_samples, n_labels)
        Scores.
    thresholds : float or array of shape (n_labels,)
        Thresholds, +inf for never.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_labels)
        The decisions.

    Raises
    ------
    ValueError
        If the numbers of labels differ or a threshold is NaN.

    Notes
    -----
    Float32 scores are compared with the smallest float32 at or above the threshold, which decides exactly as the
    comparison in float64 would.

    Examples
    --------
    >>> apply_thresholds([[0.9, 0.2], [0.4, 0.6]], [0.5, float("inf")]).tolist()
    [[True, False], [False, False]]
    """
    y_score, thresholds = align_by_name(y_score=y_score, thresholds=thresholds)
    scores = np.asarray(y_score)
    if scores.ndim != 2:
        raise ValueError(f"y_score must have two dimensions, (n_samples, n_labels): got shape {scores.shape}.")
    limits = check_thresholds(thresholds, scores.shape[1])
    if scores.dtype == np.float32:
        return scores >= float32_limits(limits)
    return scores >= limits


def float32_limits(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Give the smallest float32 at or above each threshold, with which float32 scores are compared.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.

    Returns
    -------
    ndarray of float32, shape (n_labels,)
        The limits.
    """
    narrow = thresholds.astype(np.float32)
    return np.where(narrow < thresholds, np.nextafter(narrow, np.float32(np.inf)), narrow)


def never_predicted(thresholds_or_y_pred: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which labels are never predicted.

    At micro-F1's optimum half of a long tail of labels may never fire; a report should say which.

    Parameters
    ----------
    thresholds_or_y_pred : array of shape (n_labels,) or (n_samples, n_labels)
        Thresholds (one dimension), of which those above 1 are out of any score's reach, or decisions (two dimensions).

    Returns
    -------
    ndarray of bool, shape (n_labels,)
        True for a label that never fires.

    Raises
    ------
    ValueError
        If the array has neither one nor two dimensions.

    Examples
    --------
    >>> never_predicted([0.3, float("inf")]).tolist()
    [False, True]
    """
    array = read_array(thresholds_or_y_pred, "thresholds_or_y_pred").values
    if array.ndim == 1:
        return np.asarray(array > 1.0, dtype=np.bool_)
    if array.ndim == 2:
        return np.logical_not(np.any(array, axis=0), dtype=np.bool_)
    raise ValueError(
        "thresholds_or_y_pred must be thresholds (n_labels,) or decisions (n_samples, n_labels): "
        f"got shape {array.shape}."
    )
