"""A comparison in a notebook: a small leaderboard, and its charts as matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacking._checks import check_choice
from stacking.comparison.presentation.label_section import label_section
from stacking.comparison.presentation.report import curves_section, gain_section, leaderboard_section, write_verdict
from stacking.comparison.results import ComparisonResults
from stacking.report import Cell, Chart, Column, Figure, Table
from stacking.report.figures import draw_figure
from stacking.report.notebook import MOST_ROWS, Card, render_card
from stacking.report.writing import write_count, write_interval

if TYPE_CHECKING:
    import matplotlib.figure

_CHARTS = {
    "leaderboard": (leaderboard_section, 0),
    "gain": (gain_section, 0),
    "labels": (label_section, 0),
    "thresholds": (curves_section, 0),
    "reliability": (curves_section, 1),
}
"""By name: the section of the report, and which of its charts."""


def comparison_card(comparison: ComparisonResults) -> str:
    """Show a comparison in a notebook.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    str
        HTML.
    """
    shown = comparison.rows[:MOST_ROWS]
    columns = [
        *(
            Column("method"),
            Column("kind"),
            Column(comparison.metric.title, "score"),
            Column("95 % limits", "interval"),
        ),
        *(Column("to best member", "gain"), Column("CPU", "seconds")),
    ]
    rows: list[list[Cell]] = [
        [row.method, row.kind, row.score, write_interval(row.low, row.high), row.vs_best_member, row.cpu_seconds]
        for row in shown
    ]
    strong = [place for place, row in enumerate(shown) if row is comparison.ensemble]
    more = len(comparison.rows) - len(shown)
    caption = f"{more} more rows in .table." if more else ""
    size = f"{write_count(comparison.manifest['n_scored'], 'sample')}, {write_count(len(comparison.labels), 'label')}"
    title = f"Comparison of {write_count(len(comparison.rows), 'method')} on {size}"
    note = "Next: .plot(), .table, labelstack.report(result, folder), labelstack.fit(scores)"
    return render_card(Card(title, [write_verdict(comparison)], Table(columns, rows, caption, strong), note))


def plot_comparison(comparison: ComparisonResults, chart: str) -> matplotlib.figure.Figure:
    """Draw one chart of a comparison's report as a matplotlib figure.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.
    chart : {"leaderboard", "gain", "labels", "thresholds", "reliability"}
        Which.

    Returns
    -------
    matplotlib.figure.Figure
        Of no pyplot.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no such chart, or this comparison has nothing to show in it.
    """
    check_choice(chart, list(_CHARTS), name="chart")
    make, number = _CHARTS[chart]
    section = make(comparison)
    figures = [] if section is None else [block for block in section.blocks if isinstance(block, Figure)]
    if len(figures) <= number:
        raise ValueError(f"chart must be one that this comparison has data for: it has none for {chart!r}.")
    drawn = figures[number].svg
    return draw_figure(drawn if isinstance(drawn, Chart) else Chart(drawn))
