"""Soft voting: the plain or hand-weighted mean of the members' scores.

scikit-learn's ``VotingClassifier`` refuses multi-label targets and refits its members; this one takes saved scores.
The plain arithmetic mean is the baseline of every other combiner: on hard data (few rows, many models) it is not easily
beaten.
"""

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice, check_weights
from stacking._typing import BoolArray, FloatArray
from stacking.combiners.combiner import Combiner
from stacking.combiners.registry import register_method
from stacking.combiners.voting.means import Mean, combine, covered_weights, have_weight, list_means
from stacking.predictions import PredictionSet

RANK_SHIFT = 15
"""Low bits of a score that ranks ignore: 256 bins an octave, .4 % of a score each. A choice; no measurement is on
record."""

N_RANK_BINS = (0x3F800000 >> RANK_SHIFT) + 1
"""Bins up to that of 1.0, whose bit pattern is 0x3F800000."""


@register_method("mean", "arithmetic mean of the members' probabilities", kind="vote", cost=0.1, mean="arithmetic")
@register_method("geometric", "geometric mean: the mean of the logits", kind="vote", cost=0.11, mean="geometric")
@register_method("harmonic", "harmonic mean", kind="vote", cost=0.11, mean="harmonic")
@register_method("majority", "share of the members that score .5 or more", kind="vote", cost=0.11, mean="majority")
@register_method("rank", "mean of the ranks within each member and label", kind="vote", cost=0.3, mean="rank")
class SoftVoting(Combiner):
    """Average the members' scores.

    Parameters
    ----------
    mean : {"arithmetic", "geometric", "harmonic", "rank", "majority"}, default "arithmetic"
        ``"geometric"`` averages logits, so a sure member weighs more; ``"harmonic"`` leans to the lowest score (0 if
        any member says 0); ``"rank"`` averages each score's rank among the same model's fitted scores, all labels
        pooled, which suits members on different scales; ``"majority"`` averages votes at .5.
    weights : array of shape (n_models,) or (n_models, n_labels), optional
        Non-negative weights that sum to 1 over the models; equal by default.

    Attributes
    ----------
    weights_ : ndarray of float64, shape (n_models, n_labels)
        The weights in force at fit, renormalized per label over the models that cover it; columns on the simplex.
    rank_table_ : ndarray of float32, shape (n_models, n_bins) or (0, 0)
        Each model's fitted ranks by the leading bits of a score (relative resolution .4 %); only for ``"rank"``.

    Notes
    -----
    O(n_models · n_samples · n_labels), streaming. Where a model does not cover a label, the others share its weight:
    ``w_ml = w_m c_ml / Σ_k w_k c_kl``.

    Examples
    --------
    >>> voting = SoftVoting().fit([[[0.2, 0.8]], [[0.4, 0.6]]], [[0, 1]])
    >>> voting.predict_proba([[[0.2, 0.8]], [[0.4, 0.6]]]).round(2).tolist()
    [[0.30000001192092896, 0.699999988079071]]
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "counts"
    requires_truth: ClassVar[bool] = False

    weights_: npt.NDArray[np.float64]
    rank_table_: FloatArray

    def __init__(self, mean: Mean = "arithmetic", weights: Any = None) -> None:
        self.mean = mean
        self.weights = weights

    def _fit(self, predictions: PredictionSet) -> None:
        """Check the parameters; count ranks where they are needed."""
        check_choice(self.mean, list_means(), name="mean")
        self.weights_ = covered_weights(self._given_weights(), self.covers_)
        self.rank_table_ = np.empty((0, 0), dtype=np.float32)
        if self.mean == "rank":
            self.rank_table_ = _count_ranks(predictions)

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Average a block with the weights of the members that are present."""
        if self.mean == "rank":
            scores = np.stack([_look_up(table, block) for table, block in zip(self.rank_table_, scores, strict=True)])
        return combine(scores, covered_weights(self._given_weights(), covers), self.mean)

    def _moves_scores(self, covers: BoolArray) -> BoolArray:
        """Tell which members have weight in a label."""
        return have_weight(covered_weights(self._given_weights(), covers))

    def _given_weights(self) -> npt.NDArray[np.float64]:
        """Return the parameter `weights` for all models and labels, equal ones by default."""
        n_models, n_labels = self.covers_.shape
        if self.weights is None:
            return np.full((n_models, n_labels), 1.0 / n_models)
        (weights,) = self._align_parameters(weights=self.weights)
        return check_weights(weights, n_models, n_labels)


def _rank_bins(scores: FloatArray) -> npt.NDArray[np.intp]:
    """Return the histogram bin of each score; float32 in [0, 1] order like their bit patterns."""
    bits = np.ascontiguousarray(np.abs(scores), dtype=np.float32).view(np.uint32)
    return (bits >> np.uint32(RANK_SHIFT)).astype(np.intp)


def _count_ranks(predictions: PredictionSet) -> FloatArray:
    """Return each model's mid-rank in [0, 1] for every bin of scores, all labels pooled; counts add up over shards."""
    counts = np.zeros((predictions.n_models, N_RANK_BINS))
    for rows, block in predictions.iter_rows():
        for model, scores in enumerate(block):
            answered = scores[:, predictions.covers[model]]
            weight = None
            if predictions.sample_weight is not None:
                weight = np.repeat(predictions.sample_weight[rows], answered.shape[1])
            counts[model] += np.bincount(_rank_bins(answered).ravel(), weight, minlength=N_RANK_BINS)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    ranks: FloatArray = ((np.cumsum(counts, axis=1) - counts / 2.0) / total).astype(np.float32)
    return ranks


def _look_up(table: FloatArray, scores: FloatArray) -> FloatArray:
    """Replace scores by their fitted ranks; NaN stays NaN."""
    missing = np.isnan(scores)
    ranks = table[_rank_bins(np.where(missing, np.float32(0), scores))]
    return np.where(missing, np.float32(np.nan), ranks)
