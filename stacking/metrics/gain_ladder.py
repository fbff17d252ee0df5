"""The ladder that attributes the gain over the best member to its causes.

Each step is the difference between two states that differ in one thing:

1. *label shift*: the best member alone, its scores recalibrated per label on held-out truth;
2. *mixing*: the same recalibrating learner given all members;
3. *label correlation*: the same learner given also what the other labels say;
4. *thresholds*: one threshold per label instead of one for all;
5. *choice*: from there to the method that scores best, or to the automatic choice, with its chosen rule.

All are differences of micro-F1, or of the metric asked for, on the same held-out samples, so they add up. A step whose
state was not measured says so; its gain then lies in the next step that was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._earlier_names import Renamed
from stacking.metrics.bootstrap import percentile_interval

CONTEXT_LEARNERS = {
    "label-context": "label-context: the same learner given also what all labels explain, from logits and from truths",
    "ridge-context": "ridge-context: the same learner given also a ridge regression over all labels",
}
"""What the step of label correlation may stand on, the better learner first."""

LEARNER_STEPS = {
    "label shift": "the best member alone, its scores recalibrated per label by logistic regression",
    "mixing": "the same learner given every member",
    "label correlation": "the same learner given also what the other labels say",
    "thresholds": "exact per-label thresholds instead of one",
}
"""The causes in their order, but for the last, and what is compared."""

OBSTACLES = {
    "label shift": "the method logistic did not run",
    "mixing": "the method logistic did not run",
    "label correlation": "neither label-context nor ridge-context ran",
    "thresholds": "no learner of the ladder ran",
}
"""Why a step was not measured, unless the caller knows better."""

NO_THRESHOLDS = "the metric looks at scores only"
"""Why thresholds bring nothing where no decisions count."""


@dataclass(frozen=True)
class State:
    """What was reached by adding a cause.

    Attributes
    ----------
    score : float
        Held-out micro-F1, or another metric.
    draws : ndarray of float64, shape (n_bootstrap,), or None
        The same in every bootstrap sample.
    """

    score: float
    draws: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class GainStep:
    """One cause and its share of the gain.

    Attributes
    ----------
    cause : str
        What changes.
    gain, low, high : float or None
        Difference of the metric with its 95 % limits; None where it could not be measured, or nothing was resampled.
    explanation : str
        From what to what, or why it could not be measured.
    """

    cause: str
    gain: float | None
    low: float | None
    high: float | None
    explanation: str


@dataclass(frozen=True)
class Ladder:
    """The steps from the best member to the final method.

    Attributes
    ----------
    start_name, final_name : str
        The best member and the final method.
    start, final : float
        Their scores: the member with one threshold, the final method with its chosen rule.
    steps : tuple of GainStep
        In order; the gains of the measured ones add up to ``final - start``.
    """

    start_name: str
    start: float
    final_name: str
    final: float
    steps: tuple[GainStep, ...]
    rungs = Renamed("steps")


def attribute_gain(
    names: tuple[str, str],
    ends: tuple[State, State],
    states: Mapping[str, State],
    *,
    context: str = "",
    obstacles: Mapping[str, str] | None = None,
) -> Ladder:
    """Take differences between consecutive measured states.

    Parameters
    ----------
    names : (str, str)
        The best member and the final method.
    ends : (State, State)
        The member with one threshold, and the final method with its chosen rule.
    states : mapping of str to State
        What was reached by each cause that could be measured: "label shift", "mixing", "label correlation",
        "thresholds".
    context : str, default=""
        The learner that label correlation stands on, one of `CONTEXT_LEARNERS`.
    obstacles : mapping of str to str, optional
        Why a cause could not be measured, where that is known better than by `OBSTACLES`.

    Returns
    -------
    Ladder
        The steps.

    Examples
    --------
    >>> ladder = attribute_gain(("a", "all"), (State(0.5), State(0.75)), {"mixing": State(0.625)})
    >>> [step.gain for step in ladder.steps]
    [None, 0.125, None, None, 0.125]
    """
    reasons = OBSTACLES | dict(obstacles or {})
    texts = LEARNER_STEPS | ({"label correlation": CONTEXT_LEARNERS[context]} if context else {})
    has_learner = any(cause in states for cause in LEARNER_STEPS)
    last = "choice" if has_learner else "not attributed"
    texts[last] = f"from {'there' if has_learner else 'the best member'} to {names[1]} with its chosen rule"
    reached = {**states, last: ends[1]}
    current, steps = ends[0], []
    for cause, text in texts.items():
        if cause not in reached:
            steps.append(GainStep(cause, None, None, None, reasons[cause]))
            continue
        state, low, high = reached[cause], None, None
        if state.draws is not None and current.draws is not None:
            low, high = percentile_interval(state.draws - current.draws)
        steps.append(GainStep(cause, state.score - current.score, low, high, text))
        current = state
    return Ladder(names[0], ends[0].score, names[1], ends[1].score, tuple(steps))
