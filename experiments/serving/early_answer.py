"""An answer to a request whose body is not read: the rest is taken and thrown away for a moment before closing.

A system that closes a connection with unread bytes resets it, and a reset can overtake the answer: the client would
read "connection reset" instead of the sentence that says what was wrong (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.responses import Response

LINGER_SECONDS = 1.0
"""A choice: long enough for the answer to reach a client that is still sending."""


class EarlyAnswer(Response):
    """A response that lingers."""

    @classmethod
    def of(cls, answer: Response) -> EarlyAnswer:
        """Let an answer linger.

        Parameters
        ----------
        answer : Response
            What is answered.

        Returns
        -------
        EarlyAnswer
            The same, with ``Connection: close``.
        """
        early = cls(bytes(answer.body), answer.status_code)
        early.raw_headers = answer.raw_headers
        early.headers["Connection"] = "close"
        return early

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, then take what still comes.

        Parameters
        ----------
        scope, receive, send : object
            Of ASGI.
        """
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
