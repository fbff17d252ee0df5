"""Per-label or single threshold, label by label, whichever wins on rows that did not tune it."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.exact_micro_f1 import tune_exact_micro_f1
from stacking.decision_rules.labelled_scores import LabelledScores
from stacking.decision_rules.registry import register
from stacking.decision_rules.single import tune_single
from stacking.folds import stratified_group_folds

__all__ = ["tune_cross_validated"]


@register("cross-validated", average="micro-F1")
def tune_cross_validated(
    scores: LabelledScores,
    n_splits: int = 5,
    margin: float = 1.0,
    groups: npt.ArrayLike | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> npt.NDArray[np.float64]:
    """Choose for each label its exact or the single threshold by the gain on held-out folds.

    Both are tuned on the other folds and earn 2 TP − F · PP on the fold left out, with F the single threshold's
    micro-F1 on the tuning rows. A label gets its own threshold only if that earned more by `margin` standard errors
    over the folds; then both are tuned again on all rows.

    Parameters
    ----------
    scores : LabelledScores
        Scores and truth.
    n_splits : int, default 5
        Number of stratified folds, at least 2; fewer are used if there are fewer samples or groups.
    margin : float, default 1.0
        Standard errors by which a label's own threshold must win, at least 0; less follows noise more.
    groups : array of shape (n_samples,), optional
        Samples with an equal value share a fold.
    random_state : int, Generator or None, default 0
        Seed of the folds.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.

    Raises
    ------
    ValueError
        If `n_splits` is below 2, `margin` is negative, or `groups` has another length.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative: got {margin}.")
    n_items = len(scores.y_score) if groups is None else len(np.unique(np.asarray(groups)))
    single = tune_single(scores)
    if n_items < 2:
        return single
    folds = stratified_group_folds(scores.y_true, min(n_splits, n_items), groups=groups, random_state=random_state)
    advantages = []
    for fold in np.unique(folds):
        tuning, held_out = scores.subset(folds != fold), scores.subset(folds == fold)
        shared = tune_single(tuning)
        hits, fired = tuning.counts_at(shared)
        positives = _positives(tuning)
        price = 2.0 * hits.sum() / (positives + fired.sum()) if positives else 0.0
        advantages.append(_gain(held_out, tune_exact_micro_f1(tuning), price) - _gain(held_out, shared, price))
    mean = np.mean(advantages, axis=0)
    error = np.std(advantages, axis=0, ddof=1) / np.sqrt(len(advantages))
    return np.where(mean > margin * error, tune_exact_micro_f1(scores), single)


def _gain(scores: LabelledScores, thresholds: npt.NDArray[np.float64], price: float) -> npt.NDArray[np.float64]:
    """Return each label's 2 TP − price · PP."""
    hits, fired = scores.counts_at(thresholds)
    return 2.0 * hits - price * fired


def _positives(scores: LabelledScores) -> float:
    """Return the weight of all known positives."""
    return float(scores.counts_at(np.full(scores.n_labels, -np.inf))[0].sum())
