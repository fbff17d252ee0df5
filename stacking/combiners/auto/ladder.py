"""What each cause brought, from the candidates that auto raced anyway; the same rungs as `stacking.comparison.ladder`.

From the best member alone: *label shift* recalibrates it per label, *mixing* gives the same learner all members, *label
correlation* adds what the other labels say, *choice* is what auto answers with, *thresholds* is the decision rule. All
are differences of cross-fitted micro-F1 on the same rows, so they add up; what did not run is said not to be measured
and its gain lies in the next rung that was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking.predictions import PredictionSet

if TYPE_CHECKING:
    from stacking.combiners.meta_learners import LabelwiseLogistic

__all__ = ["climb", "describe_rungs", "recalibrated_member"]

CONTEXT = ("label-context", "ridge-context")
NOT_MEASURED = "not measured: its learner did not run; its gain lies in the next step that was measured"


def climb(scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """Take the differences between the states that were measured.

    Parameters
    ----------
    scores : mapping of str to float
        Cross-fitted micro-F1 of the candidates by name, of ``recalibrated`` (the best member alone, recalibrated) and
        of ``auto``.

    Returns
    -------
    list of dict
        ``cause``, ``gain`` (None if not measured) and ``explanation``; the first holds the ``start``. Empty where the
        best member did not run.

    Examples
    --------
    >>> [rung["gain"] for rung in climb({"best-single": 0.5, "logistic": 0.75, "auto": 0.75})]
    [None, 0.25, None, 0.0]
    """
    if "best-single" not in scores:
        return []
    context = next((name for name in CONTEXT if name in scores), "")
    steps = (
        ("label shift", "recalibrated", "the best member alone, recalibrated per label"),
        ("mixing", "logistic", "the same learner, given every member"),
        ("label correlation", context, f"{context}: also what the other labels say"),
        ("choice", "auto", "what auto averages"),
    )
    rungs, reached = [], scores["best-single"]
    for cause, name, explanation in steps:
        if name in scores:
            rungs.append({"cause": cause, "gain": scores[name] - reached, "explanation": explanation})
            reached = scores[name]
        else:
            rungs.append({"cause": cause, "gain": None, "explanation": NOT_MEASURED})
    return rungs


def describe_rungs(rungs: list[dict[str, Any]]) -> list[str]:
    """Write the rungs as lines.

    Parameters
    ----------
    rungs : list of dict
        As from `climb`.

    Returns
    -------
    list of str
        One line each, after a heading.
    """
    lines = ["what each step brought, in cross-fitted micro-F1, from the best member with one threshold:"]
    for rung in rungs:
        gain = "      —" if rung["gain"] is None else f"{rung['gain']:+.4f}"
        lines.append(f"  {rung['cause']:<17} {gain}  {rung['explanation']}")
    return lines if rungs else []


def recalibrated_member(predictions: PredictionSet, weights: Any) -> tuple[LabelwiseLogistic, PredictionSet] | None:
    """Prepare the learner of the first rung.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    weights : array of shape (n_models, n_labels)
        Of a vote that took the best member alone.

    Returns
    -------
    (LabelwiseLogistic, PredictionSet) or None
        The learner and the member it is to be cross-fitted on; None if that one does not answer every label.
    """
    from stacking.combiners.meta_learners import LabelwiseLogistic

    member = int(np.argmax(np.asarray(weights).sum(axis=1)))
    if not predictions.covers[member].all():
        return None
    return LabelwiseLogistic(penalty=10.0), predictions.subset(models=[member])
