"""Politeness towards hosts: few connections to each, and a rest when one asks for it.

A contest's million photos often lie on one host. Too many requests earn a 429 for every photo; so a host that says
"too many" or "later" is left alone as a whole, not photo by photo.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Hosts"]


class Hosts:
    """Hand out connections, at most so many at once in all and per host.

    Parameters
    ----------
    connections : int
        Connections at once in all.
    per_host : int
        Connections at once to one host.
    """

    def __init__(self, connections: int, per_host: int) -> None:
        self._all = asyncio.Semaphore(connections)
        self._per_host = per_host
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._rest_until: dict[str, float] = {}

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
        """
        async with self._slots.setdefault(host, asyncio.Semaphore(self._per_host)):
            while (rest := self._rest_until.get(host, 0.0) - time.monotonic()) > 0:
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
        until = time.monotonic() + seconds
        self._rest_until[host] = max(until, self._rest_until.get(host, 0.0))
