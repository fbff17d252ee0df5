"""Decoding processes end without a word when the training they serve has ended."""

from __future__ import annotations

import sys
from types import TracebackType


def end_quietly(worker: int) -> None:
    """Let a decoding process say nothing where whoever asked for a tensor is gone, as after Ctrl-C.

    A thread of `multiprocessing.resource_sharer` hands tensors over; what fails there is printed by `sys.excepthook`,
    while errors of the decoding itself travel to the training and are raised there.

    Parameters
    ----------
    worker : int
        Its number, as ``DataLoader`` calls its ``worker_init_fn``.
    """
    before = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, ConnectionError | EOFError):
            before(kind, error, trace)

    sys.excepthook = say
