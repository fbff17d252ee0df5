"""Isotonic calibration: the best non-decreasing map from score to probability, per label (Zadrozny & Elkan, 2002)."""

from __future__ import annotations

import numpy as np

from stacking._typing import DoubleArray
from stacking.calibration.calibrator import Calibrator


class IsotonicCalibration(Calibrator):
    """Fit a non-decreasing step map per label; interpolated between steps.

    Assumes no form, so it wants rows: below `min_positives` positives (or negatives) a label keeps its scores.

    Parameters
    ----------
    min_positives : int, default 100
        Fewest positives, and negatives, for a map.

    Attributes
    ----------
    maps_ : list of (ndarray, ndarray) or None
        Scores and probabilities at the map's corners, None where the label keeps its scores.

    References
    ----------
    B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.

    Examples
    --------
    >>> scores = [[0.1], [0.2], [0.3], [0.4]]
    >>> calibrator = IsotonicCalibration(min_positives=2).fit(scores, [[0], [1], [0], [1]])
    >>> calibrator.transform(scores)[:, 0].tolist()
    [0.0, 0.5, 0.5, 1.0]
    """

    maps_: list[tuple[DoubleArray, DoubleArray] | None]

    def __init__(self, min_positives: int = 100) -> None:
        self.min_positives = min_positives

    def _fit(self, y_score: DoubleArray, y_true: DoubleArray | None, weight: DoubleArray) -> None:
        """Fit the labels one after the other."""
        from sklearn.isotonic import IsotonicRegression

        truth = np.zeros_like(y_score) if y_true is None else y_true
        self.maps_ = []
        for label in range(self.n_labels_):
            counts = weight[:, label] > 0
            target = truth[counts, label]
            if min(target.sum(), len(target) - target.sum()) < max(1, self.min_positives):
                self.maps_.append(None)
                continue
            isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            isotonic.fit(y_score[counts, label], target, sample_weight=weight[counts, label])
            self.maps_.append((isotonic.X_thresholds_, isotonic.y_thresholds_))

    def _transform(self, y_score: DoubleArray) -> DoubleArray:
        """Interpolate."""
        calibrated = y_score.copy()
        for label, corners in enumerate(self.maps_):
            if corners is not None:
                calibrated[:, label] = np.interp(y_score[:, label], *corners)
        return calibrated
