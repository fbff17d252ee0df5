"""Politeness towards hosts: few connections to each, a rest when one asks for it, and no insisting on one that is dead.

A contest's million photos often lie on one host. Too many requests earn a 429 for every photo; so a host that says
"too many" or "later" is left alone as a whole, not photo by photo. A host that does not answer is given up for this
run, as long as others do; where none does, the fault is likely our own and the run had better stop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

UNANSWERED_BY_HOST = 20
UNANSWERED_BY_ALL = 50


class HostGivenUpError(Exception):
    """A host that this run asks no more; the text says why."""


class Hosts:
    """Hand out connections, at most so many at once in all and per host.

    Parameters
    ----------
    connections : int
        Connections at once in all.
    per_host : int
        Connections at once to one host.
    longest_wait : float
        Seconds; a host that asks for a longer rest is given up.
    """

    def __init__(self, connections: int, per_host: int, longest_wait: float) -> None:
        self._all = asyncio.Semaphore(connections)
        self._per_host = per_host
        self._longest_wait = longest_wait
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._rest_until: dict[str, float] = {}
        self._given_up: dict[str, str] = {}
        self._unanswered: Counter[str] = Counter()
        self._unanswered_in_a_row = 0
        self._n_answers = 0
        self._answers_before: dict[str, int] = {}

    @property
    def nothing_answers(self) -> bool:
        """Tell whether the last many requests, to whatever hosts, had no answer."""
        return self._unanswered_in_a_row >= UNANSWERED_BY_ALL

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Wait for a free connection to a host that is not resting.

        Parameters
        ----------
        host : str
            The host's name.

        Yields
        ------
        None
            While the connection may be used.

        Raises
        ------
        HostGivenUpError
            If the host is asked no more.
        """
        async with self._slots.setdefault(host, asyncio.Semaphore(self._per_host)):
            while True:
                if host in self._given_up:
                    raise HostGivenUpError(self._given_up[host])
                if (rest := self._rest_until.get(host, 0.0) - time.monotonic()) <= 0:
                    break
                await asyncio.sleep(rest)
            async with self._all:
                yield

    def rest(self, host: str, seconds: float) -> None:
        """Leave a host alone for a while.

        Parameters
        ----------
        host : str
            The host's name.
        seconds : float
            For how long; a longer rest already begun stays.
        """
        if seconds > self._longest_wait:
            self._given_up[host] = f"the host asks to wait longer than {self._longest_wait:g} s"
        until = time.monotonic() + seconds
        self._rest_until[host] = max(until, self._rest_until.get(host, 0.0))

    def answered(self, host: str) -> None:
        """Note that a host has answered, whatever it said.

        Parameters
        ----------
        host : str
            The host's name.
        """
        self._n_answers += 1
        self._unanswered_in_a_row = 0
        self._unanswered.pop(host, None)

    def unanswered(self, host: str) -> None:
        """Note that a request had no answer; give the host up if that is usual while others do answer.

        Parameters
        ----------
        host : str
            The host's name.
        """
        self._unanswered_in_a_row += 1
        self._unanswered[host] += 1
        if self._unanswered[host] == 1:
            self._answers_before[host] = self._n_answers
        if self._unanswered[host] >= UNANSWERED_BY_HOST and self._n_answers > self._answers_before[host]:
            self._given_up[host] = f"the host has not answered {UNANSWERED_BY_HOST} requests"
