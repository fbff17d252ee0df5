"""What the search for weights minimises: log loss, micro-F1 at .5, micro-F1 at the best single threshold.

`stacking.combiners.voting.objectives.per_label` adds those that give every label its own threshold or ranking.

Each objective reads the scores once, keeps what the weights can change, and then scores a whole batch of candidates in
one pass over that. For the F1 objectives most cells are decided whatever the weights are: a mean lies between the
lowest and the highest member, so a cell whose scores all lie below the lowest useful threshold never fires. On a long
tail of labels that is nine cells in ten. The pruning loses nothing; how that is ensured stands with each objective.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice
from stacking.combiners.voting.means import covered_weights, to_mixing_space
from stacking.predictions import PredictionSet

__all__ = [
    "LogLoss",
    "MicroF1AtBest",
    "MicroF1AtHalf",
    "WeightObjective",
    "create_objective",
    "list_objectives",
]

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PROBE_CELLS = 100_000
_EDGE = 1e-5
_TIER = 32
_MOST_BYTES = 9 * 2**29
_TIED = 1e-6
_BELOW, _ABOVE = -2.0, 2.0


@dataclass(frozen=True)
class _Rows:
    """A block of rows with everything a kernel reads; empty arrays stand for "all known" and "weight 1"."""

    scores: FloatArray
    truth: npt.NDArray[np.uint8]
    known: npt.NDArray[np.bool_]
    weight: Float64Array


@dataclass(frozen=True)
class _Cells:
    """Gathered cells: values (n_models, n_cells) in the mixing space, segment starts, weights (empty for 1 each)."""

    values: FloatArray
    start: IntArray
    weight: Float64Array


class WeightObjective(ABC):
    """A loss of combination weights on one prediction set; lower is better.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth and what counts of it.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    per_label : bool, default False
        Accept candidates of shape (k, n_models, n_labels) besides (k, n_models); takes the grouped path, a little
        slower.
    """

    name: ClassVar[str]

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic", *, per_label: bool = False) -> None:
        if predictions.y_true is None:
            raise ValueError("predictions must carry y_true: weights are searched on it; use with_truth(y_true).")
        check_choice(mean, ("arithmetic", "geometric"), name="mean")
        self.predictions = predictions = predictions.only_counted()
        self.mean = mean
        self.covers = np.asarray(predictions.covers, dtype=bool)
        self.shared = bool(self.covers.all()) and not per_label
        n_labels = predictions.n_labels
        self.group = np.zeros(n_labels, np.int64) if self.shared else np.arange(n_labels, dtype=np.int64)
        self.n_groups = 1 if self.shared else n_labels

    @abstractmethod
    def __call__(self, candidates: npt.ArrayLike) -> Float64Array:
        """Return the losses of a batch of candidates.

        Parameters
        ----------
        candidates : array of shape (k, n_models), or (k, n_models, n_labels) if `per_label`
            Weights; renormalised per label over the models that cover it.

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

    def _iter_rows(self) -> Iterator[_Rows]:
        """Yield blocks of rows with truth, mask and weights beside the scores."""
        facts = self.predictions
        truth = np.asarray(facts.y_true)
        for rows, scores in facts.iter_rows():
            yield _Rows(
                np.ascontiguousarray(scores),
                truth[rows],
                np.empty((0, 0), dtype=bool) if facts.y_known is None else facts.y_known[rows],
                np.empty(0) if facts.sample_weight is None else facts.sample_weight[rows],
            )

    def _gather(
        self, lows: Sequence[float], high: float = _ABOVE, ceiling: float = _ABOVE
    ) -> tuple[list[list[_Cells]], Float64Array, float]:
        """Gather cells by tier of their highest score; weigh the always-fired ones (by truth) and the positives.

        Tier k holds the cells whose highest score lies in [lows[k], lows[k − 1]); those at `ceiling` or above, and
        those whose scores all reach `high`, are left out.
        """
        always = np.zeros(2)
        positives = 0.0
        tiers: list[list[_Cells]] = [[] for _ in lows]
        for parts, own_positives in self._iter_cells(lows, high, ceiling, always):
            positives += own_positives
            for tier, cells in zip(tiers, parts, strict=True):
                tier.append(cells)
        return tiers, always, positives

    def _iter_cells(
        self, lows: Sequence[float], high: float, ceiling: float, always: Float64Array
    ) -> Iterator[tuple[list[_Cells], float]]:
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
            ends = (start[tier * per_tier : (tier + 1) * per_tier + 1] for tier in range(len(lows)))
            yield [_Cells(values, end, weight) for end in ends], positives


class MicroF1AtHalf(WeightObjective):
    """One minus the micro-F1 of decisions at .5.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    per_label : bool, default False
        Accept candidates per label.

    Notes
    -----
    Cells whose scores all lie on one side of .5 are counted once and for all (a margin of 1e-5 leaves those to the sum
    that rounding could move). O(candidates · n_models · undecided cells) per batch.
    """

    name: ClassVar[str] = "micro-f1-half"

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic", *, per_label: bool = False) -> None:
        super().__init__(predictions, mean, per_label=per_label)
        (self._cells,), self._always, self._positives = self._gather([0.5 - _EDGE], high=0.5 + _EDGE)

    def __call__(self, candidates: npt.ArrayLike) -> Float64Array:
        """Return 1 − micro-F1 at .5.

        Parameters
        ----------
        candidates : array of shape (k, n_models), or (k, n_models, n_labels) if `per_label`
            Weights.

        Returns
        -------
        ndarray of float64, shape (k,)
            Losses in [0, 1].
        """
        from stacking.kernels import weights as _kernels

        weights = self.effective(candidates)
        fired = np.repeat(self._always[None], len(weights), axis=0)
        cut = np.float32(0.0 if self.is_logit else 0.5)
        for cells in self._cells:
            _kernels.fired_at(cells.values, cells.start, cells.weight, weights, cut, fired)
        return 1.0 - _micro_f1(fired[:, 1], fired.sum(axis=1), self._positives)


class MicroF1AtBest(WeightObjective):
    """One minus the micro-F1 at each candidate's own best single threshold.

    At a fixed .5 the search picks over-confident models instead of good ones; with the threshold free it picks good
    ones. Every candidate is scored at all thresholds of a fixed grid at once: 64 cuts per octave of the odds towards 0
    and 1.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    per_label : bool, default False
        Accept candidates per label.
    prune : bool, default True
        Whether to leave out cells that cannot matter; the losses are the same.
    most_bytes : int, default 4.5 GiB
        Most memory for stored cells, by what a probe of the rows holds; the losses are the same.

    Attributes
    ----------
    is_race : bool
        True where a search asks for nothing but the best candidate of each batch, as the greedy one does. Candidates
        whose bound lies below the best of the batch are then left as they are, with a loss that is too high.

    Notes
    -----
    A cell whose scores all lie below a floor never fires at thresholds above it. Below the floor F1 cannot exceed
    2 P / (2 P + FP), with P positives and FP the candidate's false positives at the floor: once its best F1 above the
    floor reaches that bound, the candidate is done. Cells are stored in tiers by their highest score, half an octave
    of the odds each, and every candidate reads as many tiers as it needs. Where that is more than is stored (a
    candidate far worse than the others, or tiers beyond `most_bytes`, of which the first is stored always), the
    predictions are read again, a block at a time, for all such candidates of a batch at once; what they lost is
    remembered.
    """

    name: ClassVar[str] = "micro-f1-best"

    is_race = False

    def __init__(
        self,
        predictions: PredictionSet,
        mean: str = "arithmetic",
        *,
        per_label: bool = False,
        prune: bool = True,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        super().__init__(predictions, mean, per_label=per_label)
        self._floors, n_stored = self._guess_floors(most_bytes) if prune else ([0], 1)
        self._lows = [float(low) for low in _grid_edges(self.is_logit)[self._floors] * (1.0 - _EDGE)]
        if self._floors[-1] == 0:
            self._lows[-1] = _BELOW
        self._tiers, _, self._positives = self._gather(self._lows[:n_stored])
        self._read_again: dict[bytes, float] = {}

    def __call__(self, candidates: npt.ArrayLike) -> Float64Array:
        """Return 1 − micro-F1 at the best threshold of the grid.

        Parameters
        ----------
        candidates : array of shape (k, n_models), or (k, n_models, n_labels) if `per_label`
            Weights.

        Returns
        -------
        ndarray of float64, shape (k,)
            Losses in [0, 1].
        """
        from stacking.kernels import weights as _kernels

        weights = self.effective(candidates)
        best, bound = np.zeros(len(weights)), np.zeros(len(weights))
        known = [self._read_again.get(candidate.tobytes()) for candidate in weights]
        for c, loss in enumerate(known):
            best[c] = 0.0 if loss is None else 1.0 - loss
        active = np.array([c for c, loss in enumerate(known) if loss is None], dtype=np.intp)
        histograms = self._empty_histograms(len(weights))
        for tier, (floor, cells) in enumerate(self._iter_tiers()):
            if not len(active):
                break
            self._count(cells, weights, active, histograms)
            _kernels.best_on_grid(histograms, active, floor, self._positives, best, bound)
            if tier >= len(self._tiers):
                self._read_again |= {weights[c].tobytes(): 1.0 - best[c] for c in active if best[c] >= bound[c]}
            least = best.max(initial=0.0) * (1.0 - _TIED) if self.is_race else 0.0
            active = active[(best[active] < bound[active]) & (bound[active] >= least)]
        return 1.0 - best

    def _iter_tiers(self) -> Iterator[tuple[int, Iterable[_Cells]]]:
        """Yield each tier with its floor; those that are not stored are read as they are used."""
        n_stored = len(self._tiers)
        yield from zip(self._floors[:n_stored], self._tiers, strict=True)
        for low, above, floor in zip(
            [*self._lows[n_stored:], _BELOW], self._lows[n_stored - 1 :], [*self._floors[n_stored:], 0], strict=True
        ):
            if above > _BELOW:
                yield floor, (parts[0] for parts, _ in self._iter_cells([low], _ABOVE, above, np.zeros(2)))

    def _empty_histograms(self, n_candidates: int) -> npt.NDArray[np.generic]:
        """Return zeros of shape (n_candidates, 2, n_cuts): negatives and positives by grid position."""
        from stacking.kernels import weights as _kernels

        shape = (n_candidates, 2, 2 * _kernels.GRID_HALF + 1)
        return np.zeros(shape, dtype=np.int32 if self.predictions.sample_weight is None else np.float64)

    def _count(
        self,
        cells: Iterable[_Cells],
        weights: FloatArray,
        active: npt.NDArray[np.intp],
        histograms: npt.NDArray[np.generic],
    ) -> None:
        """Add a tier to the histograms of the active candidates."""
        from stacking.kernels import weights as _kernels

        for part in cells:
            _kernels.grid_histograms(part.values, part.start, part.weight, weights, active, self.is_logit, histograms)

    def _guess_floors(self, most_bytes: int) -> tuple[list[int], int]:
        """Choose the tiers on a probe of rows, from where the plain mean is done to where every single model is.

        Also says how many of them can be stored; what lies below those is one tier.
        """
        n_samples, n_models = self.predictions.n_samples, self.predictions.n_models
        n_probe = min(n_samples, max(_PROBE_CELLS // self.predictions.n_labels, 50))
        rows = np.unique(np.linspace(0, n_samples - 1, n_probe).astype(np.intp))
        sample = self.predictions.subset(samples=rows).in_memory()
        probe = MicroF1AtBest(sample, self.mean, per_label=not self.shared, prune=False)
        weights = probe.effective(np.vstack([np.full((1, n_models), 1.0 / n_models), np.eye(n_models)]))
        histograms = probe._empty_histograms(len(weights))
        probe._count(probe._tiers[0], weights, np.arange(len(weights)), histograms)
        false, true = np.moveaxis(np.cumsum(histograms[:, :, ::-1], axis=2, dtype=np.float64)[:, :, ::-1], 1, 0)
        if not probe._positives:
            return [0], 1
        best = _micro_f1(true, false + true, probe._positives).max(axis=1)
        bound = 2.0 * probe._positives / (2.0 * probe._positives + false)
        floors = (bound < 0.95 * best[:, None]).sum(axis=1) - 1  # the bound rises with the cut
        good = best >= 0.5 * best.max()
        first, last = max(int(floors[0]), 0), max(int(floors[good].min()), 0)
        tiers = [*range(max(first, last), last, -_TIER), last]
        top = np.fmax.reduce(sample.to_array())
        sizes = [
            (top >= low).mean() * n_samples * top.shape[1] * 4.0 * n_models for low in _grid_edges(self.is_logit)[tiers]
        ]
        n_stored = max(int(np.count_nonzero(np.array(sizes) <= most_bytes)), 1)
        return (tiers if n_stored == len(tiers) else [*tiers[:n_stored], last]), n_stored


class LogLoss(WeightObjective):
    """Binary cross-entropy of the mean, averaged over the known cells; convex in shared weights.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    per_label : bool, default False
        Accept candidates per label.

    Notes
    -----
    Keeps a float32 copy of the scores. The probability given to the truth is itself the weighted mean of the members'
    probabilities of the truth (clipped at 1e-7), so one pass of multiply-adds and one logarithm per 32 cells score a
    candidate.
    """

    name: ClassVar[str] = "log-loss"

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic", *, per_label: bool = False) -> None:
        super().__init__(predictions, mean, per_label=per_label)
        self._cells = self._gather([_BELOW])[0][0]
        masses = [cells.weight.sum() if len(cells.weight) else cells.start[-1] for cells in self._cells]
        self._mass = max(float(sum(masses)), 1e-300)

    def __call__(self, candidates: npt.ArrayLike) -> Float64Array:
        """Return the log losses of a batch.

        Parameters
        ----------
        candidates : array of shape (k, n_models), or (k, n_models, n_labels) if `per_label`
            Weights.

        Returns
        -------
        ndarray of float64, shape (k,)
            Losses in nats; 0 if no cell is known.
        """
        from stacking.kernels import weights as _kernels

        weights = self.effective(candidates)
        totals = np.zeros(len(weights))
        for cells in self._cells:
            _kernels.log_likelihoods(cells.values, cells.start, cells.weight, weights, self.is_logit, totals)
        return -totals / self._mass

    def value_and_gradient(self, weights: Float64Array) -> tuple[float, Float64Array]:
        """Return the log loss of one candidate and its gradient.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_models,)
            Weights on the simplex.

        Returns
        -------
        tuple of float and ndarray of float64, shape (n_models,)
            Loss and gradient, the latter of the loss after renormalisation, so tangential to the simplex.
        """
        from stacking.kernels import weights as _kernels

        effective = self.effective(weights[None])
        gradient = np.zeros(effective.shape[1:])
        total = 0.0
        for cells in self._cells:
            total += _kernels.log_likelihood_gradient(
                cells.values, cells.start, cells.weight, effective[0], self.is_logit, gradient
            )
        return -total / self._mass, -self._to_shared(gradient, weights, effective[0]) / self._mass

    def _to_shared(self, gradient: Float64Array, weights: Float64Array, effective: FloatArray) -> Float64Array:
        """Apply the chain rule of w_ml = w_m c_ml / Σ_k w_k c_kl."""
        covers = np.ones((len(weights), 1), dtype=bool) if self.shared else self.covers
        total = np.maximum((weights[:, None] * covers).sum(axis=0), 1e-12)
        mean_slope = (effective * gradient).sum(axis=0)
        shared: Float64Array = (covers * (gradient - mean_slope) / total).sum(axis=1)
        return shared


@cache
def _objectives() -> dict[str, type[WeightObjective]]:
    """Return the objectives by name; filled on first use, since some live in a module that imports this one."""
    from stacking.combiners.voting.objectives.per_label import MacroF1, MeanAveragePrecision, MicroF1PerLabel

    kinds = (LogLoss, MicroF1AtHalf, MicroF1AtBest, MicroF1PerLabel, MacroF1, MeanAveragePrecision)
    return {kind.name: kind for kind in kinds}


def list_objectives() -> list[str]:
    """List the objectives that `WeightedVoting` takes.

    Returns
    -------
    list of str
        Their names, sorted.

    Examples
    --------
    >>> list_objectives()
    ['log-loss', 'macro-f1', 'mean-average-precision', 'micro-f1-best', 'micro-f1-half', 'micro-f1-per-label']
    """
    return sorted(_objectives())


def create_objective(name: str, predictions: PredictionSet, mean: str = "arithmetic") -> WeightObjective:
    """Create an objective by name.

    Parameters
    ----------
    name : str
        One of `list_objectives`.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Returns
    -------
    WeightObjective
        A callable for `optimizers.minimize`.

    Raises
    ------
    ValueError
        If the name or the mean is unknown, or the truth is missing.
    """
    return _objectives()[check_choice(name, list_objectives(), name="objective")](predictions, mean)


def _micro_f1(hits: Float64Array, fired: Float64Array, positives: float) -> Float64Array:
    """Return micro-F1 of counts; 0 where nothing is positive or fired."""
    total = fired + positives
    return np.divide(2.0 * hits, total, out=np.zeros_like(total), where=total > 0)


def _grid_edges(is_logit: bool) -> Float64Array:
    """Return the lower edge, as a score, of each position of the threshold grid."""
    from stacking.kernels import weights as _kernels

    half = _kernels.GRID_HALF
    if is_logit:
        return 1.0 / (1.0 + np.exp(-_kernels.LOGIT_RANGE * (np.arange(2 * half + 1) / half - 1.0)))
    patterns = ((np.arange(half + 1) + _kernels.GRID_LOWEST) << _kernels.GRID_SHIFT).astype(np.uint32)
    lower = patterns.view(np.float32).astype(np.float64)
    lower[0] = 0.0
    return np.concatenate([lower, 1.0 - lower[1:][::-1]])
