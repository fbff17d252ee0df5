"""Bring the arguments of one call to plain arrays in one order, by their names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stacking._checks import check_mask
from stacking._typing import BoolArray
from stacking.named_arrays.axis_names import AxisNames, find_first, find_own_names, match_axis
from stacking.named_arrays.reading import NamedArray, read_array

_AXES: dict[str, tuple[str, ...]] = {
    "y": ("row", "label"),
    "y_true": ("row", "label"),
    "y_known": ("row", "label"),
    "y_pred": ("row", "label"),
    "y_score": ("row", "label"),
    "sample_weight": ("row",),
    "groups": ("row",),
    "folds": ("row",),
    "thresholds": ("label",),
    "predicted_share": ("label",),
    "train_frequency": ("label",),
    "target_frequency": ("label",),
    "label_groups": ("label",),
    "label_ids": ("label",),
    "covers": ("model", "label"),
    "weights": ("model", "label"),
    "start": ("model", "label"),
    "member_costs": ("model",),
    "samples": ("row",),
    "models": ("model",),
    "labels": ("label",),
    "y_true_train": ("training row", "label"),
    "y_known_train": ("training row", "label"),
    "y_true_test": ("test row", "label"),
    "y_known_test": ("test row", "label"),
    "label_rows": ("label row", "label"),
    "label_rows_known": ("label row", "label"),
}
"""What the axes of each argument are; arguments of one call that share an axis must name it alike."""

_MASK_GOES_TO = {
    "y_true": "y_known",
    "y_true_train": "y_known_train",
    "y_true_test": "y_known_test",
    "label_rows": "label_rows_known",
}


def align_by_name(
    names: Mapping[str, tuple[str, AxisNames | None]] | None = None, shuffled: str = "refuse", /, **arguments: Any
) -> tuple[Any, ...]:
    """Bring arguments that describe the same rows and labels to plain arrays in one order.

    Parameters
    ----------
    names : mapping of str to (str, AxisNames), optional
        Who gives the order of an axis (``"row"``, ``"label"``, ``"model"``), and the names in that order. An axis that
        is not among them takes the order of the first argument that names it.
    shuffled : {"refuse", "position"}, default="refuse"
        What row numbers in another order beside something without names are: refused, or by position, as scikit-learn
        takes features and target.
    **arguments : array-like, data frame, series, mapping, masked array or None
        By the names in which this package calls them: ``y_true``, ``y_score``, ``sample_weight``, ``groups`` ….

    Returns
    -------
    tuple
        The arguments in the order given, as they came where they carry neither names nor a mask. The mask of a truth
        is in ``y_known`` then.

    Raises
    ------
    TypeError
        If an argument is a mapping of columns or a list of frames.
    ValueError
        If names of one axis differ, appear twice, or a value is masked that must not be; the error names one.

    Examples
    --------
    >>> import pandas as pd
    >>> score = pd.DataFrame([[0.9, 0.2]], index=["x"], columns=["dress", "red"])
    >>> truth = pd.DataFrame([[0, 1]], index=["x"], columns=["red", "dress"])
    >>> [array.tolist() for array in align_by_name(y_score=score, y_true=truth)]
    [[[0.9, 0.2]], [[1, 0]]]
    """
    given = dict(names or {})
    is_shuffled = any(axis is not None and axis.is_shuffled_count for _, axis in given.values())
    if not is_shuffled and all(value is None or type(value) is np.ndarray for value in arguments.values()):
        return tuple(arguments.values())
    read = {name: read_array(value, name) for name, value in arguments.items() if value is not None}
    for name, target in _MASK_GOES_TO.items():
        if name in read and target in arguments:
            read[name] = _mask_blanks(name, read[name])
    for axis in dict.fromkeys(axis for name in read for axis in _AXES[name]):
        if shuffled == "refuse":
            _refuse_shuffled(read, axis, given.get(axis))
        _refuse_mappings(read, axis, given.get(axis))
        _align_axis(read, axis, given.get(axis))
    _move_masks(read, arguments)
    return tuple(_plain(value, read.get(name)) for name, value in arguments.items())


def _mask_blanks(name: str, truth: NamedArray) -> NamedArray:
    """Mask the blank cells of a frame that is a truth, as those of the same table in a file are: not annotated."""
    if truth.form is None or truth.values.dtype.kind != "f":
        return truth
    blank = np.isnan(truth.values)
    if not blank.any():
        return truth
    warn_of_unknown(~blank, name, "blank cells", stacklevel=5)
    return replace(truth, values=np.where(blank, 0, truth.values), mask=blank)


def warn_of_unknown(known: BoolArray, who: str, what: str, stacklevel: int) -> None:
    """Say how many cells of a truth count as not annotated.

    Parameters
    ----------
    known : ndarray of bool
        False where a label was not annotated.
    who, what : str
        The truth's name, and what its gaps are, such as ``"blank cells"``.
    stacklevel : int
        As `warnings.warn` takes it, counted from here.
    """
    text = f"{who}: {int((~known).sum())} {what} count as labels that were not annotated (y_known False)."
    warnings.warn(text, stacklevel=stacklevel)


def _plain(value: Any, array: NamedArray | None) -> Any:
    """Return what came in where it carried nothing but values."""
    return value if array is None or array.is_bare else array.values


def _align_axis(read: dict[str, NamedArray], axis: str, given: tuple[str, AxisNames | None] | None) -> None:
    """Bring what names one axis into one order: that of `given`, else that of the first argument that names it."""
    place = {name: _AXES[name].index(axis) for name in read if axis in _AXES[name]}
    found = {name: read[name].axis(where) for name, where in place.items()}
    named = {name: names for name, names in found.items() if names is not None}
    first, wanted = find_first(named)
    to_given = None
    if first is not None and given is not None and given[1] is not None:
        to_given = match_axis(wanted, given[1], who=first, what=axis, of=given[0])
    for name, names in named.items():
        to_first = None if name == first else match_axis(names, wanted, who=name, what=axis, of=str(first))
        read[name] = read[name].take(to_first, place[name]).take(to_given, place[name])


def _names_of(
    read: Mapping[str, NamedArray], axis: str, given: tuple[str, AxisNames | None] | None
) -> dict[str, AxisNames | None]:
    """List the names of one axis by who has them, None for who does not name it."""
    found = {name: read[name].axis(_AXES[name].index(axis)) for name in read if axis in _AXES[name]}
    return found if given is None else found | {given[0]: given[1]}


def _refuse_shuffled(read: Mapping[str, NamedArray], axis: str, given: tuple[str, AxisNames | None] | None) -> None:
    """Refuse row numbers in another order beside something that does not name the axis."""
    found = _names_of(read, axis, given)
    bare = [name for name, names in found.items() if names is None]
    first, names = find_first(found)
    if bare and first is not None:
        match_axis(names, None, who=first, what=axis, of=bare[0])


def _refuse_mappings(read: Mapping[str, NamedArray], axis: str, given: tuple[str, AxisNames | None] | None) -> None:
    """Refuse a mapping where nothing else names what it maps: it has no order of its own."""
    found = _names_of(read, axis, given)
    for name, names in found.items():
        if name not in read or not read[name].is_mapping or names is None:
            continue
        others = [other for key, other in found.items() if key != name and other is not None]
        if all(other.is_made_up and set(other.names) != set(names.names) for other in others):
            raise ValueError(
                f"{name} must be an array here: got a mapping, and nothing else names the {axis}s that it maps; name "
                "them, or give the values in order."
            )


def find_names(axis: str, arguments: Mapping[str, Any]) -> list[str] | None:
    """Find the names that arguments give to an axis.

    Parameters
    ----------
    axis : str
        ``"row"``, ``"label"`` or ``"model"``.
    arguments : mapping
        As `align_by_name` takes them.

    Returns
    -------
    list of str or None
        Those of the first argument that has names of its own there; None where none has, or they are no text.
    """
    for name, value in arguments.items():
        if value is not None and axis in _AXES[name]:
            own = find_own_names(read_array(value, name).axis(_AXES[name].index(axis)), f"the {axis}s of {name}")
            if own is not None:
                return own
    return None


def _move_masks(read: dict[str, NamedArray], arguments: Mapping[str, Any]) -> None:
    """Turn the mask of a truth into `y_known` and that of groups into blank ones; refuse every other."""
    for name, array in list(read.items()):
        if array.mask is None:
            continue
        if name == "groups":  # a blank group: that sample stands alone
            values = array.values.astype(object)
            values[array.mask] = None
            read[name] = NamedArray(values, array.axes)
            continue
        target = _MASK_GOES_TO.get(name)
        if target is None or target not in arguments:
            raise ValueError(
                f"{name} must not hold masked values: got {int(array.mask.sum())} of {array.mask.size}; "
                f"{'mark them in y_known' if array.values.ndim == 2 and name != 'y' else 'leave those rows out'}."
            )
        known = ~array.mask
        if target in read and known.ndim == 2:
            given = check_mask(read[target].values, n_samples=known.shape[0], n_labels=known.shape[1], name=target)
            known &= given
        read[target] = NamedArray(known, (None,) * known.ndim)
