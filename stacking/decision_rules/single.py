"""One threshold for all labels, the exact best for micro-F1.

With calibrated scores it is all that micro-F1 needs: the optimum fires where the probability is at least F/2 (Lipton
et al. 2014; Koyejo et al. 2015). It cannot overfit much, having one parameter.
"""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.exact_micro_f1 import tune_exact_micro_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register


@register("single", average="micro-F1")
def tune_single(scores: LabeledScores, beta: float = 1.0) -> npt.NDArray[np.float64]:
    """Choose the one threshold for all labels with the best micro-F1 on these rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    beta : float, default 1.0
        Maximize micro-F-beta: above 1 recall weighs more, below 1 precision; positive, finite.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The same threshold for each label; +inf if there are no positives at all.

    Notes
    -----
    Exact: every cut between distinct scores of the pooled cells is considered. O(n_samples · n_labels).

    References
    ----------
    Z. C. Lipton, C. Elkan, B. Narayanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML PKDD
    2014.
    """
    return np.full(scores.n_labels, tune_exact_micro_f1(scores.pooled(), beta)[0])
