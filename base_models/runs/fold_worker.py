"""A process that trains whole folds, one after the other, for the process that owns the run.

It reads one JSON line per fold from its standard input and answers in JSON lines: what training reports, what is
logged, and what became of the fold. ``python -m base_models.runs.fold_worker`` is started by
:func:`base_models.runs.side_by_side.train_side_by_side` and ends with it, however that ends.
"""

from __future__ import annotations

import sys

from stacking.process.child_processes import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))  # before the imports that take seconds

import dataclasses
import json
import logging
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from base_models.manifest import load_manifest
from base_models.photos.tensors import PhotoTensors
from base_models.recipe.plain import restore_recipe
from base_models.runs.folder import RunFolder
from base_models.runs.out_of_fold import train_out_of_fold
from base_models.runs.photo_packs import restore_packed
from base_models.runs.splits import prepare_run_data
from base_models.runs.training_failed import TrainingFailedError
from base_models.training.distributed import ProcessGroup
from stacking.files.untrusted import read_json


def main() -> int:
    """Train folds until the input ends.

    Returns
    -------
    int
        0, or 130 where it was interrupted.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    speaking = threading.Lock()

    def say(**answer: Any) -> None:
        line = json.dumps(answer) + "\n"
        with speaking:
            answers.write(line)

    job = json.loads(sys.stdin.readline())
    logging.basicConfig(level=job["log_level"], handlers=[_Told(say)], force=True)
    folds: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
    at_work = threading.Event()
    threading.Thread(target=_listen, args=(folds, at_work), daemon=True).start()
    try:
        _train(job, folds, at_work, say)
    except KeyboardInterrupt:
        return 130
    return 0


def _train(
    job: Mapping[str, Any], folds: queue.SimpleQueue[list[Any] | None], at_work: threading.Event, say: Any
) -> None:
    """Train one fold after the other and answer for each."""
    recipe, out = restore_recipe(job["recipe"]), Path(job["out"])
    torch.set_num_threads(job["n_threads"])
    manifest = load_manifest(recipe.data, Path(job["recipe_folder"]))
    folder = RunFolder(out, read_json(out / "manifest.json", f"the run folder's {out / 'manifest.json'}"), writes=False)
    packed = restore_packed(job["packed"])
    data = prepare_run_data(recipe, manifest, folder, None, packed)  # what the first process has decided
    members = {member.name: member for member in recipe.members}
    sources: dict[int, PhotoTensors] = {}
    while (fold := folds.get()) is not None:
        answer: dict[str, Any] = {}
        try:
            train_out_of_fold(
                members[fold[0]],
                recipe,
                data,
                folder,
                sources=sources,
                processes=ProcessGroup(device=job["device"]),
                progress=lambda event: say(event=dataclasses.asdict(event)),
                folds=(fold[1],),
            )
        except TrainingFailedError as error:
            answer["failed"] = str(error)
        except OSError as error:
            answer["os_error"] = [error.errno, error.strerror or str(error), error.filename and str(error.filename)]
        except ValueError as error:
            answer["value_error"] = str(error)
        at_work.clear()
        say(done=fold, **answer)


def _listen(folds: queue.SimpleQueue[list[Any] | None], at_work: threading.Event) -> None:
    """Take folds in; an input that ends amid one says that the run's owner has ended, and so must this process."""
    for line in sys.stdin:
        at_work.set()
        folds.put(json.loads(line))
    if at_work.is_set():
        os._exit(1)
    folds.put(None)


class _Told(logging.Handler):
    """Pass what is logged on to the process that owns the run."""

    def __init__(self, say: Any) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say it in a line."""
        self._say(log=[record.name, record.levelno, record.getMessage()])


if __name__ == "__main__":
    sys.exit(main())
