"""Compare every way of combining members on the same held-out samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray
from stacking.combiners.combiner import Combiner
from stacking.combiners.label_rows import teach_label_rows
from stacking.combiners.registry import list_methods
from stacking.combiners.shared_fits import share_fits
from stacking.comparison.candidates import Candidate, find_candidates
from stacking.comparison.evaluation import DECISIONS, FailedMethod, MethodResult, try_candidate
from stacking.comparison.held_out import HeldOut
from stacking.comparison.plan import ComparisonPlan, Progress, write_manifest
from stacking.comparison.result import Comparison
from stacking.comparison.results import LeaderboardRow
from stacking.comparison.saved import saved_candidates
from stacking.comparison.splits import Split, constant_baseline, holdout_split, nested_splits
from stacking.decision_rules import ImageRules, check_rule
from stacking.decision_rules.image_rules import group_of_labels
from stacking.ensemble.ensemble import TUNING_COST, StackingEnsemble
from stacking.metrics.bootstrap import bootstrap_micro_f1, percentile_interval
from stacking.metrics.fit_error import draw_fit_errors
from stacking.metrics.gain_ladder import CONTEXT_LEARNERS, NO_THRESHOLDS, Ladder, State, attribute_gain
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric, name_or_metric
from stacking.predictions import PredictionSet, as_prediction_set
from stacking.process.progress import report_progress, steps
from stacking.ties import exceeds, first_best
from stacking.truth import Truth

_SHIFT = "recalibrated best member"
_LIMITS = "limits"
_CHOICE_COST, _LIMITS_COST = 6.0, 10.0
"""Usual time, in the unit of `Method.cost`, of what is left of ``auto`` where its fits are shared, and per split of all
that comes after the last method. For the time left only."""


def compare(  # noqa: PLR0913 - the public call: all options are keyword-only and go into one ComparisonPlan
    predictions: PredictionSet | npt.ArrayLike,
    methods: str | Sequence[str] | Mapping[str, Combiner | StackingEnsemble] = "all",
    *,
    y_true: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    label_rows: Any = None,
    holdout: PredictionSet | None = None,
    n_splits: int = 5,
    random_state: int = 0,
    n_bootstrap: int = 1000,
    time_limit: float | None = None,
    image_rules: ImageRules | None = None,
    rule: str = "auto",
    rules: Sequence[str] = (),
    ensembles: Mapping[str, StackingEnsemble] | None = None,
    metric: str | Metric | Callable[..., Any] = "micro-f1",
    fit_time_limit: float | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Score members, votes and meta-learners on samples that tuned nothing.

    Without a holdout the estimate is nested: each outer fold is scored by predictors that were fitted on the other
    folds, exactly as `StackingEnsemble.fit` fits them: weights, meta-learner, the choice of the decision rule,
    thresholds, image rules and the time limit of ``auto``. With a holdout every method is fitted on all of
    `predictions` and scored on the holdout. Every method is scored on the same samples, with the decision rule that
    cross-fitting chose before scoring, and also with one threshold for all labels and with exact per-label
    thresholds. The predictions must be out-of-fold: scores of members for rows that they were trained on make every
    number too high.

    Parameters
    ----------
    predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
        Out-of-fold scores in [0, 1].
    methods : "all", sequence of str or mapping of str to Combiner or StackingEnsemble, default="all"
        Names of registered methods ("all": those that are not slow), or named unfitted combiners or ensembles, which
        are cloned. Members are always scored.
    y_true : array or data frame of shape (n_samples, n_labels), optional
        The truth, unless `predictions` carry it; a data frame is matched by its index and columns.
    groups : array of shape (n_samples,), optional
        Samples that share a fold and are resampled together; overrides the set's own. A holdout brings its own.
    label_rows : path, data frame or array of shape (n_rows, n_labels), optional
        Truth of further rows without scores, as `StackingEnsemble.fit` takes it; those that are scored teach nothing.
    holdout : PredictionSet, optional
        Other samples with their truth, used once, to score.
    n_splits : int, default=5
        Number of outer folds, and of inner folds inside each; fewer where there are fewer samples or groups.
    random_state : int, default=0
        Seed of folds, methods and bootstrap.
    n_bootstrap : int, default=1000
        Number of resamples behind the 95 % limits. Nested limits also know what other rows would have fitted and chosen
        (`stacking.metrics.fit_error`); those on a holdout are about the very fit that was scored.
    time_limit : float, optional
        Seconds after which no further split of a method is started; methods that did not finish are listed as such.
        Members and votes come first. The limit is not exact: a split that has started is finished.
    image_rules : ImageRules, optional
        What the labels of every image must keep, as `StackingEnsemble` takes it.
    rule : str, default="auto"
        Decision rule of the column ``score``, as `StackingEnsemble` takes it.
    rules : sequence of str, default=()
        Decision rules by which every method is scored once more, each in a row of its own, ``mean + half``.
    ensembles : mapping of str to StackingEnsemble, optional
        Fitted ensembles, by the name of their row, that are scored as they are and not fitted again. One that was
        fitted on a row that is scored is refused.
    metric : str, Metric or callable, default="micro-f1"
        What every method is fitted for and scored by, as `stacking.metrics.find_metric` takes it. Ensembles that the
        caller brings keep their own, and are scored by this one.
    fit_time_limit : float, optional
        Seconds that each fit of ``auto`` may take, as `StackingEnsemble` takes it; less where `time_limit` leaves less.
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
    S. Bates, T. Hastie, R. Tibshirani, Cross-validation: what does it estimate and how well does it do it?, JASA 119,
    2024: why limits from the scored rows alone are too narrow.
    """
    started = time.monotonic()
    ensemble: dict[str, Any] = {"n_splits": n_splits, "random_state": random_state, "time_limit": fit_time_limit}
    found = find_metric(metric)
    ensemble |= {"image_rules": image_rules, "rule": rule, "metric": name_or_metric(metric)}
    plan = ComparisonPlan(n_splits, random_state, n_bootstrap, time_limit, ensemble, progress, found)
    check_rule(rule)
    predictions = as_prediction_set(predictions, y_true)
    if groups is not None:
        predictions = predictions.with_groups(groups)
    listed = list_methods() if methods == "all" else [methods] if isinstance(methods, str) else methods
    predictions = teach_label_rows(predictions, label_rows, listed.values() if isinstance(listed, Mapping) else listed)
    if holdout is not None and not isinstance(holdout, PredictionSet):
        raise TypeError(
            f"holdout must be a PredictionSet, which names its samples and carries their truth: got "
            f"{type(holdout).__name__}; give PredictionSet(scores, ids, models, labels, y_true=truth)."
        )
    if predictions.y_true is None:
        raise ValueError("y_true= or truth= (--truth) must be given to compare methods, or predictions that carry it.")
    predictions.truth.check_counted()
    found.check_truth(predictions.truth)
    if image_rules is not None:
        image_rules.check(predictions.labels, group_of_labels(predictions.labels, predictions.label_groups))
    candidates = find_candidates(predictions, methods, plan.ensemble, rules)
    if holdout is None:
        splits, scored = nested_splits(predictions, n_splits, random_state), predictions
    else:
        split = holdout_split(predictions, holdout, n_splits, random_state)
        splits, scored = [split], split.test_side
        found.check_truth(scored.truth)
    candidates += saved_candidates(ensembles or {}, scored, frozenset(one.name for one in candidates))
    deadline = float("inf") if time_limit is None else started + time_limit
    run = _Run(splits, scored, deadline, plan)
    shared = _raced_again(candidates, plan) + _ruled_again(methods, rules, plan)
    if _raced_again(candidates, plan):  # what auto races has been fitted when its turn comes
        candidates = [replace(one, cost=_CHOICE_COST) if one.kind == "auto" else one for one in candidates]
    with steps(_step_costs(candidates, len(splits))) as step:
        with share_fits(shared):
            run.score(candidates, step)
        step(_LIMITS)
        return _conclude(run, candidates, (predictions, holdout, splits), plan)


def _conclude(
    run: _Run,
    candidates: Sequence[Candidate],
    given: tuple[PredictionSet, PredictionSet | None, Sequence[Split]],
    plan: ComparisonPlan,
) -> Comparison:
    """Put the comparison together from what was scored."""
    if not run.results:
        of_metric = f"ValueError: metric {plan.metric.name} "
        if run.failures and all(one.reason.startswith(of_metric) for one in run.failures):  # no method is at fault
            raise ValueError(run.failures[0].reason.removeprefix("ValueError: "))
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in run.failures[:3])
        raise RuntimeError(f"no method could be scored: {reasons}")
    shift = run.recalibrate_best_member(candidates)
    options = {name: result.options for name, result in run.results.items()}
    manifest = write_manifest(*given, plan, options)
    return _assemble(run, shift, run.scored, manifest, plan)


def _step_name(candidate: Candidate, split: int, n_splits: int) -> str:
    """Name a step of the comparison."""
    return f"{candidate.name}, fold {split + 1}/{n_splits}"


def _step_costs(candidates: Sequence[Candidate], n_splits: int) -> dict[str, float]:
    """Return what each method on each split usually costs, and the rest."""
    costs = {
        _step_name(candidate, split, n_splits): candidate.cost + TUNING_COST
        for candidate in candidates
        for split in range(n_splits)
    }
    return {**costs, _LIMITS: _LIMITS_COST * n_splits}


def _raced_again(candidates: Sequence[Candidate], plan: ComparisonPlan) -> list[Combiner]:
    """List what ``auto`` races besides being scored by itself; nothing under a limit, where auto sees the clock."""
    from stacking.combiners.auto.race import RACERS
    from stacking.combiners.registry import create_method

    names = {candidate.name for candidate in candidates}
    limited = plan.time_limit is not None or plan.ensemble["time_limit"] is not None
    if limited or not any(candidate.kind == "auto" for candidate in candidates):
        return []
    return [create_method(name, random_state=plan.random_state) for name in RACERS if name in names]


def _ruled_again(methods: Any, rules: Sequence[str], plan: ComparisonPlan) -> list[Combiner]:
    """List what is fitted once for all decision rules that it is scored with; nothing under a limit."""
    from stacking.combiners.registry import create_method, method_kind

    if not rules or isinstance(methods, Mapping) or plan.time_limit is not None:
        return []
    names = list_methods(include_slow=False) if methods == "all" else [methods] if isinstance(methods, str) else methods
    metric = plan.ensemble["metric"]
    return [
        create_method(name, random_state=plan.random_state, metric=metric)
        for name in names
        if method_kind(name) != "auto"
    ]


class _Run:
    """Scores candidates one after the other and keeps what the report needs of them."""

    def __init__(self, splits: Sequence[Split], scored: PredictionSet, deadline: float, plan: ComparisonPlan) -> None:
        self.splits, self.scored, self.deadline, self.plan = splits, scored, deadline, plan
        self.truth = scored.truth
        self.results: dict[str, MethodResult] = {}
        self.failures: list[FailedMethod] = []
        self.kept: dict[str, HeldOut] = {}
        self._best: dict[str, tuple[float, str]] = {}

    def score(self, candidates: Sequence[Candidate], step: Callable[[str], None]) -> None:
        """Score all candidates in order."""
        total = len(candidates) * len(self.splits)
        for number, candidate in enumerate(candidates):
            begin = partial(self._begin, step, candidate, number * len(self.splits), total)
            outcome = try_candidate(candidate, self.splits, self.scored, self.plan, self.deadline, begin)
            if isinstance(outcome, FailedMethod):
                self.failures.append(outcome)
                continue
            result, held_out = outcome
            self.results[result.name] = result
            self._keep(result, held_out)
        if self.plan.progress is not None:
            self.plan.progress(total, total, "bootstrap")

    def recalibrate_best_member(self, candidates: Sequence[Candidate]) -> MethodResult | str:
        """Score the ladder's first step, the mixing learner on the best member alone; or say why not."""
        learner = next((candidate for candidate in candidates if candidate.name == "logistic"), None)
        if "member" not in self._best:
            return "no member was scored"
        if learner is None or "logistic" not in self.results:
            return "the method logistic did not run"
        member = self._member_name(candidates)
        splits = [split.with_models([member]) for split in self.splits]
        alone = Candidate(_SHIFT, "meta", learner.build)
        with report_progress(None):  # all splits are one step
            outcome = try_candidate(alone, splits, self.scored.subset(models=[member]), self.plan, self.deadline)
        return outcome.reason if isinstance(outcome, FailedMethod) else outcome[0]

    def score_of(self, result: MethodResult, decision: str = "chosen") -> float:
        """Return the metric of a method's decisions, or scores."""
        return result.scores[decision] if result.scores else result.counts[decision].micro_f1(self.truth)

    def best(self, kind: str) -> str | None:
        """Name the best of the members or of the methods."""
        return self._best[kind][1] if kind in self._best else None

    def _member_name(self, candidates: Sequence[Candidate]) -> str:
        """Return the model behind the best member."""
        return next(candidate.member for candidate in candidates if candidate.name == self._best["member"][1])

    def _begin(self, step: Callable[[str], None], candidate: Candidate, done: int, total: int, split: int) -> None:
        """Report progress."""
        step(_step_name(candidate, split, len(self.splits)))
        if self.plan.progress is not None:
            self.plan.progress(done + split, total, candidate.name)

    def _keep(self, result: MethodResult, held_out: HeldOut) -> None:
        """Keep the scores of the mean, of the best member and of the ensemble so far."""
        role = "member" if result.kind == "member" else "method"
        value = float("inf") if result.kind == "auto" else self.plan.metric.sign * self.score_of(result)
        is_best = role not in self._best or bool(exceeds(value, self._best[role][0]))
        if is_best:
            previous = self._best[role][1] if role in self._best else None
            if previous is not None and previous != "mean":
                self.kept.pop(previous, None)
            self._best[role] = (value, result.name)
        if is_best or result.name == "mean":
            self.kept[result.name] = held_out


def _bootstrap(
    results: Mapping[str, MethodResult], truth: Truth, plan: ComparisonPlan
) -> dict[tuple[str, str], DoubleArray]:
    """Resample all methods together; return the metric per (method, decision) and draw, the fits' errors included."""
    counts = {(name, decision): result.counts[decision] for name, result in results.items() for decision in DECISIONS}
    if plan.metric.name == DEFAULT_METRIC:
        draws = bootstrap_micro_f1(
            truth, list(counts.values()), n_bootstrap=plan.n_bootstrap, random_state=plan.random_state
        )
    else:
        draws = np.stack([results[name].replicates[decision] for name, decision in counts])
    deviations = [results[name].fit_deviations[decision] for name, decision in counts]
    draws = draws + draw_fit_errors(deviations, n_bootstrap=plan.n_bootstrap, random_state=plan.random_state)
    return dict(zip(counts, np.clip(draws, *plan.metric.bounds), strict=True))


def _assemble(
    run: _Run, shift: MethodResult | str, scored: PredictionSet, manifest: dict[str, Any], plan: ComparisonPlan
) -> Comparison:
    """Put rows, intervals and the ladder together."""
    everything = dict(run.results)
    if isinstance(shift, MethodResult):
        everything[_SHIFT] = shift
    replicates = _bootstrap(everything, run.truth, plan)
    rows = [_row(result, run, replicates) for result in run.results.values()]
    return Comparison(
        rows=tuple(_best_first(rows, plan.metric.sign)),
        failures=tuple(run.failures),
        constant_answer=constant_baseline(run.splits, run.truth, plan.metric),
        ladder=_ladder(run, shift, replicates),
        manifest=manifest,
        results=run.results,
        replicates=replicates,
        truth=run.truth,
        models=scored.models,
        labels=scored.labels,
        kept=run.kept,
        metric=plan.metric,
    )


def _best_first(rows: Sequence[LeaderboardRow], sign: int) -> list[LeaderboardRow]:
    """Sort by score, the best first; rows that only rounding tells apart keep their order."""
    left, order = list(rows), []
    while left:
        order.append(left.pop(first_best([sign * row.score for row in left])))
    return order


def _row(result: MethodResult, run: _Run, replicates: Mapping[tuple[str, str], DoubleArray]) -> LeaderboardRow:
    """Make one line of the leaderboard."""
    truth = run.truth
    chosen = result.counts["chosen"]
    scores = {decision: run.score_of(result, decision) for decision in DECISIONS}
    limits = {decision: percentile_interval(replicates[result.name, decision]) for decision in DECISIONS}
    against: dict[str, float | None] = {}
    for column, other in (("vs_best_member", run.best("member")), ("vs_mean", "mean")):
        if other is None or other not in run.results:
            against.update({column: None, f"{column}_low": None, f"{column}_high": None})
            continue
        low, high = percentile_interval(replicates[result.name, "chosen"] - replicates[other, "chosen"])
        value = scores["chosen"] - run.score_of(run.results[other])
        against.update({column: value, f"{column}_low": low, f"{column}_high": high})
    never = chosen.never_predicted(truth)
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
        micro_f1=chosen.micro_f1(truth),
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


def _ladder(run: _Run, shift: MethodResult | str, replicates: Mapping[tuple[str, str], DoubleArray]) -> Ladder | None:
    """Attribute the gain from the best member to the ensemble."""
    member, final = run.best("member"), run.best("method")
    if member is None or final is None:
        return None
    results = dict(run.results)
    learners: dict[str, str] = {}
    obstacles: dict[str, str] = {}
    if isinstance(shift, MethodResult):
        results[_SHIFT] = shift
        learners["label shift"] = _SHIFT
    else:
        obstacles["label shift"] = shift
    if len(run.scored.models) < 2:
        obstacles["mixing"] = "there is one member only"
    elif "logistic" in results:
        learners["mixing"] = "logistic"
    context = next((name for name in CONTEXT_LEARNERS if name in results), "")
    if context:
        learners["label correlation"] = context

    def state(name: str, decision: str) -> State:
        return State(run.score_of(results[name], decision), replicates[name, decision])

    states = {cause: state(name, "single") for cause, name in learners.items()}
    if learners and not run.plan.metric.needs_decisions:
        obstacles["thresholds"] = NO_THRESHOLDS
    elif learners:
        states["thresholds"] = state(list(learners.values())[-1], "per_label")
    ends = state(member, "single"), state(final, "chosen")
    return attribute_gain((member, final), ends, states, context=context, obstacles=obstacles)
