"""Change prediction stores: pack predictions into one, add or drop models, add the copy for reading label by label.

A change writes new files first, then the index, then removes what the index no longer names: a store is whole at every
moment.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stacking._checks import BoolArray, check_model_scores
from stacking.files.atomic_files import (
    atomic_write_npy,
    atomic_writer,
    check_writable,
    preallocate,
    run_lock,
    sync_folder,
)
from stacking.predictions.alignment import align_predictions
from stacking.predictions.forms.matrix_files import MatrixFile, header_bytes
from stacking.predictions.forms.store import hash_matrix, load_store, remove_unlisted, write_at, write_store
from stacking.predictions.forms.store_index import StoreIndex, describe_file, read_index
from stacking.predictions.prediction_set import PredictionSet
from stacking.predictions.selection import select_positions
from stacking.predictions.sources import ALL, rows_per_block

PathLike = str | os.PathLike[str]


def pack_predictions(
    predictions: PredictionSet,
    folder: PathLike,
    *,
    dtype: str = "float32",
    by_label: bool = False,
    overwrite: bool = False,
) -> Path:
    """
    Write predictions of any form as a store.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions; see `load_predictions`.
    folder : path-like
        The store.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk.
    by_label : bool, default=False
        Also write the copy for reading label by label, which doubles the size.
    overwrite : bool, default=False
        Replace a store that is already there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If there is a store already, or the folder holds something else.
    OSError
        If another run works in the folder, it cannot be written, or the disk has too little space.
    """
    with run_lock(folder):
        write_store(predictions, folder, dtype=dtype, overwrite=overwrite)
        if by_label:
            _add_by_label(Path(folder))
    return Path(folder)


def add_models(folder: PathLike, predictions: PredictionSet) -> Path:
    """
    Add models to a store.

    Parameters
    ----------
    folder : path-like
        The store.
    predictions : PredictionSet
        The new models, for the same samples in any order; labels that they lack are not covered.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    OSError
        If another run works in the folder, it cannot be written, or the disk has too little space.
    ValueError
        If a model is there already, or samples or labels do not match.
    """
    place = Path(folder)
    read_index(place, verify=False)
    with run_lock(place):
        index = read_index(place)
        old = load_store(place, verify=False)
        joined = align_predictions([old, predictions], ids=old.ids, labels=old.labels)
        new = joined.subset(models=list(predictions.models))
        copies = 2 if index.by_label else 1
        check_writable(place, copies * new.n_models * new.n_samples * new.n_labels * np.dtype(index.dtype).itemsize)
        names: list[str] = []
        content: list[str] = []
        for model in range(new.n_models):
            names.append(f"scores/{_next_number(index, len(names)):04d}.npy")
            _write_rows(new, model, place / names[-1], index.dtype)
            content.append(hash_matrix(MatrixFile.open(place / names[-1])))
        grown = replace(
            index,
            models=[*index.models, *new.models],
            scores=[*index.scores, *names],
            content=[*index.content, *content],
            files=index.files | {name: describe_file(place / name) for name in names},
        )
        grown = _with_covers(place, grown, joined.covers)
        if index.by_label:
            grown = _with_by_label(place, grown)
        _commit(place, grown)
    return place


def drop_models(folder: PathLike, models: Sequence[str]) -> Path:
    """
    Remove models from a store.

    Parameters
    ----------
    folder : path-like
        The store.
    models : sequence of str
        Their names; at least one other must stay.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    OSError
        If another run works in the folder or it cannot be written.
    ValueError
        If a model is not there, or none would stay.
    """
    place = Path(folder)
    read_index(place, verify=False)
    with run_lock(place):
        index = read_index(place)
        dropped = set(select_positions(list(models), index.models, "models").tolist())
        kept = [position for position in range(len(index.models)) if position not in dropped]
        if not kept:
            raise ValueError(
                f"models must leave at least one in the store: got all {len(dropped)}; delete the folder instead."
            )
        covers = load_store(place, verify=False).covers[kept]
        shrunk = replace(
            index,
            models=[index.models[position] for position in kept],
            scores=[index.scores[position] for position in kept],
            content=[index.content[position] for position in kept],
            by_label=[index.by_label[position] for position in kept] if index.by_label else [],
        )
        _commit(place, _with_covers(place, shrunk, covers))
    return place


def add_by_label_copy(folder: PathLike) -> Path:
    """
    Write a second copy of a store's scores in which a label lies together.

    Reading label by label then costs one pass over the files instead of one per panel of labels; the store doubles its
    size.

    Parameters
    ----------
    folder : path-like
        The store; nothing happens where it has the copy already.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    OSError
        If another run works in the folder, it cannot be written, or the disk has too little space.
    """
    place = Path(folder)
    read_index(place, verify=False)
    with run_lock(place):
        _add_by_label(place)
    return place


def _add_by_label(folder: Path) -> None:
    """Add the copy to a store that is locked."""
    index = read_index(folder)
    if not index.by_label:
        check_writable(folder, sum(index.files[name]["bytes"] for name in index.scores))
        _commit(folder, _with_by_label(folder, index))


def _with_by_label(folder: Path, index: StoreIndex) -> StoreIndex:
    """Write the label-major copies that are missing and name them in the index."""
    (folder / "by_label").mkdir(exist_ok=True)
    names = [name.replace("scores/", "by_label/") for name in index.scores]
    for source, name in zip(index.scores, names, strict=True):
        if name not in index.files:
            _write_by_label(MatrixFile.open(folder / source), folder / name)
    sync_folder(folder / "by_label")
    new = {name: describe_file(folder / name) for name in names if name not in index.files}
    return replace(index, by_label=names, files=index.files | new)


def _write_by_label(matrix: MatrixFile, path: Path) -> None:
    """Transpose one file block by block."""
    header = header_bytes((matrix.n_rows, matrix.n_columns), matrix.dtype, by_column=True)
    width = matrix.dtype.itemsize
    block = rows_per_block(matrix.n_columns)
    with atomic_writer(path) as file:
        preallocate(file, len(header) + matrix.n_rows * matrix.n_columns * width)
        file.write(header)
        file.flush()
        for start in range(0, matrix.n_rows, block):
            rows = slice(start, min(start + block, matrix.n_rows))
            scores = np.empty((rows.stop - start, matrix.n_columns), np.float32)
            matrix.read(rows, ALL, scores)
            lines = np.ascontiguousarray(scores.T, dtype=matrix.dtype)
            for label, line in enumerate(lines):
                write_at(file.fileno(), line, len(header) + (label * matrix.n_rows + start) * width)


def _write_rows(predictions: PredictionSet, model: int, path: Path, dtype: str) -> None:
    """Write one model's file block by block."""
    header = header_bytes((predictions.n_samples, predictions.n_labels), dtype)
    block = rows_per_block(predictions.n_labels)
    with atomic_writer(path) as file:
        size = predictions.n_samples * predictions.n_labels * np.dtype(dtype).itemsize
        preallocate(file, len(header) + size)
        file.write(header)
        for start in range(0, predictions.n_samples, block):
            rows = slice(start, min(start + block, predictions.n_samples))
            scores = np.empty((rows.stop - start, predictions.n_labels), np.float32)
            predictions.source.read(model, rows, ALL, scores)
            name, covers = predictions.models[model], predictions.covers[model]
            check_model_scores(scores, covers, model=name, ids=predictions.ids[rows], labels=predictions.labels)
            file.write(np.ascontiguousarray(scores, dtype=dtype).data.cast("B"))


def _with_covers(folder: Path, index: StoreIndex, covers: BoolArray) -> StoreIndex:
    """Write the coverage under a new name, since the old file belongs to the index that still holds."""
    facts = {key: name for key, name in index.facts.items() if key != "covers"}
    if covers.all():
        return replace(index, facts=facts)
    old = index.facts.get("covers", "covers.npy")
    name = f"covers{int(re.sub(r'[^0-9]', '', old) or 0) + 1:04d}.npy"
    atomic_write_npy(folder / name, covers)
    files = index.files | {name: describe_file(folder / name)}
    return replace(index, facts=facts | {"covers": name}, files=files)


def _next_number(index: StoreIndex, offset: int) -> int:
    """Give the next free number of a score file."""
    return max(int(Path(name).stem) for name in index.scores) + 1 + offset


def _commit(folder: Path, index: StoreIndex) -> None:
    """Write the index with the files it names, then remove the others."""
    named = {"ids.npy", *index.scores, *index.by_label, *index.facts.values(), *index.extras.values()}
    final = replace(index, files={name: entry for name, entry in index.files.items() if name in named})
    sync_folder(folder / "scores")
    final.write(folder)
    remove_unlisted(folder, final)
