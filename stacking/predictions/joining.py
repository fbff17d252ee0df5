"""Several sets of predictions as one: the models of two runs side by side, on the rows and labels that both have."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stacking._checks import first_names
from stacking.predictions.alignment import align_predictions
from stacking.predictions.prediction_set import PredictionSet


def join_predictions(sets: Mapping[str, PredictionSet]) -> PredictionSet:
    """Join the models of several sets, matching rows by id and labels by name.

    Parameters
    ----------
    sets : mapping of str to PredictionSet
        By name, such as that of the run: it stands before the names of models that occur in several sets,
        ``run-a/resnet``.

    Returns
    -------
    PredictionSet
        All models, on the rows and labels that all sets have, in the order of the first; a warning counts those that
        are left out. Each score stays out of fold as it was in its own set; the folds of one set say nothing of
        another's models, and are kept only where all sets agree.

    Raises
    ------
    ValueError
        If no set is given, the sets share no row or no label, or say different things of the truth, weight or group of
        a row.

    Examples
    --------
    >>> first = PredictionSet([[[0.9], [0.2]]], ["a", "b"], ["cnn"], ["red"], y_true=[[1], [0]])
    >>> second = PredictionSet([[[0.1], [0.7]]], ["b", "a"], ["cnn"], ["red"], y_true=[[0], [1]])
    >>> joined = join_predictions({"monday": first, "tuesday": second})
    >>> joined.models, (joined.model_scores("tuesday/cnn") > 0.5).ravel().tolist()
    (('monday/cnn', 'tuesday/cnn'), [True, False])
    """
    if not sets:
        raise ValueError("sets must hold at least one set of predictions: got none.")
    if len(sets) == 1:
        return next(iter(sets.values()))
    ids = _shared({name: part.ids.tolist() for name, part in sets.items()}, "row")
    labels = _shared({name: list(part.labels) for name, part in sets.items()}, "label")
    counts = Counter(model for part in sets.values() for model in part.models)
    parts = []
    for name, part in sets.items():
        models = [f"{name}/{model}" if counts[model] > 1 else model for model in part.models]
        places = {sample: row for row, sample in enumerate(part.ids.tolist())}
        alike = part.subset(samples=[places[sample] for sample in ids], labels=labels)
        parts.append(PredictionSet(alike.source, alike.ids, models, alike.labels, **alike.metadata()))
    _check_agreement(dict(zip(sets, parts, strict=True)))
    joined = align_predictions(parts, ids=ids, labels=labels)
    folds = [part.folds for part in parts]
    if folds[0] is None or all(each is not None and bool((each == folds[0]).all()) for each in folds):
        return joined
    metadata: dict[str, Any] = {**joined.metadata(), "folds": None}
    return PredictionSet(joined.source, joined.ids, list(joined.models), list(joined.labels), **metadata)


def _shared(names: Mapping[str, Sequence[str]], what: str) -> list[str]:
    """Return the names that all sets have, in the order of the first, and say how many are left out."""
    common = set.intersection(*(set(found) for found in names.values()))
    first = next(iter(names.values()))
    if not common:
        raise ValueError(
            f"sets of predictions must share {what}s to be compared: {' and '.join(map(repr, names))} have none in "
            "common; give runs on the same data."
        )
    n_all = len(set().union(*names.values()))
    if n_all > len(common):
        odd = [name for found in names.values() for name in found if name not in common]
        warnings.warn(
            f"{n_all - len(common):,} of {n_all:,} {what}s are not in every set and are left out, such as "
            f"{first_names(odd)}",
            stacklevel=4,
        )
    return [name for name in first if name in common]


def _check_agreement(parts: Mapping[str, PredictionSet]) -> None:
    """Refuse sets that say different things of the same row."""
    (first_name, first), *others = parts.items()
    for name, part in others:
        for what, ours, theirs in (
            ("truth", first.y_true, part.y_true),
            ("known cells", first.y_known, part.y_known),
            ("weight", first.sample_weight, part.sample_weight),
            ("group", first.groups, part.groups),
        ):
            if ours is None or theirs is None:
                continue
            differs = np.asarray(ours) != np.asarray(theirs)
            rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
            if len(rows):
                raise ValueError(
                    f"sets of predictions must agree on the {what} of a row: {first_name!r} and {name!r} differ in "
                    f"{len(rows):,} rows, such as {str(first.ids[rows[0]])!r}; give runs on the same data."
                )
