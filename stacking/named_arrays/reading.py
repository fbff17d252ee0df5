"""Take values, names and gaps out of data frames, series, mappings, tensors and masked arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, IntArray
from stacking.named_arrays.axis_names import AxisNames
from stacking.named_arrays.frames import FrameForm, is_frame, read_column, split_frame


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
    form : FrameForm or None, default=None
        How a data frame held its names.
    """

    values: npt.NDArray[Any]
    axes: tuple[AxisNames | None, ...]
    mask: BoolArray | None = None
    is_bare: bool = False
    is_mapping: bool = False
    form: FrameForm | None = None

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
    values : array-like, data frame, series, masked array, sparse matrix, tensor or mapping
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
    if is_frame(values):
        parts = split_frame(values, name)
        return NamedArray(parts.values, (parts.rows, parts.columns), form=parts.form)
    if hasattr(values, "to_numpy") and hasattr(values, "index") and not callable(values.index):
        return NamedArray(read_column(values), (AxisNames.of(values.index),))
    if _is_tensor(values):
        array = _from_tensor(values)
        return NamedArray(array, (None,) * array.ndim)
    if isinstance(values, np.ma.MaskedArray):
        return _read_masked(values)
    if isinstance(values, list | tuple) and holds_named(values):
        if any(isinstance(value, Mapping) for value in values):
            raise TypeError(
                f"{name} must be one array or one data frame: got a {type(values).__name__} of mappings; make a data "
                "frame of them first (pandas.DataFrame)."
            )
        raise TypeError(
            f"{name} must be one array or one data frame: got a {type(values).__name__} of objects with names or masks "
            "of their own; join them first (pandas.concat, numpy.ma.stack)."
        )
    try:
        array = _from_any(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array: its rows have different lengths.") from error
    return NamedArray(array, (None,) * array.ndim, is_bare=isinstance(values, np.ndarray | list | tuple))


def _is_tensor(values: object) -> bool:
    """Tell whether something is a tensor of torch, which numpy reads from the CPU and out of no graph only."""
    return hasattr(values, "detach") and hasattr(values, "cpu")


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


def _from_tensor(tensor: Any) -> npt.NDArray[Any]:
    """Take a tensor of torch off its device and out of its graph; types that numpy lacks become float32."""
    held = tensor.detach().cpu()
    held = held.to_dense() if "sparse" in str(held.layout) else held
    is_small = held.is_floating_point() and held.element_size() < 4
    return np.asarray(held.float().numpy() if is_small else held.numpy())


def _from_any(values: Any) -> npt.NDArray[Any]:
    """Make an array of whatever holds numbers: arrays, lists, sparse matrices, arrays of jax, TensorFlow, CuPy."""
    if hasattr(values, "toarray"):
        values = values.toarray()
    elif hasattr(values, "__cuda_array_interface__") and hasattr(values, "get"):
        values = values.get()  # CuPy refuses to be converted silently
    elif hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        values = np.from_dlpack(values)
    array = np.asarray(values)
    if array.dtype.kind == "V" and array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):  # of ml_dtypes
        array = array.astype(np.float32)
    return array


def holds_named(values: Sequence[Any]) -> bool:
    """Tell whether a list holds frames, series, mappings, tensors or masked arrays.

    Parameters
    ----------
    values : sequence
        Anything.

    Returns
    -------
    bool
        True if one of its values is one.
    """
    kinds = {type(value): value for value in values}
    return any(
        (hasattr(value, "to_numpy") and hasattr(value, "__len__"))  # a time stamp of pandas is one value
        or is_frame(value)
        or _is_tensor(value)
        or isinstance(value, np.ma.MaskedArray | Mapping)
        for value in kinds.values()
    )
