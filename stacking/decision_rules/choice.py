"""Choose a decision rule on folds that did not tune it, the steadier first.

Of .5 and one tuned threshold the better is taken: the best threshold of calibrated scores is half the micro-F1 itself
(Lipton, Elkan and Narayanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML 2014), so that .5
is right only where micro-F1 is near 1, and on 30 rows a tuned one already does better. Per-label thresholds must beat
what was chosen so far by more than a standard error. Each rule's micro-F1 here comes from thresholds tuned on the other
folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, FloatArray
from stacking.decision_rules import apply_thresholds, get_decision_rule
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks
from stacking.metrics.paired_difference import UnitCounts, count_units, paired_gain
from stacking.predictions import PredictionSet
from stacking.truth import Truth

Decide = Callable[..., BoolArray]
"""``decide(y_score, thresholds)`` returns the decisions that count, for example with image rules."""

RULES = ("half", "single", "cross-validated", "exact-micro-f1")
"""Decision rules that may be chosen, the steadier first."""


@dataclass(frozen=True)
class ThresholdChoice:
    """Thresholds, and what the rules scored.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (n_labels,)
        Of the chosen rule, tuned on all rows; +inf never fires.
    rule : str
        The chosen rule.
    scores : dict of str to float
        Cross-fitted micro-F1 of each rule; empty where nothing could be held out.
    """

    thresholds: npt.NDArray[np.float64]
    rule: str
    scores: dict[str, float]


class RuleTuner:
    """Tunes any decision rule on any part of some rows; rules of additive counts share one sort of the scores.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    predictions : PredictionSet
        With the truth of the same rows.
    """

    def __init__(self, y_score: FloatArray, predictions: PredictionSet) -> None:
        self.y_score = y_score
        self.predictions = predictions
        self._blocks = ScoreBlocks(y_score.__getitem__, predictions)  # without a copy of any part's rows

    def tune(self, rule: str, part: BoolArray | None = None) -> npt.NDArray[np.float64]:
        """Tune the thresholds of a rule.

        Parameters
        ----------
        rule : str
            A decision rule's name.
        part : ndarray of bool, shape (n_samples,), optional
            The rows to tune on; all by default.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            Thresholds, +inf for never.
        """
        if part is None:
            part = np.ones(len(self.y_score), dtype=bool)
        if rule in ADDITIVE_RULES:
            return self._blocks.tune_part(rule, part)
        return tune_rule(self.y_score[part], self.predictions.truth.rows(part), rule)

    def decide_held_out(self, folds: npt.NDArray[np.intp], rule: str, decide: Decide = apply_thresholds) -> BoolArray:
        """Decide each fold with thresholds tuned on the other folds.

        Parameters
        ----------
        folds : ndarray of int, shape (n_samples,)
            The fold each row is held out in.
        rule : str
            A decision rule's name.
        decide : callable, default=apply_thresholds
            ``decide(y_score, thresholds)`` returns the decisions.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_labels)
            Decisions that saw neither their row's scores nor its truth.
        """
        decided = np.zeros(self.y_score.shape, dtype=bool)
        for fold in np.unique(folds):
            held = folds == fold
            decided[held] = decide(self.y_score[held], self.tune(rule, ~held))
        return decided


def choose_thresholds(
    y_score: npt.NDArray[np.float32],
    predictions: PredictionSet,
    folds: npt.NDArray[np.integer],
    *,
    decide: Decide = apply_thresholds,
    rule: str = "auto",
    tuner: RuleTuner | None = None,
) -> ThresholdChoice:
    """Choose a rule by cross-fitting and tune it on all rows.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1] that did not see their row.
    predictions : PredictionSet
        With the truth; unknown cells, weights and groups are honored.
    folds : ndarray of int, shape (n_samples,)
        Folds of the scores; with one fold only, a single threshold is tuned.
    decide : callable, default=apply_thresholds
        ``decide(y_score, thresholds)`` returns the decisions that count, for example with image rules.
    rule : str, default="auto"
        A decision rule to take without a choice; "auto" chooses among `RULES`.
    tuner : RuleTuner, optional
        Of these scores, where more is to be tuned on them.

    Returns
    -------
    ThresholdChoice
        Thresholds, rule, and cross-fitted micro-F1 of every rule.
    """
    tuner = RuleTuner(y_score, predictions) if tuner is None else tuner
    counts: dict[str, UnitCounts] = {}
    if len(np.unique(folds)) > 1:
        held_out = np.asarray(folds, dtype=np.intp)
        for name in RULES if rule == "auto" else (rule,):
            counts[name] = count_units(tuner.decide_held_out(held_out, name, decide), predictions)
    chosen = rule
    if rule == "auto":
        chosen = _steadiest(counts) if counts else "single"
    thresholds = tuner.tune(chosen)
    scores = {name: count.micro_f1 for name, count in counts.items()}
    return ThresholdChoice(np.asarray(thresholds, np.float64), chosen, scores)


def _steadiest(counts: dict[str, UnitCounts]) -> str:
    """Return the steadiest rule that no other clearly beats."""
    chosen = "single" if paired_gain(counts["single"], counts["half"]).exceeds(0.0) else "half"
    for rule in RULES[2:]:
        chosen = rule if paired_gain(counts[rule], counts[chosen]).exceeds(1.0) else chosen
    return chosen


def tune_rule(y_score: FloatArray, truth: Truth, rule: str) -> npt.NDArray[np.float64]:
    """Tune the thresholds of a rule.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    truth : Truth
        Of the same rows.
    rule : str
        A decision rule's name.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds, +inf for never.
    """
    return np.asarray(get_decision_rule(rule).tune(LabeledScores.of(y_score, truth)), np.float64)


def nested_decisions(
    y_score: FloatArray,
    predictions: PredictionSet,
    folds: npt.NDArray[np.intp],
    *,
    rule: str = "single",
    decide: Decide = apply_thresholds,
) -> BoolArray:
    """Decide each fold with thresholds tuned on the other folds' held-out scores.

    Parameters
    ----------
    y_score : ndarray of shape (n_samples, n_labels)
        Held-out scores, as `Combiner.predict_out_of_fold` gives them.
    predictions : PredictionSet
        Its truth, known cells, weights and groups tune the thresholds.
    folds : ndarray of int, shape (n_samples,)
        The folds of `y_score`.
    rule : str, default "single"
        A decision rule's name.
    decide : callable, default=apply_thresholds
        ``decide(y_score, thresholds)`` returns the decisions.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_labels)
        Decisions that saw neither their row's scores nor its truth.
    """
    return RuleTuner(y_score, predictions).decide_held_out(folds, rule, decide)
