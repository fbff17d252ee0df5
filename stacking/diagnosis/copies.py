"""Samples and members that are there twice, and groups that are split over folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from stacking._checks import first_names
from stacking._typing import FloatArray, IntArray
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched
from stacking.diagnosis.mending import mend_table, quoted

DIGITS = 6
"""Digits to which scores are compared: float32 holds seven."""
ROUNDING = 5.1e-4
"""Members whose scores lie no further apart anywhere (nor 1/200 of their range) are one, written with three digits or
more: two models do not agree so in every cell, unless they vote (fewer than `LEAST_DISTINCT` scores). A choice."""
LEAST_DISTINCT = 100
"""Different scores that a member must give for equal rows to mean anything: votes and rounded scores meet by chance. A
choice."""


def check_copies(matched: Matched) -> Iterator[Finding]:
    """Find samples that all members score alike, outside of one group, and members that are the same.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "copies".
    """
    yield from _find_twins(matched)
    fine = [place for place, matrix in enumerate(matched.scores) if count_distinct(matrix) >= LEAST_DISTINCT]
    if not fine or len(matched.labels) * len(fine) < 2:
        return
    number = number_alike([matched.scores[place] for place in fine])
    sizes = np.bincount(number)
    if matched.groups is not None:
        alike = _in_other_groups(number, matched.groups)
    else:
        alike = np.flatnonzero(sizes[number] > 1)
    if not len(alike):
        return
    names = [matched.ids[row] for row in alike[np.argsort(number[alike], kind="stable")]]
    grouped = "but are in different groups" if matched.groups is not None else "and no groups are given"
    remedy = "Give copies one group, so that they share a fold: a column `group` in the truth."
    expression = f"t.assign(group={_group_expression(matched, number)})"
    yield Finding(
        "yellow",
        "copies",
        f"{len(alike):,} of {matched.n_samples:,} samples have the very scores of another one, such as "
        f"{first_names(names)}, {grouped}: the same photo is in training and held-out rows at once.",
        remedy=remedy,
        command=mend_table(matched.truth_path, expression) if len(alike) <= 100 and matched.groups is None else "",
        evidence={"n_samples": float(len(alike))},
    )


def number_alike(matrices: Sequence[FloatArray]) -> IntArray:
    """Give rows that are equal in every matrix the same number.

    Parameters
    ----------
    matrices : sequence of ndarray, shape (n_rows, n_labels)
        Scores of one member each.

    Returns
    -------
    ndarray of int, shape (n_rows,)
        Numbers from 0 on.
    """
    number: IntArray = np.zeros(len(matrices[0]), np.int64)
    for matrix in matrices:  # one after the other: memory
        rounded = np.round(np.nan_to_num(matrix, nan=-1.0), DIGITS) + 0.0  # no minus zero
        lines = np.ascontiguousarray(rounded).view(np.dtype((np.void, rounded.dtype.itemsize * rounded.shape[1])))
        own = np.unique(lines.ravel(), return_inverse=True)[1].reshape(-1)
        number = np.unique(number * (int(own.max()) + 1) + own, return_inverse=True)[1].reshape(-1)
    return number


def _in_other_groups(number: IntArray, groups: npt.NDArray[np.generic]) -> IntArray:
    """Return the rows of which a copy lies in another group."""
    _, group = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([number, group.reshape(-1)]), axis=1)
    n_groups = np.bincount(pairs[0], minlength=int(number.max()) + 1)
    rows: IntArray = np.flatnonzero(n_groups[number] > 1)
    return rows


def _group_expression(matched: Matched, number: IntArray) -> str:
    """Write a column of groups for the truth: the id of the first copy, and its own id where there is none."""
    first: dict[int, str] = {}
    copies: dict[str, str] = {}
    for name, value in zip(matched.ids, number.tolist(), strict=True):
        if value in first:
            copies[name] = first[value]
        else:
            first[value] = name
    return f"t.index.map(lambda i: {quoted(copies)}.get(i, i))"


def count_distinct(values: FloatArray) -> int:
    """Count the different scores among the first rows.

    Parameters
    ----------
    values : ndarray, shape (n_rows, n_labels)
        Scores of one member.

    Returns
    -------
    int
        Of the first 2,000 rows.
    """
    return len(np.unique(values[:2_000][np.isfinite(values[:2_000])]))


def _find_twins(matched: Matched) -> Iterator[Finding]:
    """Find members with the same scores."""
    for place, name in enumerate(matched.models):
        for other in range(place):
            if not np.isfinite(matched.scores[place]).any():
                continue
            near = min(ROUNDING, float(np.nanmax(matched.scores[place]) - np.nanmin(matched.scores[place])) / 200)
            if np.allclose(matched.scores[place], matched.scores[other], rtol=0, atol=near, equal_nan=True):
                by_chance = count_distinct(matched.scores[place]) < LEAST_DISTINCT
                remedy = f"Look whether {name} has its own scores, and leave it out if it is the same model."
                yield Finding(
                    "yellow" if by_chance else "red",
                    "copies",
                    f"{name} and {matched.models[other]} hold the same scores: one counts double, and the scores of "
                    "another model may be missing.",
                    name,
                    remedy=remedy,
                )
                break


def check_groups(matched: Matched) -> Iterator[Finding]:
    """Find groups whose samples were held out in different folds.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "groups".
    """
    if matched.groups is None:
        yield Finding("skipped", "groups", "No groups are given: photos of one person, product or song need one each.")
        return
    if matched.folds is None:
        yield Finding("skipped", "groups", "Which fold scored each row is not given.")
        return
    names, group = np.unique(matched.groups, return_inverse=True)
    blank = np.isin(names.astype(str), ["", "nan", "None"])
    pairs = np.unique(np.stack([group.reshape(-1), np.asarray(matched.folds).astype(np.int64)]), axis=1)
    split = (np.bincount(pairs[0], minlength=len(names)) > 1) & ~blank
    if split.any():
        yield Finding(
            "red",
            "groups",
            f"{int(split.sum()):,} of {len(names):,} groups lie in several folds, such as "
            f"{first_names([str(name) for name in names[split][:3]])}: members scored samples of groups that they were "
            "trained on.",
            remedy="Train the members again on folds that keep groups together (stacking.folds.deal_folds).",
        )
