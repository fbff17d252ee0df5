"""The ladder that attributes the gain over the best member to its causes.

Each rung is the difference between two methods that differ in one thing:

1. *label shift*: the best member alone, its scores recalibrated per label on held-out truth;
2. *mixing*: the same recalibrating learner given all members;
3. *label correlation*: the same learner given also what the other labels say;
4. *thresholds*: one threshold per label instead of one for all;
5. *choice*: from there to the method that scores best, or to the automatic choice.

All rungs are differences on the same held-out samples, so they add up. A rung whose methods did not run says so; its
gain then lies in the next rung that could be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking.metrics.bootstrap import percentile_interval

__all__ = ["Ladder", "Rung", "build_ladder"]

Replicates = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rung:
    """One cause and its share of the gain.

    Attributes
    ----------
    cause : str
        What changes.
    gain, low, high : float or None
        Difference of micro-F1 with its 95 % limits; None if it could not be measured.
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
    """The rungs from the best member to the final method.

    Attributes
    ----------
    start_name, final_name : str
        The best member and the final method.
    start, final : float
        Their micro-F1: the member with one threshold, the final method with its chosen rule.
    rungs : tuple of Rung
        In order; the gains of the measured ones add up to ``final - start``.
    """

    start_name: str
    start: float
    final_name: str
    final: float
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class Step:
    """A cause and the state that is reached by adding it.

    Attributes
    ----------
    cause : str
        What changes.
    explanation : str
        From what to what.
    state : str or None
        Key of the state reached; None if no method reached it.
    obstacle : str, default=""
        Why there is no state.
    """

    cause: str
    explanation: str
    state: str | None
    obstacle: str = ""


def build_ladder(
    names: tuple[str, str],
    start: str,
    steps: Sequence[Step],
    scores: Mapping[str, float],
    replicates: Mapping[str, Replicates],
) -> Ladder:
    """Take differences between consecutive measured states.

    Parameters
    ----------
    names : (str, str)
        Names of the best member and of the final method.
    start : str
        Key of the first state.
    steps : sequence of Step
        The last one must have been measured.
    scores : mapping of str to float
        Micro-F1 of every state.
    replicates : mapping of str to ndarray of shape (n_bootstrap,)
        The same for every bootstrap sample.

    Returns
    -------
    Ladder
        The rungs.
    """
    rungs = []
    current = start
    for step in steps:
        if step.state is None:
            rungs.append(Rung(step.cause, None, None, None, step.obstacle))
            continue
        low, high = percentile_interval(replicates[step.state] - replicates[current])
        gain = scores[step.state] - scores[current]
        rungs.append(Rung(step.cause, gain, low, high, step.explanation))
        current = step.state
    return Ladder(names[0], scores[start], names[1], scores[current], tuple(rungs))
