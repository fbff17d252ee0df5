"""What training tells whoever watches it."""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingEvent:
    """One report of a training run.

    Parameters
    ----------
    kind : {"photos", "step", "memory", "epoch", "fold", "member", "store"}
        What was reached: photos decoded, a step, the end of the device's memory, an epoch, a fold's chunks, all folds
        of a member, a finished store.
    member : str
        The member; empty for photos and stores.
    fold : int
        The fold, from 0.
    n_folds : int
        Number of folds.
    epoch : int
        The epoch, from 1.
    n_epochs : int
        Number of epochs.
    step, n_steps : int
        Steps of the epoch done and to do (or photos, for kind ``photos``).
    images_per_second : float
        Speed of this epoch so far.
    seconds_left : float
        Estimate for the whole run.
    validation_micro_f1 : float
        After an epoch: on the validation rows, at the best single threshold; NaN otherwise.
    message : str
        One line for a log.
    """

    kind: str
    member: str = ""
    fold: int = 0
    n_folds: int = 0
    epoch: int = 0
    n_epochs: int = 0
    step: int = 0
    n_steps: int = 0
    images_per_second: float = 0.0
    seconds_left: float = float("nan")
    validation_micro_f1: float = float("nan")
    message: str = ""


Progress = Callable[[TrainingEvent], None]


def seconds_side_by_side(seconds: Iterable[float], n_processes: int) -> float:
    """Return how long tasks take that processes do side by side, each taking the next as soon as it is free.

    Parameters
    ----------
    seconds : iterable of float
        What each task takes, in the order in which they are handed out.
    n_processes : int
        Processes, at least 1.

    Returns
    -------
    float
        Seconds until the last task is done.

    Notes
    -----
    This is how `base_models.runs.side_by_side` hands out folds: five equal ones take two processes three times one.

    Examples
    --------
    >>> seconds_side_by_side([10.0] * 5, 2)
    30.0
    """
    free_at = [0.0] * n_processes
    for each in seconds:
        heapq.heappush(free_at, heapq.heappop(free_at) + each)
    return max(free_at)


class TimeLeft:
    """Estimate the rest of a run: members not started yet cost in proportion to one timed forward pass.

    Parameters
    ----------
    epochs_left : mapping of (str, int) to float
        Epochs to do by member and fold, in the order in which folds are trained.
    relative_costs : mapping of str to float
        Cost of an epoch by member, in any unit.
    n_side_by_side : int, default=1
        Folds that are trained at the same time.
    """

    def __init__(
        self,
        epochs_left: Mapping[tuple[str, int], float],
        relative_costs: Mapping[str, float],
        n_side_by_side: int = 1,
    ) -> None:
        self._left = dict(epochs_left)
        self._costs = dict(relative_costs)
        self._n_side_by_side = n_side_by_side
        self._seconds: dict[str, float] = {}
        self._part: dict[tuple[str, int], float] = {}  # of the epoch that a fold is at, the share that is done
        self._started: dict[tuple[str, int], float] = {}
        self._last = time.monotonic()

    def wrap(self, progress: Progress | None) -> Progress | None:
        """Return a callback that adds the estimate to every event.

        Parameters
        ----------
        progress : callable or None
            The callback to pass events on to.

        Returns
        -------
        callable or None
            None for None.
        """
        if progress is None:
            return None

        def _report(event: TrainingEvent) -> None:
            now, place = time.monotonic(), (event.member, event.fold)
            if event.kind == "epoch":
                # one fold after the other begins where the last event was; those side by side tell their first step
                started = self._last if self._n_side_by_side == 1 else self._started.get(place, self._last)
                self._seconds[event.member] = now - started
                self._left[place], self._part[place] = event.n_epochs - event.epoch, 0.0
            if event.kind == "fold":  # what an early stop saved is no longer to do
                self._left[place] = 0.0
            if event.kind in ("epoch", "fold", "photos"):
                self._last = self._started[place] = now
            self._started.setdefault(place, now)
            if event.kind == "step" and event.n_steps:
                self._part[place] = event.step / event.n_steps
            progress(dataclasses.replace(event, seconds_left=self.seconds()))

        return _report

    def seconds(self) -> float:
        """Return the estimate.

        Returns
        -------
        float
            Seconds; NaN before the first epoch is done.
        """
        if not self._seconds:
            return float("nan")
        begun_first = sorted(self._left, key=lambda place: place not in self._started)
        return seconds_side_by_side(
            (
                max(0.0, self._left[place] - self._part.get(place, 0.0)) * self._seconds_per_epoch(place[0])
                for place in begun_first
            ),
            self._n_side_by_side,
        )

    def _seconds_per_epoch(self, name: str) -> float:
        """Return the seconds of a member's epoch, by those of the others where it has had none."""
        if name in self._seconds or not self._seconds:
            return self._seconds.get(name, float("nan"))
        return self._costs[name] * sum(self._seconds.values()) / sum(self._costs[one] for one in self._seconds)
