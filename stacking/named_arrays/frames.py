"""Data frames of any library: taken apart into ids, column names and values, and put together again for the answer.

pandas is read as it is; polars, pyarrow, DuckDB, Dask and others through narwhals, which is loaded only for them. Most
of them have no index, and neither has a pandas frame that was just read from a file: their ids stand in a column, found
by the same rule as in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import numbers_of_objects
from stacking.named_arrays.axis_names import AxisNames

ID_NAMES = (
    *(
        "id",
        "ids",
        "image",
        "images",
        "image_id",
        "imageid",
        "image_name",
        "imagename",
        "image_path",
        "imagepath",
        "img",
    ),
    *("file", "filename", "file_name", "filepath", "file_path", "path", "photo", "photos", "photo_id", "photoid"),
    *("sample", "sample_id", "sampleid"),
)
"""How people call the column of ids, in lower case."""


LIBRARIES = ("pandas", "polars", "pyarrow", "modin", "cudf")
"""The libraries whose data frames hold their rows, so that an answer can be made in them."""


@dataclass(frozen=True)
class FrameForm:
    """How a data frame held its names, so that the answer can hold them alike.

    Parameters
    ----------
    library : str, default="pandas"
        As narwhals calls it: ``"pandas"``, ``"polars"``, ``"pyarrow"`` ….
    id_column : hashable, default=None
        The column of ids; None where they are the index, or there are none.
    index_name : hashable or list of hashable, default=None
        What the index is called; for one of several levels, each of them.
    numbered_rows, numbered_columns : bool, default=False
        True where the names were integers.
    own_rows : mapping of str to hashable, optional
        What the names of rows were that were neither text nor integers, such as dates.
    """

    library: str = "pandas"
    id_column: Hashable = None
    index_name: Any = None
    numbered_rows: bool = False
    numbered_columns: bool = False
    own_rows: Mapping[str, Hashable] | None = None


@dataclass(frozen=True)
class FrameParts:
    """A data frame, taken apart.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Everything but the ids.
    rows : AxisNames or None
        The ids, None where the frame has none.
    columns : AxisNames
        The names of the other columns.
    form : FrameForm
        How it held them.
    """

    values: npt.NDArray[Any]
    rows: AxisNames | None
    columns: AxisNames
    form: FrameForm = field(default_factory=FrameForm)


def is_frame(value: object) -> bool:
    """Tell whether something is a data frame of some library.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        True for what has columns, as data frames, lazy frames and Arrow tables have.
    """
    return hasattr(type(value), "columns") and not isinstance(value, np.ndarray)


def find_id_column(header: Sequence[str], labels: Collection[str] = ()) -> str:
    """Find the column that holds the ids.

    Parameters
    ----------
    header : sequence of str
        The columns.
    labels : collection of str, default=()
        Names of labels, which are no ids.

    Returns
    -------
    str
        The first column, unless another one alone is called as ids are.

    Examples
    --------
    >>> find_id_column(["split", "image_id", "labels"]), find_id_column(["shop", "labels"])
    ('image_id', 'shop')
    """
    called = [name for name in header if name.lower() in ID_NAMES and name not in labels]
    return header[0] if not called or header[0] in called else called[0]


def split_frame(frame: Any, name: str) -> FrameParts:
    """Take a data frame apart.

    Parameters
    ----------
    frame : data frame
        Of pandas, or of any library that narwhals reads; a lazy one is computed.
    name : str
        The argument's name, for the errors.

    Returns
    -------
    FrameParts
        The values are not checked yet. An index of pandas that is more than numbers names the rows; else a column that
        is called as ids are and holds text or different whole numbers; else a first column of different texts.

    Raises
    ------
    TypeError
        If no library of data frames is known that made it.
    ValueError
        If its columns have names of several levels.

    Examples
    --------
    >>> import pandas as pd
    >>> parts = split_frame(pd.DataFrame({"image": [7, 9], "dress": [0.2, 0.9]}), "scores")
    >>> parts.rows.names, parts.columns.names, parts.values.tolist()
    (('7', '9'), ('dress',), [[0.2], [0.9]])
    """
    if not hasattr(frame, "iloc"):
        return _split_with_narwhals(frame, name)
    columns = list(frame.columns)
    if any(isinstance(column, tuple) for column in columns):
        raise ValueError(
            f"{name} must have one level of column names: got {columns[0]!r}; give one data frame per model."
        )
    own = list(frame.index)
    rows = AxisNames.of(own)
    place = _find_ids(columns, lambda number: frame.iloc[:, number].to_numpy()) if rows.are_numbers else None
    id_column = None
    if place is not None:
        id_column, own = columns.pop(place), frame.iloc[:, place].tolist()
        rows = AxisNames.of(own)
        frame = frame.iloc[:, [number for number in range(frame.shape[1]) if number != place]]
    labels = AxisNames.of(columns)
    called = list(frame.index.names) if frame.index.nlevels > 1 else frame.index.name
    form = FrameForm("pandas", id_column, called, rows.are_numbers, labels.are_numbers, _own_rows(own, rows))
    return FrameParts(_pandas_values(frame), rows, labels, form)


def build_frame(
    values: npt.NDArray[Any], rows: Sequence[Hashable] | None, columns: Sequence[str], form: FrameForm
) -> Any:
    """Put a data frame together.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Its cells.
    rows : sequence of hashable or None
        The ids; None where there are none.
    columns : sequence of str
        The names of the columns.
    form : FrameForm
        Which library, and how it holds the ids: a library without an index has them in a first column, ``"id"`` where
        they had no other name.

    Returns
    -------
    data frame
        Of that library.

    Raises
    ------
    ImportError
        If the library is not installed.

    Examples
    --------
    >>> build_frame(np.array([[True]]), ["a"], ["dress"], FrameForm()).loc["a", "dress"].item()
    True
    """
    ids = None if rows is None else _numbers(rows) if form.numbered_rows else list(rows)
    if ids is not None and form.own_rows is not None:
        ids = [form.own_rows.get(str(name), name) for name in ids]
    names: list[Any] = _numbers(columns) if form.numbered_columns else list(columns)
    if form.library == "pandas":
        import pandas as pd

        index: Any = None if ids is None or form.id_column is not None else pd.Index(ids)
        if index is not None:
            index = index.set_names(form.index_name)
        frame = pd.DataFrame(values, index=index, columns=pd.Index(names))
        if ids is not None and form.id_column is not None:
            frame.insert(0, form.id_column, ids)
        return frame
    import narwhals as nw

    held: dict[str, Any] = {} if ids is None else {_id_name(form, columns): ids}
    held |= {name: values[:, place] for place, name in enumerate(columns)}
    try:
        library: Any = form.library
        return nw.from_dict(held, backend=library).to_native()
    except ImportError as error:
        raise ImportError(f"as_frame needs {form.library}: pip install {form.library}.") from error


def to_pandas(frame: Any) -> Any:
    """Make a data frame of pandas of one of any library.

    Parameters
    ----------
    frame : data frame
        Of a library that narwhals reads.

    Returns
    -------
    pandas.DataFrame
        The same columns; without pyarrow, which other ways from polars to pandas need.
    """
    if hasattr(frame, "iloc"):
        return frame
    import narwhals as nw
    import pandas as pd

    read: Any = nw.from_native(frame)
    read = read.collect() if isinstance(read, nw.LazyFrame) else read
    return pd.DataFrame({name: read[name].to_list() for name in read.columns})


def _id_name(form: FrameForm, columns: Sequence[str]) -> str:
    """Name the column of ids so that no label is called so."""
    name = str(form.id_column or form.index_name or "id")
    while name in columns:
        name += "_"
    return name


def _numbers(names: Sequence[Hashable]) -> list[Any]:
    """Turn the digits of names that were integers back into integers; names that others brought stay text."""
    return [int(name) if isinstance(name, str) and name.lstrip("-").isdecimal() else name for name in names]


def _split_with_narwhals(frame: Any, name: str) -> FrameParts:
    """Take a frame of another library apart."""
    import narwhals as nw

    try:
        read: Any = nw.from_native(frame)
    except TypeError as error:
        raise TypeError(
            f"{name} must be an array or a data frame that narwhals reads, such as one of pandas, polars or pyarrow: "
            f"got {type(frame).__module__}.{type(frame).__name__}."
        ) from error
    read = read.collect() if isinstance(read, nw.LazyFrame) else read
    columns = list(read.columns)
    place = _find_ids(columns, lambda number: read[columns[number]].to_numpy())
    rows, id_column, own = None, None, None
    if place is not None:
        id_column = columns.pop(place)
        own = read[id_column].to_list()
        rows = AxisNames.of(own)
    values = [_column_values(read[column], read[column].is_null()) for column in columns]
    numbered = rows is not None and rows.are_numbers
    form = FrameForm(read.implementation.value, id_column, numbered_rows=numbered, own_rows=_own_rows(own, rows))
    matrix = np.column_stack(values) if values else np.empty((len(read), 0))
    return FrameParts(matrix, rows, AxisNames.of(columns), form)


def _find_ids(columns: Sequence[Any], column_at: Callable[[int], npt.NDArray[Any]]) -> int | None:
    """Find the column of ids: text, dates or whole numbers that are called so, or different texts that come first."""
    names = [str(column) for column in columns]
    if len(names) < 2:
        return None
    place = names.index(find_id_column(names))
    values = column_at(place)
    is_called_so = names[place].lower() in ID_NAMES
    if values.dtype.kind in "iu":  # 0 and 1 are a label, whatever it is called
        return place if is_called_so and len(np.unique(values)) == len(values) and values.max() > 1 else None
    texts = values.tolist()
    is_text = bool(texts) and (values.dtype.kind == "M" or all(isinstance(text, str | date) for text in texts))
    return place if is_text and (is_called_so or len(set(texts)) == len(texts)) else None


def _own_rows(own: Sequence[Any] | None, rows: AxisNames | None) -> dict[str, Hashable] | None:
    """Remember names that are not all text or all integers, so that they come out as they went in."""
    if own is None or rows is None or {type(name) for name in own} <= {str}:
        return None
    if rows.are_numbers and not any(isinstance(name, float | np.floating) for name in own):
        return None
    return {str(name): value for name, value in zip(rows.names, own, strict=True) if not isinstance(value, str)}


def _pandas_values(frame: Any) -> npt.NDArray[Any]:
    """Read the values of a frame, column by column where their types differ or are not numpy's own."""
    kinds = {kind.kind if isinstance(kind, np.dtype) else "O" for kind in frame.dtypes}
    if len(kinds) == 1 and kinds <= set("buif"):
        return np.require(frame.to_numpy(), requirements="W")  # pandas hands out views that must not be written to
    columns = [read_column(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return np.column_stack(columns) if columns else np.empty(frame.shape)


def read_column(column: Any) -> npt.NDArray[Any]:
    """Read a column of pandas of any type.

    Parameters
    ----------
    column : pandas.Series
        The column.

    Returns
    -------
    ndarray
        Numbers as numbers, NaN where one is missing, anything else as objects.
    """
    return _column_values(column, column.isna() if hasattr(column, "isna") else None)


def _column_values(column: Any, missing: Any) -> npt.NDArray[Any]:
    """Read a column of any library: numbers as numbers, NaN where one is missing, anything else as objects."""
    array = np.asarray(column.to_numpy())
    if array.dtype.kind != "O":
        return np.require(array, requirements="W")
    array = array.copy()
    if missing is not None:
        array[np.asarray(missing.to_numpy(), np.bool_)] = np.nan
    return numbers_of_objects(array)
