"""What each threshold of each label would predict on rows with truth, in tables of bounded size.

A table lists thresholds of one label with the true positives and the predictions at and above each. Where a label has
more distinct scores than a table may have lines, some are left out: evenly by recall, where its positives lie, and
evenly by the logarithm of the number of predictions, where few are predicted. Every line that stays is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray, IntArray
from stacking.truth import Truth

MOST_CUTS, FEWEST_CUTS = 100, 12
"""Lines of a label's table at most, and at least, where there are many labels: choices, as fine as a slider is."""

MOST_LINES = 30_000
"""Lines of all tables together, as long as every label may have `FEWEST_CUTS`: a megabyte of a page."""


@dataclass(frozen=True)
class CutTables:
    """Thresholds of every label, with what is predicted at each.

    Attributes
    ----------
    start : ndarray of int64, shape (n_labels + 1,)
        Where the lines of each label begin.
    threshold : ndarray of float64, shape (n_lines,)
        Rising within a label; the last one is +inf, never.
    hits, fired : ndarray of float64, shape (n_lines,)
        True positives and predictions at the threshold, in rows, or in weight over the mean weight.
    chosen : ndarray of int64, shape (n_labels,)
        The line of each label that decides as the given thresholds do.
    positives : ndarray of float64, shape (n_labels,)
        Positives of each label.
    """

    start: IntArray
    threshold: DoubleArray
    hits: DoubleArray
    fired: DoubleArray
    chosen: IntArray
    positives: DoubleArray


def tabulate_cuts(y_score: FloatArray, truth: Truth, thresholds: npt.ArrayLike) -> CutTables:
    """Count what every threshold would predict.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    truth : Truth
        Of the same rows; unknown cells count neither way.
    thresholds : array of shape (n_labels,)
        Thresholds that each have a line of their own, +inf for never.

    Returns
    -------
    CutTables
        At most `MOST_CUTS` + 3 lines a label, and at most `MOST_LINES` together or `FEWEST_CUTS` + 3 a label.

    Notes
    -----
    Sorts label by label, O(n_samples log n_samples) each.
    """
    limits = np.asarray(thresholds, np.float64)
    n_labels = y_score.shape[1]
    most = int(np.clip(MOST_LINES // max(n_labels, 1), FEWEST_CUTS, MOST_CUTS))
    tables = [_tabulate(y_score[:, label], truth, label, float(limits[label]), most) for label in range(n_labels)]
    sizes = [len(table[0]) for table in tables]
    threshold, hits, fired = (np.concatenate([table[part] for table in tables]) for part in range(3))
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chosen = start[:-1] + np.array([table[3] for table in tables], dtype=np.int64)
    return CutTables(start, threshold, hits, fired, chosen, truth.positives())


def _tabulate(
    score: FloatArray, truth: Truth, label: int, limit: float, most: int
) -> tuple[DoubleArray, DoubleArray, DoubleArray, int]:
    """Tabulate one label: thresholds, hits, fired, and the line of the given threshold."""
    counted = np.ones(len(score), bool) if truth.counted is None else truth.counted
    rows = np.flatnonzero(counted if truth.y_known is None else counted & truth.y_known[:, label])
    rows = rows[np.argsort(score[rows], kind="stable")]
    value = score[rows].astype(np.float64)
    weight = np.ones(len(rows)) if truth.sample_weight is None else truth.sample_weight[rows] / truth.mean_weight
    first = np.flatnonzero(np.diff(value, prepend=-np.inf))  # of each distinct score
    fired = np.cumsum(weight[::-1])[::-1][first]
    hits = np.cumsum((weight * truth.y_true[rows, label])[::-1])[::-1][first]
    distinct = value[first]
    own = int(np.searchsorted(distinct, limit))  # the lowest score that the given threshold lets through
    kept = _choose_lines(hits, fired, own, most)
    chosen = int(np.searchsorted(kept, own))
    lower = np.concatenate([[-np.inf], distinct])[kept]
    threshold = np.array([_short_number(low, high) for low, high in zip(lower, distinct[kept], strict=True)])
    threshold, hits, fired = np.append(threshold, np.inf), np.append(hits[kept], 0.0), np.append(fired[kept], 0.0)
    if chosen < len(kept):
        threshold[chosen] = max(limit, 0.0)
    return threshold, hits, fired, chosen


def _choose_lines(hits: DoubleArray, fired: DoubleArray, own: int, most: int) -> IntArray:
    """Pick the distinct scores that get a line: the lowest, the highest, that of the given threshold, and others."""
    n_scores = len(hits)
    if n_scores <= most:
        return np.arange(n_scores)
    by_recall = np.searchsorted(-hits, -np.linspace(hits[0], 0.0, most // 2, endpoint=False))
    by_number = np.searchsorted(-fired, -np.geomspace(fired[0], fired[-1], most - most // 2))
    picked = np.concatenate([by_recall, by_number, [0, n_scores - 1, own]])
    return np.unique(picked[picked < n_scores]).astype(np.int64)


def _short_number(low: float, high: float) -> float:
    """Return the number with the fewest digits in (low, high] of those below `high`: both ends decide alike."""
    for digits in range(1, 17):
        short = np.floor(high * 10.0**digits) / 10.0**digits
        if low < short <= high:
            return float(short)
    return high
