"""Metrics of how scores rank the samples: average precision and the area under the ROC curve, per label or pooled.

A label that cannot be ranked (no positives; for ROC AUC, no negatives either) is left out of the average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.metrics.measurement import Measurement
from stacking.metrics.named.metric import Metric, ScoreArray
from stacking.truth import Truth

Statistic = Literal["average precision", "ROC AUC"]

UNRANKED = {"average precision": 0.0, "ROC AUC": 0.5}
"""Value where nothing can be ranked: no hit, and chance."""


class _Ranked(NamedTuple):
    """The cells of one ranking, highest score first: truth, weight, unit, and whether the next score is lower."""

    true: BoolArray
    weight: DoubleArray
    unit: IndexArray
    last: BoolArray


@dataclass(frozen=True, kw_only=True)
class RankingMetric(Metric):
    """A statistic of rankings.

    Attributes
    ----------
    statistic : {"average precision", "ROC AUC"}
        Of one ranking.
    pooled : bool
        Whether all cells make one ranking; else every label makes its own, and the mean is taken.
    """

    statistic: Statistic = "average precision"
    pooled: bool = False

    @property
    def averages_labels(self) -> bool:
        """Whether it is a mean over labels."""
        return not self.pooled

    def measure(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> Measurement:
        """Rank; see `Metric.measure`."""
        return _MeanOfRankings(truth, self.given_scores(y_score), self.statistic, self.sign, pooled=self.pooled)


class _MeanOfRankings(Measurement):
    """The mean of a statistic over the rankings that have one."""

    def __init__(self, truth: Truth, y_score: ScoreArray, statistic: Statistic, sign: int, *, pooled: bool) -> None:
        self.sign = sign
        self.truth, self.y_score, self.statistic, self.pooled = truth, y_score, statistic, pooled
        if truth.counted is not None:
            self.truth, self.y_score = truth.only_counted(), y_score[truth.counted]
        groups = self.truth.groups
        n_rows = len(self.truth.y_true)
        self._unit = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        self._n_units = int(self._unit.max(initial=-1)) + 1

    @property
    def n_units(self) -> int:
        """How many units are resampled."""
        return self._n_units

    def _rankings(self) -> Iterator[_Ranked]:
        """Yield each ranking that has positives, and negatives where they count."""
        truth, n_labels = self.truth, self.y_score.shape[1]
        weight = np.ones(len(truth.y_true)) if truth.sample_weight is None else truth.sample_weight
        columns = [slice(None)] if self.pooled else [slice(label, label + 1) for label in range(n_labels)]
        for column in columns:
            true, score = truth.y_true[:, column], self.y_score[:, column]
            known = np.ones(true.shape, dtype=bool) if truth.y_known is None else truth.y_known[:, column]
            row = np.broadcast_to(np.arange(len(true))[:, None], true.shape)[known]
            true, score = true[known], score[known]
            if not true.any() or (self.statistic == "ROC AUC" and true.all()):
                continue
            order = np.argsort(score, kind="stable")[::-1]
            last = np.append(np.diff(score[order]) != 0, True)
            yield _Ranked(true[order], weight[row[order]], self._unit[row[order]], last)

    @cached_property
    def _value_and_influence(self) -> tuple[float, DoubleArray]:
        """Average the statistics and their derivatives by the weights of the rows."""
        total, n_ranked, influence = 0.0, 0, np.zeros(self._n_units)
        slope_of = _average_precision if self.statistic == "average precision" else _roc_auc
        for ranked in self._rankings():
            value, slope = slope_of(ranked.true, ranked.weight, ranked.last)
            total, n_ranked = total + value, n_ranked + 1
            influence += np.bincount(ranked.unit, weights=slope * ranked.weight, minlength=self._n_units)
        if n_ranked == 0:
            return UNRANKED[self.statistic], influence
        return total / n_ranked, self.sign * influence / n_ranked

    @property
    def value(self) -> float:
        """The mean."""
        return self._value_and_influence[0]

    @property
    def influence(self) -> DoubleArray:
        """Derivative by the weight of every unit, times its weight."""
        return self._value_and_influence[1]

    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Rank again with each row as often as it was drawn; see `Measurement.resample`."""
        from stacking.kernels import rankings as _kernels

        total, n_ranked = np.zeros(len(draws)), np.zeros(len(draws))
        kernel = (
            _kernels.resample_average_precision if self.statistic == "average precision" else _kernels.resample_roc_auc
        )
        # Units side by side for all resamples, so that the inner loop of a kernel runs along memory.
        by_unit = np.ascontiguousarray(draws.T)
        for ranked in self._rankings():
            kernel(ranked.true, ranked.weight, ranked.unit, ranked.last, by_unit, total, n_ranked)
        return np.where(n_ranked > 0, total / np.maximum(n_ranked, 1.0), UNRANKED[self.statistic])


def _average_precision(true: BoolArray, weight: DoubleArray, last: BoolArray) -> tuple[float, DoubleArray]:
    """Return Σ (recall step) · precision over distinct scores, and its derivative by each cell's weight."""
    hit = np.cumsum(weight * true)[last]
    fired = np.cumsum(weight)[last]
    step, positives = np.diff(hit, prepend=0.0), hit[-1]
    precision = hit / fired
    value = float((step * precision).sum() / positives)
    # A cell's weight enters the hits and the fired weight of its own place and of all lower ones.
    of_hits = np.cumsum((step / fired)[::-1])[::-1]
    of_fired = np.cumsum((step * hit / fired**2)[::-1])[::-1]
    place: IndexArray = np.cumsum(last) - last
    slope = np.where(true, precision[place] + of_hits[place] - value, 0.0) - of_fired[place]
    return value, slope / positives


def _roc_auc(true: BoolArray, weight: DoubleArray, last: BoolArray) -> tuple[float, DoubleArray]:
    """Return the share of (positive, negative) pairs ranked right, ties half, and its derivative by the weights."""
    place: IndexArray = np.cumsum(last) - last
    hit, false = (np.cumsum(weight * cells)[last] for cells in (true, ~true))
    positives, negatives = hit[-1], false[-1]
    # Above a place, plus half of it: what a cell of that place ranks below.
    hits_above, false_above = (of - np.diff(of, prepend=0.0) / 2.0 for of in (hit, false))
    value = 1.0 - float((np.diff(hit, prepend=0.0) * false_above).sum() / (positives * negatives))
    right = np.where(true, 1.0 - false_above[place] / negatives, hits_above[place] / positives)
    return value, (right - value) / np.where(true, positives, negatives)


def mean_average_precision(*, pooled: bool = False) -> RankingMetric:
    """Build the average precision, the mean over labels or of all cells pooled.

    Parameters
    ----------
    pooled : bool, default=False
        Whether all cells make one ranking.

    Returns
    -------
    RankingMetric
        The metric.
    """
    if pooled:
        return RankingMetric(
            name="micro-map",
            title="micro-AP",
            description="average precision of all cells in one ranking",
            needs="scores",
            pooled=True,
        )
    return RankingMetric(
        name="map",
        title="mAP",
        description="mean average precision over the labels that have positives",
        needs="scores",
    )


def roc_auc(*, pooled: bool = False) -> RankingMetric:
    """Build the area under the ROC curve, the mean over labels or of all cells pooled.

    Parameters
    ----------
    pooled : bool, default=False
        Whether all cells make one ranking.

    Returns
    -------
    RankingMetric
        The metric.
    """
    if pooled:
        return RankingMetric(
            name="micro-roc-auc",
            title="micro-ROC AUC",
            description="area under the ROC curve of all cells in one ranking",
            needs="scores",
            statistic="ROC AUC",
            pooled=True,
        )
    return RankingMetric(
        name="roc-auc",
        title="ROC AUC",
        description="area under the ROC curve, the mean over labels with positives and negatives",
        needs="scores",
        statistic="ROC AUC",
    )
