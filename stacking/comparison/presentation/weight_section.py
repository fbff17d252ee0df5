"""The section of a report that shows how heavily a vote counts each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stacking._typing import DoubleArray
from stacking.comparison.results import ComparisonResults
from stacking.report import Block, Cell, Column, Figure, Paragraph, Section, Table
from stacking.report.figures import weight_bars_figure, weights_figure

_MOST_PANELS = 4  # votes side by side in one figure: as many as a page has room for
_MOST_HEAT_MAPS = 3  # a choice: the first ones in the order of the leaderboard
_SAME_WEIGHT = 0.02  # a choice, not tuned: these weights are means over folds
_NOT_SHOWN = (
    "A vote with equal weights is not shown. Where a member does not answer a label, the others share its weight there."
)


def weight_section(comparison: ComparisonResults) -> Section | None:
    """Show the weights that the votes learned.

    Parameters
    ----------
    comparison : ComparisonResults
        What was found.

    Returns
    -------
    Section or None
        None if no vote learned weights.
    """
    votes = {row.method: comparison.results[row.method].weights for row in comparison.rows}
    shared, own = {}, {}
    for name, weights in votes.items():
        if weights is None or len(weights) != len(comparison.models):
            continue
        common = weights if weights.ndim == 1 else _common_weights(weights)
        if common is None:
            own[name] = weights
        else:
            shared[name] = common
    # Equal weights, but for rounding, were not learned.
    learned = {name: weights for name, weights in shared.items() if not np.allclose(weights, weights[0], atol=1e-6)}
    blocks: list[Block] = []
    names = list(learned)
    n_figures = -(-len(names) // _MOST_PANELS)
    for number in range(n_figures):
        part = {name: learned[name] for name in names[number::n_figures]}
        blocks.append(Figure(weight_bars_figure(part, comparison.models)))
    if names:
        blocks.append(_weight_table(learned, comparison.models))
    order = np.argsort(-comparison.truth.label_positives, kind="stable")
    labels = [comparison.labels[label] for label in order]
    for name, weights in list(own.items())[:_MOST_HEAT_MAPS]:
        chart = weights_figure(weights[:, order], comparison.models, labels)
        caption = f"{name}: weight of each model for each label, the darker the heavier; frequent labels on the left."
        blocks.append(Figure(chart, caption))
    if not blocks:
        return None
    several = comparison.manifest["n_splits"] > 1
    note = "Weights that the votes learned" + (", averaged over the outer folds." if several else ".")
    return Section("Weights", [Paragraph(f"{note} {_NOT_SHOWN}"), *blocks])


def _common_weights(weights: DoubleArray) -> DoubleArray | None:
    """Return the weights that all labels share but for members that do not answer them; None where they differ."""
    common = weights[:, int((weights > 0).sum(axis=0).argmax())].copy()
    # A member that does not answer that label is weighed by one that it answers beside members whose weight is known.
    found = True
    while found:
        missing = (common == 0)[:, None] & (weights > 0) & ((common > 0)[:, None] & (weights > 0)).any(axis=0)
        found = bool(missing.any())
        if found:
            member, label = np.argwhere(missing)[0]
            known = (common > 0) & (weights[:, label] > 0)
            common[member] = weights[member, label] * common[known].sum() / weights[known, label].sum()
    common /= max(float(common.sum()), 1e-12)
    expected = np.where(weights > 0, common[:, None], 0.0)
    # 1e-12 keeps a label that no member answers from dividing by 0.
    expected /= np.maximum(expected.sum(axis=0), 1e-12)
    return common if np.allclose(expected, weights, atol=_SAME_WEIGHT) else None


def _weight_table(votes: Mapping[str, DoubleArray], models: Sequence[str]) -> Table:
    """List the shared weights, the models with the heaviest first."""
    matrix = np.stack(list(votes.values()), axis=1)
    order = np.argsort(-matrix.mean(axis=1), kind="stable").tolist()
    rows: list[list[Cell]] = [[models[model], *matrix[model].tolist()] for model in order]
    columns = [Column("model"), *(Column(name, "score") for name in votes)]
    return Table(columns, rows, caption="The same weights as numbers, the heaviest models first.", folded=True)
