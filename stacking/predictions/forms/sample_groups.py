"""Groups of samples, in the forms people have them: a column beside the ids in some table, or values in order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._checks import check_groups, first_names
from stacking._typing import StringArray
from stacking.files.untrusted import load_strictly
from stacking.named_arrays import AxisNames, align_by_name, find_difference, find_id_column
from stacking.predictions.forms.name_lists import check_file_names, existing_file, load_npy
from stacking.predictions.forms.tables import is_table, read_header_row, read_texts
from stacking.predictions.prediction_set import PredictionSet

GROUP_COLUMNS = ("group", "groups")


def split_groups_path(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split ``FILE:COLUMN``; a file alone has no column named.

    Parameters
    ----------
    source : path-like
        What was given.

    Returns
    -------
    Path and str or None
        The file, and the column.

    Examples
    --------
    >>> split_groups_path("photos.csv:person")[1], split_groups_path("photos.csv")[1]
    ('person', None)
    """
    path = Path(source)
    file, _, column = os.fspath(source).rpartition(":")
    if path.exists() or not file or os.sep in column or not is_table(file):
        return path, None
    return Path(file), column


def _read_groups(source: str | os.PathLike[str], ids: StringArray) -> npt.ArrayLike:
    """Read the groups of samples from a file."""
    file, column = split_groups_path(source)
    path = existing_file(file, "file of groups")
    if path.suffix.lower() == ".npy":
        return load_npy(path)
    if path.suffix.lower() == ".json":
        found = _from_json(path)
    elif is_table(path):
        found = _from_table(path, column)
    else:
        raise ValueError(f"groups must be a .csv, .tsv, .parquet, .feather, .json or .npy file: got {path.name!r}.")
    missing = [name for name in ids.tolist() if name not in found]
    if missing:
        hint = find_difference(missing[0], {name: place for place, name in enumerate(found)})
        raise ValueError(
            f"{path} must name the group of every sample: {len(missing):,} of {len(ids):,} have no row, the first is "
            f"{missing[0]!r}; {hint or 'leave the cell of the group blank where a sample stands alone'}."
        )
    return [found[name] for name in ids.tolist()]


def groups_of(groups: Any, ids: StringArray) -> npt.NDArray[Any]:
    """Bring groups of any form into the order of samples.

    Parameters
    ----------
    groups : path-like, series, mapping or array of shape (n_samples,)
        As `with_groups` takes them.
    ids : ndarray of str, shape (n_samples,)
        The samples.

    Returns
    -------
    ndarray of int or str, shape (n_samples,)
        The group of each, ``""`` where it is blank.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a sample lacks its group.
    """
    if isinstance(groups, str | os.PathLike):
        groups = _read_groups(groups, ids)
    (aligned,) = align_by_name({"row": ("the samples", AxisNames.of(ids))}, groups=groups)
    return check_groups(aligned, len(ids))


def with_groups(predictions: PredictionSet, groups: Any) -> PredictionSet:
    """Give predictions groups of any form.

    Parameters
    ----------
    predictions : PredictionSet
        The predictions.
    groups : path-like, series, mapping or array of shape (n_samples,)
        A file as `_read_groups` takes it, or values; a series goes by its index, an array by position.

    Returns
    -------
    PredictionSet
        With these groups instead of those that it had.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a sample lacks its group.
    """
    if isinstance(groups, str | os.PathLike):
        groups = _read_groups(groups, predictions.ids)
    return predictions.with_groups(groups)


def _from_table(path: Path, column: str | None) -> dict[str, str]:
    """Read the column of groups by id."""
    names = read_header_row(path, first_is_id=False)
    id_column = find_id_column(names)
    others = [name for name in names if name != id_column]
    called = [name for name in others if name.lower() in GROUP_COLUMNS]
    chosen = column or (called[0] if called else others[0] if len(others) == 1 else None)
    if chosen is None or chosen not in others:
        raise ValueError(
            f"{path} must have a column {column or 'group'!r} beside {id_column!r}: got {first_names(others, 9)}; "
            f"name the column of groups as {path.name}:COLUMN.{did_you_mean(column, others) if column else ''}"
        )
    texts = read_texts(path, [id_column, chosen], names_in=(id_column,))
    ids = check_file_names(texts[id_column], path, "ids").tolist()
    return dict(zip(ids, texts[chosen], strict=True))


def _from_json(path: Path) -> dict[str, Any]:
    """Read an object of groups by id."""
    try:
        held = load_strictly(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON object of groups by id: {error}.") from error
    if not isinstance(held, dict) or any(isinstance(value, dict | list) for value in held.values()):
        raise ValueError(f"{path} must be a JSON object of groups by id: got {type(held).__name__}.")
    return held
