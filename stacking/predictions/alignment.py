"""Bring predictions and truth of different files together by id and label name, never by position."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optimizers.registry import did_you_mean
from stacking._checks import check_model_scores, check_names, first_duplicate, first_names
from stacking._typing import BoolArray, IntArray, StringArray
from stacking.named_arrays import AxisNames, find_difference
from stacking.predictions.prediction_set import PredictionMetadata, PredictionSet
from stacking.predictions.selection import take
from stacking.predictions.sources import ALL, ScoreSource, StackedSource, ViewSource, rows_per_block

_OF_SAMPLES = ("y_true", "y_known", "sample_weight", "groups", "folds")


def name_by_position(predictions: PredictionSet, models: Sequence[str], labels: Sequence[str]) -> PredictionSet:
    """
    Name the models and labels of predictions that came without names, as those of a plain array, by their position.

    Parameters
    ----------
    predictions : PredictionSet
        Names of its own stay.
    models, labels : sequence of str
        The names in order; used where there are as many.

    Returns
    -------
    PredictionSet
        The same scores; the set itself where nothing is to be named.
    """
    own_models, own_labels = predictions.models, predictions.labels
    if len(own_models) == len(models) and AxisNames.of(own_models, "model").is_made_up:
        own_models = tuple(models)
    if len(own_labels) == len(labels) and AxisNames.of(own_labels, "label").is_made_up:
        own_labels = tuple(labels)
    if (own_models, own_labels) == (predictions.models, predictions.labels):
        return predictions
    metadata = predictions.metadata()
    return PredictionSet(predictions.source, predictions.ids, list(own_models), list(own_labels), **metadata)


def align_predictions(
    sets: Sequence[PredictionSet],
    *,
    ids: Sequence[str] | StringArray | None = None,
    labels: Sequence[str] | None = None,
) -> PredictionSet:
    """
    Join the models of several sets, matching rows by id and columns by label name.

    All sets must hold the same samples, in any order. A set may lack labels: its models do not cover them. Truth and
    other metadata come from the first set that has each. Nothing is read: the result is lazy.

    Parameters
    ----------
    sets : sequence of PredictionSet
        At least one; model names must be unique over all of them.
    ids : sequence of str, optional
        The samples and their order; by default those of the first set.
    labels : sequence of str, optional
        The labels and their order; by default all that any set has, in order of appearance.

    Returns
    -------
    PredictionSet
        All models.

    Raises
    ------
    ValueError
        If a model name appears twice, a set lacks a sample, or holds an unknown sample or label; the error names model,
        row or label.
    """
    if not sets:
        raise ValueError("sets must hold at least one set of predictions: got none.")
    models = [name for part in sets for name in part.models]
    if len(set(models)) < len(models):
        raise ValueError(
            f"models must have unique names: got {first_duplicate(models)!r} twice; rename one (NAME=FILE)."
        )
    wanted_ids = sets[0].ids if ids is None else check_names(ids, name="ids")
    wanted = list(dict.fromkeys(label for part in sets for label in part.labels)) if labels is None else list(labels)
    sources: list[ScoreSource] = []
    covers: list[BoolArray] = []
    metadata = PredictionMetadata()
    for part in sets:
        who = f"model {part.models[0]!r}" if part.n_models == 1 else f"models {first_names(part.models)}"
        rows = match_names(part.ids, wanted_ids, who=who, what="row")
        columns = _match_labels(part.labels, wanted, who=who)
        same = rows is None and columns is None
        sources.append(part.source if same else ViewSource(part.source, None, rows, columns))
        covers.append(_covers(part.covers, columns))
        _collect_metadata(metadata, part, rows, columns)
    source = sources[0] if len(sources) == 1 else StackedSource(sources)
    extras = {key: value for part in reversed(sets) for key, value in part.extras.items()}
    metadata |= PredictionMetadata(covers=np.concatenate(covers), extras=extras)
    return PredictionSet(source, wanted_ids, models, wanted, **metadata)


def match_names(
    found: StringArray | Sequence[str], wanted: StringArray | Sequence[str], *, who: str, what: str
) -> IntArray | None:
    """
    Find where each wanted name stands.

    Parameters
    ----------
    found : sequence of str
        The names there are, unique.
    wanted : sequence of str
        The names needed, in order.
    who : str
        Whose names they are, for the error: ``"model 'cnn'"``, ``"truth"``.
    what : str
        What they name, for the error: ``"row"`` or ``"label"``.

    Returns
    -------
    ndarray of int or None
        The position of every wanted name; None where the two are equal.

    Raises
    ------
    ValueError
        If a name is missing or unknown.
    """
    there, needed = np.asarray(found), np.asarray(wanted)
    if np.array_equal(there, needed):
        return None
    place = {name: position for position, name in enumerate(there.tolist())}
    missing = [name for name in needed.tolist() if name not in place]
    if missing:
        raise ValueError(
            f"{who} lacks {len(missing):,} of {len(needed):,} {what}s, first {what} {missing[0]!r}: "
            f"it has {len(there)}, such as {first_names(there.tolist())}; "
            f"{find_difference(missing[0], place) or f'all files must name the same {what}s'}."
        )
    if len(there) > len(needed):
        unknown = sorted(set(place) - set(needed.tolist()))
        raise ValueError(
            f"{who} has {len(unknown)} {what}s that the others lack, first {what} {unknown[0]!r}: "
            f"expected {len(needed)}, such as {first_names(needed.tolist())}; all files must name the same {what}s."
        )
    return np.array([place[name] for name in needed.tolist()], np.int64)


def check_source(predictions: PredictionSet) -> BoolArray:
    """
    Check all scores of a source in one pass and find what each model covers.

    Parameters
    ----------
    predictions : PredictionSet
        A set whose source nobody checked yet.

    Returns
    -------
    ndarray of bool, shape (n_models, n_labels)
        False where all scores of a model and label are NaN.

    Raises
    ------
    ValueError
        If a score is outside [0, 1], or NaN in some rows only; the error names model, row and label.
    """
    covers = np.zeros((predictions.n_models, predictions.n_labels), np.bool_)
    complete = np.ones_like(covers)
    for rows, scores in _blocks(predictions):
        for model, block in enumerate(scores):
            gaps = np.isnan(block)
            covers[model] |= ~gaps.all(axis=0)
            complete[model] &= ~gaps.any(axis=0)
            block[gaps] = 0
            columns = np.ones(predictions.n_labels, np.bool_)
            _check_rows(predictions, model, rows, block, columns)
    if (covers & ~complete).any():
        for rows, scores in _blocks(predictions):
            for model, block in enumerate(scores):
                _check_rows(predictions, model, rows, block, covers[model])
    return covers


def _blocks(predictions: PredictionSet) -> Any:
    """Go through the rows in memory of our own, which may be changed."""
    block = rows_per_block(predictions.n_models * predictions.n_labels)
    for start in range(0, predictions.n_samples, block):
        rows = slice(start, min(start + block, predictions.n_samples))
        scores = np.empty((predictions.n_models, rows.stop - start, predictions.n_labels), np.float32)
        for model in range(predictions.n_models):
            predictions.source.read(model, rows, ALL, scores[model])
        yield rows, scores


def _check_rows(predictions: PredictionSet, model: int, rows: slice, block: Any, covers: BoolArray) -> None:
    """Check one block of one model."""
    name, ids = predictions.models[model], predictions.ids[rows]
    check_model_scores(block, covers, model=name, ids=ids, labels=predictions.labels)


def _match_labels(found: Sequence[str], wanted: Sequence[str], *, who: str) -> IntArray | None:
    """Find where each wanted label stands, −1 where it is absent; None where the two are equal."""
    if list(found) == list(wanted):
        return None
    known = set(wanted)
    unknown = [label for label in found if label not in known]
    if unknown:
        raise ValueError(
            f"{who} has {len(unknown)} unknown labels, first label {unknown[0]!r}: "
            f"it must be one of the {len(wanted)} of the label list.{did_you_mean(unknown[0], wanted)}"
        )
    place = {label: position for position, label in enumerate(found)}
    return np.array([place.get(label, -1) for label in wanted], np.int64)


def _covers(covers: BoolArray, columns: IntArray | None) -> BoolArray:
    """Rearrange coverage; absent labels are not covered."""
    return covers if columns is None else covers[:, columns] & (columns >= 0)


def _collect_metadata(
    metadata: PredictionMetadata, part: PredictionSet, rows: IntArray | None, columns: IntArray | None
) -> None:
    """Take from one set the metadata that no earlier one had; those by label only if it has every label."""
    whole = columns is None or bool((columns >= 0).all())
    own: dict[str, Any] = {key: take(getattr(part, key), rows) for key in _OF_SAMPLES}
    own["train_frequency"] = take(part.train_frequency, columns) if whole else None
    for key in ("label_groups", "label_ids"):
        values = getattr(part, key) if whole else None
        own[key] = values if values is None or columns is None else [values[i] for i in columns]
    for key in ("y_true", "y_known"):
        own[key] = take(own[key], columns, 1) if whole else None
    earlier: dict[str, Any] = metadata  # type: ignore[assignment]
    if (
        earlier.get("y_true") is not None
        and own["y_true"] is not None
        and not np.array_equal(earlier["y_true"], own["y_true"])
    ):
        raise ValueError(
            f"model {part.models[0]!r} comes with another truth than the models before it: pass truth= for all."
        )
    if earlier.get("y_true") is not None:  # a mask belongs to the truth that it came with
        own["y_known"] = None
    for key, value in own.items():
        if value is not None and earlier.get(key) is None:
            earlier[key] = value
