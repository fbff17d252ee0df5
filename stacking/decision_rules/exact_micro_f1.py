"""Per-label thresholds with the highest micro-F1 that any thresholds reach: the global optimum.

Micro-F1 of thresholds t is 2 Σ_l TP_l(t_l) / (P + Σ_l PP_l(t_l)), a ratio of sums over labels. Dinkelbach's iteration
solves it: for a price F, each label alone maximizes 2 TP_l − F · PP_l over its own cuts; the micro-F1 reached is the
next price. It rises until it stops, in three to five rounds, at the global optimum (coordinate ascent stops below it
in a quarter of tiny random cases).
"""

import operator
from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import ScoreHistograms, SortedCuts, count_scores, sort_cuts_of_blocks
from stacking.metrics.named.of_decisions import check_beta


@register("exact-micro-f1", average="micro-F1")
def tune_exact_micro_f1(scores: LabeledScores, beta: float = 1.0) -> npt.NDArray[np.float64]:
    """Choose the per-label thresholds with the globally best micro-F1 on these rows.

    A label whose predictions would lower micro-F1 at any cut, or without positives, is never predicted (+inf). Below
    about 2,000 rows per-label thresholds overfit; ``"shrunk"`` and ``"cross-validated"`` are the careful relatives.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    beta : float, default 1.0
        Maximize micro-F-beta: above 1 recall weighs more, below 1 precision; positive, finite.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores, +inf for never.

    Raises
    ------
    ValueError
        If `beta` is out of range.

    Notes
    -----
    O(n_samples · n_labels) for two passes, plus sorting about 2 · positives / F entries. Equal scores are never cut
    apart; among equally good cuts the one that fires least wins.

    References
    ----------
    W. Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967.
    I. Pillai, G. Fumera, F. Roli, "Threshold optimization for multi-label classifiers", Pattern Recognition 46(7),
    2013.
    """
    check_beta(beta)
    return tune_exact_over_blocks(lambda: [scores], beta)


def tune_exact_over_blocks(
    read_blocks: Callable[[], Iterable[LabeledScores]], beta: float = 1.0
) -> npt.NDArray[np.float64]:
    """Choose the same thresholds for rows that come block by block, as from a disk.

    Two passes: histograms of the scores, which add up over blocks, and then the few entries that can matter. The
    thresholds equal those of all rows at once.

    Parameters
    ----------
    read_blocks : callable
        Returns the blocks of rows, each time the same ones in the same order; called twice.
    beta : float, default 1.0
        As `tune_exact_micro_f1` takes it.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores, +inf for never.
    """
    return cut_blocks(read_blocks, beta)[0]


def cut_blocks(
    read_blocks: Callable[[], Iterable[LabeledScores]], beta: float = 1.0
) -> tuple[npt.NDArray[np.float64], float]:
    """Choose the same thresholds, and say what they reach.

    Parameters
    ----------
    read_blocks : callable
        As `tune_exact_over_blocks` takes it.
    beta : float, default 1.0
        As `tune_exact_micro_f1` takes it.

    Returns
    -------
    tuple of ndarray of float64, shape (n_labels,), and float
        Thresholds, +inf for never, and the micro-F1 they reach on these rows.
    """
    histograms = reduce(operator.add, map(count_scores, read_blocks()))
    return _cut_exactly(histograms, lambda limit: sort_cuts_of_blocks(read_blocks(), histograms, limit), beta)


def _cut_exactly(
    histograms: ScoreHistograms, sort: Callable[[npt.NDArray[np.float64]], SortedCuts], beta: float = 1.0
) -> tuple[npt.NDArray[np.float64], float]:
    """Choose thresholds where histograms are known; `sort` takes the fired weight that cuts must reach, gives cuts."""
    price = histograms.reachable_micro_f1(beta)
    if price == 0.0:
        return np.full(len(histograms.positives), np.inf), 0.0
    cuts = sort((1.0 + beta * beta) * histograms.positives / price)
    chosen, value = maximize_micro_f1(cuts, price, beta)
    return cuts.thresholds(chosen), value


def maximize_micro_f1(cuts: SortedCuts, price: float, beta: float = 1.0) -> tuple[npt.NDArray[np.int64], float]:
    """Choose the cuts with the best micro-F1 by Dinkelbach's iteration.

    Parameters
    ----------
    cuts : SortedCuts
        The cuts of every label, complete up to a fired weight of (1 + beta²) · positives / `price`.
    price : float
        A micro-F-beta that some of the cuts reach, or less.
    beta : float, default 1.0
        As `tune_exact_micro_f1` takes it.

    Returns
    -------
    tuple of ndarray of int64, shape (n_labels,), and float
        The chosen cut of each label, −1 for never, and the micro-F1.
    """
    from stacking.kernels import cuts as _kernels

    # Cuts that earn more than 0 at a price reach a higher micro-F1 than it; at the optimum none do, so the value stops.
    # (1 + β²) TP − λ PP is largest where 2 TP − 2 λ / (1 + β²) PP is, the form that the kernel maximizes.
    scale = 2.0 / (1.0 + beta * beta)
    best = _kernels.best_cuts(cuts.start, cuts.hits, cuts.fired, scale * price)
    while True:
        value = cuts.micro_f1(best, beta)
        chosen = _kernels.best_cuts(cuts.start, cuts.hits, cuts.fired, scale * value)
        if not cuts.micro_f1(chosen, beta) > value:
            return best, value
        best = chosen
