"""What a server takes at most, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass

MOST_NAME = 255
"""Characters of an id or a file's name, as file systems have it; arrays of names are as wide as the longest."""


@dataclass(frozen=True)
class ServingLimits:
    """Limits of one request and of all that are waiting; they bound memory and time.

    Parameters
    ----------
    body_bytes : int, default=2**24
        Size of a request's body.
    rows : int, default=1000
        Samples of one request.
    photos : int, default=32
        Photos of one request: each may take 20 MB and half a second to decode.
    waiting : int, default=64
        Requests that are read, waiting or computed at a time; one more is sent away with 503.
    body_seconds : float, default=30.0
        How long a body may take to arrive.
    answer_seconds : float, default=60.0
        How long a request may wait and compute.
    """

    body_bytes: int = 2**24
    rows: int = 1000
    photos: int = 32
    waiting: int = 64
    body_seconds: float = 30.0
    answer_seconds: float = 60.0


class RefusedError(Exception):
    """A request that gets no labels, with the sentence that says why.

    Parameters
    ----------
    status : int
        Status code of the answer.
    sentence : str
        What must be, what was got, what to do.
    headers : dict of str to str, optional
        Further headers of the answer.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}
