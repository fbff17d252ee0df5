"""The contract every combiner keeps: fit on a prediction set, realign by name, predict one score per sample and label.

Voting (``stacking.combiners.voting``) and meta-learners (``stacking.combiners.meta_learners``) share all that has
nothing to do with *how* they combine: wrapping plain arrays, checking the truth, remembering the names they were fitted
on, putting members and labels back into that order at prediction, leaving out members on request, streaming rows so
that memory stays bounded, cross-fitting, and the plain-data state that is saved.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from optimizers.registry import did_you_mean
from stacking._checks import check_folds, first_names
from stacking._earlier_names import Renamed
from stacking._typing import BoolArray, FloatArray, IndexArray
from stacking.combiners.shared_fits import shared_fits
from stacking.named_arrays import AxisNames, align_by_name, find_own_names, read_scores
from stacking.predictions import PredictionSet, as_prediction_set
from stacking.predictions.alignment import name_by_position
from stacking.process.blas_threads import with_one_blas_thread
from stacking.process.child_processes import run_parallel
from stacking.process.deadline import check_deadline
from stacking.process.memory import check_memory
from stacking.process.progress import steps

CombinerState = tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[str, str]]
"""What a fitted combiner is made of: JSON-able values, arrays, and texts (LightGBM models)."""


class Combiner(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Base of everything that turns several models' scores into one score per sample and label.

    A subclass stores its constructor parameters unchanged and implements two hooks: ``_fit(predictions)`` and
    ``_combine_block(scores, covers)``. A combiner that needs more than a block of rows at prediction overrides
    ``_predict`` instead of ``_combine_block``; one whose fit on given folds yields held-out scores anyway overrides
    ``_fit_out_of_fold(predictions, folds)``.

    What a hook is given holds only rows that count: none of weight 0, none without a known cell. The truth of cells
    that are not known is 0 there, the weights are relative to the smallest, and None where all are alike.

    Attributes
    ----------
    models_ : tuple of str
        Names of the members, in the order the fitted state refers to.
    labels_ : tuple of str
        Names of the labels, likewise.
    covers_ : ndarray of bool, shape (n_models, n_labels)
        Which member answered which label when this was fitted.

    Notes
    -----
    ``fits_from`` says what fitting reads: ``"counts"`` (additive counts, which stream and merge over shards exactly) or
    ``"rows"`` (single rows, sampled or taken label by label). ``requires_truth`` is False where ``fit`` needs no truth.
    ``choice_sees_all_rows`` is True where `predict_out_of_fold` fits without the held-out rows but makes a few choices
    (which candidates, how many trees) on the held-out scores of all rows. ``learns_from_label_rows`` is True where
    annotated rows without scores (`PredictionSet.with_label_rows`) teach it something.
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    requires_truth: ClassVar[bool] = True
    choice_sees_all_rows: ClassVar[bool] = False
    learns_from_label_rows: ClassVar[bool] = False

    models_: tuple[str, ...]
    labels_: tuple[str, ...]
    covers_: BoolArray

    cross_fit_predict, fit_cross_fitted = Renamed("predict_out_of_fold"), Renamed("fit_out_of_fold")

    @with_one_blas_thread
    def fit(
        self, predictions: PredictionSet | npt.ArrayLike, y_true: npt.ArrayLike | None = None, *, groups: Any = None
    ) -> Self:
        """Fit on scores that no member produced for its own training rows (out-of-fold scores).

        Parameters
        ----------
        predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
            Scores in [0, 1]; an array is wrapped with the names ``model0 …`` and ``label0 …``.
        y_true : array of shape (n_samples, n_labels), optional
            The truth, 0 or 1. Needed unless the prediction set carries it or the combiner needs none.
        groups : array of shape (n_samples,), optional
            Samples of one group share a fold wherever the combiner splits rows.

        Returns
        -------
        Self
            The fitted combiner.

        Raises
        ------
        ValueError
            If the truth is missing, holds no sample, or a label is covered by no model.
        """
        predictions = as_prediction_set(predictions, y_true)
        if groups is not None:
            predictions = predictions.with_groups(groups)
        self._fit(self._remember(predictions))
        return self

    def memory_needed(self, n_models: int, n_samples: int, n_labels: int) -> float:
        """Estimate the memory that fitting takes; `fit` refuses to begin what the system cannot hold.

        Parameters
        ----------
        n_models, n_samples, n_labels : int
            Size of the predictions.

        Returns
        -------
        float
            Bytes beyond what the predictions take: of a vote those of one block and of the scores, of a learner those
            of the rows it reads (logits, truth, weights and one feature table).
        """
        if self.fits_from == "counts":
            return 8.0 * n_samples * n_labels
        max_rows = getattr(self, "max_rows", None)
        n_rows = n_samples if max_rows is None else min(n_samples, max_rows)
        return 8.0 * n_samples * n_labels + n_rows * n_labels * (8.0 * n_models + 32.0)

    @with_one_blas_thread
    def predict_proba(self, predictions: PredictionSet | npt.ArrayLike, *, without: Collection[str] = ()) -> FloatArray:
        """Combine the members' scores, matched to the fitted ones by name.

        Parameters
        ----------
        predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
            An array has no names: it must hold the fitted members (but those of `without`) and labels in fitted order.
        without : collection of str, default ()
            Fitted members to leave out, whether present in `predictions` or not.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Combined scores in [0, 1].

        Raises
        ------
        ValueError
            If a fitted member or label is missing, `without` names an unknown member, or a label is left uncovered.
        """
        aligned, missing = self._align(predictions, without)
        covers = self.covers_.copy()
        covers[~missing] &= aligned.covers
        covers[missing] = False
        bare = np.flatnonzero(~covers.any(axis=0))
        if len(bare):
            raise ValueError(
                f"predictions must cover every label with at least one member: no member is left for label "
                f"{self.labels_[bare[0]]!r} ({len(bare)} such labels); leave fewer members out"
            )
        return self._predict(aligned, covers)

    def members_needed(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Name the members whose scores can move an answer; nobody need ask the others.

        Parameters
        ----------
        without : collection of str, default ()
            Fitted members to leave out.

        Returns
        -------
        tuple of str
            In fitted order. Leaving the others out moves no score by more than rounding does.

        Raises
        ------
        ValueError
            If `without` names an unknown member.
        """
        self._check_fitted()
        left_out = self._check_left_out(without)
        covers = self.covers_ & ~np.array([name in left_out for name in self.models_])[:, None]
        return tuple(name for name, moves in zip(self.models_, self._moves_scores(covers), strict=True) if moves)

    @with_one_blas_thread
    def predict_out_of_fold(self, predictions: PredictionSet | npt.ArrayLike, *, folds: npt.ArrayLike) -> FloatArray:
        """Score every row by a clone fitted on the other folds.

        What is tuned afterwards (thresholds, the choice among methods) is tuned on these scores.

        Parameters
        ----------
        predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
            With the truth where the combiner needs it.
        folds : array of int, shape (n_samples,)
            The fold each row is held out in, at least two different values.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Held-out scores in [0, 1].

        Raises
        ------
        ValueError
            If `folds` does not hold one value per sample or fewer than two folds.
        """
        predictions = as_prediction_set(predictions)
        held_out = check_folds(predictions.align(folds=folds)[0], predictions.n_samples, least=2)
        if type(self)._fit_out_of_fold is not Combiner._fit_out_of_fold:
            return clone(self).fit_out_of_fold(predictions, folds=held_out)[1]
        return self._score_by_clones(predictions, held_out)

    @with_one_blas_thread
    def fit_out_of_fold(self, predictions: PredictionSet, *, folds: npt.ArrayLike) -> tuple[Self, FloatArray]:
        """Fit on all rows, and score each row by a fit that did not see it.

        Parameters
        ----------
        predictions : PredictionSet
            With the truth.
        folds : array of int, shape (n_samples,)
            The fold each row is held out in; if all are equal nothing can be held out and the fit scores its own rows.

        Returns
        -------
        combiner : Self
            Fitted on all rows.
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Held-out scores in [0, 1]; rows that do not count are scored by the fit on all rows, which did not see them.
        """
        held_out = check_folds(predictions.align(folds=folds)[0], predictions.n_samples)
        shared = shared_fits()
        if shared is None:
            return self._fit_and_hold_out(predictions, held_out)
        return shared.recall(self, predictions, held_out, lambda: self._fit_and_hold_out(predictions, held_out))

    def _fit_and_hold_out(self, predictions: PredictionSet, held_out: IndexArray) -> tuple[Self, FloatArray]:
        """Fit on all rows and score them held out; rows that do not count by the fit on all rows."""
        counted = predictions.counted
        if counted is not None:
            held_out = held_out[counted]
        if len(np.unique(held_out)) < 2:
            return self.fit(predictions), self.predict_proba(predictions)
        scored = self._fit_out_of_fold(self._remember(predictions), held_out)
        if counted is None:
            return self, scored
        y_score = np.empty((predictions.n_samples, predictions.n_labels), dtype=np.float32)
        y_score[counted] = scored
        y_score[~counted] = self.predict_proba(predictions.subset(samples=~counted))
        return self, y_score

    def _remember(self, predictions: PredictionSet) -> PredictionSet:
        """Check what is to be learned from and that it fits in memory, keep its names, leave in it only what counts."""
        size = (predictions.n_models, predictions.n_samples, predictions.n_labels)
        name = getattr(self, "method", type(self).__name__)
        check_memory(
            self.memory_needed(*size),
            f"fitting {name} on {size[1]:,} rows of {size[2]:,} labels by {size[0]} models",
            "take fewer labels or rows (max_rows), or a vote such as 'greedy', which needs little",
        )
        _check_fittable(predictions, self.requires_truth, type(self).__name__)
        self.models_ = tuple(str(name) for name in predictions.models)
        self.labels_ = tuple(str(name) for name in predictions.labels)
        self.covers_ = np.array(predictions.covers, dtype=bool)
        return predictions.only_counted()

    @property
    def answered_labels(self) -> BoolArray:
        """Which of the fitted labels it has an answer for, shape (n_labels,); the others are never predicted."""
        return np.asarray(self.covers_.any(axis=0))

    # -- hooks ---------------------------------------------------------------------------------------------------------

    def _fit(self, predictions: PredictionSet) -> None:
        """Learn from `predictions`, in which every row counts; `models_`, `labels_` and `covers_` are set already."""
        raise NotImplementedError(f"{type(self).__name__} must implement _fit")

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit, and return held-out scores; override where fitting on given folds yields them anyway."""
        with steps({"held-out scores": float(len(np.unique(folds))), "fit on all rows": 1.0}) as begin:
            begin("held-out scores")
            y_score = self.predict_out_of_fold(predictions, folds=folds)
            begin("fit on all rows")
            self._fit(predictions)
        return y_score

    def _score_by_clones(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Score every fold by a clone fitted on the others; what learns nothing from the truth, all at once."""
        if not self.requires_truth and self.fits_from == "counts":
            return clone(self).fit(predictions).predict_proba(predictions)
        return _score_out_of_fold(self, predictions, folds)

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Combine (n_models, n_rows, n_labels) in fitted order, NaN where `covers` is False, to (n_rows, n_labels)."""
        raise NotImplementedError(f"{type(self).__name__} must implement _combine_block or _predict")

    def _moves_scores(self, covers: BoolArray) -> BoolArray:
        """Tell which members move the combined scores where they cover labels so: (n_models,)."""
        return np.asarray(covers.any(axis=1))

    def _predict(self, predictions: PredictionSet, covers: BoolArray) -> FloatArray:
        """Stream the rows of `predictions` (aligned, absent members not in it) through `_combine_block`."""
        y_score = np.empty((predictions.n_samples, len(self.labels_)), dtype=np.float32)
        for rows, scores in self._iter_aligned(predictions, covers):
            y_score[rows] = self._combine_block(scores, covers)
        return np.clip(y_score, 0.0, 1.0, out=y_score)

    def _state(self) -> CombinerState:
        """Split the fitted state into JSON-able values, arrays and texts: by default attributes ending in ``_``."""
        self._check_fitted()
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_") and not name.startswith("_")}
        arrays = {name: value for name, value in fitted.items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in fitted.items() if not isinstance(value, np.ndarray)}
        return {"parameters": _plain_parameters(self), "fitted": values}, arrays, {}

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild what `_state` split."""
        combiner = cls(**values["parameters"])
        for name, value in {**values["fitted"], **arrays}.items():
            if not name.isidentifier() or name.startswith("_") or not name.endswith("_"):
                raise ValueError(f"a fitted state must hold attributes such as 'weights_': got {name[:40]!r}")
            setattr(combiner, name, value)
        combiner.models_ = tuple(combiner.models_)
        combiner.labels_ = tuple(combiner.labels_)
        return combiner

    # -- alignment -----------------------------------------------------------------------------------------------------

    def _iter_aligned(self, predictions: PredictionSet, covers: BoolArray) -> Iterator[tuple[slice, FloatArray]]:
        """Yield row blocks with all fitted members, NaN where `covers` is False."""
        position = {str(name): i for i, name in enumerate(self.models_)}
        places = [position[str(name)] for name in predictions.models]
        complete = bool(covers.all()) and places == list(range(len(self.models_)))
        for rows, block in predictions.iter_rows():
            if complete:
                yield rows, block
                continue
            scores = np.full((len(self.models_), *block.shape[1:]), np.nan, dtype=np.float32)
            scores[places] = block
            np.copyto(scores, np.nan, where=~covers[:, None, :])
            yield rows, scores

    def _align(
        self, predictions: PredictionSet | npt.ArrayLike, without: Collection[str]
    ) -> tuple[PredictionSet, BoolArray]:
        """Bring members and labels into fitted order; also say which fitted members are absent."""
        self._check_fitted()
        left_out = self._check_left_out(without)
        predictions = self.named(predictions, without=left_out, labels=self.labels_)
        present = {str(name) for name in predictions.models}
        for name in self.models_:
            if name not in present and name not in left_out:
                raise ValueError(
                    f"predictions must hold every fitted member: {name!r} is missing (got "
                    f"{first_names(sorted(present))}); add it, name it so ({name}=FILE), or pass "
                    f"without=[{name!r}] (--without {name})."
                )
        labels = {str(name) for name in predictions.labels}
        for name in self.labels_:
            if name not in labels:
                raise ValueError(
                    f"predictions must hold every fitted label: {name!r} is missing; a label that no member answers "
                    f"must still be named (labels=, --labels).{did_you_mean(name, tuple(labels))}"
                )
        kept = [name for name in self.models_ if name not in left_out]
        if not kept:
            raise ValueError("without must leave at least one member: got all of them")
        _warn_of_extras(present - set(self.models_), labels - set(self.labels_))
        missing = np.array([name in left_out for name in self.models_])
        if tuple(predictions.models) == tuple(kept) and tuple(predictions.labels) == self.labels_:
            return predictions, missing
        return predictions.subset(models=kept, labels=list(self.labels_)), missing

    def _check_left_out(self, without: Collection[str]) -> set[str]:
        """Return the names of the members to leave out, all of them fitted ones."""
        left_out = {without} if isinstance(without, str) else {str(name) for name in without}
        for name in sorted(left_out - set(self.models_)):
            raise ValueError(f"without must name fitted members: got {name!r}.{did_you_mean(name, self.models_)}")
        return left_out

    def named(
        self, predictions: PredictionSet | npt.ArrayLike, *, without: Collection[str] = (), labels: Sequence[str]
    ) -> PredictionSet:
        """Name what has no names by position.

        Parameters
        ----------
        predictions : PredictionSet or array of shape (n_models, n_samples, n_labels)
            Scores.
        without : collection of str, default ()
            Fitted members that an array may lack.
        labels : sequence of str
            What an array's labels are.

        Returns
        -------
        PredictionSet
            With names; not yet aligned.

        Raises
        ------
        ValueError
            If an array has another shape.
        """
        if isinstance(predictions, PredictionSet):
            return name_by_position(predictions, () if without else self.models_, labels)
        return self._wrap(predictions, set(without), labels)

    def _wrap(self, y_scores: Any, left_out: set[str], known: Sequence[str]) -> PredictionSet:
        """Take plain arrays and frames; what has no names is named by the fitted positions."""
        scores = read_scores(y_scores)
        values = scores.values[None] if scores.values.ndim == 2 else scores.values
        shape = values.shape
        names = self.models_
        if left_out and len(shape) == 3 and shape[0] == len(names) - len(left_out):
            names = tuple(name for name in names if name not in left_out)
        models = None if find_own_names(scores.models, "models") else list(names)
        own = scores.labels
        has_labels = own is not None and (not own.is_made_up or set(own.names) == set(known))
        labels = [str(key) for key in own.names] if own is not None and has_labels else list(known)
        wrong = shape[2:] != (len(labels),) or (models is not None and shape[0] != len(models))
        if len(shape) != 3 or wrong:
            raise ValueError(
                f"predictions must have shape ({len(names)}, n_samples, {len(known)}) as fitted: got {shape}"
            )
        scores = replace(scores, values=values, labels=None, models=scores.models if models is None else None)
        return PredictionSet(scores, models=models, labels=labels)

    def _align_parameters(self, **parameters: Any) -> tuple[Any, ...]:
        """Bring parameters about models or labels into fitted order where they have names."""
        names = {"model": AxisNames.of(self.models_, "model"), "label": AxisNames.of(self.labels_, "label")}
        return align_by_name({axis: ("the predictions", own) for axis, own in names.items()}, **parameters)

    def _check_fitted(self) -> None:
        """Raise unless `fit` has run."""
        if not hasattr(self, "models_"):
            raise NotFittedError(f"{type(self).__name__} must be fitted first: call fit(predictions, y_true)")


def _score_out_of_fold(combiner: Combiner, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
    """Score every fold by a clone fitted on the other folds.

    The folds run through `joblib.Parallel` with no backend and no number of jobs named: one after the other, unless
    ``joblib.parallel_config`` says otherwise (processes, Dask, Ray).
    """
    from joblib import delayed, effective_n_jobs

    masks = [folds == fold for fold in np.unique(folds)]
    answers: Iterable[FloatArray]
    if effective_n_jobs(None) == 1:  # then one fold's scores at a time are enough
        answers = (_fit_and_score(clone(combiner), predictions, held) for held in masks)
    else:
        answers = run_parallel(delayed(_fit_and_score)(clone(combiner), predictions, held) for held in masks)
    y_score = np.empty((predictions.n_samples, predictions.n_labels), dtype=np.float32)
    coming = iter(answers)
    names = [f"fold {number}/{len(masks)}" for number in range(1, len(masks) + 1)]
    with steps(dict.fromkeys(names, 1.0)) as begin:
        for name, held in zip(names, masks, strict=True):
            begin(name)
            y_score[held] = next(coming)
            check_deadline()
    return y_score


def _fit_and_score(combiner: Combiner, predictions: PredictionSet, held: BoolArray) -> FloatArray:
    """Fit on the rows that are not held out, score those that are."""
    return combiner.fit(predictions.subset(samples=~held)).predict_proba(predictions.subset(samples=held))


def _check_fittable(predictions: PredictionSet, requires_truth: bool, name: str) -> None:
    """Raise unless there are rows, the truth where needed, and a member for every label."""
    if predictions.n_samples == 0:
        raise ValueError("predictions must hold at least one sample: got 0")
    if requires_truth and predictions.y_true is None:
        raise ValueError(f"y_true must be given, {name} learns from it: pass y_true or a PredictionSet that carries it")
    bare = np.flatnonzero(~np.asarray(predictions.covers).any(axis=0))
    if len(bare):
        raise ValueError(
            f"predictions must cover every label with at least one model: label {predictions.labels[bare[0]]!r} "
            f"({len(bare)} such labels) is covered by none; drop it with subset(labels=…)"
        )


def _plain_parameters(combiner: BaseEstimator) -> dict[str, Any]:
    """Return the constructor parameters; a random generator cannot be stored and becomes None."""
    parameters = combiner.get_params(deep=False)
    return {key: None if isinstance(value, np.random.Generator) else value for key, value in parameters.items()}


def _warn_of_extras(models: set[str], labels: set[str]) -> None:
    """Warn that members or labels unknown at fit are ignored."""
    import warnings

    for kind, names in (("members", models), ("labels", labels)):
        if names:
            shown = ", ".join(repr(name) for name in sorted(names)[:3])
            warnings.warn(f"predictions hold {kind} that were not fitted; ignored: {shown}", UserWarning, stacklevel=4)
