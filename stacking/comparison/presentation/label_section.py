"""The section of a report that looks at single labels: frequent ones, rare ones, and those never predicted."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stacking._typing import DoubleArray
from stacking.comparison.results import ComparisonResults
from stacking.metrics.counts import f1_score
from stacking.report import Block, Cell, Column, Figure, Paragraph, Section, Table, columns_of
from stacking.report.figures import label_f1_figure, never_predicted_table

if TYPE_CHECKING:
    from stacking.comparison.evaluation import MethodResult


_FREQUENCY_LIMITS = (1, 20, 200, 2000)
"""Positives with which the bands of rare and frequent labels begin, about one a decade: a choice; only shown."""


def shown_methods(comparison: ComparisonResults) -> list[MethodResult]:
    """Pick the methods that charts of single labels and curves show.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    list of MethodResult
        The ensemble, the best member and the mean, as far as they were scored.
    """
    picked = [comparison.ensemble, comparison.best_member]
    names = [row.method for row in picked if row is not None]
    if "mean" in comparison.results and "mean" not in names:
        names.append("mean")
    return [comparison.results[name] for name in names]


def label_section(comparison: ComparisonResults) -> Section | None:
    """Describe how single labels fare.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    Section or None
        None if nothing was scored.
    """
    shown = shown_methods(comparison)[:2]
    if not shown:
        return None
    positives = comparison.truth.positives()
    f1 = {result.name: result.counts["chosen"].f1_per_label(comparison.truth) for result in shown}
    blocks: list[Block] = []
    if positives.any():
        chart = label_f1_figure(f1, positives, comparison.labels)
        caption = "F1 of every label against its number of positive held-out samples; lines join the two methods."
        blocks.append(Figure(chart, caption))
        blocks.append(_frequency_table(comparison, shown[0], positives))
    predicted = shown[0].counts["chosen"].label_predicted / comparison.truth.mean_weight
    never = never_predicted_table(comparison.labels, predicted, positives, method=shown[0].name)
    blocks.append(never if never.rows else Paragraph(never.caption))
    blocks.append(_label_table(comparison, shown[0], f1))
    return Section("Labels", blocks)


def _rates(hits: float, predicted: float, positives: float) -> list[Cell]:
    """Return precision, recall and F1; a rate without a denominator is None."""
    precision = hits / predicted if predicted else None
    recall = hits / positives if positives else None
    return [precision, recall, float(f1_score(hits, predicted, positives)) if positives else None]


def _frequency_table(comparison: ComparisonResults, result: MethodResult, positives: DoubleArray) -> Table:
    """Pool labels of like frequency: hits, false alarms, misses and their rates."""
    counts = result.counts["chosen"]
    edges = [*_FREQUENCY_LIMITS, np.inf]
    rows: list[list[Cell]] = []
    for low, high in pairwise(edges):
        inside = (positives >= low) & (positives < high)
        if not inside.any():
            continue
        name = f"{low:,.0f} or more" if np.isinf(high) else f"{low:,.0f} to {high - 1:,.0f}"
        hits, predicted, true = counts.totals(comparison.truth, inside)
        rows.append([name, int(inside.sum()), hits, predicted - hits, true - hits, *_rates(hits, predicted, true)])
    columns = [
        Column("positives of the label"),
        *columns_of("count", "labels", "true positives", "false positives", "false negatives"),
        *columns_of("score", "precision", "recall", "micro-F1"),
    ]
    return Table(columns, rows, caption=f"{result.name}: rare and frequent labels, pooled by how often they occur.")


def _label_table(comparison: ComparisonResults, result: MethodResult, f1: dict[str, DoubleArray]) -> Table:
    """List every label, the most frequent first."""
    counts, positives = result.counts["chosen"], comparison.truth.positives()
    weight = comparison.truth.mean_weight
    rows: list[list[Cell]] = []
    for label in np.argsort(-positives, kind="stable").tolist():
        hits, predicted = (float(of[label]) / weight for of in (counts.label_hits, counts.label_predicted))
        rates = _rates(hits, predicted, float(positives[label]))[:2]
        scores: list[Cell] = [float(values[label]) for values in f1.values()]
        rows.append([comparison.labels[label], float(positives[label]), predicted, *rates, *scores])
    columns = [
        Column("label"),
        *columns_of("count", "positive", "predicted"),
        *columns_of("score", "precision", "recall"),
        *(Column(f"F1, {name}", "score") for name in f1),
    ]
    counted = "The label" if len(rows) == 1 else f"All {len(rows)} labels"
    caption = f"{counted}; predicted, precision and recall are those of {result.name}."
    return Table(columns, rows, caption=caption, folded=True)
