"""Tables that say which labels a sample has, in every shape that people keep them in, read in one place.

One row per sample with its labels in one cell; one column per label with 0 and 1; or one row per sample and label (a
long table). Photo tables (`base_models.manifest`) and truth tables come here alike, so that both read a file the same
way. Ids are text and come out as they went in.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from stacking._checks import check_names, first_duplicate, first_names
from stacking.named_arrays import find_id_column
from stacking.predictions.forms.label_cells import Keys, Kind, LabelList, split_cells, warn_of_rare_labels
from stacking.predictions.forms.tables import (
    BLANKS,
    HeldFrame,
    Table,
    is_columnar,
    read_header_row,
    read_numbers,
    read_texts,
)
from stacking.predictions.forms.text_form import find_cell_separator

_ONE_LABEL_COLUMNS: dict[str, Kind | None] = {
    "label": None,
    "labelid": "ids",
    "label_id": "ids",
    "labelname": "names",
    "label_name": "names",
}
LIST_COLUMNS: dict[str, Kind | None] = {
    "labels": None,
    "labelids": "ids",
    "label_ids": "ids",
    "labelnames": "names",
    "label_names": "names",
    "tags": None,
    **_ONE_LABEL_COLUMNS,
}
"""How columns of labels are called, in lower case, and whether they then hold ids or names."""
VALUE_COLUMNS = ("value", "y_true", "truth", "present", "confidence")
"""How long tables call the column that says whether the sample has the label; Open Images calls it Confidence."""
_TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "0.": 0, "1.": 1, "false": 0, "true": 1}
_BLANKS = frozenset(blank.lower() for blank in BLANKS)
_PEEK = 1000
"""Rows looked at to tell columns of 0 and 1 from others; the whole column is checked when it is read. A
choice, not tuned."""


@dataclass(frozen=True)
class LabelTable:
    """
    What a table says about the labels of its samples.

    Parameters
    ----------
    ids : list of str
        The id column as it is written, one entry per sample.
    keys : list of tuple of str or None
        The labels of every sample as written; None where the table has one column per label.
    kind : {"ids", "names"} or None
        Whether the file says that its keys are ids or names.
    numbers : Table or None
        The matrix, NaN where blank.
    absent : list of tuple of str or None
        The labels that a long table says every sample lacks; labels in neither list are not known.
    extra_columns : dict of str to list of str
        Further columns that were asked for, by name.
    unused : tuple of str
        The columns that nobody asked for.
    column : str or None
        The column that lists labels; None where each label has its own.
    is_long : bool
        Whether a sample has a row for each of its labels.
    """

    ids: list[str]
    keys: list[Keys] | None = None
    kind: Kind | None = None
    numbers: Table | None = None
    absent: list[Keys] | None = None
    extra_columns: dict[str, list[str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    column: str | None = None
    is_long: bool = False


def read_label_table(
    path: Path | HeldFrame,
    labels: LabelList | None = None,
    *,
    id_column: str | None = None,
    labels_column: str | None = None,
    separator: str | None = None,
    extra_columns: Collection[str] = (),
    sample_columns: Collection[str] = (),
) -> LabelTable:
    """
    Read a table of samples and their labels, whatever its shape.

    Parameters
    ----------
    path : Path or HeldFrame
        A CSV, TSV, Parquet or Feather file, or a frame.
    labels : LabelList, optional
        The labels of the task, if they are known.
    id_column, labels_column : str, optional
        The columns of ids and of labels; by default those that are called so.
    separator : str, optional
        What separates labels in a cell; found by default.
    extra_columns : collection of str, default=()
        Columns that hold something else; returned as text.
    sample_columns : collection of str, default=()
        Names, in lower case, of columns that hold something else unless a label is called so; returned as text.

    Returns
    -------
    LabelTable
        As read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no table, an id repeats in a table that is no long one, or there is more than one way to read it; the
        error says what was understood.
    """
    known = labels.keys if labels is not None else frozenset()
    header = read_header_row(path, first_is_id=False)
    id_name = id_column if id_column is not None else find_id_column(header, known)
    rest = [name for name in header if name != id_name]
    aside = [name for name in rest if name in extra_columns or (name.lower() in sample_columns and name not in known)]
    rest = [name for name in rest if name not in aside]
    called = [name for name in rest if name.lower() in LIST_COLUMNS]
    if labels_column in rest:
        called = [str(labels_column)]
    values = [name for name in rest if name.lower() in VALUE_COLUMNS and name not in known][:1]
    texts = read_texts(path, [id_name, *called, *aside, *values], names_in=(id_name, *called)) if called else {}
    column = _list_column(path, rest, called, texts, labels) if separator is None or not called else called[0]
    if column is None:
        return _read_matrix(path, id_name, rest, aside, labels)
    long_value = next((texts[name] for name in values if _is_binary(texts[name])), None)
    unused = [name for name in rest if name != column and not (name in values and long_value is not None)]
    _refuse_two_sources(path, column, [name for name in unused if name in known])
    who = f"{path}, column {column!r}"
    keys = split_cells(texts[column], known=known or None, separator=separator, who=who)
    if labels is None:
        counts = Counter(key for row in keys for key in row)
        _refuse_two_sources(path, column, [name for name in unused if name in counts])
        doubt = warn_of_rare_labels(counts, len(keys), who=who)
        if doubt:
            warnings.warn(doubt, stacklevel=5)
    kind = LIST_COLUMNS.get(column.lower())
    extra_texts = {name: texts[name] for name in aside}
    table = LabelTable(texts[id_name], keys, kind, extra_columns=extra_texts, unused=tuple(unused), column=column)
    if long_value is None and len(set(table.ids)) == len(table.ids):
        return table
    single = column.lower() in _ONE_LABEL_COLUMNS or column.lower() not in LIST_COLUMNS
    return _join_rows(path, table, long_value if single else None, single)


def _refuse_two_sources(path: Path | HeldFrame, column: str, others: Sequence[str]) -> None:
    """Refuse a table that lists labels and has columns that are called like labels."""
    if others:
        raise ValueError(
            f"{path} must say in one place which labels a sample has: got the column {column!r} and columns that are "
            f"labels, such as {first_names(others)}; leave out the one or the others."
        )


def _is_binary(cells: Sequence[str]) -> bool:
    """Tell whether a column holds 0 and 1, blank cells among them."""
    found = {cell.strip().lower() for cell in cells} - _BLANKS
    return bool(found) and found <= _TRUTH.keys()


def _list_column(
    path: Path | HeldFrame,
    rest: Sequence[str],
    called: Sequence[str],
    texts: Mapping[str, list[str]],
    labels: LabelList | None,
) -> str | None:
    """Find the column that lists labels, None where every column is a label; what could be both is refused."""
    if not called:
        return None
    for name in called:
        if not _is_binary(texts[name]):
            return name
    column = called[0]
    what = f"{path}: the column {column!r} holds 0 and 1, which could be"
    if labels is None:
        if len(rest) > 1 and all(map(_is_binary, read_texts(path, rest, n_rows=_PEEK).values())):
            return None
        raise ValueError(
            f"{what} the labels '0' and '1' of each sample, or whether it has the label {column!r}: give the label "
            "list, or the separator of labels."
        )
    cells = {cell.strip() for cell in texts[column]} - {""}
    as_lists, as_matrix = cells <= labels.keys, all(name in labels.keys for name in rest)
    if as_lists and as_matrix:
        raise ValueError(f"{what} labels of each sample, or whether it has the label {column!r}: rename the column.")
    return column if as_lists or (len(rest) == 1 and not as_matrix) else None


def _join_rows(path: Path | HeldFrame, table: LabelTable, values: Sequence[str] | None, single: bool) -> LabelTable:
    """Bring the rows of a long table together, one sample each."""
    lists = table.keys or []
    several = next((row for row, keys in enumerate(lists) if len(keys) > 1), None)
    if not single or several is not None:
        twice = first_duplicate(table.ids)
        raise ValueError(
            f"{path}: ids must be unique: got {twice!r} {table.ids.count(twice)} times; keep one row with all its "
            "labels, or write one label per row in a column called 'label'."
        )
    places: dict[str, int] = {}
    said: list[dict[str, int]] = []
    first: list[int] = []
    for row, (name, keys) in enumerate(zip(table.ids, lists, strict=True)):
        if name not in places:
            places[name] = len(said)
            said.append({})
            first.append(row)
        cell = "1" if values is None else values[row].strip().lower()
        here = said[places[name]]
        if cell in _BLANKS or not keys:  # a sample without labels has a row too
            continue
        if here.setdefault(keys[0], _TRUTH[cell]) != _TRUTH[cell]:
            raise ValueError(
                f"{path}: {name!r} must have the label {keys[0]!r} or not: got 0 and 1; correct the table."
            )
    extra_columns = {}
    for column, texts in table.extra_columns.items():
        odd = next((r for r, name in enumerate(table.ids) if texts[r] != texts[first[places[name]]]), None)
        if odd is not None:
            raise ValueError(
                f"{path}: the rows of {table.ids[odd]!r} must agree in the column {column!r}: got {texts[odd]!r} and "
                f"{texts[first[places[table.ids[odd]]]]!r}."
            )
        extra_columns[column] = [texts[row] for row in first]
    absent = [tuple(key for key, value in row.items() if not value) for row in said]
    present = [tuple(key for key, value in row.items() if value) for row in said]
    denied = absent if any(absent) else None
    return replace(table, ids=list(places), keys=present, absent=denied, extra_columns=extra_columns, is_long=True)


def _read_matrix(
    path: Path | HeldFrame, id_name: str, rest: Sequence[str], aside: Sequence[str], labels: LabelList | None
) -> LabelTable:
    """Read a table with one column per label."""
    peek = read_texts(path, rest, n_rows=_PEEK)
    if isinstance(path, Path) and not is_columnar(path) and find_cell_separator(path) != ",":
        peek = {name: [cell.replace(",", ".") for cell in cells] for name, cells in peek.items()}
    odd = [name for name in rest if not _is_binary(peek[name]) and any(cell.strip() for cell in peek[name])]
    if labels is not None:
        odd = [name for name in odd if name not in labels.keys]
    columns = [name for name in rest if name not in odd]
    if odd and (labels is None or not columns):
        cell = next(cell for cell in peek[odd[0]] if cell.strip() and cell.strip().lower() not in _TRUTH)
        raise ValueError(
            f"{path}, column {odd[0]!r}: the cell must be a number, 0 or 1: got {cell!r}. If {odd[0]!r} lists the "
            f"labels of a sample, call it 'labels'; if it holds something else, leave it out."
        )
    if not columns:
        raise ValueError(f"{path} must have a column of labels: got columns {', '.join([id_name, *aside])}; add it.")
    numbers = _read_truth_values(path, id_name, columns, [*odd, *aside])
    texts = read_texts(path, aside) if aside else {}
    extra_columns = {name: texts[name] for name in aside}
    return LabelTable(numbers.ids.tolist(), numbers=numbers, extra_columns=extra_columns, unused=tuple(odd))


def _read_truth_values(path: Path | HeldFrame, id_name: str, columns: Sequence[str], leave_out: Sequence[str]) -> Table:
    """Read a matrix of 0 and 1; the words true and false count as such."""
    try:
        return read_numbers(path, leave_out, id_column=id_name)
    except ValueError as error:
        if "must be a number" not in str(error):
            raise
        texts = read_texts(path, [id_name, *columns], names_in=(id_name,))
        if not all(_is_binary(texts[name]) or not any(map(str.strip, texts[name])) for name in columns):
            raise
        values = np.array([[_TRUTH.get(cell.strip().lower(), np.nan) for cell in texts[name]] for name in columns])
        ids = check_names(texts[id_name], name="ids")
        return Table(ids, tuple(columns), np.ascontiguousarray(values.T, dtype=np.float32))
