"""Auto: race the methods; leave the plain mean only as far as something beats it beyond doubt.

Candidates run, those first that usually gain most for their time, until it is used; one that has not ended by then is
cut off (`stacking.deadline`). Each is scored by cross-fitting, its threshold tuned on the other folds. What is averaged
then, and with what shares, is decided in `stacking.combiners.auto.choice`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from stacking._checks import check_folds
from stacking.combiners.auto.choice import choose_shares
from stacking.combiners.auto.ladder import climb, recalibrated_member
from stacking.combiners.blend import average_scores
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.registry import create_method, find_method, list_methods, register_method
from stacking.combiners.state import pack_combiners, unpack_combiners
from stacking.cross_fitting import make_folds, nested_decisions
from stacking.deadline import TimeLimitReached, within
from stacking.metrics.paired_difference import UnitCounts, count_units, paired_gain
from stacking.predictions import PredictionSet, as_prediction_set

__all__ = ["AutoCombiner", "AutoEntry"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

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
"""Candidates in the order they run, the most gain for the time first."""

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
        Cross-fitted micro-F1, its threshold tuned on the other folds; None if it did not run.
    behind : float or None
        Score of the best minus its own.
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


@register_method("auto", "race of the others, averaged near the best", kind="auto", cost=100.0)
class AutoCombiner(Combiner):
    """Choose among the methods by cross-fitting, and average what cannot be told apart.

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

    Attributes
    ----------
    chosen_ : list of Combiner
        Fitted on all rows; their logits are averaged.
    shares_ : list of float
        Share of each of them in the average; they sum to 1.
    entries_ : list of dict
        The race: `AutoEntry` of each candidate, best first.
    rungs_ : list of dict
        What label shift, mixing, label correlation and the choice brought (`stacking.combiners.auto.ladder`).
    notes_ : list of str
        The race as lines to read.

    Notes
    -----
    The scores decide only which candidates enter the average; what it is worth is measured on rows that chose nothing
    (`stacking.compare`, or the cross-fitted estimate of `StackingEnsemble`, optimistic by the choice among eleven).

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

    chosen_: list[Combiner]
    shares_: list[float]
    entries_: list[dict[str, Any]]
    rungs_: list[dict[str, Any]]
    notes_: list[str]

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        methods: Sequence[str] | None = None,
        n_splits: int = 5,
        max_rows: int | None = 50_000,
        random_state: int | None = 0,
    ) -> None:
        self.time_limit = time_limit
        self.methods = methods
        self.n_splits = n_splits
        self.max_rows = max_rows
        self.random_state = random_state

    def cross_fit_predict(self, predictions: PredictionSet | npt.ArrayLike, *, folds: npt.ArrayLike) -> FloatArray:
        """Average the chosen candidates' held-out scores.

        Parameters
        ----------
        predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
            With the truth.
        folds : array of int, shape (n_samples,)
            The fold each row is held out in.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Scores by fits that did not see the row; only the choice of candidates saw all rows.
        """
        fresh = type(self)(**self.get_params(deep=False))
        learned = as_prediction_set(predictions)
        return fresh.fit_cross_fitted(
            learned, folds=check_folds(learned.align(folds=folds)[0], learned.n_samples, least=2)
        )[1]

    def fit_cross_fitted(self, predictions: PredictionSet, *, folds: npt.ArrayLike) -> tuple[Self, FloatArray]:
        """Race the candidates on given folds.

        Parameters
        ----------
        predictions : PredictionSet
            With the truth.
        folds : array of int, shape (n_samples,)
            The fold each row is held out in.

        Returns
        -------
        combiner : Self
            Fitted on all rows.
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Held-out scores in [0, 1].
        """
        self._given_folds = np.asarray(folds)
        try:
            self.fit(predictions)
            return self, self._held_out
        finally:
            del self._given_folds
            self.__dict__.pop("_held_out", None)

    def _fit(self, predictions: PredictionSet) -> None:
        """Run the race, then average the candidates near the best."""
        folds = getattr(self, "_given_folds", None)
        if folds is None:
            folds = make_folds(predictions, self.n_splits, random_state=self.random_state)
        raced, raced_folds = self._sample(predictions, folds)
        runners, skipped = self._race(raced, raced_folds)
        by_name = {runner.name: runner for runner in runners}
        choice = choose_shares(
            {name: runner.held_out for name, runner in by_name.items()},
            {name: runner.counts for name, runner in by_name.items()},
            lambda y_score: count_units(_decide(y_score, raced, raced_folds), raced),
        )
        fitted = [(by_name[name].combiner, by_name[name].held_out) for name in choice.shares]
        answer = average_scores([held_out for _, held_out in fitted], shares=list(choice.shares.values()))
        scores = {name: runner.counts.micro_f1 for name, runner in by_name.items()}
        scores["auto"] = count_units(_decide(answer, raced, raced_folds), raced).micro_f1
        self.rungs_ = climb(scores | self._first_rung(by_name, raced, raced_folds))
        if raced is not predictions:
            fitted = [self._create(name).fit_cross_fitted(predictions, folds=folds) for name in choice.shares]
        self.chosen_, self.shares_ = [combiner for combiner, _ in fitted], list(choice.shares.values())
        ranked = _rank(runners, choice.shares)
        self.entries_ = [_as_record(entry) for entry in (*ranked, *skipped)]
        self._names, self._n_raced = list(choice.shares), raced.n_samples
        self._told = _describe(ranked, skipped, choice.reason)
        self.notes_ = [*self._told, *_notes_of(self.chosen_)]
        if hasattr(self, "_given_folds"):
            self._held_out = average_scores([held_out for _, held_out in fitted], shares=self.shares_)

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
            needed = seconds / self.n_splits * predictions.n_samples / self._n_raced
            try:
                if needed > left:
                    raise TimeLimitReached(f"the time limit left {left:.0f} s.")
                with within(left):
                    self.chosen_[position] = self._create(name).fit(predictions)
            except TimeLimitReached:
                kept.append(name)
        told = [
            f"  raced on {self._n_raced} of {predictions.n_samples} rows; fitted on all"
            + (f" but for {', '.join(kept)}: no time was left" if kept else "")
        ]
        self.notes_ = [*self._told, *told, *_notes_of(self.chosen_)]

    def _first_rung(
        self, runners: Mapping[str, _Runner], predictions: PredictionSet, folds: npt.NDArray[np.intp]
    ) -> dict[str, float]:
        """Score the best member alone, recalibrated per label; nothing where the time is used or it has holes."""
        single, mixing = runners.get("best-single"), runners.get("logistic")
        if single is None or mixing is None:
            return {}
        prepared = recalibrated_member(predictions, single.combiner.weights_)
        if prepared is None:
            return {}
        left = None if self.time_limit is None else self.time_limit - sum(one.seconds for one in runners.values())
        try:
            with within(left):
                y_score = prepared[0].cross_fit_predict(prepared[1], folds=folds)
        except TimeLimitReached:
            return {}
        return {"recalibrated": count_units(_decide(y_score, predictions, folds), predictions).micro_f1}

    def _sample(
        self, predictions: PredictionSet, folds: npt.NDArray[np.intp]
    ) -> tuple[PredictionSet, npt.NDArray[np.intp]]:
        """Return the rows to race on with their folds: all, or a random sample held in memory."""
        if self.max_rows is None or predictions.n_samples <= self.max_rows:
            return predictions, folds
        rng = np.random.default_rng(self.random_state)
        rows = np.sort(rng.choice(predictions.n_samples, size=self.max_rows, replace=False))
        return predictions.subset(samples=rows).in_memory(), folds[rows]

    def _race(self, predictions: PredictionSet, folds: npt.NDArray[np.intp]) -> tuple[list[_Runner], list[AutoEntry]]:
        """Cross-fit the candidates in their order as long as the time allows."""
        started = time.monotonic()
        runners: list[_Runner] = []
        skipped: list[AutoEntry] = []
        for name, cost in self._racers(predictions.n_models):
            pace = max((runner.seconds / runner.cost for runner in runners if runner.cost >= 1.0), default=0.0)
            left = float("inf") if self.time_limit is None else self.time_limit - (time.monotonic() - started)
            if runners and (left <= 0 or pace * cost > 2 * left):  # one that is begun may still be cut off
                skipped.append(_left_out(name, f"the time limit left {max(left, 0):.0f} s"))
                continue
            begun = time.monotonic()
            try:
                with within(left if runners else None):
                    combiner, held_out = self._create(name).fit_cross_fitted(predictions, folds=folds)
            except TimeLimitReached:
                skipped.append(_left_out(name, f"cut off by the time limit after {time.monotonic() - begun:.0f} s"))
                continue
            except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
                if name == "mean":
                    raise
                _log.warning("auto leaves out %s: %s", name, error)
                skipped.append(_left_out(name, str(error)))
                continue
            counts = count_units(_decide(held_out, predictions, folds), predictions)
            runners.append(_Runner(name, cost, combiner, held_out, counts, time.monotonic() - begun))
        return runners, skipped

    def _racers(self, n_models: int) -> list[tuple[str, float]]:
        """Return the candidates and their usual costs; the mean always, and nothing to weigh for one model."""
        wanted = list(RACERS if self.methods is None else self.methods)
        names = ["mean", *(name for name in wanted if name != "mean" and (n_models > 1 or name not in VOTES))]
        costs = {name: find_method(name).cost for name in list_methods()} | {"best-single": 0.3}
        return [(name, costs.get(name, 5.0)) for name in names]

    def _create(self, name: str) -> Combiner:
        """Build a candidate."""
        if name == "best-single":
            return create_method("greedy", random_state=self.random_state, max_members=1)
        return create_method(name, random_state=self.random_state)

    def _predict(self, predictions: PredictionSet, covers: BoolArray) -> FloatArray:
        """Average the chosen candidates' logits."""
        scores = [combiner._predict(predictions, covers) for combiner in self.chosen_]
        return average_scores(scores, shares=self.shares_)

    def _state(self) -> CombinerState:
        """Nest the chosen candidates' states under numbered names."""
        parameters = self.get_params(deep=False)
        values: dict[str, Any] = {
            "parameters": parameters,
            "entries": self.entries_,
            "notes": self.notes_,
            "shares": self.shares_,
            "rungs": self.rungs_,
        }
        values |= {"models": self.models_, "labels": self.labels_}
        nested, arrays, texts = pack_combiners(self.chosen_)
        return {**values, "chosen": nested["members"]}, {"covers": self.covers_, **arrays}, texts

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the chosen candidates."""
        auto = cls(**values["parameters"])
        auto.models_, auto.labels_ = tuple(values["models"]), tuple(values["labels"])
        auto.covers_, auto.entries_, auto.notes_ = arrays["covers"], values["entries"], values["notes"]
        auto.chosen_ = unpack_combiners(values["chosen"], arrays, texts)
        auto.rungs_ = values.get("rungs", [])
        auto.shares_ = values.get("shares") or [1.0 / len(auto.chosen_)] * len(auto.chosen_)
        return auto


@dataclass(frozen=True)
class _Runner:
    """A candidate that has run."""

    name: str
    cost: float
    combiner: Combiner
    held_out: FloatArray
    counts: UnitCounts
    seconds: float


def _left_out(name: str, reason: str) -> AutoEntry:
    """Record a candidate that did not run."""
    return AutoEntry(name, None, None, None, 0.0, 0.0, reason)


def _as_record(entry: AutoEntry) -> dict[str, Any]:
    """Return an entry as a dict that JSON can hold: None for what was not measured."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value for name, value in vars(entry).items()
    }


def _decide(held_out: FloatArray, predictions: PredictionSet, folds: npt.NDArray[np.intp]) -> BoolArray:
    """Decide with one threshold tuned on the other folds; on all rows where there is one fold only."""
    from stacking.decision_rules import apply_thresholds, tune_thresholds

    if len(np.unique(folds)) > 1:
        return nested_decisions(held_out, predictions, folds)
    thresholds = tune_thresholds(
        held_out,
        np.asarray(predictions.y_true),
        "single",
        y_known=predictions.y_known,
        sample_weight=predictions.sample_weight,
    )
    return apply_thresholds(held_out, thresholds)


def _rank(runners: Sequence[_Runner], shares: Mapping[str, float]) -> list[AutoEntry]:
    """Record the candidates that ran, best first."""
    best = max(runners, key=lambda runner: runner.counts.micro_f1)
    entries = []
    for runner in runners:
        gain = paired_gain(best.counts, runner.counts)
        score, share = runner.counts.micro_f1, shares.get(runner.name, 0.0)
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
        names = ", ".join(f"{entry.name} ({entry.weight:.2f})" for entry in chosen)
        lines = [f"auto averages {names}: {reason}"]
    lines += [
        f"  {entry.name:<17} {entry.score:.4f}  {0.0 - (entry.behind or 0.0):+.4f} ± {entry.standard_error:.4f}"
        f"  {entry.seconds:.1f} s"
        for entry in ranked
    ]
    lines += [f"  {entry.name:<17} left out: {entry.reason}" for entry in skipped]
    return lines
