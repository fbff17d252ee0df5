"""Curves: the score against the threshold, reliability, learning, and the progress of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.report.figures.canvas import (
    ACCENT,
    INK,
    MUTED,
    SERIES,
    count_axis,
    draw,
    finish_axes,
    is_narrow,
    legend_rows,
    score_axis,
    shorten,
    write_legend,
)
from stacking.report.sections import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_LEGEND_ROW = 0.2  # inches of a chart's height for a row of its legend
_PANELS, _PHONE_PANELS = 3, 2  # charts side by side: as many as have room


def threshold_figure(
    thresholds: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike], *, tuned: Mapping[str, float] | None = None
) -> Chart:
    """Draw micro-F1 against one threshold for all labels.

    Parameters
    ----------
    thresholds : array of shape (n_thresholds,)
        The thresholds tried.
    curves : mapping of str to array of shape (n_thresholds,)
        One curve per method.
    tuned : mapping of str to float, optional
        The threshold each method was given without seeing these samples, marked on its curve.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    grid = np.asarray(thresholds, dtype=float)

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (name, values) in enumerate(curves.items()):
            curve = np.asarray(values, dtype=float)
            color = SERIES[number % len(SERIES)]
            axes.plot(grid, curve, color=color, label=shorten(name, 40))
            if tuned and name in tuned and np.isfinite(tuned[name]):
                axes.plot([tuned[name]], [np.interp(tuned[name], grid, curve)], "o", color=color, markersize=6)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("threshold, the same for all labels")
        score_axis(axes.xaxis, 1)
        axes.set_ylabel("micro-F1")
        score_axis(axes.yaxis, 2)
        finish_axes(axes, grid="y")
        write_legend(figure, len(curves))

    description = "micro-F1 against one threshold for all labels"
    return draw(3.4, _paint, description, phone_height=3.0 + _LEGEND_ROW * legend_rows(len(curves)))


def reliability_figure(
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], *, counts: npt.ArrayLike | None = None
) -> Chart:
    """Draw how often a label is true against the score it was given.

    Parameters
    ----------
    curves : mapping of str to (mean score, observed share), each array of shape (n_bins,)
        One curve per method; NaN bins are skipped. On the diagonal scores are probabilities.
    counts : array of shape (n_bins,), optional
        Number of (sample, label) pairs per bin of the first curve, drawn as a strip below.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """

    def _paint(figure: Figure) -> None:
        if counts is None:
            axes, strip = figure.add_subplot(), None
        else:
            axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for number, (name, (mean_score, share)) in enumerate(curves.items()):
            x, y = np.asarray(mean_score, dtype=float), np.asarray(share, dtype=float)
            shown = np.isfinite(x) & np.isfinite(y)
            axes.plot(
                x[shown], y[shown], "o-", color=SERIES[number % len(SERIES)], markersize=4, label=shorten(name, 40)
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_ylabel("share that is true")
        score_axis(axes.xaxis, 1)
        score_axis(axes.yaxis, 1)
        finish_axes(axes, grid="y")
        if strip is not None and counts is not None:
            numbers = np.asarray(counts, dtype=float)
            width = 1 / len(numbers)
            strip.bar(
                (np.arange(len(numbers)) + 0.5) * width,
                np.log10(numbers + 1),
                width=width * 0.8,
                color=ACCENT,
                alpha=0.5,
            )
            strip.set_yticks([])
            strip.set_ylabel("pairs\n(log)")
            finish_axes(strip)
            strip.set_xlabel("score")
        else:
            axes.set_xlabel("score")
        write_legend(figure, len(curves))

    description = "Observed share of true labels against the score"
    return draw(4.4, _paint, description, phone_height=4.0 + _LEGEND_ROW * legend_rows(len(curves)))


def training_curves_figure(
    histories: Mapping[str, Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]], *, metric: str
) -> Chart:
    """Draw a value per epoch on training and on validation rows, member by member on one scale.

    Parameters
    ----------
    histories : mapping of str to mapping of str to (epochs, values)
        Per member the curves by their names, such as "training" and "validation", the same for all that have them.
        `values` of shape (n_folds, n_epochs) are drawn as faint lines under their mean.
    metric : str
        What the values are.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    names = list(dict.fromkeys(name for curves in histories.values() for name in curves))
    shape = {narrow: -(-len(histories) // columns) for narrow, columns in ((False, _PANELS), (True, _PHONE_PANELS))}

    def _paint(figure: Figure) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        narrow = is_narrow(figure)
        columns = _PHONE_PANELS if narrow else _PANELS
        panels = figure.subplots(shape[narrow], columns, sharey=True, squeeze=False).ravel()
        for axes, (member, curves) in zip(panels, histories.items(), strict=False):
            for name, (epochs, values) in curves.items():
                x, y = np.asarray(epochs, dtype=float), np.atleast_2d(np.asarray(values, dtype=float))
                color = SERIES[names.index(name) % len(SERIES)]
                if len(y) > 1:
                    axes.plot(x, y.T, color=color, linewidth=0.7, alpha=0.35)
                axes.plot(x, _column_means(y), color=color, marker="o" if len(x) <= 12 else "", markersize=3.5)
            score_axis(axes.yaxis, 2)
            axes.set_title(shorten(member, 18 if narrow else 28), loc="left", color=INK)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            finish_axes(axes, grid="y")
        for axes in panels[len(histories) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch", color=MUTED, fontsize=9.5)
        figure.supylabel(metric, color=MUTED, fontsize=9.5)
        marks = [Line2D([], [], color=SERIES[number % len(SERIES)]) for number in range(len(names))]
        write_legend(figure, len(names), always=True, handles=marks, names=names)

    description = f"{metric} per epoch of {len(histories)} members"
    on_page, on_phone = (0.8 + 1.7 * shape[narrow] for narrow in (False, True))
    return draw(on_page, _paint, description, phone_height=on_phone + _LEGEND_ROW * len(names))


def _column_means(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Average over folds, NaN ignored, NaN where no fold got that far."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    counted = known.sum(axis=0)
    return np.where(counted > 0, total / np.maximum(counted, 1), np.nan)


def data_size_figure(n_samples: npt.ArrayLike, scores: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> Chart:
    """Draw micro-F1 against the number of training samples.

    Parameters
    ----------
    n_samples : array of shape (n_sizes,)
        Training samples, ascending, positive.
    scores, low, high : array of shape (n_sizes,)
        Micro-F1 and its 95 % limits.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    sizes = np.asarray(n_samples, dtype=float)

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.fill_between(
            sizes, np.asarray(low, dtype=float), np.asarray(high, dtype=float), color=ACCENT, alpha=0.15, linewidth=0
        )
        axes.plot(sizes, np.asarray(scores, dtype=float), "o-", color=ACCENT, markersize=5)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], rotation=30 if is_narrow(figure) else 0)
        axes.minorticks_off()
        axes.set_xlabel("training samples (log scale)")
        axes.set_ylabel("micro-F1")
        score_axis(axes.yaxis, 2)
        finish_axes(axes, grid="y")

    return draw(3.0, _paint, "micro-F1 against the number of training samples")


def learning_rate_figure(
    rates: npt.ArrayLike, losses: npt.ArrayLike, smoothed: npt.ArrayLike, marks: Mapping[str, float]
) -> Chart:
    """Draw the curve of a learning-rate range test.

    Parameters
    ----------
    rates : array of shape (n_steps,)
        Learning rates, ascending, positive.
    losses, smoothed : array of shape (n_steps,)
        Training loss at each, and the same smoothed.
    marks : mapping of str to float
        Rates to mark, by what they are called: the suggested one, the recipe's own.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    places, values = np.asarray(rates, dtype=float), np.asarray(losses, dtype=float)
    line = np.asarray(smoothed, dtype=float)

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(places, values, "o", color=ACCENT, alpha=0.35, markersize=3, label="a batch")
        axes.plot(places, line, color=ACCENT, label="smoothed")
        for number, (name, rate) in enumerate(marks.items(), start=1):
            axes.axvline(rate, color=SERIES[number], linewidth=1.4, linestyle=("--", ":")[number % 2], label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        axes.minorticks_off()
        low, fall = float(line.min()), max(float(line[0] - line.min()), 0.02 * abs(float(line[0])))
        axes.set_ylim(low - 0.6 * fall, line[0] + 0.6 * fall)  # where the loss breaks out, it may leave
        axes.set_xlabel("learning rate (log scale)")
        axes.set_ylabel("training loss")
        axes.legend(frameon=False, loc="lower left")
        finish_axes(axes, grid="y")

    return draw(3.0, _paint, "training loss against the learning rate")


def search_figure(
    histories: Mapping[str, Sequence[tuple[int, float]]], *, loss: str = "loss", direct: bool = False
) -> Chart:
    """Draw the best loss an optimizer had found against its number of evaluations.

    Parameters
    ----------
    histories : mapping of str to sequence of (n_evaluations, best_loss)
        One search each, as `optimizers.minimize` records it.
    loss : str, default="loss"
        What the axis shows.
    direct : bool, default=False
        Whether the values are shown negated, for losses that are a negative score.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """

    def _paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (name, history) in enumerate(histories.items()):
            steps = np.asarray(history, dtype=float).reshape(-1, 2)
            values = -steps[:, 1] if direct else steps[:, 1]
            axes.step(
                np.maximum(steps[:, 0], 1),
                values,
                where="post",
                color=SERIES[number % len(SERIES)],
                label=shorten(name),
            )
            axes.plot(np.maximum(steps[-1:, 0], 1), values[-1:], "o", color=SERIES[number % len(SERIES)], markersize=5)
        axes.set_xscale("log")
        count_axis(axes.xaxis)
        axes.set_xlabel("evaluations (log scale)")
        axes.set_ylabel(loss)
        finish_axes(axes, grid="y")
        write_legend(figure, len(histories))

    description = f"Best {loss} against the number of evaluations"
    return draw(3.2, _paint, description, phone_height=3.0 + _LEGEND_ROW * legend_rows(len(histories)))
