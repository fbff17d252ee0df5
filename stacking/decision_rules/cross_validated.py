"""Per-label or single threshold, label by label, whichever wins on rows that did not tune it."""

import operator
from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.exact_micro_f1 import cut_exactly
from stacking.decision_rules.labelled_scores import LabelledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import ScoreHistograms, count_scores
from stacking.folds import deal_folds
from stacking.ties import exceeds

__all__ = ["tune_cross_validated", "tune_cross_validated_over_blocks"]

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
ReadBlocks = Callable[[BoolArray], Iterable[LabelledScores]]


@register("cross-validated", average="micro-F1")
def tune_cross_validated(
    scores: LabelledScores,
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
    scores : LabelledScores
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


def tune_cross_validated_over_blocks(read_blocks: ReadBlocks, folds: IntArray, margin: float = 1.0) -> Float64Array:
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
    Every row is read 2 · n_folds + 2 times; memory holds histograms, a block, and the entries that can matter.
    """
    masks = [folds == fold for fold in np.unique(folds[folds >= 0])]
    parts = [reduce(operator.add, map(count_scores, read_blocks(mask))) for mask in masks]
    everything = _Rows(read_blocks, folds >= 0, reduce(operator.add, parts))
    single, _ = everything.cut_pooled()
    if len(masks) < 2:
        return single
    advantages = []
    for number, mask in enumerate(masks):
        others = [part for other, part in enumerate(parts) if other != number]
        tuning = _Rows(read_blocks, (folds >= 0) & ~mask, reduce(operator.add, others))
        shared, price = tuning.cut_pooled()
        own = tuning.cut_labels()
        more = [np.subtract(block.counts_at(own), block.counts_at(shared)) for block in read_blocks(mask)]
        more_hits, more_fired = np.sum(more, axis=0)
        earned, paid = 2.0 * more_hits, price * more_fired
        advantages.append(np.where(exceeds(np.abs(earned - paid), 0.0, scale=earned), earned - paid, 0.0))
    mean = np.mean(advantages, axis=0)
    error = np.std(advantages, axis=0, ddof=1) / np.sqrt(len(advantages))
    # A gain in a single fold equals its standard error exactly: not more, whatever rounding says.
    return np.where(exceeds(mean, margin * error), everything.cut_labels(), single)


class _Rows:
    """Some of the rows, with their histograms."""

    def __init__(self, read_blocks: ReadBlocks, kept: BoolArray, histograms: ScoreHistograms) -> None:
        self.read_blocks = read_blocks
        self.kept = kept
        self.histograms = histograms

    def cut_pooled(self) -> tuple[Float64Array, float]:
        """Return the best single threshold, for each label, and the micro-F1 that it reaches."""
        pooled = (block.pooled() for block in self.read_blocks(self.kept))
        threshold, value = cut_exactly(self.histograms.pooled(), pooled)
        return np.full(len(self.histograms.positives), threshold[0]), value

    def cut_labels(self) -> Float64Array:
        """Return the best thresholds per label."""
        return cut_exactly(self.histograms, self.read_blocks(self.kept))[0]
