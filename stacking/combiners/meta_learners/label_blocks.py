"""Labels in blocks, each with the labels that are nearest to it: where labels are too many to explain each by all.

What all labels say about one costs products and inverses of labels by labels: memory in their square, time in their
cube. Beyond `MOST_LABELS` the labels are dealt into blocks of those that go together, and every block is learned with
its nearest other labels beside it, which serve as context only. Time and memory then grow linearly with the labels.

Two labels are near where one tells about the other: by their truths, measured by the log-likelihood ratio of their
co-occurrence (T. Dunning, "Accurate methods for the statistics of surprise and coincidence", Computational Linguistics
19, 1993), which, unlike correlation, does not take one chance coincidence of rare labels for a tie; and by the members'
mean logit of either and the truth of the other, as members confuse labels that look alike. Labels whose logits err
together are near as well: the one's error tells the other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.links import logit
from stacking.process.deadline import check_deadline

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet

MOST_LABELS = 1_500
"""Labels that are learned as one block."""

BLOCK_LABELS, NEIGHBOR_LABELS = 256, 256
"""Labels that a block answers at most, and those beside it that only serve as context. What the context of all labels
gains in log loss over own logits, blocks of 57 labels keep to .81, .90 and .95 with 28, 57 and 100 neighbors on the
simulated contest (5,520 rows, 228 labels), and to .56, .72 and .86 on photos of fashion (5,000 rows, 189 labels). As
many neighbors as labels cost twice the work of none."""

_LINKS = 64
"""Nearest labels that are remembered of each label."""

_ERROR_ROWS = 4_096
"""Rows, evenly spaced, on which the errors of the logits are compared; a correlation of .1 is plain on so many."""

_CHUNK = 256
"""Labels whose ties to all others are weighed at a time; only memory depends on it."""

_BLOCK_CELLS = 2**25
"""Cells of scores that are read at a time; only memory and the rounding of sums depend on it."""


@dataclass(frozen=True)
class LabelBlock:
    """Labels that are learned together.

    Attributes
    ----------
    targets : ndarray of int
        Positions of the labels that the block answers, ascending.
    neighbors : ndarray of int
        Positions of the labels that only serve as context, nearest first.
    """

    targets: IndexArray
    neighbors: IndexArray

    @property
    def labels(self) -> IndexArray:
        """Return all its labels, the targets first."""
        return np.concatenate([self.targets, self.neighbors])


@dataclass(frozen=True)
class _Links:
    """The nearest labels of each label."""

    labels: IndexArray  # (n_labels, n_links)
    strengths: DoubleArray  # (n_labels, n_links), 0 for a label that is no nearer than chance makes it

    def add_to(self, gains: DoubleArray, label: int) -> None:
        """Add to each nearest label of a label how near it is."""
        gains[self.labels[label]] += self.strengths[label]


def deal_labels(predictions: PredictionSet) -> list[LabelBlock]:
    """Deal the labels into blocks of those that go together.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth; all rows count.

    Returns
    -------
    list of LabelBlock
        Every label is the target of one.

    Notes
    -----
    O(n_samples · n_labels · (n_models + labels of a row) + n_labels²) in time, 8 · n_labels² bytes.
    """
    n_labels = predictions.n_labels
    links = _find_links(predictions)
    n_blocks = -(-n_labels // BLOCK_LABELS)
    sizes = np.full(n_blocks, n_labels // n_blocks)
    sizes[: n_labels % n_blocks] += 1
    free = np.ones(n_labels, dtype=bool)
    importance = links.strengths.sum(axis=1)
    blocks = []
    for size in sizes.tolist():
        gains = np.zeros(n_labels)
        chosen = []
        for _ in range(size):
            # Where nothing is near to what is there, the label with the most ties begins anew.
            best = int(np.argmax(np.where(free, gains, -1.0)))
            if gains[best] <= 0.0:
                best = int(np.argmax(np.where(free, importance, -1.0)))
            free[best] = False
            chosen.append(best)
            links.add_to(gains, best)
        targets = np.sort(np.array(chosen, dtype=np.intp))
        gains[targets] = 0.0
        nearest = np.argsort(-gains, kind="stable")[:NEIGHBOR_LABELS]
        blocks.append(LabelBlock(targets, nearest[gains[nearest] > 0.0]))
    return blocks


def _find_links(predictions: PredictionSet) -> _Links:
    """Find each label's nearest labels."""
    ties = _Ties.measure(predictions)
    n_labels = len(ties.counts)
    n_links = min(_LINKS, n_labels - 1)
    labels = np.empty((n_labels, n_links), np.intp)
    strengths = np.empty((n_labels, n_links))
    for begin in range(0, n_labels, _CHUNK):
        check_deadline()
        some = slice(begin, min(begin + _CHUNK, n_labels))
        found = ties.of(some)
        nearest = np.argpartition(-found, n_links - 1, axis=1)[:, :n_links]
        labels[some], strengths[some] = nearest, np.take_along_axis(found, nearest, axis=1)
    return _Links(labels, strengths)


@dataclass(frozen=True)
class _Ties:
    """What tells how near labels are."""

    total: float  # weight of all rows
    counts: DoubleArray  # (n_labels,) of positives
    together: Any  # (n_labels, n_labels), sparse: rows with both
    to_truth: FloatArray  # (n_labels, n_labels): correlation of each truth (row) with each logit (column)
    errors: FloatArray  # (n_rows, n_labels): of the logits in some rows, in columns of mean 0 and length 1

    @classmethod
    def measure(cls, predictions: PredictionSet) -> _Ties:
        """Go through the rows once."""
        from scipy.sparse import csr_matrix

        truth, n_labels, n_samples = predictions.truth, predictions.n_labels, predictions.n_samples
        weight = np.ones(n_samples) if truth.sample_weight is None else truth.sample_weight / truth.mean_weight
        present = csr_matrix(truth.y_true, dtype=np.float32)
        weights = np.repeat(weight, np.diff(present.indptr)).astype(np.float32)
        weighted = csr_matrix((weights, present.indices, present.indptr), shape=present.shape).T.tocsr()
        sums, squares = np.zeros((2, n_labels))
        where_true = np.zeros((n_labels, n_labels), np.float32)
        thinned = np.unique(np.linspace(0, n_samples - 1, min(n_samples, _ERROR_ROWS)).astype(np.intp))
        errors = np.empty((len(thinned), n_labels), np.float32)
        for rows, scores in predictions.iter_rows(max(1, _BLOCK_CELLS // (predictions.n_models * n_labels))):
            check_deadline()
            mean = _mean_logits(scores, predictions.covers)
            sums += weight[rows] @ mean
            squares += weight[rows] @ mean**2
            where_true += weighted[:, rows] @ mean
            within = slice(*np.searchsorted(thinned, [rows.start, rows.stop]))
            errors[within] = mean[thinned[within] - rows.start]
        counts, total = np.asarray(weighted.sum(axis=1), dtype=np.float64).ravel(), float(weight.sum())
        _take_out(errors, truth.y_true[thinned])
        _correlate(where_true, counts, sums, squares, total)
        return cls(total, counts, (weighted @ present).tocsr(), where_true, errors)

    def of(self, some: slice) -> DoubleArray:
        """Return how near all labels are to some, 0 where chance alone makes labels as near: (n_some, n_labels)."""
        labels, n_labels = np.arange(some.start, some.stop), len(self.counts)
        # Chance makes less than one among n_labels² pairs as near.
        least = 6.0 * np.log(n_labels)
        ties = _likelihood_ratio(
            self.together[some].toarray().astype(np.float64), self.counts[some, None], self.counts, self.total
        )
        ties += self.total * self.to_truth[some].astype(np.float64) ** 2
        ties += self.total * self.to_truth[:, some].T.astype(np.float64) ** 2
        ties[ties < least] = 0.0
        alike = (self.errors[:, some].T @ self.errors).astype(np.float64) ** 2
        alike[alike * len(self.errors) < least] = 0.0
        # What a logit says about its own truth is the more the less of its error is left: by the share r².
        own = self.total * np.diagonal(self.to_truth).astype(np.float64) ** 2
        ties += alike * (own[some, None] + own)
        ties[labels - some.start, labels] = 0.0
        return ties


def _mean_logits(scores: FloatArray, covers: BoolArray) -> FloatArray:
    """Return the mean logit over the members that cover each label."""
    shares = covers / np.maximum(covers.sum(axis=0), 1)
    mean = np.zeros(scores.shape[1:], np.float32)
    for one, share in zip(scores, shares.astype(np.float32), strict=True):
        mean += np.nan_to_num(logit(one)) * share
    return mean


def _take_out(values: FloatArray, truth: BoolArray) -> None:
    """Leave of each column what its own truth does not explain, at mean 0 and length 1."""
    for column, is_true in zip(values.T, truth.T, strict=True):
        for rows in (is_true, ~is_true):
            if rows.any():
                column[rows] -= column[rows].mean()
        column /= max(float(np.linalg.norm(column)), 1e-9)


def _correlate(
    where_true: FloatArray, counts: DoubleArray, sums: DoubleArray, squares: DoubleArray, total: float
) -> None:
    """Turn sums over the rows that have a label into correlations with its truth, in place."""
    means = sums / total
    deviations = np.sqrt(np.maximum(squares / total - means**2, 0.0))
    share = counts / total
    spread = np.sqrt(np.maximum(share * (1.0 - share), 0.0))
    for begin in range(0, len(where_true), _CHUNK):
        some = slice(begin, begin + _CHUNK)
        size = np.maximum(total * np.outer(spread[some], deviations), 1e-9)
        where_true[some] = (where_true[some] - np.outer(counts[some], means)) / size


def _likelihood_ratio(both: DoubleArray, one: DoubleArray, other: DoubleArray, total: float) -> DoubleArray:
    """Return 2 Σ observed · log(observed / expected) over the four cells of each pair of labels."""
    found = np.zeros(both.shape)
    absent, other_absent = total - one, total - other
    cells = (
        (both, one * other),
        (one - both, one * other_absent),
        (other - both, absent * other),
        (total - one - other + both, absent * other_absent),
    )
    for observed, expected in cells:
        ratio = np.maximum(observed, 1e-300) * total / np.maximum(expected, 1e-300)
        found += np.where(observed > 1e-9, observed * np.log(ratio), 0.0)
    return 2.0 * found
