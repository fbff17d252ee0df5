"""One threshold for all labels, the exact best for micro-F1.

With calibrated scores it is all that micro-F1 needs: the optimum fires where the probability is at least F/2 (Lipton
et al. 2014; Koyejo et al. 2015). It cannot overfit much, having one parameter.
"""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.exact_micro_f1 import tune_exact_over_blocks
from stacking.decision_rules.expected_f1 import tune_expected_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.metrics.named.of_decisions import check_beta


@register("single", average="micro-F1")
def tune_single(scores: LabeledScores, beta: float = 1.0, expected: float = 0.0) -> npt.NDArray[np.float64]:
    """Choose the one threshold for all labels with the best micro-F1 on these rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    beta : float, default 1.0
        Maximize micro-F-beta: above 1 recall weighs more, below 1 precision; positive, finite.
    expected : float, default 0.0
        How far, from 0 to 1, to go from there to the threshold of greatest *expected* micro-F-beta (`tune_expected_f1`,
        of all cells as one label), which moves less where a few groups hold most positives.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The same threshold for each label; +inf if there are no positives at all.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Exact: every cut between distinct scores of the pooled cells is considered. O(n_samples · n_labels).

    References
    ----------
    Z. C. Lipton, C. Elkan, B. Narayanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML PKDD
    2014.
    """
    if not 0.0 <= expected <= 1.0:
        raise ValueError(f"expected must lie in [0, 1]: got {expected}.")
    check_beta(beta)
    threshold = tune_exact_over_blocks(scores.iter_pooled, beta)[0]
    if expected > 0.0 and np.isfinite(threshold):
        threshold += expected * (tune_expected_f1(scores.pooled(), beta)[0] - threshold)
    return np.full(scores.n_labels, threshold)
