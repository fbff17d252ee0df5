"""The exact optimum of macro-F1 on the tuning rows: every label's own best F1, none given up."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.own_f1 import maximize_own_f1
from stacking.decision_rules.registry import register


@register("macro-f1", average="macro-F1")
def tune_macro_f1(scores: LabeledScores, beta: float = 1.0) -> npt.NDArray[np.float64]:
    """Choose for each label the threshold with its own best F1, which maximizes macro-F1 and usually ruins micro-F1.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    beta : float, default 1.0
        Take each label's own best F-beta: above 1 recall weighs more, below 1 precision; positive, finite.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores; +inf for labels without positives.
    """
    cuts, chosen, _ = maximize_own_f1(scores, beta)
    return cuts.thresholds(chosen)
