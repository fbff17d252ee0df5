"""Charts and tables that look at single labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.report.figures.canvas import (
    INK,
    MUTED,
    SERIES,
    count_axis,
    draw,
    finish_axes,
    is_narrow,
    score_axis,
    shorten,
    write_legend,
)
from stacking.report.sections import Cell, Chart, Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def label_f1_figure(
    f1_per_label: Mapping[str, npt.ArrayLike], frequency: npt.ArrayLike, labels: Sequence[str], *, n_named: int = 5
) -> Chart:
    """Draw each label's F1 against how often it occurs.

    Parameters
    ----------
    f1_per_label : mapping of str to array of shape (n_labels,)
        One series per method; the first is drawn in full, a second one as a hollow mark joined to it.
    frequency : array of shape (n_labels,)
        Number of positive samples per label; labels without any are left out.
    labels : sequence of str
        Names.
    n_named : int, default=5
        How many of the frequent labels with the lowest and of the rare labels with the highest F1 are named.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    count = np.asarray(frequency, dtype=float)
    series = [(name, np.asarray(values, dtype=float)) for name, values in f1_per_label.items()]
    present = count > 0

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        if len(series) > 1:
            axes.vlines(
                count[present], series[0][1][present], series[1][1][present], color=MUTED, linewidth=0.6, alpha=0.5
            )
            axes.plot(count[present], series[1][1][present], "o", markersize=4, markerfacecolor="none",
                      markeredgecolor=SERIES[1], markeredgewidth=0.9, label=shorten(series[1][0], 40))  # fmt: skip
        axes.plot(count[present], series[0][1][present], "o", markersize=4.5, color=SERIES[0], alpha=0.8,
                  markeredgewidth=0, label=shorten(series[0][0], 40))  # fmt: skip
        named = _worth_naming(series[0][1], count, n_named)
        for label in _apart(named, count, series[0][1], 0.45 if is_narrow(figure) else 0.22):
            right = np.log(count[label]) > (np.log(count[present].min()) + np.log(count[present].max())) / 2
            name = axes.annotate(
                shorten(labels[label], 24), (count[label], series[0][1][label]), xytext=(-5 if right else 5, 4),
                textcoords="offset points", fontsize=8.5, color=INK, ha="right" if right else "left",
            )  # fmt: skip
            name.set_in_layout(False)  # the dots keep the chart's width
        axes.set_xscale("log")
        count_axis(axes.xaxis)
        axes.set_ylim(-0.03, 1.03)
        score_axis(axes.yaxis, 1)
        axes.set_xlabel("positive samples (log scale)")
        axes.set_ylabel("F1 of the label")
        finish_axes(axes, grid="y")
        if len(series) > 1:
            handles, names = axes.get_legend_handles_labels()
            write_legend(figure, len(series), handles=handles[::-1], names=names[::-1])

    return draw(4.0, _paint, "F1 of every label against its number of positive samples")


def _worth_naming(f1: npt.NDArray[np.floating], count: npt.NDArray[np.floating], n_named: int) -> list[int]:
    """Pick labels that stand out: frequent and low, or rare and high."""
    present = np.flatnonzero(count > 0)
    if len(present) == 0:
        return []
    rank = np.argsort(np.argsort(count[present])) / max(len(present) - 1, 1)
    surprise = f1[present] - np.interp(rank, [0, 1], [np.nanmin(f1[present]), np.nanmax(f1[present])])
    order = np.argsort(surprise, kind="stable")
    picked = [*order[:n_named], *order[::-1][:n_named]]
    return [int(present[position]) for position in dict.fromkeys(picked)]


def _apart(picked: list[int], count: npt.NDArray[np.floating], f1: npt.NDArray[np.floating], near: float) -> list[int]:
    """Keep the names that would not be written over each other."""
    span = max(float(np.log(count[count > 0].max() / count[count > 0].min())) if picked else 1.0, 1e-9)
    # Names as near as this, in shares of the axes, would overlap on a chart of its size: choices of layout.
    kept: list[int] = []
    for label in picked:
        x, y = np.log(count[label]) / span, f1[label]
        if all(abs(x - np.log(count[other]) / span) > near or abs(y - f1[other]) > 0.05 for other in kept):
            kept.append(label)
    return kept


def never_predicted_table(
    labels: Sequence[str], n_predicted: npt.ArrayLike, n_positive: npt.ArrayLike, *, method: str = ""
) -> Table:
    """List the labels that are true of a sample and that a method never predicts, the most frequent first.

    Parameters
    ----------
    labels : sequence of str
        Names.
    n_predicted, n_positive : array of shape (n_labels,)
        How often each label is predicted and is true.
    method : str, default=""
        Name of the method, for the caption.

    Returns
    -------
    Table
        Columns "label" and "positive samples"; folded when it is long.
    """
    predicted, positive = np.asarray(n_predicted), np.asarray(n_positive)
    never = np.flatnonzero((predicted == 0) & (positive > 0))
    never = never[np.argsort(-positive[never], kind="stable")]
    lost = int(positive[never].sum())
    share = lost / max(int(positive.sum()), 1)
    n_occur = int((positive > 0).sum())
    all_of_them = "The one label that occurs is" if n_occur == 1 else f"All {n_occur} labels that occur are"
    whole = f"{all_of_them} predicted{f' by {method}' if method else ''}."
    caption = (
        f"{len(never):,} of {n_occur:,} labels that occur are never predicted"
        f"{f' by {method}' if method else ''}; "
        f"they hold {lost:,} of {int(positive.sum()):,} positives ({100 * share:.1f} %)."
    )
    rows: list[list[Cell]] = [[str(labels[label]), int(positive[label])] for label in never.tolist()]
    said = caption if rows else whole
    return Table(["label", Column("positive samples", "count")], rows, caption=said, folded=len(rows) > 12)
