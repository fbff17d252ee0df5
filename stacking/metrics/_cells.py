"""The cells that a metric counts: truth, decisions or scores, mask and weights, checked to fit each other."""

import numpy as np
import numpy.typing as npt

from stacking._checks import check_mask, check_sample_weight, check_y_score
from stacking._typing import BoolArray, DoubleArray
from stacking.named_arrays import align_by_name

Array = npt.NDArray[np.generic]


def check_cells(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, BoolArray, BoolArray | None, DoubleArray | None]:
    """Return truth and decisions as bool (False where unknown), the mask and the weights, all checked."""
    y_true, y_pred, y_known, sample_weight = align_by_name(
        y_true=y_true, y_pred=y_pred, y_known=y_known, sample_weight=sample_weight
    )
    truth, known, weight = _check_truth(y_true, y_known, sample_weight)
    decided = check_mask(y_pred, n_samples=truth.shape[0], n_labels=truth.shape[1], name="y_pred")
    if known is not None:
        truth, decided = truth & known, decided & known
    return truth, decided, known, weight


def check_scored_cells(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, Array, BoolArray | None, DoubleArray | None]:
    """Return truth as bool, scores in their own precision, the mask and the weights, all checked."""
    y_true, y_score, y_known, sample_weight = align_by_name(
        y_true=y_true, y_score=y_score, y_known=y_known, sample_weight=sample_weight
    )
    truth, known, weight = _check_truth(y_true, y_known, sample_weight)
    checked = check_y_score(y_score, n_samples=truth.shape[0], n_labels=truth.shape[1])
    score = np.asarray(y_score)
    return truth, score if score.dtype == np.float64 else checked, known, weight


def _check_truth(
    y_true: npt.ArrayLike, y_known: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> tuple[BoolArray, BoolArray | None, DoubleArray | None]:
    """Return truth, mask and weights, checked to describe the same cells."""
    truth = check_mask(y_true, name="y_true")
    if not truth.size:
        raise ValueError(f"y_true must hold at least one sample and one label: got shape {truth.shape}.")
    known = None if y_known is None else check_mask(y_known, n_samples=truth.shape[0], n_labels=truth.shape[1])
    weight = None if sample_weight is None else check_sample_weight(sample_weight, len(truth))
    return truth, known, weight


def ratio(numerator: DoubleArray, denominator: DoubleArray) -> DoubleArray:
    """Divide where the denominator is positive; 0 elsewhere."""
    return np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)


def row_weight(known: BoolArray | None, weight: DoubleArray | None, n_samples: int) -> DoubleArray:
    """Return the sample weights, 0 for a sample without a known cell."""
    weight = np.ones(n_samples) if weight is None else weight
    return weight if known is None else weight * known.any(axis=1)


def weighted_mean(values: DoubleArray, weight: DoubleArray) -> float:
    """Return the weighted mean, 0 if all weights are 0."""
    total = float(weight.sum())
    return float(weight @ values) / total if total > 0 else 0.0
