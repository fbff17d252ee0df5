"""One method, fitted and scored on every split.

Per split: cross-fitted scores of the fitting side tune both decision rules and choose between them; then the method
is fitted on the whole fitting side and its decisions on the test side are counted. Nothing of the test side is seen
before.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stacking.combiners.combiner import Combiner
from stacking.comparison.rules import DECISIONS, FittedRules, fit_rules
from stacking.comparison.splits import Split
from stacking.metrics.counts import DecisionCounts, ScoreHistogram, Truth
from stacking.predictions import PredictionSet

__all__ = ["Candidate", "FailedMethod", "Kind", "MethodResult", "evaluate", "try_candidate"]

FloatArray = npt.NDArray[np.float32]
Kind: TypeAlias = Literal["member", "vote", "meta", "auto"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Something to be scored.

    Attributes
    ----------
    name : str
        Its name in the table.
    kind : {"member", "vote", "meta", "auto"}
        What it is.
    build : callable, optional
        Returns an unfitted combiner; None for a member.
    member : str, default=""
        The model, for a member.
    """

    name: str
    kind: Kind
    build: Callable[[], Combiner] | None = None
    member: str = ""


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
    rules : tuple of FittedRules
        One per split.
    weights : ndarray of shape (n_models,) or (n_models, n_labels), or None
        Weights of a vote, averaged over the splits.
    cpu_seconds, wall_seconds : float
        For fitting, cross-fitting, tuning and scoring on all splits.
    peak_memory_mb : float or None
        Highest resident memory of the process while it ran, where the system tells.
    options : dict
        Constructor parameters.
    notes : tuple of str
        What the method reports about itself, such as its fall-backs.
    """

    name: str
    kind: Kind
    counts: dict[str, DecisionCounts]
    histogram: ScoreHistogram
    rules: tuple[FittedRules, ...]
    weights: npt.NDArray[np.float64] | None
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float | None
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The rule chosen in most splits.

        Returns
        -------
        str
            "single" or "per_label"; "single" on ties.
        """
        chosen = [rules.chosen for rules in self.rules]
        return max(("single", "per_label"), key=chosen.count)

    @property
    def single_threshold(self) -> float:
        """The one threshold, averaged over the splits; NaN if a split predicts nothing.

        Returns
        -------
        float
            In [0, 1], or NaN.
        """
        values = [float(rules.thresholds["single"][0]) for rules in self.rules]
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
    resettable: bool = field(default_factory=lambda: _reset_peak_memory())

    def read(self) -> tuple[float, float, float | None]:
        """Return (cpu seconds, wall seconds, peak memory in MB or None)."""
        peak = _peak_memory_mb() if self.resettable else None
        return _cpu_seconds() - self.cpu, time.perf_counter() - self.wall, peak


def _cpu_seconds() -> float:
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _reset_peak_memory() -> bool:
    """Reset the high-water mark of the process; Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak_memory_mb() -> float | None:
    """Read the high-water mark of the process."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return float(marks[0]) / 1024 if marks else None


def try_candidate(
    candidate: Candidate,
    splits: Sequence[Split],
    truth: Truth,
    deadline: float = float("inf"),
    begin_split: Callable[[int], None] | None = None,
) -> tuple[MethodResult, FloatArray] | FailedMethod:
    """Score a candidate; record its failure instead of raising.

    Parameters
    ----------
    candidate : Candidate
        What is scored.
    splits : sequence of Split
        On which splits.
    truth : Truth
        Of all scored rows.
    deadline : float, default=inf
        Value of ``time.monotonic()`` after which no further split is begun.
    begin_split : callable, optional
        Called with the number of each split before it is begun.

    Returns
    -------
    (MethodResult, ndarray) or FailedMethod
        The result with its held-out scores of shape (n_samples, n_labels), or the reason there is none.
    """
    try:
        return evaluate(candidate, splits, truth, deadline, begin_split)
    except OutOfTimeError as error:
        return FailedMethod(candidate.name, candidate.kind, str(error))
    except Exception as error:  # one method never sinks the comparison; the reason is recorded
        _log.warning("method %r failed and is left out: %s", candidate.name, error, exc_info=True)
        return FailedMethod(candidate.name, candidate.kind, f"{type(error).__name__}: {error}")


def evaluate(
    candidate: Candidate,
    splits: Sequence[Split],
    truth: Truth,
    deadline: float = float("inf"),
    begin_split: Callable[[int], None] | None = None,
) -> tuple[MethodResult, FloatArray]:
    """Fit, tune and score a candidate on every split.

    Parameters
    ----------
    candidate : Candidate
        What is scored.
    splits : sequence of Split
        On which splits.
    truth : Truth
        Of all scored rows.
    deadline : float, default=inf
        Value of ``time.monotonic()`` after which no further split is begun.
    begin_split : callable, optional
        Called with the number of each split before it is begun.

    Returns
    -------
    (MethodResult, ndarray of float32, shape (n_samples, n_labels))
        The result and its held-out scores.

    Raises
    ------
    OutOfTimeError
        If the deadline passed before the last split.
    """
    meter = _Meter()
    shape = truth.y_true.shape
    y_score = np.empty(shape, dtype=np.float32)
    decisions = {name: np.zeros(shape, dtype=bool) for name in DECISIONS}
    fitted: list[FittedRules] = []
    combiners: list[Combiner] = []
    for number, split in enumerate(splits):
        if time.monotonic() > deadline:
            raise OutOfTimeError(f"the time limit was reached after {number} of {len(splits)} splits")
        if begin_split is not None:
            begin_split(number)
        seconds = (deadline - time.monotonic()) / (len(splits) - number)
        cross_fitted, test_score, combiner = _score_split(candidate, split, seconds)
        rules = fit_rules(cross_fitted, split.fit_side, split.inner_folds)
        y_score[split.rows] = test_score
        for name, decided in rules.decide(test_score).items():
            decisions[name][split.rows] = decided
        fitted.append(rules)
        combiners += [] if combiner is None else [combiner]
    counts = {name: DecisionCounts.count(decided, truth) for name, decided in decisions.items()}
    cpu, wall, peak = meter.read()
    result = MethodResult(
        candidate.name,
        candidate.kind,
        counts,
        ScoreHistogram.count(y_score, truth),
        tuple(fitted),
        _mean_weights(combiners),
        cpu,
        wall,
        peak,
        _options(combiners),
        _notes(combiners),
    )
    return result, y_score


def _score_split(candidate: Candidate, split: Split, seconds: float) -> tuple[FloatArray, FloatArray, Combiner | None]:
    """Return cross-fitted scores of the fitting side and scores of the test side."""
    if candidate.build is None:
        fit_score, test_score = (_member_scores(side, candidate.member) for side in (split.fit_side, split.test_side))
        return fit_score, test_score, None
    unfitted = candidate.build()
    if np.isfinite(seconds) and "time_limit" in unfitted.get_params(deep=False):
        unfitted.set_params(time_limit=max(seconds, 1.0))
    combiner, cross_fitted = unfitted.fit_cross_fitted(split.fit_side, folds=split.inner_folds)
    return cross_fitted, combiner.predict_proba(split.test_side), combiner


def _member_scores(predictions: PredictionSet, model: str) -> FloatArray:
    """Read one model's scores; a label it does not answer scores 0."""
    return np.nan_to_num(predictions.model_scores(model), nan=0.0)


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
    if not combiners:
        return {}
    plain = (str, int, float, bool, type(None))
    parameters = combiners[0].get_params(deep=False)
    return {key: value if isinstance(value, plain) else repr(value)[:200] for key, value in parameters.items()}


def _notes(combiners: Sequence[Combiner]) -> tuple[str, ...]:
    """Collect what fitted combiners say about themselves; what only some folds say names the fold."""
    told = [[str(note) for note in getattr(combiner, "notes_", ())] for combiner in combiners]
    shared = [note for note in (told[0] if told else []) if all(note in notes for notes in told)]
    own = [f"fold {fold}: {note}" for fold, notes in enumerate(told, start=1) for note in notes if note not in shared]
    return (*dict.fromkeys(shared), *own)
