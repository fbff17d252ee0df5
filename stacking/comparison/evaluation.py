"""One method, fitted and scored on every split.

Per split the whole predictor is fitted on the fitting side, exactly as `StackingEnsemble.fit` does it: the combiner,
the choice of the decision rule on cross-fitted scores, the thresholds; its decisions on the test side, image rules
included, are counted. Nothing of the test side is seen before. Two fixed rules are scored next to the chosen one: those
that the metric names for one threshold and for one per label. A metric other than micro-F1 is measured and resampled
here, while scores and decisions are at hand.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray
from stacking.combiners.combiner import Combiner
from stacking.comparison.candidates import Candidate, Kind
from stacking.comparison.held_out import HeldOut
from stacking.comparison.plan import ComparisonPlan
from stacking.comparison.splits import Split
from stacking.decision_rules.choice import tune_rule
from stacking.ensemble.ensemble import CrossFitted, StackingEnsemble
from stacking.metrics.bootstrap import resample
from stacking.metrics.counts import DecisionCounts, ScoreHistogram
from stacking.metrics.named import DEFAULT_METRIC, Metric
from stacking.predictions import PredictionSet
from stacking.process.memory import peak_memory, reset_peak_memory

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
    """CPU seconds, wall seconds and peak memory since it was made."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=lambda: _cpu_seconds())
    resettable: bool = field(default_factory=reset_peak_memory)

    def read(self) -> tuple[float, float, float | None]:
        """Return (cpu seconds, wall seconds, peak memory in MB or None)."""
        peak = peak_memory() if self.resettable else None
        megabytes = None if peak is None else peak / 2**20
        return _cpu_seconds() - self.cpu, time.perf_counter() - self.wall, megabytes


def _cpu_seconds() -> float:
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


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
        Value of ``time.monotonic()`` after which no further split is begun.
    begin_split : callable, optional
        Called with the number of each split before it is begun.

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
        Value of ``time.monotonic()`` after which no further split is begun.
    begin_split : callable, optional
        Called with the number of each split before it is begun.

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
    singles: list[float] = []
    for number, split in enumerate(splits):
        if time.monotonic() > deadline:
            raise OutOfTimeError(f"the time limit was reached after {number} of {len(splits)} splits")
        if begin_split is not None:
            begin_split(number)
        unfitted = _limit_time(candidate.build(), (deadline - time.monotonic()) / (len(splits) - number))
        ensemble, tuned_on = unfitted.fit_cross_fitted(split.fit_side, folds=split.inner_folds)
        y_score[split.rows] = ensemble.predict_proba(split.test_side)
        decisions["chosen"][split.rows] = ensemble.decide(y_score[split.rows])
        thresholds = _fixed_thresholds(ensemble, tuned_on, plan.metric)
        for name, limits in thresholds.items():
            decisions[name][split.rows] = ensemble.decide(y_score[split.rows], limits)
        singles.append(float(thresholds["single"][0]))
        fitted.append(ensemble)
    counts = {name: DecisionCounts.count(decided, truth) for name, decided in decisions.items()}
    held_out = HeldOut(candidate.name, scored.ids, scored.labels, truth, y_score, decisions["chosen"])
    cpu, wall, peak = meter.read()
    measured, replicates = _measure(decisions, held_out, plan)
    combiners = [ensemble.combiner_ for ensemble in fitted]
    result = MethodResult(
        candidate.name,
        candidate.kind,
        counts,
        held_out.histogram,
        rules=tuple(str(ensemble.report_["rule"]) for ensemble in fitted),
        single_thresholds=tuple(singles),
        weights=_mean_weights(combiners),
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


def _fixed_thresholds(
    ensemble: StackingEnsemble, tuned_on: CrossFitted, metric: Metric
) -> dict[str, npt.NDArray[np.float64]]:
    """Tune the rules that are scored next to the chosen one, on the same scores."""
    chosen, truth = ensemble.report_["rule"], tuned_on.predictions.truth
    return {
        name: ensemble.thresholds_ if rule == chosen else tune_rule(tuned_on.y_score, truth, rule, metric).thresholds
        for name, rule in (("single", metric.rules.single), ("per_label", metric.rules.per_label))
    }


def _mean_weights(combiners: Sequence[Combiner]) -> npt.NDArray[np.float64] | None:
    """Average the weights of fitted votes."""
    weights = [
        np.asarray(found, dtype=np.float64) for c in combiners if (found := getattr(c, "weights_", None)) is not None
    ]
    if not weights or len(weights) != len(combiners) or len({array.shape for array in weights}) > 1:
        return None
    return np.mean(weights, axis=0)


def _options(combiners: Sequence[Combiner]) -> dict[str, Any]:
    """Return the constructor parameters as plain values."""
    plain = (str, int, float, bool, type(None))
    parameters = combiners[0].get_params(deep=False)
    return {key: value if isinstance(value, plain) else repr(value)[:200] for key, value in parameters.items()}


def _notes(ensembles: Sequence[StackingEnsemble]) -> tuple[str, ...]:
    """Collect what fitted ensembles say about themselves; what only some folds say names the fold."""
    told = [[str(note) for note in ensemble.report_["notes"]] for ensemble in ensembles]
    shared = [note for note in (told[0] if told else []) if all(note in notes for notes in told)]
    own = [f"fold {fold}: {note}" for fold, notes in enumerate(told, start=1) for note in notes if note not in shared]
    return (*dict.fromkeys(shared), *own)
