"""Who trains the folds of a run: how many processes, where, with how many threads, and how long they take together."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from base_models.recipe.run import TrainingRun

SECONDS_TO_START = 6.0  # of a process, until it trains: torch, timm and the photos; the imports take 6.3 s of CPU here


@dataclass(frozen=True)
class Crew:
    """The processes that train whole folds side by side.

    Attributes
    ----------
    devices : tuple of str
        Where each computes.
    n_threads : int
        Threads of each.
    """

    devices: tuple[str, ...] = ("cpu",)
    n_threads: int = 1

    @property
    def n_at_once(self) -> int:
        """Return how many folds are computed at the same time: processes on one GPU take turns."""
        return len(self.devices) if self.devices[0] == "cpu" else len(set(self.devices))

    @property
    def n_on_a_device(self) -> int:
        """Return how many processes share a device's memory."""
        return max(Counter(self.devices).values())

    @property
    def starting(self) -> float:
        """Return the seconds until processes of their own are ready."""
        return SECONDS_TO_START if len(self.devices) > 1 else 0.0

    def seconds(self, folds: Iterable[float]) -> float:
        """Return how long it takes to train folds, each by the next process that is free.

        Parameters
        ----------
        folds : iterable of float
            Seconds of each, alone.

        Returns
        -------
        float
            Until the last is done.
        """
        from base_models.training.progress import seconds_side_by_side

        return seconds_side_by_side(folds, self.n_at_once)

    def describe(self) -> str:
        """Say how many processes there are, and threads on a CPU.

        Returns
        -------
        str
            Without end mark.
        """
        n_processes, each = len(self.devices), f"{self.n_threads} thread{'s' * (self.n_threads > 1)}"
        threads = each if self.devices[0] == "cpu" else ""
        if n_processes == 1:
            return "1 process" + (f" of {threads}" if threads else "")
        return f"{n_processes} processes side by side" + (f", {threads} each" if threads else "")


def crew_of(run: "TrainingRun", n_photos: int, device: str, n_processes: int | None = None) -> Crew:
    """Say which processes ``labelstack train`` would start.

    Parameters
    ----------
    run : TrainingRun
        The recipe.
    n_photos : int
        Photos of the data set.
    device : str
        As `base_models.runs.out_of_fold.choose_device` returned it.
    n_processes : int, optional
        What ``--processes`` or ``--gpus`` says; as many as suit by default.

    Returns
    -------
    Crew
        No more processes than there are networks.

    Raises
    ------
    ValueError
        If there is no process.
    """
    from base_models.runs.out_of_fold import list_devices
    from base_models.runs.process_count import suitable_processes, threads_of_each

    n_processes = suitable_processes(run, n_photos, device) if n_processes is None else n_processes
    devices = list_devices(device, n_processes)
    return Crew(tuple(devices[: len(run.members) * run.folds.n_networks]), threads_of_each(run, n_processes))
