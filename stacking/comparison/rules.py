"""Thresholds for one method, and the choice between one for all labels and one per label.

Both are tuned on scores that did not see their row. Per-label thresholds win in-sample by construction, so the choice
is made by cross-fitting: tune on all inner folds but one, count on that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.metrics import micro_f1_counts
from stacking.metrics.counts import f1_score
from stacking.predictions import PredictionSet

__all__ = ["DECISIONS", "RULES", "FittedRules", "fit_rules"]

FloatArray = npt.NDArray[np.float32]

RULES = {"single": "single", "per_label": "exact-micro-f1"}
"""Column of the table → decision rule."""

DECISIONS = ("chosen", "single", "per_label")
"""The three sets of decisions of every row of the table."""


@dataclass(frozen=True)
class FittedRules:
    """The thresholds of both rules, and which of them cross-fitting prefers.

    Attributes
    ----------
    thresholds : dict of str to ndarray of shape (n_labels,)
        For "single" and "per_label".
    chosen : {"single", "per_label"}
        The rule with the higher cross-fitted micro-F1; "single" on ties.
    cross_fitted : dict of str to float
        Cross-fitted micro-F1 of both rules.
    """

    thresholds: dict[str, npt.NDArray[np.floating]]
    chosen: str
    cross_fitted: dict[str, float]

    def decide(self, y_score: FloatArray) -> dict[str, npt.NDArray[np.bool_]]:
        """Apply the rules.

        Parameters
        ----------
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].

        Returns
        -------
        dict of str to ndarray of bool, shape (n_samples, n_labels)
            Decisions for "chosen", "single" and "per_label".
        """
        decisions = {rule: apply_thresholds(y_score, thresholds) for rule, thresholds in self.thresholds.items()}
        return {"chosen": decisions[self.chosen], **decisions}


def fit_rules(y_score: FloatArray, predictions: PredictionSet, folds: npt.NDArray[np.integer]) -> FittedRules:
    """Tune both rules, and choose between them by cross-fitting.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Cross-fitted scores.
    predictions : PredictionSet
        Holds the truth of the same rows.
    folds : ndarray of int, shape (n_samples,)
        Inner fold of each row.

    Returns
    -------
    FittedRules
        The thresholds, tuned on all rows, and the choice.
    """
    everything = np.ones(len(y_score), dtype=bool)
    thresholds = {name: _tune(y_score, predictions, everything, rule) for name, rule in RULES.items()}
    totals = {name: np.zeros(3) for name in RULES}
    numbers = np.unique(folds)
    for fold in numbers if len(numbers) > 1 else ():  # with one group nothing can be held out: the steadier rule
        held_out = folds == fold
        for name, rule in RULES.items():
            tuned = _tune(y_score, predictions, ~held_out, rule)
            totals[name] += _count(apply_thresholds(y_score[held_out], tuned), predictions, held_out)
    cross_fitted = {name: float(f1_score(*counts)) for name, counts in totals.items()}
    chosen = "per_label" if cross_fitted["per_label"] > cross_fitted["single"] else "single"
    return FittedRules(thresholds, chosen, cross_fitted)


def _tune(
    y_score: FloatArray, predictions: PredictionSet, rows: npt.NDArray[np.bool_], rule: str
) -> npt.NDArray[np.floating]:
    """Tune one rule on some rows."""
    truth, known, weight = predictions.y_true, predictions.y_known, predictions.sample_weight
    if truth is None:
        raise ValueError("predictions must carry y_true: thresholds are tuned on it.")
    return tune_thresholds(
        y_score[rows],
        truth[rows],
        rule=rule,
        y_known=None if known is None else known[rows],
        sample_weight=None if weight is None else weight[rows],
    )


def _count(
    y_pred: npt.NDArray[np.bool_], predictions: PredictionSet, rows: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Count decisions on some rows."""
    truth, known, weight = predictions.y_true, predictions.y_known, predictions.sample_weight
    if truth is None:
        raise ValueError("predictions must carry y_true: decisions are counted against it.")
    counts = micro_f1_counts(
        truth[rows],
        y_pred,
        y_known=None if known is None else known[rows],
        sample_weight=None if weight is None else weight[rows],
    )
    return np.array(counts)
