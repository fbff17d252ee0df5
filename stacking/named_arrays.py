"""Arrays that carry names or gaps (data frames, series, mappings, masked arrays), brought to plain arrays by name.

Whatever carries the names of its rows or columns is matched by them or refused; only what has no names goes by
position. This is the one place that decides so: every function that takes arrays side by side calls `align_by_name`
first and sees plain arrays only. Names that merely count (pandas' 0, 1, 2 …, and ``sample0 …``, ``label0 …``, which
this package gives to plain arrays) are names only where the other side has the same ones. Row numbers in another order
beside an array without names are refused: nobody knows whether the array was shuffled with them.

Masked arrays: the mask of a truth becomes `y_known`, the mask of scores becomes NaN (a missing score); everywhere else
a masked value is refused, since what lies under a mask means nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import (
    BoolArray,
    IntArray,
    check_mask,
    did_you_mean,
    first_duplicate,
    first_names,
    numbers_of_objects,
)

__all__ = [
    "AxisNames",
    "NamedArray",
    "NamedScores",
    "align_by_name",
    "find_names",
    "find_own_names",
    "match_axis",
    "place_scores",
    "read_array",
    "read_scores",
]

_AXES: dict[str, tuple[str, ...]] = {
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
    "covers": ("model", "label"),
    "weights": ("model", "label"),
    "start": ("model", "label"),
    "member_costs": ("model",),
    "y_true_train": ("training row", "label"),
    "y_known_train": ("training row", "label"),
    "y_true_test": ("test row", "label"),
    "y_known_test": ("test row", "label"),
}
"""What the axes of each argument are; arguments of one call that share an axis must name it alike."""

_MASK_GOES_TO = {"y_true": "y_known", "y_true_train": "y_known_train", "y_true_test": "y_known_test"}


@dataclass(frozen=True)
class AxisNames:
    """The names along one axis of an array.

    Parameters
    ----------
    names : tuple of hashable
        Strings; integers as their digits; anything else that an index may hold, such as dates, as it is.
    is_made_up : bool
        True where they only count positions, so that they say nothing that the position does not.
    are_numbers : bool, default=False
        True where they are integers, as pandas numbers rows and columns that were given no names.
    """

    names: tuple[Hashable, ...]
    is_made_up: bool
    are_numbers: bool = False

    @classmethod
    def of(cls, names: Iterable[Any], made_up_as: str | None = None) -> AxisNames:
        """Take names as they stand in an index or a prediction set.

        Parameters
        ----------
        names : iterable
            Strings, integers or other hashable values.
        made_up_as : str, optional
            What this package writes before the number of a position that was given no name: ``"sample"``.

        Returns
        -------
        AxisNames
            The names in one form.
        """
        values = list(names)
        numbers = all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values)
        counted = range(len(values)) if numbers else (f"{made_up_as}{place}" for place in range(len(values)))
        made_up = (numbers or made_up_as is not None) and values == list(counted)
        return cls(tuple(_key(value) for value in values), made_up, numbers)

    @property
    def is_shuffled_count(self) -> bool:
        """Tell whether they are the numbers 0, 1, 2 … in another order."""
        if not self.are_numbers or self.is_made_up or len(self.names) < 2:
            return False
        return set(self.names) == {str(place) for place in range(len(self.names))}


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
    """

    values: npt.NDArray[Any]
    axes: tuple[AxisNames | None, ...]
    mask: BoolArray | None = None

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
    if isinstance(values, list | tuple) and _holds_named(values):
        raise TypeError(
            f"{name} must be one array or one data frame: got a {type(values).__name__} of objects with names or masks "
            "of their own; join them first (pandas.concat, numpy.ma.stack)."
        )
    to_dense = getattr(values, "toarray", None)
    try:
        array = np.asarray(to_dense() if to_dense is not None else values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array: its rows have different lengths.") from error
    return NamedArray(array, (None,) * array.ndim)


def match_axis(found: AxisNames | None, wanted: AxisNames | None, *, who: str, what: str, of: str) -> IntArray | None:
    """Find where the names of one axis stand in another, or that position decides.

    Parameters
    ----------
    found : AxisNames or None
        The names there are.
    wanted : AxisNames or None
        The names in the order wanted.
    who : str
        Whose names they are, for the errors: ``"y_true"``.
    what : str
        What they name: ``"row"``, ``"label"`` or ``"model"``.
    of : str
        Whose names are wanted: ``"y_score"``.

    Returns
    -------
    ndarray of int or None
        The position of every wanted name; None where the order is the same or one side has no names.

    Raises
    ------
    ValueError
        If both sides have names and one is missing, unknown or there twice; or if one side numbers its rows in another
        order and the other has no names.
    """
    if found is None or wanted is None:
        named, other = (found, of) if wanted is None else (wanted, who)
        if named is not None and named.is_shuffled_count:
            _refuse_shuffled(who if wanted is None else of, other, what)
        return None
    if found.names == wanted.names:
        return None
    place = {key: position for position, key in enumerate(found.names)}
    if len(place) == len(found.names) == len(wanted.names) and place.keys() == set(wanted.names):
        return np.array([place[key] for key in wanted.names], np.int64)
    if found.is_made_up or wanted.is_made_up:
        return match_axis(
            None if found.is_made_up else found, None if wanted.is_made_up else wanted, who=who, what=what, of=of
        )
    raise _mismatch(found, wanted, who=who, what=what, of=of)


def align_by_name(
    names: Mapping[str, tuple[str, AxisNames | None]] | None = None, /, **arguments: Any
) -> tuple[Any, ...]:
    """Bring arguments that describe the same rows and labels to plain arrays in one order.

    Parameters
    ----------
    names : mapping of str to (str, AxisNames), optional
        Who gives the order of an axis (``"row"``, ``"label"``, ``"model"``), and the names in that order. An axis that
        is not among them takes the order of the first argument that names it.
    **arguments : array-like, data frame, series, mapping, masked array or None
        By the names in which this package calls them: ``y_true``, ``y_score``, ``sample_weight``, ``groups`` …

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
    shuffled = any(axis is not None and axis.is_shuffled_count for _, axis in given.values())
    if not shuffled and all(value is None or type(value) is np.ndarray for value in arguments.values()):
        return tuple(arguments.values())
    read = {name: read_array(value, name) for name, value in arguments.items() if value is not None}
    for axis in dict.fromkeys(axis for name in read for axis in _AXES[name]):
        _align_axis(read, axis, given.get(axis))
    _move_masks(read, arguments)
    plain = {name: array.values for name, array in read.items()}
    return tuple(plain.get(name) for name in arguments)


def _align_axis(read: dict[str, NamedArray], axis: str, given: tuple[str, AxisNames | None] | None) -> None:
    """Bring what names one axis into one order: that of `given`, else that of the first argument that names it."""
    place = {name: _AXES[name].index(axis) for name in read if axis in _AXES[name]}
    found = {name: read[name].axis(where) for name, where in place.items()}
    named = {name: names for name, names in found.items() if names is not None}
    first, wanted = _first_named(named)
    bare = [name for name in place if name not in named] + ([given[0]] if given and given[1] is None else [])
    to_given = None
    if first is not None and given is not None and given[1] is not None:
        to_given = match_axis(wanted, given[1], who=first, what=axis, of=given[0])
    elif first is not None and bare:
        match_axis(wanted, None, who=first, what=axis, of=bare[0])
    elif given is not None and bare:
        match_axis(None, given[1], who=bare[0], what=axis, of=given[0])
    for name, names in named.items():
        to_first = None if name == first else match_axis(names, wanted, who=name, what=axis, of=str(first))
        read[name] = read[name].take(to_first, place[name]).take(to_given, place[name])


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
            own = find_own_names(read_array(value, name).axis(_AXES[name].index(axis)))
            if own is not None:
                return own
    return None


def find_own_names(axis: AxisNames | None) -> list[str] | None:
    """Return names that say more than their position, as text.

    Parameters
    ----------
    axis : AxisNames or None
        The names.

    Returns
    -------
    list of str or None
        The names; None where there are none, they only count, or one is no text (such as a date).
    """
    if axis is None or axis.is_made_up:
        return None
    return [key for key in axis.names if isinstance(key, str)] if all(isinstance(k, str) for k in axis.names) else None


@dataclass(frozen=True)
class NamedScores:
    """Scores of several models with the names that came with them.

    Parameters
    ----------
    values : ndarray of shape (n_models, n_samples, n_labels)
        The scores, NaN where masked and where a model lacks a label.
    rows, models, labels : AxisNames or None
        The names, None where there are none.
    """

    values: npt.NDArray[Any]
    rows: AxisNames | None = None
    models: AxisNames | None = None
    labels: AxisNames | None = None


def read_scores(y_scores: Any, name: str = "y_scores") -> NamedScores:
    """Take scores of several models out of whatever holds them.

    Parameters
    ----------
    y_scores : array-like, data frame, mapping or list of matrices and data frames, or NamedScores
        An array of shape (n_models, n_samples, n_labels); one data frame is one model; a mapping names the models. What
        was read before is returned as it is.
    name : str, default="y_scores"
        The argument's name, for the errors.

    Returns
    -------
    NamedScores
        Not checked yet. Frames are matched by their index and columns; a model whose frame lacks a label has NaN there.

    Raises
    ------
    ValueError
        If the frames do not have the same rows, or a matrix beside them has another shape.
    """
    if isinstance(y_scores, NamedScores):
        return y_scores
    if isinstance(y_scores, Mapping):
        if not len(y_scores):
            raise ValueError(f"{name} must hold at least one model: got an empty mapping.")
        members = {str(model): read_array(values, f"{name}[{model!r}]") for model, values in y_scores.items()}
        return replace(_stack(members, name), models=AxisNames.of(y_scores))
    if isinstance(y_scores, list | tuple) and _holds_named(y_scores):
        return _stack({f"{name}[{i}]": read_array(values, f"{name}[{i}]") for i, values in enumerate(y_scores)}, name)
    array = read_array(y_scores, name)
    if array.values.ndim == 2 and array.axes != (None, None):
        return NamedScores(_filled(array)[None], array.axes[0], None, array.axes[1])
    return NamedScores(_filled(array))


def place_scores(scores: NamedScores, names: Mapping[str, npt.ArrayLike | None]) -> NamedScores:
    """Put scores into the order of names that were given beside them.

    Parameters
    ----------
    scores : NamedScores
        Three-dimensional.
    names : mapping of str to array-like
        ``ids``, ``models`` and ``labels``; None where none were given.

    Returns
    -------
    NamedScores
        In the order of the names given; NaN for a label that is asked for and not there.

    Raises
    ------
    ValueError
        If an id or model is missing, or an id, model or label is unknown.
    """
    found = {"ids": scores.rows, "models": scores.models, "labels": scores.labels}
    values = scores.values
    for axis, (name, what) in enumerate((("models", "model"), ("ids", "row"), ("labels", "label"))):
        given, own = names[name], found[name]
        if given is None or own is None:
            continue
        wanted = AxisNames.of(np.asarray(given).tolist())
        unknown = [str(key) for key in own.names if key not in set(wanted.names)]
        if name == "labels" and not unknown:
            values = _spread(values, own, wanted, "y_scores")
        else:
            places = match_axis(own, wanted, who="y_scores", what=what, of=name)
            values = values if places is None else np.take(values, places, axis=axis)
    return replace(scores, values=values)


def _stack(members: Mapping[str, NamedArray], name: str) -> NamedScores:
    """Put matrices of single models on top of each other, matched by row and label."""
    for model, array in members.items():
        if array.values.ndim != 2:
            raise ValueError(
                f"{name} must hold one matrix (n_samples, n_labels) per model: got shape {array.values.shape} for "
                f"{model}."
            )
    first, rows = _first_named({model: array.axis(0) for model, array in members.items()})
    labels = _label_union({model: array.axis(1) for model, array in members.items()})
    stacked = []
    for model, array in members.items():
        places = None if model == first else match_axis(array.axis(0), rows, who=model, what="row", of=str(first))
        stacked.append(_spread(_filled(array.take(places, 0)), array.axis(1), labels, model))
    shapes = list(dict.fromkeys(matrix.shape for matrix in stacked))
    if len(shapes) > 1:
        raise ValueError(f"{name} must hold matrices of one shape: got {shapes[0]} and {shapes[1]}.")
    return NamedScores(np.stack(stacked), rows, None, labels)


def _label_union(found: Mapping[str, AxisNames | None]) -> AxisNames | None:
    """Collect the labels of all members in order of appearance; those that only count give way to real ones."""
    names = _first_named(found)[1]
    if names is None or names.is_made_up:
        return names
    union: dict[Hashable, None] = {}
    for model, axis in found.items():
        if axis is None or (axis.is_made_up and set(axis.names) != set(names.names)):
            continue
        if len(set(axis.names)) < len(axis.names):
            raise ValueError(f"{model} must name every label once: got {first_duplicate(axis.names)!r} more than once.")
        odd = [str(key) for key in axis.names if key not in names.names]
        odd += [str(key) for key in names.names if key not in axis.names]
        if odd:
            warnings.warn(
                f"models name different labels, such as {first_names(odd)} of {model}: all are kept, and a model does "
                "not cover those that it lacks; rename one if it is a misspelling.",
                stacklevel=2,
            )
        union |= dict.fromkeys(axis.names)
    return names if tuple(union) == names.names else AxisNames(tuple(union), False)


def _spread(scores: npt.NDArray[Any], found: AxisNames | None, labels: AxisNames | None, who: str) -> npt.NDArray[Any]:
    """Put the columns of scores where the wanted labels have them; NaN where there is no such label."""
    if labels is None or (found is not None and found.names == labels.names):
        return scores
    place = {} if found is None else {key: position for position, key in enumerate(found.names)}
    if found is None or (found.is_made_up and not place.keys() <= set(labels.names)):
        match_axis(None, labels, who=who, what="label", of="the others")
        return scores
    columns = np.array([place.get(key, -1) for key in labels.names], np.int64)
    spread = scores[..., columns]
    if (columns < 0).any():
        spread = spread.astype(np.result_type(scores.dtype, np.float32), copy=False)
        spread[..., columns < 0] = np.nan
    return spread


def _first_named(found: Mapping[str, AxisNames | None]) -> tuple[str | None, AxisNames | None]:
    """Find who gives the order of an axis: the first with names of its own, else the first that counts positions."""
    named = [(name, names) for name, names in found.items() if names is not None]
    return next(((name, names) for name, names in named if not names.is_made_up), named[0] if named else (None, None))


def _move_masks(read: dict[str, NamedArray], arguments: Mapping[str, Any]) -> None:
    """Turn the mask of a truth into `y_known`; refuse every other."""
    for name, array in list(read.items()):
        if array.mask is None:
            continue
        target = _MASK_GOES_TO.get(name)
        if target is None or target not in arguments:
            raise ValueError(
                f"{name} must not hold masked values: got {int(array.mask.sum())} of {array.mask.size}; "
                f"{'mark them in y_known' if array.values.ndim == 2 else 'leave those rows out'}."
            )
        known = ~array.mask
        if target in read and known.ndim == 2:
            given = check_mask(read[target].values, n_samples=known.shape[0], n_labels=known.shape[1], name=target)
            known &= given
        read[target] = NamedArray(known, (None,) * known.ndim)


def _filled(array: NamedArray) -> npt.NDArray[Any]:
    """Return scores with NaN where they are masked."""
    if array.mask is None:
        return array.values
    values = array.values.astype(np.result_type(array.values.dtype, np.float32))
    values[array.mask] = np.nan
    return values


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
    return NamedArray(np.asarray(entries), (AxisNames.of(values),))


def _read_frame(frame: Any, name: str) -> NamedArray:
    """Read a data frame: the index (where it has one, as in pandas) names the rows, the columns the labels."""
    columns = list(frame.columns)
    if any(isinstance(column, tuple) for column in columns):
        raise ValueError(
            f"{name} must have one level of column names: got {columns[0]!r}; give one data frame per model."
        )
    numbers = all(isinstance(column, int | np.integer) for column in columns)
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


def _holds_named(values: Sequence[Any]) -> bool:
    """Tell whether a list holds frames, series, mappings or masked arrays."""
    kinds = {type(value): value for value in values}
    return any(hasattr(value, "to_numpy") or isinstance(value, np.ma.MaskedArray | Mapping) for value in kinds.values())


def _key(value: Any) -> Hashable:
    """Return one name in the form in which names are compared: integers and bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, str) else value


def _refuse_shuffled(who: str, other: str, what: str) -> None:
    """Refuse row numbers in another order beside something without names."""
    raise ValueError(
        f"{who} must stand in the order of {other}, which does not name its {what}s: got the numbers 0, 1, 2 … of its "
        f"{what}s in another order; name them in both, or pass an array (to_numpy()) to go by position."
    )


def _mismatch(found: AxisNames, wanted: AxisNames, *, who: str, what: str, of: str) -> ValueError:
    """Say in one sentence how the names of one axis differ."""
    there, needed = set(found.names), set(wanted.names)
    if len(there) < len(found.names):
        return ValueError(f"{who} must name every {what} once: got {first_duplicate(found.names)!r} more than once.")
    if len(needed) < len(wanted.names):
        return ValueError(f"{of} must name every {what} once: got {first_duplicate(wanted.names)!r} more than once.")
    missing = [str(key) for key in wanted.names if key not in there]
    unknown = [str(key) for key in found.names if key not in needed]
    parts = [f"{len(missing)} missing, such as {first_names(missing, 1)}"] if missing else []
    parts += [f"{len(unknown)} unknown, such as {first_names(unknown, 1)}"] if unknown else []
    hint = did_you_mean(unknown[0], missing) if unknown and missing else ""
    return ValueError(f"{who} must have the {len(wanted.names)} {what}s of {of}: got {' and '.join(parts)}.{hint}")
