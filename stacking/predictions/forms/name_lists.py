"""Lists of names: the samples and their order, the labels with their ids and groups.

Photos (`base_models.photos.vocabulary`) and predictions read the same label lists here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from stacking._checks import check_names, first_names
from stacking._typing import StringArray
from stacking.files.remote import local_copy
from stacking.files.untrusted import load_strictly, read_npy
from stacking.named_arrays import ID_NAMES, find_id_column
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.tables import (
    is_table,
    read_columns,
    read_header_row,
    read_texts,
)
from stacking.predictions.forms.text_form import find_text_form

_NAME_COLUMNS = (
    *("name", "labelname", "label_name", "label", "labels", "names", "display_name", "class_name", "classname"),
    *("class", "classes", "category", "categories", "tag", "tags"),
)
_ID_COLUMNS = ("labelid", "label_id", "id", "labelids", "label_ids", "ids", "class_id", "classid", "category_id")
_GROUP_COLUMNS = ("group", "taskname", "task_name", "task", "label_group", "label_groups", "supercategory")
_NESTED = ("categories", "labels", "classes")
"""Under which key JSON files keep a list of labels among other things."""


def read_ids(source: str | os.PathLike[str] | npt.ArrayLike) -> StringArray:
    """
    Read a list of sample ids.

    Parameters
    ----------
    source : path-like or array-like of str
        A text file with one id per line, a ``.json`` list, a ``.npy`` array, the id column of a table, or the ids
        themselves.

    Returns
    -------
    ndarray of str
        The ids, as they are written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an id is empty or appears twice.
    """
    if not isinstance(source, str | os.PathLike):
        return check_names(source, name="ids")
    path = existing_file(source, "id list")
    if is_table(path) and len(read_columns(path)) > 1:
        column = find_id_column(read_header_row(path, first_is_id=False))
        return check_file_names(read_texts(path, [column], names_in=(column,))[column], path, "ids")
    return check_file_names(_read_list(path, ID_NAMES), path, "ids")


def read_label_list(source: str | os.PathLike[str] | npt.ArrayLike | LabelList) -> LabelList:
    """
    Read the labels of a task.

    Parameters
    ----------
    source : path-like, LabelList or array-like of str
        A text file with one label per line; a ``.json`` list of names or of objects with name, id and group, or an
        object of names by id; a ``.npy`` array; a table with a column ``name`` or ``labelName`` and optionally
        ``labelId`` and ``group`` or ``taskName``; or the names themselves.

    Returns
    -------
    LabelList
        Names, and ids and groups where the list has them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a label or its id is empty or appears twice, or a table has no column of names.
    """
    if isinstance(source, LabelList):
        return source
    if not isinstance(source, str | os.PathLike):
        return LabelList(tuple(check_names(source, name="labels").tolist()))
    path = existing_file(source, "label list")
    if is_table(path) and len(read_columns(path)) > 1:
        return _from_columns(read_texts(path), path)
    values = _read_list(path, (*_NAME_COLUMNS, *_ID_COLUMNS))
    if isinstance(values, Mapping):
        return _from_columns(values, path)
    return LabelList(tuple(check_file_names(_stripped(values), path, "labels").tolist()))


def check_file_names(values: npt.ArrayLike, path: object, what: str) -> StringArray:
    """
    Check names that came from a file.

    Parameters
    ----------
    values : array-like of str or int
        The names.
    path : path-like
        The file.
    what : str
        What they name.

    Returns
    -------
    ndarray of str
        The names.

    Raises
    ------
    ValueError
        If there is none, one is empty, or one appears twice; the error names the file.
    """
    try:
        names = check_names(values, name=what)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not len(names):
        raise ValueError(f"{path}: {what} must hold at least one name: got none.")
    return names


def existing_file(source: str | os.PathLike[str], what: str) -> Path:
    """
    Return the path of a file that must exist.

    Parameters
    ----------
    source : path-like
        The file; a URL is copied to this machine, see `stacking.files.remote`.
    what : str
        What it holds, for the error.

    Returns
    -------
    Path
        The same, or the copy.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    path = local_copy(source, what=what)
    if not path.is_file():
        raise FileNotFoundError(f"{what} must be an existing file: {path} does not exist.")
    return path


def load_npy(path: Path) -> npt.NDArray[Any]:
    """
    Read one array without pickle.

    Parameters
    ----------
    path : Path
        A ``.npy`` file.

    Returns
    -------
    ndarray
        Numbers or strings.

    Raises
    ------
    ValueError
        If it is damaged or holds Python objects.
    """
    try:
        return read_npy(path)
    except Exception as error:  # numpy's header parser raises almost anything on damage
        raise ValueError(f"{path} must be an undamaged .npy file of numbers or strings: {error}.") from error


def _from_columns(table: Mapping[str, list[str]], path: Path) -> LabelList:
    """Take names, ids and groups from the columns of a label table."""
    columns = {name.lower(): values for name, values in table.items()}
    names, ids, groups = (_first_column(columns, known) for known in (_NAME_COLUMNS, _ID_COLUMNS, _GROUP_COLUMNS))
    if names is None:
        raise ValueError(f"{path} must have a column of label names ('name'): it has {first_names(list(table), 9)}.")
    checked = tuple(check_file_names(_stripped(names), path, "labels").tolist())
    own_ids = None if ids is None else tuple(check_file_names(_stripped(ids), path, "label ids").tolist())
    own_groups = None if groups is None else tuple(group.strip() for group in groups)
    return LabelList(checked, own_ids, own_groups)


def _stripped(values: Any) -> Any:
    """Take the spaces around labels away, as those around the labels in cells and headers are."""
    return [value.strip() if isinstance(value, str) else value for value in values]


def _read_list(path: Path, headers: Sequence[str]) -> Any:
    """Read a plain list of names; from JSON perhaps columns."""
    if path.suffix.lower() == ".json":
        return _read_json(path)
    if path.suffix.lower() == ".npy":
        return load_npy(path)
    if is_table(path):
        header = read_columns(path)[0]
        if header.lower() not in headers:
            raise ValueError(
                f"{path} must name its one column in the first row, such as {headers[0]!r}: got {header!r}; add the "
                "name, or call the file .txt if it has none."
            )
        return read_texts(path, names_in=(header,))[header]
    try:
        lines = path.read_text(encoding=find_text_form(path).encoding).split("\n")
    except UnicodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: {error}; convert it first.") from error
    while lines and not lines[-1].strip():  # empty lines at the end of a file name nothing
        lines.pop()
    return lines


def _read_json(path: Path) -> Any:
    """Read names from JSON: a list of them, of objects, or an object of names by id or numbers by name."""
    try:
        values = load_strictly(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError(f"{path} must be a JSON list of names: it is nested too deeply.") from error
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON list of names: {error}.") from error
    if isinstance(values, dict):
        nested = next((values[key] for key in _NESTED if isinstance(values.get(key), list)), None)
        if nested is not None:
            values = nested
        elif values and all(isinstance(value, str) for value in values.values()):
            return {"id": list(values), "name": list(values.values())}
        elif values and all(isinstance(value, int) and not isinstance(value, bool) for value in values.values()):
            ordered = sorted(values, key=lambda name: values[name])
            return {"id": [str(values[name]) for name in ordered], "name": ordered}
    if not isinstance(values, list):
        raise ValueError(f"{path} must be a JSON list of names: got {type(values).__name__}.")
    if values and all(isinstance(value, dict) for value in values):
        keys = list(dict.fromkeys(key for value in values for key in value))
        return {key: [_as_name(value.get(key)) for value in values] for key in keys}
    return values


def _as_name(value: object) -> str:
    """Return a name or whole number as text; nothing for null, a truth value, a fraction, a list or an object."""
    is_name = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_name else ""


def _first_column(columns: Mapping[str, list[str]], known: Sequence[str]) -> list[str] | None:
    """Give the first of several possible columns that exists."""
    return next((columns[name] for name in known if name in columns), None)
