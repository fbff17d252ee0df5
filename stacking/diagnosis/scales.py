"""Scores that are no probabilities, and scores that say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stacking._checks import first_names
from stacking._typing import BoolArray, FloatArray
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched
from stacking.diagnosis.mending import mend_table, quoted
from stacking.diagnosis.raw_inputs import RawMember

SIGMOID_RANGE = (0.5, 0.73106)
"""Where the sigmoid puts what was a probability already."""
FAR_OFF = 6.0
"""A mean score so many times the frequency and the other members' mean, or such a fraction, is on another scale. Of 76
honest members (photos, music, tables) the furthest lies 4.7 times above the frequency."""


def check_scale(members: list[RawMember]) -> Iterator[Finding]:
    """Find logits, percentages and other numbers that are no probabilities, and blanks among scores.

    Parameters
    ----------
    members : list of RawMember
        As they were read.

    Yields
    ------
    Finding
        Of the check "scale".
    """
    for member in members:
        finite = member.values[np.isfinite(member.values)]
        if not finite.size:
            yield Finding("red", "scale", f"{member.name} holds no score at all.", member.name, remedy="Leave it out.")
            continue
        lowest, highest = float(finite.min()), float(finite.max())
        described = _describe_range(finite, lowest, highest)
        if described is not None:
            what, remedy, expression, option = described
            yield Finding(
                "red",
                "scale",
                f"{member.name} holds {what}: its scores run from {lowest:.4g} to {highest:.4g}.",
                member.name,
                remedy=remedy,
                command=option.format(name=member.name) if option else mend_table(member.path, expression, member.name),
                evidence={"lowest": lowest, "highest": highest},
            )
        yield from _find_blanks(member)


def _describe_range(finite: FloatArray, lowest: float, highest: float) -> tuple[str, str, str, str] | None:
    """Say what numbers outside of [0, 1] are: (what, remedy, expression on the table t, option of the command line)."""
    if lowest >= 0 and highest <= 1:
        low, high = SIGMOID_RANGE
        if finite.size >= 100 and lowest >= low and highest <= high and highest > lowest:
            return (
                "probabilities that went through the sigmoid once more",
                "Leave out --from-logits for it, or undo the sigmoid.",
                "np.log(t / (1 - t)).clip(0, 1)",
                "",
            )
        return None
    if lowest >= 0 and 1.5 < highest <= 100:  # a choice: more than rounding
        return "percentages", "Divide them by 100.", "t / 100", ""
    if lowest >= 0:
        return "numbers on another scale", f"Divide them by {highest:.6g}.", f"t / {highest:.6g}", ""
    if highest <= 0:
        return "log-probabilities", "Take their exponential.", "np.exp(t)", ""
    if lowest >= -1 and highest <= 1:
        return "numbers between -1 and 1", "Bring them to 0 to 1.", "(t + 1) / 2", ""
    return "logits", "Say so: they then go through the sigmoid.", "1 / (1 + np.exp(-t))", "--logits-of {name}"


def _find_blanks(member: RawMember) -> Iterator[Finding]:
    """Find scores that are blank, or infinite, in some rows of a column only."""
    bad = ~np.isfinite(member.values)
    partly = np.asarray(bad.any(axis=0) & ~bad.all(axis=0))
    if not partly.any():
        return
    row, column = np.argwhere(bad & partly)[0]
    labels = tuple(label for label, is_bad in zip(member.labels, partly, strict=True) if is_bad)
    yield Finding(
        "red",
        "scale",
        f"{member.name} lacks {int(bad[:, partly].sum()):,} scores, the first of row {member.ids[row]!r} and label "
        f"{member.labels[column]!r}: a member answers a label for all samples or for none.",
        member.name,
        labels,
        remedy="Score these rows, or drop the columns.",
        command=mend_table(member.path, f"t.drop(columns={quoted(list(labels))})", member.name),
    )


def check_constant(matched: Matched) -> Iterator[Finding]:
    """Find members, and labels of members, whose scores are all alike.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "constant".
    """
    has_both: BoolArray = np.ones(len(matched.labels), np.bool_)
    if matched.y_true is not None:
        has_both = np.asarray(matched.y_true.any(axis=0) & (matched.known & ~matched.y_true).any(axis=0))
    for place, name in enumerate(matched.models):
        covered = np.isfinite(matched.scores[place]).any(axis=0)
        flat = covered & ~matched.standard[place].any(axis=0)
        if matched.n_samples < 2 or not flat.any():
            continue
        if flat[covered].all():
            message = f"{name} gives every sample the same scores: it can tell no sample from another."
            yield Finding("red", "constant", message, name, remedy="Leave it out, or look for what went wrong in it.")
        elif (flat & has_both).any():
            labels = tuple(label for label, is_flat in zip(matched.labels, flat & has_both, strict=True) if is_flat)
            yield Finding(
                "yellow",
                "constant",
                f"{name} gives every sample the same score for {len(labels)} of {int(covered.sum())} labels, such as "
                f"{first_names(labels)}.",
                name,
                labels,
                remedy="If it never learned them, leave these columns out: it then counts as a specialist for the "
                "others.",
                command=mend_table(matched.path_of(place), f"t.drop(columns={quoted(list(labels))})", name),
            )


def check_level(matched: Matched) -> Iterator[Finding]:
    """Find members whose scores lie far above or below how often labels are there.

    Parameters
    ----------
    matched : Matched
        Members side by side, scores in [0, 1].

    Yields
    ------
    Finding
        Of the check "scale".
    """
    if matched.y_true is None or not matched.y_true.any():
        return
    frequency = float(matched.y_true[matched.known].mean())
    inside = [
        bool((np.nan_to_num(matrix) >= 0).all() and (np.nan_to_num(matrix) <= 1).all()) for matrix in matched.scores
    ]
    own = [matrix[matched.known & np.isfinite(matrix)] for matrix in matched.scores]
    level = [float(m.mean()) / frequency if ok and m.size else 1.0 for m, ok in zip(own, inside, strict=True)]
    for place, name in enumerate(matched.models):
        rest = [value for other, value in enumerate(level) if other != place]
        usual = float(np.median(rest)) if rest else 1.0
        off = [max(level[place] / max(base, 1e-12), base / max(level[place], 1e-12)) for base in (1.0, usual)]
        if min(off) > FAR_OFF:
            yield Finding(
                "yellow",
                "scale",
                f"{name} has a mean score of {level[place] * frequency:.3g} where {frequency:.3g} of the cells are "
                "positive: its scores rank, but are no probabilities.",
                name,
                remedy="A meta-learner copes with that; for a plain mean, calibrate it first.",
                evidence={"mean_score": level[place] * frequency, "frequency": frequency},
            )


def check_softmax(matched: Matched) -> Iterator[Finding]:
    """Find scores that sum to 1 in every row although samples have several labels.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "scale".
    """
    if matched.y_true is None or len(matched.labels) < 3 or matched.n_samples < 10:
        return
    per_sample = matched.y_true[matched.known.all(axis=1)].sum(axis=1)
    if not len(per_sample) or (per_sample == 1).mean() > 0.95:  # a task of one label each, but for slips: a choice
        return
    for place, name in enumerate(matched.models):
        sums = np.nansum(matched.scores[place], axis=1)
        if np.abs(sums - 1).max() < 2e-3 and matched.standard[place].any():
            yield Finding(
                "red",
                "scale",
                f"{name} has scores that sum to 1 in every row, as after a softmax, but samples have "
                f"{per_sample.mean():.1f} labels: labels must not compete.",
                name,
                remedy="Use a sigmoid per label in the member's last layer; its logits are what to give.",
            )
