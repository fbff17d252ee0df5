"""The rows of a run: which photos, in which fold, which choose the epoch. Decided once, in ``RUN/splits.npz``.

A run with one network per member has a single fold: its held-out rows are the holdout, and nothing else is in a fold.

A resumed run reads the decision instead of making it again, so neither a photo that has become readable nor a later
version of the package moves a row to another fold.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.manifest import Manifest
from base_models.packed.photo_pack import PackedPhotos
from base_models.photos.tensors import PhotoTensors, check_photos
from base_models.recipe.folds import FoldConfig
from base_models.recipe.run import TrainingRun
from base_models.runs.folder import RunFolder, write_npz
from base_models.training.progress import Progress, TrainingEvent
from stacking.files.untrusted import read_npz

logger = logging.getLogger(__name__)

CHECKED_SIZE = 16  # photos are decoded whole, but kept small, when they are only checked


@dataclass
class RunData:
    """Photos, truth and held-out rows of a run, over the readable photos only.

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
        Fold whose network scores the row as held out; −1 for rows that are held out nowhere.
    validation : ndarray of bool, shape (n_rows, n_folds)
        Rows that choose the epoch of each fold.
    packed : mapping of int to PackedPhotos
        The rows' photos by size, where they are packed.
    """

    manifest: Manifest
    indices: NDArray[np.int64]
    y_true: NDArray[np.uint8]
    split: NDArray[np.str_]
    fold: NDArray[np.int64]
    validation: NDArray[np.bool_]
    packed: Mapping[int, PackedPhotos] = field(default_factory=dict)

    @property
    def n_folds(self) -> int:
        """Return the number of folds: 1 where a holdout is scored; a refit counts as a fold that holds no row out."""
        return self.validation.shape[1]

    @property
    def learning(self) -> NDArray[np.bool_]:
        """Return the rows that a network learns from: the training split, without the holdout if there is one."""
        in_training = self.split == "train"
        return in_training & (self.fold < 0) if self.n_folds == 1 else in_training

    def rows_of(self, store: str) -> NDArray[np.int64]:
        """Return the rows that a store of the run holds.

        Parameters
        ----------
        store : {"oof", "validation", "test"}
            Its name.

        Returns
        -------
        ndarray of int64
            Ascending. Every row that is held out is in ``oof`` and nowhere else.
        """
        return np.flatnonzero(self.fold >= 0 if store == "oof" else (self.split == store) & (self.fold < 0))

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """Return the positive rows of each label among those that are learned from."""
        return self.y_true[self.learning].sum(axis=0, dtype=np.int64)

    @property
    def ids(self) -> NDArray[np.str_]:
        """Return the photo ids of the rows."""
        return self.manifest.ids[self.indices]


def prepare_run_data(
    recipe: TrainingRun,
    manifest: Manifest,
    folder: RunFolder,
    progress: Progress | None = None,
    packed: Mapping[int, PackedPhotos] | None = None,
) -> RunData:
    """Read which photo is in which fold, or decide it once and for all.

    Parameters
    ----------
    recipe : TrainingRun
        Scheme, number of folds, seed, share of validation rows.
    manifest : Manifest
        The data set.
    folder : RunFolder
        The run; gets ``splits.npz`` and ``failures.csv``.
    progress : callable, optional
        Called with the number of photos that were read.
    packed : mapping of int to PackedPhotos, optional
        The data set's photos by size, where they are packed: those that cannot be read are known then.

    Returns
    -------
    RunData
        The rows of the run.

    Raises
    ------
    ValueError
        If photos or labels changed since the run was started, or too few photos can be read.
    """
    path, packed = folder.path / "splits.npz", packed or {}
    if path.is_file():
        recorded = read_npz(path)
    else:
        recorded = _decide_splits(recipe, manifest, folder, progress, packed)
        write_npz(path, **recorded)
    places = {name: row for row, name in enumerate(manifest.ids.tolist())}
    lost = [name for name in recorded["ids"].tolist() if name not in places]
    if lost:
        raise ValueError(
            f"data must still hold the photos that this run was started with: {len(lost)} are gone, for example "
            f"{lost[0]!r}; bring them back, or begin another run."
        )
    indices = np.array([places[name] for name in recorded["ids"].tolist()], dtype=np.int64)
    y_true = np.ascontiguousarray(manifest.y_true[indices])
    _check_same_data(manifest, indices, y_true, recorded["split"], folder)
    of_rows = {size: photos.select(indices) for size, photos in packed.items()}
    return RunData(manifest, indices, y_true, recorded["split"], recorded["fold"], recorded["validation"], of_rows)


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
            "label_ids": list(manifest.vocabulary.ids),
        }
        folder.record(data=described)
    elif known["y_true_sha256"] != digest or known["labels"] != list(manifest.vocabulary.names):
        raise ValueError(
            "data must have the labels that this run was started with: they changed since "
            f"{folder.manifest['created']}; bring the annotations back, or begin another run."
        )


def _decide_splits(
    recipe: TrainingRun,
    manifest: Manifest,
    folder: RunFolder,
    progress: Progress | None,
    packed: Mapping[int, PackedPhotos],
) -> dict[str, NDArray[Any]]:
    """Leave out unreadable photos, choose the held-out rows and cut each network's validation rows."""
    from stacking.folds import holdout_rows

    if packed:  # whoever packed them has read them all
        unreadable = {row: why for photos in packed.values() for row, why in photos.failures.items()}
    else:
        rows = np.arange(len(manifest))
        source = PhotoTensors(manifest, rows, CHECKED_SIZE, cache="none", n_workers=recipe.n_workers)
        unreadable = check_photos(source, _photo_counter(len(manifest), progress))
    failures = {str(manifest.ids[row]): reason for row, reason in sorted(unreadable.items())}
    folder.write_failures({**{name: "annotated, but not found" for name in manifest.missing}, **failures})
    if failures:
        logger.warning("%d photos cannot be read and are left out; see failures.csv", len(failures))
    kept = np.setdiff1d(np.arange(len(manifest)), np.array(list(unreadable), dtype=np.int64))
    split, y_true = manifest.split[kept], manifest.y_true[kept]
    groups = None if manifest.groups is None else manifest.groups[kept]
    fold = _hold_out(recipe.folds, split, y_true, groups)
    validation = np.zeros((len(kept), recipe.folds.n_networks), dtype=bool)
    for k in range(recipe.folds.n_networks):
        rest = np.flatnonzero((split == "train") & (fold != k))
        inside, seed = None if groups is None else groups[rest], recipe.folds.seed + 1 + k
        cut = holdout_rows(y_true[rest], recipe.folds.validation_fraction, groups=inside, random_state=seed)
        validation[rest[cut], k] = True
    return {"ids": manifest.ids[kept], "split": split, "fold": fold, "validation": validation}


def _hold_out(
    folds: FoldConfig, split: NDArray[np.str_], y_true: NDArray[np.uint8], groups: NDArray[np.str_] | None
) -> NDArray[np.int64]:
    """Return the fold that holds each row out, −1 for none."""
    from stacking.folds import holdout_rows, stratified_group_folds

    train = np.flatnonzero(split == "train")
    inside = None if groups is None else groups[train]
    fold = np.full(len(split), -1, dtype=np.int64)
    if folds.scheme == "out-of-fold":
        if len(train) < 2 * folds.n_folds:
            raise ValueError(
                f"n_folds must leave at least two photos a fold: got {folds.n_folds} folds for {len(train)} training "
                "photos that can be read."
            )
        fold[train] = stratified_group_folds(y_true[train], folds.n_folds, groups=inside, random_state=folds.seed)
    elif folds.scheme == "holdout":
        if len(train) < 4:
            raise ValueError(f"scheme 'holdout' needs at least 4 training photos that can be read: got {len(train)}.")
        held = holdout_rows(y_true[train], folds.holdout_fraction, groups=inside, random_state=folds.seed)
        fold[train[held]] = 0
    else:
        _check_validation_split(split, groups)
        fold[split == "validation"] = 0
    return fold


def _check_validation_split(split: NDArray[np.str_], groups: NDArray[np.str_] | None) -> None:
    """Refuse a validation split that cannot be the holdout."""
    held, train = split == "validation", split == "train"
    if not held.any() or train.sum() < 2:
        raise ValueError(
            f"scheme 'validation-split' needs a validation split in the data, and two training photos beside it: got "
            f"{held.sum()} and {train.sum()} photos that can be read; use scheme 'holdout', or name the split."
        )
    shared = np.intersect1d(groups[held], groups[train]) if groups is not None else np.empty(0, np.str_)
    shared = shared[shared != ""]  # photos of no group stand alone
    if len(shared):
        raise ValueError(
            f"the validation split must share no group with the training split to be the holdout: {len(shared)} groups "
            f"are in both, for example {str(shared[0])!r}; use scheme 'holdout', which keeps groups together."
        )


def _photo_counter(n_photos: int, progress: Progress | None) -> Any:
    """Return a callback that reports decoded photos."""
    if progress is None:
        return None
    return lambda n_read: progress(
        TrainingEvent("photos", step=n_read, n_steps=n_photos, message=f"{n_read} of {n_photos} photos checked")
    )
