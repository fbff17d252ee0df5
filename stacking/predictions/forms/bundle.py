"""The bundle: predictions in one ``.npz`` file, for what fits in memory and for exchange.

Its keys are the arguments of :class:`~stacking.predictions.PredictionSet`. Pickled objects are never loaded. Writing
the same set twice gives the same bytes.
"""

import os
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice, first_names
from stacking.files.atomic_files import OutputRefusedError, atomic_writer, check_writable
from stacking.files.output_rules import check_output_file
from stacking.files.untrusted import read_npz
from stacking.links import sigmoid_in_place
from stacking.predictions.forms.matrix_files import header_bytes
from stacking.predictions.prediction_set import PredictionMetadata, PredictionSet
from stacking.predictions.sources import iter_blocks

MARK = b"labelstack predictions"
"""Comment of the first array in the archive, which distinguishes a bundle of ours from other files."""
REQUIRED = ("y_scores", "ids", "models", "labels")
OPTIONAL = tuple(key for key in PredictionMetadata.__annotations__ if key != "extras")


def load_bundle(path: str | os.PathLike[str], *, from_logits: bool = False) -> PredictionSet:
    """
    Read predictions from one ``.npz`` file.

    Parameters
    ----------
    path : path-like
        A file with the keys ``y_scores``, ``ids``, ``models``, ``labels`` and optionally ``y_true`` and the other
        arguments of `PredictionSet`. Other keys warn and are kept in ``extras``.
    from_logits : bool, default=False
        True where ``y_scores`` holds logits.

    Returns
    -------
    PredictionSet
        In memory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds Python objects, lacks a key, or its contents are invalid.
    """
    return bundle_of(read_npz(path), path, from_logits=from_logits)


def bundle_of(
    arrays: Mapping[str, npt.NDArray[Any]], path: str | os.PathLike[str], *, from_logits: bool = False
) -> PredictionSet:
    """
    Make predictions of the arrays of a file, by their names.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `load_bundle` takes them from its file.
    path : path-like
        The file, for errors.
    from_logits : bool, default=False
        True where ``y_scores`` holds logits.

    Returns
    -------
    PredictionSet
        In memory.

    Raises
    ------
    ValueError
        If one is missing or invalid.
    """
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        held = first_names(list(arrays), 9)
        raise ValueError(f"{path} must hold {', '.join(REQUIRED)}: it lacks {first_names(missing)} and holds {held}.")
    unknown = sorted(set(arrays) - set(REQUIRED) - set(OPTIONAL))
    if unknown:
        warnings.warn(f"{path} holds unknown keys {first_names(unknown, 9)}: kept in extras.", stacklevel=3)
    scores = arrays["y_scores"]
    if from_logits and scores.dtype.kind == "f":
        scores = scores.astype(np.float32)
        sigmoid_in_place(scores)
    metadata: dict[str, Any] = {key: arrays[key] for key in OPTIONAL if key in arrays}
    extras = {key: arrays[key] for key in unknown}
    names = (arrays["ids"], arrays["models"], arrays["labels"])
    try:
        return PredictionSet(scores, *names, extras=extras, **metadata)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def save_bundle(
    predictions: PredictionSet, path: str | os.PathLike[str], *, dtype: str = "float32", overwrite: bool = False
) -> Path:
    """
    Write predictions into one ``.npz`` file, a block of rows at a time.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions.
    path : path-like
        The file; its folder is made if it is absent.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk.
    overwrite : bool, default=False
        Replace a file that this function has written before.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputRefusedError
        If another file is there that is not to be replaced, or no bundle of ours.
    OSError
        If the folder cannot be written or the disk has too little space.
    TypeError
        If an entry of ``extras`` would need pickle.
    """
    target = Path(path)
    check_bundle_target(target, overwrite=overwrite)
    shape = (predictions.n_models, predictions.n_samples, predictions.n_labels)
    check_writable(target.parent, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(target, replace=overwrite) as file:
        write_bundle(predictions, file, dtype=dtype)
    return target


def write_bundle(predictions: PredictionSet, file: BinaryIO, *, dtype: str = "float32") -> None:
    """
    Write predictions as a bundle into an open file, a block of rows at a time.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions.
    file : file object
        Open for reading and writing bytes.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk.

    Raises
    ------
    OSError
        If the disk is full.
    TypeError
        If an entry of ``extras`` would need pickle.
    """
    check_choice(dtype, ("float32", "float16"), name="dtype")
    arrays: dict[str, Any] = {
        "ids": predictions.ids,
        "models": np.array(predictions.models),
        "labels": np.array(predictions.labels),
    }
    arrays |= {key: value for key, value in predictions.metadata().items() if value is not None and key != "extras"}
    arrays |= predictions.extras
    plain = {key: np.asarray(value) for key, value in arrays.items()}
    for key, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"{key} must hold numbers or strings to be saved: got dtype {array.dtype}; remove it.")
    shape = (predictions.n_models, predictions.n_samples, predictions.n_labels)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with _member(archive, "y_scores", MARK) as member:
            member.write(header_bytes(shape, dtype))
            _write_scores(predictions, member, dtype)
        for key, array in plain.items():
            with _member(archive, key) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def check_bundle_target(path: Path, *, overwrite: bool, inputs: Iterable[str | os.PathLike[str] | None] = ()) -> None:
    """
    Refuse a file that a bundle must not replace, before any work.

    Parameters
    ----------
    path : Path
        Where the bundle is to go.
    overwrite : bool
        Whether an earlier bundle may be replaced.
    inputs : iterable of path-like or None
        What it is made from.

    Raises
    ------
    OutputRefusedError
        If something is there that is not to be replaced, is not ours, or is an input.
    """
    check_output_file(path, overwrite=overwrite, inputs=inputs)
    if path.exists() and not _is_ours(path):
        raise OutputRefusedError(f"{path} is no bundle that labelstack wrote: choose another name.")


def _is_ours(path: Path) -> bool:
    """Return whether `save_bundle` has written a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()[0].comment == MARK
    except (OSError, ValueError, IndexError, zipfile.BadZipFile, NotImplementedError):
        return False


def _member(archive: zipfile.ZipFile, key: str, comment: bytes = b"") -> Any:
    """Open one array of an archive for writing, with a fixed date so that equal contents give equal bytes."""
    entry = zipfile.ZipInfo(f"{key}.npy")
    entry.comment = comment
    return archive.open(entry, "w", force_zip64=True)


def _write_scores(predictions: PredictionSet, member: BinaryIO, dtype: str) -> None:
    """Write the scores model by model."""
    for model in range(predictions.n_models):
        for _, scores in iter_blocks(partial(predictions.source.read, model), predictions.source.shape[1:]):
            member.write(np.ascontiguousarray(scores, dtype=dtype).data.cast("B"))
