"""Load and save predictions in all their forms: one bundle, a store, tables and raw matrices."""

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._checks import first_names
from stacking._typing import StringArray
from stacking.files.output_rules import url_of
from stacking.files.remote import local_copy, put_when_done
from stacking.links import sigmoid_in_place
from stacking.named_arrays import find_difference, is_frame
from stacking.predictions.alignment import align_predictions, check_source, match_names
from stacking.predictions.forms.bundle import bundle_of, load_bundle, save_bundle
from stacking.predictions.forms.hdf5 import SUFFIXES as HDF5_SUFFIXES
from stacking.predictions.forms.hdf5 import read_hdf5
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.matrix_files import FileSource, MatrixFile
from stacking.predictions.forms.name_lists import existing_file, read_ids, read_label_list
from stacking.predictions.forms.sample_groups import split_groups_path, with_groups
from stacking.predictions.forms.store import load_store, write_store
from stacking.predictions.forms.store_index import STORE
from stacking.predictions.forms.tables import Table, is_table, read_frame, read_numbers
from stacking.predictions.forms.text_form import member_name
from stacking.predictions.forms.truth import Truth, read_truth
from stacking.predictions.prediction_set import PredictionSet
from stacking.predictions.selection import take
from stacking.predictions.sources import ArraySource, ScoreSource, SigmoidSource

PathLike = str | os.PathLike[str]
IN_MEMORY_BYTES = 2**30
"""Arrays that are aligned by a view are copied into one array up to this size, since every later read is faster then. A
choice, not tuned; only memory and speed depend on it."""
SIGMOID_OF_ONE = 0.73106
"""Rounded up: probabilities that were taken for logits all end between .5 and this."""


def load_predictions(  # noqa: PLR0913 - the public call: one argument per input
    path: PathLike | None = None,
    *,
    truth: PathLike | npt.ArrayLike | None = None,
    models: Sequence[Any] | None = None,
    ids: PathLike | npt.ArrayLike | None = None,
    labels: PathLike | npt.ArrayLike | LabelList | None = None,
    groups: PathLike | npt.ArrayLike | None = None,
    from_logits: bool | Collection[str] = False,
    verify: bool | None = None,
) -> PredictionSet:
    """
    Load predictions from whatever form they have.

    Files are brought together by id and label name, never by position. A model that lacks some labels does not cover
    them.

    Parameters
    ----------
    path : path-like, optional
        A bundle (``.npz``) or a store (folder). Either this or `models`. Every path may be a URL that fsspec knows,
        such as ``s3://bucket/scores``: it is copied to this machine first.
    truth : path-like, data frame or array-like, optional
        A matrix (``.npy``, ``.npz``, a table with one column per label, an array), a table ``id,labels`` with the
        labels of a sample in one cell (joined by ``|``, commas, semicolons, label ids by spaces, or a list), or a table
        with one row per sample and label, names or ids in a column called ``label``. Replaces a truth that came with
        the predictions. An array has the rows and columns of `ids` and `labels`, or of the bundle or store at `path`; a
        data frame has the ids as its index and one column per label.
    models : sequence of path-like, (name, path-like) or (name, data frame), optional
        One file per model: a table whose first column is the id, or a raw ``.npy`` matrix with the rows of `ids` and
        the columns of `labels`. Bundles and stores add all their models. Unnamed files are called by their stem. A data
        frame has the ids as its index and one column per label.
    ids : path-like or array-like of str, optional
        The samples and their order; needed for raw matrices.
    labels : path-like or array-like of str, optional
        The labels and their order, or a table with their names, ids and groups; needed for raw matrices and for a truth
        of label ids. The ids are kept, for files that need them.
    groups : path-like, series, mapping or array-like of shape (n_samples,), optional
        Samples that must share a fold: a table of ids and groups (``FILE`` or ``FILE:COLUMN``), or the values. Replaces
        groups that came with the predictions or the truth.
    from_logits : bool or collection of str, default=False
        True where the scores are logits, or the names of the models whose scores are; it is never guessed.
    verify : bool, optional
        Whether a store's files are hashed: True always, False never, by default for stores below 256 MiB.

    Returns
    -------
    PredictionSet
        Stores and raw matrices stay on disk and are read when needed.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        If a file is damaged; an id or label is missing, unknown or appears twice; a score is NaN where covered or
        outside [0, 1]. The error names model, row and label.
    """
    if (path is None) == (not models):
        raise ValueError("load_predictions needs either path (a bundle or a store) or models (one file per model).")
    members = [split_member(member) for member in ([path] if path is not None else models or ())]
    group_file = split_groups_path(groups)[0] if isinstance(groups, str | os.PathLike) else None
    other_files = {"truth": truth, "id list": ids, "label list": labels, "file of groups": group_file}
    _check_files_exist(other_files, [where for _, where in members])
    wanted_ids = None if ids is None else read_ids(ids)
    wanted = None if labels is None else read_label_list(labels)
    logits = names_of_logits(from_logits, [name for name, _ in members])
    sets = [
        _by_name(_load_one(name, where, wanted_ids, wanted, from_logits=name in logits, verify=verify), wanted)
        for name, where in members
    ]
    for part, (name, _) in zip(sets, members, strict=True):
        if name in logits:
            _warn_of_probabilities(part)
    by_order = _has_no_names(truth) and path is not None
    raw_truth = None
    if truth is not None and not by_order:
        given = None if wanted is None else wanted.names
        raw_truth = read_truth(truth, ids=wanted_ids, labels=given, known=wanted or _labels_of(sets))
    names = _order_of_labels(wanted, raw_truth)
    if names is None:
        _warn_of_union(sets)
    predictions = align_predictions(sets, ids=wanted_ids, labels=names)
    _warn_of_uncovered(predictions)
    if (
        _all_in_memory(sets)
        and predictions.n_models * predictions.n_samples * predictions.n_labels * 4 <= IN_MEMORY_BYTES
    ):
        predictions = predictions.in_memory()
    predictions = with_label_metadata(predictions, wanted)
    if truth is not None and by_order:
        raw_truth = read_truth(truth, ids=predictions.ids, labels=predictions.labels)
    predictions = predictions if raw_truth is None else attach_truth(predictions, raw_truth)
    return predictions if groups is None else with_groups(predictions, groups)


def save_predictions(
    predictions: PredictionSet, path: PathLike, *, dtype: str = "float32", overwrite: bool = False
) -> Path:
    """
    Save predictions as a bundle or a store.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions.
    path : path-like
        With the suffix ``.npz`` a bundle; otherwise the folder of a store. Either may be a URL that fsspec knows, such
        as ``s3://bucket/scores``. Folders above it are made where they are absent.
    dtype : {"float32", "float16"}, default="float32"
        Type of the scores on disk; float16 rounds to about three digits.
    overwrite : bool, default=False
        Replace a bundle or a store that is already there; it stays until the new one is whole.

    Returns
    -------
    Path
        Where they are; what `pathlib` makes of a URL names it still.

    Raises
    ------
    FileExistsError
        If other predictions are there already, or something that is no bundle or store of this package.
    OSError
        If the folder cannot be written or the disk has too little space.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "predictions.npz"
    >>> _ = save_predictions(PredictionSet([[[0.5, 0.25]]], labels=["dress", "red"]), path)
    >>> load_predictions(path).labels
    ('dress', 'red')
    """
    is_bundle = Path(path).suffix.lower() == ".npz"
    if url_of(path) is not None:
        with put_when_done(path, None if is_bundle else STORE, overwrite=overwrite) as here:
            save_predictions(predictions, here, dtype=dtype, overwrite=overwrite)
        return Path(path)
    write = save_bundle if is_bundle else write_store
    return write(predictions, path, dtype=dtype, overwrite=overwrite)


def attach_truth(predictions: PredictionSet, truth: Truth) -> PredictionSet:
    """
    Match a truth with predictions by id and label name.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions.
    truth : Truth
        As `read_truth` read it.

    Returns
    -------
    PredictionSet
        With the truth, and groups, weights and folds that came with it.

    Raises
    ------
    ValueError
        If the truth lacks a sample or label of the predictions or has others; the error names one.
    """
    rows = match_names(truth.ids, predictions.ids, who="truth", what="row")
    columns = match_names(truth.labels, predictions.labels, who="truth", what="label")
    changes: dict[str, Any] = {key: take(values, rows) for key, values in truth.metadata.items()}
    changes["y_true"] = take(take(truth.y_true, rows), columns, 1)
    changes["y_known"] = take(take(truth.y_known, rows), columns, 1)
    return _with(predictions, **changes)


def _labels_of(sets: Sequence[PredictionSet]) -> LabelList:
    """List the labels that models answer, with the ids that came with them."""
    names = tuple(dict.fromkeys(label for part in sets for label in part.labels))
    ids: dict[str, str] = {}
    for part in sets:
        ids |= dict(zip(part.labels, part.label_ids or (), strict=False))
    whole = len(ids) == len(names) == len(set(ids.values()))
    return LabelList(names, tuple(ids[name] for name in names) if whole else None)


def _check_files_exist(lists: Mapping[str, Any], members: Sequence[Any]) -> None:
    """Refuse missing files before any is read: the last may stand behind an hour of the others."""
    for what, source in lists.items():
        if isinstance(source, str | os.PathLike):
            existing_file(source, what)
    for where in members:
        if not is_frame(where) and not Path(where).exists():
            raise FileNotFoundError(f"{where} must be a file or folder of predictions: it does not exist.")


def _order_of_labels(wanted: LabelList | None, truth: Truth | None) -> tuple[str, ...] | None:
    """Say which labels in which order: those of the label list, or of a truth that names them."""
    if wanted is not None:
        return wanted.names
    return truth.labels if truth is not None and truth.names_labels else None


def with_label_metadata(predictions: PredictionSet, labels: LabelList | None) -> PredictionSet:
    """
    Add what a label list knows of its labels.

    Parameters
    ----------
    predictions : PredictionSet
        Predictions of the labels listed, in that order.
    labels : LabelList or None
        The list.

    Returns
    -------
    PredictionSet
        With groups and ids of the labels, where the list has them.
    """
    changes: dict[str, Any] = {}
    if labels is not None and labels.groups is not None and predictions.label_groups is None:
        changes["label_groups"] = labels.groups
    if labels is not None and labels.ids is not None:
        changes["label_ids"] = labels.ids
    return _with(predictions, **changes) if changes else predictions


def _has_no_names(truth: object) -> bool:
    """Tell whether a truth is an array, whose rows and columns are known by their order only."""
    return truth is not None and not isinstance(truth, str | os.PathLike) and not is_frame(truth)


def split_member(member: Any) -> tuple[str | None, Any]:
    """
    Split a member into its name and where its scores are.

    Parameters
    ----------
    member : path-like, data frame, or tuple of str and one of these
        As `load_predictions` takes it.

    Returns
    -------
    name : str or None
        None where the file gives it, as bundles and stores do.
    where : path-like or data frame
        Where the scores are; what is in an object store has been copied to this machine.

    Raises
    ------
    FileNotFoundError
        If there is nothing in the object store.
    ValueError
        If a data frame comes without a name.
    """
    name, where = member if isinstance(member, tuple) else (None, member)
    if is_frame(where) and name is None:
        raise ValueError("models must name every data frame: give it as a pair (name, data frame).")
    if isinstance(where, str | os.PathLike) and url_of(where) is not None:
        where = local_copy(where, STORE, "predictions")
    path = None if is_frame(where) else Path(where)
    has_own_names = path is None or path.is_dir() or path.suffix.lower() in (".npz", *HDF5_SUFFIXES)
    return (name if name is not None or path is None or has_own_names else member_name(path)), where


def names_of_logits(from_logits: bool | Collection[str], names: Sequence[str | None]) -> Collection[str | None]:
    """
    List the members whose scores are logits.

    Parameters
    ----------
    from_logits : bool or collection of str
        As `load_predictions` takes it.
    names : sequence of str or None
        The members.

    Returns
    -------
    collection of str or None
        The names of those.

    Raises
    ------
    TypeError
        If a single name is given.
    ValueError
        If a name is not among them.
    """
    if isinstance(from_logits, bool):
        return names if from_logits else ()
    if isinstance(from_logits, str):
        raise TypeError(f"from_logits must be a bool or a collection of names: got the string {from_logits!r}.")
    known = [name for name in names if name is not None]
    for name in from_logits:
        if name not in known:
            raise ValueError(
                f"from_logits (--logits-of) must name models given by models= (--model): got {name!r} beside "
                f"{first_names(known) or 'none'}.{did_you_mean(name, known)}"
            )
    return list(from_logits)


def _load_one(
    name: str | None,
    where: Any,
    ids: StringArray | None,
    labels: LabelList | None,
    *,
    from_logits: bool,
    verify: bool | None,
) -> PredictionSet:
    """Load one file: a bundle, a store, a table or a raw matrix; or take a data frame."""
    if is_frame(where):
        return _from_table(read_frame(where, f"model {name!r}"), str(name), from_logits=from_logits)
    path = Path(where)
    if path.is_dir():
        if from_logits:
            raise ValueError(f"{path} is a store, which always holds probabilities: leave out from_logits.")
        return _renamed(load_store(path, verify=verify), name, path)
    if path.suffix.lower() == ".npz":
        return _renamed(load_bundle(path, from_logits=from_logits), name, path)
    model = str(name)
    if path.suffix.lower() in HDF5_SUFFIXES:
        return _load_hdf5(path, name, ids, labels, from_logits=from_logits)
    if path.suffix.lower() == ".npy":
        return _load_matrix(path, model, ids, labels, from_logits=from_logits)
    if is_table(path):
        return _from_table(read_numbers(path), model, from_logits=from_logits)
    raise ValueError(
        "predictions must be a .npz bundle, a store folder, or .csv, .tsv, .parquet, .feather, .npy or .h5 files: got "
        f"{path.name!r}."
    )


def _load_hdf5(
    path: Path, name: str | None, ids: StringArray | None, labels: LabelList | None, *, from_logits: bool
) -> PredictionSet:
    """Load an HDF5 file: a bundle by the names of its arrays, a data frame, or one matrix."""
    held = read_hdf5(path)
    model = name or member_name(path)
    if not isinstance(held, dict):
        return _from_table(read_frame(held, str(path)), model, from_logits=from_logits)
    if "y_scores" in held and held["y_scores"].ndim == 3:
        return _renamed(bundle_of(held, path, from_logits=from_logits), name, path)
    matrices = [key for key, array in held.items() if array.ndim == 2 and array.dtype.kind == "f"]
    if len(matrices) != 1:
        raise ValueError(
            f"{path} must hold y_scores, ids, models and labels, or one matrix of scores: got "
            f"{first_names(list(held), 9)}."
        )
    own_ids = read_ids(held["ids"]) if "ids" in held else ids
    names = tuple(held["labels"].tolist()) if "labels" in held else None if labels is None else labels.names
    if own_ids is None or names is None:
        raise ValueError(_needs_names(path))
    values = np.array(held[matrices[0]], np.float32)
    if values.shape != (len(own_ids), len(names)):
        raise ValueError(
            f"{path} must have {len(own_ids)} rows and {len(names)} columns, as ids and labels say: got "
            f"{values.shape[0]} and {values.shape[1]}."
        )
    return _from_table(Table(own_ids, names, values), model, from_logits=from_logits)


def _needs_names(path: Path) -> str:
    """Say what a matrix without names needs."""
    return (
        f"{path} is a matrix without names: give those of its rows and columns as ids= and labels= (--ids, --labels)."
    )


def _by_name(part: PredictionSet, labels: LabelList | None) -> PredictionSet:
    """Call the labels of a model by their names where they are label ids."""
    if labels is None or labels.ids is None:
        return part
    names = labels.to_names(part.labels, f"model {part.models[0]!r}")
    if names == part.labels:
        return part
    metadata: Any = part.metadata()
    return PredictionSet(part.source, part.ids, part.models, names, **metadata)


def _from_table(table: Table, model: str, *, from_logits: bool) -> PredictionSet:
    """Make a set of one model from a table."""
    if from_logits:
        sigmoid_in_place(table.values)
    return PredictionSet(table.values[None], table.ids, [model], table.columns)


def _load_matrix(
    path: Path, model: str, ids: StringArray | None, labels: LabelList | None, *, from_logits: bool
) -> PredictionSet:
    """Open a raw matrix and check its scores in one pass."""
    if ids is None or labels is None:
        raise ValueError(_needs_names(path))
    matrix = MatrixFile.open(path)
    if (matrix.n_rows, matrix.n_columns) != (len(ids), len(labels.names)):
        raise ValueError(
            f"model {model!r} must have {len(ids)} rows and {len(labels.names)} columns, as ids and labels say: "
            f"{path} has {matrix.n_rows} and {matrix.n_columns}."
        )
    source: ScoreSource = FileSource([matrix])
    if from_logits:
        source = SigmoidSource(source)
    predictions = PredictionSet(source, ids, [model], labels.names)
    return _with(predictions, covers=check_source(predictions))


def _with(predictions: PredictionSet, **changes: Any) -> PredictionSet:
    """Copy a set with other metadata."""
    metadata: Any = predictions.metadata() | changes
    return PredictionSet(predictions.source, predictions.ids, predictions.models, predictions.labels, **metadata)


def _renamed(predictions: PredictionSet, name: str | None, path: Path) -> PredictionSet:
    """Give the one model of a bundle or store the name asked for."""
    if name is None:
        return predictions
    if predictions.n_models != 1:
        raise ValueError(
            f"{path} holds {predictions.n_models} models: it cannot take the one name {name!r}; leave it out."
        )
    return PredictionSet(predictions.source, predictions.ids, [name], predictions.labels, **predictions.metadata())


def _all_in_memory(sets: Sequence[PredictionSet]) -> bool:
    """Tell whether nothing would be read from disk."""
    return all(isinstance(part.source, ArraySource) for part in sets)


def _warn_of_probabilities(logits: PredictionSet) -> None:
    """Warn where what was said to be logits lies in [0, 1], as probabilities do."""
    # Probabilities show on any rows: 1,000 are a choice, and only a warning depends on them.
    first = logits.subset(samples=np.arange(min(logits.n_samples, 1000)))
    for model, scores in zip(first.models, first.to_array(), strict=True):
        if np.nanmin(scores) >= 0.5 and np.nanmax(scores) <= SIGMOID_OF_ONE:
            warnings.warn(
                f"model {model!r}: its logits all lie in [0, 1], as probabilities do; if they are, name only the "
                "others (from_logits=[…], --logits-of MODEL).",
                stacklevel=3,
            )


def _warn_of_union(sets: Sequence[PredictionSet]) -> None:
    """Warn where the labels of several models differ and no list says which are right."""
    first = set(sets[0].labels)
    for part in sets[1:]:
        odd = sorted(first.symmetric_difference(part.labels))
        if odd:
            difference = find_difference(odd[0], odd[1:])
            warnings.warn(
                f"models name different labels, such as {first_names(odd)} of {part.models[0]!r}: all are kept; "
                f"{difference or 'give the label list as labels= if one is a misspelling'}.",
                stacklevel=3,
            )
            return


def _warn_of_uncovered(predictions: PredictionSet) -> None:
    """Warn where no model answers a label."""
    names = [
        label for label, answers in zip(predictions.labels, predictions.covers.T, strict=True) if not answers.any()
    ]
    if names:
        warnings.warn(f"no model answers {len(names)} labels: {first_names(names)}.", stacklevel=3)
