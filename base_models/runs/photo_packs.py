"""The packed photos of a run: found in the run's or a shared folder, or decoded once before training starts."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.manifest import Manifest
from base_models.packed.packing import PackOptions, pack_photos
from base_models.packed.photo_pack import PackedPhotos
from base_models.recipe.run import TrainingRun
from base_models.runs.folder import RunFolder
from base_models.training.progress import Progress, TrainingEvent
from stacking.files.remote import path_of
from stacking.process.memory import GIB


def pack_for_run(
    recipe: TrainingRun, manifest: Manifest, folder: RunFolder, n_workers: int = -1, progress: Progress | None = None
) -> dict[int, PackedPhotos]:
    """Pack the photos of a run at the sizes of the members that are still to be trained.

    Parameters
    ----------
    recipe : TrainingRun
        Members, where packs are kept, and how much space they may take.
    manifest : Manifest
        The data set.
    folder : RunFolder
        The run.
    n_workers : int
        Processes that decode; -1 starts one per processor where there is enough to do.
    progress : callable, optional
        Called with a ``TrainingEvent`` of kind ``photos`` now and then.

    Returns
    -------
    dict of int to PackedPhotos
        Row by row of the manifest, by size; without the sizes that may not be packed.

    Raises
    ------
    ValueError
        If the folder cannot be used or has too little space.
    """
    place = packs_folder(recipe, folder)
    sizes = {
        member.size
        for member in recipe.members
        if member.features == "live"
        and not all(
            (folder.fold_folder(member.name, fold) / "done.json").is_file() for fold in range(recipe.folds.n_networks)
        )
    }
    if not sizes or (not recipe.photos_gib and isinstance(place, Path) and not place.is_dir()):
        return {}
    try:
        return pack_photos(
            manifest.ids,
            manifest.photos,
            sorted(sizes),
            place,
            PackOptions(n_workers, round(recipe.photos_gib * GIB)),
            on_photos=None if progress is None else photo_counter(len(manifest), progress),
        )
    except OSError as error:
        if isinstance(error, ValueError):  # it says itself what is in the way
            raise
        raise ValueError(
            f"photos_folder must have room for the packed photos: {place}: {error.strerror or error}; or set "
            "photos_gib = 0 to decode them in every epoch."
        ) from error


def describe_packed(packed: Mapping[int, PackedPhotos]) -> list[dict[str, Any]]:
    """Describe packed photos in JSON, so that another process of this machine need not look for them.

    Parameters
    ----------
    packed : mapping of int to PackedPhotos
        By size.

    Returns
    -------
    list of dict
        For `restore_packed`; photos in the order of the pack take a few words.
    """
    return [
        {
            "path": str(photos.path.resolve()),
            "size": size,
            "n_photos": len(photos),
            "rows": "" if (photos.rows == np.arange(len(photos))).all() else _as_text(photos.rows),
            "failures": sorted(photos.failures.items()),
        }
        for size, photos in packed.items()
    ]


def restore_packed(described: Sequence[Mapping[str, Any]]) -> dict[int, PackedPhotos]:
    """Return the photos that `describe_packed` described.

    Parameters
    ----------
    described : sequence of mapping
        From the same version of this module.

    Returns
    -------
    dict of int to PackedPhotos
        By size.
    """
    return {
        int(each["size"]): PackedPhotos(
            Path(each["path"]),
            int(each["size"]),
            _as_rows(each["rows"]) if each["rows"] else np.arange(int(each["n_photos"])),
            dict(map(tuple, each["failures"])),
        )
        for each in described
    }


def _as_text(rows: NDArray[np.int64]) -> str:
    """Write row numbers as text."""
    return base64.b64encode(zlib.compress(rows.astype("<i8").tobytes(), level=1)).decode("ascii")


def _as_rows(text: str) -> NDArray[np.int64]:
    """Read row numbers."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8").astype(np.int64)


def packed_bytes(recipe: TrainingRun, n_photos: int) -> int:
    """Return the disk space that a run's packed photos take, where nothing is packed yet.

    Parameters
    ----------
    recipe : TrainingRun
        Members, and how much space packs may take.
    n_photos : int
        Photos of the data set.

    Returns
    -------
    int
        Bytes; 0 where photos are not packed.
    """
    sizes = {member.size for member in recipe.members if member.features == "live"}
    n_bytes = sum(3 * size * size for size in sizes) * n_photos
    return n_bytes if n_bytes <= recipe.photos_gib * GIB else 0


def packs_folder(recipe: TrainingRun, folder: RunFolder) -> Path | str:
    """Return where a run's packs are.

    Parameters
    ----------
    recipe : TrainingRun
        ``photos_folder``.
    folder : RunFolder
        The run.

    Returns
    -------
    pathlib.Path or str
        ``RUN/photos`` where the recipe names no folder; a URL where it names one.
    """
    if not recipe.photos_folder:
        return folder.path / "photos"
    return path_of(recipe.photos_folder) or recipe.photos_folder


def photo_counter(n_photos: int, progress: Progress) -> Callable[[int], None]:
    """Return a callback that reports packed photos.

    Parameters
    ----------
    n_photos : int
        Photos to do.
    progress : callable
        Takes a ``TrainingEvent``.

    Returns
    -------
    callable
        Takes the number of photos done.
    """

    def count(n_done: int) -> None:
        message = f"{n_done} of {n_photos} photos packed"
        progress(TrainingEvent("photos", step=n_done, n_steps=n_photos, message=message))

    return count
