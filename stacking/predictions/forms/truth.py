"""The truth and the label list, in the forms people have them.

A truth is a matrix (``.npy``, ``.npz`` or a table with one column per label) or a table with the columns ``id,labels``,
where the labels of a photo are joined by ``|`` or, as in the contest, are ids separated by spaces.
"""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import StringArray, check_names, check_y_true, did_you_mean, first_names
from stacking.files.untrusted import read_npy, read_npz
from stacking.predictions.forms.tables import (
    Table,
    is_frame,
    is_table,
    read_frame,
    read_header_row,
    read_numbers,
    read_texts,
)

LIST_COLUMNS = ("labels", "label", "labelids", "label_ids", "labelid", "label_id")
SAMPLE_COLUMNS = {
    "group": "groups",
    "groups": "groups",
    "sample_weight": "sample_weight",
    "fold": "folds",
    "folds": "folds",
}
_NAME_COLUMNS = ("name", "labelname", "label_name", "label", "labels")
_ID_COLUMNS = ("labelid", "label_id", "id")
_GROUP_COLUMNS = ("group", "taskname", "task", "label_group", "label_groups")


@dataclass(frozen=True)
class LabelList:
    """
    The labels of a task.

    Parameters
    ----------
    names : tuple of str
        Their names, in order.
    ids : tuple of str, optional
        Their ids in the data set, where they differ from the names.
    groups : tuple of str, optional
        Their groups.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Truth:
    """
    A truth as it was read, before it is matched with predictions.

    Parameters
    ----------
    ids : ndarray of str, shape (n_samples,)
        Names of the samples.
    labels : tuple of str or None
        Names of the columns; None where the truth is a list per sample.
    y_true : ndarray of uint8, shape (n_samples, n_labels), or None
        The matrix.
    y_known : ndarray of bool, shape (n_samples, n_labels), or None
        False where not annotated.
    texts : list of str or None
        The labels of every sample as written.
    facts : dict
        ``groups``, ``sample_weight``, ``folds`` where the file has them.
    """

    ids: StringArray
    labels: tuple[str, ...] | None = None
    y_true: npt.NDArray[np.uint8] | None = None
    y_known: npt.NDArray[np.bool_] | None = None
    texts: list[str] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def read_ids(source: str | os.PathLike[str] | npt.ArrayLike) -> StringArray:
    """
    Read a list of sample ids.

    Parameters
    ----------
    source : path-like or array-like of str
        A text file with one id per line, a ``.json`` list, a ``.npy`` array, the first column of a table, or the ids
        themselves.

    Returns
    -------
    ndarray of str
        The ids.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an id is empty or appears twice.
    """
    if not isinstance(source, str | os.PathLike):
        return check_names(source, name="ids")
    path = _existing(source, "id list")
    values = next(iter(read_texts(path).values())) if _has_columns(path) else _read_list(path)
    return _named(values, path, "ids")


def read_label_list(source: str | os.PathLike[str] | npt.ArrayLike) -> LabelList:
    """
    Read the labels of a task.

    Parameters
    ----------
    source : path-like or array-like of str
        A text file with one label per line, a ``.json`` list, a ``.npy`` array, a table with a column ``name`` or
        ``labelName`` and optionally ``labelId`` and ``group`` or ``taskName``, or the names themselves.

    Returns
    -------
    LabelList
        Names, and ids and groups where the table has them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a label is empty or appears twice, or a table has no column of names.
    """
    if not isinstance(source, str | os.PathLike):
        return LabelList(tuple(check_names(source, name="labels").tolist()))
    path = _existing(source, "label list")
    if not _has_columns(path):
        return LabelList(tuple(_named(_read_list(path), path, "labels").tolist()))
    columns = {name.lower(): values for name, values in read_texts(path).items()}
    names, ids, groups = (_first_column(columns, known) for known in (_NAME_COLUMNS, _ID_COLUMNS, _GROUP_COLUMNS))
    if names is None:
        raise ValueError(f"{path} must have a column of label names ('name'): it has {first_names(list(columns), 9)}.")
    checked = _named(names, path, "labels")
    if ids is not None:
        ids = _named(ids, path, "label ids").tolist()
    return LabelList(
        tuple(checked.tolist()), None if ids is None else tuple(ids), None if groups is None else tuple(groups)
    )


def read_truth(
    source: Any,
    *,
    ids: StringArray | None = None,
    labels: Sequence[str] | None = None,
) -> Truth:
    """
    Read a truth in any of its forms.

    Parameters
    ----------
    source : path-like, data frame or array-like of shape (n_samples, n_labels)
        A ``.npz`` with ``y_true``, ``ids``, ``labels``; a table with one column per label (a blank cell is a label not
        annotated) or with the columns ``id,labels``; a data frame with the ids as its index and one column per label; a
        ``.npy`` matrix or an array, whose rows are `ids` and whose columns are `labels`.
    ids, labels : sequence of str, optional
        Names for a matrix without names.

    Returns
    -------
    Truth
        As read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as a truth.
    """
    if is_frame(source):
        return _from_numbers(read_frame(source, "truth"), "truth")
    if not isinstance(source, str | os.PathLike):
        return _nameless(source, "truth", ids, labels)
    path = _existing(source, "truth")
    if path.suffix.lower() == ".npz":
        return _from_arrays(path, ids, labels)
    if path.suffix.lower() == ".npy":
        return _nameless(_load_npy(path), str(path), ids, labels)
    if is_table(path):
        return _from_table(path, labels)
    raise ValueError(f"truth must be a .csv, .tsv, .parquet, .npy or .npz file: got {path.name!r}; convert it to one.")


def spell_out(truth: Truth, labels: LabelList) -> Truth:
    """
    Turn lists of labels into a matrix.

    Parameters
    ----------
    truth : Truth
        A truth with ``texts``; one with a matrix is returned as it is.
    labels : LabelList
        The labels and, where the lists hold ids, their ids.

    Returns
    -------
    Truth
        With ``y_true`` and ``labels``.

    Raises
    ------
    ValueError
        If a list holds an unknown label; the error names row and label.
    """
    if truth.texts is None:
        return truth
    place = {name: position for position, name in enumerate(labels.names)}
    tokens = [_tokens(text, place, joined=any("|" in text for text in truth.texts)) for text in truth.texts]
    if labels.ids is not None and not all(token in place for row in tokens for token in row):
        by_id = {name: position for position, name in enumerate(labels.ids)}
        if all(token in by_id for row in tokens for token in row):
            place = by_id
    matrix = np.zeros((len(tokens), len(labels.names)), np.uint8)
    for row, names in enumerate(tokens):
        for name in names:
            if name not in place:
                raise ValueError(
                    f"truth, row {str(truth.ids[row])!r}: label {name!r} must be one of the {len(place)} known labels, "
                    f"such as {first_names(list(place))}; {_remedy(name, place, labels)}"
                )
            matrix[row, place[name]] = 1
    return replace(truth, labels=labels.names, y_true=matrix, texts=None)


def _remedy(name: str, known: dict[str, int], labels: LabelList) -> str:
    """Guess from an unknown label what is wrong with the list it stands in."""
    for separator in ";,":
        if any(part.strip(" []'\"") in known for part in name.split(separator) if separator in name):
            return f"labels are joined by |, or label ids by spaces: got {separator!r} between them."
    if name.isdecimal() and labels.ids is None:
        return "for a truth of label ids give a table with the columns labelId,labelName as labels= (--labels)."
    return f"give the label list as labels= (--labels).{did_you_mean(name, known)}"


def _tokens(text: str, names: dict[str, int], *, joined: bool) -> list[str]:
    """Split the labels of one sample."""
    if joined:
        return [part.strip() for part in text.split("|") if part.strip()]
    return [text.strip()] if text.strip() in names else text.split()


def _from_arrays(path: Path, ids: StringArray | None, labels: Sequence[str] | None) -> Truth:
    """Read a truth from a ``.npz`` file."""
    arrays = read_npz(path)
    if "y_true" not in arrays:
        raise ValueError(f"{path} must hold y_true: it holds {first_names(list(arrays), 9)}.")
    own_ids = _named(arrays["ids"], path, "ids") if "ids" in arrays else ids
    own_labels = tuple(_named(arrays["labels"], path, "labels").tolist()) if "labels" in arrays else labels
    truth = _nameless(arrays["y_true"], str(path), own_ids, own_labels, y_known=arrays.get("y_known"))
    return replace(truth, facts={key: arrays[key] for key in ("groups", "sample_weight", "folds") if key in arrays})


def _from_table(path: Path, labels: Sequence[str] | None) -> Truth:
    """Read a truth from a table of either form."""
    header = read_header_row(path)
    others = [name for name in header[1:] if name not in (labels or ())]
    lists = [name for name in others if name.lower() in LIST_COLUMNS]
    if not lists:
        beside = tuple(name for name in others if labels is not None and name.lower() in SAMPLE_COLUMNS)
        table = _numbers_of_labels(path, others, beside)
        known = _from_numbers(table, str(path))
        return known if not beside else replace(known, facts=_sample_facts(read_texts(path), beside, path))
    texts = read_texts(path)
    ignored = [name for name in others if name not in lists[:1] and name.lower() not in SAMPLE_COLUMNS]
    if ignored:
        warnings.warn(f"{path}: columns {first_names(ignored, 9)} are not used.", stacklevel=4)
    facts = _sample_facts(texts, [name for name in others if name.lower() in SAMPLE_COLUMNS], path)
    return Truth(_named(texts[header[0]], path, "ids"), texts=texts[lists[0]], facts=facts)


def _from_numbers(table: Table, who: str) -> Truth:
    """Take a table with one column per label for a truth; blank cells are labels that were not annotated."""
    blank = np.isnan(table.values)
    if blank.any():
        text = f"{who}: {int(blank.sum())} blank cells count as labels that were not annotated (y_known False)."
        warnings.warn(text, stacklevel=5)
    truth = _nameless(np.where(blank, 0, table.values), who, table.ids, table.columns)
    return replace(truth, y_known=~blank if blank.any() else None)


def _numbers_of_labels(path: Path, columns: Sequence[str], beside: tuple[str, ...]) -> Table:
    """Read a matrix of labels; where it has one column of text only, say how a list of labels is recognised."""
    try:
        return read_numbers(path, leave_out=beside)
    except ValueError as error:
        if len(set(columns) - set(beside)) != 1 or "must be a number" not in str(error):
            raise
        name = next(name for name in columns if name not in beside)
        raise ValueError(f"{error} If {name!r} lists the labels of a sample, call it 'labels'.") from error


def _sample_facts(texts: dict[str, list[str]], columns: Sequence[str], path: Path) -> dict[str, Any]:
    """Take groups, weights and folds from the columns of a table."""
    facts: dict[str, Any] = {}
    for name in columns:
        key = SAMPLE_COLUMNS[name.lower()]
        values = np.array(texts[name])
        try:
            facts[key] = values if key == "groups" else values.astype(np.int64 if key == "folds" else np.float64)
        except ValueError as error:
            raise ValueError(f"{path}: column {name!r} must hold numbers: {error}.") from error
    return facts


def _nameless(
    matrix: npt.ArrayLike, who: str, ids: StringArray | None, labels: Sequence[str] | None, y_known: Any = None
) -> Truth:
    """Give a matrix the names of its rows and columns."""
    if ids is None or labels is None:
        raise ValueError(f"{who} has no names of rows and columns: give them as ids= and labels= (--ids, --labels).")
    values = check_y_true(matrix, n_samples=len(ids), n_labels=len(labels), name=who)
    known = None if y_known is None else check_y_true(y_known, n_samples=len(ids), n_labels=len(labels)).view(np.bool_)
    return Truth(ids, tuple(labels), values, known)


def _existing(source: str | os.PathLike[str], what: str) -> Path:
    """Return the path of a file that must exist."""
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{what} must be an existing file: {path} does not exist.")
    return path


def _has_columns(path: Path) -> bool:
    """Tell whether a list stands in a table of several columns."""
    return is_table(path) and (
        path.suffix.lower() == ".parquet" or "," in _first_line(path) or "\t" in _first_line(path)
    )


def _first_line(path: Path) -> str:
    """Read the first line of a text file."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline()


def _read_list(path: Path) -> Any:
    """Read a plain list of names."""
    if path.suffix.lower() == ".json":
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be a JSON list of names: {error}.") from error
        if not isinstance(values, list):
            raise ValueError(f"{path} must be a JSON list of names: got {type(values).__name__}.")
        return values
    if path.suffix.lower() == ".npy":
        return _load_npy(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: {error}; convert it first.") from error
    while lines and not lines[-1].strip():  # empty lines at the end of a file name nothing
        lines.pop()
    return lines[1:] if is_table(path) else lines


def _load_npy(path: Path) -> npt.NDArray[Any]:
    """Read one array without pickle."""
    try:
        return read_npy(path)
    except ValueError as error:
        raise ValueError(f"{path} must be an undamaged .npy file of numbers or strings: {error}") from error


def _named(values: npt.ArrayLike, path: Path, what: str) -> StringArray:
    """Check names that came from a file."""
    try:
        names = check_names(values, name=what)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not len(names):
        raise ValueError(f"{path}: {what} must hold at least one name: got none.")
    return names


def _first_column(columns: dict[str, list[str]], known: Sequence[str]) -> list[str] | None:
    """Give the first of several possible columns that exists."""
    return next((columns[name] for name in known if name in columns), None)
