"""Compare every way of combining members on the same held-out samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stacking.combiners.combiner import Combiner
from stacking.comparison.candidates import find_candidates
from stacking.comparison.evaluation import Candidate, FailedMethod, MethodResult, try_candidate
from stacking.comparison.ladder import Ladder, Step, build_ladder
from stacking.comparison.manifest import write_manifest
from stacking.comparison.result import Comparison, HeldOut, LeaderboardRow
from stacking.comparison.rules import DECISIONS
from stacking.comparison.splits import Split, constant_baseline, holdout_split, nested_splits, truth_of
from stacking.metrics.bootstrap import bootstrap_totals, percentile_interval, unit_sums
from stacking.metrics.counts import DecisionCounts, Truth, f1_score
from stacking.predictions import PredictionSet, as_prediction_set

__all__ = ["Progress", "compare"]

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (number of steps done, number of steps, name of the method); a step is one method on one split."""

Float64Array = npt.NDArray[np.float64]
_SHIFT = "recalibrated best member"
_CONTEXT_LEARNERS = {
    "label-context": "label-context: the same learner given also what all labels explain, from logits and from truths",
    "ridge-context": "ridge-context: the same learner given also a ridge regression over all labels",
}
"""What the rung of label correlation may stand on, the better learner first."""


@dataclass(frozen=True)
class ComparisonPlan:
    """The options of a comparison.

    Attributes
    ----------
    n_splits : int
        Outer and inner folds.
    random_state : int
        Seed of folds, methods and bootstrap.
    n_bootstrap : int
        Number of resamples.
    time_limit : float or None
        Seconds after which no further split is begun.
    progress : callable or None
        Told what runs.
    """

    n_splits: int
    random_state: int
    n_bootstrap: int
    time_limit: float | None
    progress: Progress | None

    def __post_init__(self) -> None:
        if self.n_splits < 2:
            raise ValueError(f"n_splits must be at least 2: got {self.n_splits}.")
        if self.n_bootstrap < 1:
            raise ValueError(f"n_bootstrap must be at least 1: got {self.n_bootstrap}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit must be a positive number of seconds or None: got {self.time_limit}.")


def compare(  # noqa: PLR0913 - the public call: all options are keyword-only and go into one ComparisonPlan
    predictions: PredictionSet | npt.ArrayLike,
    methods: str | Sequence[str] | Mapping[str, Combiner] = "all",
    *,
    y_true: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    holdout: PredictionSet | None = None,
    n_splits: int = 5,
    random_state: int = 0,
    n_bootstrap: int = 1000,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Score members, votes and meta-learners on samples that tuned nothing.

    Without a holdout the estimate is nested: each outer fold is scored by methods whose weights, meta-learner,
    calibration, thresholds and choice among rules were fitted on the other folds. With a holdout every method is
    fitted on all of `predictions` and scored on the holdout. Every method is scored on the same samples, with one
    threshold for all labels, with exact per-label thresholds, and with whichever of both cross-fitting preferred
    before scoring. The predictions must be out-of-fold: scores of members for rows that they were trained on make
    every number too high.

    Parameters
    ----------
    predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
        Out-of-fold scores in [0, 1].
    methods : "all", sequence of str or mapping of str to Combiner, default="all"
        Names of registered methods ("all": those that are not dear), or named unfitted combiners, which are cloned.
        Members are always scored.
    y_true : array or data frame of shape (n_samples, n_labels), optional
        The truth, unless `predictions` carry it; a data frame is matched by its index and columns.
    groups : array of shape (n_samples,), optional
        Samples that share a fold and are resampled together; overrides the set's own. A holdout brings its own.
    holdout : PredictionSet, optional
        Other samples with their truth, used once, to score.
    n_splits : int, default=5
        Number of outer folds, and of inner folds inside each.
    random_state : int, default=0
        Seed of folds, methods and bootstrap.
    n_bootstrap : int, default=1000
        Number of resamples behind the 95 % limits.
    time_limit : float, optional
        Seconds after which no further split of a method is begun; methods that did not finish are listed as such.
        Members and votes come first. The limit is not exact: a split that has begun is finished.
    progress : callable, optional
        Called as ``progress(n_done, n_steps, name)`` before each split of each method and once at the end.

    Returns
    -------
    Comparison
        ``.table``, ``.difference(a, b)``, ``.to_json``, ``.to_html``, ``.to_markdown``, ``.sections()``.

    Raises
    ------
    ValueError
        If the truth is missing, an option is out of range, a method is unknown, or the holdout lacks a model or label
        or shares a sample with `predictions`.
    RuntimeError
        If not one method could be scored.

    Notes
    -----
    A method that fails is recorded with its reason and never ends the comparison. Time is that of the methods; the
    bootstrap costs O(n_bootstrap · n_samples · n_methods) in one matrix product.

    References
    ----------
    G. C. Cawley and N. L. C. Talbot, On Over-fitting in Model Selection and Subsequent Selection Bias in Performance
    Evaluation, JMLR 11, 2010, section 5: why the choice belongs inside the outer loop.
    """
    started = time.monotonic()
    plan = ComparisonPlan(n_splits, random_state, n_bootstrap, time_limit, progress)
    predictions = as_prediction_set(predictions, y_true)
    if groups is not None:
        predictions = predictions.with_groups(groups)
    if holdout is not None and not isinstance(holdout, PredictionSet):
        raise TypeError(
            f"holdout must be a PredictionSet, which names its samples and carries their truth: got "
            f"{type(holdout).__name__}; give PredictionSet(scores, ids, models, labels, y_true=truth)."
        )
    if predictions.y_true is None:
        raise ValueError("y_true must be given to compare methods: pass it (--truth), or predictions that carry it.")
    candidates = find_candidates(predictions, methods, random_state)
    if holdout is None:
        splits, scored = nested_splits(predictions, n_splits, random_state), predictions
    else:
        split = holdout_split(predictions, holdout, n_splits, random_state)
        splits, scored = [split], split.test_side
    truth = truth_of(scored)
    deadline = float("inf") if time_limit is None else started + time_limit
    run = _Run(splits, truth, scored.ids, deadline, plan)
    run.score(candidates)
    if not run.results:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in run.failures[:3])
        raise RuntimeError(f"no method could be scored: {reasons}")
    shift = run.recalibrate_best_member(candidates)
    manifest = write_manifest(predictions, holdout, splits, plan, list(run.results.values()))
    return _assemble(run, shift, scored, manifest, plan)


class _Run:
    """Scores candidates one after the other and keeps what the report needs of them."""

    def __init__(
        self, splits: Sequence[Split], truth: Truth, ids: npt.NDArray[np.str_], deadline: float, plan: ComparisonPlan
    ) -> None:
        self.splits, self.truth, self.ids, self.deadline, self.plan = splits, truth, ids, deadline, plan
        self.results: dict[str, MethodResult] = {}
        self.failures: list[FailedMethod] = []
        self.kept: dict[str, HeldOut] = {}
        self._best: dict[str, tuple[float, str]] = {}

    def score(self, candidates: Sequence[Candidate]) -> None:
        """Score all candidates in order."""
        per_method = len(self.splits)
        total = len(candidates) * per_method
        for number, candidate in enumerate(candidates):
            begin = partial(self._begin, number * per_method, total, candidate.name)
            outcome = try_candidate(candidate, self.splits, self.truth, self.deadline, begin)
            if isinstance(outcome, FailedMethod):
                self.failures.append(outcome)
                continue
            result, y_score = outcome
            self.results[result.name] = result
            self._keep(result, y_score)
        self._begin(total, total, "bootstrap", 0)

    def recalibrate_best_member(self, candidates: Sequence[Candidate]) -> MethodResult | str:
        """Score the ladder's first rung, the mixing learner on the best member alone; or say why not."""
        learner = next((candidate for candidate in candidates if candidate.name == "logistic"), None)
        if "member" not in self._best:
            return "no member was scored"
        if learner is None or "logistic" not in self.results:
            return "the method logistic did not run"
        member = self._member_name(candidates)
        splits = [split.with_models([member]) for split in self.splits]
        outcome = try_candidate(Candidate(_SHIFT, "meta", learner.build), splits, self.truth, self.deadline)
        return outcome.reason if isinstance(outcome, FailedMethod) else outcome[0]

    def best(self, kind: str) -> str | None:
        """Name the best of the members or of the methods."""
        return self._best[kind][1] if kind in self._best else None

    def _member_name(self, candidates: Sequence[Candidate]) -> str:
        """Return the model behind the best member."""
        return next(candidate.member for candidate in candidates if candidate.name == self._best["member"][1])

    def _begin(self, done: int, total: int, name: str, split: int) -> None:
        """Report progress."""
        if self.plan.progress is not None:
            self.plan.progress(done + split, total, name)

    def _keep(self, result: MethodResult, y_score: npt.NDArray[np.float32]) -> None:
        """Keep the scores of the mean, of the best member and of the ensemble so far."""
        role = "member" if result.kind == "member" else "method"
        value = float("inf") if result.kind == "auto" else result.counts["chosen"].micro_f1(self.truth)
        is_best = role not in self._best or value > self._best[role][0]
        if is_best:
            previous = self._best[role][1] if role in self._best else None
            if previous is not None and previous != "mean":
                self.kept.pop(previous, None)
            self._best[role] = (value, result.name)
        if is_best or result.name == "mean":
            y_pred = np.zeros(y_score.shape, dtype=bool)
            for split, rules in zip(self.splits, result.rules, strict=True):
                y_pred[split.rows] = rules.decide(y_score[split.rows])["chosen"]
            self.kept[result.name] = HeldOut(self.ids, y_score, y_pred)


def _bootstrap(
    results: Mapping[str, MethodResult], scored: PredictionSet, truth: Truth, plan: ComparisonPlan
) -> dict[tuple[str, str], Float64Array]:
    """Resample all methods together; return micro-F1 per (method, decision) and resample."""
    keys: list[tuple[str, str]] = []
    columns: list[npt.NDArray[Any]] = [truth.sample_positives]
    for name, result in results.items():
        for decision in DECISIONS:
            counts: DecisionCounts = result.counts[decision]
            keys.append((name, decision))
            columns += [counts.sample_hits, counts.sample_predicted]
    units = unit_sums(np.stack(columns, axis=1), groups=scored.groups, sample_weight=truth.sample_weight)
    totals = bootstrap_totals(units, n_bootstrap=plan.n_bootstrap, random_state=plan.random_state)
    return {
        key: f1_score(totals[:, 1 + 2 * number], totals[:, 2 + 2 * number], totals[:, 0])
        for number, key in enumerate(keys)
    }


def _assemble(
    run: _Run, shift: MethodResult | str, scored: PredictionSet, manifest: dict[str, Any], plan: ComparisonPlan
) -> Comparison:
    """Put rows, intervals and the ladder together."""
    everything = dict(run.results)
    if isinstance(shift, MethodResult):
        everything[_SHIFT] = shift
    replicates = _bootstrap(everything, scored, run.truth, plan)
    rows = [_row(result, run, replicates) for result in run.results.values()]
    order = sorted(range(len(rows)), key=lambda number: (-rows[number].score, number))
    return Comparison(
        rows=tuple(rows[number] for number in order),
        failures=tuple(run.failures),
        constant_answer=constant_baseline(run.splits),
        ladder=_ladder(run, shift, replicates),
        manifest=manifest,
        results=run.results,
        replicates=replicates,
        truth=run.truth,
        models=scored.models,
        labels=scored.labels,
        kept=run.kept,
    )


def _row(result: MethodResult, run: _Run, replicates: Mapping[tuple[str, str], Float64Array]) -> LeaderboardRow:
    """Make one line of the leaderboard."""
    truth = run.truth
    chosen = result.counts["chosen"]
    scores = {decision: result.counts[decision].micro_f1(truth) for decision in DECISIONS}
    limits = {decision: percentile_interval(replicates[result.name, decision]) for decision in DECISIONS}
    against: dict[str, float | None] = {}
    for column, other in (("vs_best_member", run.best("member")), ("vs_mean", "mean")):
        if other is None or other not in run.results:
            against.update({column: None, f"{column}_low": None, f"{column}_high": None})
            continue
        low, high = percentile_interval(replicates[result.name, "chosen"] - replicates[other, "chosen"])
        value = scores["chosen"] - run.results[other].counts["chosen"].micro_f1(truth)
        against.update({column: value, f"{column}_low": low, f"{column}_high": high})
    never = (chosen.label_predicted == 0) & (truth.label_positives > 0)
    return LeaderboardRow(
        method=result.name,
        kind=result.kind,
        score=scores["chosen"],
        low=limits["chosen"][0],
        high=limits["chosen"][1],
        rule=result.rule,
        score_single=scores["single"],
        low_single=limits["single"][0],
        high_single=limits["single"][1],
        score_per_label=scores["per_label"],
        low_per_label=limits["per_label"][0],
        high_per_label=limits["per_label"][1],
        macro_f1=float(chosen.f1_per_label(truth).mean()),
        samples_f1=chosen.samples_f1(truth),
        **against,
        never_predicted=int(never.sum()),
        cpu_seconds=result.cpu_seconds,
        wall_seconds=result.wall_seconds,
        peak_memory_mb=result.peak_memory_mb,
        options=result.options,
        notes=result.notes,
    )


def _ladder(run: _Run, shift: MethodResult | str, replicates: Mapping[tuple[str, str], Float64Array]) -> Ladder | None:
    """Attribute the gain from the best member to the ensemble."""
    member, final = run.best("member"), run.best("method")
    if member is None or final is None:
        return None
    results = dict(run.results)
    if isinstance(shift, MethodResult):
        results[_SHIFT] = shift
    keys = {f"{name}/{decision}": (name, decision) for name in results for decision in DECISIONS}
    scores = {key: results[name].counts[decision].micro_f1(run.truth) for key, (name, decision) in keys.items()}
    draws = {key: replicates[name, decision] for key, (name, decision) in keys.items()}
    steps = _ladder_steps(results, shift, final, len(run.splits[0].fit_side.models))
    return build_ladder((member, final), f"{member}/single", steps, scores, draws)


def _ladder_steps(
    results: Mapping[str, MethodResult], shift: MethodResult | str, final: str, n_models: int
) -> list[Step]:
    """Name the states of the ladder, or what stands in their way."""
    shifted = f"{_SHIFT}/single" if isinstance(shift, MethodResult) else None
    mixed = "logistic/single" if "logistic" in results and n_models > 1 else None
    learner = next((name for name in _CONTEXT_LEARNERS if name in results), None)
    context = None if learner is None else f"{learner}/single"
    base = context or mixed or shifted
    no_mix = "there is one member only" if n_models < 2 else "the method logistic did not run"
    return [
        Step(
            "label shift",
            "the best member alone, its scores recalibrated per label by logistic regression",
            shifted,
            shift if isinstance(shift, str) else "",
        ),
        Step("mixing", "the same learner given every member", mixed, no_mix),
        Step(
            "label correlation",
            "" if learner is None else _CONTEXT_LEARNERS[learner],
            context,
            "neither label-context nor ridge-context ran",
        ),
        Step(
            "thresholds",
            "exact per-label thresholds instead of one",
            None if base is None else base.replace("/single", "/per_label"),
            "no learner of the ladder ran",
        ),
        Step(
            "choice" if base else "not attributed",
            f"from {'there' if base else 'the best member'} to {final} with its chosen rule",
            f"{final}/chosen",
        ),
    ]
