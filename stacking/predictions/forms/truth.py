"""The truth, in the forms people have it.

A truth is a matrix (``.npy``, ``.npz`` or a table with one column per label), a table with the columns ``id,labels``,
where the labels of a sample stand in one cell, or a table with one row per sample and label.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._checks import check_y_true, first_names
from stacking._typing import StringArray
from stacking.files.untrusted import read_npz
from stacking.named_arrays import AxisNames, is_frame, split_frame, to_pandas, warn_of_unknown
from stacking.predictions.forms.hdf5 import SUFFIXES as HDF5_SUFFIXES
from stacking.predictions.forms.hdf5 import read_hdf5
from stacking.predictions.forms.label_cells import Keys, LabelList, match_label_keys
from stacking.predictions.forms.label_tables import LIST_COLUMNS, LabelTable, read_label_table
from stacking.predictions.forms.name_lists import (
    check_file_names,
    existing_file,
    load_npy,
)
from stacking.predictions.forms.tables import HeldFrame, Table, is_table, read_frame

SAMPLE_COLUMNS = {
    "group": "groups",
    "groups": "groups",
    "sample_weight": "sample_weight",
    "fold": "folds",
    "folds": "folds",
}


@dataclass(frozen=True)
class Truth:
    """
    A truth as it was read, before it is matched with predictions.

    Parameters
    ----------
    ids : ndarray of str, shape (n_samples,)
        Names of the samples.
    labels : tuple of str
        Names of the columns.
    y_true : ndarray of uint8, shape (n_samples, n_labels)
        The matrix.
    y_known : ndarray of bool, shape (n_samples, n_labels), or None
        False where not annotated.
    names_labels : bool
        Whether it says itself which labels there are, as a matrix does and lists do not.
    metadata : dict
        ``groups``, ``sample_weight``, ``folds`` where the file has them.
    """

    ids: StringArray
    labels: tuple[str, ...]
    y_true: npt.NDArray[np.uint8]
    y_known: npt.NDArray[np.bool_] | None = None
    names_labels: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


def read_truth(
    source: Any,
    *,
    ids: StringArray | None = None,
    labels: Sequence[str] | None = None,
    known: LabelList | None = None,
) -> Truth:
    """
    Read a truth in any of its forms.

    Parameters
    ----------
    source : path-like, data frame or array-like of shape (n_samples, n_labels)
        A ``.npz`` with ``y_true``, ``ids``, ``labels``; a table in any shape that `read_label_table` reads (a blank
        cell of a matrix is a label not annotated); a data frame with the ids as its index and one column per label; a
        ``.npy`` matrix or an array, whose rows are `ids` and whose columns are `labels`.
    ids, labels : sequence of str, optional
        Names for a matrix without names.
    known : LabelList, optional
        The labels of the task with their ids, to read tables by; without it those that a table holds.

    Returns
    -------
    Truth
        As read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as a truth, or in more than one way.
    """
    if is_frame(source):
        if is_table_of_labels(source):
            return _from_table(_held(source), known)
        return _by_name(_from_numbers(read_frame(source, "truth"), "truth"), known, "truth")
    if not isinstance(source, str | os.PathLike):
        return _nameless(source, "truth", ids, labels)
    path = existing_file(source, "truth")
    if path.suffix.lower() == ".npz":
        return _by_name(_from_arrays(path, read_npz(path), ids, labels), known, str(path))
    if path.suffix.lower() in HDF5_SUFFIXES:
        held = read_hdf5(path)
        if isinstance(held, dict):
            return _by_name(_from_arrays(path, held, ids, labels), known, str(path))
        return read_truth(held, known=known)
    if path.suffix.lower() == ".npy":
        return _nameless(load_npy(path), str(path), ids, labels)
    if is_table(path):
        return _from_table(path, known)
    raise ValueError(
        f"truth must be a .csv, .tsv, .parquet, .feather, .npy, .npz or .h5 file: got {path.name!r}; convert it to one."
    )


def is_table_of_labels(source: Any) -> bool:
    """
    Tell a data frame that lists labels, or holds groups or weights beside them, from a matrix of 0 and 1.

    Parameters
    ----------
    source : object
        Anything.

    Returns
    -------
    bool
        True for such a frame: it is read by the rules for tables in files.
    """
    if not is_frame(source):
        return False
    parts = split_frame(source, "truth")
    return parts.values.dtype.kind not in "biuf" or any(
        str(name).lower() in SAMPLE_COLUMNS for name in parts.columns.names
    )


def _held(source: Any) -> HeldFrame:
    """Let a frame be read as a table; row numbers beside a column of ids say nothing."""
    frame = to_pandas(source)
    form = split_frame(frame, "truth").form
    first = str(frame.columns[0]).lower()
    lists_labels = first in LIST_COLUMNS or first in SAMPLE_COLUMNS
    has_ids = form.id_column is not None or (frame.dtypes.iloc[0].kind not in "biuf" and not lists_labels)
    drops_index = has_ids and AxisNames.of(frame.index).are_numbers
    return HeldFrame(frame.reset_index(drop=True) if drops_index else frame, "truth")


def _from_table(path: Path | HeldFrame, known: LabelList | None) -> Truth:
    """Read a truth from a table of any shape."""
    table = read_label_table(path, known, sample_columns=SAMPLE_COLUMNS)
    if table.unused:
        warnings.warn(f"{path}: columns {first_names(table.unused, 9)} are not used.", stacklevel=4)
    metadata = _sample_metadata(table.extra_columns, path)
    if table.keys is not None:
        return replace(_from_lists(table, table.keys, known, path), metadata=metadata)
    truth = _from_numbers(table.numbers, str(path)) if table.numbers is not None else None
    if truth is None:
        raise ValueError(f"{path} must hold a truth: got no labels.")
    return replace(_by_name(truth, known, str(path)), metadata=metadata)


def _by_name(truth: Truth, known: LabelList | None, who: str) -> Truth:
    """Call the columns of a matrix by the names of the labels where they are label ids."""
    return truth if known is None else replace(truth, labels=known.to_names(truth.labels, who))


def _from_lists(table: LabelTable, lists: list[Keys], known: LabelList | None, path: Path | HeldFrame) -> Truth:
    """Turn lists of labels into a matrix; where no label is known, the labels are those met."""
    ids = check_file_names(table.ids, path, "ids")
    keys = list(dict.fromkeys(key for row in (*lists, *(table.absent or ())) for key in row))
    labels = known or LabelList(tuple(sorted(keys)))
    columns = match_label_keys(keys, labels, who=str(path), prefer=table.kind)
    matrix = np.zeros((len(lists), len(labels.names)), np.uint8)
    for row, names in enumerate(lists):
        for name in names:
            if name not in columns:
                raise ValueError(
                    f"truth, row {str(ids[row])!r}: label {name!r} must be one of the {len(labels.names)} known "
                    f"labels, such as {first_names(labels.names)}; {_remedy(name, labels)}"
                )
            matrix[row, columns[name]] = 1
    annotated = None
    if table.absent is not None:
        annotated = matrix.astype(np.bool_)
        for row, names in enumerate(table.absent):
            annotated[row, [columns[name] for name in names if name in columns]] = True
        annotated = _say_unknown(annotated, str(path), "absent rows")
    return Truth(ids, labels.names, matrix, annotated, names_labels=False)


def _remedy(name: str, labels: LabelList) -> str:
    """Guess from an unknown label what is wrong with the list it stands in."""
    if name.isdecimal() and labels.ids is None:
        return "for a truth of label ids give a table with the columns labelId,labelName as labels= (--labels)."
    return f"give the label list as labels= (--labels), or join labels by '|'.{did_you_mean(name, labels.names)}"


def _from_arrays(
    path: Path, arrays: dict[str, npt.NDArray[Any]], ids: StringArray | None, labels: Sequence[str] | None
) -> Truth:
    """Read a truth from the arrays of a file."""
    if "y_true" not in arrays:
        raise ValueError(f"{path} must hold y_true: it holds {first_names(list(arrays), 9)}.")
    own_ids = check_file_names(arrays["ids"], path, "ids") if "ids" in arrays else ids
    own_labels = tuple(check_file_names(arrays["labels"], path, "labels").tolist()) if "labels" in arrays else labels
    truth = _nameless(arrays["y_true"], str(path), own_ids, own_labels, y_known=arrays.get("y_known"))
    return replace(truth, metadata={key: arrays[key] for key in ("groups", "sample_weight", "folds") if key in arrays})


def _from_numbers(table: Table, who: str) -> Truth:
    """Take a table with one column per label for a truth; blank cells are labels that were not annotated."""
    blank = np.isnan(table.values)
    truth = _nameless(np.where(blank, 0, table.values), who, table.ids, table.columns)
    return replace(truth, y_known=_say_unknown(~blank, who, "blank cells") if blank.any() else None)


def _say_unknown(known: npt.NDArray[np.bool_], who: str, what: str) -> npt.NDArray[np.bool_] | None:
    """Say how many labels were not annotated; None where all were."""
    if known.all():
        return None
    warn_of_unknown(known, who, what, stacklevel=7)
    return known


def _sample_metadata(texts: Mapping[str, list[str]], path: Path | HeldFrame) -> dict[str, Any]:
    """Take groups, weights and folds from the columns of a table."""
    metadata: dict[str, Any] = {}
    for name, cells in texts.items():
        key = SAMPLE_COLUMNS[name.lower()]
        if key in metadata:
            raise ValueError(f"{path} must have one column of {key}: {name!r} is another; rename one.")
        values = [cell.strip() for cell in cells]
        metadata[key] = np.array(values) if key == "groups" else _numbers(values, path, name, whole=key == "folds")
    return metadata


def _numbers(cells: Sequence[str], path: Path | HeldFrame, column: str, *, whole: bool) -> npt.NDArray[Any]:
    """Read a column of numbers; the error names the cell."""
    numbers = []
    for row, cell in enumerate(cells):
        try:
            numbers.append(int(cell) if whole else float(cell))
        except ValueError as error:
            kind = "a whole number" if whole else "a number"
            raise ValueError(
                f"{path}, row {row}, column {column!r}: the cell must be {kind}: got {cell!r}; correct it."
            ) from error
    return np.array(numbers)


def _nameless(
    matrix: npt.ArrayLike, who: str, ids: StringArray | None, labels: Sequence[str] | None, y_known: Any = None
) -> Truth:
    """Give a matrix the names of its rows and columns."""
    if ids is None or labels is None:
        raise ValueError(f"{who} has no names of rows and columns: give them as ids= and labels= (--ids, --labels).")
    values = check_y_true(matrix, n_samples=len(ids), n_labels=len(labels), name=who)
    known = None if y_known is None else check_y_true(y_known, n_samples=len(ids), n_labels=len(labels)).view(np.bool_)
    return Truth(ids, tuple(labels), values, known)
