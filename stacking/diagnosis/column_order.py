"""Columns that hold the scores of other labels: swapped, or out of step from some label on."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from scipy.stats import rankdata

from stacking._typing import BoolArray, DoubleArray, IntArray
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched, standardize
from stacking.diagnosis.mending import mend_table, quoted

FEWEST = 10
"""Positives below which a few high scores make a correlation. A choice."""
CLEAR = 4.0
"""Standard deviations of a label's correlation from which its column can be told from others. A choice."""
MUCH, MOST = 0.5, 0.8
"""A column stands wrong where it reaches less than this part of the correlation that it reaches elsewhere: so do this
share of a cycle's. Columns of nearly the same labels are thus left alone. Choices, see `CERTAIN`."""
CERTAIN = 6.0
"""Standard deviations of a correlation (1 / √n each) by which a cycle of columns must agree better when it is turned
back, per √(columns of the cycle). Set so that no real member looked at has one; a swap of two labels with fifty
positives and an AUC of .7 has ten."""


def check_columns(matched: Matched, skip: Collection[str] = ()) -> Iterator[Finding]:
    """Find members whose columns are in another order than their labels say.

    Every column of a member is compared with every label of the truth (without it, of the other members' mean). Where
    giving some columns to each other's labels raises their correlations beyond doubt, and the other members' columns
    stand right, they were swapped.

    Parameters
    ----------
    matched : Matched
        Members side by side.
    skip : collection of str, default=()
        Members that are known to be wrong as a whole.

    Yields
    ------
    Finding
        Of the check "columns".
    """
    if len(matched.labels) < 2 or matched.n_samples < 20:
        return
    truth = matched.standard_truth
    if truth is None and len(matched.models) < 3:
        yield Finding(
            "skipped", "columns", "Without the truth it takes three members to say whose columns are swapped."
        )
        return
    ranks = np.stack([standardize(rankdata(np.nan_to_num(one), axis=0).astype(np.float32)) for one in matched.standard])
    rare = np.zeros(len(matched.labels), np.bool_)
    if matched.y_true is not None:
        n_positive = matched.y_true.sum(axis=0)
        rare = np.minimum(n_positive, matched.n_samples - n_positive) < FEWEST
    total = ranks.sum(axis=0)
    for place, name in enumerate(matched.models):
        if name in skip:
            continue
        others = (total - ranks[place]) / max(len(ranks) - 1, 1)
        reference = truth if truth is not None else others
        own = (ranks[place].T @ reference).astype(np.float64) / matched.n_samples
        theirs = (others.T @ reference).astype(np.float64) / matched.n_samples if len(ranks) > 1 else None
        moved = _find_moved(own, theirs, rare, matched.n_samples)
        if not moved:
            continue
        labels = tuple(matched.labels[column] for column in moved)
        pairs = ", ".join(f"{matched.labels[at]!r} holds {matched.labels[of]!r}" for at, of in list(moved.items())[:3])
        renamed = {matched.labels[column]: matched.labels[label] for column, label in moved.items()}
        yield Finding(
            "red",
            "columns",
            f"{name} has {len(moved)} columns under the wrong labels: {pairs}.",
            name,
            labels,
            remedy="Give these columns the names of the labels that they answer.",
            command=mend_table(matched.path_of(place), f"t.rename(columns={quoted(renamed)})", name),
        )


def _find_moved(own: DoubleArray, others: DoubleArray | None, rare: BoolArray, n_samples: int) -> dict[int, int]:
    """Return, by column, the label that it belongs to, for those that stand wrong."""
    from scipy.optimize import linear_sum_assignment

    # Labels that can be told at all: rare ones would be dealt out by chance and run through every cycle.
    known = own.max(axis=0) if others is None else np.minimum(others.diagonal(), own.max(axis=0))
    clear = np.flatnonzero((known * np.sqrt(n_samples) >= CLEAR) & ~rare)
    if len(clear) < 2:
        return {}
    own = own[np.ix_(clear, clear)]
    others = None if others is None else others[np.ix_(clear, clear)]
    best = linear_sum_assignment(-own)[1]
    moved: dict[int, int] = {}
    for cycle in _cycles(best):
        stands, would = own[cycle, cycle], own[cycle, best[cycle]]
        gain = float((would - stands).sum()) * np.sqrt(n_samples)
        if gain < CERTAIN * np.sqrt(len(cycle)) or (stands > MUCH * would).mean() > 1 - MOST:
            continue
        # What is moved answers its own label about as well as the others do; noise and a weak column do not.
        if others is not None and would.sum() < MUCH * others[best[cycle], best[cycle]].sum():
            continue
        moved |= {int(clear[column]): int(clear[best[column]]) for column in cycle}
    return moved


def _cycles(permutation: IntArray) -> Iterator[IntArray]:
    """Split a permutation into its cycles of two and more."""
    seen = np.zeros(len(permutation), np.bool_)
    for start in range(len(permutation)):
        cycle = []
        place = start
        while not seen[place]:
            seen[place] = True
            cycle.append(place)
            place = int(permutation[place])
        if len(cycle) > 1:
            yield np.array(cycle)
