"""Temperature scaling: divide logits by one number, which cures over- or under-confidence and changes no ranking.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np

from stacking._typing import DoubleArray
from stacking.calibration.calibrator import Calibrator
from stacking.links import logit, sigmoid


class TemperatureScaling(Calibrator):
    """Divide logits by the temperature with the lowest log loss.

    Parameters
    ----------
    per_label : bool, default False
        One temperature per label; otherwise one for all, which needs few rows.

    Attributes
    ----------
    temperature_ : ndarray of float64, shape (n_labels,)
        In [.01, 100], dimensionless; above 1 softens. 1 for a label whose rows cannot tell.

    Notes
    -----
    The loss is convex in 1/T: Newton's method, O(n_samples · n_labels) a step.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.

    Examples
    --------
    >>> scores = [[0.9], [0.9], [0.9], [0.1], [0.1], [0.1]]
    >>> TemperatureScaling().fit(scores, [[1], [1], [0], [0], [0], [1]]).transform(scores)[0].round(2).item()
    0.6700000166893005
    """

    temperature_: DoubleArray

    def __init__(self, per_label: bool = False) -> None:
        self.per_label = per_label

    def _fit(self, y_score: DoubleArray, y_true: DoubleArray | None, weight: DoubleArray) -> None:
        """Find the best 1/T."""
        logits = logit(y_score).astype(np.float64)
        truth = np.zeros_like(logits) if y_true is None else y_true
        sharpness = np.ones(self.n_labels_)
        for _ in range(50):
            chance = sigmoid(logits * sharpness)
            slope = (weight * logits * (chance - truth)).sum(axis=0)
            curvature = (weight * logits**2 * chance * (1 - chance)).sum(axis=0)
            if not self.per_label:
                slope, curvature = np.full_like(slope, slope.sum()), np.full_like(curvature, curvature.sum())
            step = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 1e-12)
            moved = np.clip(sharpness - step, np.maximum(sharpness / 2, 0.01), np.minimum(sharpness * 2, 100.0))
            done = np.abs(moved - sharpness).max() < 1e-9
            sharpness = moved
            if done:
                break
        self.temperature_ = 1.0 / sharpness

    def _transform(self, y_score: DoubleArray) -> DoubleArray:
        """Divide the logits."""
        return sigmoid(logit(y_score) / self.temperature_)
