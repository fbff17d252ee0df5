"""One method, fitted and scored on every split.

Per split the whole predictor is fitted on the fitting side, exactly as `StackingEnsemble.fit` does it: the combiner,
the choice of the decision rule on cross-fitted scores, the thresholds; its decisions on the test side, image rules
included, are counted. Nothing of the test side is seen before. Two fixed rules are scored next to the chosen one: those
that the metric names for one threshold and for one per label. A metric other than micro-F1 is measured and resampled
here, while scores and decisions are at hand.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray
from stacking.combiners.combiner import Combiner
from stacking.combiners.shared_fits import cpu_clock, wall_clock
from stacking.comparison.candidates import Candidate, Kind
from stacking.comparison.held_out import HeldOut
from stacking.comparison.plan import ComparisonPlan
from stacking.comparison.splits import Split
from stacking.decision_rules.choice import choose_thresholds
from stacking.ensemble.answered import member_weights
from stacking.ensemble.cross_fitted import CrossFitted
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.metrics.bootstrap import resample
from stacking.metrics.counts import DecisionCounts, ScoreHistogram
from stacking.metrics.fit_error import deviations_of, fit_deviations
from stacking.metrics.named import DEFAULT_METRIC, Metric, metric_name
from stacking.predictions import PredictionSet
from stacking.process.memory import peak_memory, reset_peak_memory
from stacking.truth import Truth

DECISIONS = ("chosen", "single", "per_label")
"""The three sets of decisions of every row of the table."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MethodResult:
    """What is kept of a method after it was scored.

    Attributes
    ----------
    name, kind : str
        As in `Candidate`.
    counts : dict of str to DecisionCounts
        For the decisions "chosen", "single" and "per_label".
    fit_deviations : dict of str to ndarray of shape (n_splits,)
        What the fits add to the error of each of these scores (`stacking.metrics.fit_error`).
    histogram : ScoreHistogram
        Of the held-out scores.
    rules : tuple of str
        The decision rule chosen in each split.
    single_thresholds : tuple of float
        The one threshold of each split.
    weights : ndarray of shape (n_models,) or (n_models, n_labels), or None
        Weights of a vote, averaged over the splits.
    cpu_seconds, wall_seconds : float
        For fitting, cross-fitting, tuning and scoring on all splits.
    peak_memory_mb : float or None
        Highest resident memory of the process while it ran, where the system reports it.
    options : dict
        Constructor parameters.
    notes : tuple of str
        What the method reports about itself, such as its fall-backs.
    scores, replicates : dict of str to float and to ndarray of shape (n_bootstrap,)
        A metric other than micro-F1, on the scored rows and their resamples, by decision; empty for micro-F1, whose
        counts are kept.
    """

    name: str
    kind: Kind
    counts: dict[str, DecisionCounts]
    fit_deviations: dict[str, DoubleArray]
    histogram: ScoreHistogram
    rules: tuple[str, ...]
    single_thresholds: tuple[float, ...]
    weights: npt.NDArray[np.float64] | None
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float | None
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    replicates: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """The decision rule chosen in most splits; the earlier one on ties."""
        return max(self.rules, key=self.rules.count)

    @property
    def single_threshold(self) -> float:
        """The one threshold, averaged over the splits; NaN if a split predicts nothing."""
        values = np.asarray(self.single_thresholds)
        return float(np.mean(values)) if np.isfinite(values).all() else float("nan")


@dataclass(frozen=True)
class FailedMethod:
    """A method that could not be scored.

    Attributes
    ----------
    name, kind : str
        As in `Candidate`.
    reason : str
        Why, in one sentence.
    """

    name: str
    kind: Kind
    reason: str


class OutOfTimeError(RuntimeError):
    """The comparison's time limit was reached."""


@dataclass
class _Meter:
    """CPU seconds, wall seconds and peak memory since it was made; what was recalled counts as if it were made."""

    wall: float = field(default_factory=wall_clock)
    cpu: float = field(default_factory=cpu_clock)
    resettable: bool = field(default_factory=reset_peak_memory)

    def read(self) -> tuple[float, float, float | None]:
        """Return (cpu seconds, wall seconds, peak memory in MB or None)."""
        peak = peak_memory() if self.resettable else None
        megabytes = None if peak is None else peak / 2**20
        return cpu_clock() - self.cpu, wall_clock() - self.wall, megabytes


def try_candidate(
    candidate: Candidate,
    splits: Sequence[Split],
    scored: PredictionSet,
    plan: ComparisonPlan,
    deadline: float = float("inf"),
    begin_split: Callable[[int], None] | None = None,
) -> tuple[MethodResult, HeldOut] | FailedMethod:
    """Score a candidate; record its failure instead of raising.

    Parameters
    ----------
    candidate : Candidate
        What is scored.
    splits : sequence of Split
        On which splits.
    scored : PredictionSet
        All scored rows, with their truth.
    plan : ComparisonPlan
        The metric, and how it is resampled.
    deadline : float, default=inf
        Value of ``time.monotonic()`` after which no further split is started.
    begin_split : callable, optional
        Called with the number of each split before it is started.

    Returns
    -------
    (MethodResult, HeldOut) or FailedMethod
        The result with its held-out scores and chosen decisions, or the reason there is none.
    """
    try:
        return evaluate(candidate, splits, scored, plan, deadline, begin_split)
    except OutOfTimeError as error:
        return FailedMethod(candidate.name, candidate.kind, str(error))
    except Exception as error:  # one method never sinks the comparison; the reason is recorded
        _log.warning("method %r failed and is left out: %s", candidate.name, error, exc_info=True)
        return FailedMethod(candidate.name, candidate.kind, f"{type(error).__name__}: {error}")


def evaluate(
    candidate: Candidate,
    splits: Sequence[Split],
    scored: PredictionSet,
    plan: ComparisonPlan,
    deadline: float = float("inf"),
    begin_split: Callable[[int], None] | None = None,
) -> tuple[MethodResult, HeldOut]:
    """Fit, tune and score a candidate on every split.

    Parameters
    ----------
    candidate : Candidate
        What is scored.
    splits : sequence of Split
        On which splits.
    scored : PredictionSet
        All scored rows, with their truth.
    plan : ComparisonPlan
        The metric, and how it is resampled.
    deadline : float, default=inf
        Value of ``time.monotonic()`` after which no further split is started.
    begin_split : callable, optional
        Called with the number of each split before it is started.

    Returns
    -------
    (MethodResult, HeldOut)
        The result, and its held-out scores and chosen decisions.

    Raises
    ------
    OutOfTimeError
        If the deadline passed before the last split.
    """
    meter = _Meter()
    truth = scored.truth
    shape = truth.y_true.shape
    y_score = np.empty(shape, dtype=np.float32)
    decisions = {name: np.zeros(shape, dtype=bool) for name in DECISIONS}
    fitted: list[StackingEnsemble] = []
    without: dict[str, list[float | None]] = {name: [] for name in DECISIONS}
    singles: list[float] = []
    for number, split in enumerate(splits):
        if time.monotonic() > deadline:
            raise OutOfTimeError(f"the time limit was reached after {number} of {len(splits)} splits")
        if begin_split is not None:
            begin_split(number)
        unfitted = _limit_time(candidate.build(), (deadline - time.monotonic()) / (len(splits) - number))
        ensemble, tuned_on = unfitted.fit_out_of_fold(split.fit_side, folds=split.inner_folds)
        y_score[split.rows] = ensemble.predict_proba(split.test_side)
        thresholds, cross_fitted = _tune_decisions(ensemble, tuned_on, plan.metric)
        for name in DECISIONS:
            decisions[name][split.rows] = ensemble.decide(y_score[split.rows], thresholds[name])
            without[name].append(cross_fitted[name])
        singles.append(float(np.min(np.asarray(thresholds["single"]))))
        fitted.append(ensemble)
    counts = {name: DecisionCounts.count(decided, truth) for name, decided in decisions.items()}
    has_limits = all(ensemble.sample_rule_ is None for ensemble in fitted)
    limits = np.median([ensemble.thresholds_ for ensemble in fitted], axis=0) if has_limits else None
    held_out = HeldOut(candidate.name, scored.ids, scored.labels, truth, y_score, decisions["chosen"], limits)
    cpu, wall, peak = meter.read()
    measured, replicates = _measure(decisions, held_out, plan)
    combiners = [ensemble.combiner_ for ensemble in fitted]
    result = MethodResult(
        candidate.name,
        candidate.kind,
        counts,
        _fit_deviations(without, decisions, held_out, splits, plan.metric),
        held_out.histogram,
        rules=tuple(str(ensemble.report_["rule"]) for ensemble in fitted),
        single_thresholds=tuple(singles),
        weights=_mean_weights(fitted),
        cpu_seconds=cpu,
        wall_seconds=wall,
        peak_memory_mb=peak,
        options={} if candidate.kind == "member" else _options(combiners),
        notes=_notes(fitted),
        scores=measured,
        replicates=replicates,
    )
    return result, held_out


def _measure(
    decisions: dict[str, BoolArray], held_out: HeldOut, plan: ComparisonPlan
) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float64]]]:
    """Measure and resample a metric other than micro-F1, once where no decisions count."""
    metric = plan.metric
    if metric.name == DEFAULT_METRIC:
        return {}, {}
    values: dict[str, float] = {}
    replicates: dict[str, npt.NDArray[np.float64]] = {}
    for name, decided in decisions.items():
        if values and not metric.needs_decisions:
            values[name], replicates[name] = values["chosen"], replicates["chosen"]
            continue
        measured = metric.measure(held_out.truth, decided, held_out.y_score)
        values[name] = measured.value
        replicates[name] = resample(measured, n_bootstrap=plan.n_bootstrap, random_state=plan.random_state)
    return values, replicates


def _limit_time(ensemble: StackingEnsemble, seconds: float) -> StackingEnsemble:
    """Leave an ensemble, or the combiner that it was given, no more time than there is."""
    if np.isfinite(seconds):
        method = ensemble.method
        bounded = method if isinstance(method, Combiner) else ensemble
        own = bounded.get_params(deep=False).get("time_limit", np.inf)
        if own != np.inf:
            bounded.set_params(time_limit=max(min(seconds, np.inf if own is None else own), 1.0))
    return ensemble


def _tune_decisions(
    ensemble: StackingEnsemble, tuned_on: CrossFitted, metric: Metric
) -> tuple[dict[str, DoubleArray | None], dict[str, float | None]]:
    """Return thresholds and the cross-fitted metric of the chosen rule and of the two that are scored next to it.

    None stands for the ensemble's own thresholds.
    """
    chosen, scores = ensemble.report_["rule"], ensemble.report_["rules"]
    thresholds: dict[str, DoubleArray | None] = {"chosen": None}
    cross_fitted = {"chosen": scores.get(chosen)}
    for name, rule in (("single", metric.rules.single), ("per_label", metric.rules.per_label)):
        if rule in scores or not scores:
            own = rule == chosen
            thresholds[name] = ensemble.thresholds_ if own else tuned_on.tuner.tune(rule, metric=metric).thresholds
            cross_fitted[name] = scores.get(rule)
        else:  # the rule was given, or does not serve the ensemble's metric, so that it was not tried
            predictions, y_score, folds, tuner, _ = tuned_on
            choice = choose_thresholds(
                y_score, predictions, folds, decide=ensemble.decide, rule=rule, tuner=tuner, metric=metric
            )
            thresholds[name], cross_fitted[name] = choice.thresholds, choice.scores.get(rule)
    if metric.needs_decisions and metric_name(ensemble.metric) == metric.name:
        return thresholds, cross_fitted
    # The scores of the rules are those of another metric: all three are worth what is measured here.
    predictions, y_score = tuned_on.predictions, tuned_on.y_score
    if metric.needs_decisions:
        return thresholds, dict.fromkeys(cross_fitted)
    return thresholds, dict.fromkeys(cross_fitted, metric.measure(predictions.truth, None, y_score).value)


def _fit_deviations(
    without: dict[str, list[float | None]],
    decisions: dict[str, BoolArray],
    held_out: HeldOut,
    splits: Sequence[Split],
    metric: Metric,
) -> dict[str, DoubleArray]:
    """Measure what the fits of each split add to the error of each score."""
    truth = held_out.truth
    if metric.name == DEFAULT_METRIC:
        return {
            name: fit_deviations(without[name], _count_splits(DecisionCounts.count(decided, truth), truth, splits))
            for name, decided in decisions.items()
        }
    deviations: dict[str, DoubleArray] = {}
    for name, decided in decisions.items():
        if deviations and not metric.needs_decisions:
            deviations[name] = deviations["chosen"]
            continue
        others = []
        for split in splits if len(splits) > 1 else ():
            kept = np.ones(len(decided), dtype=bool)
            kept[split.rows] = False
            measured = metric.measure(truth.rows(kept), decided[kept], held_out.y_score[kept])
            others.append(measured.value)
        deviations[name] = deviations_of(without[name], others)
    return deviations


def _count_splits(counts: DecisionCounts, truth: Truth, splits: Sequence[Split]) -> DoubleArray:
    """Add up true positives, predicted positives and positives of each split, in sums of weights."""
    cells = np.stack([counts.sample_hits, counts.sample_predicted, truth.sample_positives], axis=1)
    return np.stack([truth.rows(split.rows).sum_units(cells[split.rows]).sum(axis=0) for split in splits])


def _mean_weights(ensembles: Sequence[StackingEnsemble]) -> npt.NDArray[np.float64] | None:
    """Average the weights of fitted votes."""
    found = [member_weights(ensemble.combiner_, ensemble.labels_) for ensemble in ensembles]
    weights = [array for array in found if array is not None]
    if not weights or len(weights) != len(ensembles) or len({array.shape for array in weights}) > 1:
        return None
    return np.mean(weights, axis=0)


def _options(combiners: Sequence[Combiner]) -> dict[str, Any]:
    """Return the constructor parameters as plain values."""
    plain = (str, int, float, bool, type(None))
    parameters = combiners[0].get_params(deep=False)
    return {key: value if isinstance(value, plain) else repr(value)[:200] for key, value in parameters.items()}


def _notes(ensembles: Sequence[StackingEnsemble]) -> tuple[str, ...]:
    """Collect what fitted ensembles say about themselves; what only some folds say names the fold."""
    by_fold = [[str(note) for note in ensemble.report_["notes"]] for ensemble in ensembles]
    shared = [note for note in (by_fold[0] if by_fold else []) if all(note in notes for notes in by_fold)]
    own = [
        f"fold {fold}: {note}" for fold, notes in enumerate(by_fold, start=1) for note in notes if note not in shared
    ]
    return (*dict.fromkeys(shared), *own)
