"""Measurements that are ratios of sums over units, or the mean of one ratio per label."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from stacking._typing import BoolArray, DoubleArray
from stacking.metrics.measurement import Measurement
from stacking.truth import Truth

_CELLS_AT_ONCE = 4_000_000  # 32 MB of float64: only memory depends on it

Counts = tuple[float, float, float]
"""Factors of the true positives, the predicted positives and the positives in a sum of the three."""


class RatioOfSums(Measurement):
    """One ratio of two sums over the units; 0 where the lower sum is 0.

    Parameters
    ----------
    upper, lower : ndarray of float64, shape (n_units,)
        What every unit adds to the sums.
    sign : {1, -1}
        1 where larger values are better.
    """

    def __init__(self, upper: DoubleArray, lower: DoubleArray, sign: int) -> None:
        self.sign = sign
        self.upper, self.lower = upper, lower

    @classmethod
    def of_rows(cls, truth: Truth, upper: DoubleArray, lower: DoubleArray, sign: int) -> RatioOfSums:
        """Add up what every row contributes, with its weight.

        Parameters
        ----------
        truth : Truth
            With weights and groups; rows that do not count are left out.
        upper, lower : ndarray of float64, shape (n_samples,)
            What every row adds to the sums.
        sign : {1, -1}
            1 where larger values are better.

        Returns
        -------
        RatioOfSums
            Over rows or groups.
        """
        units = truth.sum_units(np.stack([upper, lower], axis=1))
        return cls(units[:, 0], units[:, 1], sign)

    @cached_property
    def value(self) -> float:
        """The ratio."""
        total = self.lower.sum()
        return float(self.upper.sum() / total) if total > 0 else 0.0

    @property
    def influence(self) -> DoubleArray:
        """By the delta method: what a unit adds above or below the ratio, over the lower sum."""
        total = float(self.lower.sum())
        return self.sign * (self.upper - self.value * self.lower) / (total if total > 0 else 1.0)

    @property
    def n_units(self) -> int:
        """How many units are resampled."""
        return len(self.upper)

    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Divide the sums of each resample; see `Measurement.resample`."""
        upper, lower = draws @ self.upper, draws @ self.lower
        return np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0)


class MeanOfLabelRatios(Measurement):
    """The mean over labels of a ratio of counts; 0 for a label whose lower count is 0.

    Parameters
    ----------
    truth : Truth
        The right answers, and what counts of them.
    y_pred : ndarray of bool, shape (n_samples, n_labels)
        Decisions.
    upper, lower : tuple of 3 floats
        Factors of true positives, predicted positives and positives in both counts.
    sign : {1, -1}
        1 where larger values are better.
    """

    def __init__(self, truth: Truth, y_pred: BoolArray, upper: Counts, lower: Counts, sign: int) -> None:
        self.sign = sign
        self.truth = truth
        self.y_pred = y_pred if truth.y_known is None else y_pred & truth.y_known
        self.factors = (upper, lower)

    @cached_property
    def _sums(self) -> tuple[DoubleArray, DoubleArray]:
        """Return both counts of every label."""
        truth = self.truth
        counts = truth.sum_rows(self.y_pred & truth.y_true), truth.sum_rows(self.y_pred), truth.label_positives
        upper, lower = (sum(f * c for f, c in zip(of, counts, strict=True)) for of in self.factors)
        return np.asarray(upper), np.asarray(lower)

    @cached_property
    def value(self) -> float:
        """The mean."""
        return float(_ratio(*self._sums).mean())

    @cached_property
    def influence(self) -> DoubleArray:
        """By the delta method, the mean over labels of that of their ratios."""
        upper, lower = self._sums
        ratio, n_labels = _ratio(upper, lower), len(lower)
        scale = np.divide(1.0, n_labels * lower, out=np.zeros(n_labels), where=lower > 0)
        slopes = [(up - ratio * low) * scale for up, low in zip(*self.factors, strict=True)]
        step = max(1, _CELLS_AT_ONCE // n_labels)
        rows = np.empty(len(self.y_pred))
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            fired, true = self.y_pred[block], self.truth.y_true[block]
            rows[block] = (fired & true) @ slopes[0] + fired @ slopes[1] + true @ slopes[2]
        return self.sign * self.truth.sum_units(rows[:, None])[:, 0]

    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Count every label in each resample; see `Measurement.resample`."""
        n_labels = self.y_pred.shape[1]
        total = np.zeros(len(draws))
        step = max(1, _CELLS_AT_ONCE // max(len(self.y_pred), 1))
        for start in range(0, n_labels, step):
            block = slice(start, start + step)
            fired, true = self.y_pred[:, block], self.truth.y_true[:, block]
            counts = [draws @ self.truth.sum_units(cells) for cells in (fired & true, fired, true)]
            upper, lower = (sum(f * c for f, c in zip(of, counts, strict=True)) for of in self.factors)
            total += _ratio(np.asarray(upper), np.asarray(lower)).sum(axis=1)
        return total / n_labels


def _ratio(upper: DoubleArray, lower: DoubleArray) -> DoubleArray:
    """Divide where the lower count is positive; 0 elsewhere."""
    return np.divide(upper, lower, out=np.zeros_like(lower), where=lower > 0)
