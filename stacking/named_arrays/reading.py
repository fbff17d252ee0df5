"""Take values, names and gaps out of data frames, series, mappings and masked arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import numbers_of_objects
from stacking._typing import BoolArray, IntArray
from stacking.named_arrays.axis_names import AxisNames


@dataclass(frozen=True)
class NamedArray:
    """An array with what it said about itself.

    Parameters
    ----------
    values : ndarray
        The values, 0 or NaN where they are masked.
    axes : tuple of AxisNames or None
        The names along each axis, None where it has none.
    mask : ndarray of bool or None
        True where a value is masked; None where none is.
    is_bare, is_mapping : bool, default=False
        True where it came as values only, or as a mapping of names to values.
    """

    values: npt.NDArray[Any]
    axes: tuple[AxisNames | None, ...]
    mask: BoolArray | None = None
    is_bare: bool = False
    is_mapping: bool = False

    def axis(self, number: int) -> AxisNames | None:
        """Give the names along one axis.

        Parameters
        ----------
        number : int
            Which axis.

        Returns
        -------
        AxisNames or None
            None where it has no names, or there is no such axis.
        """
        return self.axes[number] if number < len(self.axes) else None

    def take(self, places: IntArray | None, axis: int) -> NamedArray:
        """Rearrange one axis.

        Parameters
        ----------
        places : ndarray of int or None
            Positions in the new order; None changes nothing.
        axis : int
            Which axis.

        Returns
        -------
        NamedArray
            Rearranged, without the names of that axis.
        """
        if places is None:
            return self
        mask = None if self.mask is None else np.take(self.mask, places, axis=axis)
        axes = tuple(None if number == axis else names for number, names in enumerate(self.axes))
        return NamedArray(np.take(self.values, places, axis=axis), axes, mask)


def read_array(values: Any, name: str) -> NamedArray:
    """Take the values, the names and the mask out of whatever holds them.

    Parameters
    ----------
    values : array-like, data frame, series, masked array, sparse matrix or mapping
        A mapping names the entries of a one-dimensional array.
    name : str
        The argument's name, for the errors.

    Returns
    -------
    NamedArray
        The values are not checked yet.

    Raises
    ------
    TypeError
        If it is a mapping of columns, or a list of objects that carry names of their own.
    ValueError
        If the columns have names of several levels.
    """
    if isinstance(values, Mapping):
        return _read_mapping(values, name)
    if not hasattr(values, "to_numpy") and hasattr(values, "to_pandas"):  # pyarrow tables
        values = values.to_pandas()
    if hasattr(values, "to_numpy") and hasattr(values, "columns"):
        return _read_frame(values, name)
    if hasattr(values, "to_numpy") and hasattr(values, "index") and not callable(values.index):
        return NamedArray(_column_values(values), (AxisNames.of(values.index),))
    if isinstance(values, np.ma.MaskedArray):
        return _read_masked(values)
    if isinstance(values, list | tuple) and holds_named(values):
        raise TypeError(
            f"{name} must be one array or one data frame: got a {type(values).__name__} of objects with names or masks "
            "of their own; join them first (pandas.concat, numpy.ma.stack)."
        )
    to_dense = getattr(values, "toarray", None)
    try:
        array = np.asarray(to_dense() if to_dense is not None else values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array: its rows have different lengths.") from error
    return NamedArray(array, (None,) * array.ndim, is_bare=True)


def _read_masked(values: npt.NDArray[Any]) -> NamedArray:
    """Split a masked array into values, 0 under the mask, and the mask."""
    array = np.ma.asarray(values)
    mask = np.ma.getmaskarray(array)
    plain = np.array(np.ma.getdata(array))
    if mask.any() and plain.dtype.names is None:
        plain[mask] = 0
    return NamedArray(plain, (None,) * plain.ndim, mask if mask.any() else None)


def _read_mapping(values: Mapping[Any, Any], name: str) -> NamedArray:
    """Read one value per name; a mapping of columns has no rows to speak of."""
    entries = list(values.values())
    if any(np.ndim(entry) for entry in entries if not isinstance(entry, str | bytes)):
        raise TypeError(
            f"{name} must be an array or a data frame: got a {type(values).__name__} of columns; make it a data frame "
            "(pandas.DataFrame) with the ids as its index."
        )
    return NamedArray(np.asarray(entries), (AxisNames.of(values),), is_mapping=True)


def _read_frame(frame: Any, name: str) -> NamedArray:
    """Read a data frame: the index (where it has one, as in pandas) names the rows, the columns the labels."""
    columns = list(frame.columns)
    if any(isinstance(column, tuple) for column in columns):
        raise ValueError(
            f"{name} must have one level of column names: got {columns[0]!r}; give one data frame per model."
        )
    numbers = all(isinstance(column, int | np.integer) and not isinstance(column, bool) for column in columns)
    labels = AxisNames.of(columns if numbers else [str(column) for column in columns])
    index = getattr(frame, "index", None)
    rows = None if index is None or callable(index) else AxisNames.of(index)
    return NamedArray(_frame_values(frame), (rows, labels))


def _frame_values(frame: Any) -> npt.NDArray[Any]:
    """Read the values of a frame, column by column where their types differ or are not numpy's own."""
    if not hasattr(frame, "iloc"):
        return np.asarray(frame.to_numpy())
    kinds = {kind.kind if isinstance(kind, np.dtype) else "O" for kind in frame.dtypes}
    if len(kinds) == 1 and kinds <= set("buif"):
        return np.require(frame.to_numpy(), requirements="W")  # pandas hands out views that must not be written to
    columns = [_column_values(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return np.column_stack(columns) if columns else np.empty(frame.shape)


def _column_values(column: Any) -> npt.NDArray[Any]:
    """Read a column of any type: numbers as numbers, NaN where one is missing, anything else as objects."""
    array = np.asarray(column.to_numpy())
    if array.dtype.kind != "O":
        return np.require(array, requirements="W")
    array = array.copy()
    if hasattr(column, "isna"):
        array[np.asarray(column.isna().to_numpy(), np.bool_)] = np.nan
    return numbers_of_objects(array)


def holds_named(values: Sequence[Any]) -> bool:
    """Tell whether a list holds frames, series, mappings or masked arrays.

    Parameters
    ----------
    values : sequence
        Anything.

    Returns
    -------
    bool
        True if one of its values does.
    """
    kinds = {type(value): value for value in values}
    return any(hasattr(value, "to_numpy") or isinstance(value, np.ma.MaskedArray | Mapping) for value in kinds.values())
