"""Annotations as a table: read as every table of labels is, columns mapped by the recipe.

What a cell means is decided in `stacking.predictions.forms.label_tables`, for truth tables and photo tables alike.
Everything is read as text, so that the id ``007`` stays ``007`` and ``NA`` is a name, not a hole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base_models.manifest.annotations import AnnotationTable, list_some, normalize_split
from base_models.manifest.photo_names import name_photos, normalize_path
from base_models.recipe.data import DataConfig
from stacking.named_arrays import ID_NAMES, find_id_column
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.label_tables import LIST_COLUMNS, LabelTable, read_label_table
from stacking.predictions.forms.tables import HeldFrame, read_columns, read_header_row, read_texts

logger = logging.getLogger(__name__)

_DEFAULT = DataConfig("folder", "")
_TELLING = ("group", "groups", "split", "splits")
"""Columns that say which photos belong together; where nobody maps them, somebody has forgotten to."""


def read_csv_table(path: Path | HeldFrame, config: DataConfig, labels: LabelList | None = None) -> AnnotationTable:
    """Read a table of annotations.

    Parameters
    ----------
    path : Path or HeldFrame
        A CSV, TSV or Parquet file with a header, or a frame.
    config : DataConfig
        Names of the columns and the separator of labels.
    labels : LabelList, optional
        The vocabulary, where there is one: it says where a label ends.

    Returns
    -------
    AnnotationTable
        Ids (file names without photo suffix, and without folder where the names differ), labels, splits, groups.

    Raises
    ------
    ValueError
        If the file is missing or no table, a mapped column is absent, a row is short, a split is unknown, a cell is not
        annotated, or the labels could be read in several ways.
    """
    id_column = find_photo_column(path, config, labels)
    extra_columns = [column for column in (config.group_column, config.split_column) if column is not None]
    read = read_label_table(
        path,
        labels,
        id_column=id_column,
        labels_column=config.labels_column,
        separator=config.label_separator,
        extra_columns=extra_columns,
    )
    telling = [name for name in read.unused if name.lower() in _TELLING]
    if telling:
        logger.warning(
            "%s: the columns %s are not used; data.group_column and data.split_column name those that are",
            path.name,
            list_some(telling),
        )
    table = AnnotationTable(path.name)
    table.kind = read.kind
    rows = _labels_of_rows(read, path)
    if read.numbers is not None:
        table.columns, table.kind = read.numbers.columns, "names"
    table.paths = [normalize_path(value) for value in read.ids]
    groups = (
        [cell.strip() for cell in read.extra_columns[config.group_column]] if config.group_column else [""] * len(rows)
    )
    written = read.extra_columns[config.split_column] if config.split_column else ["train"] * len(rows)
    splits = {value: normalize_split(value, path.name) for value in dict.fromkeys(written)}
    ids = name_photos(table.paths)
    for photo_id, keys, split, group in zip(ids, rows, written, groups, strict=True):
        table.add(photo_id, keys, split=splits[split], group=group)
    return table


def read_row_names(
    path: Path | HeldFrame, id_column: str, labels_column: str = _DEFAULT.labels_column
) -> tuple[list[str], list[str]]:
    """Read the photo ids and paths of a table row by row, whatever its labels are.

    Parameters
    ----------
    path : Path or HeldFrame
        The table.
    id_column : str
        The column of ids or file names; at its default another usual name will do.
    labels_column : str
        The column of labels, which must be there if it has another name than the usual ones.

    Returns
    -------
    ids, paths : list of str
        One per row, paths without photo suffix; a long table repeats them.

    Raises
    ------
    ValueError
        If the file is missing or no table, or has no such column.
    """
    config = DataConfig("folder", "", id_column=id_column, labels_column=labels_column)
    column = find_photo_column(path, config, None)
    paths = [normalize_path(value) for value in read_texts(path, [column], names_in=(column,))[column]]
    return name_photos(paths), paths


def find_photo_column(path: Path | HeldFrame, config: DataConfig, labels: LabelList | None) -> str:
    """Find the column of ids, and check that the other columns that the recipe maps are there.

    Parameters
    ----------
    path : Path or HeldFrame
        The table.
    config : DataConfig
        Names of columns.
    labels : LabelList or None
        The labels, where they are known.

    Returns
    -------
    str
        The column of file names or ids.

    Raises
    ------
    ValueError
        If there is no such file or column.
    """
    if not path.is_file():
        raise ValueError(
            f"data.annotations must name a table: got {str(path)!r}, which does not exist; correct the path."
        )
    header = read_header_row(path, first_is_id=False) if read_columns(path) else ()
    wanted: list[str] = [column for column in (config.group_column, config.split_column) if column is not None]
    if config.labels_column != _DEFAULT.labels_column:
        wanted.append(config.labels_column)
    called = [name for name in header if name.lower() in ID_NAMES]
    if config.id_column != _DEFAULT.id_column or not (called or any(name.lower() in LIST_COLUMNS for name in header)):
        wanted.insert(0, config.id_column)
    missing = [column for column in wanted if column not in header]
    if missing:
        raise ValueError(
            f"{path.name} must have the column {missing[0]!r}: got columns {', '.join(header) or 'none'}; map the "
            "columns in the recipe's [data] table."
        )
    if config.id_column in header:
        return config.id_column
    return find_id_column(header, labels.keys if labels is not None else ())


def _labels_of_rows(read: LabelTable, path: Path | HeldFrame) -> Sequence[Sequence[str]]:
    """Give the labels of every row; a photo must be annotated for all of them."""
    if read.numbers is None:
        _refuse_unknown(read, path)
        return read.keys or []
    values = read.numbers.values
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        got = "a blank" if np.isnan(values[row, column]) else f"{values[row, column]:g}"
        raise ValueError(
            f"{path.name}, row {read.ids[row]!r}, column {read.numbers.columns[column]!r}: the cell must be 0 or 1: "
            f"got {got}; the networks learn from photos that are annotated for every label."
        )
    names = np.array(read.numbers.columns, dtype=object)
    return [names[row == 1].tolist() for row in values]


def _refuse_unknown(read: LabelTable, path: Path | HeldFrame) -> None:
    """Refuse a long table that says of some photos only whether they have a label."""
    if read.absent is None or read.keys is None:
        return
    every = {key for row in (*read.keys, *read.absent) for key in row}
    for photo, has, lacks in zip(read.ids, read.keys, read.absent, strict=True):
        unknown = every - set(has) - set(lacks)
        if unknown:
            raise ValueError(
                f"{path.name} must say of every photo whether it has each label: {photo!r} has no row for "
                f"{min(unknown)!r}; add 0 or 1, or leave out the rows with 0."
            )
