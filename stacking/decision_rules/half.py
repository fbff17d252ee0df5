"""The plain rule: .5 for every label, what a calibrated score means by "more likely than not"."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register


@register("half", average="none")
def tune_half(scores: LabeledScores) -> npt.NDArray[np.float64]:
    """Set every threshold to .5.

    For calibrated scores this is best for accuracy (Hamming loss), and too high for F1.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth; nothing is learned from them.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        The value .5 for each label.
    """
    return np.full(scores.n_labels, 0.5)
