"""Scores as clients send them: JSON by member, or a bundle (``.npz``)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import jiter
except ModuleNotFoundError:  # an environment from before `[serve]` asked for it: the same answers, later
    jiter = None  # type: ignore[assignment]

from experiments.serving.limits import MOST_NAME, RefusedError, ServingLimits
from optimizers.registry import did_you_mean
from stacking._checks import first_duplicate, first_names
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.files.untrusted import parse_json
from stacking.predictions import PredictionSet, load_predictions

JSON, BUNDLE = "application/json", "application/x-npz"
UNPACKED = 4
"""Times its size that a bundle may unpack to: scores as float32 pack to no less than a half, float64 of them to a
quarter. A choice, against archives that unpack to gigabytes."""
KEYS = ("scores", "ids", "labels")


def read_json_scores(
    body: bytes, ensemble: StackingEnsemble, limits: ServingLimits, without: Collection[str] = ()
) -> PredictionSet:
    """Read scores from JSON.

    Parameters
    ----------
    body : bytes
        An object with ``scores``: one list of rows by member, each row a list of numbers, null for a label that the
        member does not answer; and, if wanted, ``ids`` of the rows and ``labels`` of the columns.
    ensemble : StackingEnsemble
        Whose members and labels they are; its own labels in its order where none are named.
    limits : ServingLimits
        Most rows.
    without : collection of str, default=()
        Members that are not sent.

    Returns
    -------
    PredictionSet
        As sent.

    Raises
    ------
    RefusedError
        If it is anything else; the sentence names the member, and the row and label where one cell is wrong.
    ValueError
        If it is no JSON, or a score is outside [0, 1].
    """
    sent = parse_body(body)
    for key in sent:
        if key not in KEYS:
            raise RefusedError(
                400, f"the body must hold {', '.join(KEYS)}: got {key[:80]!r}.{did_you_mean(key[:80], KEYS)}"
            )
    scores = sent.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise RefusedError(400, "scores must be an object with one list of rows by member, not empty.")
    labels = sent.get("labels")
    if labels is None:
        labels = list(ensemble.labels_)
    elif not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise RefusedError(400, "labels must be a list of names, one per column of every member's rows.")
    check_members_and_labels(list(scores), labels, ensemble, without)
    n_rows = _count_rows(scores, limits)
    ids = _read_ids(sent.get("ids"), n_rows)
    matrices = [_read_matrix(name, rows, n_rows, labels) for name, rows in scores.items()]
    return PredictionSet(np.stack(matrices), ids, list(scores), labels)


def read_bundle_scores(
    body: bytes, ensemble: StackingEnsemble, limits: ServingLimits, without: Collection[str] = ()
) -> PredictionSet:
    """Read scores from the bytes of a bundle.

    Parameters
    ----------
    body : bytes
        A ``.npz`` file with ``y_scores``, ``ids``, ``models`` and ``labels``, as `save_predictions` writes it.
    ensemble : StackingEnsemble
        Whose members and labels they are.
    limits : ServingLimits
        Most rows.
    without : collection of str, default=()
        Members that are not sent.

    Returns
    -------
    PredictionSet
        As sent.

    Raises
    ------
    RefusedError
        If it is no bundle, unpacks to too much, or does not hold the ensemble's members and labels.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # zipfile raises almost anything on damage
        raise RefusedError(400, "the body must be an undamaged .npz file: it cannot be opened.") from error
    most = UNPACKED * limits.body_bytes
    if unpacked > most:
        raise RefusedError(413, f"the body must unpack to at most {most:,} bytes: it announces {unpacked:,}.")
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        file.write(body)
        file.flush()
        try:
            sent = load_predictions(Path(file.name))
        except ValueError as error:
            raise RefusedError(400, str(error).replace(file.name, "the body")) from error
    if sent.n_samples > limits.rows:
        raise RefusedError(413, _too_many_rows(sent.n_samples, limits))
    check_members_and_labels(sent.models, sent.labels, ensemble, without)
    _check_ids([str(name) for name in sent.ids])
    return sent


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse the JSON of a body, by the fast parser where it is installed and likes what it reads.

    Parameters
    ----------
    body : bytes
        As sent.

    Returns
    -------
    dict
        As `stacking.files.untrusted.parse_json` reads it, which takes seven times as long and refuses the same.

    Raises
    ------
    ValueError
        If it is no object, a key occurs twice in one, or it holds what JSON does not have.
    """
    if jiter is not None:
        try:
            sent = jiter.from_json(body, allow_inf_nan=False, cache_mode="none", catch_duplicate_keys=True)
        except ValueError:  # what is wrong is said below
            sent = None
        if isinstance(sent, dict):
            return sent
    return parse_json(body, "the body")


def check_members_and_labels(
    members: Sequence[str], labels: Sequence[str], ensemble: StackingEnsemble, without: Collection[str] = ()
) -> None:
    """Refuse members and labels that are not the ensemble's, and those that are missing.

    Parameters
    ----------
    members, labels : sequence of str
        What was sent.
    ensemble : StackingEnsemble
        What is served.
    without : collection of str, default=()
        Members to do without.

    Raises
    ------
    RefusedError
        If one is unknown, missing or there twice.
    """
    for what, names, known in (("members", members, ensemble.models_), ("labels", labels, ensemble.labels_)):
        twice, there = first_duplicate(names), set(known)
        if twice:
            raise RefusedError(400, f"{what} must be there once each: {twice[:80]!r} is there twice.")
        for name in names:
            if name not in there:
                close = did_you_mean(name[:80], known)
                raise RefusedError(400, f"{what} must be those of the ensemble: got {name[:80]!r}.{close}")
    missing = [name for name in ensemble.models_ if name not in {*members, *without}]
    if missing:
        how = f"?without={missing[0]}"
        raise RefusedError(400, f"scores of every member are needed: {first_names(missing)} missing; ask {how} if so.")
    missing = sorted(set(ensemble.labels_) - set(labels))
    if missing:
        raise RefusedError(400, f"scores of every label are needed: {first_names(missing)} missing; send them.")


def _too_many_rows(n_rows: int, limits: ServingLimits) -> str:
    """Say how many rows there may be."""
    return f"a request may hold at most {limits.rows:,} rows: got {n_rows:,}; send them in several."


def _count_rows(scores: dict[str, Any], limits: ServingLimits) -> int:
    """Return how many rows all members have."""
    for name, rows in scores.items():
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise RefusedError(400, f"scores of {name!r} must be a list of rows, each a list of numbers.")
    lengths = {name: len(rows) for name, rows in scores.items()}
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise RefusedError(
                400, f"all members must have the same rows: {first!r} has {lengths[first]}, {name!r} has {length}."
            )
    if not lengths[first]:
        raise RefusedError(400, "scores must hold at least one row: got none.")
    if lengths[first] > limits.rows:
        raise RefusedError(413, _too_many_rows(lengths[first], limits))
    return lengths[first]


def _read_ids(sent: Any, n_rows: int) -> list[str] | None:
    """Read the names of the rows; numbers become text."""
    if sent is None:
        return None
    if not isinstance(sent, list) or not all(type(name) in (str, int) for name in sent):
        raise RefusedError(400, "ids must be a list of texts or whole numbers, one per row.")
    ids = [str(name) for name in sent]
    if len(ids) != n_rows:
        raise RefusedError(400, f"ids must name every row: got {len(ids)} ids for {n_rows} rows.")
    _check_ids(ids)
    return ids


def _check_ids(ids: list[str]) -> None:
    """Refuse names that would make the array of them huge, and those that are there twice."""
    longest = max(ids, key=len)
    if len(longest) > MOST_NAME:
        raise RefusedError(
            400, f"ids must have at most {MOST_NAME} characters: {longest[:40]!r}… has {len(longest):,}."
        )
    twice = first_duplicate(ids)
    if twice:
        raise RefusedError(400, f"ids must be there once each: {twice!r} is there twice.")


def _read_matrix(name: str, rows: list[list[Any]], n_rows: int, labels: Sequence[str]) -> np.ndarray[Any, Any]:
    """Read the scores of one member: (n_rows, n_labels), NaN for null."""
    for place, row in enumerate(rows):
        if len(row) != len(labels):
            what = f"scores of {name!r} must have one number per label, {len(labels)}"
            raise RefusedError(400, f"{what}: row {place} has {len(row)}.")
        _check_cells(row, name, place, labels)
    try:
        return np.array(rows, dtype=np.float64).reshape(n_rows, len(labels))
    except OverflowError as error:
        raise RefusedError(400, f"scores of {name!r} must be in [0, 1]: one has hundreds of digits.") from error


def _check_cells(row: list[Any], name: str, place: int, labels: Sequence[str]) -> None:
    """Refuse what is no number; 1e999 is one, and infinite: the set of predictions refuses it."""
    if _NUMBERS.issuperset(map(type, row)):
        return
    for cell, label in zip(row, labels, strict=True):
        if type(cell) not in _NUMBERS:
            where = f"scores of {name!r}, row {place}, {label!r}"
            got = _JSON_NAMES.get(type(cell).__name__, "something else")
            raise RefusedError(400, f"{where} must be a number in [0, 1], or null: got {got}.")


_NUMBERS = frozenset({float, int, type(None)})
_JSON_NAMES = {"str": "a text", "bool": "true or false", "dict": "an object", "list": "a list"}
