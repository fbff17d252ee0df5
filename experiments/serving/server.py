"""Serving until a signal asks to stop; requests that are inside are answered before."""

from __future__ import annotations

import signal
import socket
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import python_multipart  # noqa: F401 - starlette reads forms with it, and says so only when one comes
import uvicorn

from experiments.serving.application import ServingPages
from experiments.serving.connection import PatientConnection
from experiments.serving.served import Served
from stacking.files.ending import ending_with

BACKLOG = 1024
"""Connections that the system holds until they are accepted; it takes its own limit if that is lower."""


def open_socket(host: str, port: int) -> socket.socket:
    """Take an address.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        0 takes any that is free.

    Returns
    -------
    socket
        Bound.

    Raises
    ------
    ValueError
        If it is taken, or none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"--host and --port must be a free address of this machine: got {host}, {port} ({reason}); take another, "
            "or --port 0 for any port that is free."
        ) from error
    # Only where a socket names its protocol, asyncio lets it send without waiting for acknowledgments (TCP_NODELAY);
    # answers, which are sent in two pieces, would take 40 ms on a connection that is kept.
    return socket.socket(opened.family, opened.type, socket.IPPROTO_TCP, opened.detach())


def address_of(opened: socket.socket) -> str:
    """Write the address of a socket.

    Parameters
    ----------
    opened : socket
        From `open_socket`.

    Returns
    -------
    str
        ``http://…``.
    """
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    served: Served, opened: socket.socket, *, threads: int = 1, on_start: Callable[[], Any] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; then answer the requests that are inside, and return.

    Parameters
    ----------
    served : Served
        What answers.
    opened : socket
        From `open_socket`; it is closed at the end.
    threads : int, default=1
        Requests with scores that are computed at a time.
    on_start : callable, optional
        Called as soon as requests are taken.
    """
    pages, limits = ServingPages(served, threads), served.limits
    config = uvicorn.Config(
        pages.application(),
        http=PatientConnection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(limits.body_seconds + limits.answer_seconds) + 1,
    )
    server = _Server(config, on_start)

    def stop(number: int, frame: object) -> None:
        server.should_exit = True  # also when uvicorn, having stopped, sends itself the signal again

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    restore = [partial(signal.signal, number, handler) for number, handler in before.items()]
    with ending_with(*restore, pages.close), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each is remembered with its text, which requests may vary for ever
        server.run([opened])


class _Server(uvicorn.Server):
    """Tell when requests are taken."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], Any]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()
