"""Auto: race the methods, then average them with shares that held-out rows chose.

Candidates run in the order of what they usually gain for their time. Under a time limit the cheap ones go first, a dear
one only where what is left is enough for it, and one that has not ended in its time is cut off
(`stacking.combiners.auto.turns`, `stacking.process.deadline`). Each is scored by cross-fitting, its threshold tuned on
the other folds. What is averaged then, and with what shares, is decided in `stacking.combiners.auto.choice`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, FloatArray, IndexArray
from stacking.combiners.auto.budget import rows_in_memory
from stacking.combiners.auto.choice import choose_shares
from stacking.combiners.auto.turns import Turn, expect_seconds, next_turn
from stacking.combiners.blend import average_scores
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.registry import create_method, find_method, list_methods, register_method
from stacking.combiners.shared_fits import share_stages, wall_clock
from stacking.combiners.state import pack_combiners, unpack_combiners
from stacking.decision_rules import ImageRules, apply_image_rules, apply_thresholds
from stacking.decision_rules.choice import MICRO_F1, Decide, nested_decisions, tune_rule
from stacking.decision_rules.image_rules import group_of_labels
from stacking.folds import deal_folds, sample_rows
from stacking.metrics.gain_ladder import CONTEXT_LEARNERS, NO_THRESHOLDS, State, attribute_gain
from stacking.metrics.measurement import Measurement
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric, metric_name
from stacking.metrics.paired_difference import paired_gain
from stacking.predictions import PredictionSet
from stacking.process.deadline import TimeLimitReached, time_limited
from stacking.process.progress import steps
from stacking.report.writing import write_cell, write_gain, write_score
from stacking.ties import first_best

_log = logging.getLogger(__name__)

RACERS = (
    "mean",
    "geometric",
    "greedy",
    "ridge-context",
    "label-context",
    "best-single",
    "greedy-geometric",
    "convex",
    "lightgbm",
    "logistic",
)
"""Candidates in the order they run without a time limit, the most gain for the time first."""

SCREENED = frozenset({"lightgbm"})
"""Candidates whose cost grows with the labels one by one, so that a part of the labels tells what they are worth."""

SCREENED_FROM, SCREENED_LABELS = 2_000, 100
"""Samples or groups, and labels, from which they are screened. A choice: with fewer the race is short anyway."""

SCREENED_SHARE, SCREENED_ERRORS = 10, 2.5
"""Every tenth label, by frequency, is tried; what lies so many standard errors behind the best there is left out. On
10,000 rows of 228 labels trees lie .006 ± .001 behind on every fifth label and took a quarter of the race."""

VOTES = frozenset({"geometric", "best-single", "greedy", "greedy-geometric", "convex"})
"""Candidates that have nothing to weigh where there is one model."""


@dataclass(frozen=True)
class AutoEntry:
    """One candidate of the race.

    Attributes
    ----------
    name : str
        Method.
    score : float or None
        Cross-fitted micro-F1, or another metric, its threshold tuned on the other folds; None if it did not run.
    behind : float or None
        By how much the best is better.
    standard_error : float or None
        Of that difference, over samples or groups.
    seconds : float
        Wall seconds it took.
    weight : float
        Its share in the average; 0 if it was not chosen.
    reason : str
        Why it was left out, or empty.
    """

    name: str
    score: float | None
    behind: float | None
    standard_error: float | None
    seconds: float
    weight: float
    reason: str = ""


@register_method("auto", "race of the others, averaged by held-out shares", kind="auto", cost=40.0)
class AutoCombiner(Combiner):
    """Average the methods by what their held-out answers are worth together; keep to the mean where that is not proven.

    Where the positives lie on many samples or groups the shares are those of least held-out log loss, unless the
    proven best scores clearly more; with few groups the plain mean is left only beyond doubt
    (`stacking.combiners.auto.choice`).

    Parameters
    ----------
    time_limit : float or None, default=None
        Wall seconds for the race; a candidate whose expected time does not fit is left out, one that has not ended is
        cut off, and the report says so. The plain mean always runs. `StackingEnsemble` bounds its whole fit.
    methods : sequence of str or None, default=None
        Candidates; None means all that auto knows.
    n_splits : int, default=5
        Folds of the cross-fitting.
    max_rows : int or None, default=50_000
        Race on a random sample where there are more rows; what was chosen is then fitted on all of them.
    random_state : int or None, default=0
        Seed of the folds and of the candidates.
    image_rules : ImageRules or None, default=None
        What the labels of every image must keep: the candidates are judged by decisions that keep it.
    metric : str, Metric or callable, default="micro-f1"
        What the candidates are judged by, and what those of them that search weights search for.

    Attributes
    ----------
    chosen_ : list of Combiner
        Fitted on all rows; their logits are averaged.
    shares_ : list of float
        Share of each of them in the average; they sum to 1.
    line_ : (float, float)
        Slope and intercept that the average logit is carried through, (1, 0) where few rows or groups leave it.
    entries_ : list of dict
        The race: `AutoEntry` of each candidate, best first.
    gain_steps_ : list of dict
        What label shift, mixing, label correlation, thresholds and the choice brought, decided with one threshold
        (`stacking.metrics.gain_ladder`).
    notes_ : list of str
        The race as lines to read.

    Notes
    -----
    The scores decide only which candidates enter the average; what it is worth is measured on rows that chose nothing
    (`stacking.compare`, or the cross-fitted estimate of `StackingEnsemble`, optimistic by the choice of candidates:
    by .006 to .020 of micro-F1 on 250 to 400 rows).

    Examples
    --------
    >>> y_true = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 20, dtype=np.uint8)
    >>> y_scores = np.stack([0.2 + 0.6 * y_true, 0.5 + 0.0 * y_true])
    >>> auto = AutoCombiner(methods=["mean", "greedy"]).fit(y_scores, y_true)
    >>> sorted(entry["name"] for entry in auto.entries_)
    ['greedy', 'mean']
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    choice_sees_all_rows: ClassVar[bool] = True
    learns_from_label_rows: ClassVar[bool] = True

    chosen_: list[Combiner]
    shares_: list[float]
    line_: tuple[float, float]
    entries_: list[dict[str, Any]]
    gain_steps_: list[dict[str, Any]]
    notes_: list[str]

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        methods: Sequence[str] | None = None,
        n_splits: int = 5,
        max_rows: int | None = 50_000,
        random_state: int | None = 0,
        image_rules: ImageRules | None = None,
        metric: str | Metric | Callable[..., Any] = "micro-f1",
    ) -> None:
        self.image_rules = image_rules
        self.metric = metric
        self.time_limit = time_limit
        self.methods = methods
        self.n_splits = n_splits
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Run the race on folds of its own."""
        folds = deal_folds(predictions.truth, self.n_splits, random_state=self.random_state)
        self._race_and_choose(predictions, folds)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Run the race on given folds; only the choice of candidates sees all rows."""
        fitted = self._race_and_choose(predictions, folds)
        return average_scores([held_out for _, held_out in fitted], shares=self.shares_, line=self.line_)

    def _race_and_choose(self, predictions: PredictionSet, folds: IndexArray) -> list[tuple[Combiner, FloatArray]]:
        """Race, choose, and fit what was chosen on all rows; return it with its held-out scores."""
        raced, raced_folds = self._sample(predictions, folds)
        judge = _Judge(raced, raced_folds, self._decide(raced), find_metric(self.metric))
        costs = dict(self._racers(raced.n_models))
        with steps({**costs, "choice": 0.1 * sum(costs.values())}) as begin:
            # Under a time limit nothing is shared: what a candidate takes says whether the next one may begin.
            with share_stages(raced) if self.time_limit is None else nullcontext():
                runners, skipped = self._race(judge, begin)
            begin("choice")
            by_name = {runner.name: runner for runner in runners}
            choice = choose_shares(
                {name: runner.held_out for name, runner in by_name.items()},
                {name: runner.counts for name, runner in by_name.items()},
                judge.count,
                raced.truth if judge.can_hold_out else None,
                judge.metric,
            )
            fitted = [(by_name[name].combiner, by_name[name].held_out) for name in choice.shares]
            answer = choice.average({name: runner.held_out for name, runner in by_name.items()})
            self.gain_steps_ = self._attribute_gain(by_name, answer, judge)
        if raced is not predictions:
            fitted = [self._create(name).fit_out_of_fold(predictions, folds=folds) for name in choice.shares]
        self.chosen_, self.shares_ = [combiner for combiner, _ in fitted], list(choice.shares.values())
        self.line_ = choice.line
        ranked = _rank(runners, choice.shares)
        self.entries_ = [_as_record(entry) for entry in (*ranked, *skipped)]
        self._names, self._n_raced = list(choice.shares), raced.n_samples
        self._described = _describe(ranked, skipped, choice.reason)
        self.notes_ = [*self._described, *_notes_of(self.chosen_)]
        return fitted

    def refit(self, predictions: PredictionSet, time_limit: float) -> None:
        """Fit the chosen candidates on more rows than the race had, one by one as long as the time allows.

        Parameters
        ----------
        predictions : PredictionSet
            With the truth; the members and labels of the race.
        time_limit : float
            Wall seconds; a candidate that would not end in time keeps to its rows.
        """
        started, kept = time.monotonic(), []
        for position, name in enumerate(self._names):
            left = time_limit - (time.monotonic() - started)
            seconds = next(entry["seconds"] for entry in self.entries_ if entry["name"] == name)
            # Cross-fitting took about as long as n_splits fits; a fit is taken to grow with its rows.
            needed = seconds / self.n_splits * predictions.n_samples / self._n_raced
            try:
                if needed > left:
                    raise TimeLimitReached(f"the time limit left {left:.0f} s.")
                with time_limited(left):
                    self.chosen_[position] = self._create(name).fit(predictions)
            except TimeLimitReached:
                kept.append(name)
        described = [
            f"  raced on {self._n_raced} of {predictions.n_samples} rows; fitted on all"
            + (f" but for {', '.join(kept)}: no time was left" if kept else "")
        ]
        self.notes_ = [*self._described, *described, *_notes_of(self.chosen_)]

    def _attribute_gain(
        self, runners: Mapping[str, _Runner], answer: FloatArray, judge: _Judge
    ) -> list[dict[str, Any]]:
        """Tell what each cause brought, from candidates that ran anyway; nothing without the best member."""
        if "best-single" not in runners or not judge.can_hold_out:
            return []
        reached: dict[str, FloatArray] = {}
        recalibrated = self._recalibrate_best_member(runners, judge)
        if recalibrated is not None:
            reached["label shift"] = recalibrated
        if "logistic" in runners and judge.predictions.n_models > 1:
            reached["mixing"] = runners["logistic"].held_out
        context = next((name for name in CONTEXT_LEARNERS if name in runners), "")
        if context:
            reached["label correlation"] = runners[context].held_out
        states = {cause: State(judge.count(y_score).value) for cause, y_score in reached.items()}
        if reached and judge.metric.needs_decisions:
            last = reached[list(reached)[-1]]
            states["thresholds"] = State(judge.count(last, judge.metric.rules.per_label).value)
        ends = State(runners["best-single"].counts.value), State(judge.count(answer).value)
        obstacles = {} if judge.metric.needs_decisions else {"thresholds": NO_THRESHOLDS}
        ladder = attribute_gain(("best-single", "auto"), ends, states, context=context, obstacles=obstacles)
        return [asdict(step) for step in ladder.steps]

    def _recalibrate_best_member(self, runners: Mapping[str, _Runner], judge: _Judge) -> FloatArray | None:
        """Cross-fit the mixing learner on the best member alone; None where the time is used or it has holes."""
        single = runners["best-single"].combiner
        member = int(np.argmax(np.asarray(single.weights_).sum(axis=1)))
        if "logistic" not in runners or not judge.predictions.covers[member].all():
            return None
        left = None if self.time_limit is None else self.time_limit - sum(one.seconds for one in runners.values())
        alone = judge.predictions.subset(models=[member])
        # As strongly held as in the race: choosing anew would take three times as long, for one rung of the ladder.
        learner = create_method(
            "logistic", random_state=self.random_state, penalty=runners["logistic"].combiner.penalty_
        )
        try:
            with time_limited(left):
                return learner.predict_out_of_fold(alone, folds=judge.folds)
        except TimeLimitReached:
            return None

    def _sample(self, predictions: PredictionSet, folds: IndexArray) -> tuple[PredictionSet, IndexArray]:
        """Return the rows to race on with their folds: all, or a random sample held in memory."""
        max_rows = None if self.max_rows is None else rows_in_memory(predictions.n_labels, self.max_rows)
        rows = sample_rows(predictions.truth, max_rows, random_state=self.random_state)
        return (predictions, folds) if rows is None else (predictions.subset(samples=rows).in_memory(), folds[rows])

    def _decide(self, predictions: PredictionSet) -> Decide:
        """Return how scores and thresholds become decisions."""
        if self.image_rules is None:
            return apply_thresholds
        groups = group_of_labels(predictions.labels, predictions.label_groups)
        return partial(apply_image_rules, rules=self.image_rules, label_groups=groups)

    def _race(self, judge: _Judge, begin: Callable[[str], None]) -> tuple[list[_Runner], list[AutoEntry]]:
        """Cross-fit the candidates, in their order or as the time limit gives them their turn."""
        started = time.monotonic()
        costs = dict(self._racers(judge.predictions.n_models))
        runners: list[_Runner] = []
        skipped: list[AutoEntry] = []
        waiting = list(costs)
        while waiting:
            left = float("inf") if self.time_limit is None else self.time_limit - (time.monotonic() - started)
            expected = expect_seconds(costs, {runner.name: runner.seconds for runner in runners})
            turn = self._next_turn(waiting, left, expected, costs, judge)
            if turn is None:
                skipped += [_left_out(name, _no_time(left, expected[name])) for name in waiting]
                break
            waiting.remove(turn.name)
            begin(turn.name)
            ran = self._run(turn, judge, runners)
            if isinstance(ran, _Runner):
                runners.append(ran)
            else:
                skipped.append(ran)
        # Which of two equals is kept goes by the order of the race, whoever had the first turn.
        places = list(costs).index
        return sorted(runners, key=lambda one: places(one.name)), sorted(skipped, key=lambda one: places(one.name))

    def _run(self, turn: Turn, judge: _Judge, runners: Sequence[_Runner]) -> _Runner | AutoEntry:
        """Cross-fit a candidate; say why it was left out where it was."""
        if runners and not judge.can_hold_out:
            return _left_out(turn.name, "there is one sample or group only, so nothing can be held out")
        started = wall_clock()
        try:
            with time_limited(turn.seconds):
                behind = self._screen(turn.name, judge, runners)
                if behind:
                    return _left_out(turn.name, behind)
                combiner, held_out = self._create(turn.name).fit_out_of_fold(judge.predictions, folds=judge.folds)
        except TimeLimitReached:
            return _left_out(turn.name, f"cut off by the time limit after {wall_clock() - started:.0f} s")
        except (ValueError, ArithmeticError, MemoryError, np.linalg.LinAlgError) as error:
            if turn.name == "mean":
                raise
            _log.warning("auto leaves out %s: %s", turn.name, error)
            return _left_out(turn.name, str(error))
        return _Runner(turn.name, combiner, held_out, judge.count(held_out), wall_clock() - started)

    def _next_turn(
        self,
        waiting: Sequence[str],
        left: float,
        expected: Mapping[str, float],
        costs: Mapping[str, float],
        judge: _Judge,
    ) -> Turn | None:
        """Let the first of the race go, the mean in any case; under a time limit who can afford it."""
        if self.time_limit is None or "mean" in waiting:
            return Turn(waiting[0], float("inf"))
        screened = frozenset(name for name in waiting if self._is_screened(name, judge))
        return next_turn(waiting, left, expected, costs, last=screened)

    def _is_screened(self, name: str, judge: _Judge) -> bool:
        """Tell whether a candidate is tried on a part of the labels first."""
        truth, n_labels = judge.predictions.truth, judge.predictions.n_labels
        dear = name in SCREENED and n_labels >= SCREENED_LABELS and truth.n_units >= SCREENED_FROM
        return dear and judge.can_hold_out and self.image_rules is None

    def _screen(self, name: str, judge: _Judge, runners: Sequence[_Runner]) -> str:
        """Try a candidate that is dear on a part of the labels; say by how much it is behind, if clearly."""
        if not (runners and self._is_screened(name, judge)):
            return ""
        truth, n_labels = judge.predictions.truth, judge.predictions.n_labels
        best = runners[first_best([runner.counts.merit for runner in runners])]
        every = max(SCREENED_SHARE, n_labels // SCREENED_LABELS)  # more than 100 labels tell no more
        some = np.argsort(-truth.positives(), kind="stable")[::every]
        part = judge.predictions.subset(labels=[judge.predictions.labels[label] for label in some])
        few = replace(judge, predictions=part)
        _, held_out = self._create(name).fit_out_of_fold(part, folds=judge.folds)
        behind = paired_gain(few.count(best.held_out[:, some]), few.count(held_out))
        if not behind.exceeds(SCREENED_ERRORS):
            return ""
        gap = f"{write_score(behind.gain)} ± {write_score(behind.standard_error)}"
        tried = "every tenth label" if every == SCREENED_SHARE else f"one label in {every}"
        return f"on {tried} it is {gap} behind {best.name}"

    def _racers(self, n_models: int) -> list[tuple[str, float]]:
        """Return the candidates and their usual costs; the mean always, and nothing to weigh for one model."""
        wanted = list(RACERS if self.methods is None else self.methods)
        names = ["mean", *(name for name in wanted if name != "mean" and (n_models > 1 or name not in VOTES))]
        costs = {name: find_method(name).cost for name in list_methods()} | {"best-single": 0.3}
        return [(name, costs.get(name, 5.0)) for name in names]  # any cost will do for a name that `_create` refuses

    def _create(self, name: str) -> Combiner:
        """Build a candidate."""
        if name == "best-single":
            return create_method("greedy", random_state=self.random_state, metric=self.metric, max_members=1)
        return create_method(name, random_state=self.random_state, metric=self.metric)

    def _moves_scores(self, covers: BoolArray) -> BoolArray:
        """Tell which members move the scores of a chosen candidate."""
        return np.any([combiner._moves_scores(covers) for combiner in self.chosen_], axis=0)

    def _predict(self, predictions: PredictionSet, covers: BoolArray) -> FloatArray:
        """Average the chosen candidates' logits."""
        scores = [combiner._predict(predictions, covers) for combiner in self.chosen_]
        return average_scores(scores, shares=self.shares_, line=self.line_)

    def _state(self) -> CombinerState:
        """Nest the chosen candidates' states under numbered names."""
        parameters = self.get_params(deep=False)
        rules = parameters.pop("image_rules")
        if rules is not None:
            parameters["image_rules"] = rules.as_dict()
        parameters["metric"] = metric_name(self.metric)
        if parameters["metric"] == DEFAULT_METRIC:
            del parameters["metric"]  # as folders of earlier versions held them
        values: dict[str, Any] = {
            "parameters": parameters,
            "entries": self.entries_,
            "notes": self.notes_,
            "shares": self.shares_,
            "line": self.line_,
            "gain_steps": self.gain_steps_,
        }
        values |= {"models": self.models_, "labels": self.labels_}
        nested, arrays, texts = pack_combiners(self.chosen_)
        return {**values, "chosen": nested["members"]}, {"covers": self.covers_, **arrays}, texts

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the chosen candidates."""
        rules = values["parameters"].get("image_rules")
        auto = cls(**values["parameters"] | {"image_rules": None if rules is None else ImageRules(**rules)})
        auto.models_, auto.labels_ = tuple(values["models"]), tuple(values["labels"])
        auto.covers_, auto.entries_, auto.notes_ = arrays["covers"], values["entries"], values["notes"]
        auto.chosen_ = unpack_combiners(values["chosen"], arrays, texts)
        auto.gain_steps_ = values.get("gain_steps", values.get("rungs", []))  # the key of version 0.1
        auto.shares_ = values.get("shares") or [1.0 / len(auto.chosen_)] * len(auto.chosen_)
        slope, intercept = values.get("line", (1.0, 0.0))  # earlier folders hold none
        if not (0 < slope < np.inf and np.isfinite(intercept)):
            raise ValueError(f"line of auto must be a positive slope and a finite intercept: got {slope}, {intercept}.")
        auto.line_ = (float(slope), float(intercept))
        return auto


@dataclass(frozen=True)
class _Runner:
    """A candidate that has run."""

    name: str
    combiner: Combiner
    held_out: FloatArray
    counts: Measurement
    seconds: float


def _left_out(name: str, reason: str) -> AutoEntry:
    """Record a candidate that did not run."""
    return AutoEntry(name, None, None, None, 0.0, 0.0, reason)


def _no_time(left: float, expected: float) -> str:
    """Say what was left, and for what it was too little."""
    return f"the time limit left {max(left, 0.0):.0f} s" + (
        f", it takes some {expected:.0f} s" if expected >= 1 else ""
    )


def _as_record(entry: AutoEntry) -> dict[str, Any]:
    """Return an entry as a dict that JSON can hold: None for what was not measured."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value for name, value in vars(entry).items()
    }


@dataclass(frozen=True)
class _Judge:
    """Measures what scores would decide, by thresholds tuned on the other folds; on all rows if there is one fold."""

    predictions: PredictionSet
    folds: IndexArray
    decide: Decide
    metric: Metric = MICRO_F1

    @property
    def can_hold_out(self) -> bool:
        """Whether there is more than one fold."""
        return len(np.unique(self.folds)) > 1

    def count(self, y_score: FloatArray, rule: str = "") -> Measurement:
        """Measure the scores, or the decisions of a rule, by default the one that the metric is raced with."""
        metric, truth = self.metric, self.predictions.truth
        if not metric.needs_decisions:
            return metric.measure(truth, None, y_score)
        rule = rule or metric.rules.race
        if self.can_hold_out:
            decided = nested_decisions(
                y_score, self.predictions, self.folds, rule=rule, decide=self.decide, metric=metric
            )
        else:
            decided = tune_rule(y_score, truth, rule, metric).decide(y_score, self.decide)
        return metric.measure(truth, decided, y_score)


def _rank(runners: Sequence[_Runner], shares: Mapping[str, float]) -> list[AutoEntry]:
    """Record the candidates that ran, best first."""
    best = runners[first_best([runner.counts.merit for runner in runners])]
    entries = []
    for runner in runners:
        gain = paired_gain(best.counts, runner.counts)
        score, share = runner.counts.value, shares.get(runner.name, 0.0)
        entries.append(AutoEntry(runner.name, score, gain.gain, gain.standard_error, runner.seconds, share))
    return sorted(entries, key=lambda entry: entry.behind or 0.0)


def _notes_of(combiners: Sequence[Combiner]) -> list[str]:
    """Collect what the chosen candidates report about themselves, such as their fall-backs."""
    return [f"  {note}" for combiner in combiners for note in getattr(combiner, "notes_", ())]


def _describe(ranked: Sequence[AutoEntry], skipped: Sequence[AutoEntry], reason: str) -> list[str]:
    """Tell in a few lines what was chosen and why."""
    chosen = [entry for entry in ranked if entry.weight > 0]
    if len(chosen) == 1:
        lines = [f"auto chose {chosen[0].name}: {reason}"]
    else:
        names = ", ".join(f"{entry.name} ({write_cell(entry.weight, 'percent')})" for entry in chosen)
        lines = [f"auto averages {names}: {reason}"]
    lines += [
        f"  {entry.name:<17} {write_score(entry.score)}  {write_gain(0.0 - (entry.behind or 0.0))} ± "
        f"{write_score(entry.standard_error)}  {write_cell(entry.seconds, 'seconds')}"
        for entry in ranked
    ]
    lines += [f"  {entry.name:<17} left out: {entry.reason}" for entry in skipped]
    return lines
