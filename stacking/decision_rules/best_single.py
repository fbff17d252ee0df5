"""One threshold for all labels, the best for any metric: a search on a grid, where ``single`` is exact for micro-F1."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.metrics.named import Metric, find_metric
from stacking.ties import first_best

N_THRESHOLDS = 48
"""Thresholds tried. A choice: between neighbors the number of predicted labels changes by a tenth."""

FEWEST, MOST = 1 / 12, 12.0
"""Predicted cells per true one at the ends of the grid; what micro-F1 likes best lies between .5 and 2."""


@register("best-single", average="any")
def tune_best_single(scores: LabeledScores, metric: str | Metric = "micro-f1") -> npt.NDArray[np.float64]:
    """Choose the one threshold for all labels with the best value of a metric on these rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    metric : str or Metric, default "micro-f1"
        What to go by, as `stacking.metrics.find_metric` takes it; an ensemble gives its own.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The same threshold for each label; +inf if there are no positives at all.

    Notes
    -----
    48 thresholds are tried between which the number of predicted cells grows geometrically, .5, and one that all scores
    reach; of equally good ones the highest is taken, and +inf, no label at all, only where it is better (unless the
    metric is a function of the user's). O(n_samples · n_labels) each.
    """
    wanted = find_metric(metric)
    known = scores.answered_truth.y_known
    pooled = scores.y_score.ravel() if known is None else scores.y_score[known]
    loud = True if scores.unanswered is None else ~scores.unanswered
    n_true = np.count_nonzero(scores.truth.y_true)
    if n_true == 0 or not len(pooled):
        return np.full(scores.n_labels, np.inf)
    wanted_counts = n_true * np.geomspace(FEWEST, MOST, N_THRESHOLDS)
    places = np.unique(np.clip(np.rint(np.append(wanted_counts, len(pooled))), 1, len(pooled)).astype(np.intp))
    # Halfway to the next lower score, so that float32 and float64 comparisons agree.
    ascending = np.sort(pooled)
    upper = ascending[len(pooled) - places].astype(np.float64)
    lower = np.where(places < len(pooled), ascending[len(pooled) - places - 1], np.float32(0.0))
    grid = (upper + lower) / 2.0
    del ascending, pooled  # as large as the scores, and not needed while decisions are measured
    grid = np.unique(np.append(grid, 0.5))[::-1]
    if not wanted.is_code:  # a user's function may know no answer without labels
        grid = np.append(grid, np.inf)
    merits = [wanted.measure(scores.truth, (scores.y_score >= limit) & loud, scores.y_score).merit for limit in grid]
    return np.full(scores.n_labels, grid[first_best(merits)])
