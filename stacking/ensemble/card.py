"""The card of an ensemble: what it is, what it is worth, when it fails, and how it is used, made from what is known."""

from __future__ import annotations

import datetime
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking.decision_rules.choice import nested_decisions
from stacking.ensemble.cross_fitted import CrossFitted
from stacking.files.plain_values import as_plain
from stacking.files.versions import installed_versions
from stacking.metrics import Metric, find_metric
from stacking.metrics.bootstrap import percentile_interval, resample
from stacking.metrics.counts import DecisionCounts
from stacking.report import Cell, Code, Column, Paragraph, Report, Section, Table
from stacking.report.front_matter import front_matter
from stacking.report.markdown import render_markdown
from stacking.report.writing import write_count, write_estimate, write_score

if TYPE_CHECKING:
    from stacking._typing import BoolArray, DoubleArray

CARD = "README.md"
PACKAGES = ("labelstack", "numpy", "scikit-learn", "lightgbm")
"""What a loaded ensemble predicts with."""

MICRO_F1 = "Micro-F1 counts right and wrong labels of all samples together; 1 is perfect, 0 is none right."

MOST_ROWS = 12
"""Labels that a card lists as best and as worst; the report beside it lists all."""
MOST_LABELS = 2 * MOST_ROWS
"""Labels up to which a card lists all."""

MOST_CELLS = 50_000_000
"""Scores up to which the ensemble is tried without each member: some seconds for a vote, and a card is no reason for
more."""


@dataclass(frozen=True)
class CardFigures:
    """What a card says of the ensemble's worth.

    Attributes
    ----------
    value, low, high : float or None
        The metric by cross-fitting with its 95 % limits; None where nothing could be held out.
    positives, f1 : ndarray of float64, shape (n_labels,)
        Weight of each label's positives, and its F1 by cross-fitted decisions.
    without : dict of str to float or None
        What the metric changes by on the fitted rows if a member is missing; None where a label has no other member.
    alone : dict of str to float
        The metric of each member by itself on the labels that it answers, at one threshold tuned on the other folds.
    date : str or None
        Day of the fit (year-month-day), where the environment says it by ``SOURCE_DATE_EPOCH``: the clock would give
        the same fit other bytes every day.
    """

    value: float | None
    low: float | None
    high: float | None
    positives: DoubleArray
    f1: DoubleArray
    without: dict[str, float | None]
    alone: dict[str, float] = field(default_factory=dict)
    date: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give them as an ensemble's folder keeps them.

        Returns
        -------
        dict
            JSON-able.
        """
        return {**vars(self), "positives": self.positives.tolist(), "f1": self.f1.tolist()}

    @classmethod
    def restored(cls, kept: Any, models: Sequence[str], n_labels: int) -> CardFigures | None:
        """Read what `as_dict` gave.

        Parameters
        ----------
        kept : dict or None
            As a folder holds it, whoever wrote that; None in folders of earlier versions.
        models : sequence of str
            The ensemble's members.
        n_labels : int
            How many labels it has.

        Returns
        -------
        CardFigures or None
            The figures.

        Raises
        ------
        ValueError
            If they are not those of such an ensemble.
        """
        if kept is None:
            return None
        positives, f1 = (np.asarray(kept[name], np.float64) for name in ("positives", "f1"))
        without, alone, date = kept["without"], kept.get("alone", {}), kept.get("date")  # two came after version 0.1
        numbers = [kept[name] for name in ("value", "low", "high")] + [*without.values(), *alone.values()]
        is_odd = any(number is not None and not isinstance(number, float | int) for number in numbers)
        unknown = {*without, *alone} - set(models)
        if is_odd or positives.shape != (n_labels,) or f1.shape != (n_labels,) or unknown:
            raise ValueError("the figures of its card must be numbers, one for each label")
        if date is not None:
            datetime.date.fromisoformat(date)
        return cls(kept["value"], kept["low"], kept["high"], positives, f1, dict(without), dict(alone), date)


def measure_figures(ensemble: Any, tuned_on: CrossFitted, *, try_without_members: bool = False) -> CardFigures:
    """Measure what a card says.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.
    tuned_on : CrossFitted
        From `StackingEnsemble.fit_out_of_fold`.
    try_without_members : bool, default=False
        Also try the ensemble without each member, and each member alone, which takes as many predictions of all rows.

    Returns
    -------
    CardFigures
        Limits are percentiles of 1,000 resamples of the rows or groups that thresholds were tuned on.
    """
    predictions, y_score, decided = tuned_on.predictions, tuned_on.y_score, tuned_on.decided
    metric, truth = find_metric(ensemble.metric), predictions.truth
    value = low = high = None
    if decided is not None:
        measured = metric.measure(truth, decided if metric.needs_decisions else None, y_score)
        value = measured.value
        low, high = percentile_interval(resample(measured))
    else:
        decided = ensemble.decide(y_score)
    counts = DecisionCounts.count(decided, truth)
    without, alone = (_without(ensemble, tuned_on), _alone(metric, tuned_on)) if try_without_members else ({}, {})
    return CardFigures(value, low, high, truth.positives(), counts.f1_per_label(truth), without, alone, _day_of_build())


def _day_of_build() -> str | None:
    """Return the day that the environment says, as tools of reproducible builds do."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not said.isdecimal() or len(said) > 11:  # the year 5138
        return None
    return datetime.datetime.fromtimestamp(int(said), datetime.UTC).date().isoformat()


def _alone(metric: Metric, tuned_on: CrossFitted) -> dict[str, float]:
    """Measure every member on the labels that it answers, each fold at a threshold tuned on the others."""
    predictions, folds = tuned_on.predictions, tuned_on.folds
    if predictions.n_samples * predictions.n_labels * predictions.n_models > MOST_CELLS or len(np.unique(folds)) < 2:
        return {}
    found = {}
    for name, covers in zip(predictions.models, np.asarray(predictions.covers), strict=True):
        if not covers.any():
            continue
        own = predictions.subset(models=[name], labels=np.flatnonzero(covers))
        y_score, decided = own.to_array()[0], None
        if metric.needs_decisions:
            decided = nested_decisions(y_score, own, folds, rule=metric.rules.single, metric=metric)
        found[name] = metric.measure(own.truth, decided, y_score).value
    return found


def _without(ensemble: Any, tuned_on: CrossFitted) -> dict[str, float | None]:
    """Try the ensemble without each member on the rows that it was fitted on."""
    predictions, metric = tuned_on.predictions, find_metric(ensemble.metric)
    n_models = predictions.n_models
    if n_models < 2 or predictions.n_samples * predictions.n_labels * n_models**2 > MOST_CELLS:
        return {}

    def score(y_score: Any) -> float:
        decided = ensemble.decide(y_score) if metric.needs_decisions else None
        return metric.measure(predictions.truth, decided, y_score).value

    whole = score(ensemble.predict_proba(predictions, as_frame=False))
    lost: dict[str, float | None] = {}
    for name in ensemble.models_:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lost[name] = score(ensemble.predict_proba(predictions, without=[name], as_frame=False)) - whole
        except ValueError:  # a label that no other member answers
            lost[name] = None
    return lost


def describe_ensemble(ensemble: Any) -> str:
    """Write the card of an ensemble.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted; what it is worth comes from its `figures_`, or from its report where nothing else was measured.

    Returns
    -------
    str
        Markdown with the front matter of the Hub.
    """
    chosen, n_labels, figures = ensemble.report_, len(ensemble.labels_), ensemble.figures_
    title, results = chosen.metric_title, []
    value = chosen.estimate if figures is None else figures.value
    held_out = "nothing could be held out, so what it is worth is not known"
    if value is not None:
        limits = None if figures is None else (figures.low, figures.high)
        estimate = write_score(value) if limits is None else write_estimate(value, *limits)
        direction = " (lower is better)" if _less_is_better(ensemble) else ""
        held_out = f"{title} {estimate}{direction} on {write_count(chosen['n_samples'], 'sample')}, cross-fitted"
        name = chosen.get("metric", "micro-f1")
        results = [{"metric": name, "title": title, "value": value, "data": ensemble.fitted_on_}]
    report = Report(
        f"Ensemble of {write_count(len(ensemble.models_), 'model')} for {write_count(n_labels, 'label')}",
        [
            Section("What it is", _what_it_is(ensemble, held_out)),
            Section("Use it", _use(ensemble)),
            Section("Members", _members(ensemble, figures)),
            Section("Labels", _labels(ensemble, figures)),
            Section("When it fails", _failures(ensemble, figures)),
            Section("How it was made", _origin(ensemble)),
        ],
    )
    head = front_matter(["ensemble", "stacking"], "tabular-classification", results)
    return f"{head}\n{render_markdown(report)}"


def _what_it_is(ensemble: Any, held_out: str) -> list[Any]:
    """Say what goes in and out, and what that is worth."""
    chosen = ensemble.report_
    rules = "none" if ensemble.image_rules is None else json.dumps(as_plain(_active(ensemble.image_rules.as_dict())))
    lines = [
        "It takes the probabilities that its members give to a sample for every label, and gives one probability for "
        "each label and the labels that the sample gets.",
        f"Held out: {held_out}. The 95 % limits are about other samples of the same kind.",
        f"Method {chosen['method']}, decision rule {chosen['rule']}, fitted for {chosen.metric_title}; rules on the "
        f"labels of one sample: {rules}. labelstack methods, rules and metrics explain them.",
    ]
    if chosen.metric_title == "micro-F1":
        lines.insert(2, MICRO_F1)
    return [Paragraph(line) for line in lines]


def _active(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules that say something."""
    return {name: value for name, value in rules.items() if value}


def _use(ensemble: Any) -> list[Any]:
    """Show how it is loaded and asked."""
    python = (
        "import labelstack as ls\n"
        'ensemble = ls.load_ensemble("FOLDER")\n'
        'labels = ls.predict(ensemble, ls.load("new/*.csv"))  # one table of scores by member, named as below'
    )
    options = " ".join(f"--model {_quoted(name)}=FILE" for name in ensemble.models_[:3])
    more = " …" if len(ensemble.models_) > 3 else ""
    return [
        Paragraph("pip install labelstack, then, with this folder as FOLDER:"),
        Code(python),
        Code(f"labelstack predict FOLDER {options}{more} --out labels.csv"),
        Paragraph(
            "Scores are probabilities in [0, 1] of the members and labels by these names; logits need --from-logits. A "
            "table (CSV or Parquet) has the id first and one column for each label. "
            "labelstack export writes it for numpy alone or as ONNX."
        ),
    ]


def _quoted(name: str) -> str:
    """Quote a name that a shell would split."""
    return name if name.replace("/", "").replace("-", "").replace("_", "").isalnum() else f'"{name}"'


def _less_is_better(ensemble: Any) -> bool:
    """Tell the direction of what it was fitted for; code that a folder names is not imported to ask it."""
    try:
        return not find_metric(ensemble.metric, import_code=ensemble.fitted_here_).greater_is_better
    except ValueError:
        return False


def _members(ensemble: Any, figures: CardFigures | None) -> list[Any]:
    """List the members with what they answer, weigh, are worth by themselves, and cost if they are missing."""
    covers, title = np.asarray(ensemble.combiner_.covers_), ensemble.report_.metric_title
    without, alone = ({}, {}) if figures is None else (figures.without, figures.alone)
    weights = mean_weights(ensemble)
    columns: list[Column | str] = ["member", Column("labels that it answers", "count")]
    rows: list[list[Cell]] = [
        [name, int(answers.sum())] for name, answers in zip(ensemble.models_, covers, strict=True)
    ]
    captions = []
    if weights is not None:
        columns.append(Column("weight", "score"))
        rows = [[*row, float(weight)] for row, weight in zip(rows, weights, strict=True)]
        captions.append("Weights are means over the labels.")
    if alone:
        columns.append(Column("alone", "score"))
        rows = [[*row, alone.get(name)] for row, name in zip(rows, ensemble.models_, strict=True)]
        decided = ", at one threshold tuned on the other folds" * (title == ensemble.report_.rule_title)
        captions.append(
            f"Alone is the member's own {title} on the same samples and the labels that it answers{decided}."
        )
    if without:
        columns.append(Column("if it is missing", "gain"))
        rows = [[*row, without[name]] for row, name in zip(rows, ensemble.models_, strict=True)]
        captions.append(
            f"The last column is what {title} changes by on the fitted samples with --without "
            "MEMBER; a dash: some label has no other member, so it cannot be missing."
        )
    return [Table(columns, rows, " ".join(captions))]


def mean_weights(ensemble: Any) -> DoubleArray | None:
    """Average the weights of every member over the labels.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.

    Returns
    -------
    ndarray of float64, shape (n_models,), or None
        The means, also where auto chose one method; None for a method without weights.
    """
    combiner: Any = ensemble.combiner_
    chosen = getattr(combiner, "chosen_", None)
    combiner = chosen[0] if chosen is not None and len(chosen) == 1 else combiner
    weights = getattr(combiner, "weights_", None)
    if weights is None or np.ndim(weights) > 2:
        return None
    return np.asarray(weights).reshape(len(ensemble.models_), -1).mean(axis=1)


def _labels(ensemble: Any, figures: CardFigures | None) -> list[Any]:
    """List the labels: all where they are few, else the best and the worst."""
    share = ensemble.predicted_share_
    columns: list[Column | str] = ["label", Column("threshold", "score"), Column("predicted for", "percent")]
    columns += [] if figures is None else [Column("positives", "count"), Column("F1", "score")]

    def row(place: int) -> list[Cell]:
        limit = float(ensemble.thresholds_[place])
        said: list[Cell] = [
            ensemble.labels_[place],
            limit if np.isfinite(limit) else None,
            None if share is None else float(share[place]),
        ]
        if figures is not None:
            positives = float(figures.positives[place])
            said += [round(positives), float(figures.f1[place]) if positives else None]
        return said

    if figures is None:
        order = list(range(len(ensemble.labels_)))
        return [Table(columns, [row(place) for place in order[:MOST_LABELS]], "A dash: the label is never predicted.")]
    order = sorted(np.flatnonzero(figures.positives > 0).tolist(), key=lambda place: -figures.f1[place])
    caption = "F1 by cross-fitted decisions. A dash for a threshold: the label is never predicted."
    if len(ensemble.labels_) <= MOST_LABELS:
        absent = [place for place in range(len(ensemble.labels_)) if place not in set(order)]
        return [Table(columns, [row(place) for place in [*order, *absent]], caption)]
    names = ", ".join(ensemble.labels_)
    best, worst = order[:MOST_ROWS], order[MOST_ROWS:][-MOST_ROWS:]
    tables = [Table(columns, [row(place) for place in best], f"The {len(best)} best. {caption}")]
    if worst:
        tables.append(Table(columns, [row(place) for place in worst], f"The {len(worst)} worst that have positives."))
    return [
        *tables,
        Paragraph(f"All labels, in the order of its answers: {names}."),
    ]


def _failures(ensemble: Any, figures: CardFigures | None) -> list[Any]:
    """Say where not to trust it."""
    labels = np.array(ensemble.labels_)
    never = labels[ensemble.thresholds_ > 1.0]
    positives = np.full(len(labels), np.inf) if figures is None else figures.positives
    rare = labels[(positives > 0) & (positives < 20)]  # below, an F1 is mostly chance
    unseen = labels[positives == 0]
    answering = np.zeros(len(labels), np.intp)
    answering[ensemble.answered_labels] = np.asarray(ensemble.combiner_.covers_).sum(axis=0)
    single = labels[answering == 1]
    lines = [
        _listed("Never predicted at these thresholds", never),
        _listed("Without a positive among the fitted samples, so nothing is known of", unseen),
        _listed("With fewer than 20 positives, so that their thresholds and F1 are mostly chance", rare),
        _listed("Answered by one member only, which must not be missing", single) if len(ensemble.models_) > 1 else "",
        "Samples of another kind than the fitted ones (another camera, shop, year, or other label frequencies) need "
        "labelstack evaluate on truth of their own, or predict --rematch shift where only frequencies have moved.",
        "Its scores are only right for the very members that it was fitted on: a member that was trained anew needs a "
        "new fit. Members must not have been trained on the samples that are labeled.",
    ]
    return [Paragraph(line) for line in lines if line]


def _listed(what: str, names: BoolArray | Any) -> str:
    """Name labels, the first of them where they are many."""
    if not len(names):
        return ""
    more = f" and {len(names) - MOST_ROWS} more" if len(names) > MOST_ROWS else ""
    return f"{what}: {', '.join(names[:MOST_ROWS])}{more}."


def _origin(ensemble: Any) -> list[Any]:
    """Tell the data, the options, the versions and the cost."""
    chosen = ensemble.report_
    entries = getattr(ensemble.combiner_, "entries_", None) or []
    seconds = sum(one["seconds"] for one in entries)
    day = None if ensemble.figures_ is None else ensemble.figures_.date
    facts = [
        f"Fitted on {chosen['n_samples']:,} samples by labelstack{f' on {day}' if day else ''}"
        + (f"; the race of {len(entries)} methods took {seconds:.0f} s." if entries else "."),
        "labelstack evaluate refuses the samples that it was fitted on (it keeps hashes of their ids).",
        *(str(note).strip() for note in chosen["notes"][:1]),
    ]
    made = {
        "predictions": ensemble.fitted_on_,
        "options": ensemble._parameters(),
        "ensemble": ensemble.fingerprint,
        "versions": installed_versions(PACKAGES),
    }
    best = max(chosen["rules"].items(), key=lambda pair: pair[1], default=None)
    if best is not None:
        facts.append(f"Decision rules tried: {', '.join(f'{k} {write_score(v)}' for k, v in chosen['rules'].items())}.")
    return [*map(Paragraph, facts), Code(json.dumps(as_plain(made), indent=1, ensure_ascii=False))]
