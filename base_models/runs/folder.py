"""The run folder: one recipe, one process at a time, complete at any moment.

``RUN/manifest.json`` records the recipe, versions, seed and threads; ``RUN/recipe.toml`` is the recipe again, for
people; ``RUN/splits.npz`` says which photo is in which fold and validation part, decided once; ``RUN/failures.csv``
lists the photos that cannot be read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from base_models.recipe.canonical import canonical_recipe, recipe_hash, to_toml
from base_models.recipe.folds import FoldConfig
from base_models.recipe.run import TrainingRun
from base_models.training.distributed import ProcessGroup
from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_json,
    atomic_write_npz,
    atomic_write_text,
    check_writable,
)
from stacking.files.csv_cells import guard_cell, to_csv
from stacking.files.ending import ending_with
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind, check_folder, check_work_folder
from stacking.files.untrusted import read_json
from stacking.files.versions import installed_versions

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1  # raised when earlier versions could not read the folder
RUN = ResultKind("a run folder", "manifest.json", lambda manifest: () if "recipe_hash" in manifest else None)
BYTES_PER_NETWORK = 60 * 2**20  # 15.7 million float32 weights: a guess, for the check of free space before a run
OOF_WORDS = {
    "out-of-fold": "each row scored by the fold model that did not see it",
    "holdout": "a holdout of the training rows, scored by the one network, which did not see it",
    "validation-split": "the validation split, scored by the one network, which did not see it",
}
NEW_PHOTOS_WORDS = {
    "mean": "arithmetic mean of the fold models",
    "logit-mean": "logit mean of the fold models",
    "refit": "one model more, trained on the rows of all folds",
}
PACKAGES = ("labelstack", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "iterative-stratification")


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    manifest : dict
        Content of ``manifest.json``.
    writes : bool
        False in the processes that follow the one which writes.
    """

    path: Path
    manifest: dict[str, Any]
    writes: bool = True

    def fold_folder(self, member: str, fold: int) -> Path:
        """Return the folder of one member and fold.

        Parameters
        ----------
        member : str
            Name of the member.
        fold : int
            Number of the fold, from 0.

        Returns
        -------
        pathlib.Path
            ``RUN/members/<member>/fold<k>``.
        """
        return self.path / "members" / member / f"fold{fold}"

    def record(self, **entries: Any) -> None:
        """Add entries to the manifest and write it, if this process does.

        Parameters
        ----------
        **entries : JSON values
            What to record.
        """
        self.manifest.update(entries)
        if self.writes:
            atomic_write_json(self.path / "manifest.json", self.manifest)

    def write_failures(self, failures: dict[str, str]) -> None:
        """Write ``failures.csv``.

        Parameters
        ----------
        failures : dict of str to str
            The reason by photo id.
        """
        rows = [("id", "reason"), *((name, guard_cell(reason)) for name, reason in failures.items())]
        atomic_write_text(self.path / "failures.csv", to_csv(rows))


@contextlib.contextmanager
def open_run_folder(out: Path, recipe: TrainingRun, *, n_threads: int, device: str) -> Iterator[RunFolder]:
    """Open or create the folder of a run, for this process alone.

    Parameters
    ----------
    out : pathlib.Path
        The folder.
    recipe : TrainingRun
        The recipe it must belong to.
    n_threads : int
        Threads to record in a new folder.
    device : str
        Device to record.

    Yields
    ------
    RunFolder
        The opened folder.

    Raises
    ------
    ValueError
        If the folder belongs to another recipe or is no run folder, cannot be written, has too little space, or is in
        use. The recipe it was started with may have gained members: those are added to the run.
    """
    _check_place(out, recipe)
    claim = work_folder(out, RUN)
    try:
        check_writable(out, _expected_bytes(recipe))
        claim.__enter__()
    except OutputRefusedError:
        raise
    except OSError as error:
        raise ValueError(f"out must be a free folder with room: {out}: {error.strerror}.") from error
    with ending_with(lambda: claim.__exit__(None, None, None)):
        path = out / "manifest.json"
        if path.is_file():
            folder = RunFolder(out, read_json(path, f"the run folder's {path}"))
        else:
            folder = RunFolder(out, _new_manifest(recipe, n_threads, device))
        changes: dict[str, Any] = {}
        if folder.manifest["recipe_hash"] != recipe_hash(recipe):
            logger.info("members are added to the run in %s", out)
            changes = {"recipe_hash": recipe_hash(recipe), "recipe": canonical_recipe(recipe), "finished": False}
        folder.record(**changes)  # first, since it says whose the folder is
        text = to_toml(canonical_recipe(recipe))
        if not (out / "recipe.toml").is_file() or (out / "recipe.toml").read_text(encoding="utf-8") != text:
            atomic_write_text(out / "recipe.toml", text)
        folder.record(runs_started=int(folder.manifest.get("runs_started", 0)) + 1)
        yield folder


@contextlib.contextmanager
def share_run_folder(
    out: Path, recipe: TrainingRun, processes: ProcessGroup, *, n_threads: int, device: str
) -> Iterator[RunFolder]:
    """Open the folder of a run for all its processes: the first as ``open_run_folder`` does, the others to follow.

    Parameters
    ----------
    out : pathlib.Path
        The folder.
    recipe : TrainingRun
        The recipe it must belong to.
    processes : ProcessGroup
        Those of the run.
    n_threads : int
        Threads to record in a new folder.
    device : str
        Device to record.

    Yields
    ------
    RunFolder
        The folder; only the first process's writes.
    """
    if not processes.is_first:
        processes.wait()
        manifest = read_json(out / "manifest.json", f"the run folder's {out / 'manifest.json'}")
        yield RunFolder(out, manifest, writes=False)
        return
    with open_run_folder(out, recipe, n_threads=n_threads, device=device) as folder:
        n_at_start = int(folder.manifest.get("n_processes", 1))
        if n_at_start != processes.count:
            if "data" in folder.manifest:
                logger.warning(
                    "this run was started with %d processes and goes on with %d: another sum of the same gradients",
                    n_at_start,
                    processes.count,
                )
            folder.record(n_processes=processes.count)
        processes.wait()
        yield folder


def write_npz(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays to one uncompressed .npz file, atomically.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    **arrays : ndarray
        Arrays by name; no objects.
    """
    atomic_write_npz(path, arrays)


def _check_place(out: Path, recipe: TrainingRun) -> None:
    """Refuse a place that cannot become or go on being this run's folder, before any work."""
    check_folder(out)
    manifest = out / "manifest.json"
    if manifest.is_file():
        recorded = read_json(manifest, f"the run folder's {manifest}")
        if "recipe_hash" not in recorded:
            raise ValueError(f"out must be a run folder: {manifest} belongs to something else; give another folder.")
        here = canonical_recipe(recipe)
        if recorded["recipe_hash"] != recipe_hash(recipe) and not _only_adds_members(recorded["recipe"], here):
            difference = _first_difference(recorded["recipe"], here)
            raise ValueError(
                f"out must belong to this recipe: in {out}, {difference}; give another folder, or the recipe it "
                "was started with."
            )
    else:
        check_work_folder(out, RUN)


def _only_adds_members(there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Tell whether a recipe is the recorded one with further members: their folds do not touch finished ones."""
    growing = ("members", "derived")
    kept = all(entry in here.get(key, ()) for key in growing for entry in there.get(key, ()))
    return kept and all(there.get(key) == here.get(key) for key in there.keys() | here.keys() if key not in growing)


def _expected_bytes(recipe: TrainingRun) -> int:
    """Guess what a run writes: kept weights of every fold, and one training state.

    The state is four times the weights: the last ones, their average, and the two moments of AdamW. For one or two
    members, which may be tiny, 128 MiB are asked for: a choice.
    """
    return BYTES_PER_NETWORK * (len(recipe.members) * recipe.folds.n_networks + 4) if len(recipe.members) > 2 else 2**27


def _new_manifest(recipe: TrainingRun, n_threads: int, device: str) -> dict[str, Any]:
    """Record what decides and describes a new run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "training run",
        "recipe_hash": recipe_hash(recipe),
        "recipe": canonical_recipe(recipe),
        "seed": recipe.seed,
        "n_threads": n_threads,
        "device": device,
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES)},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "scheme": {"oof": OOF_WORDS[recipe.folds.scheme], "new_photos": _new_photos_words(recipe.folds)},
        "runs_started": 0,
    }


def _new_photos_words(folds: FoldConfig) -> str:
    """Say what scores new photos."""
    return NEW_PHOTOS_WORDS[folds.new_photos] if folds.scheme == "out-of-fold" else "the one network"


def _first_difference(there: Any, here: Any, path: str = "") -> str:
    """Name the first value in which two canonical recipes differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(set(there) | set(here)):
            inner = f"{path}.{key}" if path else key
            if key not in there or key not in here:
                shown = (json.dumps(side[key])[:80] if key in side else "the default" for side in (there, here))
                return "{} is {} there and {} here".format(inner, *shown)
            if there[key] != here[key]:
                return _first_difference(there[key], here[key], inner)
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return f"{path} has {len(there)} entries there and {len(here)} here"
        for place, (left, right) in enumerate(zip(there, here, strict=True)):
            if left != right:
                name = left.get("name", place) if isinstance(left, dict) else place
                return _first_difference(left, right, f"{path}.{name}")
    return f"{path} is {json.dumps(there)[:80]} there and {json.dumps(here)[:80]} here"
