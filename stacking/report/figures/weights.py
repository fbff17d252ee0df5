"""The weights of a vote: bars when all labels share them, a heat map when every label has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.report.figures.canvas import (
    ACCENT,
    INK,
    MUTED,
    PAGE_WIDTH,
    PAPER,
    PHONE_WIDTH,
    SERIES,
    draw,
    finish_axes,
    is_narrow,
    letters_beside,
    shorten,
    shorten_all,
)
from stacking.report.sections import Chart
from stacking.report.writing import write_score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches: a letter of a model, a line of a label, a weight.
_LETTER_WIDTH, _LINE_HEIGHT, _NUMBER_WIDTH = 0.08, 0.13, 0.28
MOST_WRITTEN = 12
"""Labels up to which every weight of a heat map is written into its cell."""


def weights_figure(weights: npt.ArrayLike, models: Sequence[str], labels: Sequence[str] | None = None) -> Chart:
    """Draw the weights of one vote.

    Parameters
    ----------
    weights : array of shape (n_models,) or (n_models, n_labels)
        Weights in [0, 1]. Equal columns are drawn as bars, different ones as a heat map.
    models : sequence of str
        Names of the models.
    labels : sequence of str, optional
        Names of the labels, for the heat map.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    matrix = np.asarray(weights, dtype=float)
    if matrix.ndim == 1 or np.allclose(matrix, matrix[:, :1], atol=1e-9):
        shared = matrix if matrix.ndim == 1 else matrix[:, 0]
        return weight_bars_figure({"": shared}, models)
    return _heat_map(matrix, models, labels)


def weight_bars_figure(votes: Mapping[str, npt.ArrayLike], models: Sequence[str]) -> Chart:
    """Draw the shared weights of several votes side by side.

    Parameters
    ----------
    votes : mapping of str to array of shape (n_models,)
        Name of the vote and its weights.
    models : sequence of str
        Names of the models.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones.
    """
    names, heights = list(votes), {name: np.asarray(bars, dtype=float) for name, bars in votes.items()}

    def _paint(figure: Figure) -> None:
        shape = (len(names), 1) if is_narrow(figure) else (1, len(names))
        panels = figure.subplots(*shape, sharey=True, sharex=True, squeeze=False).ravel()
        rows = np.arange(len(models))[::-1]
        largest = max(float(np.nanmax(heights[name])) for name in names)
        for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
            bars = heights[name]
            axes.barh(rows, bars, height=0.5, color=SERIES[number % len(SERIES)] if len(names) > 1 else ACCENT)
            for y, value in zip(rows, bars, strict=True):
                axes.annotate(write_score(float(value), 2), (value, y), xytext=(4, 0), textcoords="offset points",
                              va="center", color=MUTED, fontsize=8)  # fmt: skip
            axes.set_xlim(0, largest * 1.25)
            axes.set_xticks([])
            axes.set_title(shorten(name, 22), loc="left", color=INK)
            finish_axes(axes, sides=("left",))
        panels[0].set_ylim(-0.7, len(models) - 0.3)
        panels[0].set_yticks(rows, shorten_all(models, letters_beside(figure.get_figwidth(), 30)))
        for axes in panels if is_narrow(figure) else panels[:1]:
            axes.tick_params(axis="y", labelcolor=INK, labelsize=9)

    height, description = 0.6 + 0.27 * len(models), f"Weights of {len(models)} models"
    return draw(height, _paint, description, phone_height=height * len(names))


def _heat_map(matrix: npt.NDArray[np.floating], models: Sequence[str], labels: Sequence[str] | None) -> Chart:
    """Draw one cell per model and label, the darker the heavier."""
    n_models, n_labels = matrix.shape

    def names_on(width: float) -> list[str]:
        return shorten_all(models, letters_beside(width, 30))

    def label_width(width: float) -> float:
        return (width - _LETTER_WIDTH * max(map(len, names_on(width)), default=0)) / n_labels

    def names_labels(width: float) -> bool:
        return labels is not None and label_width(width) >= _LINE_HEIGHT

    def _paint(figure: Figure) -> None:
        from matplotlib.collections import PatchCollection
        from matplotlib.colors import to_rgba
        from matplotlib.patches import Rectangle

        axes, width = figure.add_subplot(), figure.get_figwidth()
        cells, colors = [], []
        top = max(float(np.nanmax(matrix)), 1e-9)
        # Below half a hundredth of the heaviest a cell would be drawn with an opacity of 0.
        for model, label in np.argwhere(np.nan_to_num(matrix) > 0.005 * top):
            cells.append(Rectangle((label, n_models - 1 - model + 0.06), 1, 0.88))
            colors.append(to_rgba(ACCENT, alpha=round(float(matrix[model, label]) / top, 2)))
        axes.add_collection(PatchCollection(cells, facecolors=colors, linewidths=0))
        written = n_labels <= MOST_WRITTEN and label_width(width) >= _NUMBER_WIDTH
        for model, label in np.argwhere(np.nan_to_num(matrix) > 0) if written else ():
            heavy = matrix[model, label] > 0.6 * top
            axes.text(label + 0.5, n_models - 0.5 - model, write_score(float(matrix[model, label]), 2), ha="center",
                      va="center", fontsize=8, color=PAPER if heavy else INK)  # fmt: skip
        axes.set_xlim(0, n_labels)
        axes.set_ylim(0, n_models)
        axes.set_yticks(np.arange(n_models)[::-1] + 0.5, names_on(width))
        axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
        if names_labels(width) and labels is not None:
            axes.set_xticks(np.arange(n_labels) + 0.5, shorten_all(labels, 18), rotation=90)
        else:
            axes.set_xlabel(f"{n_labels} labels")
        finish_axes(axes, sides=())

    on_page, on_phone = (0.8 + 0.27 * n_models + 0.9 * names_labels(width) for width in (PAGE_WIDTH, PHONE_WIDTH))
    return draw(on_page, _paint, "Weights per model and label", phone_height=on_phone)
