"""Close, release and write what must be, at the end of a block, without hiding the error that ended it.

What fails in a ``finally`` takes the place of the error that was on its way: a full disk then reads like a fault of
the code, and who waits for a ``KeyboardInterrupt`` or a time limit never sees one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def ending_with(*steps: Callable[[], object]) -> Iterator[None]:
    """Run steps after a block, each whatever became of the block and of the others.

    Parameters
    ----------
    *steps : callable
        Called without arguments, in this order.

    Yields
    ------
    None
        The block runs.

    Raises
    ------
    BaseException
        The block's error, else that of the first step that failed.

    Examples
    --------
    >>> def fail():
    ...     raise OSError("disk full")
    >>> with ending_with(fail):
    ...     raise ValueError("what went wrong")
    Traceback (most recent call last):
    ValueError: what went wrong
    and afterwards OSError: disk full
    """
    try:
        yield
    except BaseException as error:
        run_all(*steps, after=error)
        raise
    run_all(*steps)


def run_all(*steps: Callable[[], object], after: BaseException | None = None) -> None:
    """Run all steps, also those after one that fails.

    Parameters
    ----------
    *steps : callable
        Called without arguments, in this order.
    after : BaseException, optional
        The error that led here; what fails now becomes a note of it.

    Raises
    ------
    BaseException
        Without an earlier error, that of the first step that failed.
    """
    first = after
    for step in steps:
        try:
            step()
        except BaseException as error:
            if first is None:
                first = error
                continue
            first.add_note(f"and afterwards {type(error).__name__}: {error}")
            logger.warning("after %s: %s: %s", type(first).__name__, type(error).__name__, error)
    if first is not None and after is None:
        raise first
