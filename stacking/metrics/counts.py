"""What the F1 averages of a set of decisions are made of.

Decisions are counted once, per sample and per label; the matrices can then be dropped. Every average, every interval
and every paired difference of a comparison comes from these counts, so comparing twenty methods on a million samples
keeps a few megabytes per method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray
from stacking.truth import Truth

N_BINS = 100
"""Bins of width .01, as fine as a curve can be read; nothing is tuned on them."""


def f1_score(true_positives: npt.ArrayLike, predicted: npt.ArrayLike, positives: npt.ArrayLike) -> DoubleArray:
    """Divide counts into F1, element by element.

    Parameters
    ----------
    true_positives, predicted, positives : array
        Counts of any equal shape.

    Returns
    -------
    ndarray of float64
        ``2 TP / (PP + P)`` in [0, 1]; 0 where nothing is positive or predicted.
    """
    total = np.asarray(predicted, dtype=np.float64) + np.asarray(positives, dtype=np.float64)
    return np.where(total > 0, 2.0 * np.asarray(true_positives) / np.where(total > 0, total, 1.0), 0.0)


@dataclass(frozen=True)
class DecisionCounts:
    """Counts of one set of decisions, per sample and per label.

    Attributes
    ----------
    sample_hits, sample_predicted : ndarray of uint16, shape (n_samples,)
        True positives and predicted positives of each sample.
    label_hits, label_predicted : ndarray of float64, shape (n_labels,)
        The same of each label, in sums of weights.
    """

    sample_hits: npt.NDArray[np.uint16]
    sample_predicted: npt.NDArray[np.uint16]
    label_hits: DoubleArray
    label_predicted: DoubleArray

    @classmethod
    def count(cls, y_pred: npt.NDArray[np.bool_], truth: Truth) -> DecisionCounts:
        """Count decisions against the truth.

        Parameters
        ----------
        y_pred : ndarray of bool, shape (n_samples, n_labels)
            The decisions.
        truth : Truth
            What they are scored on.

        Returns
        -------
        DecisionCounts
            The counts.
        """
        predicted = y_pred if truth.y_known is None else y_pred & truth.y_known
        hits = predicted & truth.y_true
        return cls(
            np.count_nonzero(hits, axis=1).astype(np.uint16),
            np.count_nonzero(predicted, axis=1).astype(np.uint16),
            truth.sum_rows(hits),
            truth.sum_rows(predicted),
        )

    def micro_f1(self, truth: Truth) -> float:
        """Score over all cells.

        Parameters
        ----------
        truth : Truth
            The truth counted against.

        Returns
        -------
        float
            Micro-F1 in [0, 1].
        """
        return float(f1_score(self.label_hits.sum(), self.label_predicted.sum(), truth.label_positives.sum()))

    def totals(self, truth: Truth, labels: Any = slice(None)) -> tuple[float, float, float]:
        """Sum over labels.

        Parameters
        ----------
        truth : Truth
            The truth counted against.
        labels : slice, mask or ndarray of int, default all
            Which.

        Returns
        -------
        tuple of float
            True positives, predicted positives and positives, in rows of mean weight.
        """
        parts = (self.label_hits, self.label_predicted, truth.label_positives)
        hits, predicted, positives = (float(values[labels].sum()) / truth.mean_weight for values in parts)
        return hits, predicted, positives

    def never_predicted(self, truth: Truth) -> BoolArray:
        """Tell which labels are never predicted though they have positives.

        Parameters
        ----------
        truth : Truth
            The truth counted against.

        Returns
        -------
        ndarray of bool, shape (n_labels,)
            True for those.
        """
        return (self.label_predicted == 0) & (truth.label_positives > 0)

    def f1_per_label(self, truth: Truth) -> DoubleArray:
        """Score each label.

        Parameters
        ----------
        truth : Truth
            The truth counted against.

        Returns
        -------
        ndarray of shape (n_labels,)
            F1 in [0, 1].
        """
        return f1_score(self.label_hits, self.label_predicted, truth.label_positives)

    def samples_f1(self, truth: Truth) -> float:
        """Score each sample and average.

        Parameters
        ----------
        truth : Truth
            The truth counted against.

        Returns
        -------
        float
            Samples-F1 in [0, 1].
        """
        scores = f1_score(self.sample_hits, self.sample_predicted, truth.sample_positives)
        if truth.counted is None:
            return float(np.average(scores, weights=truth.sample_weight))
        weight = None if truth.sample_weight is None else truth.sample_weight[truth.counted]
        return float(np.average(scores[truth.counted], weights=weight))


@dataclass(frozen=True)
class ScoreHistogram:
    """How scores are spread over true and false cells: enough for a threshold curve and a reliability curve.

    Attributes
    ----------
    cells, positives, score_sum : ndarray of shape (101,)
        Per bin of width .01 (the last one holds scores of exactly 1): known cells, true ones, and their summed scores,
        each cell with its row's weight over the mean weight.
    """

    cells: DoubleArray
    positives: DoubleArray
    score_sum: DoubleArray

    @classmethod
    def count(cls, y_score: npt.NDArray[np.float32], truth: Truth) -> ScoreHistogram:
        """Count scores, block by block.

        Parameters
        ----------
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        truth : Truth
            What they are scored on.

        Returns
        -------
        ScoreHistogram
            The counts.
        """
        cells, positives, score_sum = (np.zeros(N_BINS + 1) for _ in range(3))
        # Two million cells at a time: only memory depends on it.
        block = max(1, 2_000_000 // max(y_score.shape[1], 1))
        for start in range(0, len(y_score), block):
            rows = slice(start, start + block)
            score, true = y_score[rows].ravel(), truth.y_true[rows].ravel()
            weight = None
            if truth.sample_weight is not None:
                weight = np.repeat(truth.sample_weight[rows] / truth.mean_weight, y_score.shape[1])
            if truth.y_known is not None:
                known = truth.y_known[rows].ravel()
                score, true = score[known], true[known]
                weight = None if weight is None else weight[known]
            # The small shift puts .29f, stored as .28999, into the bin that starts at .29.
            bins = np.minimum((score * N_BINS + 1e-4).astype(np.intp), N_BINS)
            if weight is None:
                cells += np.bincount(bins, minlength=N_BINS + 1)
                positives += np.bincount(bins[true], minlength=N_BINS + 1)
                score_sum += np.bincount(bins, weights=score, minlength=N_BINS + 1)
            else:
                cells += np.bincount(bins, weights=weight, minlength=N_BINS + 1)
                positives += np.bincount(bins, weights=weight * true, minlength=N_BINS + 1)
                score_sum += np.bincount(bins, weights=weight * score, minlength=N_BINS + 1)
        return cls(cells, positives, score_sum)

    def threshold_curve(self) -> tuple[DoubleArray, DoubleArray]:
        """Score every hundredth as the threshold of all labels.

        Returns
        -------
        thresholds, micro_f1 : ndarray of shape (101,)
            Thresholds from 0 to 1 and the micro-F1 of each.
        """
        hits, predicted = (np.cumsum(values[::-1])[::-1] for values in (self.positives, self.cells))
        return np.linspace(0.0, 1.0, N_BINS + 1), f1_score(hits, predicted, self.positives.sum())

    def reliability_curve(self, n_bins: int = 20) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """Compare mean scores with the share that is true.

        Parameters
        ----------
        n_bins : int, default=20
            Number of bins of equal width; must divide 100.

        Returns
        -------
        mean_score, share_true, cells : ndarray of shape (n_bins,)
            NaN in empty bins.
        """
        if N_BINS % n_bins:
            raise ValueError(f"n_bins must divide {N_BINS}: got {n_bins}.")
        starts = np.arange(0, N_BINS, N_BINS // n_bins)
        merged = []
        for values in (self.cells, self.positives, self.score_sum):
            folded = values[:N_BINS].copy()
            folded[-1] += values[N_BINS]
            merged.append(np.add.reduceat(folded, starts))
        cells, positives, score_sum = merged
        safe = np.where(cells > 0, cells, np.nan)
        return score_sum / safe, positives / safe, cells
