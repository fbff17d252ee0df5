"""What training tells whoever watches it."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping
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


class TimeLeft:
    """Estimate the rest of a run: members not started yet cost in proportion to one timed forward pass.

    Parameters
    ----------
    epochs_left : mapping of str to float
        Epochs to do by member, over all folds.
    relative_costs : mapping of str to float
        Cost of an epoch by member, in any unit.
    n_side_by_side : int, default=1
        Folds that are trained at the same time.
    """

    def __init__(
        self, epochs_left: Mapping[str, float], relative_costs: Mapping[str, float], n_side_by_side: int = 1
    ) -> None:
        self._left = dict(epochs_left)
        self._costs = dict(relative_costs)
        self._n_side_by_side = n_side_by_side
        self._seconds: dict[str, float] = {}
        self._done: Counter[tuple[str, int]] = Counter()  # epochs by member and fold, since this run was started
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
                self._left[event.member] = max(0.0, self._left[event.member] - 1)
                self._done[place] += 1
            if event.kind == "fold":  # what a resumed or early stopped fold did not need is no longer to do
                self._left[event.member] = max(0.0, self._left[event.member] - event.n_epochs + self._done[place])
            if event.kind in ("epoch", "fold", "photos"):
                self._last = self._started[place] = now
            self._started.setdefault(place, now)
            left = self.seconds()
            if event.kind == "step" and event.n_steps and self._left[event.member] > 0:  # of the epoch, a part is done
                left -= self._seconds_per_epoch(event.member) * event.step / event.n_steps / self._n_side_by_side
            progress(dataclasses.replace(event, seconds_left=max(0.0, left) if left == left else left))

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
        alone = sum(left * self._seconds_per_epoch(name) for name, left in self._left.items() if left)
        return alone / self._n_side_by_side

    def _seconds_per_epoch(self, name: str) -> float:
        """Return the seconds of a member's epoch, by those of the others where it has had none."""
        if name in self._seconds or not self._seconds:
            return self._seconds.get(name, float("nan"))
        return self._costs[name] * sum(self._seconds.values()) / sum(self._costs[one] for one in self._seconds)
