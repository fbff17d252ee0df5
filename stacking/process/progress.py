"""How far a long computation is, told from inside it to whoever asked, without handing a callback down every call.

The one who wants to know says ``with report_progress(callback):``; what is called below cuts its work into steps of
known cost with `steps`, and these may be cut again. The callback hears the share of the whole that is done. Without a
listener nothing is computed. The listener belongs to the thread that set it, as a deadline does
(`stacking.process.deadline`): work that `joblib` has sent to other processes is heard of when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

ProgressCallback = Callable[[float, float, str], None]
"""Called with the share done, 1.0, and what is being done."""


@dataclass(frozen=True)
class _Span:
    """A stretch of the whole, and who listens."""

    tell: ProgressCallback
    start: float
    stop: float
    name: str


_span: ContextVar[_Span | None] = ContextVar("progress", default=None)


@contextmanager
def report_progress(callback: ProgressCallback | None) -> Iterator[None]:
    """Have a callback told how far the work in the block is.

    Parameters
    ----------
    callback : callable or None
        Called as ``callback(share_done, 1.0, name)``; None reports nothing.

    Yields
    ------
    None
        Control.

    Examples
    --------
    >>> told = []
    >>> with report_progress(lambda done, total, name: told.append((round(done, 2), name))):
    ...     with steps({"mean": 1.0, "greedy": 3.0}) as begin:
    ...         begin("mean")
    ...         begin("greedy")
    >>> told
    [(0.0, 'mean'), (0.25, 'greedy'), (1.0, '')]
    """
    token = _span.set(None if callback is None else _Span(callback, 0.0, 1.0, ""))
    try:
        yield
    finally:
        _span.reset(token)


@contextmanager
def steps(costs: Mapping[str, float]) -> Iterator[Callable[[str], None]]:
    """Cut the work of a block into steps.

    Parameters
    ----------
    costs : mapping of str to float
        Steps in their order with what each usually costs, in any unit.

    Yields
    ------
    callable
        ``begin(name)`` says that a step begins; those before it are over, or left out. What is cut again until the next
        begins is a part of it.
    """
    outer = _span.get()
    if outer is None or not costs:
        yield _ignore
        return
    total = sum(costs.values()) or 1.0
    reach = (outer.stop - outer.start) / total
    begins: dict[str, tuple[float, float]] = {}
    at = outer.start
    for name, cost in costs.items():
        stop = min(at + cost * reach, outer.stop)  # no rounding beyond what is the outer step's
        begins[name] = (at, stop)
        at = stop

    def begin(name: str) -> None:
        start, stop = begins[name]
        title = f"{outer.name}: {name}" if outer.name else name
        _span.set(_Span(outer.tell, start, stop, title))
        outer.tell(start, 1.0, title)

    try:
        yield begin
        outer.tell(outer.stop, 1.0, outer.name)
    finally:
        _span.set(outer)


def advance(done: float, total: float) -> None:
    """Say how much of the current step is done, where its parts are alike.

    Parameters
    ----------
    done, total : float
        Parts done, and parts in all.
    """
    span = _span.get()
    if span is not None and total > 0:
        span.tell(min(span.start + (span.stop - span.start) * done / total, span.stop), 1.0, span.name)


def _ignore(name: str) -> None:
    """Tell nobody."""
