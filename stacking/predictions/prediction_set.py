"""The contract between those who predict and those who combine: scores of several models for the same samples.

Outside this class nobody indexes a three-dimensional array: rows, labels, models and subsets are asked for, so the same
code runs on an array in memory and on a store that does not fit it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from stacking._checks import (
    check_folds,
    check_frequency,
    check_groups,
    check_label_groups,
    check_mask,
    check_model_scores,
    check_names,
    check_or_make_names,
    check_sample_weight,
    check_y_scores,
    check_y_true,
    find_covered,
)
from stacking._earlier_names import Renamed
from stacking._typing import BoolArray, LabelArray, StringArray
from stacking.folds import sample_rows
from stacking.named_arrays import FrameForm, find_names, find_own_names, place_scores, read_scores
from stacking.predictions.fingerprint import hash_predictions
from stacking.predictions.label_rows import LabelRows
from stacking.predictions.named_axes import NamedAxes
from stacking.predictions.score_reader import ScoreReader
from stacking.predictions.selection import Selection, select_positions, take
from stacking.predictions.sources import ArraySource, ScoreSource, ViewSource
from stacking.truth import Truth, number_groups, relative_weights


class PredictionMetadata(TypedDict, total=False):
    """The metadata of a :class:`PredictionSet`, all optional; every key is described there."""

    y_true: npt.ArrayLike | None
    y_known: npt.ArrayLike | None
    sample_weight: npt.ArrayLike | None
    groups: npt.ArrayLike | None
    folds: npt.ArrayLike | None
    covers: npt.ArrayLike | None
    label_groups: npt.ArrayLike | None
    label_ids: npt.ArrayLike | None
    train_frequency: npt.ArrayLike | None
    extras: Mapping[str, Any] | None


class PredictionSet(NamedAxes, ScoreReader):
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
        Samples with equal values must share a fold; one whose value is blank (None, NaN, "") stands alone.
    folds : array-like of int, shape (n_samples,), optional
        Which fold's model scored the row, −1 for one model for all.
    covers : array-like of bool, shape (n_models, n_labels), optional
        Which labels each model answers.
    label_groups : array-like of str, shape (n_labels,), optional
        The group of every label, such as ``color``.
    label_ids : array-like of str, shape (n_labels,), optional
        The id of every label in the data set, where it is not its name; kept for files that need it.
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
    label_groups, label_ids : tuple of str or None
        As given.
    extras : dict
        As given.
    label_rows : LabelRows or None
        Truth of further rows that have no scores, see `with_label_rows`; never saved with the scores.
    form : FrameForm or None
        How the data frames that it was made of held their names, so that answers can hold them alike.

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
        label_ids: npt.ArrayLike | None = None,
        train_frequency: npt.ArrayLike | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        self.form: FrameForm | None = None
        if isinstance(y_scores, ScoreSource):
            self._source = y_scores
        else:
            scores = place_scores(read_scores(y_scores), {"ids": ids, "models": models, "labels": labels})
            self._source = ArraySource(check_y_scores(scores.values))
            self.form = scores.form
            ids = find_own_names(scores.rows, "ids") if ids is None else ids
            models = find_own_names(scores.models, "models") if models is None else models
            labels = find_own_names(scores.labels, "labels") if labels is None else labels
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
        self.sample_weight = None if sample_weight is None else check_sample_weight(sample_weight, n_samples)
        self.groups = None if groups is None else check_groups(groups, n_samples)
        self.folds = None if folds is None else check_folds(folds, n_samples)
        self.label_groups = None if label_groups is None else check_label_groups(label_groups, n_labels)
        self.label_ids: tuple[str, ...] | None = None
        if label_ids is not None:
            (label_ids,) = self._align_and_name(label_ids=label_ids)
            self.label_ids = tuple(check_names(label_ids, n_labels, name="label_ids").tolist())
        self.train_frequency = None if train_frequency is None else check_frequency(train_frequency, n_labels)
        self.extras: dict[str, Any] = dict(extras or {})
        self.label_rows: LabelRows | None = None
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
        Hash all names, scores and metadata, for manifests: SHA-256 in hexadecimal.

        Equal contents have equal fingerprints whether they are in memory, in a bundle or in a float32 store.
        """
        names = {"ids": self.ids.tolist(), "models": self.models, "labels": self.labels, "groups": self.label_groups}
        if self.label_ids is not None:
            names["label_ids"] = self.label_ids
        hashed = ("y_true", "y_known", "sample_weight", "groups", "folds", "covers", "train_frequency")
        taught = "" if self.label_rows is None else self.label_rows.fingerprint
        return hash_predictions(names, self._source, {name: getattr(self, name) for name in hashed}, taught)

    @cached_property
    def truth(self) -> Truth:
        """
        Give the truth with what counts of it: known cells, weights without their unit, groups.

        Returns
        -------
        Truth
            What everything that is fitted, tuned, dealt or scored looks at.

        Raises
        ------
        ValueError
            If the set has no truth.
        """
        if self.y_true is None:
            raise ValueError("predictions must carry y_true: use with_truth(y_true).")
        weight = None if self.sample_weight is None else relative_weights(self.sample_weight)
        groups = None if self.groups is None else number_groups(self.groups)
        return Truth(self.y_true.view(np.bool_), self.y_known, weight, groups)

    @property
    def counted(self) -> BoolArray | None:
        """Mark the rows that weigh something and hold a known cell, shape (n_samples,); None if all do."""
        if self.y_true is not None:
            return self.truth.counted
        return None if self.sample_weight is None or self.sample_weight.all() else self.sample_weight > 0

    def only_counted(self) -> "PredictionSet":
        """
        Keep what counts: no row of weight 0 or without a known cell, no truth that is not known, no unit of weights.

        Returns
        -------
        PredictionSet
            A view, or the set itself where all counts already.

        Raises
        ------
        ValueError
            If all rows weigh 0, or no cell of one that does not is known.
        """
        return self._only_counted

    @cached_property
    def _only_counted(self) -> "PredictionSet":
        """The same set each time, so that who asks again sees the same rows."""
        if self.sample_weight is None and self.y_known is None and self.groups is None:
            return self
        if self.sample_weight is not None and not self.sample_weight.any():
            raise ValueError(f"sample_weight must not be 0 for all samples: got {self.n_samples} zeros.")
        kept = self if self.counted is None else self.subset(samples=self.counted)
        if self.y_true is None:
            weight = None if kept.sample_weight is None else relative_weights(kept.sample_weight)
            return kept._with(sample_weight=weight)._counted_alone()
        self.truth.check_counted()
        truth = self.truth.only_counted()
        y_true = truth.y_true.view(np.uint8)
        parts = {"y_known": truth.y_known, "sample_weight": truth.sample_weight, "groups": truth.groups}
        return kept._with(y_true=y_true, **parts)._counted_alone()

    def _counted_alone(self) -> "PredictionSet":
        """Remember that all of it counts."""
        self.__dict__["_only_counted"] = self
        return self

    def only_answered(self) -> "PredictionSet":
        """
        Keep the labels that some model covers.

        Returns
        -------
        PredictionSet
            A view, or the set itself where every label is covered.

        Raises
        ------
        ValueError
            If no label is.
        """
        return self._only_answered

    @cached_property
    def _only_answered(self) -> "PredictionSet":
        """The same set each time, as for `_only_counted`."""
        answered = self.covers.any(axis=0)
        if not answered.any():
            raise ValueError(f"predictions must answer some label: got {self.n_models} models that cover none.")
        return self if answered.all() else self.subset(labels=answered)

    def sample(
        self,
        max_rows: int | None,
        *,
        stratified: bool = False,
        random_state: int | np.random.Generator | None = 0,
    ) -> "PredictionSet":
        """
        Draw rows that count, whole groups only (`stacking.folds.sample_rows`).

        Parameters
        ----------
        max_rows : int or None
            Upper limit; None takes all.
        stratified : bool, default=False
            Whether every label's positives are drawn in the same share.
        random_state : int, Generator or None, default=0
            Which rows.

        Returns
        -------
        PredictionSet
            A view of them in their order.
        """
        rows = sample_rows(self.truth, max_rows, stratified=stratified, random_state=random_state)
        return self if rows is None else self.subset(samples=rows)

    def subset(
        self, *, samples: Selection | None = None, models: Selection | None = None, labels: Selection | None = None
    ) -> "PredictionSet":
        """
        Select samples, models or labels without reading scores.

        Parameters
        ----------
        samples : array-like of bool or int, or slice, optional
            A mask over the samples (a series is matched by its index), or positions in the order wanted (a position may
            repeat, as in a bootstrap).
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
        samples, models, labels = self.align_masks(samples=samples, models=models, labels=labels)
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
        if self.label_ids is not None and columns is not None:
            view.label_ids = tuple(self.label_ids[i] for i in columns)
        view.train_frequency = take(self.train_frequency, columns)
        view.label_rows = None if self.label_rows is None else self.label_rows.labels(columns)
        return view

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
            Samples with an equal value share a fold; one whose value is blank (None, NaN, "") stands alone.

        Returns
        -------
        PredictionSet
            The same scores with these groups.
        """
        other = self._copy()
        (groups,) = other._align_and_name(groups=groups)
        other.groups = None if groups is None else check_groups(groups, self.n_samples)
        if self.label_rows is not None:
            other.label_rows = self.label_rows.without(other.ids, other.groups, other.y_true)
        return other

    def with_label_rows(
        self,
        label_rows: LabelRows | npt.ArrayLike,
        *,
        y_known: npt.ArrayLike | None = None,
        ids: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> "PredictionSet":
        """
        Give the set the truth of further rows that no model has scored: they teach what labels go together.

        Parameters
        ----------
        label_rows : LabelRows or array-like of shape (n_rows, n_labels)
            The truth, 0 or 1, labels in the set's order; a data frame is matched by its columns, and its index names
            the rows where it holds names. Rows that are scored, or of a group of a scored row, are left
            out with a warning; without `ids` that is up to the caller.
        y_known : array-like of bool, shape (n_rows, n_labels), optional
            False where a label was not annotated.
        ids : array-like of str, shape (n_rows,), optional
            Names of the rows.
        groups : array-like of shape (n_rows,), optional
            Groups of the rows.

        Returns
        -------
        PredictionSet
            The same scores with these rows, instead of those that it had.

        Raises
        ------
        ValueError
            If a shape or value is wrong, or they are the scored rows.
        """
        if not isinstance(label_rows, LabelRows):
            ids = find_names("label row", {"label_rows": label_rows}) if ids is None else ids
            label_rows, y_known = self.align(label_rows=label_rows, label_rows_known=y_known)
            label_rows = LabelRows.check(label_rows, n_labels=self.n_labels, y_known=y_known, ids=ids, groups=groups)
        elif label_rows.y_true.shape[1] != self.n_labels:
            raise ValueError(
                f"label_rows must hold the {self.n_labels} labels of the predictions: got {label_rows.y_true.shape[1]}."
            )
        other = self._copy()
        other.label_rows = label_rows.without(self.ids, self.groups, self.y_true)
        return other

    facts = Renamed("metadata")

    def metadata(self) -> PredictionMetadata:
        """
        Give everything but scores and names, to build a set with other scores.

        Returns
        -------
        dict
            The optional arguments of `PredictionSet`.
        """
        return PredictionMetadata(
            y_true=self.y_true,
            y_known=self.y_known,
            sample_weight=self.sample_weight,
            groups=self.groups,
            folds=self.folds,
            covers=self.covers,
            label_groups=self.label_groups,
            label_ids=self.label_ids,
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

    def _repr_html_(self) -> str:
        """Show the size, the models and the truth in a notebook; no score is read."""
        from stacking.predictions.notebook import prediction_card

        return prediction_card(self)

    def _copy(self) -> "PredictionSet":
        """Copy the set without its arrays and without what is cached."""
        cached = {name for name, value in vars(PredictionSet).items() if isinstance(value, cached_property)}
        other = object.__new__(type(self))
        other.__dict__.update({key: value for key, value in self.__dict__.items() if key not in cached})
        other.extras = dict(self.extras)
        return other

    def _with(self, **metadata: Any) -> "PredictionSet":
        """Copy the set with other metadata; the set itself where they are the same."""
        if all(getattr(self, name) is value for name, value in metadata.items()):
            return self
        other = self._copy()
        other.__dict__.update(metadata)
        return other

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
