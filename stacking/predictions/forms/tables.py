"""Tables: one CSV, Parquet or Feather file per model, the first column the id, one column per label.

Ids are text whatever they look like: ``007`` and ``NA`` survive. Cells are separated by commas, or by semicolons or
tabs where the header is, or by what a first line ``sep=;`` says, as spreadsheets write it. Text is UTF-8, or UTF-16
where the file begins with that mark. pandas is loaded only when a table is read.
"""

import csv
import json
import os
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stacking._checks import check_names, first_duplicate
from stacking._typing import FloatArray, StringArray
from stacking.named_arrays import ID_NAMES, AxisNames
from stacking.named_arrays.frames import split_frame
from stacking.predictions.forms.text_form import find_cell_separator, find_text_form, opener

BLANKS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
COLUMNAR_SUFFIXES = (".parquet", ".feather", ".arrow")
"""What pyarrow reads: Parquet, and the Arrow file, which is Feather's second version."""
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", *COLUMNAR_SUFFIXES)
ROW_NUMBERS = ("", "index", "Unnamed: 0")
"""How pandas names the column in which it writes row numbers."""
_FRACTION = re.compile(r"[-+]?\d*\.\d{3,}([eE][-+]?\d+)?")
_SCORE = re.compile(r"0?\.\d+|[01]\.0*|\d(\.\d+)?[eE]-\d+")
"""A number in [0, 1] that is written as programs write fractions."""


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


@dataclass(frozen=True)
class HeldFrame:
    """
    A data frame of pandas that is read as if it were a file.

    Parameters
    ----------
    frame : DataFrame
        Its columns; an index that is more than row numbers is its first.
    who : str
        What errors call it.
    """

    frame: Any
    who: str

    def __str__(self) -> str:
        return self.who

    @property
    def name(self) -> str:
        """Return what errors call it, as a file has a name."""
        return self.who

    def is_file(self) -> bool:
        """Tell that there is something to read."""
        return True


def is_columnar(path: Path | HeldFrame) -> bool:
    """
    Tell a table with typed columns from a text file.

    Parameters
    ----------
    path : Path or HeldFrame
        A table.

    Returns
    -------
    bool
        True for a frame, a Parquet file and a Feather file.
    """
    return isinstance(path, HeldFrame) or path.suffix.lower() in COLUMNAR_SUFFIXES


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
        True for ``.csv``, ``.csv.gz``, ``.tsv``, ``.parquet``, ``.feather`` and ``.arrow``.
    """
    return Path(path).name.lower().endswith(TABLE_SUFFIXES)


def read_frame(frame: Any, who: str) -> Table:
    """
    Read a data frame of numbers.

    Parameters
    ----------
    frame : data frame
        Of pandas, polars, pyarrow or another library that narwhals reads, one column per label; the ids are the index
        of pandas, or a column (`stacking.named_arrays.split_frame`).
    who : str
        Whose it is, for errors.

    Returns
    -------
    Table
        Its numbers; the frame is not changed.

    Raises
    ------
    ValueError
        If it names no rows, its ids or columns are no names, or a column holds no numbers.
    """
    parts = split_frame(frame, who)
    if parts.rows is None:
        raise ValueError(f"{who} must name its rows: got no column of ids; put it first.")
    try:
        ids = check_names(np.array(parts.rows.names, object), name="ids")
        columns = tuple(check_names([str(name) for name in parts.columns.names], name="labels (the columns)").tolist())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{who}: {error}") from error
    try:
        values = parts.values.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{who} must hold numbers: {error}; move ids to the index with set_index.") from error
    return Table(ids, columns, np.require(values, requirements=["C", "W"]))


def read_header_row(path: str | os.PathLike[str] | HeldFrame, *, first_is_id: bool = True) -> tuple[str, ...]:
    """
    Read the column names of a table.

    Parameters
    ----------
    path : path-like
        The file.
    first_is_id : bool, default=True
        Whether the first column must hold the ids, so that row numbers there are an error.

    Returns
    -------
    tuple of str
        All names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If it has no table, fewer than two columns, or a name twice.
    """
    place = _place(path)
    names = read_columns(place)
    if len(names) < 2:
        raise ValueError(
            f"{place} must have an id column and at least one more: got columns {', '.join(names) or 'none'}; "
            "is it separated by commas?"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{place} must name every column once: got {first_duplicate(names)!r} twice; rename one.")
    if all(_FRACTION.fullmatch(name) for name in names[1:]):
        raise ValueError(
            f"{place} must name its columns in the first row: got numbers such as {names[1]!r}; add names."
        )
    later = [name for name in names[1:] if name.lower() in ID_NAMES]
    if first_is_id and later and names[0] in ROW_NUMBERS:
        raise ValueError(
            f"{place} must hold the ids in its first column: got row numbers there and {later[0]!r} after them; "
            "save it without the row numbers (pandas: index=False)."
        )
    return names


def read_columns(path: str | os.PathLike[str] | HeldFrame) -> tuple[str, ...]:
    """
    Read the first row of a table, as it is.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    tuple of str
        The names without spaces around them; a blank one that is not the first gets its number.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If it cannot be read.
    """
    place = _place(path)
    if not place.is_file():
        raise FileNotFoundError(f"{place} must be a table: there is no such file.")
    if is_columnar(place):
        return tuple(str(name) for name in _columnar(place).columns)
    names = [name.strip() for name in next(iterate_rows(place))[1]]
    return tuple(name or (f"Unnamed: {number}" if number else "") for number, name in enumerate(names))


def read_numbers(
    path: str | os.PathLike[str] | HeldFrame,
    leave_out: Collection[str] = (),
    *,
    id_column: str | None = None,
    unique_ids: bool = True,
) -> Table:
    """
    Read a table of numbers.

    Parameters
    ----------
    path : path-like
        A CSV, TSV, Parquet or Feather file, or a frame.
    leave_out : collection of str, default=()
        Columns to skip.
    id_column : str, optional
        The column that holds the ids; the first by default.
    unique_ids : bool, default=True
        Whether an id that is blank or appears twice is an error; who looks for such faults takes the ids as they are.

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
        If an id appears twice, a cell is not a number, or a column has numbers but no name; the error names file, row
        and column. A column without name and numbers, as commas at the ends of rows make it, is none.
    """
    place = _place(path)
    names = read_header_row(place, first_is_id=id_column is None)
    id_name = names[0] if id_column is None else id_column
    leave_out = leave_out if is_columnar(place) else {*leave_out, *_check_nameless(place, names)}
    columns = tuple(name for name in names if name != id_name and name not in leave_out)
    if is_columnar(place):
        frame = _columnar(place)
        frame.columns = list(names)
        ids = _ids(frame[id_name].tolist(), place, unique_ids)
        values = np.empty((len(ids), len(columns)), np.float32)
        for position, name in enumerate(columns):
            try:
                values[:, position] = frame[name].to_numpy(dtype=np.float32, na_value=np.nan)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{place} must hold numbers: column {name!r} does not ({error}).") from error
        return Table(ids, columns, values)
    kinds: dict[str, Any] = {id_name: str} | dict.fromkeys(columns, np.float32) | dict.fromkeys(leave_out, str)
    options: dict[str, Any] = {"dtype": kinds, "keep_default_na": False, "na_values": dict.fromkeys(columns, BLANKS)}
    try:
        frame = _csv(place, names=list(names), header=0, **options)
    except ValueError as error:
        frame = _with_decimal_commas(place, names, options)
        if frame is None:
            raise _explain(place, names, columns, id_name, error) from error
    return Table(
        _ids(frame[id_name].tolist(), place, unique_ids),
        columns,
        np.require(frame[list(columns)].to_numpy(np.float32), requirements=["C", "W"]),
    )


def _check_nameless(place: Path, names: Sequence[str]) -> list[str]:
    """Return the columns of a text file that have neither a name nor content; refuse one that has content."""
    header = next(iterate_rows(place))[1]
    nameless = [name for name, cell in zip(names, header, strict=True) if name and not cell.strip()]
    for name, cells in read_texts(place, nameless).items() if nameless else ():
        held = next((cell for cell in cells if cell.strip()), None)
        if held is not None:
            raise ValueError(
                f"{place} must name every column in its first row: column {names.index(name) + 1} has none and holds "
                f"{held[:40]!r}; add the name."
            )
    return nameless


def read_texts(
    path: str | os.PathLike[str] | HeldFrame,
    columns: Sequence[str] | None = None,
    *,
    names_in: Collection[str] = (),
    n_rows: int | None = None,
) -> dict[str, list[str]]:
    """
    Read a table as text, cell by cell.

    Parameters
    ----------
    path : path-like
        A CSV, TSV, Parquet or Feather file, or a frame.
    columns : sequence of str, optional
        The columns to read; all by default.
    names_in : collection of str, default=()
        Columns that hold names or lists of names: there a Parquet file must hold neither nulls nor fractions.
    n_rows : int, optional
        Read only so many rows.

    Returns
    -------
    dict of str to list of str
        The columns by name, as in the file; blank cells are empty strings. A list in a Parquet file is written as JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a Parquet file is read without pyarrow.
    ValueError
        If it cannot be read.
    """
    place = _place(path)
    names = read_columns(place)
    wanted = [name for name in names if columns is None or name in columns]
    if is_columnar(place):
        frame = _columnar(place)
        frame.columns = list(names)
        held: dict[str, list[Any]] = {name: frame[name].iloc[:n_rows].tolist() for name in wanted}
        for name in names_in:
            _check_cells(held[name], place, name)
        return {name: [_cell_text(cell) for cell in held[name]] for name in wanted}
    found: dict[str, list[str]] = {name: [] for name in wanted}
    takers = [(found[name].append, number) for number, name in enumerate(names) if name in found]
    for line, cells in islice(iterate_rows(place), 1, None if n_rows is None else n_rows + 1):
        if len(cells) != len(names):
            raise ValueError(
                f"{place} must be a table with equally long rows, {len(names)} cells each: line {line} has "
                f"{len(cells)}."
            )
        for take, number in takers:
            take(cells[number])
    return found


def iterate_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """
    Go through the rows of a text file that are not empty, the header first.

    Parameters
    ----------
    path : Path
        A CSV or TSV file, plain or gzipped.

    Yields
    ------
    line : int
        Number of the line on which the row ends.
    cells : list of str
        Its cells, as they are.

    Raises
    ------
    ValueError
        If it is empty, no text in UTF-8, or damaged.
    """
    form = find_text_form(path)
    empty = True
    try:
        with opener(path)(path, "rt", encoding=form.encoding, newline="") as file:
            for _ in range(form.n_skipped):
                file.readline()
            reader = csv.reader(file, delimiter=form.separator)
            for cells in reader:
                if cells:
                    empty = False
                    yield reader.line_num + form.n_skipped, cells
    except UnicodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: {error}; convert it first.") from error
    except (csv.Error, OSError, EOFError) as error:
        raise ValueError(f"{path} must be an undamaged table: {error}.") from error
    if empty:
        raise ValueError(f"{path} must hold a table: it is empty.")


def _cell_text(cell: object) -> str:
    """Write a cell of a Parquet file as text; a list of labels as JSON, so that its labels may hold anything."""
    if isinstance(cell, list | tuple | np.ndarray):
        return json.dumps([str(part) for part in cell], ensure_ascii=False)
    return "" if _is_null(cell) else str(_name(cell))


def _is_null(cell: object) -> bool:
    """Tell whether a cell of a Parquet file holds nothing."""
    return cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType")


def _check_cells(cells: list[Any], path: Path, name: str) -> None:
    """Refuse cells of a Parquet file that name nothing, or something else than they say."""
    for row, cell in enumerate(cells):
        if isinstance(cell, list | tuple | np.ndarray):
            continue
        if isinstance(cell, float | np.floating) or _is_null(cell):
            raise ValueError(
                f"{path}, row {row}, column {name!r}: the cell must be text or a whole number: got "
                f"{None if _is_null(cell) else cell!r}; write an empty list or text where there is no label."
            )


def _place(path: str | os.PathLike[str] | HeldFrame) -> Any:
    """Take a path as it is given."""
    return path if isinstance(path, HeldFrame) else Path(path)


def _with_decimal_commas(path: Path, names: tuple[str, ...], options: dict[str, Any]) -> Any:
    """Read a file whose numbers have decimal commas, as files separated by semicolons do; None where they have not."""
    if find_cell_separator(path) == ",":
        return None
    try:
        return _csv(path, names=list(names), header=0, decimal=",", **options)
    except ValueError:
        return None


def _csv(path: Path, **options: Any) -> Any:
    """Read a CSV or TSV file with pandas; its warnings about lost cells are errors."""
    import pandas as pd

    form = find_text_form(path)
    options |= {"sep": form.separator, "encoding": form.encoding, "skiprows": form.n_skipped}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # without index_col=False pandas takes the first cells of longer rows for an index
            return pd.read_csv(path, index_col=False, **options)
        except UnicodeError as error:
            raise ValueError(f"{path} must be UTF-8 text: {error}; convert it first.") from error
        except (OSError, EOFError) as error:
            raise ValueError(f"{path} must be an undamaged table: {error}.") from error
        except pd.errors.EmptyDataError as error:
            raise ValueError(f"{path} must hold a table: it is empty.") from error
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise ValueError(f"{path} must be a table with equally long rows: {str(error).strip()}.") from error


def _columnar(path: Path | HeldFrame) -> Any:
    """Read a Parquet or Feather file with pandas, an index that was saved with it as the first column."""
    import pandas as pd

    if isinstance(path, HeldFrame):
        frame = path.frame
    else:
        form, read = ("Parquet", pd.read_parquet) if path.suffix.lower() == ".parquet" else ("Feather", pd.read_feather)
        try:
            frame = read(path)
        except ImportError as error:
            raise ImportError(f"{path}: reading {form} needs pyarrow: pip install 'labelstack[parquet]'.") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} must be an undamaged {form} file: {error}.") from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _ids(values: list[Any], path: Path, unique: bool = True) -> StringArray:
    """Check the id column."""
    if not values:
        raise ValueError(f"{path} must hold at least one row: got only a header.")
    if not unique:
        return np.array([str(value) for value in values])
    if all(isinstance(value, str) and _SCORE.fullmatch(value.strip()) for value in values):
        raise ValueError(
            f"{path} must hold the ids in its first column: got scores there, such as {values[0]!r}; add a column of "
            "ids, or write the numbers to a .npy file."
        )
    try:
        # an index of dates, or of several levels, is called alike in a file and in memory
        own = [value if isinstance(value, str | int | float) else _name(value) for value in values]
        return check_names(np.array(own, dtype=object), name="ids")
    except TypeError as error:
        raise ValueError(f"{path} must hold the ids in its first column: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _name(value: Any) -> Any:
    """Write a date as text, as `stacking.named_arrays` does; what is missing stays what it is."""
    return AxisNames.of([value]).names[0] if isinstance(value, date | np.datetime64) else value


def _explain(
    path: Path, names: tuple[str, ...], columns: tuple[str, ...], id_name: str, error: ValueError
) -> ValueError:
    """Find the cell that is not a number."""
    import pandas as pd

    try:
        texts = read_texts(path, names)
    except ValueError as other:
        return other
    for name in columns:
        numbers = pd.to_numeric(pd.Series(texts[name], dtype=object), errors="coerce").isna().to_numpy()
        wrong = numbers & ~np.isin(np.array(texts[name], dtype=object), np.array(BLANKS, dtype=object))
        if wrong.any():
            row = int(wrong.argmax())
            where = f"row {texts[id_name][row]!r}, column {name!r}"
            return ValueError(f"{path}, {where}: the cell must be a number: got {texts[name][row]!r}.")
    return error
