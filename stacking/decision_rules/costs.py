"""Thresholds for errors that have prices: what a false positive and a false negative cost.

A label should fire where its probability exceeds fp / (fp + fn). Scores need not be probabilities, so the threshold is
found on the rows: the cut with the lowest cost, exact, for all labels together or for each. Equal prices give the
lowest Hamming loss.

References
----------
C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
"""

import operator
from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import count_scores, sort_cuts_of_blocks


@register("cost", average="cost")
def tune_cost(scores: LabeledScores, fp: float = 1.0, fn: float = 1.0) -> npt.NDArray[np.float64]:
    """Choose the one threshold for all labels at which errors cost least on these rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    fp, fn : float, default 1.0
        Cost of a false positive and of a false negative, any unit, not negative, not both 0.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The same threshold for each label; +inf where predicting nothing costs least.

    Raises
    ------
    ValueError
        If a cost is out of range.
    """
    return np.full(scores.n_labels, _cheapest_cuts(scores.iter_pooled, fp, fn)[0])


@register("cost-per-label", average="cost")
def tune_cost_per_label(scores: LabeledScores, fp: float = 1.0, fn: float = 1.0) -> npt.NDArray[np.float64]:
    """Choose for each label the threshold at which its errors cost least on these rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    fp, fn : float, default 1.0
        Cost of a false positive and of a false negative, any unit, not negative, not both 0.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores; +inf where never predicting the label costs least.

    Raises
    ------
    ValueError
        If a cost is out of range.

    Notes
    -----
    Cost is fp · (PP − TP) + fn · (P − TP): lowest where 2 TP − 2 fp / (fp + fn) · PP is largest.
    """
    return _cheapest_cuts(lambda: [scores], fp, fn)


def _cheapest_cuts(read_blocks: Callable[[], Iterable[LabeledScores]], fp: float, fn: float) -> DoubleArray:
    """Find the thresholds of rows that come block by block, each time the same ones."""
    from stacking.kernels import cuts as _kernels

    if not (np.isfinite([fp, fn]).all() and min(fp, fn) >= 0.0 and fp + fn > 0.0):
        raise ValueError(f"fp and fn must be costs that are finite, not negative and not both 0: got {fp}, {fn}.")
    price = 2.0 * fp / (fp + fn)
    histograms = reduce(operator.add, map(count_scores, read_blocks()))
    # A cut that fires n entries gains at most 2 p − price · n.
    limit = 2.0 * histograms.positives / price if price > 0 else np.full(len(histograms.positives), np.inf)
    cuts = sort_cuts_of_blocks(read_blocks(), histograms, limit)
    return cuts.thresholds(_kernels.best_cuts(cuts.start, cuts.hits, cuts.fired, price))
