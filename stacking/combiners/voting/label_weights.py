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

from stacking._typing import BoolArray, DoubleArray, IndexArray, IntArray
from stacking.combiners.voting.means import covered_weights
from stacking.combiners.voting.member_limits import MemberSubset
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.combiners.voting.objectives.label_cells import Criterion, LabelCells
from stacking.combiners.voting.objectives.per_label import MicroF1PerLabel
from stacking.predictions import PredictionSet

_MOST_ROUNDS = 6  # a guard, not tuned: the rounds end by `_ENOUGH`, or where a search finds nothing better
_ENOUGH = 5e-3  # the iteration converges faster than linearly: the next rise would be of the order of its square
_OWN_CRITERIA: dict[str, Criterion] = {"macro-f1": "own-f1", "mean-average-precision": "average-precision"}
_WEIGHTS_AT_ONCE = 4_000_000  # weights of candidates held at a time, 32 MB; only memory and speed depend on it
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
    minimize_together : callable, optional
        The same search for many groups at once: takes an objective of candidates (n_groups, k, n_members) and weights
        to start from (n_groups, n_members), and returns the best weights of each group, those that `minimize` finds.
    """

    objective: str
    mean: str
    minimize: Callable[[Any, int, DoubleArray], DoubleArray]
    allowed: BoolArray
    shrinkage: float
    minimize_together: Callable[[Any, DoubleArray], DoubleArray] | None = None


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
    positives = np.bincount(group_of, weights=predictions.truth.positives())
    columns = np.repeat(shared[:, None], len(positives), axis=1)
    if search.objective.startswith("micro-f1"):
        columns = _iterate_prices(predictions, columns, group_of, search)
    elif search.objective in _OWN_CRITERIA:
        for block in _split(_label_cells(predictions, search), covers, group_of, search):
            _search_block(_OwnMean(block, _OWN_CRITERIA[search.objective]), columns, search)
    else:
        columns = _search_apart(predictions, columns, group_of, search)
    share = np.divide(positives, positives + search.shrinkage, out=np.zeros(len(positives)), where=positives > 0)
    own, base = covered_weights(columns[:, group_of], covers), covered_weights(shared, covers)
    return share[group_of] * own + (1.0 - share[group_of]) * base


def _label_cells(predictions: PredictionSet, search: GroupSearch) -> LabelCells:
    """Return all cells by label."""
    return MicroF1PerLabel(predictions, search.mean).cells


def _iterate_prices(
    predictions: PredictionSet, columns: DoubleArray, group_of: IntArray, search: GroupSearch
) -> DoubleArray:
    """Raise the price to the micro-F1 reached, and search all groups at that price, until it stops rising."""
    covers = np.asarray(predictions.covers, dtype=bool)
    shared = columns[:, 0]
    cells = _label_cells(predictions, search)
    value = _micro_f1(cells, columns[:, group_of], covers)
    if value == 0.0:
        return columns
    blocks = list(_split(cells, covers, group_of, search))
    pull = max(search.shrinkage, _LEAST_PULL) * predictions.truth.mean_weight  # gains are sums of weights
    for _ in range(_MOST_ROUNDS):
        found = columns.copy()
        for block in blocks:
            _search_block(_Gain(block, value, pull, shared), found, search)
        reached = _micro_f1(cells, found[:, group_of], covers)
        if reached <= value:
            return columns
        columns, risen, value = found, reached - value, reached
        if risen < _ENOUGH:
            break
    return columns


def _micro_f1(cells: LabelCells, weights: DoubleArray, covers: BoolArray) -> float:
    """Return the micro-F1 of weights per label at the best thresholds per label."""
    candidate = covered_weights(weights, covers)[None]
    return float(cells.micro_f1(np.ascontiguousarray(candidate, dtype=np.float32))[0])


def _search_apart(
    predictions: PredictionSet, columns: DoubleArray, group_of: IntArray, search: GroupSearch
) -> DoubleArray:
    """Search every group by an objective on its labels alone."""
    covers = np.asarray(predictions.covers, dtype=bool)
    positives = predictions.truth.positives()
    found = columns.copy()
    for group in range(columns.shape[1]):
        labels = np.flatnonzero(group_of == group)
        kept = np.flatnonzero(covers[:, labels].any(axis=1) & search.allowed)
        if positives[labels].sum() > 0 and len(kept) > 1:
            objective = create_objective(search.objective, predictions.subset(labels=labels), search.mean)
            start = _restrict(columns[kept, group][None])[0]
            found[:, group] = 0.0
            found[kept, group] = search.minimize(MemberSubset(objective, kept), len(kept), start)
    return found


@dataclass(frozen=True)
class _GroupBlock:
    """Groups that are searched side by side: equally many members may have weight in each.

    ``groups`` (n_groups,) are their numbers, ``cells`` and ``covers`` those of their labels, group by group,
    ``group_of`` (n_labels,) each label's place in `groups`, ``kept`` (n_groups, n_members) the members of each.
    """

    groups: IndexArray
    cells: LabelCells
    covers: BoolArray
    group_of: IndexArray
    kept: IndexArray

    def evaluate(self, candidates: DoubleArray, criterion: Criterion, price: float | None = None) -> DoubleArray:
        """Return what candidates (n_groups, k, n_members) are worth, summed over the labels of each group."""
        full = np.zeros((*candidates.shape[:2], len(self.covers)))
        np.put_along_axis(full, self.kept[:, None, :], candidates, axis=2)
        weights = covered_weights(np.moveaxis(full[self.group_of], 0, -1), self.covers)
        values = self.cells.evaluate(np.ascontiguousarray(weights, dtype=np.float32), criterion, price)
        first = np.searchsorted(self.group_of, np.arange(len(self.groups)))
        total: DoubleArray = np.add.reduceat(values, first, axis=1).T
        return total


def _split(cells: LabelCells, covers: BoolArray, group_of: IntArray, search: GroupSearch) -> Iterator[_GroupBlock]:
    """Yield the groups that have something to search, as many at once as `search` can take and memory allows."""
    order = np.argsort(group_of, kind="stable")
    first = np.searchsorted(group_of[order], np.arange(int(group_of.max()) + 1))
    kept = np.logical_or.reduceat(covers[:, order], first, axis=1).T & search.allowed
    n_kept = kept.sum(axis=1)
    n_labels = np.bincount(group_of)
    positives = np.bincount(group_of, weights=cells.positives)
    at_once = max(_WEIGHTS_AT_ONCE // (len(covers) * (len(covers) + 2)), 1)
    for size in range(2, len(covers) + 1):
        groups = np.flatnonzero((positives > 0) & (n_kept == size))
        part = (np.cumsum(n_labels[groups]) - 1) // at_once if search.minimize_together else np.arange(len(groups))
        for some in np.split(groups, np.flatnonzero(np.diff(part)) + 1) if len(groups) else []:
            labels = np.concatenate([order[first[group] : first[group] + n_labels[group]] for group in some])
            places = np.repeat(np.arange(len(some)), n_labels[some])
            members = np.nonzero(kept[some])[1].reshape(-1, size)
            yield _GroupBlock(some, cells.select(labels), covers[:, labels], places, members)


@dataclass(frozen=True)
class _Gain:
    """Minus what groups of labels gain at a price, plus the pull of the shared weights, which also breaks ties."""

    block: _GroupBlock
    price: float
    pull: float
    shared: DoubleArray

    def __call__(self, candidates: DoubleArray) -> DoubleArray:
        """Return losses (n_groups, k)."""
        distance = ((candidates - self.shared[self.block.kept][:, None]) ** 2).sum(axis=2)
        return self.pull * distance - self.block.evaluate(candidates, "gain", self.price)


@dataclass(frozen=True)
class _OwnMean:
    """One minus the mean over the labels of a group: of F1 over all, of average precision over those with positives."""

    block: _GroupBlock
    criterion: Criterion

    def __call__(self, candidates: DoubleArray) -> DoubleArray:
        """Return losses (n_groups, k)."""
        counted = self.block.cells.positives > 0 if self.criterion == "average-precision" else None
        return (
            1.0 - self.block.evaluate(candidates, self.criterion) / np.bincount(self.block.group_of, counted)[:, None]
        )


def _search_block(objective: _Gain | _OwnMean, columns: DoubleArray, search: GroupSearch) -> None:
    """Replace the columns of a block's groups by the weights found from them, never to end worse."""
    block = objective.block
    starts = _restrict(columns[block.kept, block.groups[:, None]])
    if search.minimize_together:
        found = search.minimize_together(objective, starts)
    else:  # a block of one group
        found = search.minimize(lambda candidates: objective(candidates[None])[0], starts.shape[1], starts[0])[None]
    columns[:, block.groups] = 0.0
    columns[block.kept, block.groups[:, None]] = found


def _restrict(starts: DoubleArray) -> DoubleArray:
    """Scale weights to sum to one, equal ones where all are 0."""
    total = starts.sum(axis=1, keepdims=True)
    return np.divide(starts, total, out=np.full_like(starts, 1.0 / starts.shape[1]), where=total > 0)
