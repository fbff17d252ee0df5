"""Per-label or single threshold, label by label, whichever wins on rows that did not tune it."""

import operator
from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.decision_rules.exact_micro_f1 import cut_exactly
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import (
    ScoreHistograms,
    SortedCuts,
    SortedEntries,
    count_scores,
    sort_cuts_of_blocks,
)
from stacking.folds import deal_folds
from stacking.ties import exceeds

SPARE = 1.3
"""How much lower than all rows need is sorted, so that most parts of them need no sort of their own;
only speed depends on it."""

ReadBlocks = Callable[[BoolArray], Iterable[LabeledScores]]


@register("cross-validated", average="micro-F1")
def tune_cross_validated(
    scores: LabeledScores,
    n_splits: int = 5,
    margin: float = 1.0,
    random_state: int | np.random.Generator | None = 0,
) -> npt.NDArray[np.float64]:
    """Choose for each label its exact or the single threshold by the gain on held-out folds.

    Both are tuned on the other folds and earn 2 TP − F · PP on the fold left out, with F the single threshold's
    micro-F1 on the tuning rows. A label gets its own threshold only if that earned more by `margin` standard errors
    over the folds; then both are tuned again on all rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth; groups share a fold.
    n_splits : int, default 5
        Number of stratified folds, at least 2; fewer are used if there are fewer samples or groups.
    margin : float, default 1.0
        Standard errors by which a label's own threshold must win, at least 0; less follows noise more.
    random_state : int, Generator or None, default 0
        Seed of the folds.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.

    Raises
    ------
    ValueError
        If `n_splits` is below 2 or `margin` is negative.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative: got {margin}.")
    if n_splits < 2:
        raise ValueError(f"n_splits must be at least 2: got {n_splits}.")
    folds = deal_folds(scores.truth, n_splits, random_state=random_state)
    return tune_cross_validated_over_blocks(scores.iter_blocks, folds, margin)


def tune_cross_validated_over_blocks(read_blocks: ReadBlocks, folds: IndexArray, margin: float = 1.0) -> DoubleArray:
    """Choose the same thresholds for rows that come block by block.

    Parameters
    ----------
    read_blocks : callable
        Takes a mask of rows, returns them in blocks, in their order.
    folds : ndarray of int, shape (n_samples,)
        The fold of each row, −1 for rows that do not count.
    margin : float, default 1.0
        As `tune_cross_validated` takes it.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.

    Notes
    -----
    Every row is read four times, and once more for each part whose optimum lies lower than what was sorted for all;
    memory holds histograms, a block, and 16 bytes for each entry that can matter.
    """
    masks = [folds == fold for fold in np.unique(folds[folds >= 0])]
    parts = [reduce(operator.add, map(count_scores, read_blocks(mask))) for mask in masks]
    kept, whole = folds >= 0, reduce(operator.add, parts)
    rows = _Rows(read_blocks, kept, whole)
    single, _ = rows.cut_pooled(kept, whole)
    if len(masks) < 2:
        return single
    advantages = []
    for number, mask in enumerate(masks):
        others = [part for other, part in enumerate(parts) if other != number]
        tuning, counted = kept & ~mask, reduce(operator.add, others)
        shared, price = rows.cut_pooled(tuning, counted)
        own = rows.cut_labels(tuning, counted)
        more = [np.subtract(block.counts_at(own), block.counts_at(shared)) for block in read_blocks(mask)]
        more_hits, more_fired = np.sum(more, axis=0)
        earned, paid = 2.0 * more_hits, price * more_fired
        advantages.append(np.where(exceeds(np.abs(earned - paid), 0.0, scale=earned), earned - paid, 0.0))
    mean = np.mean(advantages, axis=0)
    error = np.std(advantages, axis=0, ddof=1) / np.sqrt(len(advantages))
    # A gain in a single fold equals its standard error exactly: not more, whatever rounding says.
    return np.where(exceeds(mean, margin * error), rows.cut_labels(kept, whole), single)


class _Rows:
    """Some of the rows, with their histograms; sorted once for all parts of them."""

    def __init__(self, read_blocks: ReadBlocks, kept: BoolArray, histograms: ScoreHistograms) -> None:
        self.read_blocks = read_blocks
        self.kept = kept
        self.histograms = histograms
        self.n_labels = len(histograms.positives)
        self.labels = self._sort(histograms, lambda: read_blocks(kept))
        self.pool = self._sort(histograms.pooled(), lambda: (block.pooled() for block in read_blocks(kept)))

    def _sort(self, histograms: ScoreHistograms, read: Callable[[], Iterable[LabeledScores]]) -> SortedEntries | None:
        """Sort what can matter to any part of the rows, with some to spare; None without positives."""
        price = histograms.reachable_micro_f1()
        if price == 0.0:
            return None
        return SortedEntries.gather(read(), histograms, SPARE * 2.0 * histograms.positives / price)

    def cut_pooled(self, part: BoolArray, histograms: ScoreHistograms) -> tuple[DoubleArray, float]:
        """Return the best single threshold of a part, for each label, and the micro-F1 that it reaches."""
        cells = np.repeat(part[self.kept], self.n_labels)

        def sort(limit: DoubleArray) -> SortedCuts:
            found = None if self.pool is None else self.pool.of_rows(cells, pooled, limit)
            blocks = (block.pooled() for block in self.read_blocks(part))
            return sort_cuts_of_blocks(blocks, pooled, limit) if found is None else found.cuts(pooled.positives)

        pooled = histograms.pooled()
        threshold, value = cut_exactly(pooled, sort)
        return np.full(self.n_labels, threshold[0]), value

    def cut_labels(self, part: BoolArray, histograms: ScoreHistograms) -> DoubleArray:
        """Return the best thresholds per label of a part."""

        def sort(limit: DoubleArray) -> SortedCuts:
            found = None if self.labels is None else self.labels.of_rows(part[self.kept], histograms, limit)
            if found is None:
                return sort_cuts_of_blocks(self.read_blocks(part), histograms, limit)
            return found.cuts(histograms.positives)

        return cut_exactly(histograms, sort)[0]
