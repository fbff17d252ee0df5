"""Checkpoints written in a thread while the next epoch trains.

What an epoch leaves is copied where it lies, on a device in no time; a thread fetches the copies, writes and syncs the
files and computes their hashes, most of it without Python's lock. One checkpoint is under way at a time. Whoever leaves
the block, also by an error, waits for it, so that only a kill can lose it: the epoch is then trained again, to the same
bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from stacking.files.ending import run_all


class CheckpointWriter:
    """Do what takes long about a checkpoint behind the training's back.

    Attributes
    ----------
    seconds : list of float
        What each checkpoint took: copying, and writing.
    waited : list of float
        What of it the training has waited for; for the last one there is nothing left to do meanwhile.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.waited: list[float] = []
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None

    def __enter__(self) -> CheckpointWriter:
        """Begin; nothing is written yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way; an error that ends the block stays the one that is told."""
        run_all(self.wait, self._thread.shutdown, after=error)

    def submit(self, copy: Callable[[], Callable[[], None]]) -> None:
        """Write behind the training's back, once what was given before is written.

        Parameters
        ----------
        copy : callable
            Copies what will change, and returns what writes the copies.

        Raises
        ------
        BaseException
            What stopped the writing before.
        """
        self.wait()
        started = time.monotonic()
        write = copy()
        copied = time.monotonic() - started
        self.seconds.append(copied)
        self.waited.append(copied)
        self._written = self._thread.submit(self._timed, write)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises
        ------
        BaseException
            What stopped the writing.
        """
        if self._written is None:
            return
        started, written, self._written = time.monotonic(), self._written, None
        try:
            written.result()
        finally:
            self.waited[-1] += time.monotonic() - started

    def _timed(self, write: Callable[[], None]) -> None:
        """Write, and count the seconds."""
        started = time.monotonic()
        try:
            write()
        finally:
            self.seconds[-1] += time.monotonic() - started
