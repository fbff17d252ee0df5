"""The contract of what a search for voting weights minimizes, and the cells that every objective reads.

Each objective reads the scores once, keeps what the weights can change, and then scores a whole batch of candidates in
one pass over that. For the F1 objectives most cells are decided whatever the weights are: a mean lies between the
lowest and the highest member, so a cell whose scores all lie below the lowest useful threshold never fires. On a long
tail of labels that is nine cells in ten. The pruning loses nothing; how that is ensured stands with each objective.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice
from stacking._typing import DoubleArray, FloatArray, IntArray
from stacking.combiners.voting.means import covered_weights, to_mixing_space
from stacking.predictions import PredictionSet

BELOW, ABOVE = -2.0, 2.0
"""Bounds that no score reaches: every cell lies between them."""


@dataclass(frozen=True)
class RowBlock:
    """A block of rows with everything a kernel reads; empty arrays stand for "all known" and "weight 1"."""

    scores: FloatArray
    truth: npt.NDArray[np.uint8]
    known: npt.NDArray[np.bool_]
    weight: DoubleArray


@dataclass(frozen=True)
class CellBlock:
    """Gathered cells: values (n_models, n_cells) in the mixing space, segment starts, weights (empty for 1 each)."""

    values: FloatArray
    start: IntArray
    weight: DoubleArray


class WeightObjective(ABC):
    """A loss of combination weights on one prediction set; lower is better.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth and what counts of it.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Attributes
    ----------
    name : str
        The name it is registered under.
    judges_labels : bool
        Whether each label is looked at by itself; else labels share weights wherever all members cover all of them.
    is_race : bool
        True where a search asks for nothing but the best candidate of each batch, as the greedy one does: what its
        candidates have in common is then mixed once for all of them.
    """

    name: ClassVar[str]
    judges_labels: ClassVar[bool] = False
    is_race = False

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        if predictions.y_true is None:
            raise ValueError("predictions must carry y_true: weights are searched on it; use with_truth(y_true).")
        check_choice(mean, ("arithmetic", "geometric"), name="mean")
        self.predictions = predictions = predictions.only_counted()
        self.mean = mean
        self.covers = np.asarray(predictions.covers, dtype=bool)
        self.shared = bool(self.covers.all()) and not self.judges_labels
        n_labels = predictions.n_labels
        self.group = np.zeros(n_labels, np.int64) if self.shared else np.arange(n_labels, dtype=np.int64)
        self.n_groups = 1 if self.shared else n_labels

    @abstractmethod
    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return the losses of a batch of candidates.

        Parameters
        ----------
        candidates : array of shape (k, n_models), or (k, n_models, n_labels) where labels have weights of their own
            Weights; renormalized per label over the models that cover it.

        Returns
        -------
        ndarray of float64, shape (k,)
            Losses.
        """

    @property
    def is_logit(self) -> bool:
        """Whether values are mixed as logits."""
        return self.mean == "geometric"

    def effective(self, candidates: npt.ArrayLike) -> FloatArray:
        """Return candidates as the kernels take them.

        Parameters
        ----------
        candidates : array of shape (k, n_models) or (k, n_models, n_labels)
            Weights.

        Returns
        -------
        ndarray of float32, shape (k, n_models, n_groups)
            Weights per group of labels, columns on the simplex.
        """
        weights = np.asarray(candidates, dtype=np.float64)
        if self.shared:
            weights = weights[..., None] / weights.sum(axis=-1)[..., None, None]
        else:
            if weights.ndim == 2:  # spelled out: k candidates of shape (n_models, n_labels) could look the same
                weights = np.broadcast_to(weights[..., None], (*weights.shape, self.covers.shape[1]))
            weights = covered_weights(weights, self.covers)
        return np.ascontiguousarray(weights, dtype=np.float32)

    def split(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Take out what all candidates of a batch have in common.

        Parameters
        ----------
        weights : ndarray of float32, shape (k, n_models, n_groups)
            From `effective`.

        Returns
        -------
        tuple of ndarray of float32, shapes (n_models, n_groups) and (k, n_models, n_groups)
            The common part and what each candidate adds to it. Nothing is common unless this is a race in which each
            candidate adds one member to the same bag: then a batch costs n_models sums of two, not of n_models.
        """
        common = np.zeros(weights.shape[1:], dtype=np.float32)
        if self.is_race and self.shared and len(weights) > 1:
            least = weights.min(axis=0)
            own = weights - least
            if (np.count_nonzero(own[:, :, 0], axis=1) <= 1).all():
                return least, own
        return common, weights

    def _iter_rows(self) -> Iterator[RowBlock]:
        """Yield blocks of rows: the scores with their truth, mask and weights."""
        given = self.predictions
        truth = np.asarray(given.y_true)
        for rows, scores in given.iter_rows():
            yield RowBlock(
                np.ascontiguousarray(scores),
                truth[rows],
                np.empty((0, 0), dtype=bool) if given.y_known is None else given.y_known[rows],
                np.empty(0) if given.sample_weight is None else given.sample_weight[rows],
            )

    def _gather(
        self, lows: Sequence[float], high: float = ABOVE, ceiling: float = ABOVE
    ) -> tuple[list[list[CellBlock]], DoubleArray, float]:
        """Gather cells by tier of their highest score; weigh the always-fired ones (by truth) and the positives.

        Tier k holds the cells whose highest score lies in [lows[k], lows[k − 1]); those at `ceiling` or above, and
        those whose scores all reach `high`, are left out.
        """
        always = np.zeros(2)
        positives = 0.0
        tiers: list[list[CellBlock]] = [[] for _ in lows]
        for parts, own_positives in self._iter_cells(lows, high, ceiling, always):
            positives += own_positives
            for tier, cells in zip(tiers, parts, strict=True):
                tier.append(cells)
        return tiers, always, positives

    def _iter_cells(
        self, lows: Sequence[float], high: float, ceiling: float, always: DoubleArray
    ) -> Iterator[tuple[list[CellBlock], float]]:
        """Yield the cells of each block of rows by tier, and the weight of its positives; add to `always`."""
        from stacking.kernels import weights as _kernels

        per_tier = 2 * self.n_groups
        bounds = (np.asarray(lows, dtype=np.float32), np.float32(high), np.float32(ceiling))
        for rows in self._iter_rows():
            counts = np.zeros((len(lows), per_tier), dtype=np.int64)
            tier_of = np.empty(rows.truth.shape, dtype=np.int8)
            positives = _kernels.count_undecided(
                rows.scores, rows.truth, rows.known, rows.weight, *bounds, self.group, counts, always, tier_of
            )
            start = np.concatenate([[0], np.cumsum(counts)])
            values, weight = _kernels.gather_undecided(rows.scores, rows.truth, rows.weight, tier_of, self.group, start)
            values = to_mixing_space(values, self.mean)
            # The tiers of a block share its values; each has its own part of the starts.
            ends = (start[tier * per_tier : (tier + 1) * per_tier + 1] for tier in range(len(lows)))
            yield [CellBlock(values, end, weight) for end in ends], positives
