"""Objectives that judge each label by its own ranking: micro-F1 and macro-F1 at per-label thresholds, and mAP.

All three are exact, ties included: they equal the metric of the mixed scores at the thresholds that the exact decision
rules would choose. They cost three to seven times what the objective with one best threshold does.
"""

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.voting.objectives.label_cells import LabelCells
from stacking.combiners.voting.objectives.objective import WeightObjective
from stacking.combiners.voting.objectives.registry import register_objective
from stacking.predictions import PredictionSet

_EVERYTHING = -2.0
"""A bound below every score: all cells are gathered."""

_NEARLY = 0.9
"""Share of the best micro-F1 so far that a candidate is first expected to reach. Only speed depends on it: candidates
that stay below are looked at again."""


class LabelObjective(WeightObjective):
    """Base of the losses that depend on each label through its own cuts.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth and what counts of it.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Notes
    -----
    Keeps a float32 copy of the scores. O(n_models · n) per candidate and label with n cells that can matter: for the F1
    objectives those among its highest, down to about 2 / F1 times as many as it has positives; average precision needs
    all that reach its lowest positive.
    """

    judges_labels = True

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        parts = [(part.values, part.start, part.weight) for part in self._gather([_EVERYTHING])[0][0]]
        self.cells = LabelCells.join(parts, is_logit=self.is_logit)

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return one minus the metric, in [0, 1]."""
        return 1.0 - self._metric(self.effective(candidates))

    @abstractmethod
    def _metric(self, weights: FloatArray) -> DoubleArray:
        """Return the metric of effective weights (k, n_models, n_labels)."""


@register_objective("micro-f1-per-label")
class MicroF1PerLabel(LabelObjective):
    """One minus the micro-F1 at the best thresholds, one per label: the global optimum over all thresholds.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    References
    ----------
    W. Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967.
    """

    _best = 0.0  # reached so far; what most candidates nearly reach

    def _metric(self, weights: FloatArray) -> DoubleArray:
        """Return micro-F1 at exact per-label thresholds."""
        if self._best == 0.0 and len(weights):
            self._best = float(self.cells.micro_f1(weights[:1])[0])
        reached = self.cells.micro_f1(weights, _NEARLY * self._best)
        self._best = max(self._best, float(reached.max(initial=0.0)))
        return reached


@register_objective("macro-f1")
class MacroF1(LabelObjective):
    """One minus the macro-F1 at each label's best threshold; labels without positives count as 0.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    def _metric(self, weights: FloatArray) -> DoubleArray:
        """Return the mean over labels of the best own F1."""
        macro: DoubleArray = self.cells.evaluate(weights, "own-f1").mean(axis=1)
        return macro


@register_objective("mean-average-precision")
class MeanAveragePrecision(LabelObjective):
    """One minus the mean average precision over the labels that have positives; 1 where none has any.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    def _metric(self, weights: FloatArray) -> DoubleArray:
        """Return the mean over labels with positives of the average precision."""
        n_ranked = max(int(np.count_nonzero(self.cells.positives)), 1)
        average: DoubleArray = self.cells.evaluate(weights, "average-precision").sum(axis=1) / n_ranked
        return average
