"""Charts that compare methods: the leaderboard, and the ladder that attributes the gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.report.figures.canvas import (
    ACCENT,
    BAD,
    GOOD,
    INK,
    MUTED,
    RULE,
    SERIES,
    draw,
    finish_axes,
    is_narrow,
    letters_beside,
    score_axis,
    shorten,
    shorten_all,
)
from stacking.report.sections import Chart
from stacking.report.writing import write_gain, write_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_KIND_COLORS = {"member": SERIES[5], "vote": SERIES[1], "meta": ACCENT, "auto": SERIES[3], "saved": SERIES[2]}
_KIND_NAMES = {
    "member": "member",
    "vote": "vote",
    "meta": "meta-learner",
    "auto": "automatic choice",
    "saved": "saved ensemble",
}


def leaderboard_figure(
    methods: Sequence[str],
    scores: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    kinds: Sequence[str] | None = None,
    reference: tuple[str, float] | None = None,
    metric: str = "micro-F1",
) -> Chart:
    """Draw a dot per method and its interval as a line, in the order given from the top.

    Parameters
    ----------
    methods : sequence of str
        Names.
    scores, low, high : array of shape (n_methods,)
        Scores and the limits of their intervals.
    kinds : sequence of str, optional
        "member", "vote", "meta" or "auto", shown as color.
    reference : tuple of (str, float), optional
        Name and score of a reference, shown as a vertical line when it lies within a few spans of the scores, and in
        words otherwise.
    metric : str, default="micro-F1"
        What the axis shows.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    score, lower, upper = (np.asarray(values, dtype=float) for values in (scores, low, high))
    kind_of = list(kinds) if kinds is not None else ["meta"] * len(methods)

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        height = np.arange(len(methods))[::-1]
        for y, value, left, right, kind in zip(height, score, lower, upper, kind_of, strict=True):
            color = _KIND_COLORS.get(kind, ACCENT)
            axes.plot([left, right], [y, y], color=color, linewidth=2.2, alpha=0.45, solid_capstyle="round")
            axes.plot([value], [y], "o", color=color, markersize=6)
        axes.set_yticks(height, shorten_all(methods, letters_beside(figure.get_figwidth())))
        axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
        axes.set_ylim(-0.7, len(methods) - 0.3)
        axes.set_xlabel(metric)
        score_axis(axes.xaxis)
        near = [reference[1]] if reference is not None and _is_near(reference[1], lower, upper) else []
        _write_values(axes, score, [*upper, *near], height, 0.3 if is_narrow(figure) else 0.1)
        if reference is not None and len(lower):
            _mark_reference(axes, reference, bool(near))
        finish_axes(axes, grid="x", sides=())
        _kind_legend(figure, kind_of)

    return draw(0.95 + 0.27 * len(methods), _paint, f"{metric} of {len(methods)} methods with intervals")


def _write_values(
    axes: Axes,
    score: npt.NDArray[np.floating],
    shown: npt.ArrayLike,
    height: npt.NDArray[np.int_],
    room: float,
) -> None:
    """Write each score at the right end of its row, right of all that is shown, where a share of the axis is left."""
    right = float(np.nanmax(shown)) if len(score) else 1.0
    left = axes.get_xlim()[0]
    axes.set_xlim(left, right + room * (right - left))
    for value, y in zip(score, height, strict=True):
        axes.annotate(
            write_score(float(value)), (1, y), xycoords=("axes fraction", "data"), ha="right", va="center",
            color=MUTED, fontsize=8.5,
        )  # fmt: skip


def _is_near(value: float, lower: npt.NDArray[np.floating], upper: npt.NDArray[np.floating]) -> bool:
    """Tell whether a reference lies within a span of the intervals, so that showing it does not squeeze them."""
    if not len(lower):
        return False
    left, right = float(np.nanmin(lower)), float(np.nanmax(upper))
    return max(left - value, value - right) <= right - left


def _mark_reference(axes: Axes, reference: tuple[str, float], near: bool) -> None:
    """Draw the reference as a line where it is near, and name it below the axis where it is not."""
    name, value = reference
    text = f"{shorten(name)} {write_score(value, 3)}"
    if not near:
        axes.set_xlabel(f"{axes.get_xlabel()}\n(off the scale: {text})")
        return
    left, right = axes.get_xlim()
    left = min(left, value - 0.03 * (right - left))
    axes.set_xlim(left, right)
    axes.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        text, (value, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
        ha="left" if value < (left + right) / 2 else "right", va="bottom", color=MUTED, fontsize=8,
    )  # fmt: skip


def _kind_legend(figure: Figure, kinds: Sequence[str]) -> None:
    """Explain the colors of the kinds that occur."""
    from matplotlib.lines import Line2D

    shown = [kind for kind in _KIND_NAMES if kind in kinds]
    if len(shown) > 1:
        marks = [Line2D([], [], marker="o", linestyle="", color=_KIND_COLORS[kind], markersize=6) for kind in shown]
        names = [_KIND_NAMES[kind] for kind in shown]
        columns = 2 if is_narrow(figure) else len(shown)
        figure.legend(marks, names, loc="outside upper left", ncols=columns, labelcolor=MUTED, handletextpad=0.2)


def ladder_figure(
    names: Sequence[str],
    gains: Sequence[float | None],
    start: float,
    start_name: str = "start",
    *,
    metric: str = "micro-F1",
    sign: int = 1,
) -> Chart:
    """Draw how a score is built up from a start, one step at a time.

    Parameters
    ----------
    names : sequence of str
        What each step adds.
    gains : sequence of float or None
        Its gain; None is a step that could not be measured.
    start : float
        Score before the first step.
    start_name : str, default="start"
        What scores it.
    metric : str, default="micro-F1"
        What the axis shows.
    sign : {1, -1}, default=1
        1 where larger scores are better, which colors the steps.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    steps = [0.0 if gain is None else float(gain) for gain in gains]
    levels = start + np.concatenate([[0.0], np.cumsum(steps)])

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        length = letters_beside(figure.get_figwidth(), 34)
        labels = [shorten(start_name, length), *(shorten(name, length) for name in names), "together"]
        rows = np.arange(len(labels))[::-1]
        axes.plot([start], [rows[0]], "o", color=SERIES[5], markersize=6)
        for number, (gain, step) in enumerate(zip(gains, steps, strict=True)):
            y, left, right = rows[number + 1], levels[number], levels[number + 1]
            axes.plot([left, left], [rows[number], y], color=RULE, linewidth=1)
            axes.barh(y, step, left=left, height=0.5, color=GOOD if sign * step >= 0 else BAD, linewidth=0)
            text = "not measured" if gain is None else write_gain(gain)
            axes.annotate(text, (max(left, right), y), xytext=(5, 0), textcoords="offset points", va="center",
                          color=MUTED, fontsize=8.5)  # fmt: skip
        axes.plot([levels[-1], levels[-1]], [rows[-2], rows[-1]], color=RULE, linewidth=1)
        axes.plot([levels[-1]], [rows[-1]], "o", color=INK, markersize=6)
        for row, level in ((rows[0], levels[0]), (rows[-1], levels[-1])):
            axes.annotate(write_score(level), (level, row), xytext=(8, 0), textcoords="offset points", va="center")
        span = max(float(np.ptp(levels)), 1e-3)
        axes.set_xlim(levels.min() - 0.06 * span, levels.max() + 0.2 * span)
        axes.set_yticks(rows, labels)
        axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
        score_axis(axes.xaxis)
        axes.set_xlabel(metric)
        finish_axes(axes, grid="x", sides=())

    return draw(0.7 + 0.34 * (len(steps) + 2), _paint, "What each step adds to the score")
