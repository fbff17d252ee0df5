"""Choose a decision rule on folds that did not tune it, the steadier first.

Of .5 and one tuned threshold the better is taken: the best threshold of calibrated scores is half the micro-F1 itself
(Lipton, Elkan and Narayanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML 2014), so that .5
is right only where micro-F1 is near 1, and on 30 rows a tuned one already does better. Per-label thresholds must beat
what was chosen so far by more than a standard error, where rows come in groups beyond doubt. Each rule's micro-F1 here
comes from thresholds tuned on the other folds.

Another metric brings its own rules (`stacking.metrics.named.ServingRules`), the steadier first, chosen in the same way
by that metric; one that looks at scores only leaves the decisions to micro-F1's rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, FloatArray
from stacking.decision_rules import SampleRule, apply_thresholds, get_decision_rule
from stacking.decision_rules.labeled_scores import LabeledScores, silence
from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks
from stacking.metrics.measurement import Measurement
from stacking.metrics.named import Metric, find_metric
from stacking.metrics.paired_difference import paired_gain
from stacking.predictions import PredictionSet
from stacking.process.progress import advance, steps
from stacking.truth import Truth

Decide = Callable[..., BoolArray]
"""``decide(y_score, thresholds)`` returns the decisions that count, for example with image rules."""

MICRO_F1 = find_metric("micro-f1")

FEW_UNITS = 100
"""Effective groups below which the one threshold is a steadier one, as in `stacking.combiners.auto.choice`."""

STEADIER = {"single": "single:expected=0.25"}
"""What stands for a rule where groups are few. On 60 splits of music tags by artist (26 effective ones) that chose
nothing, a quarter of the way gained the plain mean .0018 over its best threshold and fell .002 behind in 7 of 100
splits; half the way gained .0031 and fell behind in 15 (.0010 and 22 on the 60 splits that chose)."""


@dataclass(frozen=True)
class TunedRule:
    """A decision rule with what was tuned.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (n_labels,)
        +inf never fires; .5 each beside a sample rule.
    by_sample : SampleRule or None
        Moves each sample's scores first, where the rule decides sample by sample.
    """

    thresholds: npt.NDArray[np.float64]
    by_sample: SampleRule | None = None

    def decide(self, y_score: npt.ArrayLike, decide: Decide = apply_thresholds) -> BoolArray:
        """Decide.

        Parameters
        ----------
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        decide : callable, default=apply_thresholds
            ``decide(y_score, thresholds)`` returns the decisions that count, for example with image rules.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_labels)
            Decisions.
        """
        moved = y_score if self.by_sample is None else self.by_sample.shift(y_score)
        return decide(moved, self.thresholds)


@dataclass(frozen=True)
class ThresholdChoice(TunedRule):
    """Thresholds, and what the rules scored.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (n_labels,)
        Of the chosen rule, tuned on all rows; +inf never fires.
    by_sample : SampleRule or None
        Of the chosen rule, where it decides sample by sample.
    rule : str
        The chosen rule.
    scores : dict of str to float
        Cross-fitted value of the metric (micro-F1 where that looks at scores only) for each rule; empty where nothing
        could be held out.
    decided : ndarray of bool, shape (n_samples, n_labels), or None
        Cross-fitted decisions by the chosen rule; None where nothing could be held out.
    """

    rule: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    decided: BoolArray | None = None


class RuleTuner:
    """Tunes any decision rule on any part of some rows; rules of additive counts share one sort of the scores.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    predictions : PredictionSet
        With the truth of the same rows.
    answered : ndarray of bool, shape (n_labels,), optional
        False for a label that the scores say nothing about: it is never predicted. All are answered by default.
    """

    def __init__(self, y_score: FloatArray, predictions: PredictionSet, answered: BoolArray | None = None) -> None:
        self.y_score = y_score
        self.predictions = predictions
        self.answered = answered
        # Without a copy of any part's rows.
        self._blocks = ScoreBlocks(y_score.__getitem__, predictions, answered=answered)

    def tune(self, rule: str, part: BoolArray | None = None, metric: Metric = MICRO_F1) -> TunedRule:
        """Tune a rule.

        Parameters
        ----------
        rule : str
            A decision rule's name.
        part : ndarray of bool, shape (n_samples,), optional
            The rows to tune on; all by default.
        metric : Metric, default=micro-F1
            For a rule that tunes to any metric.

        Returns
        -------
        TunedRule
            The rule, ready to decide.
        """
        if rule in ADDITIVE_RULES:
            part = np.ones(len(self.y_score), dtype=bool) if part is None else part
            return TunedRule(self._blocks.tune_part(rule, part))
        rows: Any = slice(None) if part is None else part
        if get_decision_rule(rule).average == "none":
            rows = slice(0)  # nothing is learned from rows, so none are copied
        return tune_rule(self.y_score[rows], self.predictions.truth.rows(rows), rule, metric, self.answered)

    def decide_held_out(
        self,
        folds: npt.NDArray[np.intp],
        rule: str,
        decide: Decide = apply_thresholds,
        metric: Metric = MICRO_F1,
        tell: Callable[[float, float], object] = lambda done, total: None,
    ) -> BoolArray:
        """Decide each fold with thresholds tuned on the other folds.

        Parameters
        ----------
        folds : ndarray of int, shape (n_samples,)
            The fold each row is held out in.
        rule : str
            A decision rule's name.
        decide : callable, default=apply_thresholds
            ``decide(y_score, thresholds)`` returns the decisions.
        metric : Metric, default=micro-F1
            For a rule that tunes to any metric.
        tell : callable, optional
            Told how many folds are decided, and of how many.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_labels)
            Decisions that saw neither their row's scores nor its truth.
        """
        decided = np.zeros(self.y_score.shape, dtype=bool)
        numbers = np.unique(folds)
        for done, fold in enumerate(numbers):
            tell(done, len(numbers))
            held = folds == fold
            decided[held] = self.tune(rule, ~held, metric).decide(self.y_score[held], decide)
        return decided


def choose_thresholds(  # noqa: PLR0913 - scores, truth and folds; the rest is keyword-only
    y_score: npt.NDArray[np.float32],
    predictions: PredictionSet,
    folds: npt.NDArray[np.integer],
    *,
    decide: Decide = apply_thresholds,
    rule: str = "auto",
    metric: Metric = MICRO_F1,
    tuner: RuleTuner | None = None,
    answered: BoolArray | None = None,
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
        A decision rule to take without a choice; "auto" chooses among those that serve the metric.
    metric : Metric, default=micro-F1
        What the rules are chosen by, where it looks at decisions.
    tuner : RuleTuner, optional
        Of these scores, where more is to be tuned on them.
    answered : ndarray of bool, shape (n_labels,), optional
        As `RuleTuner` takes it, where no tuner is given.

    Returns
    -------
    ThresholdChoice
        Thresholds, rule, and the cross-fitted value of every rule.
    """
    tuner = RuleTuner(y_score, predictions, answered) if tuner is None else tuner
    metric = metric if metric.needs_decisions else MICRO_F1
    truth = predictions.truth
    few = truth.groups is not None and truth.effective_units < FEW_UNITS
    choices = [STEADIER.get(name, name) if few else name for name in metric.rules.choices] if rule == "auto" else [rule]
    measured: dict[str, Measurement] = {}
    packed: dict[
        str, npt.NDArray[np.uint8]
    ] = {}  # eight decisions a byte, since all rules' are kept until one is chosen
    if len(np.unique(folds)) > 1:
        held_out = np.asarray(folds, dtype=np.intp)
        with steps(dict.fromkeys(choices, 1.0)) as begin:
            for name in choices:
                begin(name)
                decided = tuner.decide_held_out(held_out, name, decide, metric, advance)
                measured[name] = metric.measure(truth, decided, y_score)
                packed[name] = np.packbits(decided, axis=1)
                del decided  # before the next rule decides
    chosen = rule
    if rule == "auto":
        grouped = truth.groups is not None
        chosen = _steadiest(measured, metric.rules.margin, grouped=grouped) if measured else metric.rules.race
    tuned = tuner.tune(chosen, metric=metric)
    scores = {name: one.value for name, one in measured.items()}
    held = np.unpackbits(packed[chosen], axis=1, count=y_score.shape[1]).view(np.bool_) if packed else None
    return ThresholdChoice(tuned.thresholds, tuned.by_sample, chosen, scores, held)


def _steadiest(measured: dict[str, Measurement], margin: float, *, grouped: bool = False) -> str:
    """Return the steadiest rule that no later one clearly beats; an untuned one that is first need only be beaten.

    Among rows that come in groups, `margin` standard errors are often chance: there a gain must be proven.
    """
    chosen, *others = measured
    for number, rule in enumerate(others):
        gain = paired_gain(measured[rule], measured[chosen])
        untuned = number == 0 and chosen == "half"
        clearly = gain.exceeds(0.0) if untuned else gain.is_proven() if grouped else gain.exceeds(margin)
        chosen = rule if clearly else chosen
    return chosen


def tune_rule(
    y_score: FloatArray, truth: Truth, rule: str, metric: Metric = MICRO_F1, answered: BoolArray | None = None
) -> TunedRule:
    """Tune a rule.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    truth : Truth
        Of the same rows.
    rule : str
        A decision rule's name.
    metric : Metric, default=micro-F1
        For a rule that tunes to any metric.
    answered : ndarray of bool, shape (n_labels,), optional
        As `RuleTuner` takes it.

    Returns
    -------
    TunedRule
        The rule, ready to decide.
    """
    found = get_decision_rule(rule)
    spelled = getattr(found.tune, "keywords", {})  # best-single:metric=macro-f1 says itself what it goes by
    options = {"metric": metric} if "metric" in found.options and "metric" not in spelled else {}
    tuned = found.tune(LabeledScores.of(y_score, truth, answered), **options)
    if isinstance(tuned, SampleRule):
        return TunedRule(silence(np.full(y_score.shape[1], 0.5), answered), tuned)
    return TunedRule(silence(np.asarray(tuned, np.float64), answered))


def nested_decisions(
    y_score: FloatArray,
    predictions: PredictionSet,
    folds: npt.NDArray[np.intp],
    *,
    rule: str = "single",
    decide: Decide = apply_thresholds,
    metric: Metric = MICRO_F1,
    answered: BoolArray | None = None,
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
    metric : Metric, default=micro-F1
        For a rule that tunes to any metric.
    answered : ndarray of bool, shape (n_labels,), optional
        As `RuleTuner` takes it.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_labels)
        Decisions that saw neither their row's scores nor its truth.
    """
    return RuleTuner(y_score, predictions, answered).decide_held_out(folds, rule, decide, metric)
