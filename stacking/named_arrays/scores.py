"""Scores of several models in data frames, matched by row and label."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import first_duplicate, first_names
from stacking.named_arrays.axis_names import AxisNames, find_first, match_axis
from stacking.named_arrays.frames import FrameForm
from stacking.named_arrays.name_changes import find_difference
from stacking.named_arrays.reading import NamedArray, holds_named, read_array


@dataclass(frozen=True)
class NamedScores:
    """Scores of several models with the names that came with them.

    Parameters
    ----------
    values : ndarray of shape (n_models, n_samples, n_labels)
        The scores, NaN where masked and where a model lacks a label.
    rows, models, labels : AxisNames or None
        The names, None where there are none.
    form : FrameForm or None
        How the first data frame among them held its names; None where there is none.
    """

    values: npt.NDArray[Any]
    rows: AxisNames | None = None
    models: AxisNames | None = None
    labels: AxisNames | None = None
    form: FrameForm | None = None


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
        members = {f"{name}[{model!r}]": read_array(values, f"{name}[{model!r}]") for model, values in y_scores.items()}
        return replace(_stack(members, name), models=AxisNames.of(y_scores))
    if isinstance(y_scores, list | tuple) and holds_named(y_scores):
        return _stack({f"{name}[{i}]": read_array(values, f"{name}[{i}]") for i, values in enumerate(y_scores)}, name)
    array = read_array(y_scores, name)
    if array.values.ndim == 2 and array.axes != (None, None):
        _refuse_text(array, name)
        return NamedScores(_filled(array)[None], array.axes[0], None, array.axes[1], array.form)
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
        wanted = AxisNames.of(_list(given))
        unknown = [str(key) for key in own.names if key not in set(wanted.names)]
        if name == "labels" and not unknown:
            values = _spread(values, own, wanted, "y_scores")
        else:
            places = match_axis(own, wanted, who="y_scores", what=what, of=name)
            values = values if places is None else np.take(values, places, axis=axis)
    return replace(scores, values=values)


def _list(names: Any) -> list[Any]:
    """List names as they are: numpy would make numbers of dates."""
    return names.tolist() if isinstance(names, np.ndarray) else list(names)


def _stack(members: Mapping[str, NamedArray], name: str) -> NamedScores:
    """Put matrices of single models on top of each other, matched by row and label."""
    for model, array in members.items():
        if array.values.ndim != 2:
            raise ValueError(
                f"{name} must hold one matrix (n_samples, n_labels) per model: got shape {array.values.shape} for "
                f"{model}."
            )
        _refuse_text(array, model)
    first, rows = find_first({model: array.axis(0) for model, array in members.items()})
    labels = _label_union({model: array.axis(1) for model, array in members.items()})
    stacked = []
    for model, array in members.items():
        places = None if model == first else match_axis(array.axis(0), rows, who=model, what="row", of=str(first))
        stacked.append(_spread(_filled(array.take(places, 0)), array.axis(1), labels, model))
    shapes = list(dict.fromkeys(matrix.shape for matrix in stacked))
    if len(shapes) > 1:
        raise ValueError(f"{name} must hold matrices of one shape: got {shapes[0]} and {shapes[1]}.")
    form = next((array.form for array in members.values() if array.form is not None), None)
    return NamedScores(np.stack(stacked), rows, None, labels, form)


def _refuse_text(array: NamedArray, model: str) -> None:
    """Refuse a frame with a column that holds no numbers, and name it."""
    labels = array.axis(1)
    if array.values.dtype.kind not in "OUS" or labels is None:
        return
    for place, label in enumerate(labels.names):
        odd = next((cell for cell in array.values[:, place].tolist() if isinstance(cell, str)), None)
        if odd is not None:
            raise ValueError(
                f"{model}, column {label!r}: the cells must be numbers: got {odd!r}; leave the column out, or make the "
                "ids the index (set_index)."
            )


def _label_union(found: Mapping[str, AxisNames | None]) -> AxisNames | None:
    """Collect the labels of all members in order of appearance; those that only count give way to real ones."""
    names = find_first(found)[1]
    if names is None or names.is_made_up:
        return names
    union: dict[str | None, None] = {}
    for model, axis in found.items():
        if axis is None or (axis.is_made_up and set(axis.names) != set(names.names)):
            continue
        if len(set(axis.names)) < len(axis.names):
            raise ValueError(f"{model} must name every label once: got {first_duplicate(axis.names)!r} more than once.")
        odd = [str(key) for key in axis.names if key not in names.names]
        odd += [str(key) for key in names.names if key not in axis.names]
        if odd:
            difference = find_difference(odd[0], odd[1:])
            warnings.warn(
                f"models name different labels, such as {first_names(odd)} of {model}: all are kept, and a model does "
                f"not cover those that it lacks; {difference or 'rename one if it is a misspelling'}.",
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


def _filled(array: NamedArray) -> npt.NDArray[Any]:
    """Return scores with NaN where they are masked."""
    if array.mask is None:
        return array.values
    values = array.values.astype(np.result_type(array.values.dtype, np.float32))
    values[array.mask] = np.nan
    return values
