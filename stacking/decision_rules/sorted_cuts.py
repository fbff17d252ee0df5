"""Cuts between distinct scores of each label, with what fires above them: the ground every exact rule stands on.

Only cuts that can be optimal are sorted. A label with p positives whose cut fires n entries gains at most 2 p − F n
for a micro-F1 of F; so with any reachable F in hand, entries beyond the top 2 p / F of a label need no sorting. That F
comes from one pass of histograms over the scores' leading bits. The pruning loses nothing: bins are separated by
distinct scores.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, IntArray
from stacking.decision_rules.labeled_scores import LabeledScores

FINE_LABELS = 500
"""Up to so many labels bins are fine; adding up fine histograms of more costs more than they prune (measured).
Bins decide what is sorted, not which cut is best, so only speed depends on it in the exact rules."""
MOST_COARSER = 4
"""One bin an octave at least: the finest have 2**4."""


@dataclass(frozen=True)
class ScoreHistograms:
    """Histograms of each label's scores; they add up over shards of rows.

    Parameters
    ----------
    entries : ndarray of int64, shape (n_labels, n_bins)
        Number of entries per bin, ascending by score.
    mass : ndarray of float64, shape (n_labels, n_bins)
        Their weight.
    positive : ndarray of float64, shape (n_labels, n_bins)
        Weight of the positives among them.
    missed : ndarray of float64, shape (n_labels,)
        Weight of the positives that no threshold can reach (`LabeledScores.missed`); they are in no bin.
    shift : int
        Scores that differ in so many last bits only share a bin.
    """

    entries: IntArray
    mass: DoubleArray
    positive: DoubleArray
    missed: DoubleArray
    shift: int

    @property
    def positives(self) -> DoubleArray:
        """The weight of each label's positives, missed ones included, shape (n_labels,)."""
        return self.positive.sum(axis=1) + self.missed

    def __add__(self, other: "ScoreHistograms") -> "ScoreHistograms":
        """Merge with the histograms of other rows."""
        sums = (self.entries + other.entries, self.mass + other.mass, self.positive + other.positive)
        return ScoreHistograms(*sums, self.missed + other.missed, self.shift)

    def pooled(self) -> "ScoreHistograms":
        """Add all labels up.

        Returns
        -------
        ScoreHistograms
            Those of all cells as one label.
        """
        entries, mass, positive = (part.sum(axis=0, keepdims=True) for part in (self.entries, self.mass, self.positive))
        return ScoreHistograms(entries, mass, positive, self.missed.sum(keepdims=True), self.shift)

    def above_edges(self) -> tuple[DoubleArray, DoubleArray]:
        """Return the weight of positives and of all entries at or above each bin's lower edge, highest bin first.

        Returns
        -------
        tuple of ndarray of float64, shape (n_labels, n_bins)
            Hits and fired.
        """
        return np.cumsum(self.positive[:, ::-1], axis=1), np.cumsum(self.mass[:, ::-1], axis=1)

    def reachable_micro_f1(self, beta: float = 1.0) -> float:
        """Return the best micro-F-beta of thresholds at bin edges, by Dinkelbach's iteration.

        Parameters
        ----------
        beta : float, default 1.0
            Above 1 recall weighs more, below 1 precision.

        Returns
        -------
        float
            A value that some thresholds reach, so a lower bound of the optimum; 0 without positives.
        """
        hits, fired = self.above_edges()
        positives = float(hits[:, -1].sum() + self.missed.sum())
        value = 0.0
        square = beta * beta
        while True:
            gain = (1.0 + square) * hits - value * fired
            best = gain.argmax(axis=1)[:, None]
            used = np.take_along_axis(gain, best, axis=1) > 0
            all_hits = float(np.take_along_axis(hits, best, axis=1)[used].sum())
            all_fired = float(np.take_along_axis(fired, best, axis=1)[used].sum())
            reached = (1.0 + square) * all_hits / (square * positives + all_fired) if positives else 0.0
            if not reached > value:
                return value
            value = reached


@dataclass(frozen=True)
class SortedCuts:
    """The cuts of every label that gain a positive, highest score first, labels one after the other.

    Parameters
    ----------
    start : ndarray of int64, shape (n_labels + 1,)
        Where each label's cuts begin.
    threshold : ndarray of float64, shape (n_cuts,)
        Halfway between the lowest score above the cut and the next lower one, so that float32 and float64 comparisons
        agree.
    hits : ndarray of float64, shape (n_cuts,)
        Weight of the positives at or above the cut.
    fired : ndarray of float64, shape (n_cuts,)
        Weight of all entries at or above the cut.
    positives : ndarray of float64, shape (n_labels,)
        Weight of each label's positives.
    """

    start: IntArray
    threshold: DoubleArray
    hits: DoubleArray
    fired: DoubleArray
    positives: DoubleArray

    def thresholds(self, chosen: IntArray) -> DoubleArray:
        """Return the thresholds of the chosen cuts.

        Parameters
        ----------
        chosen : ndarray of int, shape (n_labels,)
            One cut per label, −1 for never.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            Thresholds, +inf for never.
        """
        result = np.full(len(chosen), np.inf)
        result[chosen >= 0] = self.threshold[chosen[chosen >= 0]]
        return result

    def micro_f1(self, chosen: IntArray, beta: float = 1.0) -> float:
        """Return the micro-F-beta that the chosen cuts reach.

        Parameters
        ----------
        chosen : ndarray of int, shape (n_labels,)
            One cut per label, −1 for never.
        beta : float, default 1.0
            Above 1 recall weighs more, below 1 precision.

        Returns
        -------
        float
            Micro-F-beta in [0, 1]; 0 without positives.
        """
        used, square = chosen[chosen >= 0], beta * beta
        total = square * self.positives.sum() + self.fired[used].sum()
        return float((1.0 + square) * self.hits[used].sum() / total) if total > 0 else 0.0


def count_scores(scores: LabeledScores) -> ScoreHistograms:
    """Count each label's scores into histograms of their leading bits.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.

    Returns
    -------
    ScoreHistograms
        Histograms of entries, weight and positives.

    Notes
    -----
    O(n_samples · n_labels), one pass in row order.
    """
    from stacking.kernels import cuts as _kernels

    shift = _histogram_shift(scores.n_labels)
    shape = (scores.n_labels, ((_kernels.ONE_PATTERN - _kernels.LOWEST_PATTERN) >> shift) + 1)
    entries = np.zeros(shape, dtype=np.int64)
    weighted = len(scores.sample_weight) > 0
    mass = np.zeros(shape if weighted else (0, 0))
    positive = np.zeros(shape)
    arrays = (scores.y_score.view(np.uint32), scores.y_true, scores.y_known, scores.sample_weight)
    _kernels.score_histograms(*arrays, entries, mass, positive, shift)
    mass = mass if weighted else entries.astype(np.float64)
    return ScoreHistograms(entries, mass, positive, scores.missed, shift)


def _histogram_shift(n_labels: int) -> int:
    """Return how many low bits a bin ignores: 16 bins an octave, fewer where many labels would make many bins."""
    from stacking.kernels import cuts as _kernels

    # Twice as many labels, half as many bins of each: the histograms of all stay about as large.
    coarser = math.ceil(math.log2(max(1.0, n_labels / FINE_LABELS)))
    return int(_kernels.FINEST_SHIFT) + min(coarser, MOST_COARSER)


def sort_cuts(scores: LabeledScores, histograms: ScoreHistograms, limit: DoubleArray) -> SortedCuts:
    """Sort the cuts that can be optimal.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    histograms : ScoreHistograms
        Their histograms.
    limit : ndarray of float64, shape (n_labels,)
        Weight of fired entries beyond which a cut of the label cannot be optimal; inf sorts them all, 0 none.

    Returns
    -------
    SortedCuts
        The cuts; each label's reach at least up to its limit.

    Notes
    -----
    O(n_samples · n_labels) to gather, plus O(k log k) to sort the k entries within the limits.
    """
    return sort_cuts_of_blocks([scores], histograms, limit)


def sort_cuts_of_blocks(blocks: Iterable[LabeledScores], histograms: ScoreHistograms, limit: DoubleArray) -> SortedCuts:
    """Sort the cuts of rows that come block by block; equal to those of all rows at once.

    Parameters
    ----------
    blocks : iterable of LabeledScores
        Scores and truth of some rows each; read once, one block held at a time.
    histograms : ScoreHistograms
        The sum of the blocks' histograms.
    limit : ndarray of float64, shape (n_labels,)
        As `sort_cuts` takes it, for all blocks together.

    Returns
    -------
    SortedCuts
        The cuts of all rows.

    Notes
    -----
    Memory: eight bytes for each entry within the limits, besides one block.
    """
    return SortedEntries.gather(blocks, histograms, limit).cuts(histograms.positives)


@dataclass(frozen=True)
class SortedEntries:
    """The entries that can matter, sorted by score within each label: cuts are read off them.

    Parameters
    ----------
    packed : ndarray of uint64, shape (n_entries,)
        Score, place and truth of each entry in one number, ascending within a label.
    start : ndarray of int64, shape (n_labels + 1,)
        Where each label's entries begin.
    floors : ndarray of uint32, shape (n_labels,)
        Bit pattern of the lowest score that was looked at.
    weight : ndarray of float64, shape (n_rows,), or (0,)
        Weights of the rows; the empty array stands for 1 each.
    cell_bits : int, default 0
        Where all cells are one pool: how many bits of the place are the label, below the row.
    """

    packed: npt.NDArray[np.uint64]
    start: IntArray
    floors: npt.NDArray[np.uint32]
    weight: DoubleArray
    cell_bits: int = 0

    @classmethod
    def gather(
        cls, blocks: Iterable[LabeledScores], histograms: ScoreHistograms, limit: DoubleArray
    ) -> "SortedEntries":
        """Gather and sort, as `sort_cuts_of_blocks` takes its arguments.

        Parameters
        ----------
        blocks : iterable of LabeledScores
            Scores and truth of some rows each.
        histograms : ScoreHistograms
            The sum of the blocks' histograms.
        limit : ndarray of float64, shape (n_labels,)
            Weight of fired entries to reach down to.

        Returns
        -------
        SortedEntries
            Of all rows.

        Raises
        ------
        ValueError
            If there are more places than an entry can name.
        """
        from stacking.kernels import cuts as _kernels

        floors, kept = _kernels.lowest_floors(histograms.entries, histograms.mass, limit, histograms.shift)
        start = np.concatenate([[0], np.cumsum(kept)])
        packed, fill = np.empty(start[-1], np.uint64), start[:-1].copy()
        weights, first_row, cell_bits = [], 0, 0
        for block in blocks:
            cells, n_rows = block.row_cells, len(block.y_score) // block.row_cells
            cell_bits = (cells - 1).bit_length()
            _check_places(first_row + n_rows, cell_bits)
            arrays = (block.y_score.view(np.uint32), block.y_true, block.y_known, block.sample_weight)
            _kernels.gather_entries(*arrays, floors, first_row, cells, cell_bits, packed, fill)
            weights.append(block.sample_weight[::cells].copy())  # of the rows of a pool, not of its cells
            first_row += n_rows
        _kernels.sort_short_segments(packed, start)
        for label in np.flatnonzero(kept > _kernels.SHORT).tolist():
            packed[start[label] : start[label + 1]].sort()
        return cls(packed, start, floors, np.concatenate(weights), cell_bits)

    def within(self, limit: DoubleArray) -> "SortedEntries":
        """Drop what was gathered beyond the limits because bins are whole: where labels are many, most of it.

        Parameters
        ----------
        limit : ndarray of float64, shape (n_labels,)
            Weight of fired entries to reach down to.

        Returns
        -------
        SortedEntries
            These ones must not be used any more: both are sorted in one array.
        """
        from stacking.kernels import cuts as _kernels

        start = _kernels.keep_within(self.packed, self.start, self.weight, self.cell_bits, limit)
        packed, floors, filled = self.packed[: start[-1]].copy(), self.floors.copy(), np.diff(start) > 0
        floors[filled] = (packed[start[:-1][filled]] >> np.uint64(_kernels.ROW_SHIFT)).astype(np.uint32)
        return SortedEntries(packed, start, floors, self.weight, self.cell_bits)

    def cuts(self, positives: DoubleArray) -> SortedCuts:
        """Read off the cuts.

        Parameters
        ----------
        positives : ndarray of float64, shape (n_labels,)
            Weight of each label's positives in these rows.

        Returns
        -------
        SortedCuts
            Of every label.
        """
        from stacking.kernels import cuts as _kernels

        cut_start, score, lower, hits, fired = _kernels.cumulate_cuts(
            self.packed, self.start, self.weight, self.cell_bits
        )
        threshold = (score.view(np.float32).astype(np.float64) + lower.view(np.float32)) / 2.0
        return SortedCuts(cut_start, threshold, hits, fired, positives)


def _check_places(n_rows: int, cell_bits: int) -> None:
    """Refuse more rows than entries can name."""
    from stacking.kernels.cuts import PLACE_BITS

    most = 1 << (PLACE_BITS - cell_bits)
    if n_rows > most:
        raise ValueError(f"y_score must hold at most {most:,} rows of so many labels to be sorted: tune on fewer rows.")
