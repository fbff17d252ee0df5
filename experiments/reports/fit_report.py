"""The report that `labelstack fit` puts into the folder of an ensemble: what was chosen, why, and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stacking.ensemble.card import mean_weights
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.files.plain_values import as_plain
from stacking.metrics import find_metric
from stacking.report import Code, Column, KeyFigure, Paragraph, Report, Section, Table, columns_of
from stacking.report.writing import write_score

_CHOSEN_BY = (
    "Each was scored on folds that did not fit it. By these scores the shares and the rule were chosen, which makes "
    "the best a little too good. Rows that tuned nothing: labelstack compare, or evaluate on new rows."
)


def describe_fit(ensemble: StackingEnsemble, manifest: Mapping[str, Any]) -> Report:
    """Describe a fitted ensemble.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Just fitted.
    manifest : mapping
        From `build_manifest`: what it was made from.

    Returns
    -------
    Report
        For the renderers.
    """
    chosen = ensemble.report_
    title, estimate = chosen.metric_title, chosen.estimate
    worth = (
        "nothing could be held out, so what it is worth is not known"
        if estimate is None
        else f"cross-fitted {title} {write_score(estimate)}"
    )
    figures = [
        KeyFigure(f"cross-fitted {title}", write_score(estimate)),
        KeyFigure("members", f"{len(ensemble.models_)}"),
        KeyFigure("labels", f"{chosen['n_labels']:,}", f"{chosen['n_never_predicted']:,} never predicted"),
        KeyFigure("samples", f"{chosen['n_samples']:,}"),
    ]
    sections = [*_race(ensemble), _rules(ensemble), *_gain(ensemble), _thresholds(ensemble), _origin(manifest)]
    return Report(
        "Fitted ensemble",
        sections,
        verdict=f"Method {chosen['method']} with the decision rule {chosen['rule']}: {worth}.",
        subtitle=f"{', '.join(ensemble.models_[:9])}{' …' if len(ensemble.models_) > 9 else ''}",
        key_figures=figures,
    )


def _race(ensemble: StackingEnsemble) -> list[Section]:
    """Tell which methods auto tried and what it made of them; else what the method says of itself."""
    entries = getattr(ensemble.combiner_, "entries_", None)
    notes = [Paragraph(str(note).strip(), "note") for note in ensemble.report_["notes"]]
    if not entries:
        weights = mean_weights(ensemble)
        if weights is None:
            return [Section("The method", notes)] if notes else []
        rows = sorted(zip(ensemble.models_, weights.tolist(), strict=True), key=lambda pair: -pair[1])
        table = Table(["member", Column("weight", "score")], rows, "Weights of the members, averaged over the labels.")
        return [Section("The method", [table, *notes])]
    columns: list[Column | str] = [
        "method",
        *columns_of("score", f"cross-fitted {ensemble.report_.metric_title}", "behind the best", "± s.e."),
        Column("seconds", "seconds"),
        Column("share", "percent"),
        "left out because",
    ]
    race = [
        [one["name"], one["score"], *behind_the_best(one), one["seconds"], one["weight"], one["reason"]]
        for one in entries
    ]
    if not any(one["reason"] for one in entries):
        columns, race = columns[:-1], [row[:-1] for row in race]
    strong = [place for place, one in enumerate(entries) if one["weight"]]
    caption = (
        "What auto tried, best first, with the standard error of what it is behind. Those with a share are averaged."
    )
    return [Section("The race", [Table(columns, race, caption, strong), *notes[:1], Paragraph(_CHOSEN_BY, "note")])]


def behind_the_best(entry: Mapping[str, Any]) -> list[float | None]:
    """List by how much the best candidate of a race is better than one, and the standard error of that difference.

    Parameters
    ----------
    entry : mapping
        One of `AutoCombiner.entries_`.

    Returns
    -------
    list of float or None
        Two; None for the best itself, and for what did not run.
    """
    return [entry["behind"], entry["standard_error"]] if entry["behind"] else [None, None]


def rules_best_first(ensemble: StackingEnsemble) -> list[tuple[str, float]]:
    """List the decision rules that were tried with their scores.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Just fitted.

    Returns
    -------
    list of tuple of (str, float)
        Those first that are best by what they were chosen by: the metric, or micro-F1 where it looks at scores only.
    """
    metric = find_metric(ensemble.metric)
    sign = metric.sign if metric.needs_decisions else 1
    rules: dict[str, float] = ensemble.report_["rules"]
    return sorted(rules.items(), key=lambda pair: -sign * pair[1])


def gain_titles(ensemble: StackingEnsemble) -> tuple[str, str]:
    """Say what the steps of a fit are called.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Just fitted.

    Returns
    -------
    tuple of (str, str)
        A gain, or a change where less is better; and where the steps begin.
    """
    metric = find_metric(ensemble.metric)
    start = "from the best member with one threshold" if metric.needs_decisions else "from the best member"
    return "gain" if metric.greater_is_better else "change", start


def _rules(ensemble: StackingEnsemble) -> Section:
    """Tell which decision rules were tried."""
    chosen, rows = ensemble.report_, rules_best_first(ensemble)
    strong = [place for place, (name, _) in enumerate(rows) if name == chosen["rule"]]
    caption = "Rules that turn scores into labels, each scored on folds that did not tune it."
    if not rows:
        return Section("The decision rule", [Paragraph(f"The rule {chosen['rule']} was asked for.")])
    table = Table(["rule", Column(f"cross-fitted {chosen.rule_title}", "score")], rows, caption, strong)
    return Section("The decision rule", [table])


def _gain(ensemble: StackingEnsemble) -> list[Section]:
    """Tell what each step brought."""
    steps = ensemble.report_.get("gain_steps") or []
    if not steps:
        return []
    rows = [[step["cause"], step["gain"], step["explanation"]] for step in steps]
    title, start = gain_titles(ensemble)
    caption = f"{start[:1].upper()}{start[1:]} to this ensemble, on cross-fitted scores."
    return [Section("Where the gain comes from", [Table(["step", Column(title, "gain"), "what"], rows, caption)])]


def _thresholds(ensemble: StackingEnsemble) -> Section:
    """List the labels with their thresholds and how often they are predicted."""
    share = ensemble.predicted_share_
    rows = [
        [
            label,
            None if np.isinf(ensemble.thresholds_[place]) else float(ensemble.thresholds_[place]),
            None if share is None else float(share[place]),
        ]
        for place, label in enumerate(ensemble.labels_)
    ]
    caption = "A label is predicted where its score reaches its threshold; a dash means never."
    columns: list[Column | str] = ["label", Column("threshold", "score"), Column("predicted for", "percent")]
    return Section("Labels", [Table(columns, rows, caption, folded=len(rows) > 30)])


def _origin(manifest: Mapping[str, Any]) -> Section:
    """Say what it was made from."""
    text = json.dumps(as_plain(manifest), indent=2, ensure_ascii=False)
    return Section("Origin", [Code(text, "Inputs, options and versions.", folded=True)])
