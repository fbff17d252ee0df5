"""Change prediction stores: pack predictions into one, add or drop models, add the copy for reading label by label.

A change writes new files first, then the index, then removes what the old index named and the new one does not: a store
is whole at every moment, and a change that a kill stopped may be asked for once more.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from stacking._checks import check_model_scores
from stacking._typing import BoolArray
from stacking.files.atomic_files import atomic_write_npy, atomic_writer, check_writable, preallocate
from stacking.files.output_folder import OutputFolder, hash_request
from stacking.files.output_rules import check_not_url, url_of
from stacking.files.remote import put_when_done
from stacking.predictions.alignment import align_predictions
from stacking.predictions.forms.matrix_files import MatrixFile, header_bytes
from stacking.predictions.forms.store import hash_matrix, load_store, next_number, write_at, write_store
from stacking.predictions.forms.store_index import STORE, StoreIndex, describe_file, is_store, read_index
from stacking.predictions.prediction_set import PredictionSet
from stacking.predictions.selection import select_positions
from stacking.predictions.sources import iter_blocks

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
        The store; may be a URL that fsspec knows, such as ``s3://bucket/scores``.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk.
    by_label : bool, default=False
        Also write the copy for reading label by label, which doubles the size.
    overwrite : bool, default=False
        Replace a store that is already there; it stays until the new one is whole.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If there is a store already, or the folder holds something else. A store of these very predictions whose copy
        by label a kill has cut short is gone on with.
    OSError
        If another run works in the folder, it cannot be written, or the disk has too little space.
    """
    if url_of(folder) is not None:
        with put_when_done(folder, STORE, overwrite=overwrite) as here:
            pack_predictions(predictions, here, dtype=dtype, by_label=by_label, overwrite=overwrite)
        return Path(folder)
    goes_on = by_label and _is_unfinished(Path(folder)) and holds_predictions(folder, predictions, dtype=dtype)
    with OutputFolder(folder, STORE, overwrite=overwrite or goes_on) as output:
        if not goes_on:
            write_store(predictions, output, dtype=dtype, wants_by_label=by_label)
        if by_label:
            _add_by_label(output)
    return output.path


def _is_unfinished(folder: Path) -> bool:
    """Return whether a kill has cut the writing of the copy by label short."""
    try:
        index = read_index(folder, verify=False)
    except (OSError, ValueError):
        return False
    return index.wants_by_label and not index.by_label


def holds_predictions(folder: PathLike, predictions: PredictionSet, *, dtype: str = "float32") -> bool:
    """
    Tell whether a folder is a store of these very predictions.

    Parameters
    ----------
    folder : path-like
        Where a store may be.
    predictions : PredictionSet
        The predictions.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk.

    Returns
    -------
    bool
        True where writing them once more would change nothing.
    """
    if not is_store(folder):
        return False
    try:
        index = read_index(folder)
        return index.dtype == dtype and are_equal(load_store(folder, verify=False), predictions)
    except (OSError, ValueError):  # damaged: it is no such store
        return False


def are_equal(one: PredictionSet, other: PredictionSet) -> bool:
    """
    Tell whether two sets hold the same, keys that are unknown here included.

    Parameters
    ----------
    one, other : PredictionSet
        The sets.

    Returns
    -------
    bool
        True where a file of the one says all that a file of the other does.
    """
    if one.fingerprint != other.fingerprint or one.extras.keys() != other.extras.keys():
        return False
    pairs = ((np.asarray(one.extras[key]), np.asarray(other.extras[key])) for key in one.extras)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


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
    return change_store(folder, added=predictions)


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
    return change_store(folder, dropped=models)


def change_store(folder: PathLike, *, added: PredictionSet | None = None, dropped: Sequence[str] = ()) -> Path:
    """
    Drop models of a store and add others, in one step: the store is as before or as asked.

    Parameters
    ----------
    folder : path-like
        The store. Where its last change was this very one, nothing happens.
    added : PredictionSet, optional
        New models, for the same samples in any order; labels that they lack are not covered.
    dropped : sequence of str
        Names of models to remove; at least one must be there in the end.

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
        If a model to add is there already, one to drop is not, none would stay, or samples or labels do not match.
    """
    place = Path(folder)
    check_not_url(place, "folder")
    read_index(place, verify=False)
    with _claim(place) as output:
        index = read_index(place)
        change = hash_request({"added": added.fingerprint if added else None, "dropped": sorted(dropped)})
        if index.change == change:
            return place
        covers = load_store(place, verify=False).covers
        changed = replace(index, change=change)
        if dropped:
            changed, covers = _without(changed, covers, dropped)
        if added is not None:
            changed, covers = _grown(output, changed, covers, added)
        if not changed.models:
            raise ValueError(
                f"models must leave at least one in the store: got all {len(index.models)}; delete the folder instead."
            )
        changed = _with_covers(output, changed, covers)
        if index.by_label:
            changed = _with_by_label(output, changed)
        output.commit(_tidy(changed).as_dict())
    return place


def _claim(folder: Path) -> OutputFolder:
    """Say that a store is to be changed."""
    return OutputFolder(folder, STORE, overwrite=True)


def _without(index: StoreIndex, covers: BoolArray, models: Sequence[str]) -> tuple[StoreIndex, BoolArray]:
    """Leave models out of an index."""
    dropped = set(select_positions(list(models), index.models, "models").tolist())
    kept = [position for position in range(len(index.models)) if position not in dropped]
    shrunk = replace(
        index,
        models=[index.models[position] for position in kept],
        scores=[index.scores[position] for position in kept],
        content=[index.content[position] for position in kept],
        by_label=[index.by_label[position] for position in kept] if index.by_label else [],
    )
    return shrunk, covers[kept]


def _grown(
    output: OutputFolder, index: StoreIndex, covers: BoolArray, predictions: PredictionSet
) -> tuple[StoreIndex, BoolArray]:
    """Write the scores of new models and name them in an index."""
    place = output.path
    old = load_store(place, verify=False)
    stays = [old.subset(models=index.models)] if index.models else []
    joined = align_predictions([*stays, predictions], ids=old.ids, labels=old.labels)
    new = joined.subset(models=list(predictions.models))
    copies = 2 if index.by_label else 1
    check_writable(place, copies * new.n_models * new.n_samples * new.n_labels * np.dtype(index.dtype).itemsize)
    first = next_number(place, "scores", "by_label")
    names = [f"scores/{first + model:04d}.npy" for model in range(new.n_models)]
    for model, name in enumerate(names):
        _write_rows(new, model, output.path_of(name), index.dtype)
    grown = replace(
        index,
        models=[*index.models, *new.models],
        scores=[*index.scores, *names],
        content=[*index.content, *(hash_matrix(MatrixFile.open(output.path_of(name))) for name in names)],
        files=index.files | {name: describe_file(output.path_of(name)) for name in names},
    )
    return grown, np.concatenate([covers, new.covers])


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
    check_not_url(place, "folder")
    read_index(place, verify=False)
    with _claim(place) as output:
        _add_by_label(output)
    return place


def _add_by_label(output: OutputFolder) -> None:
    """Add the copy to a claimed store, file by file, so that a run after a kill goes on with those that lack."""
    index = read_index(output.path)
    if index.by_label:
        return
    names = {source: _copy_name(source) for source in index.scores}
    lacking = [source for source, name in names.items() if name not in index.files]
    check_writable(output.path, sum(index.files[source]["bytes"] for source in lacking))
    for source in lacking:
        index = _with_copy(output, index, source)
        output.commit(index.as_dict())
    output.commit(_tidy(replace(index, by_label=list(names.values()), wants_by_label=False)).as_dict())


def _with_by_label(output: OutputFolder, index: StoreIndex) -> StoreIndex:
    """Write the label-major copies that are missing and name them in the index."""
    for source in index.scores:
        if _copy_name(source) not in index.files:
            index = _with_copy(output, index, source)
    return replace(index, by_label=[_copy_name(source) for source in index.scores])


def _with_copy(output: OutputFolder, index: StoreIndex, source: str) -> StoreIndex:
    """Write the label-major copy of one file and describe it."""
    name = _copy_name(source)
    there = output.path / source
    _write_by_label(MatrixFile.open(there if there.exists() else output.path_of(source)), output.path_of(name))
    return replace(index, files=index.files | {name: describe_file(output.path_of(name))})


def _copy_name(source: str) -> str:
    """Return the name of a score file's label-major copy."""
    return source.replace("scores/", "by_label/")


def _write_by_label(matrix: MatrixFile, path: Path) -> None:
    """Transpose one file block by block."""
    header = header_bytes((matrix.n_rows, matrix.n_columns), matrix.dtype, by_column=True)
    width = matrix.dtype.itemsize
    with atomic_writer(path) as file:
        preallocate(file, len(header) + matrix.n_rows * matrix.n_columns * width)
        file.write(header)
        file.flush()
        for rows, scores in iter_blocks(matrix.read, (matrix.n_rows, matrix.n_columns)):
            lines = np.ascontiguousarray(scores.T, dtype=matrix.dtype)
            for label, line in enumerate(lines):
                write_at(file.fileno(), line, len(header) + (label * matrix.n_rows + rows.start) * width)


def _write_rows(predictions: PredictionSet, model: int, path: Path, dtype: str) -> None:
    """Write one model's file block by block."""
    header = header_bytes((predictions.n_samples, predictions.n_labels), dtype)
    with atomic_writer(path) as file:
        size = predictions.n_samples * predictions.n_labels * np.dtype(dtype).itemsize
        preallocate(file, len(header) + size)
        file.write(header)
        for rows, scores in iter_blocks(partial(predictions.source.read, model), predictions.source.shape[1:]):
            name, covers = predictions.models[model], predictions.covers[model]
            check_model_scores(scores, covers, model=name, ids=predictions.ids[rows], labels=predictions.labels)
            file.write(np.ascontiguousarray(scores, dtype=dtype).data.cast("B"))


def _with_covers(output: OutputFolder, index: StoreIndex, covers: BoolArray) -> StoreIndex:
    """Write the coverage under a new name, since the old file belongs to the index that still holds."""
    metadata = {key: name for key, name in index.facts.items() if key != "covers"}
    if covers.all():
        return replace(index, facts=metadata)
    taken = [int(path.stem.removeprefix("covers") or 0) for path in output.path.glob("covers*.npy")]
    name = f"covers{max(taken, default=0) + 1:04d}.npy"
    atomic_write_npy(output.path_of(name), covers)
    files = index.files | {name: describe_file(output.path_of(name))}
    return replace(index, facts=metadata | {"covers": name}, files=files)


def _tidy(index: StoreIndex) -> StoreIndex:
    """Leave out of an index the files that it has no use for."""
    named = {index.ids, *index.scores, *index.by_label, *index.facts.values(), *index.extras.values()}
    return replace(index, files={name: entry for name, entry in index.files.items() if name in named})
