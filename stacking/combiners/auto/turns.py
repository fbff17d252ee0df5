"""Whose turn it is in a race under a time limit, and how long it may take.

The cheap have their turn first, so that nothing dear takes what they need. A candidate starts only where what is left
is enough for it, and for those of like cost that usually gain more; it is cut off where the time begins that the others
are expected to need. All of it goes by an estimate: costs tell how long candidates take beside each other, those that
have run tell how long that is here, now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_COST = 1.0
"""Candidates of less cost take so little time that theirs says nothing about that of others."""

DEAR = 5.0
"""Candidates of less cost have their turn in the order of the race, before those of more, the cheaper first."""

ALIKE = 2.0
"""How far expectations are trusted. A candidate gives way to one that usually gains more, if that one costs at most so
many times as much and would leave it less than this part of what it is expected to take; where the time is not enough
for all, it gets at most so many times that. A choice."""

REGRESSIONS = frozenset({"logistic", "ridge-context", "label-context"})
"""Candidates that are regressions of every label: what one took tells of the others, more than what a search for
weights took. On four parts of photos of fashion (300 to 5,000 rows, 20 to 189 labels, 3 and 7 members) `label-context`
took .5 to 1.0 of what the slower of the first two lets expect; `convex` lets expect up to 19 times what it took."""

LIKE_REGRESSIONS = REGRESSIONS | {"lightgbm"}
"""Candidates of which regressions tell: trees for every label too, though theirs tell nothing about regressions."""


@dataclass(frozen=True)
class Turn:
    """A candidate that may start.

    Attributes
    ----------
    name : str
        Method.
    seconds : float
        What it may take before it is cut off.
    """

    name: str
    seconds: float


def expect_seconds(costs: Mapping[str, float], taken: Mapping[str, float]) -> dict[str, float]:
    """Expect how long candidates take, from those that have run.

    Parameters
    ----------
    costs : mapping of str to float
        Usual time of every candidate relative to the others'.
    taken : mapping of str to float
        Seconds of those that have run.

    Returns
    -------
    dict of str to float
        Seconds, rather too many: the slowest pace so far counts. 0 where nothing has run that tells.
    """
    paces = {name: seconds / costs[name] for name, seconds in taken.items() if costs[name] >= LEAST_COST}
    slowest = max(paces.values(), default=0.0)
    regressions = max((pace for name, pace in paces.items() if name in REGRESSIONS), default=slowest)
    return {name: cost * (regressions if name in LIKE_REGRESSIONS else slowest) for name, cost in costs.items()}


def next_turn(
    waiting: Sequence[str],
    left: float,
    expected: Mapping[str, float],
    costs: Mapping[str, float],
    last: frozenset[str] = frozenset(),
) -> Turn | None:
    """Choose who starts.

    Parameters
    ----------
    waiting : sequence of str
        Candidates that have not run, those first that usually gain most for their time.
    left : float
        Seconds to the time limit.
    expected : mapping of str to float
        Seconds that each is expected to take.
    costs : mapping of str to float
        Usual time of each relative to the others'.
    last : frozenset of str, default empty
        Those that wait for all others, which they are measured against.

    Returns
    -------
    Turn or None
        None where the time is enough for nobody.
    """
    fitting = [name for name in waiting if left > 0 and expected[name] <= left]
    for name in sorted(fitting, key=lambda name: (name in last, max(costs[name], DEAR))):
        own, others = expected[name], sum(expected[one] for one in fitting if one != name)
        ahead = fitting[: fitting.index(name)]
        better = sum(expected[one] for one in ahead if costs[one] <= ALIKE * costs[name])
        if own + others <= left:
            return Turn(name, left - others)
        if own / ALIKE + better <= left:
            return Turn(name, min(left - better, ALIKE * own) if others > better else left - better)
    return None
