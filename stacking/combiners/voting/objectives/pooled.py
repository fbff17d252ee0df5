"""Objectives with one threshold for all labels, or none: micro-F1 at the best one, micro-F1 at .5, and log loss."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.voting.objectives.objective import ABOVE, BELOW, CellBlock, WeightObjective
from stacking.combiners.voting.objectives.registry import register_objective
from stacking.predictions import PredictionSet

_PROBE_CELLS = 100_000
"""Cells of the rows from which the floors are guessed. Only speed and memory depend on it."""

_EDGE = 1e-5
"""Margin around a threshold for what rounding adds to a mean: a float32 sum of 100 scores is off by at most about 6e-6
of its size. A wider margin costs time, no result."""

_TIER = 32
"""Grid positions between the floors of two tiers: half an octave of the odds. Only speed depends on it."""

_MOST_BYTES = 9 * 2**29
"""4.5 GiB. Only memory and speed depend on it: what is not stored is read again."""

_TIED = 1e-6
"""How far below the best of a batch, relative to it, a candidate's bound must lie to be given up in a race: far more
than what a greedy search counts as a tie (1e-9 of the loss), so that tied candidates are all scored to the end."""


@register_objective("micro-f1-half")
class MicroF1AtHalf(WeightObjective):
    """One minus the micro-F1 of decisions at .5.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Notes
    -----
    Cells whose scores all lie on one side of .5 are counted once and for all (a margin of 1e-5 leaves those to the sum
    that rounding could move). O(candidates · n_models · undecided cells) per batch.
    """

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        (self._cells,), self._always, self._positives = self._gather([0.5 - _EDGE], high=0.5 + _EDGE)

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return 1 − micro-F1 at .5."""
        from stacking.kernels import weights as _kernels

        common, weights = self.split(self.effective(candidates))
        fired = np.repeat(self._always[None], len(weights), axis=0)
        cut = np.float32(0.0 if self.is_logit else 0.5)
        for cells in self._cells:
            _kernels.fired_at(cells.values, cells.start, cells.weight, common, weights, cut, fired)
        return 1.0 - _micro_f1(fired[:, 1], fired.sum(axis=1), self._positives)


@register_objective("micro-f1-best")
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
    prune : bool, default True
        Whether to leave out cells that cannot matter; the losses are the same.
    most_bytes : int, default 4.5 GiB
        Most memory for stored cells, by what a probe of the rows holds; the losses are the same.
    tiers : tuple of list of int and int, optional
        The floors, and how many of their tiers are stored, as another objective of the same members has guessed them;
        the losses are the same.

    Notes
    -----
    In a race, candidates whose bound lies below the best of the batch keep a loss that is too high. A cell whose
    scores all lie below a floor never fires at thresholds above it. Below the floor F1 cannot exceed 2 P / (2 P + FP),
    with P positives and FP the candidate's false positives at the floor: once its best F1 above the floor reaches that
    bound, the candidate is done. Cells are stored in tiers by their highest score, half an octave
    of the odds each, and every candidate reads as many tiers as it needs. Where that is more than is stored (a
    candidate far worse than the others, or tiers beyond `most_bytes`, of which the first is stored always), the
    predictions are read again, a block at a time, for all such candidates of a batch at once; what they lost is
    remembered.
    """

    def __init__(
        self,
        predictions: PredictionSet,
        mean: str = "arithmetic",
        *,
        prune: bool = True,
        most_bytes: int = _MOST_BYTES,
        tiers: tuple[list[int], int] | None = None,
    ) -> None:
        super().__init__(predictions, mean)
        self.is_weighted = self.predictions.sample_weight is not None
        self._set_tiers(tiers or (self._guess_floors(most_bytes) if prune else ([0], 1)))
        self._tiers, _, self._positives = self._gather(self._lows[: self.tiers[1]])
        self._read_again: dict[bytes, float] = {}

    @property
    def positives(self) -> float:
        """The weight of all positives."""
        return self._positives

    def _set_tiers(self, tiers: tuple[list[int], int]) -> None:
        """Set the floors and the scores that they stand for."""
        self.tiers = tiers
        self._floors = tiers[0]
        self._lows = [float(low) for low in _grid_edges(self.is_logit)[self._floors] * (1.0 - _EDGE)]
        if self._floors[-1] == 0:
            self._lows[-1] = BELOW

    def count_tier(self, tier: int, weights: FloatArray, active: npt.NDArray[np.intp]) -> npt.NDArray[np.generic]:
        """Count one tier; counts of parts of the rows add up.

        Parameters
        ----------
        tier : int
            Its number.
        weights : ndarray of float32, shape (k, n_models, n_groups)
            From `effective`.
        active : ndarray of int, shape (n_active,)
            The candidates to count.

        Returns
        -------
        ndarray of int32, or of float64 where samples weigh, shape (n_active, 2, n_cuts)
            Weight of the negatives and the positives at each position of the threshold grid.
        """
        histograms = self._empty_histograms(len(weights))
        for _, cells in islice(self._iter_tiers(), tier, tier + 1):
            self._count(cells, weights, active, histograms)
        counted: npt.NDArray[np.generic] = histograms[active]
        return counted

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return 1 − micro-F1 at the best threshold of the grid."""
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
            # Lower thresholds cannot lift F1 above the bound: a candidate that has reached it is done, and in a race
            # one whose bound lies below the best of the batch cannot win.
            least = best.max(initial=0.0) * (1.0 - _TIED) if self.is_race else 0.0
            active = active[(best[active] < bound[active]) & (bound[active] >= least)]
        return 1.0 - best

    def _iter_tiers(self) -> Iterator[tuple[int, Iterable[CellBlock]]]:
        """Yield each tier with its floor; those that are not stored are read as they are used."""
        n_stored = len(self._tiers)
        yield from zip(self._floors[:n_stored], self._tiers, strict=True)
        # What follows is read between its low and the one above, and last of all what lies below every low.
        for low, above, floor in zip(
            [*self._lows[n_stored:], BELOW], self._lows[n_stored - 1 :], [*self._floors[n_stored:], 0], strict=True
        ):
            if above > BELOW:
                yield floor, (parts[0] for parts, _ in self._iter_cells([low], ABOVE, above, np.zeros(2)))

    def _empty_histograms(self, n_candidates: int) -> npt.NDArray[np.generic]:
        """Return zeros of shape (n_candidates, 2, n_cuts): negatives and positives by grid position."""
        from stacking.kernels import weights as _kernels

        shape = (n_candidates, 2, 2 * _kernels.GRID_HALF + 1)
        return np.zeros(shape, dtype=np.float64 if self.is_weighted else np.int32)

    def _count(
        self,
        cells: Iterable[CellBlock],
        weights: FloatArray,
        active: npt.NDArray[np.intp],
        histograms: npt.NDArray[np.generic],
    ) -> None:
        """Add a tier to the histograms of the active candidates."""
        from stacking.kernels import weights as _kernels

        common, own = self.split(weights)
        for part in cells:
            given = (part.values, part.start, part.weight, common, own, active)
            _kernels.grid_histograms(*given, self.is_logit, histograms)

    def _guess_floors(self, most_bytes: int) -> tuple[list[int], int]:
        """Choose the tiers on a probe of rows, from where the plain mean is done to where every single model is.

        Also says how many of them can be stored; what lies below those is one tier. Only speed and memory depend on the
        guess: a candidate whose bound still lies above its best goes on to the next tier, at last to one without a
        floor, so that its loss is exact whatever was guessed here.
        """
        n_samples, n_models = self.predictions.n_samples, self.predictions.n_models
        n_probe = min(n_samples, max(_PROBE_CELLS // self.predictions.n_labels, 50))
        rows = np.unique(np.linspace(0, n_samples - 1, n_probe).astype(np.intp))
        sample = self.predictions.subset(samples=rows).in_memory()
        probe = MicroF1AtBest(sample, self.mean, prune=False)
        weights = probe.effective(np.vstack([np.full((1, n_models), 1.0 / n_models), np.eye(n_models)]))
        histograms = probe._empty_histograms(len(weights))
        probe._count(probe._tiers[0], weights, np.arange(len(weights)), histograms)
        false, true = np.moveaxis(np.cumsum(histograms[:, :, ::-1], axis=2, dtype=np.float64)[:, :, ::-1], 1, 0)
        if not probe._positives:
            return [0], 1
        best = _micro_f1(true, false + true, probe._positives).max(axis=1)
        bound = 2.0 * probe._positives / (2.0 * probe._positives + false)
        # The bound rises with the cut, so this is the highest cut below which nothing can win any more. The 5 % are for
        # what the probe's counts differ by from those of all rows.
        floors = (bound < 0.95 * best[:, None]).sum(axis=1) - 1
        # A member less than half as good as the best would ask for tiers far down; it is read again where it is tried.
        good = best >= 0.5 * best.max()
        # Row 0 is the plain mean, which usually needs the fewest cells; the single members' floors lie lower.
        first, last = max(int(floors[0]), 0), max(int(floors[good].min()), 0)
        tiers = [*range(max(first, last), last, -_TIER), last]
        top = np.fmax.reduce(sample.to_array())
        sizes = [
            (top >= low).mean() * n_samples * top.shape[1] * 4.0 * n_models for low in _grid_edges(self.is_logit)[tiers]
        ]
        n_stored = max(int(np.count_nonzero(np.array(sizes) <= most_bytes)), 1)
        return (tiers if n_stored == len(tiers) else [*tiers[:n_stored], last]), n_stored


@register_objective("log-loss")
class LogLoss(WeightObjective):
    """Binary cross-entropy of the mean, averaged over the known cells; convex in shared weights.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Notes
    -----
    Keeps a float32 copy of the scores. The probability given to the truth is itself the weighted mean of the members'
    probabilities of the truth (clipped at 1e-7), so one pass of multiply-adds and one logarithm per 32 cells score a
    candidate.
    """

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self._cells = self._gather([BELOW])[0][0]
        masses = [cells.weight.sum() if len(cells.weight) else cells.start[-1] for cells in self._cells]
        self._mass = max(float(sum(masses)), 1e-300)  # above 0, so that no known cell means a loss of 0

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return the log losses in nats; 0 if no cell is known."""
        from stacking.kernels import weights as _kernels

        common, weights = self.split(self.effective(candidates))
        totals = np.zeros(len(weights))
        for cells in self._cells:
            own = (cells.values, cells.start, cells.weight, common, weights)
            _kernels.log_likelihoods(*own, self.is_logit, totals)
        return -totals / self._mass

    def value_and_gradient(self, weights: DoubleArray) -> tuple[float, DoubleArray]:
        """Return the log loss of one candidate and its gradient.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_models,)
            Weights on the simplex.

        Returns
        -------
        tuple of float and ndarray of float64, shape (n_models,)
            Loss and gradient, the latter of the loss after renormalization, so tangential to the simplex.
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

    def _to_shared(self, gradient: DoubleArray, weights: DoubleArray, effective: FloatArray) -> DoubleArray:
        """Apply the chain rule of w_ml = w_m c_ml / Σ_k w_k c_kl."""
        covers = np.ones((len(weights), 1), dtype=bool) if self.shared else self.covers
        total = np.maximum((weights[:, None] * covers).sum(axis=0), 1e-12)  # above 0, where the members weigh nothing
        mean_slope = (effective * gradient).sum(axis=0)
        shared: DoubleArray = (covers * (gradient - mean_slope) / total).sum(axis=1)
        return shared


def _micro_f1(hits: DoubleArray, fired: DoubleArray, positives: float) -> DoubleArray:
    """Return micro-F1 of counts; 0 where nothing is positive or fired."""
    total = fired + positives
    return np.divide(2.0 * hits, total, out=np.zeros_like(total), where=total > 0)


def _grid_edges(is_logit: bool) -> DoubleArray:
    """Return the lower edge, as a score, of each position of the threshold grid."""
    from stacking.kernels import weights as _kernels

    half = _kernels.GRID_HALF
    if is_logit:
        return 1.0 / (1.0 + np.exp(-_kernels.LOGIT_RANGE * (np.arange(2 * half + 1) / half - 1.0)))
    patterns = ((np.arange(half + 1) + _kernels.GRID_LOWEST) << _kernels.GRID_SHIFT).astype(np.uint32)
    lower = patterns.view(np.float32).astype(np.float64)
    lower[0] = 0.0
    return np.concatenate([lower, 1.0 - lower[1:][::-1]])
