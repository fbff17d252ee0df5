"""What is measured of answers: a value, each unit's influence on it, and its values on resamples of the units.

A unit is a row, or a group of rows that belong together. Influences give paired differences their standard error
(`stacking.metrics.paired_difference`), resamples give intervals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from stacking._typing import DoubleArray


class Measurement(ABC):
    """What some answers are worth by a metric.

    Attributes
    ----------
    sign : {1, -1}
        1 where larger values are better.
    """

    sign: int = 1

    @property
    @abstractmethod
    def value(self) -> float:
        """The metric."""

    @property
    @abstractmethod
    def influence(self) -> DoubleArray:
        """Influence of every unit on the merit, shape (n_units,); sums to 0."""

    @property
    def merit(self) -> float:
        """The metric, turned so that larger is better."""
        return self.sign * self.value

    @property
    def n_units(self) -> int:
        """How many units are resampled."""
        return len(self.influence)

    @abstractmethod
    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Return the metric on resamples of the units.

        Parameters
        ----------
        draws : ndarray of float64, shape (n_resamples, n_units)
            How often each unit was drawn.

        Returns
        -------
        ndarray of float64, shape (n_resamples,)
            Values of the metric.
        """
