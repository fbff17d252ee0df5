"""Several processes that score new photos, each on its own GPU: every one takes its share of the chunks.

They write the chunks that one process alone would write, into the same folder, and the owner scores what is lacking
afterwards. So it changes no byte how many there are, or whether one of them dies.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from base_models.training.progress import Progress, TrainingEvent
from stacking.files.ending import ending_with
from stacking.process.child_processes import module_command, module_environment

logger = logging.getLogger(__name__)

SECONDS_TO_END = 10.0  # for an interrupted process, before it is killed


def score_in_processes(
    job: Mapping[str, Any], devices: Sequence[str], n_scores: int, progress: Progress | None = None
) -> None:
    """Let every process score its share; one that dies leaves chunks undone, and a warning.

    Parameters
    ----------
    job : mapping
        For `base_models.runs.prediction.score_share`, but for what differs between the processes; JSON-able.
    devices : sequence of str
        Where each process computes.
    n_scores : int
        Photos, times the networks that are to score them.
    progress : callable, optional
        Called with ``TrainingEvent`` objects.
    """
    said: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    children: list[subprocess.Popen[str]] = []
    with ending_with(lambda: _end(children)):
        for rank, device in enumerate(devices):
            child = subprocess.Popen(
                [*module_command("base_models.runs.score_worker"), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=module_environment(),
                text=True,
                encoding="utf-8",
            )
            children.append(child)
            threading.Thread(target=_listen, args=(child, said), daemon=True).start()
            _send(child, {**job, "device": device, "rank": rank, "n_processes": len(devices)})
        n_done, n_running = 0, len(children)
        while n_running:
            scored = said.get()
            if scored is None:
                n_running -= 1
                continue
            n_done += scored
            if progress is not None:
                message = f"{n_done:,} of {n_scores:,} scores of photos by networks, {n_running} processes"
                progress(TrainingEvent("photos", step=n_done, n_steps=n_scores, message=message))
        for rank, child in enumerate(children):
            if code := child.wait():
                how = f"signal {-code}" if code < 0 else f"exit {code}"
                logger.warning("process %d of %d ended (%s); what it left is scored here", rank + 1, len(children), how)


def _listen(child: subprocess.Popen[str], said: queue.SimpleQueue[int | None]) -> None:
    """Take in what a process says, and last that it has ended."""
    if child.stdout is not None:
        for line in child.stdout:
            said.put(int(json.loads(line)["scored"]))
    said.put(None)


def _send(child: subprocess.Popen[str], job: Mapping[str, Any]) -> None:
    """Give a process its job; that it has died is noticed where it is read."""
    try:
        if child.stdin is not None:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.close()
    except OSError:
        return


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    """End all processes; a chunk that one was at is scored again."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
