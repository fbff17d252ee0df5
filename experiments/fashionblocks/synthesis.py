"""FashionBlocks: a data set of drawn garments, made from a seed.

It stands in for the contest's photos where there are none: offline, license-free, any size, and hard in the same
ways.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from base_models.photos.encoding import encode_picture
from experiments.fashionblocks.annotation import annotate
from experiments.fashionblocks.wardrobe import LABELS, Garment, draw_garment_plan
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_json, atomic_write_text
from stacking.files.csv_cells import to_csv
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind, check_work_folder
from stacking.files.untrusted import read_json

if TYPE_CHECKING:
    from PIL import Image

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_MARKER, _UNFINISHED = "fashionblocks.json", "unfinished.json"
DATA_SET, UNFINISHED = (
    ResultKind("a FashionBlocks data set", name, lambda marker: () if "n_train" in marker else None)
    for name in (_MARKER, _UNFINISHED)
)
_QUALITY = 90  # of the JPEG: a choice; the pixels depend on it
_VERSION = 1


def draw_sample(split: str, number: int, size: int, seed: int) -> tuple[Image.Image, list[str]]:
    """Draw one photo of the data set and annotate it.

    Parameters
    ----------
    split : {"train", "validation", "test"}
        The split; validation and test share the shifted world.
    number : int
        Which photo of the split.
    size : int
        Side in pixels.
    seed : int
        Seed of the data set.

    Returns
    -------
    photo : PIL.Image.Image
        Mode RGB.
    labels : list of str
        Label names.

    Examples
    --------
    >>> photo, labels = draw_sample("test", 0, 64, seed=0)
    >>> photo.size, any(label.startswith("gender:") for label in labels)
    ((64, 64), True)
    """
    from experiments.fashionblocks.drawing import draw_photo  # needs pillow, which plans of garments do not

    garment, labels, rng = _plan_sample(split, number, seed)
    return draw_photo(garment, size, rng), labels


def _plan_sample(split: str, number: int, seed: int) -> tuple[Garment, list[str], np.random.Generator]:
    """Decide what a photo shows and how it is annotated; the generator goes on with the drawing."""
    # a generator per photo: any part of the data set can be made alone
    rng = np.random.default_rng((seed, _SPLITS.index(split), number))
    world: Literal["training", "shifted"] = "training" if split == "train" else "shifted"
    garment = draw_garment_plan(rng, world)
    return garment, annotate(garment, rng, world), rng


def synthesize(
    out: Path | str,
    *,
    n_train: int = 3000,
    n_validation: int = 600,
    n_test: int = 1000,
    size: int = 64,
    random_state: int | np.random.Generator | None = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a FashionBlocks data set in the form of the iMaterialist contest.

    Parameters
    ----------
    out : Path or str
        Folder to write to; new, empty, or holding the same data set whole or in part.
    n_train, n_validation, n_test : int
        Photos per split; a split of 0 photos is not written.
    size : int, default=64
        Side of the photos in pixels, at least 32.
    random_state : int, Generator or None, default=0
        An int makes the same photos every time.
    progress : callable, optional
        Called with photos written and photos in all.

    Returns
    -------
    Path
        `out`, which now holds ``train.json``, ``validation.json``, ``test.json``, ``labels.csv``
        (``labelId,name,count``), ``photos/<split>/<id>.jpg`` and, written last, ``fashionblocks.json``.

    Raises
    ------
    ValueError
        If a count is negative or none is positive, the size is too small, or `out` holds something else.

    Notes
    -----
    About 4 ms per photo of 64 pixels; each photo has a generator of its own, so a larger data set begins with the
    photos of a smaller one.
    """
    out = Path(out)
    counts = dict(zip(_SPLITS, (n_train, n_validation, n_test), strict=True))
    if min(counts.values()) < 0 or not any(counts.values()):
        raise ValueError(
            f"n_train, n_validation and n_test must be 0 or more, one of them positive: got {counts}; correct them."
        )
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, so that materials can be seen: got {size}; enlarge it.")
    seed = random_state if isinstance(random_state, int) else int(np.random.default_rng(random_state).integers(2**31))
    settings = {
        "version": _VERSION,
        "size": size,
        "seed": seed,
        **{f"n_{name}": count for name, count in counts.items()},
    }
    if _is_there(out, settings):
        left = out / _UNFINISHED  # of a run that was killed when all else was done
        if left.is_file() and read_json(left, f"the folder's {left}") == settings:
            left.unlink()
        return out
    with work_folder(out, UNFINISHED, settings):
        _write(out, counts, settings, progress)
        (out / _UNFINISHED).unlink()
    return out


def _write(
    out: Path, counts: dict[Split, int], settings: dict[str, Any], progress: Callable[[int, int], None] | None
) -> None:
    """Draw the photos that are not there, write the annotations and, last, that the set is whole."""
    from experiments.fashionblocks.drawing import draw_photo

    size, seed = settings["size"], settings["seed"]
    total, done = sum(counts.values()), 0
    label_counts = np.zeros(len(LABELS), dtype=np.int64)
    for split, count in counts.items():
        folder = out / "photos" / split
        folder.mkdir(parents=True, exist_ok=True)
        annotations: list[dict[str, object]] = []
        for number in range(count):
            photo_id = f"{split}-{number:06d}"
            path = folder / f"{photo_id}.jpg"
            garment, labels, rng = _plan_sample(split, number, seed)
            if not path.is_file():  # one that is there is whole
                data = encode_picture(draw_photo(garment, size, rng), quality=_QUALITY)
                atomic_write_bytes(path, data, sync=False)
            columns = sorted({LABELS.index(label) for label in labels})
            label_counts[columns] += split == "train"
            annotations.append({"imageId": photo_id, "labelId": [str(column + 1) for column in columns]})
            done += 1
            if progress is not None:
                progress(done, total)
        if count:
            _write_split(out, split, annotations)
    _write_labels(out, label_counts)
    atomic_write_json(out / _MARKER, settings)


def _is_there(out: Path, settings: dict[str, Any]) -> bool:
    """Return whether the data set is complete; refuse a folder that holds another, or something else."""
    is_whole = (out / _MARKER).is_file()
    check_work_folder(out, DATA_SET if is_whole else UNFINISHED)
    marker = out / (_MARKER if is_whole else _UNFINISHED)
    present = read_json(marker, f"the folder's {marker}") if marker.is_file() else settings
    if present != settings:
        raise ValueError(
            f"out must be a new folder or hold this data set: {str(out)!r} holds {present}; choose another."
        )
    return is_whole


def _write_split(out: Path, split: str, annotations: list[dict[str, object]]) -> None:
    """Write one contest file."""
    images = [{"imageId": a["imageId"], "url": f"photos/{split}/{a['imageId']}.jpg"} for a in annotations]
    info = {"description": f"FashionBlocks, {split}", "version": str(_VERSION)}
    atomic_write_json(out / f"{split}.json", {"info": info, "images": images, "annotations": annotations})


def _write_labels(out: Path, counts: NDArray[np.int64]) -> None:
    """Write the vocabulary with the counts of the training split."""
    rows = [(column + 1, name, int(counts[column])) for column, name in enumerate(LABELS)]
    atomic_write_text(out / "labels.csv", to_csv([("labelId", "name", "count"), *rows]))
