"""Per-label thresholds pulled toward the single one where a label has few positives."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.exact_micro_f1 import maximize_micro_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import count_scores, sort_cuts


@register("shrunk", average="micro-F1")
def tune_shrunk(scores: LabeledScores, n_pseudo_positives: float = 100.0) -> npt.NDArray[np.float64]:
    """Choose per-label thresholds for micro-F1 as if each label also had some positives drawn from all labels pooled.

    Each label maximizes 2 TP − F · PP over its own rows plus the same gain of the pooled cells, scaled to
    `n_pseudo_positives` positives. With few positives of its own a label follows the pool, so the single threshold;
    with many, its own rows decide.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    n_pseudo_positives : float, default 100
        Strength of the pull, in positives, at least 0; 0 is nearly ``"exact-micro-f1"``, infinity would be
        ``"single"``.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds; a label's own cuts, the single threshold, or +inf for never.

    Raises
    ------
    ValueError
        If `n_pseudo_positives` is negative or not finite.

    Notes
    -----
    The price F is the micro-F1 of the single threshold.
    """
    if not 0.0 <= n_pseudo_positives < np.inf:
        raise ValueError(f"n_pseudo_positives must be finite and not negative: got {n_pseudo_positives}.")
    n_pseudo_positives *= scores.truth.mean_weight  # hits and fired are sums of weights
    pooled = scores.pooled()
    pool_histogram = count_scores(pooled)
    reachable = pool_histogram.reachable_micro_f1()
    if reachable == 0.0:
        return np.full(scores.n_labels, np.inf)
    pool = sort_cuts(pooled, pool_histogram, 2.0 * pool_histogram.positives / reachable)
    best, price = maximize_micro_f1(pool, reachable)
    single = float(pool.threshold[best[0]])
    pull = n_pseudo_positives / float(pool.positives[0])
    pool_gain = pull * (2.0 * pool.hits - price * pool.fired)

    histograms = count_scores(scores)
    cuts = sort_cuts(scores, histograms, 2.0 * (histograms.positives + n_pseudo_positives) / price)
    place = np.searchsorted(-pool.threshold, -cuts.threshold, side="right") - 1
    gain = 2.0 * cuts.hits - price * cuts.fired + np.where(place >= 0, pool_gain[place], 0.0)
    # The pool is sorted no further down; its gain is at most 0 there, and not known: such cuts are left out.
    gain[cuts.threshold < pool.threshold[-1]] = -np.inf

    hits, fired = scores.counts_at(np.full(scores.n_labels, single))
    single_gain = 2.0 * hits - price * fired + pool_gain[best[0]]
    thresholds = np.where(single_gain > 0.0, single, np.inf)
    for label in range(scores.n_labels):
        own = slice(cuts.start[label], cuts.start[label + 1])
        if own.stop > own.start:
            top = int(np.argmax(gain[own]))
            if gain[own][top] > max(single_gain[label], 0.0):
                thresholds[label] = cuts.threshold[own][top]
    return thresholds
