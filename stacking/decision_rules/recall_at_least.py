"""One threshold that keeps the recall of samples at a promised level: conformal risk control.

What a sample loses is the share of its true labels that are not predicted. It never falls as the threshold rises, and
lies in [0, 1], so conformal risk control applies: with n samples whose losses at a threshold add up to S, the expected
loss of a further sample is at most (S + 1) / (n + 1). The highest threshold is taken at which that is no more than
1 − recall.

References
----------
A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei, T. Schuster, "Conformal risk control", 2022 (arXiv 2208.02814),
theorem 1.
"""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register


@register("recall-at-least", average="recall")
def tune_recall_at_least(scores: LabeledScores, recall: float = 0.9) -> npt.NDArray[np.float64]:
    """Choose the highest one threshold that keeps a sample's expected recall at a promised level.

    The promise: a further sample, exchangeable with these rows, has an expected recall of at least `recall`, whatever
    the scores and the number of rows; a sample without true labels counts as recall 1, and labels that no member
    answers, which never fire, do not count. It holds exactly for scores of a model that saw none of these rows; for
    cross-fitted scores, whose models are refitted on all rows, nearly.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth. With groups, a group is what is exchangeable, and its mean recall is what is promised.
    recall : float, default 0.9
        The promised level, in (0, 1).

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The same threshold for each label; 0, so that everything fires, where the rows are too few to promise less, and
        +inf where nothing is true.

    Raises
    ------
    ValueError
        If `recall` is out of range.

    Notes
    -----
    O(P log P) for P positives. Weights are those of the samples' distribution; the further sample is given the largest.
    """
    if not 0.0 < recall < 1.0:
        raise ValueError(f"recall must lie between 0 and 1: got {recall}.")
    truth = scores.answered_truth
    weight = np.ones(len(truth.y_true)) if truth.sample_weight is None else truth.sample_weight
    if truth.groups is not None:  # a group counts once: its rows share its weight
        unit = np.unique(truth.groups, return_inverse=True)[1]
        weight = weight / np.bincount(unit, weights=weight)[unit]
        total, further = float(unit.max()) + 1.0, 1.0
    else:
        total, further = float(weight.sum()), float(weight.max())
    row, label = np.nonzero(truth.y_true)
    lost = weight[row] / truth.sample_positives[row]
    score = scores.y_score[row, label].astype(np.float64)
    order = np.argsort(score, kind="stable")
    # What is lost just above each true cell's score: all true cells up to it, those with the same score included.
    loss = np.concatenate([[0.0], np.cumsum(lost[order])])
    kept_from = np.append(score[order], np.inf)
    first_of_tie = np.append(True, np.diff(kept_from) > 0) if len(order) else np.array([True])
    kept = (loss + further <= (1.0 - recall) * (total + further)) & first_of_tie
    return np.full(scores.n_labels, kept_from[kept][-1] if kept.any() else 0.0)
