"""Members and truth side by side, matched by what names they share, for the checks that look at numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, FloatArray, IntArray
from stacking.diagnosis.raw_inputs import RawInputs, RawMember
from stacking.predictions.prediction_set import PredictionSet

MAX_LABELS = 400
"""Labels whose scores are compared with each other's, the most frequent: the cost grows with their square. A choice."""


@dataclass(frozen=True)
class Matched:
    """Scores of several members for the samples and labels that all name, and their truth.

    Attributes
    ----------
    models : list of str
        The members.
    ids, labels : list of str
        Samples and labels in the truth's order; without a truth in the first member's.
    scores : ndarray of float32, shape (n_models, n_samples, n_labels)
        As they came, NaN where a member has none.
    y_true : ndarray of bool, shape (n_samples, n_labels), or None
        The truth, False where it is not known.
    groups : ndarray or None
        Group of each sample.
    folds : ndarray or None
        Which fold's model scored each sample.
    file_rows : list of ndarray of int
        For each member, where the sample of each row of its file stands in `ids`; −1 where it is not there.
    paths : list of Path or None
        Its file.
    truth_path : Path or None
        Its file.
    named : bool
        Whether samples have names.
    y_known : ndarray of bool, shape (n_samples, n_labels), or None
        False where the truth is not known; None where all of it is.
    """

    models: list[str]
    ids: list[str]
    labels: list[str]
    scores: FloatArray
    y_true: BoolArray | None = None
    groups: npt.NDArray[np.generic] | None = None
    folds: npt.NDArray[np.generic] | None = None
    file_rows: Sequence[IntArray] = ()
    paths: Sequence[Path | None] = ()
    truth_path: Path | None = None
    named: bool = True
    y_known: BoolArray | None = None

    @property
    def n_samples(self) -> int:
        """Count the samples."""
        return len(self.ids)

    @cached_property
    def standard(self) -> FloatArray:
        """The scores with mean 0 and standard deviation 1 per member and label; 0 where constant or missing."""
        return np.stack([standardize(matrix) for matrix in self.scores])

    @cached_property
    def _total(self) -> FloatArray:
        """The standardized scores of all members, added."""
        total: FloatArray = self.standard.sum(axis=0)
        return total

    @cached_property
    def standard_truth(self) -> FloatArray | None:
        """The truth, likewise; 0 where it is not known."""
        if self.y_true is None:
            return None
        return standardize(np.where(self.known, self.y_true, np.nan).astype(np.float32))

    @cached_property
    def known(self) -> BoolArray:
        """Which cells are annotated, shape (n_samples, n_labels)."""
        whole = np.ones((self.n_samples, len(self.labels)), np.bool_)
        return whole if self.y_known is None else self.y_known

    def others(self, member: int) -> FloatArray:
        """Average the standardized scores of all members but one.

        Parameters
        ----------
        member : int
            Its position.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            With mean 0 per label; 0 where there is no other member.
        """
        rest = self._total - self.standard[member]
        return rest / max(len(self.models) - 1, 1)

    def path_of(self, member: int) -> Path | None:
        """Return the file of a member, None if it has none of its own.

        Parameters
        ----------
        member : int
            Its position.

        Returns
        -------
        Path or None
            A table's or a matrix's.
        """
        return self.paths[member] if member < len(self.paths) else None

    def with_frequent_labels(self) -> Matched:
        """Keep at most `MAX_LABELS` labels, the most frequent.

        Returns
        -------
        Matched
            Itself where there are no more.
        """
        if len(self.labels) <= MAX_LABELS:
            return self
        weight = self.y_true.sum(axis=0) if self.y_true is not None else np.nansum(self.scores, axis=(0, 1))
        kept = np.sort(np.argsort(-weight, kind="stable")[:MAX_LABELS])
        y_true, y_known = (None if part is None else part[:, kept] for part in (self.y_true, self.y_known))
        labels = [self.labels[i] for i in kept]
        return replace(self, labels=labels, scores=self.scores[:, :, kept], y_true=y_true, y_known=y_known)


def standardize(values: FloatArray) -> FloatArray:
    """Give each column mean 0 and standard deviation 1.

    Parameters
    ----------
    values : ndarray of float32, shape (n_samples, n_labels)
        May hold NaN.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_labels)
        0 where a value is missing or a column is constant.
    """
    known = np.isfinite(values)
    n_known = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values, np.float32(0))
    centered = np.where(known, filled - filled.sum(axis=0, dtype=np.float64) / n_known, 0.0)
    spread: DoubleArray = np.sqrt((centered * centered).sum(axis=0) / n_known)
    scale = np.abs(filled).max(axis=0, initial=0.0)
    varies = spread > 1e-6 * np.maximum(scale, 1e-30)  # float32 holds seven digits: less is rounding
    standard: FloatArray = np.where(varies, centered / np.where(varies, spread, 1.0), 0.0).astype(np.float32)
    return standard


def match_inputs(raw: RawInputs, renamed: Mapping[str, Mapping[str, str]]) -> Matched | None:
    """Bring members and truth side by side by their names, as far as they share them.

    Parameters
    ----------
    raw : RawInputs
        What was read.
    renamed : mapping of str to mapping of str to str
        By member: what misspelt labels are taken for.

    Returns
    -------
    Matched or None
        None where there is no member, or no sample or label that all name.
    """
    if not raw.members:
        return None
    first = raw.members[0]
    ids = raw.truth.ids.tolist() if raw.truth is not None else list(dict.fromkeys(first.ids))
    labels = list(raw.truth.labels) if raw.truth is not None else _shared_order(raw.members, renamed)
    held = [set(member.ids) for member in raw.members]
    keep = np.array([all(name in own for own in held) for name in ids], np.bool_)
    kept = [name for name, is_kept in zip(ids, keep, strict=True) if is_kept]
    if not kept or not labels:
        return None
    scores = np.stack([_place(member, kept, labels, renamed.get(member.name, {})) for member in raw.members])
    position = {name: place for place, name in enumerate(kept)}
    y_true = y_known = groups = folds = None
    if raw.truth is not None:
        y_true = raw.truth.y_true.astype(np.bool_)[keep]
        y_known = None if raw.truth.y_known is None else raw.truth.y_known.astype(np.bool_)[keep]
        y_true = y_true if y_known is None else y_true & y_known
        groups, folds = (_per_sample(raw.truth.metadata.get(key), keep) for key in ("groups", "folds"))
        folds = _per_sample(raw.folds, keep) if folds is None else folds
    rows = [np.array([position.get(name, -1) for name in member.ids], np.int64) for member in raw.members]
    paths = [member.path for member in raw.members]
    models = [member.name for member in raw.members]
    files = (rows, paths, raw.truth_path)
    return Matched(models, kept, labels, scores, y_true, groups, folds, *files, raw.named, y_known)


def match_set(predictions: PredictionSet) -> Matched:
    """Take a prediction set, which is matched already.

    Parameters
    ----------
    predictions : PredictionSet
        Its scores are read into memory.

    Returns
    -------
    Matched
        The same.
    """
    y_true = None if predictions.y_true is None else predictions.truth.y_true
    return Matched(
        list(predictions.models),
        predictions.ids.tolist(),
        list(predictions.labels),
        predictions.to_array(),
        y_true,
        predictions.groups,
        predictions.folds,
        y_known=predictions.y_known,
    )


def _shared_order(members: Sequence[RawMember], renamed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """List the labels of all members in order of appearance, misspelt ones by their right names."""
    return list(dict.fromkeys(renamed.get(one.name, {}).get(label, label) for one in members for label in one.labels))


def _place(member: RawMember, ids: list[str], labels: list[str], renamed: Mapping[str, str]) -> FloatArray:
    """Put a member's scores in the order of ids and labels; of what is there twice, the first."""
    row_of = {name: place for place, name in reversed(list(enumerate(member.ids)))}
    column_of = {renamed.get(name, name): place for place, name in reversed(list(enumerate(member.labels)))}
    placed = np.full((len(ids), len(labels)), np.nan, np.float32)
    columns = [(place, column_of[label]) for place, label in enumerate(labels) if label in column_of]
    if columns:
        rows = np.array([row_of[name] for name in ids])
        own, theirs = np.array(columns).T
        placed[:, own] = member.values[np.ix_(rows, theirs)]
    return placed


def _per_sample(values: object, keep: BoolArray) -> npt.NDArray[np.generic] | None:
    """Take what is known of the samples that are kept."""
    if values is None:
        return None
    array = np.asarray(values)
    return array[keep] if len(array) == len(keep) else None
