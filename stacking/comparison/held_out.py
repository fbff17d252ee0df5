"""What one method answered for samples that tuned nothing, and everything that is counted of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stacking.metrics.counts import DecisionCounts, ScoreHistogram
from stacking.truth import Truth


@dataclass(frozen=True)
class HeldOut:
    """Scores and decisions of a method on samples that tuned nothing, with the truth.

    Attributes
    ----------
    method : str
        Its name.
    ids : ndarray of str, shape (n_samples,)
        The samples.
    labels : tuple of str
        Names of the labels.
    truth : Truth
        The right answers, and what counts of them.
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    y_pred : ndarray of bool, shape (n_samples, n_labels)
        Decisions.
    thresholds : ndarray of float64, shape (n_labels,), or None
        What decided; the median over the splits where each has its own.
    """

    method: str
    ids: npt.NDArray[np.str_]
    labels: tuple[str, ...]
    truth: Truth
    y_score: npt.NDArray[np.float32]
    y_pred: npt.NDArray[np.bool_]
    thresholds: npt.NDArray[np.float64] | None = None

    @property
    def y_true(self) -> npt.NDArray[np.bool_]:
        """The truth, False where it is not known."""
        return self.truth.y_true

    @cached_property
    def counts(self) -> DecisionCounts:
        """Return the counts of the decisions."""
        return DecisionCounts.count(self.y_pred, self.truth)

    @cached_property
    def histogram(self) -> ScoreHistogram:
        """How the scores are spread over true and false cells."""
        return ScoreHistogram.count(self.y_score, self.truth)
