"""How many rows auto works on under a time limit, and what it keeps back for the thresholds.

A pilot on few rows measures what the simplest answer costs on this machine, now: dealing folds, the plain mean, tuning
every decision rule. Costs of the candidates are proportional to known operation counts (their Notes say which); the
pilot tells how fast those run here. The race is held on as many rows as let the most expensive candidate that is worth
it, `label-context`, end in time; where not even a few rows do, `ridge-context` sets the size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from stacking.folds import deal_folds
from stacking.predictions import PredictionSet

PILOT_ROWS = 1_000
"""Rows of the pilot, and the fewest of a race. A choice; no measurement is on record."""

FEW_ROWS = 2_000
"""A stacker that sees fewer rows than these, or than five times the labels, is not worth shrinking the race for. A
choice; no measurement is on record."""

PLAIN_SHARE, LEARNER_SHARE = 0.25, 0.45
"""Shares of the limit that the simplest answer, and the learner that sets the size, may take; the rest is for the other
candidates. A choice; no measurement is on record."""

MOST_CELLS = 75_000_000
"""Rows times labels of a race: 50,000 rows of 1,500 labels. Held-out scores of every candidate are kept, some .3 GB
each for so many; a race of more labels takes fewer rows."""

PILOT_COST = 1.1e-6
"""Seconds per row and label that the pilot takes where the costs below were measured, in the same process."""

LEARNERS = {"label-context": (2.6e-8, 1.2e-8, 7e-8), "ridge-context": (5e-9, 1.4e-9, 1.2e-8)}
"""Seconds of a race, per row · label · models², per row · labels², per labels³, measured with the pilot on 6,000 and
10,000 rows of 228 labels by 6 models: 8.2 and 13.4 s, and 1.5 and 3.2 s. `label-context` asked twice then; its third
pass adds 5 to 23 % of CPU time (5,000 rows of 189 labels by 7 models), and a fifth is added to its first number."""


@dataclass(frozen=True)
class Budget:
    """What to race on.

    Attributes
    ----------
    predictions : PredictionSet
        All rows, or a random sample in memory.
    reserve : float
        Seconds that tuning the thresholds will take.
    """

    predictions: PredictionSet
    reserve: float


def plan_budget(
    predictions: PredictionSet, time_limit: float | None, *, max_rows: int = 50_000, random_state: int | None = 0
) -> Budget:
    """Choose the rows for a race.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    time_limit : float or None
        Seconds for everything; None takes up to `max_rows` rows.
    max_rows : int, default=50_000
        Most rows.
    random_state : int or None, default=0
        Draws the sample.

    Returns
    -------
    Budget
        Rows and reserve.
    """
    max_rows = rows_in_memory(predictions.n_labels, max_rows)
    if time_limit is None:
        kept = predictions.n_samples <= max_rows
        return Budget(predictions if kept else predictions.sample(max_rows, random_state=random_state).in_memory(), 0.0)
    plain, tuning = _run_pilot(predictions, random_state)
    n_rows = min(max_rows, rows_in_time(predictions, time_limit, plain))
    reserve = 1.3 * tuning * min(n_rows, predictions.n_samples)  # the pilot is short and measured once: 30 % to spare
    if n_rows >= predictions.n_samples:
        return Budget(predictions, reserve)
    return Budget(predictions.sample(n_rows, random_state=random_state).in_memory(), reserve)


def rows_in_memory(n_labels: int, max_rows: int) -> int:
    """Limit the rows of a race to `MOST_CELLS`.

    Parameters
    ----------
    n_labels : int
        Labels of the predictions.
    max_rows : int
        Most rows, whatever the labels.

    Returns
    -------
    int
        At least `PILOT_ROWS`, where `max_rows` lets it.
    """
    return min(max_rows, max(PILOT_ROWS, MOST_CELLS // n_labels))


def rows_in_time(predictions: PredictionSet, time_limit: float, plain: float) -> int:
    """Estimate how many rows a race can use.

    Parameters
    ----------
    predictions : PredictionSet
        Read for its shape only.
    time_limit : float
        Seconds for everything.
    plain : float
        Seconds per row that the simplest answer takes here.

    Returns
    -------
    int
        At least `PILOT_ROWS`.
    """
    n_models, n_labels = predictions.n_models, predictions.n_labels
    pace = plain / (n_labels * PILOT_COST)
    fitting = PLAIN_SHARE * time_limit / plain
    # A Newton step of a label's regression costs its number of features squared: the members' logits, up to four
    # features that a stacker adds, and the intercept.
    for per_cell, per_pair, per_cube in LEARNERS.values():
        per_row = pace * n_labels * (per_cell * (n_models + 5) ** 2 + per_pair * n_labels)
        # LEARNER_SHARE · time_limit = rows · per_row + pace · per_cube · n_labels³, solved for the rows.
        rows = (LEARNER_SHARE * time_limit - pace * per_cube * n_labels**3) / per_row
        if rows >= max(FEW_ROWS, 5 * n_labels):
            return int(max(PILOT_ROWS, min(fitting, rows)))
    return int(max(PILOT_ROWS, fitting))


def _run_pilot(predictions: PredictionSet, random_state: int | None) -> tuple[float, float]:
    """Return the seconds per row of the simplest answer, and those of tuning alone."""
    from stacking.decision_rules.choice import choose_thresholds

    n_rows = min(PILOT_ROWS, predictions.n_samples)
    # A first run on a few rows pays for imports and compilation, which the race does not pay again.
    warm_up = predictions.sample(min(50, n_rows), random_state=random_state).in_memory()
    choose_thresholds(np.nan_to_num(warm_up.to_array()).mean(axis=0), warm_up, deal_folds(warm_up.truth, 2))
    started = time.monotonic()
    few = predictions.sample(n_rows, random_state=random_state).in_memory()
    folds = deal_folds(few.truth, random_state=random_state)
    mean = np.nan_to_num(few.to_array()).mean(axis=0)
    tuning = time.monotonic()
    choose_thresholds(mean, few, folds)
    ended = time.monotonic()
    return (ended - started) / n_rows, (ended - tuning) / n_rows
