"""Voting weights of rows that lie in shards, on one machine or on many: every worker counts its own, counts add up.

A shard is a prediction store (or a set in memory) with some of the rows. Its worker reads it once and keeps the cells
that weights can decide; for each batch of candidates it answers with the histograms of `MicroF1AtBest`, a few hundred
kilobytes. These are whole numbers, so that their sum, and with it every weight, is that of all rows in one process, to
the last bit.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import FloatArray, StringArray
from stacking.combiners.voting.member_limits import MemberLimits
from stacking.combiners.voting.objectives.objective import CellBlock
from stacking.combiners.voting.objectives.pooled import MicroF1AtBest
from stacking.combiners.voting.weighted_voting import WeightedVoting
from stacking.named_arrays import AxisNames
from stacking.predictions import PredictionSet
from stacking.predictions.forms.loading import PathLike, load_predictions
from stacking.truth import WIDEST_RATIO, unit_of_weights


def fit_on_shards(
    voting: WeightedVoting, shards: Sequence[PathLike | PredictionSet], client: Any = None
) -> WeightedVoting:
    """Search the weights of a vote on rows that lie in several stores.

    Parameters
    ----------
    voting : WeightedVoting
        Any optimizer, ``objective="micro-f1-best"``, one weight per model, ``max_rows=None``; it is fitted in place.
    shards : sequence of path or PredictionSet
        Predictions with their truth, some of the rows each: the same models and labels in the same order.
    client : object, optional
        What runs functions on workers, such as ``dask.distributed.Client``: its ``submit(function, *arguments,
        pure=False)`` returns a future that may be an argument of further calls, its ``gather(futures)`` the results.
        The workers must see the stores under the same paths. By default everything runs here, one shard after another.

    Returns
    -------
    WeightedVoting
        `voting`, with the weights that `WeightedVoting.fit` finds on all rows at once.

    Raises
    ------
    TypeError
        If `shards` is no list.
    ValueError
        If there is no shard, two hold the same rows, shards differ in models, labels or which model answers which
        label, lack the truth, or the vote asks for what counts of shards cannot give.

    Notes
    -----
    Each worker holds the cells of its shards that weights can decide, a tenth of the scores on a long tail of labels.
    With weights of samples the sums are floating-point ones, equal to those of one process but for their rounding.

    Examples
    --------
    >>> scores = np.array([[[0.9], [0.6], [0.2]], [[0.8], [0.1], [0.7]]], dtype=np.float32)
    >>> parts = [PredictionSet(scores[:, :2], y_true=[[1], [1]]), PredictionSet(scores[:, 2:], y_true=[[0]])]
    >>> fit_on_shards(WeightedVoting(max_rows=None), parts).shared_weights_.tolist()
    [1.0, 0.0]
    """
    _check(voting, shards)
    voting._check_parameters()
    first = _open(shards[0])
    voting._remember(first)
    limits = MemberLimits.check(voting.models_, voting.max_members, voting.member_costs, voting.max_cost)
    objective = _ShardedMicroF1(shards, voting.mean, client)
    voting.n_tuning_rows_ = objective.n_samples
    voting._keep(voting._search(objective, limits, np.random.default_rng(voting.random_state)))
    return voting


class _ShardedMicroF1(MicroF1AtBest):
    """One minus the micro-F1 at each candidate's best single threshold, counted where the rows are."""

    def __init__(
        self, shards: Sequence[PathLike | PredictionSet], mean: str = "arithmetic", client: Any = None
    ) -> None:
        self.mean = mean
        self._client, self._tier = client, 0
        # The first shard guesses what is worth storing; the others follow, so that all count the same tiers.
        first = self._hold(_Shard, shards[0], mean, None)
        about = self._ask(_describe, [first])[0]
        self._shards = [first, *(self._hold(_Shard, shard, mean, about["tiers"]) for shard in shards[1:])]
        every = self._ask(_describe, self._shards)
        _refuse_twice([other["rows"] for other in every])
        for number, other in enumerate(every):
            for key in ("models", "labels", "covers"):
                if other[key] != about[key]:
                    raise ValueError(f"shards must hold the same {key} in the same order: number {number} differs.")
        self.n_samples = sum(other["n_samples"] for other in every)
        self.covers = np.array(about["covers"], dtype=bool)
        self.shared = bool(self.covers.all())
        # Each shard counts in a unit of its own, the least weight of its rows.
        units = np.array([other["unit"] for other in every])
        least = max(units.min(), units.max() / WIDEST_RATIO)
        self._factors = np.maximum(units / least, 1.0).astype(np.float32).tolist()
        self.is_weighted = any(other["is_weighted"] for other in every) or max(self._factors) > 1.0
        self._positives = sum(factor * other["positives"] for factor, other in zip(self._factors, every, strict=True))
        self._set_tiers(about["tiers"])
        self._tiers = [[] for _ in range(self.tiers[1])]
        self._read_again = {}

    def _iter_tiers(self) -> Iterator[tuple[int, Iterable[CellBlock]]]:
        """Yield each tier with its floor; its cells are where the shards are."""
        for tier, (floor, _) in enumerate(super()._iter_tiers()):
            self._tier = tier
            yield floor, ()

    def _count(
        self,
        cells: Iterable[CellBlock],
        weights: FloatArray,
        active: npt.NDArray[np.intp],
        histograms: npt.NDArray[Any],
    ) -> None:
        """Add the counts of all shards, in their order, to the histograms of the active candidates."""
        question = partial(_count, self._tier, weights, active, self.is_race)
        for factor, counted in zip(self._factors, self._ask(question, self._shards), strict=True):
            histograms[active] += counted if factor == 1.0 else factor * counted

    def _hold(self, make: Callable[..., Any], *given: Any) -> Any:
        """Make something where it will be asked."""
        return make(*given) if self._client is None else self._client.submit(make, *given, pure=False)

    def _ask(self, question: Callable[[Any], Any], shards: Sequence[Any]) -> list[Any]:
        """Ask all of them, side by side where there are workers."""
        if self._client is None:
            return [question(shard) for shard in shards]
        futures = [self._client.submit(question, shard, pure=False) for shard in shards]
        return list(self._client.gather(futures))


class _Shard:
    """The rows of one shard, and their objective."""

    def __init__(self, shard: PathLike | PredictionSet, mean: str, tiers: tuple[list[int], int] | None) -> None:
        self.predictions = _open(shard)
        self.objective = MicroF1AtBest(self.predictions, mean, tiers=tiers)


def _open(shard: PathLike | PredictionSet) -> PredictionSet:
    """Return the predictions of a shard, which must have the truth."""
    predictions = shard if isinstance(shard, PredictionSet) else load_predictions(shard)
    if predictions.y_true is None:
        raise ValueError(f"shards must carry the truth that weights are searched on: {shard} has none; pack it too.")
    return predictions


def _describe(shard: _Shard) -> dict[str, Any]:
    """Say what the shards of one search must have in common, and what adds up."""
    predictions, objective = shard.predictions, shard.objective
    return {
        "models": tuple(predictions.models),
        "labels": tuple(predictions.labels),
        "covers": np.asarray(predictions.covers).tolist(),
        "n_samples": predictions.n_samples,
        "rows": _hash_ids(predictions.ids),
        "unit": 1.0 if predictions.sample_weight is None else unit_of_weights(predictions.sample_weight),
        "is_weighted": objective.is_weighted,
        "positives": objective.positives,
        "tiers": objective.tiers,
    }


def _hash_ids(ids: StringArray) -> npt.NDArray[np.uint64]:
    """Hash every id, the same in every process; nothing for those that arrays get, which name nothing."""
    from pandas.util import hash_array

    if AxisNames.of(ids.tolist(), "sample").is_made_up:
        return np.empty(0, dtype=np.uint64)
    return np.asarray(hash_array(ids.astype(object), categorize=False))


def _refuse_twice(rows: Sequence[npt.NDArray[np.uint64]]) -> None:
    """Raise where two shards hold the same rows, by the hashes of their ids: they would count twice."""
    hashes, shard = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    order = np.argsort(hashes, kind="stable")  # of equal ones that of the earlier shard first
    again = np.flatnonzero(np.diff(hashes[order]) == 0)
    if len(again):
        first, second = shard[order[again[0]]], shard[order[again[0] + 1]]
        raise ValueError(
            f"shards must hold other rows each: number {second} has ids of number {first}; {len(again):,} rows are "
            "there twice and would count twice."
        )


def _count(
    tier: int, weights: FloatArray, active: npt.NDArray[np.intp], is_race: bool, shard: _Shard
) -> npt.NDArray[np.generic]:
    """Count one tier of a shard."""
    shard.objective.is_race = is_race
    return shard.objective.count_tier(tier, weights, active)


def _check(voting: WeightedVoting, shards: Sequence[PathLike | PredictionSet]) -> None:
    """Raise for what shards cannot give."""
    if not isinstance(voting, WeightedVoting):
        raise TypeError(f"voting must be a WeightedVoting, whose weights are searched: got {type(voting).__name__}.")
    if isinstance(shards, str | os.PathLike | PredictionSet):
        raise TypeError(f"shards must be a list of paths or sets of predictions: got {shards!r} alone.")
    if not isinstance(shards, Sequence):
        raise TypeError(f"shards must be a list of paths or sets of predictions: got a {type(shards).__name__}.")
    if not shards:
        raise ValueError("shards must hold at least one path or set of predictions: got none.")
    if getattr(voting.objective, "name", voting.objective) != MicroF1AtBest.name:
        raise ValueError(f"objective must be {MicroF1AtBest.name!r} on shards: got {voting.objective!r}.")
    if voting.weights_per != "model":
        raise ValueError(f"weights_per must be 'model' on shards: got {voting.weights_per!r}.")
    if voting.max_rows is not None:
        raise ValueError(f"max_rows must be None on shards, whose rows are all counted: got {voting.max_rows}.")
    if isinstance(voting.start, str) and voting.start == "convex":
        raise ValueError("start must be 'uniform', 'greedy' or weights on shards: 'convex' needs the log loss.")
