"""Thin adapters to experiment trackers: curves and scores as metrics, reports and cards as artifacts.

None of the trackers is needed: each is imported when it is asked for. Their files go beside the result, into a folder
of the same name with ``-logs``, unless the tracker's own environment variables say otherwise; an upload is theirs, too.
"""

from __future__ import annotations

import csv
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.registry import did_you_mean
from stacking.files.ending import ending_with

if TYPE_CHECKING:
    from base_models.training.progress import Progress, TrainingEvent

LIVE = ("validation_micro_f1", "images_per_second")
"""What an event of training carries; the rest of a fold's curves is read from its file when the fold is done."""


class Tracker(Protocol):
    """What a tracker is asked for."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one number of a curve.

        Parameters
        ----------
        name : str
            Of the curve, with ``/``.
        value : float
            A finite number.
        step : int
            The epoch, or 0.
        """

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log what was set.

        Parameters
        ----------
        values : mapping
            By name.
        """

    def artifact(self, path: Path) -> None:
        """Keep a file.

        Parameters
        ----------
        path : Path
            The file.
        """

    def close(self) -> None:
        """Write what is left."""


class _TensorBoard:
    """Log to files for TensorBoard: ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path, name: str) -> None:
        from tensorboard.summary import Writer

        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(str(self.folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one number, see `Tracker.scalar`."""
        self._writer.add_scalar(name, value, step)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Write what was set as a file, see `Tracker.parameters`."""
        lines = [f"{name}: {value}" for name, value in values.items()]
        (self.folder / "parameters.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def artifact(self, path: Path) -> None:
        """Copy a file beside the curves, see `Tracker.artifact`."""
        shutil.copyfile(path, self.folder / path.name)

    def close(self) -> None:
        """Write what is left, see `Tracker.close`."""
        self._writer.flush()
        self._writer.close()


class _MLflow:
    """Log to MLflow, to the server or folder of ``MLFLOW_TRACKING_URI`` if that is set."""

    def __init__(self, folder: Path, name: str) -> None:
        import mlflow

        if not os.environ.get("MLFLOW_TRACKING_URI"):
            folder.mkdir(parents=True, exist_ok=True)
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # version 3 asks for it
            mlflow.set_tracking_uri((folder / "mlruns").resolve().as_uri())
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "labelstack")
        self._mlflow = mlflow
        mlflow.start_run(run_name=name)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one number, see `Tracker.scalar`."""
        allowed = "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)
        self._mlflow.log_metric(allowed, value, step=step)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log what was set, see `Tracker.parameters`."""
        self._mlflow.log_params({name: str(value)[:500] for name, value in values.items()})

    def artifact(self, path: Path) -> None:
        """Keep a file, see `Tracker.artifact`."""
        self._mlflow.log_artifact(str(path))

    def close(self) -> None:
        """End the run, see `Tracker.close`."""
        self._mlflow.end_run()


class _WeightsAndBiases:
    """Log to Weights & Biases, offline if ``WANDB_MODE=offline`` says so."""

    def __init__(self, folder: Path, name: str) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(project=os.environ.get("WANDB_PROJECT") or "labelstack", name=name, dir=str(folder))
        self._curves: set[str] = set()

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one number over a step of its own, see `Tracker.scalar`."""
        curve = name.rpartition("/")[0] or name  # each curve counts its own epochs
        if curve not in self._curves:
            self._run.define_metric(f"{curve}/*", step_metric=f"{curve}/step")
            self._curves.add(curve)
        self._run.log({name: value, f"{curve}/step": step})

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log what was set, see `Tracker.parameters`."""
        self._run.config.update(dict(values))

    def artifact(self, path: Path) -> None:
        """Copy a file into the run, see `Tracker.artifact`."""
        place = Path(self._run.dir)  # a link, as wandb makes for other places, gives what is there when it is synced
        shutil.copyfile(path, place / path.name)
        self._run.save(str(place / path.name), base_path=str(place), policy="now")

    def close(self) -> None:
        """End the run, see `Tracker.close`."""
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, str], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WeightsAndBiases,
}


@contextmanager
def tracking(name: str | None, out: Path) -> Iterator[Tracker | None]:
    """Open a tracker for a command, and close it whatever happens.

    Parameters
    ----------
    name : str or None
        One of `TRACKERS`; None tracks nothing.
    out : Path
        Where the command's result goes; the tracker's files go to a folder of the same name with ``-logs``.

    Yields
    ------
    Tracker or None
        The tracker.

    Raises
    ------
    ImportError
        If it is not installed.
    ValueError
        If it is unknown.
    """
    if name is None:
        yield None
        return
    if name not in TRACKERS:
        raise ValueError(f"--log must be {', '.join(TRACKERS)}: got {name!r}.{did_you_mean(name, list(TRACKERS))}")
    place = Path(os.path.abspath(out))  # noqa: PTH100 - a link stays what it is called
    try:
        tracker = TRACKERS[name](place.with_name(f"{place.name}-logs"), place.name)
    except ImportError as error:
        raise ImportError(f"--log {name} needs {name}: pip install {name} ({error}).") from error
    except Exception as error:  # of a tracker's own kinds: no key, no server, a folder that it cannot use
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ValueError(f"--log {name} cannot begin: {reason}; set the tracker up, or leave --log out.") from error
    with ending_with(tracker.close):
        yield tracker


def track_training(tracker: Tracker, run: Path, progress: Progress | None) -> Progress:
    """Let a tracker hear of a training, too.

    Parameters
    ----------
    tracker : Tracker
        Gets the curves of every fold.
    run : Path
        The run's folder.
    progress : callable or None
        Who else listens.

    Returns
    -------
    callable
        For ``run_training``.
    """

    def hear(event: TrainingEvent) -> None:
        if progress is not None:
            progress(event)
        curve = f"{event.member}/fold{event.fold}"
        if event.kind == "epoch":
            _log(tracker, curve, {name: getattr(event, name) for name in LIVE}, event.epoch)
        elif event.kind == "fold":
            for row in _history(run / "members" / event.member / f"fold{event.fold}" / "history.csv"):
                rest = {name: value for name, value in row.items() if name not in (*LIVE, "epoch")}
                _log(tracker, curve, rest, int(row["epoch"]))

    return hear


def track_result(
    tracker: Tracker, out: Path, scores: Mapping[str, float | None], parameters: Mapping[str, Any], files: Iterable[str]
) -> None:
    """Log what a command found.

    Parameters
    ----------
    tracker : Tracker
        Where to.
    out : Path
        The result's folder.
    scores : mapping of str to float or None
        Numbers by name; None is left out.
    parameters : mapping
        What was set.
    files : iterable of str
        Of the result, kept where they are there.
    """
    tracker.parameters(parameters)
    for name, value in scores.items():
        _log(tracker, "score", {name: math.nan if value is None else value}, 0)
    for file in files:
        if (out / file).is_file():
            tracker.artifact(out / file)


def _log(tracker: Tracker, curve: str, values: Mapping[str, float], step: int) -> None:
    """Log the numbers that are some."""
    for name, value in values.items():
        if math.isfinite(value):
            tracker.scalar(f"{curve}/{name}", float(value), step)


def _history(path: Path) -> list[dict[str, float]]:
    """Read the curves of a fold; a fold of another process has none here yet."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
