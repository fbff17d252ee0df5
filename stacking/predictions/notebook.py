"""A prediction set in a notebook: its size, its models and its truth."""

from __future__ import annotations

from typing import Any

from stacking.report.notebook import MOST_ROWS, Card, first_names, render_card
from stacking.report.sections import Cell, Column, Table
from stacking.report.writing import write_count


def prediction_card(predictions: Any) -> str:
    """
    Show a prediction set in a notebook, without reading its scores.

    Parameters
    ----------
    predictions : PredictionSet
        The set.

    Returns
    -------
    str
        HTML.
    """
    size = f"{write_count(predictions.n_samples, 'sample')}, {write_count(predictions.n_labels, 'label')}"
    lines = [
        f"Labels: {first_names(predictions.labels)}.",
        f"Samples: {', '.join(predictions.ids[:4].tolist())}{', …' if predictions.n_samples > 4 else ''}",
        _truth(predictions),
    ]
    if predictions.groups is not None:
        lines.append("Samples of one group share a fold.")
    covered = predictions.covers.sum(axis=1).tolist()
    models = predictions.models[:MOST_ROWS]
    rows: list[list[Cell]] = [[name, count] for name, count in zip(models, covered, strict=False)]
    more = predictions.n_models - len(rows)
    table = Table(["model", Column("labels covered", "count")], rows, f"{more} more models." if more else "")
    note = "Next: labelstack.compare(scores), labelstack.fit(scores)"
    return render_card(Card(f"Scores of {write_count(predictions.n_models, 'model')}: {size}", lines, table, note))


def _truth(predictions: Any) -> str:
    """Say what is known of the truth."""
    if predictions.y_true is None:
        return "No truth: give it as truth= to fit, compare or evaluate."
    per_sample = predictions.y_true.sum(dtype="int64") / max(1, predictions.n_samples)
    known = predictions.y_known
    gaps = "" if known is None or known.all() else f", {1 - known.mean():.1%} of the cells not known"
    return f"Truth: {per_sample:.2f} labels a sample{gaps}."
