"""The rows of a run: which photos, in which fold, which choose the epoch. Decided once, in ``RUN/splits.npz``.

A resumed run reads the decision instead of making it again, so neither a photo that has become readable nor a later
version of the package moves a row to another fold.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.dataset import PhotoTensors, check_photos
from base_models.manifest import Manifest
from base_models.member_config import TrainingRun
from base_models.progress import Progress, TrainingEvent
from base_models.run_folder import RunFolder, read_npz, write_npz

__all__ = ["RunData", "prepare_run_data"]

logger = logging.getLogger(__name__)

CHECKED_SIZE = 16  # photos are decoded whole, but kept small, when they are only checked


@dataclass
class RunData:
    """Photos, truth and folds of a run, over the readable photos only.

    Parameters
    ----------
    manifest : Manifest
        The whole data set.
    indices : ndarray of int64, shape (n_rows,)
        Row of the manifest for every row of the run.
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Truth.
    split : ndarray of str, shape (n_rows,)
        ``train``, ``validation`` or ``test``.
    fold : ndarray of int64, shape (n_rows,)
        Fold in which a training row is held out; −1 outside the training split.
    validation : ndarray of bool, shape (n_rows, n_folds)
        Rows that choose the epoch of each fold.
    """

    manifest: Manifest
    indices: NDArray[np.int64]
    y_true: NDArray[np.uint8]
    split: NDArray[np.str_]
    fold: NDArray[np.int64]
    validation: NDArray[np.bool_]

    @property
    def n_folds(self) -> int:
        """Return the number of folds.

        Returns
        -------
        int
            At least 2.
        """
        return self.validation.shape[1]

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """Return the positive training rows of each label.

        Returns
        -------
        ndarray of int64, shape (n_labels,)
            Counts.
        """
        return self.y_true[self.split == "train"].sum(axis=0, dtype=np.int64)

    @property
    def ids(self) -> NDArray[np.str_]:
        """Return the photo ids of the rows.

        Returns
        -------
        ndarray of str, shape (n_rows,)
            Ids.
        """
        return self.manifest.ids[self.indices]


def prepare_run_data(
    recipe: TrainingRun, manifest: Manifest, folder: RunFolder, progress: Progress | None = None
) -> RunData:
    """Read which photo is in which fold, or decide it once and for all.

    Parameters
    ----------
    recipe : TrainingRun
        Number of folds, seed, share of validation rows.
    manifest : Manifest
        The data set.
    folder : RunFolder
        The run; gets ``splits.npz`` and ``failures.csv``.
    progress : callable, optional
        Told how many photos were read.

    Returns
    -------
    RunData
        The rows of the run.

    Raises
    ------
    ValueError
        If photos or labels changed since the run was begun, or too few photos can be read.
    """
    path = folder.path / "splits.npz"
    if path.is_file():
        recorded = read_npz(path)
    else:
        recorded = _decide_splits(recipe, manifest, folder, progress)
        write_npz(path, **recorded)
    places = {name: row for row, name in enumerate(manifest.ids.tolist())}
    lost = [name for name in recorded["ids"].tolist() if name not in places]
    if lost:
        raise ValueError(
            f"data must still hold the photos that this run was begun with: {len(lost)} are gone, for example "
            f"{lost[0]!r}; bring them back, or begin another run."
        )
    indices = np.array([places[name] for name in recorded["ids"].tolist()], dtype=np.int64)
    y_true = np.ascontiguousarray(manifest.y_true[indices])
    _check_same_data(manifest, indices, y_true, recorded["split"], folder)
    return RunData(manifest, indices, y_true, recorded["split"], recorded["fold"], recorded["validation"])


def _check_same_data(
    manifest: Manifest,
    indices: NDArray[np.int64],
    y_true: NDArray[np.uint8],
    split: NDArray[np.str_],
    folder: RunFolder,
) -> None:
    """Record the data of a new run; refuse changed labels in an old one."""
    digest = hashlib.sha256(np.packbits(y_true).tobytes()).hexdigest()
    known = folder.manifest.get("data")
    if known is None:
        described = {
            "n_photos": len(indices),
            "n_labels": int(y_true.shape[1]),
            "n_train": int((split == "train").sum()),
            "n_unreadable": len(manifest) - len(indices),
            "n_missing": len(manifest.missing),
            "fingerprint": manifest.fingerprint,
            "y_true_sha256": digest,
            "labels": list(manifest.vocabulary.names),
            "label_groups": list(manifest.vocabulary.groups),
        }
        folder.record(data=described)
    elif known["y_true_sha256"] != digest or known["labels"] != list(manifest.vocabulary.names):
        raise ValueError(
            f"data must have the labels that this run was begun with: they changed since {folder.manifest['created']}; "
            "bring the annotations back, or begin another run."
        )


def _decide_splits(
    recipe: TrainingRun, manifest: Manifest, folder: RunFolder, progress: Progress | None
) -> dict[str, NDArray[Any]]:
    """Leave out unreadable photos, deal the training rows into folds and cut each fold's validation rows."""
    from stacking.folds import holdout_rows, stratified_group_folds

    source = PhotoTensors(manifest, np.arange(len(manifest)), CHECKED_SIZE, cache="none", n_workers=recipe.n_workers)
    unreadable = check_photos(source, _photo_counter(len(manifest), progress))
    failures = {str(manifest.ids[row]): reason for row, reason in unreadable.items()}
    folder.write_failures({**{name: "annotated, but not found" for name in manifest.missing}, **failures})
    if failures:
        logger.warning("%d photos cannot be read and are left out; see failures.csv", len(failures))
    kept = np.setdiff1d(np.arange(len(manifest)), np.array(list(unreadable), dtype=np.int64))
    split = manifest.split[kept]
    train = np.flatnonzero(split == "train")
    n_folds, seed = recipe.folds.n_folds, recipe.folds.seed
    if len(train) < 2 * n_folds:
        raise ValueError(
            f"n_folds must leave at least two photos a fold: got {n_folds} folds for {len(train)} training photos that "
            "can be read."
        )
    y_true = manifest.y_true[kept][train]
    groups = None if manifest.groups is None else manifest.groups[kept][train]
    fold = np.full(len(kept), -1, dtype=np.int64)
    fold[train] = stratified_group_folds(y_true, n_folds, groups=groups, random_state=seed)
    validation = np.zeros((len(kept), n_folds), dtype=bool)
    for k in range(n_folds):
        rest = np.flatnonzero(fold[train] != k)
        inside = None if groups is None else groups[rest]
        cut = holdout_rows(y_true[rest], recipe.folds.validation_fraction, groups=inside, random_state=seed + 1 + k)
        validation[train[rest[cut]], k] = True
    return {"ids": manifest.ids[kept], "split": split, "fold": fold, "validation": validation}


def _photo_counter(n_photos: int, progress: Progress | None) -> Any:
    """Return a callback that reports decoded photos."""
    if progress is None:
        return None
    return lambda n_read: progress(
        TrainingEvent("photos", step=n_read, n_steps=n_photos, message=f"{n_read} of {n_photos} photos checked")
    )
