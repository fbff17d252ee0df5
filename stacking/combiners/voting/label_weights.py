"""Weights of each label or group of labels on its own, pulled towards the shared ones where positives are few.

Micro-F1 at per-label thresholds is a ratio of sums over labels. For a fixed price λ, Σ_l max over (w_l, t_l) of
2 TP_l − λ PP_l separates: every label searches its own weights. Dinkelbach's iteration sets λ to the micro-F1 reached
and repeats until it stops rising. The log loss, macro-F1 and average precision separate without a price.

References
----------
W. Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IntArray
from stacking.combiners.voting.means import covered_weights
from stacking.combiners.voting.member_limits import MemberSubset
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.combiners.voting.objectives.label_cells import LabelCells
from stacking.combiners.voting.objectives.per_label import MicroF1PerLabel
from stacking.predictions import PredictionSet

_MOST_ROUNDS = 6  # a guard, not tuned: the rounds end by `_ENOUGH`, or where a search finds nothing better
_ENOUGH = 5e-3  # the iteration converges faster than linearly: the next rise would be of the order of its square
_LEAST_PULL = 1e-4  # in positives, far less than one: without shrinkage it only breaks ties towards the shared weights


@dataclass(frozen=True)
class GroupSearch:
    """How the weights of a group of labels are searched.

    Parameters
    ----------
    objective : str
        One of `list_objectives`; all that begin with ``"micro-f1"`` mean micro-F1 at per-label thresholds.
    mean : {"arithmetic", "geometric"}
        The mean whose weights are searched.
    minimize : callable
        Takes an objective, the number of members and weights to start from; returns the best weights.
    allowed : ndarray of bool, shape (n_models,)
        Members that may have weight.
    shrinkage : float
        Strength of the shared weights, in positives. Own weights w found with p positives in the group count
        p / (p + shrinkage). For micro-F1 the search itself also pays ``shrinkage · ‖w − shared‖²``, in the positives
        that the gain is counted in: the best of many noisy gains looks better than it is.
    """

    objective: str
    mean: str
    minimize: Callable[[Any, int, DoubleArray], DoubleArray]
    allowed: BoolArray
    shrinkage: float


def find_label_groups(predictions: PredictionSet, weights_per: str) -> IntArray:
    """Return which labels share weights.

    Parameters
    ----------
    predictions : PredictionSet
        With `label_groups` where they are asked for.
    weights_per : {"group", "label"}
        What has weights of its own.

    Returns
    -------
    ndarray of int64, shape (n_labels,)
        The group of each label, from 0 in order of appearance.

    Raises
    ------
    ValueError
        If groups are asked for and the predictions name none.
    """
    if weights_per == "label":
        return np.arange(predictions.n_labels)
    if predictions.label_groups is None:
        raise ValueError(
            "weights_per='group' needs the label_groups of the predictions: got none; give them, or take 'label'."
        )
    order = {name: place for place, name in enumerate(dict.fromkeys(predictions.label_groups))}
    return np.array([order[name] for name in predictions.label_groups], dtype=np.int64)


def search_label_weights(
    predictions: PredictionSet, shared: DoubleArray, group_of: IntArray, search: GroupSearch
) -> DoubleArray:
    """Search weights for each group of labels, and pull them towards the shared ones.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    shared : ndarray of float64, shape (n_models,)
        Weights that all labels start from.
    group_of : ndarray of int64, shape (n_labels,)
        The group of each label.
    search : GroupSearch
        How to search.

    Returns
    -------
    ndarray of float64, shape (n_models, n_labels)
        ``(p · own + shrinkage · shared) / (p + shrinkage)`` with p positives in the label's group; columns on the
        simplex, 0 where not covered.
    """
    covers = np.asarray(predictions.covers, dtype=bool)
    groups = [np.flatnonzero(group_of == group) for group in range(int(group_of.max()) + 1)]
    positives = np.bincount(group_of, weights=predictions.truth.positives())
    columns = np.repeat(shared[:, None], len(groups), axis=1)
    if search.objective.startswith("micro-f1"):
        columns = _iterate_prices(predictions, columns, group_of, search)
    else:
        for group, labels in enumerate(groups):
            kept = np.flatnonzero(covers[:, labels].any(axis=1) & search.allowed)
            if positives[group] > 0 and len(kept) > 1:
                objective = create_objective(search.objective, predictions.subset(labels=labels), search.mean)
                columns[:, group] = _search_one(MemberSubset(objective, kept), kept, columns[:, group], search)
    share = np.divide(positives, positives + search.shrinkage, out=np.zeros(len(groups)), where=positives > 0)[group_of]
    own, base = covered_weights(columns[:, group_of], covers), covered_weights(shared, covers)
    return share * own + (1.0 - share) * base


def _iterate_prices(
    predictions: PredictionSet, columns: DoubleArray, group_of: IntArray, search: GroupSearch
) -> DoubleArray:
    """Raise the price to the micro-F1 reached, and search all groups at that price, until it stops rising."""
    covers = np.asarray(predictions.covers, dtype=bool)
    shared = columns[:, 0]
    cells = MicroF1PerLabel(predictions, search.mean).cells
    value = _micro_f1(cells, columns[:, group_of], covers)
    if value == 0.0:
        return columns
    parts = list(_split(cells, covers, group_of, search.allowed))
    pull = max(search.shrinkage, _LEAST_PULL) * predictions.truth.mean_weight  # gains are sums of weights
    for _ in range(_MOST_ROUNDS):
        found = columns.copy()
        for group, part, own_covers, kept in parts:
            gain = _Gain(part, own_covers, kept, (value, pull), shared)
            found[:, group] = _search_one(gain, kept, columns[:, group], search)
        reached = _micro_f1(cells, found[:, group_of], covers)
        if reached <= value:
            return columns
        columns, risen, value = found, reached - value, reached
        if risen < _ENOUGH:
            break
    return columns


def _split(
    cells: LabelCells, covers: BoolArray, group_of: IntArray, allowed: BoolArray
) -> Iterator[tuple[int, LabelCells, BoolArray, npt.NDArray[np.intp]]]:
    """Yield the groups that have something to search: their cells, coverage and members."""
    for group in range(int(group_of.max()) + 1):
        labels = np.flatnonzero(group_of == group)
        kept = np.flatnonzero(covers[:, labels].any(axis=1) & allowed)
        if cells.positives[labels].sum() > 0 and len(kept) > 1:
            yield group, cells.select(labels), covers[:, labels], kept


class _Gain:
    """Minus what a group of labels gains at a price, plus the pull of the shared weights, which also breaks ties."""

    def __init__(
        self,
        cells: LabelCells,
        covers: BoolArray,
        kept: npt.NDArray[np.intp],
        price_and_pull: tuple[float, float],
        shared: DoubleArray,
    ) -> None:
        self.cells = cells
        self.covers = covers
        self.kept = kept
        self.price, self.pull = price_and_pull
        self.shared = shared

    def __call__(self, candidates: DoubleArray) -> DoubleArray:
        full = np.zeros((len(candidates), *self.covers.shape))
        full[:, self.kept] = candidates[:, :, None]
        weights = np.ascontiguousarray(covered_weights(full, self.covers), dtype=np.float32)
        gains: DoubleArray = self.cells.worths(weights, "gain", self.price).sum(axis=1)
        distance = ((candidates - self.shared[self.kept]) ** 2).sum(axis=1)
        return self.pull * distance - gains


def _search_one(objective: Any, kept: npt.NDArray[np.intp], start: DoubleArray, search: GroupSearch) -> DoubleArray:
    """Search the weights of one group over the kept members, never to end worse than the start."""
    initial = start[kept]
    total = initial.sum()
    initial = initial / total if total > 0 else np.full(len(kept), 1.0 / len(kept))
    column = np.zeros(len(start))
    column[kept] = search.minimize(objective, len(kept), initial)
    return column


def _micro_f1(cells: LabelCells, weights: DoubleArray, covers: BoolArray) -> float:
    """Return the micro-F1 of weights per label at the best thresholds per label."""
    candidate = covered_weights(weights, covers)[None]
    return float(cells.micro_f1(np.ascontiguousarray(candidate, dtype=np.float32))[0])
