"""The pages of the server, and the way of a request: admitted, read, computed in a thread, answered.

Whatever is wrong with a request is answered by a JSON object whose ``error`` is one sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import prometheus_client
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from experiments.serving.early_answer import EarlyAnswer
from experiments.serving.limits import RefusedError, ServingLimits
from experiments.serving.measurements import Measurements
from experiments.serving.sent_photos import PHOTOS
from experiments.serving.served import Served
from stacking.process.statements import is_our_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY = {"Retry-After": "1"}
"""Seconds: a full queue of votes is gone by then, and a busy server is asked again soon enough."""
PAGES = ("/", "/card", "/health", "/ready", "/metrics", "/predict")
SAID = {404: f"there is no such page: the pages are {', '.join(PAGES)}.", 405: "this page does not take this method."}

logger = logging.getLogger(__name__)


def _json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Response(content, status, headers, media_type="application/json")


class ServingPages:
    """The pages about one ensemble.

    Parameters
    ----------
    served : Served
        What answers.
    threads : int, default=1
        Requests with scores that are computed at a time; photos take turns beside them.
    """

    def __init__(self, served: Served, threads: int = 1) -> None:
        self.served, self.limits = served, served.limits
        self.inside = 0
        self.measurements = Measurements(lambda: self.inside)
        self._for_scores = ThreadPoolExecutor(threads, "scores")
        self._for_photos = ThreadPoolExecutor(1, "photos")
        self._description = json.dumps(served.describe()).encode()

    def close(self) -> None:
        """End the threads; what waits for them is left."""
        for pool in (self._for_scores, self._for_photos):
            pool.shutdown(wait=False, cancel_futures=True)

    def application(self) -> Starlette:
        """Build the application.

        Returns
        -------
        Starlette
            For any ASGI server; requests that are too slow to arrive are cut off by the one in `server.py`.
        """
        pages = {
            "/": lambda request: _json_answer(self._description),
            "/card": lambda request: PlainTextResponse(self.served.card),
            "/health": lambda request: _json_answer({"status": "ok"}),
            "/ready": self._ready,
            "/metrics": lambda request: Response(
                self.measurements.text(), media_type=prometheus_client.CONTENT_TYPE_LATEST
            ),
        }
        routes = [Route(path, self._counted(path, page), methods=["GET"]) for path, page in pages.items()]
        routes.append(Route("/predict", self._predict, methods=["POST"]))
        application = Starlette(routes=routes, exception_handlers={HTTPException: self._refuse_page})
        application.router.redirect_slashes = False
        return application

    def _counted(self, path: str, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """Count the requests of a page."""

        async def answer(request: Request) -> Response:
            given = page(request)
            self.measurements.requests.labels(path, given.status_code).inc()
            return given

        return answer

    async def _refuse_page(self, request: Request, error: Exception) -> Response:
        """Answer an unknown page or a wrong method."""
        status = getattr(error, "status_code", 400)
        self.measurements.requests.labels("other", status).inc()
        headers = dict(getattr(error, "headers", None) or {})
        return _json_answer({"error": SAID.get(status, "this request cannot be answered.")}, status, headers)

    def _ready(self, request: Request) -> Response:
        """Say whether one more request would be taken."""
        if self.inside < self.limits.waiting:
            return _json_answer({"status": "ready"})
        return _json_answer({"error": "the server is busy: ask again."}, 503, RETRY)

    async def _predict(self, request: Request) -> Response:
        """Answer one request for labels, whatever becomes of it."""
        began = time.perf_counter()
        try:
            with self._admitted():
                content, n_samples = await self._labels_of(request)
            answer = _json_answer(content)
            self.measurements.samples.inc(n_samples)
        except RefusedError as error:
            answer = _json_answer({"error": error.sentence}, error.status, error.headers)
            answer = answer if getattr(request.state, "is_read", False) else EarlyAnswer.of(answer)
        except ClientDisconnect:
            answer = _json_answer({"error": "the body must arrive whole: the connection was closed."}, 400)
        except Exception as error:
            if isinstance(error, ValueError | TypeError) and is_our_statement(error):
                answer = _json_answer({"error": " ".join(str(error).split())}, 400)
            else:
                logger.exception("a request could not be answered")
                answer = _json_answer({"error": "the server failed on this request; its log says why."}, 500)
        self.measurements.seconds.observe(time.perf_counter() - began)
        self.measurements.requests.labels("/predict", answer.status_code).inc()
        return answer

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Take one of the places in the queue, or refuse."""
        if self.inside >= self.limits.waiting:
            sentence = f"the server has {self.limits.waiting} requests to answer already: ask again in a second."
            raise RefusedError(503, sentence, RETRY)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def _labels_of(self, request: Request) -> tuple[bytes, int]:
        """Read one request and let a thread answer it."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in self.served.takes:
            where = "" if kind != PHOTOS else "; photos need a server that was started with --run"
            takes = ", ".join(self.served.takes)
            raise RefusedError(415, f"the content type must be one of {takes}: got {kind[:80]!r}{where}.")
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise RefusedError(415, "the body must not be packed: leave out Content-Encoding.")
        without = request.query_params.getlist("without")
        with_scores = _read_flag(request, "scores")
        body = await read_body(request, self.limits)
        if kind != PHOTOS:
            job = partial(self.served.answer_scores, body, kind, without=without, with_scores=with_scores)
            return await self._run(self._for_scores, job)
        if without:
            raise RefusedError(400, "without is for scores: photos are scored by every member that has a say.")
        files = await read_files(request, body, self.limits)
        return await self._run(self._for_photos, partial(self.served.answer_photos, files, with_scores=with_scores))

    async def _run(self, pool: Executor, job: Callable[[], tuple[bytes, int]]) -> tuple[bytes, int]:
        """Wait for a thread to do a job; one that takes too long is given up, and not begun if it waits still."""
        try:
            return await asyncio.wait_for(
                asyncio.get_running_loop().run_in_executor(pool, job), self.limits.answer_seconds
            )
        except TimeoutError as error:
            sentence = f"no answer in {self.limits.answer_seconds:g} s: ask again later, or with fewer samples."
            raise RefusedError(503, sentence, RETRY) from error


def _read_flag(request: Request, name: str) -> bool:
    """Read a yes or no of the query."""
    values = request.query_params.getlist(name)
    if values in ([], ["false"]):
        return False
    if values != ["true"]:
        raise RefusedError(400, f"{name} must be true or false: got {', '.join(values)[:80]!r}.")
    return True


async def read_body(request: Request, limits: ServingLimits) -> bytes:
    """Read a body that is neither too large nor too slow.

    Parameters
    ----------
    request : Request
        Whose body is not read yet.
    limits : ServingLimits
        Bytes and seconds.

    Returns
    -------
    bytes
        The body.

    Raises
    ------
    RefusedError
        If it is too large, by what it announces or by what came, or too slow.
    """
    announced = request.headers.get("content-length", "")
    too_large = RefusedError(413, f"the body must have at most {limits.body_bytes:,} bytes: send it in several.")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError as error:
        sentence = f"the body must arrive within {limits.body_seconds:g} s: {len(body):,} bytes came."
        raise RefusedError(408, sentence, {"Connection": "close"}) from error
    request.state.is_read = True
    return bytes(body)


async def read_files(request: Request, body: bytes, limits: ServingLimits) -> list[tuple[str, bytes]]:
    """Take the files out of a form.

    Parameters
    ----------
    request : Request
        Whose body was read.
    body : bytes
        That body.
    limits : ServingLimits
        Most photos.

    Returns
    -------
    list of (str, bytes)
        File name and content of each.

    Raises
    ------
    RefusedError
        If it is no whole form, or has other fields or too many files.
    """

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {**request.scope, "app": None}
    try:
        form = await Request(scope, receive).form(max_files=limits.photos, max_fields=0)
    except Exception as error:  # parsers of forms raise almost anything on damage
        must = f"the body must be a whole form of at most {limits.photos} files and nothing else"
        raise RefusedError(400, f"{must}: {str(error).rstrip('.')[:200] or type(error).__name__}.") from error
    files = []
    for _, upload in form.multi_items():
        if isinstance(upload, UploadFile):
            files.append((upload.filename or "", await upload.read()))
    await form.close()
    return files
