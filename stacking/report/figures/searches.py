"""Searches for weights over several seeds: how they went, and what they cost beside what they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.report.figures.canvas import (
    MUTED,
    SERIES,
    count_axis,
    draw,
    finish_axes,
    legend_rows,
    number_axis,
    score_axis,
    shorten,
    write_legend,
)
from stacking.report.sections import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

History = Sequence[tuple[int, float]]

_LEGEND_ROW = 0.2  # inches of a chart's height for a row of its legend
_MARKS = "os^D"
_BAND = 0.18  # opacity, a choice


def search_band_figure(searches: Mapping[str, Sequence[History]], *, loss: str = "loss") -> Chart:
    """Draw the median over seeds of the best loss so far, in a band from the best to the worst seed.

    Parameters
    ----------
    searches : mapping of str to sequence of histories
        One history per seed, each a sequence of (n_evaluations, best_loss).
    loss : str, default="loss"
        What the axis shows.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (name, histories) in enumerate(searches.items()):
            color = SERIES[number % len(SERIES)]
            grid, values = _on_one_grid(histories)
            axes.step(grid, np.median(values, axis=0), where="post", color=color, label=shorten(name))
            if len(histories) > 1:
                axes.fill_between(
                    grid, values.min(axis=0), values.max(axis=0), step="post", color=color, alpha=_BAND, linewidth=0
                )
        axes.set_xscale("log")
        count_axis(axes.xaxis)
        axes.set_xlabel("evaluations (log scale)")
        axes.set_ylabel(shorten(loss))
        finish_axes(axes, grid="y")
        write_legend(figure, len(searches))

    description = f"Best {loss} against the number of evaluations, median and range over seeds"
    return draw(3.4, _paint, description, phone_height=3.0 + _LEGEND_ROW * legend_rows(len(searches)))


def cost_figure(
    points: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], *, score: str, reference: tuple[str, float] | None = None
) -> Chart:
    """Draw what each search brings against the CPU seconds that it takes.

    Parameters
    ----------
    points : mapping of str to (seconds, scores), each array of shape (n_seeds,)
        One point per seed.
    score : str
        What the scores are.
    reference : (str, float), optional
        A name and a score to hold against, drawn as a line.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        if reference is not None:
            axes.axhline(reference[1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label=shorten(reference[0]))
        for number, (name, (seconds, scores)) in enumerate(points.items()):
            color = SERIES[number % len(SERIES)]
            shown = np.maximum(np.asarray(seconds, dtype=float), 1e-3)
            mark = _MARKS[number // len(SERIES) % len(_MARKS)]  # colors come back, with another mark
            axes.plot(
                shown,
                np.asarray(scores, dtype=float),
                mark,
                color=color,
                markersize=5,
                label=shorten(name),
                linestyle="",
            )
        axes.set_xscale("log")
        number_axis(axes.xaxis)
        axes.set_xlabel("CPU seconds of the search (log scale)")
        axes.set_ylabel(shorten(score))
        score_axis(axes.yaxis)
        finish_axes(axes, grid="y")
        write_legend(figure, len(points) + (reference is not None))

    description = f"{score} on held-out rows against the CPU seconds of each search"
    n_series = len(points) + (reference is not None)
    return draw(3.4, _paint, description, phone_height=3.0 + _LEGEND_ROW * legend_rows(n_series))


def _on_one_grid(histories: Sequence[History]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read histories at all numbers of evaluations that occur; before its first, a search has its first value."""
    steps = [np.asarray(history, dtype=float).reshape(-1, 2) for history in histories]
    grid = np.unique(np.concatenate([np.maximum(each[:, 0], 1) for each in steps]))
    places = [np.searchsorted(np.maximum(each[:, 0], 1), grid, side="right") - 1 for each in steps]
    values = [each[np.maximum(place, 0), 1] for each, place in zip(steps, places, strict=True)]
    return grid, np.stack(values)
