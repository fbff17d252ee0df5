"""Samples that are test rows and fitted on at once: what is scored on them tells nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stacking._checks import first_names
from stacking.diagnosis.copies import LEAST_DISTINCT, count_distinct, number_alike
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched

MANY = 0.05
"""Share of the test rows from which copies are a fault; below it they may be the few photos that any collection holds
twice. A choice."""


def check_shared_rows(matched: Matched, test: Matched | None) -> Iterator[Finding]:
    """Find test rows that are rows of the fit, by their ids, or by scores that are the very same.

    Parameters
    ----------
    matched : Matched
        Members side by side.
    test : Matched, optional
        The same members on test samples.

    Yields
    ------
    Finding
        Of the check "copies".
    """
    if test is None:
        return
    remedy = "Leave them out on one side: an ensemble is right about rows that it was fitted on."
    known = set(matched.ids) if matched.named and test.named else set()
    names = [name for name in test.ids if name in known]
    if names:
        yield Finding(
            "red",
            "copies",
            f"{len(names):,} of {test.n_samples:,} test rows are among those to fit on, such as {first_names(names)}.",
            remedy=remedy,
            evidence={"n_samples": float(len(names))},
        )
        return
    alike = _scored_alike(matched, test)
    if len(alike):
        yield Finding(
            "red" if len(alike) > MANY * test.n_samples else "yellow",
            "copies",
            f"{len(alike):,} of {test.n_samples:,} test rows have the very scores of rows to fit on, such as "
            f"{first_names([test.ids[row] for row in alike])}: the same photo is on both sides.",
            remedy=remedy,
            evidence={"n_samples": float(len(alike))},
        )


def _scored_alike(matched: Matched, test: Matched) -> list[int]:
    """Return the test rows to which all members give the scores of one row of the fit."""
    labels = [label for label in matched.labels if label in test.labels]
    pairs = []
    for name in matched.models:
        if name in test.models and labels:
            sides = [
                side.scores[side.models.index(name)][:, [side.labels.index(label) for label in labels]]
                for side in (matched, test)
            ]
            if min(map(count_distinct, sides)) >= LEAST_DISTINCT:
                pairs.append(np.concatenate(sides))
    if not pairs or len(labels) * len(pairs) < 2:
        return []
    number = number_alike(pairs)
    found: list[int] = np.flatnonzero(np.isin(number[matched.n_samples :], number[: matched.n_samples])).tolist()
    return found
