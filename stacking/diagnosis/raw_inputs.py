"""Read what a fit would be given without refusing it: a fault is to be described together with all the others.

`stacking.load_predictions` stops at the first thing that is wrong. Here every member is read by itself, scores outside
[0, 1] and names that are there twice included; what cannot be read at all becomes a finding.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import first_names
from stacking._typing import FloatArray
from stacking.diagnosis.findings import Finding
from stacking.files.untrusted import read_npz
from stacking.links import sigmoid_in_place
from stacking.named_arrays.reading import read_array
from stacking.predictions.forms.hdf5 import SUFFIXES as HDF5_SUFFIXES
from stacking.predictions.forms.hdf5 import read_hdf5
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.loading import split_member
from stacking.predictions.forms.matrix_files import MatrixFile
from stacking.predictions.forms.name_lists import read_ids, read_label_list
from stacking.predictions.forms.sample_groups import groups_of
from stacking.predictions.forms.store import load_store
from stacking.predictions.forms.tables import is_table, read_numbers
from stacking.predictions.forms.text_form import member_name
from stacking.predictions.forms.truth import Truth, read_truth
from stacking.predictions.prediction_set import PredictionSet

NEEDS_NAMES = "it is a matrix without names: give those of its rows and columns (--ids, --labels)"
MAX_ROWS = 20_000
"""Rows of predictions on disk or of many samples that are looked at, drawn at random: enough for every statistic here
to be certain, and few enough for a look of seconds. A choice."""


@dataclass(frozen=True)
class RawMember:
    """Scores of one member as they are.

    Attributes
    ----------
    name : str
        The member.
    ids, labels : list of str
        Names of rows and columns; may hold a name twice.
    values : ndarray of float32, shape (n_rows, n_labels)
        Scores, NaN where blank.
    path : Path or None
        The file, if they came from one of their own.
    """

    name: str
    ids: list[str]
    labels: list[str]
    values: FloatArray
    path: Path | None = None


@dataclass
class RawInputs:
    """All that was read.

    Attributes
    ----------
    members : list of RawMember
        Those that can be read.
    truth : Truth or None
        The truth, if it can be read.
    truth_path : Path or None
        Its file.
    folds : ndarray of int or None
        Which fold's model scored each row of the truth.
    named : bool
        Whether ids and labels are names, not only positions.
    findings : list of Finding
        What cannot be read, and why.
    """

    members: list[RawMember] = field(default_factory=list)
    truth: Truth | None = None
    truth_path: Path | None = None
    folds: npt.NDArray[Any] | None = None
    named: bool = True
    findings: list[Finding] = field(default_factory=list)


def read_inputs(
    predictions: Any = None,
    truth: Any = None,
    *,
    models: Sequence[Any] | None = None,
    ids: Any = None,
    labels: Any = None,
    groups: Any = None,
    from_logits: bool | Collection[str] = False,
) -> RawInputs:
    """Read predictions and truth in any of their forms, as they are.

    Parameters
    ----------
    predictions : PredictionSet, path, array of shape (n_models, n_samples, n_labels), mapping or list, optional
        Either this or `models`; a mapping or list holds one path, frame or matrix per member.
    truth : path, data frame or array of shape (n_samples, n_labels), optional
        The truth.
    models : sequence of path or (name, path), optional
        One file per member.
    ids, labels : path or sequence of str, optional
        Names of rows and columns of matrices without names.
    groups : path, series, mapping or array of shape (n_samples,), optional
        Samples that must share a fold, beside a truth.
    from_logits : bool or collection of str, default=False
        Whether scores are logits, or the members whose scores are.

    Returns
    -------
    RawInputs
        What could be read, and findings about the rest.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    """
    found = RawInputs()
    wanted_ids = None if ids is None else read_ids(ids)
    wanted = None if labels is None else read_label_list(labels)
    logits = from_logits if isinstance(from_logits, bool) else {str(name) for name in from_logits}
    for name, given in _split_members(predictions, models):
        if isinstance(given, str | os.PathLike) and not Path(given).exists():
            raise FileNotFoundError(f"{given} must be a file or folder of predictions: it does not exist.")
        with _NoteFailure(found, name or str(given)):
            found.members += list(_read_member(found, name, given, wanted_ids, wanted, logits))
    if truth is not None:
        found.truth_path = Path(truth) if isinstance(truth, str | os.PathLike) else None
        with _NoteFailure(found, "the truth"):
            found.truth = _read_truth(found, truth, wanted_ids, wanted)
    if groups is not None and found.truth is not None:
        with _NoteFailure(found, "the groups"):
            read = found.truth
            found.truth = replace(read, metadata={**read.metadata, "groups": groups_of(groups, read.ids)})
    return found


class _NoteFailure:
    """Turn a refusal into a finding, and keep warnings for whoever fits."""

    def __init__(self, found: RawInputs, who: str) -> None:
        self._found, self._who, self._warnings = found, who, warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: Any) -> bool:
        self._warnings.__exit__(kind, value, tb)
        if not isinstance(value, ValueError | TypeError):
            return False
        message = f"{self._who} cannot be read: {value}"
        self._found.findings.append(Finding("red", "reading", message, remedy="Mend the file as the sentence says."))
        return True


def _split_members(predictions: Any, models: Sequence[Any] | None) -> list[tuple[str | None, Any]]:
    """List (name, what holds the scores); the name is None where the file gives it."""
    if (predictions is None) == (not models):
        raise ValueError("give either predictions or models (one file per member), and not both.")
    if models:
        return [split_member(member) for member in models]
    if isinstance(predictions, Mapping):
        return [(str(name), given) for name, given in predictions.items()]
    if isinstance(predictions, list | tuple) and not all(isinstance(given, int | float) for given in predictions):
        return [_split_nameless(given, f"model{place}") for place, given in enumerate(predictions)]
    if isinstance(predictions, str | os.PathLike):
        return [split_member(predictions)]
    return [(None, predictions)]


def _split_nameless(given: Any, name: str) -> tuple[str | None, Any]:
    """Return a member's name and what holds its scores: a path gives its own, a pair holds it."""
    if isinstance(given, str | os.PathLike):
        return split_member(given)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        return given
    return name, given


def _read_member(
    found: RawInputs,
    name: str | None,
    given: Any,
    ids: npt.NDArray[np.str_] | None,
    labels: LabelList | None,
    logits: bool | set[str],
) -> Iterator[RawMember]:
    """Read the members that one argument holds."""
    if isinstance(given, PredictionSet):
        yield from _from_set(found, given)
        return
    if not isinstance(given, str | os.PathLike):
        parts = _from_arrays(found, name, given, ids, labels)
    else:
        path = Path(given)
        if path.is_dir():
            yield from _from_set(found, load_store(path))
            return
        if path.suffix.lower() == ".npz":
            parts = _from_bundle(found, read_npz(path), path)
        elif path.suffix.lower() in HDF5_SUFFIXES:
            parts = _from_hdf5(found, name, path, ids, labels)
        elif path.suffix.lower() == ".npy":
            parts = _from_matrix(str(name), path, ids, labels)
        elif is_table(path):
            table = read_numbers(path, unique_ids=False)
            parts = [RawMember(str(name), table.ids.tolist(), list(table.columns), table.values, path)]
        else:
            raise ValueError(
                "it must be a .npz bundle, a store folder, or a .csv, .tsv, .parquet, .feather, .npy or .h5 file"
            )
    for part in parts:
        named = RawMember(part.name, part.ids, _names_of(part.labels, labels), part.values, part.path)
        if logits is True or (logits is not False and part.name in logits):
            sigmoid_in_place(named.values)
        yield named


def _names_of(labels: list[str], known: LabelList | None) -> list[str]:
    """Call labels by their names where they are label ids."""
    return labels if known is None or known.ids is None else list(known.to_names(tuple(labels), "a member"))


def _from_set(found: RawInputs, predictions: PredictionSet) -> Iterator[RawMember]:
    """Take the members, and the truth, of a prediction set; of a large one some rows."""
    if predictions.n_samples > MAX_ROWS:
        drawn = np.random.default_rng(0).choice(predictions.n_samples, MAX_ROWS, replace=False)
        predictions = predictions.subset(samples=np.sort(drawn))
    ids, labels = predictions.ids.tolist(), list(predictions.labels)
    if predictions.y_true is not None and found.truth is None:
        metadata = {"groups": predictions.groups} if predictions.groups is not None else {}
        found.truth = Truth(
            predictions.ids, predictions.labels, predictions.y_true, predictions.y_known, metadata=metadata
        )
        found.folds = predictions.folds
    for name in predictions.models:
        yield RawMember(name, ids, labels, predictions.model_scores(name))


def _from_bundle(found: RawInputs, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> list[RawMember]:
    """Take the members, and the truth, out of a bundle."""
    missing = [key for key in ("y_scores", "ids", "models", "labels") if key not in arrays]
    if missing:
        raise ValueError(f"it must hold y_scores, ids, models, labels: it lacks {', '.join(missing)}")
    ids, labels = (arrays[key].astype(str).tolist() for key in ("ids", "labels"))
    scores = np.asarray(arrays["y_scores"], np.float32)
    if scores.shape[1:] != (len(ids), len(labels)):
        raise ValueError(f"y_scores must have shape (models, {len(ids)}, {len(labels)}) as its names: {scores.shape}")
    if "y_true" in arrays and found.truth is None:
        metadata = {"groups": arrays["groups"]} if "groups" in arrays else {}
        y_known = arrays.get("y_known")
        truth = np.asarray(arrays["y_true"]).astype(np.uint8)
        found.truth = Truth(np.array(ids), tuple(labels), truth, y_known, metadata=metadata)
        found.folds = arrays.get("folds")
    names = arrays["models"].astype(str).tolist()
    return [RawMember(name, ids, labels, matrix, path) for name, matrix in zip(names, scores, strict=True)]


def _from_hdf5(
    found: RawInputs, name: str | None, path: Path, ids: npt.NDArray[np.str_] | None, labels: LabelList | None
) -> list[RawMember]:
    """Take the members out of an HDF5 file: a bundle by the names of its arrays, a data frame, or one matrix."""
    held = read_hdf5(path)
    if isinstance(held, dict) and "y_scores" in held and held["y_scores"].ndim == 3:
        return _from_bundle(found, held, path)
    if not isinstance(held, dict):
        return _from_arrays(found, name or member_name(path), held, ids, labels)
    matrices = [array for array in held.values() if array.ndim == 2 and array.dtype.kind == "f"]
    if len(matrices) != 1:
        raise ValueError(f"it must hold a bundle's arrays or one matrix of scores: got {first_names(list(held), 9)}")
    own_ids = read_ids(held["ids"]) if "ids" in held else ids
    own_labels = read_label_list(held["labels"]) if "labels" in held else labels
    if own_ids is None or own_labels is None:
        raise ValueError(NEEDS_NAMES)
    return [_named_matrix(name or member_name(path), np.array(matrices[0], np.float32), own_ids, own_labels, path)]


def _named_matrix(name: str, values: FloatArray, ids: npt.NDArray[np.str_], labels: LabelList, path: Path) -> RawMember:
    """Make a member of a matrix whose names are given beside it."""
    if values.shape != (len(ids), len(labels.names)):
        raise ValueError(
            f"it must have {len(ids)} rows and {len(labels.names)} columns, as ids and labels say: it has "
            f"{values.shape[0]} and {values.shape[1]}"
        )
    return RawMember(name, ids.tolist(), list(labels.names), values, path)


def _from_matrix(name: str, path: Path, ids: npt.NDArray[np.str_] | None, labels: LabelList | None) -> list[RawMember]:
    """Read a matrix whose names are given beside it."""
    if ids is None or labels is None:
        raise ValueError(NEEDS_NAMES)
    matrix = MatrixFile.open(path)
    values = np.empty((matrix.n_rows, matrix.n_columns), np.float32)
    matrix.read(slice(0, matrix.n_rows), slice(0, matrix.n_columns), values)
    return [_named_matrix(name, values, ids, labels, path)]


def _from_arrays(
    found: RawInputs, name: str | None, given: Any, ids: npt.NDArray[np.str_] | None, labels: LabelList | None
) -> list[RawMember]:
    """Take a frame, a matrix, or an array of several matrices."""
    array = read_array(given, name or "predictions")
    values = np.array(array.values, np.float32)
    if array.mask is not None:
        values[array.mask] = np.nan
    if values.ndim not in (2, 3):
        raise ValueError(f"scores must have shape (n_models, n_samples, n_labels): got {values.shape}")
    rows, columns = array.axis(values.ndim - 2), array.axis(values.ndim - 1)
    found.named = rows is not None or ids is not None
    row_names = [str(key) for key in rows.names] if rows is not None else None
    label_names = [str(key) for key in columns.names] if columns is not None else None
    row_names = row_names or (ids.tolist() if ids is not None else _count("sample", values.shape[-2]))
    label_names = label_names or (list(labels.names) if labels is not None else _count("label", values.shape[-1]))
    matrices = values if values.ndim == 3 else values[None]
    names = _count("model", len(matrices)) if values.ndim == 3 or name is None else [name]
    return [RawMember(own, row_names, label_names, matrix) for own, matrix in zip(names, matrices, strict=True)]


def _read_truth(found: RawInputs, truth: Any, ids: npt.NDArray[np.str_] | None, labels: LabelList | None) -> Truth:
    """Read the truth; one without names has those of the first member."""
    first = found.members[0] if found.members else None
    if ids is None and first is not None:
        ids = np.array(first.ids)
    known = labels
    if known is None and first is not None:
        known = LabelList(tuple(dict.fromkeys(label for member in found.members for label in member.labels)))
    names = labels.names if labels is not None else (tuple(first.labels) if first is not None else None)
    if isinstance(truth, np.ma.MaskedArray):
        read = read_truth(np.ma.getdata(truth), ids=ids, labels=names)
        return Truth(read.ids, read.labels, read.y_true, ~np.ma.getmaskarray(truth))
    return read_truth(truth, ids=ids, labels=names, known=known)


def _count(what: str, size: int) -> list[str]:
    """Make up names that only count."""
    return [f"{what}{place}" for place in range(size)]
