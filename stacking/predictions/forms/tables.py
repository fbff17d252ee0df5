"""Tables: one CSV or Parquet file per model, the first column the id, one column per label.

Ids are text whatever they look like: ``007`` and ``NA`` survive. pandas is loaded only when a table is read.
"""

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stacking._checks import FloatArray, StringArray, check_names, first_duplicate
from stacking.files.untrusted import check_unpacked_size

BLANKS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".parquet")
ID_NAMES = ("id", "ids", "image", "image_id", "imageid", "photo", "photo_id", "sample", "sample_id", "sampleid")
ROW_NUMBERS = ("", "index", "Unnamed: 0")
"""How pandas names the column in which it writes row numbers."""
_FRACTION = re.compile(r"[-+]?\d*\.\d{3,}([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Table:
    """
    A table of numbers with named rows and columns.

    Parameters
    ----------
    ids : ndarray of str, shape (n_rows,)
        The first column.
    columns : tuple of str
        The names of the other columns.
    values : ndarray of float32, shape (n_rows, n_columns)
        Their contents, NaN where blank.
    """

    ids: StringArray
    columns: tuple[str, ...]
    values: FloatArray


def is_table(path: str | os.PathLike[str]) -> bool:
    """
    Tell whether a file name is that of a table.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    bool
        True for ``.csv``, ``.csv.gz``, ``.tsv`` and ``.parquet``.
    """
    return Path(path).name.lower().endswith(TABLE_SUFFIXES)


def is_frame(values: object) -> bool:
    """
    Tell whether an object is a data frame.

    Parameters
    ----------
    values : object
        Anything.

    Returns
    -------
    bool
        True for what has an index and columns, as pandas' data frames have.
    """
    return hasattr(values, "index") and hasattr(values, "columns") and hasattr(values, "to_numpy")


def read_frame(frame: Any, who: str) -> Table:
    """
    Read a data frame of numbers.

    Parameters
    ----------
    frame : pandas.DataFrame
        The ids as its index, one column per label.
    who : str
        Whose it is, for errors.

    Returns
    -------
    Table
        Its numbers; the frame is not changed.

    Raises
    ------
    ValueError
        If its index or columns are no names, or a column holds no numbers.
    """
    try:
        ids = check_names(frame.index.to_numpy(), name="ids (the index)")
        columns = tuple(check_names([str(name) for name in frame.columns], name="labels (the columns)").tolist())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{who}: {error}") from error
    try:
        values = frame.to_numpy(dtype=np.float32, na_value=np.nan, copy=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{who} must hold numbers: {error}; move ids to the index with set_index.") from error
    return Table(ids, columns, np.require(values, requirements=["C", "W"]))


def read_header_row(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """
    Read the column names of a table.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    tuple of str
        All names, that of the id column first.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If it has no table, fewer than two columns, or a name twice.
    """
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{place} must be a table: there is no such file.")
    if place.suffix.lower() == ".parquet":
        names = [str(name) for name in _parquet(place).columns]
    else:
        first = _csv(place, header=None, nrows=1, dtype=str, keep_default_na=False)
        names = [str(name).strip() for name in first.iloc[0].tolist()]
    if len(names) < 2:
        raise ValueError(
            f"{place} must have an id column and at least one more: got {names}; is it separated by commas?"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{place} must name every column once: got {first_duplicate(names)!r} twice; rename one.")
    if all(_FRACTION.fullmatch(name) for name in names[1:]):
        raise ValueError(
            f"{place} must name its columns in the first row: got numbers such as {names[1]!r}; add names."
        )
    later = [name for name in names[1:] if name.lower() in ID_NAMES]
    if later and names[0] in ROW_NUMBERS:
        raise ValueError(
            f"{place} must hold the ids in its first column: got row numbers there and {later[0]!r} after them; "
            "save it without the row numbers (pandas: index=False)."
        )
    return tuple(names)


def read_numbers(path: str | os.PathLike[str], leave_out: tuple[str, ...] = ()) -> Table:
    """
    Read a table of numbers.

    Parameters
    ----------
    path : path-like
        A CSV, TSV or Parquet file; the first column holds the ids.
    leave_out : tuple of str, default=()
        Columns to skip.

    Returns
    -------
    Table
        Its numbers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If an id appears twice, or a cell is not a number; the error names file, row and column.
    """
    place = Path(path)
    names = read_header_row(place)
    columns = tuple(name for name in names[1:] if name not in leave_out)
    if place.suffix.lower() == ".parquet":
        frame = _parquet(place)
        frame.columns = list(names)
        ids = _ids(frame[names[0]].tolist(), place)
        values = np.empty((len(ids), len(columns)), np.float32)
        for position, name in enumerate(columns):
            try:
                values[:, position] = frame[name].to_numpy(dtype=np.float32, na_value=np.nan)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{place} must hold numbers: column {name!r} does not ({error}).") from error
        return Table(ids, columns, values)
    try:
        kinds: dict[str, Any] = {names[0]: str} | dict.fromkeys(columns, np.float32)
        blanks = dict.fromkeys(columns, BLANKS)
        kinds |= dict.fromkeys(leave_out, str)
        frame = _csv(place, names=list(names), header=0, dtype=kinds, keep_default_na=False, na_values=blanks)
    except ValueError as error:
        raise _explain(place, names, columns, error) from error
    return Table(
        _ids(frame[names[0]].tolist(), place),
        columns,
        np.require(frame[list(columns)].to_numpy(np.float32), requirements=["C", "W"]),
    )


def read_texts(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """
    Read a table as text, cell by cell.

    Parameters
    ----------
    path : path-like
        A CSV, TSV or Parquet file.

    Returns
    -------
    dict of str to list of str
        The columns by name, the id column first; blank cells are empty strings.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If it cannot be read.
    """
    place = Path(path)
    names = read_header_row(place)
    if place.suffix.lower() == ".parquet":
        frame = _parquet(place)
        return {str(name): [_cell_text(cell) for cell in frame[name].tolist()] for name in frame.columns}
    frame = _csv(place, names=list(names), header=0, dtype=str, keep_default_na=False)
    if frame.isna().to_numpy().any():
        row = int(frame.isna().to_numpy().any(axis=1).argmax())
        raise ValueError(f"{place} must have {len(names)} cells in every row: row {row + 1} has fewer.")
    return {name: [str(cell) for cell in frame[name].tolist()] for name in names}


def _cell_text(cell: object) -> str:
    """Write a cell of a Parquet file as text; a list of labels is joined as it would be in a CSV file."""
    if isinstance(cell, list | tuple | np.ndarray):
        return "|".join(str(part) for part in cell)
    return "" if cell is None else str(cell)


def _csv(path: Path, **options: Any) -> Any:
    """Read a CSV or TSV file with pandas; its warnings about lost cells are errors."""
    import pandas as pd

    check_unpacked_size(path)
    separator = "\t" if ".tsv" in path.suffixes else ","
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # without index_col=False pandas takes the first cells of longer rows for an index
            return pd.read_csv(path, sep=separator, encoding="utf-8-sig", index_col=False, **options)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} must be UTF-8 text: {error}; convert it first.") from error
        except pd.errors.EmptyDataError as error:
            raise ValueError(f"{path} must hold a table: it is empty.") from error
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise ValueError(f"{path} must be a table with equally long rows: {str(error).strip()}.") from error


def _parquet(path: Path) -> Any:
    """Read a Parquet file with pandas, an index that was saved with it as the first column."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"{path}: reading Parquet needs pyarrow: pip install 'labelstack[parquet]'.") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be an undamaged Parquet file: {error}.") from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _ids(values: list[Any], path: Path) -> StringArray:
    """Check the id column."""
    if not values:
        raise ValueError(f"{path} must hold at least one row: got only a header.")
    try:
        return check_names(np.array(values, dtype=object), name="ids")
    except TypeError as error:
        raise ValueError(f"{path} must hold the ids in its first column: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _explain(path: Path, names: tuple[str, ...], columns: tuple[str, ...], error: ValueError) -> ValueError:
    """Find the cell that is not a number."""
    import pandas as pd

    try:
        texts = read_texts(path)
    except ValueError as other:
        return other
    for name in columns:
        numbers = pd.to_numeric(pd.Series(texts[name], dtype=object), errors="coerce").isna().to_numpy()
        wrong = numbers & ~np.isin(np.array(texts[name], dtype=object), np.array(BLANKS, dtype=object))
        if wrong.any():
            row = int(wrong.argmax())
            where = f"row {texts[names[0]][row]!r}, column {name!r}"
            return ValueError(f"{path}, {where}: the cell must be a number: got {texts[name][row]!r}.")
    return error
