"""Labels that nothing can be learned about."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stacking._checks import first_names
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched

FEW = 5
"""Positives below which a label has none in some fold of five."""


def check_rare_labels(matched: Matched) -> Iterator[Finding]:
    """Find labels without positives, without negatives, or with too few to be in every fold.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "rare-labels".
    """
    if matched.y_true is None:
        yield Finding("skipped", "rare-labels", "Without the truth, positives cannot be counted.")
        return
    n_positive = matched.y_true.sum(axis=0)
    n_labels, everywhere = len(matched.labels), (n_positive > 0) & (n_positive == matched.known.sum(axis=0))
    if not n_positive.any():
        yield Finding("red", "rare-labels", "The truth has no positive at all.", remedy="Look at how it was made.")
        return
    kinds = (
        (n_positive == 0, "have no positive", "Nothing can be learned about them; they will never be predicted."),
        ((n_positive > 0) & (n_positive < FEW), f"have fewer than {FEW} positives",
         "Their thresholds are guesses: with the rule shrunk they lean on the other labels'."),
        (everywhere, "are there in every sample", "Leave them out: every score would be right."),
    )  # fmt: skip
    for mask, what, remedy in kinds:
        if mask.any():
            labels = tuple(np.array(matched.labels)[mask].tolist())
            yield Finding(
                "yellow",
                "rare-labels",
                f"{len(labels)} of {n_labels} labels {what}, such as {first_names(labels)}.",
                labels=labels,
                remedy=remedy,
            )
