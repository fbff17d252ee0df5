"""Thresholds of many parts of the same rows from one sort: each part is read off the sorted entries by a mask of rows.

Choosing among decision rules tunes each of them without every fold in turn, and the rule ``"cross-validated"`` deals
folds of its own within each. Sorting every part anew costs ten times as much as walking one sorted list as often.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IntArray
from stacking.decision_rules.exact_micro_f1 import cut_blocks, maximize_micro_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.sorted_cuts import ScoreHistograms, SortedCuts, SortedEntries, count_scores

SPARE, SPARE_ROOT = 1.3, 3.0
"""How much lower than all rows need is sorted, so that most parts of them need no sort of their own: for `SPARE` times
the positives and `SPARE_ROOT` times their root, as a part may hold all positives of a rare label. Only speed depends on
it."""

MORE = 1.5
"""How much lower still entries are kept that whole bins of the histograms brought along. Only speed depends on it."""

ReadBlocks = Callable[[BoolArray], Iterable[LabeledScores]]
"""Takes a mask of rows, returns them in blocks, in their order."""


class SortedParts:
    """Rows whose scores are sorted once, and thresholds of any part of them.

    Parameters
    ----------
    read_blocks : callable
        Takes a mask of rows, returns them in blocks, in their order.
    kept : ndarray of bool, shape (n_samples,)
        The rows that parts are parts of.

    Notes
    -----
    Every row is read once for histograms, and twice each for the entries of the labels and of all cells pooled; after
    that a part costs one walk over the entries that can matter, about 2 · positives / F of the cells. A part whose
    optimum lies lower than what was sorted for all is read and sorted by itself. Memory: a block, and 16 bytes for each
    entry that can matter and each positive, half of them of the labels, half of all cells pooled.
    """

    def __init__(self, read_blocks: ReadBlocks, kept: BoolArray) -> None:
        self.read_blocks = read_blocks
        self.kept = kept
        self._all_kept = bool(kept.all())

    def cut_pooled(self, part: BoolArray) -> tuple[DoubleArray, float]:
        """Find the best single threshold of a part.

        Parameters
        ----------
        part : ndarray of bool, shape (n_samples,)
            Some of the kept rows.

        Returns
        -------
        tuple of ndarray of float64, shape (n_labels,), and float
            The threshold, for each label, and the micro-F1 that it reaches on these rows.
        """
        threshold, value = self._pool.cut(self._of_kept(part)) or cut_blocks(lambda: self._read_pooled(part))
        return np.full(self._n_labels, threshold[0]), value

    def cut_labels(self, part: BoolArray) -> DoubleArray:
        """Find the best thresholds per label of a part.

        Parameters
        ----------
        part : ndarray of bool, shape (n_samples,)
            Some of the kept rows.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            Thresholds, +inf for never.
        """
        return (self._labels.cut(self._of_kept(part)) or cut_blocks(lambda: self.read_blocks(part)))[0]

    def count(self, part: BoolArray, thresholds: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Count what thresholds fire in a part.

        Parameters
        ----------
        part : ndarray of bool, shape (n_samples,)
            Some of the kept rows.
        thresholds : ndarray of float64, shape (n_labels,)
            A label fires when its score is at or above its threshold.

        Returns
        -------
        tuple of ndarray of float64, shape (n_labels,)
            True positives and predicted positives, in sums of weights.
        """
        rows = self._of_kept(part)
        counted = self._labels.count(rows, thresholds)
        if counted is None and (thresholds == thresholds[0]).all():
            counted = self._pool.count(rows, thresholds)
        if counted is not None:
            return counted
        nothing = np.zeros((2, self._n_labels))
        hits, fired = sum((np.asarray(block.counts_at(thresholds)) for block in self.read_blocks(part)), nothing)
        return hits, fired

    def _of_kept(self, part: BoolArray) -> BoolArray:
        """Take the mask of the kept rows, as the entries number them."""
        return part if self._all_kept else part[self.kept]

    @property
    def _n_labels(self) -> int:
        """Number of labels."""
        return len(self._histograms.positives)

    @cached_property
    def _histograms(self) -> ScoreHistograms:
        """Of all kept rows."""
        return reduce(operator.add, map(count_scores, self.read_blocks(self.kept)))

    @cached_property
    def _labels(self) -> _Entries:
        """Each label's entries."""
        return _Entries.gather(lambda: self.read_blocks(self.kept), self._histograms)

    @cached_property
    def _pool(self) -> _Entries:
        """The entries of all cells as one label."""
        return _Entries.gather(lambda: self._read_pooled(self.kept), self._histograms.pooled())

    def _read_pooled(self, rows: BoolArray) -> Iterator[LabeledScores]:
        """Read the cells of some rows as one label."""
        for block in self.read_blocks(rows):
            yield from block.iter_pooled()


@dataclass(frozen=True)
class _Stops:
    """Where sums over sorted entries are read: the last entries of each score and of each bin that hold a positive.

    Parts may lack some of them; what they then repeat or only add negatives to is never better than the stop before.
    """

    cut: IntArray
    cut_start: IntArray
    edge: IntArray
    edge_start: IntArray

    @classmethod
    def find(cls, entries: SortedEntries, shift: int) -> _Stops:
        """Find them; of each label the highest first."""
        from stacking.kernels import cuts as _kernels

        counts = _kernels.count_stops(entries.packed, entries.start, shift)
        cut_start, edge_start = (np.concatenate([[0], np.cumsum(of)]) for of in counts)
        cut, edge = _kernels.find_stops(entries.packed, entries.start, shift, cut_start, edge_start)
        return cls(cut, cut_start, edge, edge_start)


@dataclass(frozen=True)
class _Entries:
    """Entries sorted by score within each label (or in the one pool), with what parts of the rows are read by."""

    entries: SortedEntries
    stops: _Stops
    complete: BoolArray
    below_row: IntArray
    below_label: IntArray

    @classmethod
    def gather(cls, read: Callable[[], Iterable[LabeledScores]], histograms: ScoreHistograms) -> _Entries:
        """Sort what can matter to any part of the rows, with some to spare; remember the positives below that."""
        price = histograms.reachable_micro_f1()
        unit = histograms.mass.sum() / max(histograms.entries.sum(), 1)
        spared = SPARE * histograms.positives + SPARE_ROOT * np.sqrt(histograms.positives * unit)
        limit = 2.0 * spared / price if price else np.zeros(len(spared))
        entries = SortedEntries.gather(read(), histograms, limit).within(MORE * limit)
        return cls(
            entries,
            _Stops.find(entries, histograms.shift),
            np.diff(entries.start) == histograms.entries.sum(axis=1),
            *_positives_below(read(), entries.floors),
        )

    def cut(self, part: BoolArray) -> tuple[DoubleArray, float] | None:
        """Return the best thresholds of a part and their micro-F1; None where its optimum may lie below the entries."""
        from stacking.kernels import cuts as _kernels

        stops, start, kept = self.stops, self.entries.start, part.view(np.uint8)
        packed, cell_bits = self.entries.packed, self.entries.cell_bits
        walked = (packed, start, stops.cut, stops.cut_start, stops.edge, stops.edge_start)
        sums = _kernels.sums_at_stops(*walked, self.entries.weight, kept, cell_bits)
        hits, fired, edge_hits, edge_fired, all_hits, reached = sums
        positives = all_hits + self._positives_below(part)
        if not positives.any():
            return np.full(len(positives), np.inf), 0.0
        # The cuts at the edges of bins alone give a micro-F1 that is reached, as in `exact_micro_f1._cut_exactly`.
        nowhere = np.empty(0)
        edges = SortedCuts(stops.edge_start, nowhere, edge_hits, edge_fired, positives)
        price = maximize_micro_f1(edges, 0.0)[1]
        if price == 0.0 or (~self.complete & (reached < 2.0 * positives / price)).any():
            return None
        cuts = SortedCuts(stops.cut_start, nowhere, hits, fired, positives)
        chosen, value = maximize_micro_f1(cuts, price)
        places = np.full(len(chosen), -1, dtype=np.int64)
        places[chosen >= 0] = stops.cut[chosen[chosen >= 0]]
        score, lower = _kernels.scores_around(places, packed, start, kept, cell_bits)
        threshold = (score.view(np.float32).astype(np.float64) + lower.view(np.float32)) / 2.0
        return np.where(chosen >= 0, threshold, np.inf), value

    def _positives_below(self, part: BoolArray) -> DoubleArray:
        """Add up the weight of each label's positives in a part that are not among the entries."""
        weight = part[self.below_row].astype(np.float64)
        if len(self.entries.weight):
            weight *= self.entries.weight[self.below_row]
        total = np.bincount(self.below_label, weights=weight, minlength=len(self.complete))
        return np.asarray(total, dtype=np.float64)

    def count(self, part: BoolArray, thresholds: DoubleArray) -> tuple[DoubleArray, DoubleArray] | None:
        """Count what thresholds fire in a part; None where one lies below the entries."""
        from stacking.kernels import cuts as _kernels

        pattern = _patterns_at(thresholds)
        lowest = pattern if len(pattern) == len(self.entries.floors) else pattern.min(keepdims=True)
        if (~self.complete & (lowest < self.entries.floors)).any():
            return None
        sorted_ = (self.entries.packed, self.entries.start, self.entries.weight)
        counted: Any = _kernels.count_part(*sorted_, part, pattern, self.entries.cell_bits)
        return counted[0], counted[1]


def _patterns_at(thresholds: DoubleArray) -> npt.NDArray[np.uint32]:
    """Return the bits of the smallest float32 at or above each threshold: scores compare with it as with the double."""
    narrow = thresholds.astype(np.float32)
    narrow = np.where(narrow < thresholds, np.nextafter(narrow, np.float32(np.inf)), narrow)
    return np.maximum(narrow, np.float32(0)).view(np.uint32)


def _positives_below(blocks: Iterable[LabeledScores], floors: npt.NDArray[np.uint32]) -> tuple[IntArray, IntArray]:
    """Return the rows and the labels of the positives that lie below the floors, or that no threshold can reach."""
    lowest = floors.view(np.float32).copy()
    lowest[np.isnan(lowest)] = np.inf  # `stacking.kernels.cuts.NEVER`: nothing of that label was gathered
    rows, labels, first = [], [], 0
    for block in blocks:
        below = block.y_score < lowest
        row, label = np.nonzero(block.truth.y_true & (below if block.unanswered is None else below | block.unanswered))
        rows.append((first + row) // block.row_cells)
        labels.append(label)
        first += len(block.y_score)
    return np.concatenate(rows), np.concatenate(labels)
