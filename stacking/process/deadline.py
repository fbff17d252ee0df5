"""A deadline that long loops look at, so that a time limit can end a fit in the middle.

Whoever sets the limit says ``with time_limited(seconds):``; loops below call `check_deadline` once a round. Without a
limit the check does nothing. The deadline belongs to the thread that set it: work that `joblib` has sent to other
processes is ended between two of its tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


class TimeLimitReached(Exception):
    """The deadline has passed; what was being fitted is incomplete and must be thrown away."""


@contextmanager
def time_limited(seconds: float | None) -> Iterator[None]:
    """Set a deadline for the block; an earlier one that is already set stays.

    Parameters
    ----------
    seconds : float or None
        Wall seconds from now; None sets none.

    Yields
    ------
    None
        Control; `check_deadline` inside the block raises `TimeLimitReached` once the time is over.

    Examples
    --------
    >>> with time_limited(0.0):
    ...     seconds_left() <= 0
    True
    """
    limit = float("inf") if seconds is None else time.monotonic() + seconds
    token = _deadline.set(min(limit, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left() -> float:
    """Return how long it is to the deadline.

    Returns
    -------
    float
        Wall seconds, negative once it has passed, infinite without one.
    """
    return _deadline.get() - time.monotonic()


def check_deadline() -> None:
    """End the work if the deadline has passed.

    Raises
    ------
    TimeLimitReached
        If it has.
    """
    if seconds_left() < 0:
        raise TimeLimitReached("the time limit was reached before the fit was complete.")
