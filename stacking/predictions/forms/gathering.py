"""Take scores in whatever form a person has them: paths, globs, frames, dictionaries, arrays, tensors, lists of these.

What has names is matched by them: files always, frames by their ids and columns. Arrays and tensors have none and go by
position. `load_predictions` reads the files; this module says which there are, and calls the models by name.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.links import sigmoid_in_place
from stacking.named_arrays import NamedScores, find_own_names, is_frame, read_scores
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.loading import (
    attach_truth,
    load_predictions,
    names_of_logits,
    with_label_metadata,
)
from stacking.predictions.forms.name_lists import read_ids, read_label_list
from stacking.predictions.forms.sample_groups import with_groups
from stacking.predictions.forms.truth import is_table_of_labels, read_truth
from stacking.predictions.prediction_set import PredictionSet

PathLike = str | os.PathLike[str]
Member = tuple[str | None, Any]
"""The name of a model, None where its file or its place gives it, and where its scores are."""


def load(
    *scores: Any,
    truth: PathLike | npt.ArrayLike | None = None,
    ids: PathLike | npt.ArrayLike | None = None,
    labels: PathLike | npt.ArrayLike | LabelList | None = None,
    groups: PathLike | npt.ArrayLike | None = None,
    from_logits: bool | Collection[str] = False,
) -> PredictionSet:
    """Load the scores of several models, in whatever form they are.

    Rows and labels that have names are matched by them, or refused; arrays and tensors have none and go by position. A
    model that lacks some labels does not cover them.

    Parameters
    ----------
    *scores : path, data frame, array, tensor, mapping or list of these, or PredictionSet
        One argument per model, or one mapping of model names to scores, or one array (n_models, n_samples, n_labels).
        A path is a table (``.csv``, ``.tsv``, ``.parquet``, ``.feather``), a matrix (``.npy``), an HDF5 file, or a
        bundle or store, which may hold several models; ``*`` and ``?`` in it stand for all files that match. A model is
        called by its key in the mapping, by the name in a pair ``(name, scores)``, by its file, or ``model0 …``.
    truth : path, data frame or array, optional
        In any form that `stacking.load_predictions` takes; needed to fit, compare and evaluate.
    ids, labels : path or array of str, optional
        Samples and labels and their order, for matrices without names; labels also as a table with ids and groups.
    groups : path, series, mapping or array of shape (n_samples,), optional
        Samples that must share a fold: photos of one person, songs of one artist. A table has the ids and a column
        ``group``; ``"photos.csv:person"`` names another column.
    from_logits : bool or collection of str, default=False
        True where the scores are logits, or the names of the models whose scores are; it is never guessed.

    Returns
    -------
    PredictionSet
        For `labelstack.fit`, `compare`, `predict` and `evaluate`.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or a pattern matches none.
    ImportError
        If the package that reads a form of file is not installed; the error says how to install it.
    TypeError
        If scores are none of these.
    ValueError
        If names do not match or appear twice, or a score is outside [0, 1]; the error names model, row and label.

    Examples
    --------
    >>> import pandas as pd
    >>> cnn = pd.DataFrame([[0.9, 0.2], [0.4, 0.6]], index=["a", "b"], columns=["dress", "red"])
    >>> scores = load({"cnn": cnn, "vit": cnn.iloc[::-1]})  # in another order
    >>> scores.models, scores.model_scores("vit").round(1).tolist() == cnn.round(1).to_numpy("float32").tolist()
    (('cnn', 'vit'), True)
    """
    members = list_members(scores)
    if not members:
        raise ValueError("load needs scores: give paths, data frames, arrays, or a mapping of model names to them.")
    if len(members) == 1 and isinstance(members[0][1], PredictionSet):
        found = _with_truth(members[0][1], truth)
    elif any(isinstance(where, str | os.PathLike) for _, where in members):
        _refuse_nameless(members)
        _refuse_results(members)
        alone = members[0][1] if len(members) == 1 and members[0][0] is None else None
        source: dict[str, Any] = {"models": members} if alone is None else {"path": alone}
        found = load_predictions(**source, truth=truth, ids=ids, labels=labels, from_logits=from_logits)
    else:
        found = _from_memory(members, truth, ids, labels, from_logits)
    return found if groups is None else with_groups(found, groups)


def list_members(scores: Sequence[Any]) -> list[Member]:
    """List the models, with the names that were given to them.

    Parameters
    ----------
    scores : sequence
        As `load` takes them.

    Returns
    -------
    list of (str or None, object)
        Patterns replaced by the files that match; frames and arrays as they are.

    Raises
    ------
    FileNotFoundError
        If a pattern matches no file.
    TypeError
        If something is no scores.
    ValueError
        If two models have one name.
    """
    members: list[Member] = []
    for one in scores:
        members += _members_of(one)
    several = len(members) > 1
    in_memory = [name is None and not isinstance(where, str | os.PathLike) for name, where in members]
    named = [
        (f"model{place}" if nameless and several else name, where)
        for place, (nameless, (name, where)) in enumerate(zip(in_memory, members, strict=True))
    ]
    for name, count in Counter(name for name, _ in named if name is not None).items():
        if count > 1:
            raise ValueError(f"models must have names that differ: got {name!r} {count} times; name them in a mapping.")
    return named


def _members_of(one: Any) -> list[Member]:
    """List the models of one argument."""
    if isinstance(one, Mapping):
        return [(str(name), _checked(where)) for name, where in one.items()]
    if isinstance(one, str | os.PathLike):
        return [(None, path) for path in _matching(one)]
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str):
        return [(one[0], _checked(one[1]))]
    if isinstance(one, list | tuple) and not (one and isinstance(one[0], int | float)) and not _is_nested(one):
        return [member for part in one for member in _members_of(part)]
    return [(None, _checked(one))]


def _matching(path: PathLike) -> list[PathLike]:
    """Give the files that a pattern matches, in order of name; a path without a pattern as it is."""
    text = os.fspath(path)
    if not glob.has_magic(text) or Path(text).exists():
        return [path]
    found: list[PathLike] = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute
    if not found:
        raise FileNotFoundError(f"{text} must match at least one file: there is none.")
    return found


def _checked(where: Any) -> Any:
    """Refuse what cannot be scores."""
    is_scores = isinstance(where, str | os.PathLike | PredictionSet) or is_frame(where) or _is_array(where)
    if not is_scores:
        raise TypeError(
            f"scores of a model must be a path, a data frame, an array or a tensor: got {type(where).__name__}."
        )
    return where


def _refuse_nameless(members: Sequence[Member]) -> None:
    """Refuse what has no names beside files, which are matched by name."""
    for name, where in members:
        if not isinstance(where, str | os.PathLike) and not is_frame(where):
            raise TypeError(
                f"model {name!r} must name its rows and labels to be matched with files: got {type(where).__name__}; "
                "make it a data frame with the ids as its index and one column per label."
            )


def _refuse_results(members: Sequence[Member]) -> None:
    """Refuse folders that hold what labelstack has made of scores, such as an ensemble."""
    for _, where in members:
        place = Path(where) if isinstance(where, str | os.PathLike) else None
        if place is not None and (place / "manifest.json").is_file() and not (place / "index.json").is_file():
            raise ValueError(
                f"{place} must hold scores: it holds a result; labelstack.load_ensemble opens an ensemble."
            )


def _is_array(value: Any) -> bool:
    """Tell whether something is an array, a tensor or nested lists of numbers."""
    if isinstance(value, list | tuple):
        return bool(value)
    return any(hasattr(value, name) for name in ("__array__", "__dlpack__", "detach", "toarray"))


def _is_nested(values: Sequence[Any]) -> bool:
    """Tell whether lists hold lists of numbers, as one array written out does."""
    while isinstance(values, list | tuple) and len(values):
        values = values[0]
    return isinstance(values, int | float | np.number) and not isinstance(values, bool)


def _from_memory(
    members: Sequence[Member],
    truth: Any,
    ids: PathLike | npt.ArrayLike | None,
    labels: PathLike | npt.ArrayLike | LabelList | None,
    from_logits: bool | Collection[str],
) -> PredictionSet:
    """Put frames, arrays and tensors together."""
    alone = members[0][1] if len(members) == 1 and members[0][0] is None else None
    scores = read_scores({str(name): where for name, where in members} if alone is None else alone, "scores")
    scores = _as_probabilities(scores, from_logits)
    wanted = None if labels is None else read_label_list(labels)
    found = PredictionSet(
        scores,
        None if ids is None else read_ids(ids),
        labels=None if wanted is None else list(wanted.names),
        y_true=None if _reads_as_table(truth) else truth,
    )
    found = with_label_metadata(found, wanted)
    found = _with_truth(found, truth) if _reads_as_table(truth) else found
    found.form = scores.form
    return found


def _as_probabilities(scores: NamedScores, from_logits: bool | Collection[str]) -> NamedScores:
    """Pass logits through the sigmoid, give one matrix the form of one model."""
    values = scores.values[None] if scores.values.ndim == 2 else scores.values
    models = find_own_names(scores.models, "models") or [f"model{place}" for place in range(len(values))]
    logits = names_of_logits(from_logits, models)
    if logits and values.ndim == 3:
        values = values.astype(np.result_type(values.dtype, np.float32))
        for place, name in enumerate(models):
            if name in logits:
                sigmoid_in_place(values[place])
    return replace(scores, values=values)


def _reads_as_table(truth: Any) -> bool:
    """Tell whether a truth is a file, or a frame that says in some other way than a matrix which labels there are."""
    return isinstance(truth, str | os.PathLike) or is_table_of_labels(truth)


def _with_truth(predictions: PredictionSet, truth: Any) -> PredictionSet:
    """Give predictions a truth of any form."""
    if truth is None:
        return predictions
    if not _reads_as_table(truth):
        return predictions.with_truth(truth)
    known = LabelList(predictions.labels, predictions.label_ids)
    return attach_truth(predictions, read_truth(truth, ids=predictions.ids, labels=predictions.labels, known=known))
