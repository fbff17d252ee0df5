"""Each label's own best F1 (SCut), with the fall-back for labels that it would ruin (SCutFBR). A baseline.

It optimizes the macro average and wrecks micro-F1: a weak rare label reaches an F1 above zero only by firing on nearly
every row. Fan & Lin's remedy: where a label's best F1 stays below `fbr`, give it up.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import SortedCuts, count_scores, sort_cuts
from stacking.metrics.named.of_decisions import check_beta


@register("own-f1", average="macro-F1")
def tune_own_f1(
    scores: LabeledScores, fbr: float = 0.1, below: Literal["never", "top-score"] = "never"
) -> npt.NDArray[np.float64]:
    """Choose for each label the threshold with its own best F1, and give up labels that stay below `fbr`.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    fbr : float, default 0.1
        F1 in [0, 1] below which a label is given up; 0 gives up none.
    below : {"never", "top-score"}, default "never"
        What a given-up label's threshold becomes: +inf (SCutFBR.0) or the label's top score (SCutFBR.1).

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores; +inf for labels without positives.

    Raises
    ------
    ValueError
        If `fbr` or `below` is out of range.

    References
    ----------
    Y. Yang, "A study on thresholding strategies for text categorization", SIGIR 2001.
    R.-E. Fan, C.-J. Lin, "A study on threshold selection for multi-label classification", National Taiwan University,
    2007.
    """
    if not 0.0 <= fbr <= 1.0:
        raise ValueError(f"fbr must lie in [0, 1]: got {fbr}.")
    check_choice(below, ("never", "top-score"), name="below")
    cuts, chosen, value = maximize_own_f1(scores)
    thresholds = cuts.thresholds(chosen)
    given_up = (value < fbr) & (cuts.positives > 0)
    known = scores.truth.y_known
    top = scores.y_score.max(axis=0) if known is None else scores.y_score.max(axis=0, where=known, initial=0.0)
    thresholds[given_up] = np.inf if below == "never" else top[given_up]
    return thresholds


def maximize_own_f1(
    scores: LabeledScores, beta: float = 1.0
) -> tuple[SortedCuts, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find each label's cut with the best own F-beta.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    beta : float, default 1.0
        Above 1 recall weighs more, below 1 precision.

    Returns
    -------
    tuple of SortedCuts, ndarray of int64 and ndarray of float64, both of shape (n_labels,)
        The cuts, the chosen one of each label (−1 without positives), and its F1.

    Notes
    -----
    A cut that fires n entries has an F-beta of at most (1 + β²) p / (β² p + n), so entries beyond
    p ((1 + β²) / F − β²) need no sorting, with F the label's best value at a histogram edge.
    """
    from stacking.kernels import cuts as _kernels

    histograms = count_scores(scores)
    hits, fired = histograms.above_edges()
    positives = histograms.positives
    check_beta(beta)
    square = beta * beta
    total = square * positives[:, None] + fired
    reachable = np.divide((1.0 + square) * hits, total, out=np.zeros_like(hits), where=total > 0).max(axis=1)
    # 1e-12 only keeps the branch that is not taken from dividing by 0: other values are larger.
    limit = np.where(reachable > 0, positives * ((1.0 + square) / np.maximum(reachable, 1e-12) - square), 0.0)
    cuts = sort_cuts(scores, histograms, limit)
    chosen, value = _kernels.best_f1_cuts(cuts.start, cuts.hits, cuts.fired, positives, square)
    return cuts, chosen, value
