"""Selections along one axis of a prediction set: masks, positions and names become positions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._checks import refuse_mask
from stacking._typing import IntArray

Selection = npt.ArrayLike | slice


def take(values: Any, index: IntArray | None, axis: int = 0) -> Any:
    """
    Select along one axis of an array that may be absent.

    Parameters
    ----------
    values : ndarray or None
        Where to select from.
    index : ndarray of int or None
        Positions; None selects everything.
    axis : int, default=0
        The axis.

    Returns
    -------
    ndarray or None
        The selection; None where there is nothing to select from.
    """
    return values if values is None or index is None else np.take(values, index, axis=axis)


def select_positions(selection: Selection, among: int | Sequence[str], what: str) -> IntArray:
    """
    Turn a mask, positions, names or a slice into positions.

    Parameters
    ----------
    selection : array-like of bool, int or str, or slice
        What is wanted, in the order wanted.
    among : int or sequence of str
        How many there are, or their names; with names, each may be selected once.
    what : str
        The argument's name, for the errors.

    Returns
    -------
    ndarray of int
        Positions, at least one.

    Raises
    ------
    TypeError
        If the selection is a single name or neither names, positions nor a mask.
    ValueError
        If a name or position does not exist, is repeated among names, or nothing is selected.
    """
    names = None if isinstance(among, int) else among
    size = among if isinstance(among, int) else len(among)
    index = np.arange(size)[selection] if isinstance(selection, slice) else _index(selection, size, names, what)
    if not len(index):
        raise ValueError(f"{what} must select something: got an empty selection of {size}.")
    if names is not None and len(np.unique(index)) != len(index):
        raise ValueError(f"{what} must be selected once each: got {len(index) - len(np.unique(index))} repeated.")
    return index


def _index(selection: npt.ArrayLike, size: int, names: Sequence[str] | None, what: str) -> IntArray:
    """Turn a mask, positions or names into positions."""
    if isinstance(selection, str):
        raise TypeError(f"{what} must be a list: got the single name {selection!r}; put it in a list.")
    refuse_mask(selection, what)
    array = selection if isinstance(selection, np.ndarray) else np.asarray(selection, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional: got shape {array.shape}.")
    if array.dtype.kind in "OU":
        items = array.tolist()
        array = np.array(_named_positions(items, names, what) if names is not None else items or np.zeros(0, np.int64))
    if array.dtype.kind == "b":
        if len(array) != size:
            raise ValueError(f"{what} as a mask must have {size} entries: got {len(array)}.")
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be positions, names or a mask: got dtype {array.dtype}.")
    if len(array) and (array.min() < 0 or array.max() >= size):
        raise ValueError(f"{what} must lie in 0 … {size - 1}: got {array.min()} to {array.max()}.")
    return array.astype(np.int64)


def _named_positions(items: list[Any], names: Sequence[str], what: str) -> Any:
    """Replace names by their positions; positions and booleans stay."""
    place = {name: position for position, name in enumerate(names)}
    for item in items:
        if isinstance(item, str) and item not in place:
            raise ValueError(f"{what} must be among the set's {len(names)}: got {item!r}.{did_you_mean(item, names)}")
    return [place[item] if isinstance(item, str) else item for item in items] or np.zeros(0, np.int64)
