"""Several processes that train different folds of one run, each on its own GPU.

This is the simple way to use many GPUs: a fold depends on nothing but its seed and its rows, so every network gets the
bytes that one process alone would give it, and nobody waits for messages. One process owns the run: it holds the
folder's lock, decides the splits, hands out folds, and assembles the stores. The others end with it. A fold whose
process dies is given to a new one, which goes on from its checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base_models.packed.photo_pack import PackedPhotos
from base_models.recipe.plain import plain_recipe
from base_models.recipe.run import TrainingRun
from base_models.runs.fold_record import fold_is_done
from base_models.runs.folder import RunFolder
from base_models.runs.photo_packs import describe_packed
from base_models.runs.training_failed import TrainingFailedError
from base_models.training.progress import Progress, TrainingEvent
from stacking.files.atomic_files import sweep_stale_temps
from stacking.files.ending import ending_with
from stacking.process.child_processes import module_command, module_environment

logger = logging.getLogger(__name__)

MOST_DEATHS = 2  # of processes at one fold, before it is said to be the fold's fault
SECONDS_TO_END = 60.0  # for a checkpoint that is being written when a run is interrupted

Fold = tuple[str, int]


@dataclass(frozen=True)
class SharedParts:
    """What the owner of a run knows already and tells the processes.

    Parameters
    ----------
    recipe_folder : pathlib.Path
        Folder that relative paths in the recipe start from.
    packed : mapping of int to PackedPhotos
        The data set's photos by size, where they are packed: no file is read again to find them.
    """

    recipe_folder: Path
    packed: Mapping[int, PackedPhotos]


@dataclass
class _Child:
    """One process and the fold that it is at."""

    process: subprocess.Popen[str]
    device: str
    fold: Fold | None = None


def train_side_by_side(
    recipe: TrainingRun,
    folder: RunFolder,
    n_folds: int,
    devices: Sequence[str],
    *,
    parts: SharedParts,
    without: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, str]:
    """Train every fold that is not finished, as many at a time as there are devices.

    Parameters
    ----------
    recipe : TrainingRun
        What to train.
    folder : RunFolder
        Of the run; the splits are decided, features that members share are computed.
    n_folds : int
        Networks of a member.
    devices : sequence of str
        Where each process computes; a device may occur several times.
    parts : SharedParts
        What the processes need not find out again.
    without : sequence of str, optional
        Members that are left out.
    progress : callable, optional
        Called with ``TrainingEvent`` objects.

    Returns
    -------
    dict of str to str
        Why members could not be trained, by name.

    Raises
    ------
    TrainingFailedError
        If processes die at a fold again and again.
    ValueError, OSError
        As training in this process would raise them: damaged files, a full disk.
    """
    folds = [
        (member.name, fold)
        for member in recipe.members
        if member.name not in without
        for fold in range(n_folds)
        if not fold_is_done(folder.fold_folder(member.name, fold))
    ]
    return _Crew(recipe, folder, parts, progress).train(folds, devices[: len(folds)])


class _Crew:
    """The processes of a run and the folds that wait for them."""

    def __init__(self, recipe: TrainingRun, folder: RunFolder, parts: SharedParts, progress: Progress | None) -> None:
        self._job = {
            "recipe": plain_recipe(recipe),
            "out": str(folder.path.resolve()),
            "recipe_folder": str(parts.recipe_folder.resolve()),
            "packed": describe_packed(parts.packed),
            "n_threads": int(folder.manifest["n_threads"]),
            "log_level": logging.getLogger().getEffectiveLevel(),
        }
        self._folder, self._progress = folder, progress
        self._children: list[_Child] = []
        self._said: queue.SimpleQueue[tuple[_Child, dict[str, Any] | None]] = queue.SimpleQueue()
        self._waiting: deque[Fold] = deque()
        self._failures: dict[str, str] = {}
        self._deaths: Counter[Fold] = Counter()

    def train(self, folds: Sequence[Fold], devices: Sequence[str]) -> dict[str, str]:
        """Hand out the folds and wait for all of them."""
        self._waiting.extend(folds)
        left = Counter(member for member, _ in folds)
        with ending_with(self._end):
            for device in devices:
                self._start(device)
            while any(child.fold is not None for child in self._children):
                child, message = self._said.get()
                if message is None:
                    self._replace(child)
                elif "event" in message:
                    self._report(TrainingEvent(**message["event"]))
                elif "log" in message:
                    name, level, text = message["log"]
                    logging.getLogger(name).log(level, text)
                else:
                    member = message["done"][0]
                    left[member] -= 1
                    self._finish(child, message)
                    if not left[member] and member not in self._failures:
                        self._report(TrainingEvent("member", member, message=f"{member} is done"))
        return self._failures

    def _start(self, device: str) -> None:
        """Start a process and give it a fold."""
        process = subprocess.Popen(
            [*module_command("base_models.runs.fold_worker"), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=module_environment(),
            text=True,
            encoding="utf-8",
        )
        child = _Child(process, device)
        self._children.append(child)
        threading.Thread(target=self._read, args=(child,), daemon=True).start()
        self._send(child, {**self._job, "device": device})
        self._go_on(child)

    def _read(self, child: _Child) -> None:
        """Take in what a process says, and last that it has ended."""
        if child.process.stdout is not None:
            for line in child.process.stdout:
                self._said.put((child, json.loads(line)))
        self._said.put((child, None))

    def _send(self, child: _Child, value: Any) -> None:
        """Write one line; that a process has died is noticed where it is read."""
        try:
            if child.process.stdin is not None:
                child.process.stdin.write(json.dumps(value) + "\n")
                child.process.stdin.flush()
        except OSError:
            return

    def _go_on(self, child: _Child) -> None:
        """Give a process its next fold, or let it end."""
        child.fold = self._waiting.popleft() if self._waiting else None
        if child.fold is not None:
            self._send(child, list(child.fold))
        elif child.process.stdin is not None:
            child.process.stdin.close()

    def _finish(self, child: _Child, message: dict[str, Any]) -> None:
        """Take in what became of a fold."""
        if "os_error" in message:
            number, reason, name = message["os_error"]
            raise OSError(number, reason, name) if number is not None else OSError(reason)
        if "value_error" in message:
            raise ValueError(message["value_error"])
        member = message["done"][0]
        if "failed" in message and member not in self._failures:
            self._failures[member] = message["failed"]
            logger.error("%s; the run goes on without it", message["failed"])
            self._waiting = deque(fold for fold in self._waiting if fold[0] != member)
        self._go_on(child)

    def _replace(self, child: _Child) -> None:
        """Give the fold of a process that has died to a new one."""
        code = child.process.wait()
        self._children.remove(child)
        fold = child.fold
        if fold is None:
            return
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        where = f"member {fold[0]!r}, fold {fold[1] + 1}: its process on {child.device} ended ({how})"
        self._deaths[fold] += 1
        if self._deaths[fold] == MOST_DEATHS:
            raise TrainingFailedError(f"{where}, {MOST_DEATHS} times; give the same command again to go on.")
        logger.warning("%s; another one goes on from its checkpoint", where)
        sweep_stale_temps(self._folder.fold_folder(*fold))  # nobody else writes there
        self._waiting.appendleft(fold)
        self._start(child.device)

    def _report(self, event: TrainingEvent) -> None:
        """Tell whoever watches."""
        if self._progress is not None:
            self._progress(event)

    def _end(self) -> None:
        """End all processes; one amid a fold finishes the checkpoint that it is writing."""
        children, self._children = self._children, []
        for child in children:
            if child.process.poll() is None and child.fold is not None:
                child.process.send_signal(signal.SIGINT)
        for child in children:
            try:
                child.process.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            for pipe in (child.process.stdin, child.process.stdout):
                _close(pipe)


def _close(pipe: Any) -> None:
    """Close a pipe that may be broken."""
    try:
        if pipe is not None:
            pipe.close()
    except OSError:
        return
