"""Metrics of scores that look at one sample at a time: rankings of its labels, and the size of its probabilities.

References
----------
G. Tsoumakas, I. Katakis, I. Vlahavas, "Mining multi-label data", Data Mining and Knowledge Discovery Handbook, 2010:
coverage, ranking loss, and average precision of rankings (LRAP).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from stacking._typing import BoolArray, DoubleArray
from stacking.links import SMALLEST_SCORE
from stacking.metrics.measurement import Measurement
from stacking.metrics.named.metric import Metric, Needs, ScoreArray
from stacking.metrics.named.ratios import RatioOfSums
from stacking.truth import Truth

_BLOCK_CELLS = 1 << 20  # 8 MB of float64: only memory depends on it


class SampleBlock(NamedTuple):
    """Some rows: truth, scores in double precision, and known cells."""

    true: BoolArray
    score: DoubleArray
    known: BoolArray


RowFunction: TypeAlias = Callable[[SampleBlock], tuple[DoubleArray, DoubleArray]]
"""Takes a block of rows; returns what each adds to the upper and to the lower sum."""


@dataclass(frozen=True, kw_only=True)
class SampleMetric(Metric):
    """A ratio of sums over the samples.

    Attributes
    ----------
    of_rows : callable
        Takes a `SampleBlock`, returns what every row adds to the upper and to the lower sum.
    kind : str
        Which kernel of the weight search computes it.
    k : int
        Labels looked at, where that is part of the metric; else 0.
    """

    of_rows: RowFunction
    kind: str
    k: int = 0

    def check_truth(self, truth: Truth) -> None:
        """Refuse fewer than k labels; see `Metric.check_truth`."""
        n_labels = truth.y_true.shape[1]
        if self.k > n_labels:
            raise ValueError(
                f"metric {self.name} looks at {self.k} labels, more than the {n_labels} there are: lower the number."
            )

    def measure(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> Measurement:
        """Add up over blocks of rows; see `Metric.measure`."""
        self.check_truth(truth)
        score = self.given_scores(y_score)
        n_samples, n_labels = score.shape
        upper, lower = np.empty((2, n_samples))
        step = max(1, _BLOCK_CELLS // n_labels)
        for start in range(0, n_samples, step):
            rows = slice(start, start + step)
            true = truth.y_true[rows]
            known = np.ones(true.shape, dtype=bool) if truth.y_known is None else truth.y_known[rows]
            block = SampleBlock(true, score[rows].astype(np.float64), known)
            upper[rows], lower[rows] = self.of_rows(block)
        return RatioOfSums.of_rows(truth, upper, lower, self.sign)


class _Places(NamedTuple):
    """Labels of each row from the highest score down: truth; positives and labels at or above each, ties included."""

    true: BoolArray
    hits: DoubleArray
    rank: DoubleArray


def _places(block: SampleBlock) -> _Places:
    """Sort every row; unknown cells come last."""
    score = np.where(block.known, block.score, -1.0)
    order = np.argsort(-score, axis=1, kind="stable")
    score, true = np.take_along_axis(score, order, axis=1), np.take_along_axis(block.true, order, axis=1)
    n_labels = score.shape[1]
    last = np.concatenate([np.diff(score, axis=1) != 0, np.ones((len(score), 1), dtype=bool)], axis=1)
    ends = np.where(last, np.arange(n_labels), n_labels)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    hits = np.take_along_axis(np.cumsum(true, axis=1, dtype=np.float64), ends, axis=1)
    return _Places(true, hits, ends + 1.0)


def _lrap(block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
    """Average over a row's positives the precision at their rank; 1 where all or none are positive."""
    places = _places(block)
    positives = places.true.sum(axis=1)
    total = np.where(places.true, places.hits / places.rank, 0.0).sum(axis=1)
    trivial = (positives == 0) | (positives == block.known.sum(axis=1))
    value = np.where(trivial, 1.0, total / np.maximum(positives, 1))
    return value, np.ones(len(value))


def _coverage(block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
    """Count the labels down to a row's lowest positive; 0 where there is none."""
    places = _places(block)
    depth = np.where(places.true, places.rank, 0.0).max(axis=1)
    return depth, np.ones(len(depth))


def _ranking_loss(block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
    """Share of a row's (positive, negative) pairs ranked wrong, ties included; 0 where there are none."""
    places = _places(block)
    positives = places.true.sum(axis=1)
    pairs = positives * (block.known.sum(axis=1) - positives)
    wrong = np.where(places.true, places.rank - places.hits, 0.0).sum(axis=1)
    value = np.divide(wrong, pairs, out=np.zeros(len(wrong)), where=pairs > 0)
    return value, np.ones(len(value))


def _found_in_top(block: SampleBlock, k: int) -> DoubleArray:
    """Count each row's positives among its k known labels of the highest scores; of ties the first labels."""
    order = np.argsort(np.where(block.known, -block.score, 2.0), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(block.true, order, axis=1).sum(axis=1).astype(np.float64)


@dataclass(frozen=True)
class _RecallAt:
    """Positives found among the first k, of all positives; a class, so that the metric can be pickled and compared."""

    k: int

    def __call__(self, block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
        """Answer for a block of rows, as a `RowFunction` does."""
        return _found_in_top(block, self.k), block.true.sum(axis=1).astype(np.float64)


@dataclass(frozen=True)
class _PrecisionAt:
    """Positives found among the first k, of the known cells looked at."""

    k: int

    def __call__(self, block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
        """Answer for a block of rows, as a `RowFunction` does."""
        return _found_in_top(block, self.k), np.minimum(block.known.sum(axis=1), self.k).astype(np.float64)


def _brier(block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
    """Add up squared errors of known cells."""
    error = np.where(block.known, block.score - block.true, 0.0)
    return (error * error).sum(axis=1), block.known.sum(axis=1).astype(np.float64)


def _log_loss(block: SampleBlock) -> tuple[DoubleArray, DoubleArray]:
    """Add up cross-entropies of known cells, scores clipped as in `stacking.metrics.log_loss`."""
    given = np.where(block.true, block.score, 1.0 - block.score)
    cost = -np.log(np.clip(given, SMALLEST_SCORE, 1.0 - SMALLEST_SCORE))
    return np.where(block.known, cost, 0.0).sum(axis=1), block.known.sum(axis=1).astype(np.float64)


def _plain(
    name: str, title: str, description: str, of_rows: RowFunction, needs: Needs = "scores", *, better: bool = False
) -> SampleMetric:
    """Build a metric without parameters."""
    return SampleMetric(
        name=name,
        title=title,
        description=description,
        needs=needs,
        greater_is_better=better,
        bounds=(0.0, np.inf) if name in ("coverage-error", "log-loss") else (0.0, 1.0),
        of_rows=of_rows,
        kind=name,
    )


LRAP = _plain(
    "lrap", "LRAP", "label ranking average precision: precision at each true label's rank", _lrap, better=True
)
COVERAGE = _plain("coverage-error", "coverage error", "labels down to the lowest-ranked true one, averaged", _coverage)
RANKING_LOSS = _plain("ranking-loss", "ranking loss", "share of label pairs of a sample ranked wrong", _ranking_loss)
BRIER = _plain("brier", "Brier score", "mean squared error of the probabilities", _brier, "probabilities")
LOG_LOSS = _plain("log-loss", "log loss", "binary cross-entropy per cell, in nats", _log_loss, "probabilities")


def recall_at(k: int) -> SampleMetric:
    """Build the share of all true labels that are among the k highest-scored of their sample.

    Parameters
    ----------
    k : int
        At least 1.

    Returns
    -------
    SampleMetric
        As `stacking.metrics.recall_at_k`.

    Raises
    ------
    ValueError
        If `k` is below 1.
    """
    _check_k(k, "recall")

    return SampleMetric(
        name=f"recall-at-{k}",
        title=f"recall at {k}",
        description=f"share of all true labels among the {k} highest-scored of their sample",
        needs="scores",
        of_rows=_RecallAt(k),
        kind="recall-at",
        k=k,
    )


def precision_at(k: int) -> SampleMetric:
    """Build the share of true ones among the k highest-scored labels of the samples.

    Parameters
    ----------
    k : int
        At least 1; of a sample with fewer known labels all of them are looked at.

    Returns
    -------
    SampleMetric
        The metric.

    Raises
    ------
    ValueError
        If `k` is below 1.
    """
    _check_k(k, "precision")

    return SampleMetric(
        name=f"precision-at-{k}",
        title=f"precision at {k}",
        description=f"share of true ones among the {k} highest-scored labels of each sample",
        needs="scores",
        of_rows=_PrecisionAt(k),
        kind="precision-at",
        k=k,
    )


def _check_k(k: int, what: str) -> None:
    """Raise for no labels."""
    if k < 1:
        raise ValueError(f"k must be at least 1: got {k}; write for example {what}-at-5.")
