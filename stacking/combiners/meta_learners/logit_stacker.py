"""What the stackers on logits share: read the rows, choose a penalty, fit one logistic regression per label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.combiner import Combiner
from stacking.combiners.meta_learners.batched_logistic import (
    LogisticPenalty,
    apply_logistic,
    fit_logistic,
    fit_logistic_path,
)
from stacking.combiners.meta_learners.training_rows import TrainingRows, describe_fallback, fill_gaps, prepare_rows
from stacking.combiners.shared_fits import shared_stage
from stacking.links import sigmoid
from stacking.predictions import PredictionSet
from stacking.process.progress import advance, steps

PENALTIES = (1.0, 30.0, 1000.0)
"""Candidates of ``penalty="auto"``, from hardly any draw to the pooled coefficients to a strong one. A choice; no
measurement is on record."""


class LogitStacker(Combiner):
    """Logistic regression per label on the members' logits, and on what a subclass adds to them.

    A subclass sets its name for reports, ``method``, and implements ``_fit_stages``, which fits, and ``_features``,
    which gives the added features of new rows. Every stage learns from answers that the stage before gave to rows it
    had not seen, so the last stage's own held-out answers are kept as out-of-fold scores: one fit instead of one for
    each fold. A held-out row's truth then has a part in the features of other rows (second order: see
    `held_out_stages` for what keeps that from showing).

    Parameters
    ----------
    penalty : float or "auto", default 10.0
        Strength of the draw of each label's coefficients to the pooled ones, dimensionless; ``"auto"`` takes the one of
        `PENALTIES` with the lowest cross-fitted log loss on the members' own logits.
    n_folds : int, default 5
        Inner folds, for that choice and for held-out features.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    coefficients_ : ndarray of float64, shape (n_labels, n_models + n_added + 1)
        For the members' logits (0 where a member does not cover the label), the added features, and the intercept.
    centers_ : ndarray of float64, shape (n_models, n_labels)
        Mean logits of the fitting rows, from which an absent member is guessed.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency, whatever the members say.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].
    notes_ : list of str
        The same as a line of the report.
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    choice_sees_all_rows: ClassVar[bool] = True
    method: ClassVar[str]

    coefficients_: DoubleArray
    centers_: DoubleArray
    constant_labels_: BoolArray
    n_rows_fitted_: int
    fallback_report_: dict[str, float]
    notes_: list[str]

    def __init__(
        self,
        penalty: float | Literal["auto"] = 10.0,
        n_folds: int = 5,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.penalty = penalty
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Fit the added features, then the regressions on held-out values of them."""
        strengths = _check_penalty(self.penalty)
        rows = prepare_rows(
            predictions, max_rows=self.max_rows, n_folds=self._n_folds(strengths), random_state=self.random_state
        )
        self._fit_rows(rows, strengths, wants_scores=False)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit with the given folds as the inner ones, whose held-out answers are kept; a sampled fit by clones."""
        if self.max_rows is not None and predictions.n_samples > self.max_rows:
            y_score = self._score_by_clones(predictions, folds)
            self._fit(predictions)
            return y_score
        rows = shared_stage(
            predictions,
            ("rows", folds.tobytes()),
            lambda: replace(
                prepare_rows(predictions, max_rows=None, n_folds=1, random_state=self.random_state), folds=folds
            ),
        )
        held_out = self._fit_rows(rows, _check_penalty(self.penalty), wants_scores=True)
        return np.clip(sigmoid(held_out), 0.0, 1.0).astype(np.float32)

    def _fit_rows(self, rows: TrainingRows, strengths: tuple[float, ...], *, wants_scores: bool) -> DoubleArray:
        """Choose the penalty, fit all stages; return held-out logits where they are wanted, else nothing."""
        # a penalty costs one regression per fold, as the held-out scores of the stages do
        with steps({"penalty": float(len(strengths) > 1) * len(strengths), "stages": 1.0 + wants_scores}) as begin:
            begin("penalty")
            strength = strengths[0] if len(strengths) == 1 else choose_penalty(rows, strengths)[0]
            begin("stages")
            return self._fit_with(rows, strength, wants_scores=wants_scores)

    def _fit_with(self, rows: TrainingRows, strength: float, *, wants_scores: bool) -> DoubleArray:
        """Remember what all stackers do, and fit the stages with this penalty."""
        self.n_rows_fitted_ = len(rows.y_true)
        self.constant_labels_ = rows.one_class
        self.fallback_report_, self.notes_ = describe_fallback(
            self.method, self.constant_labels_, rows.positives, "their frequency: one class in the fitting rows"
        )
        self.centers_ = rows.logits.mean(axis=1, dtype=np.float64)
        return self._fit_stages(rows, logit_penalty(strength, len(rows.logits)), wants_scores=wants_scores)

    def _fit_stages(self, rows: TrainingRows, penalty: LogisticPenalty, *, wants_scores: bool) -> DoubleArray:
        """Fit the added features and the regressions on them; return held-out logits where they are wanted."""
        raise NotImplementedError(f"{type(self).__name__} must implement _fit_stages")

    def _n_folds(self, strengths: tuple[float, ...]) -> int:
        """Return how many inner folds are needed."""
        return self.n_folds

    def _features(self, logits: FloatArray) -> list[npt.NDArray[Any]]:
        """Return what is added to the logits of new rows."""
        raise NotImplementedError(f"{type(self).__name__} must implement _features")

    def memory_needed(self, n_models: int, n_samples: int, n_labels: int) -> float:
        """Estimate the memory that fitting takes, the added features' included, see `Combiner.memory_needed`."""
        n_rows = n_samples if self.max_rows is None else min(n_samples, self.max_rows)
        return super().memory_needed(n_models, n_samples, n_labels) + self._added_bytes(n_rows, n_labels)

    def _added_bytes(self, n_rows: int, n_labels: int) -> float:
        """Return the memory of what a subclass adds."""
        return 0.0

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Apply the regressions to a block of rows."""
        logits = fill_gaps(scores, covers, self.centers_, self.covers_)
        return sigmoid(self._answer(logits)).astype(np.float32)

    def _answer(self, logits: FloatArray) -> DoubleArray:
        """Return the logits of the answer for a block of rows, by default those of the regressions."""
        return apply_logistic([*logits, *self._features(logits)], self.coefficients_)


def fit_on_logits(rows: TrainingRows, added: list[npt.NDArray[Any]], penalty: LogisticPenalty) -> DoubleArray:
    """Fit each label's regression on its members' logits and on added features.

    Parameters
    ----------
    rows : TrainingRows
        Logits, truth and weights.
    added : list of ndarray, shape (n_samples, n_labels)
        Features that every label may use.
    penalty : LogisticPenalty
        Strength of the penalty.

    Returns
    -------
    ndarray of float64, shape (n_labels, n_models + n_added + 1)
        Coefficients, intercept last.
    """
    return fit_logistic(
        [*rows.logits, *added],
        rows.y_true,
        weight=rows.weight,
        usable=usable_with_context(rows.usable, len(added)),
        penalty=penalty,
    )


def usable_with_context(usable: BoolArray, n_context: int) -> BoolArray:
    """Append context features, which every label may use.

    Parameters
    ----------
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members' logits a label may use.
    n_context : int
        Number of context features.

    Returns
    -------
    ndarray of bool, shape (n_labels, n_models + n_context)
        The mask for all features.
    """
    return np.concatenate([usable, np.ones((len(usable), n_context), dtype=bool)], axis=1)


def logit_penalty(strength: float, n_models: int) -> LogisticPenalty:
    """Penalize members' logits on their shared scale.

    Parameters
    ----------
    strength : float
        Strength of the penalty.
    n_models : int
        The first features are the members' logits.

    Returns
    -------
    LogisticPenalty
        Drawing to the pooled coefficients.
    """
    return LogisticPenalty(strength, pooled=True, shared_scale=tuple(range(n_models)))


def _check_penalty(penalty: object) -> tuple[float, ...]:
    """Check a penalty and list the candidates it stands for."""
    if penalty == "auto":
        return PENALTIES
    if not isinstance(penalty, int | float) or isinstance(penalty, bool) or not penalty > 0:
        raise ValueError(f"penalty must be a positive number or 'auto': got {penalty!r}")
    return (float(penalty),)


def choose_penalty(rows: TrainingRows, strengths: tuple[float, ...]) -> tuple[float, DoubleArray]:
    """Take the penalty with the lowest cross-fitted log loss on the members' own logits.

    Parameters
    ----------
    rows : TrainingRows
        With folds.
    strengths : tuple of float
        Candidates.

    Returns
    -------
    strength : float
        The best one; the strongest if there are no folds to judge by.
    held_out : ndarray of float64, shape (n_samples, n_labels)
        Its held-out logits; empty if there are no folds.
    """
    if not rows.fold_masks:
        return strengths[-1], np.empty((0, rows.y_true.shape[1]))
    penalty = logit_penalty(strengths[0], len(rows.logits))

    def choose() -> tuple[float, DoubleArray]:
        held_out = _cross_fit(list(rows.logits), rows, rows.usable, penalty, strengths)
        best = int(np.argmin([cell_log_loss(rows, own).sum() for own in held_out]))
        return strengths[best], held_out[best]

    return shared_stage(rows, ("penalty", strengths), choose)


def cross_fit_logits(
    features: list[npt.NDArray[Any]],
    rows: TrainingRows,
    usable: BoolArray,
    penalty: LogisticPenalty,
    start: DoubleArray | None = None,
) -> DoubleArray:
    """Fit on all folds but one and predict that one.

    Parameters
    ----------
    features : list of ndarray, shape (n_samples, n_labels)
        What is fitted on.
    rows : TrainingRows
        Truth, weights and folds.
    usable : ndarray of bool, shape (n_labels, n_features)
        Which features a label may use.
    penalty : LogisticPenalty
        Of their coefficients.
    start : ndarray of float64, shape (n_labels, n_features + 1), optional
        Where to begin; it changes the time, not the result.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        Held-out logits; fitted ones if there are no folds.
    """
    if not rows.fold_masks:
        fitted = fit_logistic(features, rows.y_true, weight=rows.weight, usable=usable, penalty=penalty, start=start)
        return apply_logistic(features, fitted)
    starts = None if start is None else [start]
    held_out: DoubleArray = _cross_fit(features, rows, usable, penalty, (penalty.strength,), starts)[0]
    return held_out


def _cross_fit(
    features: list[npt.NDArray[Any]],
    rows: TrainingRows,
    usable: BoolArray,
    penalty: LogisticPenalty,
    strengths: tuple[float, ...],
    start: list[DoubleArray] | None = None,
) -> DoubleArray:
    """Return the held-out logits under each strength, (n_strengths, n_samples, n_labels)."""
    held_out = np.empty((len(strengths), *rows.y_true.shape))
    masks = rows.fold_masks
    for number, held in enumerate(masks, start=1):
        start = fit_logistic_path(
            [feature[~held] for feature in features],
            rows.y_true[~held],
            strengths,
            weight=None if rows.weight is None else rows.weight[~held],
            usable=usable,
            penalty=penalty,
            start=start,
        )
        asked = [feature[held] for feature in features]
        for answer, fitted in zip(held_out, start, strict=True):
            answer[held] = apply_logistic(asked, fitted)
        advance(number, len(masks))
    return held_out


def cell_log_loss(rows: TrainingRows, logits: DoubleArray) -> DoubleArray:
    """Sum the log loss of each label over the rows that count.

    Parameters
    ----------
    rows : TrainingRows
        Truth and weights.
    logits : ndarray of float64, shape (n_samples, n_labels)
        Predicted logits.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Sums of −log likelihood in nats.
    """
    return _losses(rows, logits).sum(axis=0)


def row_log_loss(rows: TrainingRows, logits: DoubleArray) -> DoubleArray:
    """Sum the log loss of each row over the labels.

    Parameters
    ----------
    rows : TrainingRows
        Truth and weights.
    logits : ndarray of float64, shape (n_samples, n_labels)
        Predicted logits.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Sums of −log likelihood in nats.
    """
    return _losses(rows, logits).sum(axis=1)


def _losses(rows: TrainingRows, logits: DoubleArray) -> DoubleArray:
    """Return the log loss of each cell, weighted."""
    # log(1 + exp z) in half the time of numpy's `logaddexp`
    losses = np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits))) - rows.y_true * logits
    return losses if rows.weight is None else losses * rows.weight
