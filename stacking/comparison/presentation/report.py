"""A comparison as sections of a report: words, tables and charts, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stacking.comparison.presentation.label_section import label_section, shown_methods
from stacking.comparison.presentation.weight_section import weight_section
from stacking.comparison.results import ComparisonResults, LeaderboardRow
from stacking.metrics.named import DEFAULT_METRIC, Metric
from stacking.report import Block, Cell, Code, Column, Figure, KeyFigure, Paragraph, Report, Section, Table, columns_of
from stacking.report.figures import ladder_figure, leaderboard_figure, reliability_figure, threshold_figure
from stacking.report.figures.canvas import shorten
from stacking.report.writing import write_count, write_estimate, write_gain, write_interval, write_score

_RULE_NAMES = {
    "half": ".5",
    "single": "one",
    "cross-validated": "per label where they hold up",
    "exact-micro-f1": "per label",
    "best-single": "one",
    "expected-f1": "per label, by expected F1",
    "expected-f1:pseudo_positives=3": "per label, by expected and observed F1",
    "samples-f1": "each sample by its expected F1",
    "cost": "one",
    "cost-per-label": "per label",
}
_WORTH_SAYING = 0.0005  # half of the last digit of the scores in this text: a smaller lead could not be seen
_NOTES = "What the methods report about themselves."
_RACE_NOTES = (
    "A race of auto lists the cross-fitted metric, the difference to the best ± its standard error, and wall seconds."
)


def comparison_report(comparison: ComparisonResults, title: str, extra_sections: Sequence[Section]) -> Report:
    """Build the whole report.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.
    title : str
        Its title.
    extra_sections : sequence of Section
        Put before the last section.

    Returns
    -------
    Report
        Data for the renderers.
    """
    sections = comparison_sections(comparison)
    manifest = comparison.manifest
    subtitle = (
        f"{write_count(len(comparison.models), 'model')} · {write_count(len(comparison.labels), 'label')} · "
        f"{write_count(manifest['n_scored'], 'held-out sample')}{_groups_name(manifest)} · {_protocol_name(comparison)}"
    )
    return Report(
        title,
        [*sections[:-1], *extra_sections, sections[-1]],
        verdict=write_verdict(comparison),
        subtitle=subtitle,
        key_figures=_key_figures(comparison),
        footer=f"labelstack {manifest['versions']['labelstack']} · seed {manifest['random_state']} · "
        f"input {manifest['fingerprint'][:12]}",
    )


def comparison_sections(comparison: ComparisonResults) -> list[Section]:
    """Describe the comparison section by section.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    list of Section
        The last one is about the protocol.
    """
    sections = [leaderboard_section(comparison)]
    for section in (
        gain_section(comparison),
        weight_section(comparison),
        label_section(comparison),
        curves_section(comparison),
    ):
        sections += [section] if section is not None else []
    return [*sections, _protocol(comparison)]


def write_verdict(comparison: ComparisonResults) -> str:
    """Say the result in one paragraph.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    str
        Plain text.
    """
    ensemble, member = comparison.ensemble, comparison.best_member
    shown = ensemble or member
    if shown is None:
        return "No method could be scored."
    subject = (
        "The automatic ensemble"
        if shown.kind == "auto"
        else f"The ensemble {shown.method}"
        if ensemble
        else shown.method
    )
    sentences = [f"{subject} scores {write_estimate(shown.score, shown.low, shown.high)} {_title(comparison)}"]
    if ensemble is not None and member is not None:
        name = f"its best member {shorten(member.method, 40)}"
        sentences[0] += f", {_against(comparison, ensemble, member.method, name)}"
        if any(row.method == "mean" for row in comparison.rows) and ensemble.method != "mean":
            sentences[0] += f" and {_against(comparison, ensemble, 'mean', 'the plain mean')}"
    top = comparison.rows[0]
    if ensemble is not None and comparison.metric.sign * (top.score - ensemble.score) >= _WORTH_SAYING:
        best = "highest" if comparison.metric.greater_is_better else "best"
        sentences.append(f"The {best} row of the table is {top.method} with {write_score(top.score)}")
    sentences.append(f"The constant answer scores {write_score(comparison.constant_answer)}")
    if comparison.failures:
        count = len(comparison.failures)
        sentences.append(f"{count} method{'s' if count > 1 else ''} could not be scored; the reasons are below")
    return ". ".join(sentences) + "."


def _title(comparison: ComparisonResults) -> str:
    """Name the metric, and its direction where lower is better."""
    return comparison.metric.title + ("" if comparison.metric.greater_is_better else " (lower is better)")


def _against(comparison: ComparisonResults, row: LeaderboardRow, other: str, name: str) -> str:
    """Compare a row with another one in words, saying when the interval does not decide."""
    difference = comparison.difference(row.method, other)
    side = "above" if difference.value >= 0 else "below"
    limits = write_interval(difference.low, difference.high, signed=True)
    unsettled = "; not settled by these samples" if difference.low <= 0 <= difference.high else ""
    return f"{write_score(abs(difference.value))} {side} {name} ({limits}{unsettled})"


def _key_figures(comparison: ComparisonResults) -> list[KeyFigure]:
    """Pick the numbers on top."""
    items = []
    for name, row in (("ensemble", comparison.ensemble), ("best member", comparison.best_member)):
        if row is not None:
            limits = write_interval(row.low, row.high)
            items.append(KeyFigure(f"{name}: {shorten(row.method, 24)}", write_score(row.score), limits))
    ensemble = comparison.ensemble
    if ensemble is not None and ensemble.vs_best_member is not None:
        limits = write_interval(ensemble.vs_best_member_low, ensemble.vs_best_member_high, signed=True)
        items.append(
            KeyFigure(
                "gain over it" if comparison.metric.greater_is_better else "difference to it",
                write_gain(ensemble.vs_best_member),
                limits,
            )
        )
    items.append(KeyFigure("constant answer", write_score(comparison.constant_answer), "looks at nothing"))
    return items


def leaderboard_section(comparison: ComparisonResults) -> Section:
    """Rank the methods.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    Section
        A chart and its table.
    """
    rows = comparison.rows
    chart = leaderboard_figure(
        [row.method for row in rows],
        [row.score for row in rows],
        [row.low for row in rows],
        [row.high for row in rows],
        kinds=[row.kind for row in rows],
        reference=("constant answer", comparison.constant_answer),
        metric=_title(comparison),
    )
    bootstrap = comparison.manifest["bootstrap"]
    refitted = f" and a {bootstrap['fit_error']}, for what other samples would have fitted"
    caption = (
        f"Held-out {_title(comparison)} with 95 % limits of a paired bootstrap over {bootstrap['units']}"
        f"{refitted if bootstrap['fit_error'] else ''}. The limits say how sure one score is; "
        "because all methods are scored on the same samples, differences are surer than the overlap suggests (table)."
    )
    blocks: list[Block] = [Figure(chart, caption), _leaderboard_table(comparison)]
    blocks.append(Paragraph(_explain_columns(comparison), "note"))
    blocks.append(_cost_table(comparison))
    notes: list[list[Cell]] = [[row.method, note] for row in comparison.rows for note in row.notes]
    if notes:
        has_race = any(row.kind == "auto" and row.notes for row in comparison.rows)
        caption = f"{_NOTES} {_RACE_NOTES}" if has_race else _NOTES
        blocks.append(Table(["method", "note"], notes, caption=caption, folded=True))
    if comparison.failures:
        failed: list[list[Cell]] = [[failure.name, failure.kind, failure.reason] for failure in comparison.failures]
        blocks.append(Table(["method", "kind", "why it was not scored"], failed, caption="Methods without a score."))
    return Section("Leaderboard", blocks)


def _explain_columns(comparison: ComparisonResults) -> str:
    """Say what the columns of the leaderboard are."""
    metric = comparison.metric
    seconds = (
        "Seconds are CPU seconds for fitting, cross-fitting, tuning and scoring on all splits; the model read first "
        "pays for loading compiled code."
    )
    name = metric.title[:1].upper() + metric.title[1:]
    if not metric.needs_decisions:
        return (
            f"{name} looks at scores only, so thresholds play no part in it; micro-F1 and macro-F1 are those of the "
            f"decisions that fit ships. {seconds}"
        )
    per_label = "exact per-label thresholds" if metric.name == DEFAULT_METRIC else "a threshold for each label"
    return (
        f"{name} is that of the predictor as fit ships it, with the decision rule that cross-fitting on the "
        f"fitting side chose; the next two columns give one threshold for all labels, and {per_label}. {seconds}"
    )


def _leaderboard_table(comparison: ComparisonResults) -> Table:
    """List every row with its differences."""
    metric = comparison.metric
    decided = columns_of("score", "one threshold", "per label") if metric.needs_decisions else []
    # Beside the metric itself stand the F1 averages that it is not.
    others = [average for average in ("micro-F1", "macro-F1") if average != metric.title]
    columns = [
        Column("method"),
        Column(metric.title, "score"),
        Column("95 % limits", "interval"),
        *decided,
        Column("to best member", "gain"),
        Column("95 % limits", "interval"),
        Column("to mean", "gain"),
        *(Column(average, "score") for average in others),
        Column("CPU", "seconds"),
    ]
    rows: list[list[Cell]] = []
    for row in comparison.rows:
        limits = write_interval(row.vs_best_member_low, row.vs_best_member_high, signed=True)
        own = row.vs_best_member is not None and comparison.best_member is not None and row is comparison.best_member
        rows.append(
            [
                row.method,
                row.score,
                write_interval(row.low, row.high),
                *([row.score_single, row.score_per_label] if decided else []),
                None if own else row.vs_best_member,
                "" if own else limits,
                None if row.method == "mean" else row.vs_mean,
                *({"micro-F1": row.micro_f1, "macro-F1": row.macro_f1}[average] for average in others),
                row.cpu_seconds,
            ]
        )
    ensemble = comparison.ensemble
    strong = [number for number, row in enumerate(comparison.rows) if row is ensemble]
    return Table(columns, rows, strong=strong)


def _cost_table(comparison: ComparisonResults) -> Table:
    """List what every method decided with and what it cost."""
    columns = [
        *columns_of("text", "method", "kind", "thresholds chosen"),
        Column("labels never predicted", "count"),
        Column("samples-F1", "score"),
        *columns_of("seconds", "CPU", "wall"),
        Column("peak memory, MB", "count"),
    ]
    rows: list[list[Cell]] = [
        [
            row.method,
            row.kind,
            _RULE_NAMES.get(row.rule, row.rule),
            row.never_predicted,
            row.samples_f1,
            row.cpu_seconds,
            row.wall_seconds,
            row.peak_memory_mb,
        ]
        for row in comparison.rows
    ]
    caption = "Rule, time and memory of every method, best first; memory is that of the whole process while it ran."
    return Table(columns, rows, caption=caption, folded=True)


def gain_section(comparison: ComparisonResults) -> Section | None:
    """Attribute the gain.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    Section or None
        None where there is no member or no method.
    """
    ladder = comparison.ladder
    if ladder is None:
        return None
    chart = ladder_figure(
        [step.cause for step in ladder.steps],
        [step.gain for step in ladder.steps],
        ladder.start,
        f"{ladder.start_name}, one threshold" if comparison.metric.needs_decisions else ladder.start_name,
        metric=_title(comparison),
        sign=comparison.metric.sign,
    )
    rows: list[list[Cell]] = [
        [
            step.cause,
            "not measured" if step.gain is None else step.gain,
            write_interval(step.low, step.high, signed=True),
            step.explanation,
        ]
        for step in ladder.steps
    ]
    total = ladder.final - ladder.start
    start = f"{ladder.start_name} with one threshold" if comparison.metric.needs_decisions else ladder.start_name
    rows.append(
        [
            "together",
            total,
            "",
            f"from {start} to {ladder.final_name}",
        ]
    )
    table = Table(
        [
            "cause",
            Column("gain" if comparison.metric.greater_is_better else "change", "gain"),
            Column("95 % limits", "interval"),
            "what is compared",
        ],
        rows,
        strong=[len(rows) - 1],
    )
    if all(step.gain is None for step in ladder.steps[:-1]):
        return Section("Where the gain comes from", [table])
    caption = "Each step changes one thing; steps add up. All on the same held-out samples."
    return Section("Where the gain comes from", [Figure(chart, caption), table])


def curves_section(comparison: ComparisonResults) -> Section | None:
    """Show threshold and reliability curves.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    Section or None
        Two charts; None where no scores were kept.
    """
    shown = shown_methods(comparison)
    if not shown:
        return None
    thresholds = shown[0].histogram.threshold_curve()[0]
    curves = {result.name: result.histogram.threshold_curve()[1] for result in shown}
    tuned = {result.name: result.single_threshold for result in shown}
    reliability = {result.name: result.histogram.reliability_curve()[:2] for result in shown}
    cells = shown[0].histogram.reliability_curve()[2]
    return Section(
        "Thresholds and reliability",
        [
            Figure(
                threshold_figure(thresholds, curves, tuned=tuned),
                "Held-out micro-F1 if all labels shared one threshold. Dots: the one tuned "
                f"{_tuned_for(comparison.metric)}without these samples.",
            ),
            Figure(
                reliability_figure(reliability, counts=cells),
                "How often a label is true, given its score; on the dashed line scores are probabilities. "
                f"The strip counts (sample, label) pairs of {shown[0].name}.",
            ),
        ],
    )


def _tuned_for(metric: Metric) -> str:
    """Say what thresholds were tuned for where that is not micro-F1."""
    return f"for {metric.title}, " if metric.needs_decisions and metric.name != DEFAULT_METRIC else ""


def _protocol_name(comparison: ComparisonResults) -> str:
    """Name the protocol in a few words."""
    if comparison.manifest["protocol"] == "holdout":
        return "scored on a holdout that tuned nothing"
    return f"nested in {comparison.manifest['n_splits']} folds"


def _groups_name(manifest: Mapping[str, Any]) -> str:
    """Count the groups in a few words."""
    return "" if manifest["n_groups"] is None else f" in {write_count(manifest['n_groups'], 'group')}"


def _protocol(comparison: ComparisonResults) -> Section:
    """Say how it was measured."""
    manifest = comparison.manifest
    if manifest["protocol"] == "holdout":
        how = (
            f"Every method was fitted on the same {manifest['n_fitted']:,} samples. Thresholds, and the choice of the "
            f"decision rule, were tuned on scores cross-fitted in {manifest['n_inner_splits']} folds of "
            f"them. The {manifest['n_scored']:,} holdout samples were used once, to score."
        )
    else:
        how = (
            f"The {manifest['n_scored']:,} samples were dealt into {manifest['n_splits']} stratified folds, the same "
            "for every method. Each fold was scored by methods whose weights, meta-learner, thresholds and choice of "
            "rule were fitted on the other folds only, thresholds on scores cross-fitted inside them."
        )
    if manifest["n_groups"] is not None:
        how += f" The {manifest['n_groups']:,} groups were never split between sides."
    how += " The best member is the one that scores best on these samples, which favors it."
    shown = {key: value for key, value in manifest.items() if key not in ("models", "labels")}
    text = json.dumps(shown, indent=2, ensure_ascii=True, default=str)
    code = Code(text, "Manifest, without the names of models and labels", folded=True)
    return Section("How this was measured", [Paragraph(how), code])
