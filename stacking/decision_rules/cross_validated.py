"""Per-label or single threshold, label by label, whichever wins on rows that did not tune it."""

import numpy as np
import numpy.typing as npt

from stacking._checks import check_at_least
from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_parts import SortedParts
from stacking.folds import deal_folds
from stacking.ties import exceeds


@register("cross-validated", average="micro-F1")
def tune_cross_validated(
    scores: LabeledScores,
    n_splits: int = 5,
    margin: float = 1.0,
    random_state: int | np.random.Generator | None = 0,
) -> npt.NDArray[np.float64]:
    """Choose for each label its exact or the single threshold by the gain on held-out folds.

    Both are tuned on the other folds and earn 2 TP − F · PP on the fold left out, with F the single threshold's
    micro-F1 on the tuning rows. A label gets its own threshold only if that earned more by `margin` standard errors
    over the folds; then both are tuned again on all rows.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth; groups share a fold.
    n_splits : int, default 5
        Number of stratified folds, at least 2; fewer are used if there are fewer samples or groups.
    margin : float, default 1.0
        Standard errors by which a label's own threshold must win, at least 0; less follows noise more.
    random_state : int, Generator or None, default 0
        Seed of the folds.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.

    Raises
    ------
    ValueError
        If `n_splits` is below 2 or `margin` is negative.
    """
    if not margin >= 0:
        raise ValueError(f"margin must not be negative: got {margin}.")
    check_at_least(2, n_splits=n_splits)
    folds = deal_folds(scores.truth, n_splits, random_state=random_state)
    everything = np.ones(len(scores.y_score), dtype=bool)
    return tune_cross_validated_in_parts(SortedParts(scores.iter_blocks, everything), everything, folds, margin)


def tune_cross_validated_in_parts(
    rows: SortedParts, kept: BoolArray, folds: IndexArray, margin: float = 1.0
) -> DoubleArray:
    """Choose the same thresholds for some of the rows that are sorted already.

    Parameters
    ----------
    rows : SortedParts
        Those rows, and maybe others.
    kept : ndarray of bool, shape (n_samples,)
        The rows to tune on.
    folds : ndarray of int, shape (n_samples,)
        The fold of each of them; of others anything.
    margin : float, default 1.0
        As `tune_cross_validated` takes it.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.
    """
    masks = [kept & (folds == fold) for fold in np.unique(folds[kept])]
    single, _ = rows.cut_pooled(kept)
    if len(masks) < 2:
        return single
    advantages = []
    for mask in masks:
        tuning = kept & ~mask
        shared, price = rows.cut_pooled(tuning)
        own = rows.cut_labels(tuning)
        more_hits, more_fired = np.subtract(rows.count(mask, own), rows.count(mask, shared))
        earned, paid = 2.0 * more_hits, price * more_fired
        advantages.append(np.where(exceeds(np.abs(earned - paid), 0.0, scale=earned), earned - paid, 0.0))
    mean = np.mean(advantages, axis=0)
    error = np.std(advantages, axis=0, ddof=1) / np.sqrt(len(advantages))
    # A gain in a single fold equals its standard error exactly: not more, whatever rounding says.
    return np.where(exceeds(mean, margin * error), rows.cut_labels(kept), single)
