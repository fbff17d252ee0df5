"""Child processes that decode, each with one photo at a time: one that dies or hangs costs that photo and no other."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from types import TracebackType
from typing import IO, Any

from base_models.ingest.options import IngestOptions
from stacking.child_processes import module_command, module_environment
from stacking.files.ending import run_all

_START_SECONDS = 60.0
_PIECE = 2**16


@dataclass
class _Child:
    """One decoder and the photo that it is at."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    request: dict[str, str] = field(default_factory=dict)
    deadline: float = 0.0
    answer: bytes = b""
    fresh: bool = True


class DecoderPool:
    """Clean photos in child processes.

    Parameters
    ----------
    options : IngestOptions
        Form of the photos, number of children, limits.

    Notes
    -----
    Memory is limited by ``RLIMIT_AS`` and time by ``RLIMIT_CPU`` in the child, and by the wall clock here. A child that
    ends is replaced.
    """

    def __init__(self, options: IngestOptions) -> None:
        self._options = options
        self._children: list[_Child] = []

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        children, self._children = self._children, []
        run_all(*(partial(self._end, child) for child in children), after=value)

    def run(self, requests: Iterable[dict[str, str]]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
        """Clean photos and give the answers as they come.

        Parameters
        ----------
        requests : iterable of dict
            ``id`` and ``source`` (the file) of each photo.

        Yields
        ------
        tuple of (dict, dict)
            The request and its answer: ``status`` is ``clean``, ``blank`` or ``failed``, and ``reason`` says why; a
            clean photo has ``jpeg`` and ``thumbnail`` in base64, ``sha256``, ``width`` and ``height``.
        """
        rest = iter(requests)
        with selectors.DefaultSelector() as selector:
            for request in rest:
                self._children.append(self._start(request, selector))
                if len(self._children) == self._options.workers:
                    break
            while busy := [child for child in self._children if child.request]:
                wait = max(0.0, min(child.deadline for child in busy) - time.monotonic())
                ready = {id(key.data) for key, _ in selector.select(wait)}
                for child in busy:
                    answer = self._read(child) if id(child) in ready else self._overdue(child)
                    if answer is None:
                        continue
                    done = child.request
                    self._go_on(child, next(rest, None), selector)
                    yield done, answer

    def _start(self, request: dict[str, str], selector: selectors.BaseSelector) -> _Child:
        """Start a child on its first photo."""
        single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        process = subprocess.Popen(
            module_command("base_models.ingest.decoder"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=module_environment(single),
        )
        child = _Child(process, errors)
        selector.register(process.stdout, selectors.EVENT_READ, child)  # type: ignore[arg-type]  # a pipe, not None
        self._send(child, asdict(self._options))
        self._give(child, request)
        return child

    def _go_on(self, child: _Child, request: dict[str, str] | None, selector: selectors.BaseSelector) -> None:
        """Give a child its next photo, replacing it if it has ended."""
        if child.process.poll() is None:
            child.fresh = False
            child.request = {}
            if request is not None:
                self._give(child, request)
            return
        selector.unregister(child.process.stdout)  # type: ignore[arg-type]
        self._end(child)
        self._children.remove(child)
        if request is not None:
            self._children.append(self._start(request, selector))

    def _give(self, child: _Child, request: dict[str, str]) -> None:
        """Send one photo's request and start its clock; a fresh child has yet to import."""
        child.request = request
        child.deadline = time.monotonic() + self._options.seconds + (_START_SECONDS if child.fresh else 1.0)
        self._send(child, request)

    def _send(self, child: _Child, value: dict[str, Any]) -> None:
        """Write one line; a child that has died is noticed when it is read."""
        try:
            child.process.stdin.write(json.dumps(value).encode() + b"\n")  # type: ignore[union-attr]
            child.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            return

    def _read(self, child: _Child) -> dict[str, Any] | None:
        """Read what a child has written; None while its line is not whole."""
        piece = os.read(child.process.stdout.fileno(), _PIECE)  # type: ignore[union-attr]
        child.answer += piece
        if piece and not child.answer.endswith(b"\n"):
            return None
        line, child.answer = child.answer, b""
        if piece:
            return json.loads(line)
        child.process.wait()
        return {"status": "failed", "reason": self._death(child)}

    def _overdue(self, child: _Child) -> dict[str, Any] | None:
        """End a child whose photo takes too long."""
        if time.monotonic() < child.deadline:
            return None
        child.process.kill()
        child.process.wait()
        return {"status": "failed", "reason": self._too_long()}

    def _death(self, child: _Child) -> str:
        """Say why a child ended; one that could not even start is no photo's fault."""
        code = child.process.returncode
        if code >= 0:
            child.errors.seek(0)
            said = child.errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"the decoder process could not run: {said[-1] if said else f'exit {code}'}")
        if code == -getattr(signal, "SIGXCPU", 0):
            return self._too_long()
        return f"the decoder died (signal {-code})"

    def _too_long(self) -> str:
        """Say which limit was reached."""
        return f"decoding took more than {self._options.seconds:g} s"

    def _end(self, child: _Child) -> None:
        """End one child and close its pipes."""
        child.process.kill()
        child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout, child.errors):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue
