"""Cyclic optimization of micro-F1, one label after the other: the classical baseline, which may stop too early."""

import numpy as np
import numpy.typing as npt

from stacking._checks import check_at_least
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import count_scores, sort_cuts


@register("cyclic", average="micro-F1")
def tune_cyclic(scores: LabeledScores, max_cycles: int = 30) -> npt.NDArray[np.float64]:
    """Improve micro-F1 label by label from the labels' own best F1 until a whole cycle changes nothing.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    max_cycles : int, default 30
        Most rounds over all labels, at least 1.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores, +inf for never.

    Raises
    ------
    ValueError
        If `max_cycles` is below 1.

    Notes
    -----
    All cuts are tried, against running counts: O(n_samples · n_labels) per cycle after one full sort.

    References
    ----------
    R.-E. Fan, C.-J. Lin, "A study on threshold selection for multi-label classification", National Taiwan University,
    2007, Algorithm 2.
    """
    from stacking.kernels import cuts as _kernels

    check_at_least(1, max_cycles=max_cycles)
    histograms = count_scores(scores)
    cuts = sort_cuts(scores, histograms, np.where(histograms.positives > 0, np.inf, 0.0))
    positives = float(cuts.positives.sum())
    if positives == 0.0:
        return np.full(scores.n_labels, np.inf)
    chosen, _ = _kernels.best_f1_cuts(cuts.start, cuts.hits, cuts.fired, cuts.positives, 1.0)
    _kernels.cycle_cuts(cuts.start, cuts.hits, cuts.fired, positives, chosen, max_cycles)
    return cuts.thresholds(chosen)
