"""Connections of clients that send or read too slowly are closed, which uvicorn alone does between requests only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LOOK_SECONDS = 10.0
"""A connection on which nothing moved between two looks is closed: a choice, longer than any honest head of a request
takes."""
MOST_CONNECTIONS = 900
"""Below the 1,024 open files that systems give a process; further connections are closed at once."""


class PatientConnection(H11Protocol):
    """One client's connection, looked at now and then."""

    _next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look, or close one connection too many.

        Parameters
        ----------
        transport : asyncio.Transport
            The connection.
        """
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._look(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more.

        Parameters
        ----------
        exc : Exception or None
            Why, as asyncio tells it.
        """
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def _look(self, before: object) -> None:
        """Close the connection if no request is being answered on it and nothing was sent since the last look."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        now = None if is_answering else (self.cycle, self.transport.get_write_buffer_size())
        if now is not None and now == before:
            self.transport.abort()
        else:
            self._next_look = self.loop.call_later(LOOK_SECONDS, self._look, now)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP.

        Parameters
        ----------
        msg : str
            What uvicorn says of it.
        """
        content = json.dumps({"error": f"{msg.rstrip('.')}: it must be HTTP/1.1."}).encode()
        headers = [("content-type", "application/json"), ("connection", "close")]
        headers.append(("content-length", str(len(content))))
        try:
            head = self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request"))
            self.transport.write(head + self.conn.send(h11.Data(data=content)) + self.conn.send(h11.EndOfMessage()))
            self.transport.close()
        except h11.LocalProtocolError:  # an answer was begun before
            self.transport.abort()
