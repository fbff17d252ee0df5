"""Platt scaling: a logistic regression of the truth on the logit, per label, shrunk where positives are few.

J. Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods", 1999.
"""

from __future__ import annotations

import numpy as np

from stacking._typing import DoubleArray
from stacking.calibration.calibrator import Calibrator
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty, apply_logistic, fit_logistic
from stacking.links import logit, sigmoid


class PlattScaling(Calibrator):
    """Fit slope and intercept on the logit of each label.

    Parameters
    ----------
    penalty : float, default 10.0
        Strength of the draw of each slope to the slope pooled over all labels, dimensionless; intercepts are free.

    Attributes
    ----------
    coefficients_ : ndarray of float64, shape (n_labels, 2)
        Slope and intercept; slope 0 and the smoothed frequency for a label with one class.

    Notes
    -----
    A negative slope is possible where a score points the wrong way; that label's order of samples is then reversed.

    References
    ----------
    J. Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods",
    Advances in Large Margin Classifiers, 1999.

    Examples
    --------
    >>> scores = [[0.9], [0.8], [0.7], [0.6]]
    >>> PlattScaling().fit(scores, [[1], [1], [0], [0]]).transform(scores)[:, 0].argmax().item()
    0
    """

    coefficients_: DoubleArray

    def __init__(self, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def _fit(self, y_score: DoubleArray, y_true: DoubleArray | None, weight: DoubleArray) -> None:
        """Fit all labels at once."""
        if not self.penalty > 0:
            raise ValueError(f"penalty must be positive: got {self.penalty}.")
        truth = np.zeros_like(y_score) if y_true is None else y_true
        penalty = LogisticPenalty(self.penalty, pooled=True, shared_scale=(0,))
        self.coefficients_ = fit_logistic([logit(y_score)], truth, weight=weight, penalty=penalty)

    def _transform(self, y_score: DoubleArray) -> DoubleArray:
        """Apply the regressions."""
        return sigmoid(apply_logistic([logit(y_score)], self.coefficients_))
