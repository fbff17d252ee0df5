"""Weighted sums of metrics, such as ``0.5*micro-f1+0.5*map``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stacking._typing import BoolArray, DoubleArray
from stacking.metrics.measurement import Measurement
from stacking.metrics.named.functions import FunctionMetric, MeasuredByBlocks
from stacking.metrics.named.metric import Metric, ScoreArray, ServingRules, spell_number
from stacking.truth import Truth


@dataclass(frozen=True, kw_only=True)
class SumMetric(Metric):
    """A weighted sum; a loss counts with its sign turned, so that larger is better.

    Attributes
    ----------
    parts : tuple of Metric
        What is added up.
    weights : tuple of float
        Positive weight of each.
    """

    parts: tuple[Metric, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def averages_labels(self) -> bool:
        """Whether some part of it is a mean over labels."""
        return any(part.averages_labels for part in self.parts)

    @classmethod
    def of(cls, weights: Sequence[float], parts: Sequence[Metric]) -> SumMetric:
        """Add metrics up.

        Parameters
        ----------
        weights : sequence of float
            Weight of each.
        parts : sequence of Metric
            The metrics.

        Returns
        -------
        SumMetric
            The sum.

        Raises
        ------
        ValueError
            If a weight is not positive and finite.
        """
        for weight, part in zip(weights, parts, strict=True):
            if not (np.isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {part.name} in a sum must be positive and finite: got {weight:g}.")
        terms = list(zip(weights, parts, strict=True))
        needing = [part for part in parts if part.needs_decisions]
        return cls(
            name="+".join(f"{spell_number(weight)}*{part.name}" for weight, part in terms),
            title=" + ".join(
                f"{spell_number(weight)} {'' if part.greater_is_better else '(−)'}{part.title}"
                for weight, part in terms
            ),
            description="weighted sum; losses count negative",
            needs="decisions" if needing else "probabilities",
            rules=_rules(needing),
            bounds=(-np.inf, np.inf),
            is_code=any(part.is_code for part in parts),
            parts=tuple(parts),
            weights=tuple(map(float, weights)),
        )

    def check_truth(self, truth: Truth) -> None:
        """Ask every part; see `Metric.check_truth`."""
        for part in self.parts:
            part.check_truth(truth)

    def measure(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> Measurement:
        """Measure every part, together by blocks of rows where one is a function; see `Metric.measure`."""
        if self._asks_a_function:
            return MeasuredByBlocks(self.sign, self._add_up, truth, [y_pred, y_score])
        return _SumOfMeasurements(
            [(weight * part.sign, part.measure(truth, y_pred, y_score)) for weight, part in self._terms]
        )

    @property
    def _asks_a_function(self) -> bool:
        """Whether a part is a function, which knows no influence of a row."""
        return any(
            part._asks_a_function if isinstance(part, SumMetric) else isinstance(part, FunctionMetric)
            for part in self.parts
        )

    def _add_up(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> float:
        """Return the sum on some rows."""
        values = (weight * part.sign * part.measure(truth, y_pred, y_score).value for weight, part in self._terms)
        return float(sum(values))

    @property
    def _terms(self) -> list[tuple[float, Metric]]:
        """Weights with their metrics."""
        return list(zip(self.weights, self.parts, strict=True))


def _rules(needing: Sequence[Metric]) -> ServingRules:
    """Take the rules of the parts that need decisions, and the one threshold that is best for the sum."""
    if not needing:
        return ServingRules()
    choices = ["best-single"]
    for part in needing:
        choices += [rule for rule in (part.rules.race, part.rules.per_label) if rule not in choices]
    return ServingRules(tuple(choices), "best-single", "best-single", needing[0].rules.per_label)


class _SumOfMeasurements(Measurement):
    """Everything about a sum is the sum of the parts'."""

    def __init__(self, terms: list[tuple[float, Measurement]]) -> None:
        self.sign = 1
        self.terms = terms

    @property
    def value(self) -> float:
        """The sum."""
        return float(sum(factor * part.value for factor, part in self.terms))

    @property
    def influence(self) -> DoubleArray:
        """The sum of the influences, each turned by its part's sign already."""
        return np.sum([abs(factor) * part.influence for factor, part in self.terms], axis=0)

    @property
    def n_units(self) -> int:
        """How many units are resampled."""
        return self.terms[0][1].n_units

    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Add up the parts on the same resamples; see `Measurement.resample`."""
        return np.sum([factor * part.resample(draws) for factor, part in self.terms], axis=0)
