"""A finished run: the path of its folder, which also knows what lies in it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from stacking.files.untrusted import read_json
from stacking.predictions import PredictionSet, load_predictions


class TrainedRun(type(Path())):  # type: ignore[misc]  # the path class of this system, which mypy cannot name
    """The folder of a training run.

    It is a `pathlib.Path`, so that all that takes a path takes it: ``labelstack.report(run, "report")`` writes its
    report.
    """

    @property
    def oof(self) -> PredictionSet:
        """Return the members' scores of rows that they did not see, with the truth; read from disk when asked."""
        return load_predictions(Path(self, "oof"))

    @property
    def test(self) -> PredictionSet | None:
        """Return the members' scores of the test split; None where the data has none."""
        return self._store("test")

    @property
    def validation(self) -> PredictionSet | None:
        """Return the members' scores of the validation split; None where the data has none, or it is in `oof`."""
        return self._store("validation")

    @property
    def manifest(self) -> dict[str, Any]:
        """Return what the run records of itself: recipe, versions, seed, threads, members that failed."""
        return read_json(Path(self, "manifest.json"), f"the run folder's {Path(self, 'manifest.json')}")

    @property
    def histories(self) -> dict[str, list[list[dict[str, float]]]]:
        """Return the epochs of every fold of every trained member: losses, scores, rates, seconds."""
        members = sorted(folder for folder in Path(self, "members").iterdir() if folder.is_dir())
        return {member.name: [_read_history(fold) for fold in _folds(member)] for member in members}

    def _store(self, name: str) -> PredictionSet | None:
        """Open a store, if there is one."""
        place = Path(self, name)
        return load_predictions(place) if (place / "index.json").is_file() else None


def _folds(member: Path) -> list[Path]:
    """Return the folders of a member's folds that have a history, in order."""
    found = [folder for folder in member.glob("fold*") if (folder / "history.csv").is_file()]
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("fold")))


def _read_history(fold: Path) -> list[dict[str, float]]:
    """Read the epochs of one fold; what is no number is left out."""
    with (fold / "history.csv").open(newline="", encoding="utf-8") as file:
        return [_numbers(row) for row in csv.DictReader(file)]


def _numbers(row: dict[str, str]) -> dict[str, float]:
    """Keep the cells that are numbers."""
    found = {}
    for key, cell in row.items():
        try:
            found[key] = float(cell)
        except ValueError:
            continue
    return found
