"""The cheap part of the checks, which `labelstack fit` and `labelstack compare` run before they begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import match_set
from stacking.diagnosis.row_order import check_inverted, check_rows
from stacking.diagnosis.scales import check_constant
from stacking.diagnosis.seen_rows import check_seen_rows
from stacking.predictions.prediction_set import PredictionSet

QUICK_ROWS, QUICK_LABELS = 1_000, 30
"""Rows and labels of the quick look: enough for the faults that ruin a blend. Choices."""
QUICK_SCORES, LEAST_ROWS = 200_000, 300
"""Scores that are looked at, of which many members leave fewer rows, and the fewest rows even then: at .15 µs of CPU a
score, a look takes some 30 ms. Shuffled and inverted members are found in 300 rows as in 1,000, and so are those that
have seen their rows (`tests/stacking/diagnosis`). Choices."""


def quick_findings(predictions: PredictionSet) -> list[Finding]:
    """Look for the faults that ruin a blend in some rows of the most frequent labels.

    Parameters
    ----------
    predictions : PredictionSet
        With or without the truth.

    Returns
    -------
    list of Finding
        Red ones only: shuffled or inverted members, constant ones, members that have seen their rows.
    """
    few = predictions
    affordable = QUICK_SCORES // (predictions.n_models * min(predictions.n_labels, QUICK_LABELS))
    n_rows = min(max(affordable, LEAST_ROWS), QUICK_ROWS)
    if predictions.n_samples > n_rows:  # a stretch from the middle: the order of the rows is looked at too
        start = (predictions.n_samples - n_rows) // 2
        few = few.subset(samples=slice(start, start + n_rows))
    if predictions.n_labels > QUICK_LABELS and few.y_true is not None:
        frequent = np.argsort(-few.truth.y_true.sum(axis=0), kind="stable")[:QUICK_LABELS]
        few = few.subset(labels=np.sort(frequent))
    elif predictions.n_labels > QUICK_LABELS:
        few = few.subset(labels=slice(0, QUICK_LABELS))
    matched = replace(match_set(few), folds=None)
    found = [*check_constant(matched), *check_rows(matched), *check_inverted(matched), *check_seen_rows(matched)]
    return [finding for finding in found if finding.severity == "red"]
