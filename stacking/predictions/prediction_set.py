"""The contract between those who predict and those who combine: scores of several models for the same samples.

Outside this class nobody indexes a three-dimensional array: rows, labels, models and subsets are asked for, so the same
code runs on an array in memory and on a store that does not fit it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from stacking._checks import (
    BoolArray,
    DoubleArray,
    FloatArray,
    LabelArray,
    StringArray,
    check_folds,
    check_frequency,
    check_label_groups,
    check_mask,
    check_model_scores,
    check_names,
    check_or_make_names,
    check_per_sample,
    check_sample_weight,
    check_y_scores,
    check_y_true,
    find_covered,
)
from stacking.named_arrays import AxisNames, align_by_name, find_names, find_own_names, place_scores, read_scores
from stacking.predictions.selection import Selection, select_positions, take
from stacking.predictions.sources import (
    ALL,
    BLOCK_BYTES,
    ArraySource,
    ScoreSource,
    ViewSource,
    hash_scores,
    rows_per_block,
)

SLOW_LABEL_BYTES = 8 * BLOCK_BYTES


class PredictionFacts(TypedDict, total=False):
    """What a :class:`PredictionSet` may know besides scores and names; every key is described there."""

    y_true: npt.ArrayLike | None
    y_known: npt.ArrayLike | None
    sample_weight: npt.ArrayLike | None
    groups: npt.ArrayLike | None
    folds: npt.ArrayLike | None
    covers: npt.ArrayLike | None
    label_groups: npt.ArrayLike | None
    train_frequency: npt.ArrayLike | None
    extras: Mapping[str, Any] | None


class PredictionSet:
    """
    Scores of several models for the same samples and labels; lazy.

    A model may answer only some labels: ``covers`` is False there and the scores are NaN there and only there. Where
    ``covers`` is not given, a label that is NaN in every row of a model counts as not covered. Scores are float32
    whatever came in.

    Parameters
    ----------
    y_scores : array-like of shape (n_models, n_samples, n_labels), frames, or ScoreSource
        Probabilities in [0, 1], dimensionless. A mapping of model names to data frames, a list of them, or one frame is
        matched by index and columns; a masked score is a missing one. A source (files on disk) is trusted to have been
        checked when it was written or loaded.
    ids, models, labels : array-like of str or int, optional
        Unique names; default those of data frames among the arguments, else ``sample0 …``, ``model0 …``, ``label0 …``.
        All other arguments go by these names where they carry names (data frames, series, mappings), else by position.
    y_true : array-like of shape (n_samples, n_labels), optional
        The truth, 0 or 1; where a masked array masks a cell, `y_known` is False.
    y_known : array-like of bool, shape (n_samples, n_labels), optional
        False where the label was not annotated and counts neither way.
    sample_weight : array-like of shape (n_samples,), optional
        Non-negative weights of the samples, any scale.
    groups : array-like of int or str, shape (n_samples,), optional
        Samples with equal values must share a fold.
    folds : array-like of int, shape (n_samples,), optional
        Which fold's model scored the row, −1 for one model for all.
    covers : array-like of bool, shape (n_models, n_labels), optional
        Which labels each model answers.
    label_groups : array-like of str, shape (n_labels,), optional
        The group of every label, such as ``color``.
    train_frequency : array-like of shape (n_labels,), optional
        Share of positives in the data that the members were trained on, in [0, 1].
    extras : mapping, optional
        Anything else; carried along unchanged, also by `subset`.

    Attributes
    ----------
    ids : ndarray of str, shape (n_samples,)
        Names of the samples.
    models, labels : tuple of str
        Names of the models and labels.
    y_true, y_known, sample_weight, groups, folds, train_frequency : ndarray or None
        As given: uint8, bool, float64, int64 or str, int64 and float64.
    covers : ndarray of bool, shape (n_models, n_labels)
        Always an array.
    label_groups : tuple of str or None
        As given.
    extras : dict
        As given.

    Raises
    ------
    TypeError
        If an argument does not hold numbers or names.
    ValueError
        If shapes disagree, a name appears twice, or a score is NaN where covered, outside [0, 1], or present where not
        covered; the error names model, row and label.

    Notes
    -----
    Arrays are not copied where they already have the wanted form: do not change them afterwards, and treat what the
    iterators hand out as read-only.

    Examples
    --------
    >>> predictions = PredictionSet([[[0.9, 0.2]], [[0.5, 0.4]]], models=["cnn", "vit"], labels=["dress", "red"])
    >>> predictions.subset(models=["vit"]).to_array().tolist()
    [[[0.5, 0.4000000059604645]]]
    """

    def __init__(  # noqa: PLR0913 - the contract names every field
        self,
        y_scores: Any,
        ids: npt.ArrayLike | None = None,
        models: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        *,
        y_true: npt.ArrayLike | None = None,
        y_known: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        folds: npt.ArrayLike | None = None,
        covers: npt.ArrayLike | None = None,
        label_groups: npt.ArrayLike | None = None,
        train_frequency: npt.ArrayLike | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(y_scores, ScoreSource):
            self._source = y_scores
        else:
            scores = place_scores(read_scores(y_scores), {"ids": ids, "models": models, "labels": labels})
            self._source = ArraySource(check_y_scores(scores.values))
            ids = find_own_names(scores.rows) if ids is None else ids
            models = find_own_names(scores.models) if models is None else models
            labels = find_own_names(scores.labels) if labels is None else labels
        n_models, n_samples, n_labels = self._source.shape
        self.ids: StringArray = check_or_make_names(ids, n_samples, "sample", "ids")
        self.models: tuple[str, ...] = tuple(check_or_make_names(models, n_models, "model", "models").tolist())
        self.labels: tuple[str, ...] = tuple(check_or_make_names(labels, n_labels, "label", "labels").tolist())
        self.y_true: LabelArray | None = None
        self.y_known: BoolArray | None = None
        y_true, y_known, sample_weight, groups, folds, covers, label_groups, train_frequency = self._align_and_name(
            y_true=y_true,
            y_known=y_known,
            sample_weight=sample_weight,
            groups=groups,
            folds=folds,
            covers=covers,
            label_groups=label_groups,
            train_frequency=train_frequency,
        )
        self._set_truth(y_true, y_known)
        self.sample_weight: DoubleArray | None = None
        if sample_weight is not None:
            self.sample_weight = check_sample_weight(sample_weight, n_samples)
        self.groups = None if groups is None else check_per_sample(groups, n_samples, "groups")
        self.folds = None if folds is None else check_folds(folds, n_samples)
        self.label_groups: tuple[str, ...] | None = None
        if label_groups is not None:
            self.label_groups = check_label_groups(label_groups, n_labels)
        self.train_frequency: DoubleArray | None = None
        if train_frequency is not None:
            self.train_frequency = check_frequency(train_frequency, n_labels)
        self.extras: dict[str, Any] = dict(extras or {})
        self.covers: BoolArray = self._checked_coverage(covers)

    @property
    def n_models(self) -> int:
        """Count the models."""
        return len(self.models)

    @property
    def n_samples(self) -> int:
        """Count the samples."""
        return len(self.ids)

    @property
    def n_labels(self) -> int:
        """Count the labels."""
        return len(self.labels)

    @property
    def source(self) -> ScoreSource:
        """Give the source that the scores are read from, for code that moves scores; combiners use the iterators."""
        return self._source

    @cached_property
    def fingerprint(self) -> str:
        """
        Hash all names, scores and facts, for manifests.

        Equal contents have equal fingerprints whether they are in memory, in a bundle or in a float32 store.

        Returns
        -------
        str
            SHA-256 in hexadecimal. Scores in memory are read for it once; a whole store has recorded their hashes.
        """
        digest = hashlib.sha256()
        names = {"ids": self.ids.tolist(), "models": self.models, "labels": self.labels, "groups": self.label_groups}
        digest.update(json.dumps(names).encode())
        for model in range(self.n_models):
            digest.update(hash_scores(self._source, model).encode())
        for name in ("y_true", "y_known", "sample_weight", "groups", "folds", "covers", "train_frequency"):
            values = getattr(self, name)
            if values is not None:
                is_text = values.dtype.kind == "U"
                content = json.dumps(values.tolist()).encode() if is_text else np.ascontiguousarray(values).tobytes()
                digest.update(f"{name}{values.shape}{values.dtype.kind}".encode() + content)
        return digest.hexdigest()

    def iter_rows(self, block: int | None = None) -> Iterator[tuple[slice, FloatArray]]:
        """
        Go through the samples in order, a block of rows at a time.

        Parameters
        ----------
        block : int, optional
            Rows per block; by default as many as fill 64 MiB.

        Yields
        ------
        rows : slice
            Which samples.
        scores : ndarray of float32, shape (n_models, n_rows, n_labels)
            Their scores, C-ordered, NaN exactly where not covered; read-only by agreement.

        Notes
        -----
        Costs one sequential read of the scores. An array in memory that fits one block is handed out without a copy.
        """
        block = self._block(block, rows_per_block(self.n_models * self.n_labels))
        if block >= self.n_samples and isinstance(self._source, ArraySource):
            yield slice(0, self.n_samples), self._source.y_scores
            return
        for start in range(0, self.n_samples, block):
            rows = slice(start, min(start + block, self.n_samples))
            yield rows, self._read(rows, ALL)

    def iter_labels(self, block: int = 1) -> Iterator[tuple[slice, FloatArray]]:
        """
        Go through the labels in order, a few at a time, with all samples of each.

        Parameters
        ----------
        block : int, default=1
            Labels per block.

        Yields
        ------
        labels : slice
            Which labels.
        scores : ndarray of float32, shape (n_models, n_samples, n_block)
            Their scores, C-ordered; read-only by agreement.

        Notes
        -----
        Memory is bounded by two panels of labels, each of one block or, where more fits, 64 MiB (512 MiB for files
        without a by-label copy). Such files are read once per panel: with 6 models and 228 labels of a million rows
        (5.5 GB) that is 11 times. A store with a by-label copy (``labelstack pack --by-label``) is read once.
        """
        block = self._block(block, 1)
        budget = BLOCK_BYTES if self._source.reads_labels_fast else SLOW_LABEL_BYTES
        fits = rows_per_block(self.n_models * self.n_samples, budget)
        step = max(block, fits // block * block)
        for start in range(0, self.n_labels, step):
            stop = min(start + step, self.n_labels)
            panel = self._read_panel(slice(start, stop))
            for first in range(start, stop, block):
                part = panel[first - start : min(first + block, stop) - start]
                yield slice(first, first + len(part)), np.ascontiguousarray(part.transpose(1, 2, 0))

    def model_scores(self, model: int | str) -> FloatArray:
        """
        Read one model's whole matrix.

        Parameters
        ----------
        model : int or str
            The model's position or name.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Its scores, NaN where not covered; read-only by agreement.
        """
        position = int(select_positions([model], self.models, "models")[0])
        if isinstance(self._source, ArraySource):
            return self._source.y_scores[position]
        scores = np.empty((self.n_samples, self.n_labels), np.float32)
        self._source.read(position, slice(0, self.n_samples), ALL, scores)
        return scores

    def subset(
        self, *, samples: Selection | None = None, models: Selection | None = None, labels: Selection | None = None
    ) -> "PredictionSet":
        """
        Select samples, models or labels without reading scores.

        Parameters
        ----------
        samples : array-like of bool or int, or slice, optional
            A mask over the samples, or positions in the order wanted (a position may repeat, as in a bootstrap).
        models, labels : array-like of str, int or bool, or slice, optional
            Names, positions or a mask, in the order wanted, each at most once.

        Returns
        -------
        PredictionSet
            A view; subsets of subsets refer to the first source.

        Raises
        ------
        ValueError
            If a name or position does not exist, is repeated, or nothing is left.
        """
        rows = None if samples is None else select_positions(samples, self.n_samples, "samples")
        members = None if models is None else select_positions(models, self.models, "models")
        columns = None if labels is None else select_positions(labels, self.labels, "labels")
        view = self._copy()
        if rows is None and members is None and columns is None:
            return view
        view._source = ViewSource(self._source, members, rows, columns)
        view.ids = take(self.ids, rows)
        view.models = self.models if members is None else tuple(self.models[i] for i in members)
        view.labels = self.labels if columns is None else tuple(self.labels[i] for i in columns)
        view.y_true = take(take(self.y_true, rows), columns, 1)
        view.y_known = take(take(self.y_known, rows), columns, 1)
        view.sample_weight = take(self.sample_weight, rows)
        view.groups = take(self.groups, rows)
        view.folds = take(self.folds, rows)
        view.covers = take(take(self.covers, members), columns, 1)
        if self.label_groups is not None and columns is not None:
            view.label_groups = tuple(self.label_groups[i] for i in columns)
        view.train_frequency = take(self.train_frequency, columns)
        return view

    def to_array(self) -> FloatArray:
        """
        Read all scores.

        Returns
        -------
        ndarray of float32, shape (n_models, n_samples, n_labels)
            The scores, C-ordered; the set's own array where it is in memory already: read-only by agreement.
        """
        if isinstance(self._source, ArraySource):
            return self._source.y_scores
        return self._read(slice(0, self.n_samples), ALL)

    def in_memory(self) -> "PredictionSet":
        """
        Read all scores and keep them.

        Returns
        -------
        PredictionSet
            The same set backed by an array.
        """
        loaded = self._copy()
        loaded._source = ArraySource(self.to_array())
        return loaded

    def with_truth(self, y_true: npt.ArrayLike, y_known: npt.ArrayLike | None = None) -> "PredictionSet":
        """
        Give the set another truth.

        Parameters
        ----------
        y_true : array-like of shape (n_samples, n_labels)
            The truth, rows and columns in the set's order; a data frame is matched by its index and columns, and what a
            masked array masks is not known.
        y_known : array-like of bool, shape (n_samples, n_labels), optional
            False where the label was not annotated.

        Returns
        -------
        PredictionSet
            The same scores with this truth.
        """
        other = self._copy()
        other._set_truth(*other._align_and_name(y_true=y_true, y_known=y_known))
        return other

    def with_groups(self, groups: npt.ArrayLike | None) -> "PredictionSet":
        """
        Give the set other groups.

        Parameters
        ----------
        groups : array-like of shape (n_samples,) or None
            Samples with an equal value share a fold.

        Returns
        -------
        PredictionSet
            The same scores with these groups.
        """
        other = self._copy()
        (groups,) = other._align_and_name(groups=groups)
        other.groups = None if groups is None else check_per_sample(groups, self.n_samples, "groups")
        return other

    def align(self, **arguments: Any) -> tuple[Any, ...]:
        """
        Bring arrays about the set's samples, labels or models into its order.

        Parameters
        ----------
        **arguments : array-like, data frame, series, mapping or None
            By the names that they have as arguments: ``folds``, ``y_true`` …

        Returns
        -------
        tuple
            The arguments in the order given, without names.

        Raises
        ------
        ValueError
            If one has names that are not the set's; one without names goes by position.
        """
        if all(value is None or type(value) is np.ndarray for value in arguments.values()):
            return tuple(arguments.values())
        return align_by_name({axis: ("the predictions", names) for axis, names in self._axes().items()}, **arguments)

    def facts(self) -> PredictionFacts:
        """
        Give everything but scores and names, to build a set with other scores.

        Returns
        -------
        dict
            The optional arguments of `PredictionSet`.
        """
        return PredictionFacts(
            y_true=self.y_true,
            y_known=self.y_known,
            sample_weight=self.sample_weight,
            groups=self.groups,
            folds=self.folds,
            covers=self.covers,
            label_groups=self.label_groups,
            train_frequency=self.train_frequency,
            extras=self.extras,
        )

    def __repr__(self) -> str:
        """Describe the set in one line."""
        truth = "with truth" if self.y_true is not None else "without truth"
        return (
            f"PredictionSet({self.n_models} models × {self.n_samples} samples × {self.n_labels} labels, {truth}, "
            f"{type(self._source).__name__})"
        )

    def _copy(self) -> "PredictionSet":
        """Copy the set without its arrays and without the cached fingerprint."""
        other = object.__new__(type(self))
        other.__dict__.update({key: value for key, value in self.__dict__.items() if key != "fingerprint"})
        other.extras = dict(self.extras)
        return other

    def _axes(self) -> dict[str, AxisNames]:
        """Give the names along each axis as arguments are matched with them."""
        return {
            "row": AxisNames.of(self.ids.tolist(), "sample"),
            "label": AxisNames.of(self.labels, "label"),
            "model": AxisNames.of(self.models, "model"),
        }

    def _align_and_name(self, **arguments: Any) -> tuple[Any, ...]:
        """Bring arguments into the set's order; where it has no names of its own it takes theirs."""
        aligned = self.align(**arguments)
        if all(one is other for one, other in zip(aligned, arguments.values(), strict=True)):
            return aligned
        own = self._axes()
        found = {axis: find_names(axis, arguments) if own[axis].is_made_up else None for axis in own}
        if found["row"] is not None:
            self.ids = check_names(found["row"], self.n_samples, name="ids")
        if found["label"] is not None:
            self.labels = tuple(check_names(found["label"], self.n_labels, name="labels").tolist())
        if found["model"] is not None:
            self.models = tuple(check_names(found["model"], self.n_models, name="models").tolist())
        return aligned

    def _set_truth(self, y_true: npt.ArrayLike | None, y_known: npt.ArrayLike | None) -> None:
        """Check and keep a truth."""
        _, n_samples, n_labels = self._source.shape
        self.y_true = None if y_true is None else check_y_true(y_true, n_samples=n_samples, n_labels=n_labels)
        self.y_known = None if y_known is None else check_mask(y_known, n_samples=n_samples, n_labels=n_labels)

    def _checked_coverage(self, covers: npt.ArrayLike | None) -> BoolArray:
        """Check the coverage given, or find it, and check scores in memory against it."""
        n_models, _, n_labels = self._source.shape
        if covers is not None:
            known = check_mask(covers, n_samples=n_models, n_labels=n_labels, name="covers")
        elif isinstance(self._source, ArraySource):
            known = np.stack([find_covered(matrix) for matrix in self._source.y_scores])
        else:
            known = np.ones((n_models, n_labels), np.bool_)
        if isinstance(self._source, ArraySource):
            for name, matrix, columns in zip(self.models, self._source.y_scores, known, strict=True):
                check_model_scores(matrix, columns, model=name, ids=self.ids, labels=self.labels)
        return known

    def _block(self, block: int | None, default: int) -> int:
        """Check a block size."""
        if block is None:
            return default
        if block < 1:
            raise ValueError(f"block must be at least 1: got {block}.")
        return int(block)

    def _read(self, rows: slice, labels: slice) -> FloatArray:
        """Read the scores of all models for some rows and labels into new memory."""
        n_labels = len(range(*labels.indices(self.n_labels)))
        scores = np.empty((self.n_models, rows.stop - rows.start, n_labels), np.float32)
        for model in range(self.n_models):
            self._source.read(model, rows, labels, scores[model])
        return scores

    def _read_panel(self, labels: slice) -> FloatArray:
        """Read some labels of all samples, label first, so that one label lies together."""
        panel = np.empty((labels.stop - labels.start, self.n_models, self.n_samples), np.float32)
        for model in range(self.n_models):
            self._source.read(model, slice(0, self.n_samples), labels, panel[:, model].T)
        return panel


def as_prediction_set(predictions: Any, y_true: npt.ArrayLike | None = None) -> PredictionSet:
    """
    Take predictions in whatever form they came.

    Parameters
    ----------
    predictions : PredictionSet, array-like of shape (n_models, n_samples, n_labels) or (n_samples, n_labels), or frames
        A set is returned as it is; an array gets the names ``model0 …``, ``sample0 …``, ``label0 …``; a matrix is one
        model; data frames (one, a list, or a mapping by model) keep theirs.
    y_true : array-like of shape (n_samples, n_labels), optional
        The truth; replaces the set's own (and its `y_known`) where given.

    Returns
    -------
    PredictionSet
        The predictions.

    Raises
    ------
    TypeError
        If the scores are not numbers.
    ValueError
        If the array has another number of dimensions, or scores or truth are invalid.
    """
    if isinstance(predictions, PredictionSet):
        return predictions if y_true is None else predictions.with_truth(y_true)
    scores = read_scores(predictions)
    values = scores.values[None] if scores.values.ndim == 2 else scores.values
    return PredictionSet(replace(scores, values=values), y_true=y_true)
