"""Logistic regression per label on the members' logits for that label (Wolpert 1992)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from stacking.combiners.combiner import Combiner
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty, apply_logistic, fit_logistic
from stacking.combiners.meta_learners.training_rows import (
    TrainingRows,
    describe_fallback,
    fill_gaps,
    prepare_rows,
    probabilities,
)
from stacking.predictions import PredictionSet

__all__ = ["LabelwiseLogistic"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

PENALTIES = (1.0, 30.0, 1000.0)


class LabelwiseLogistic(Combiner):
    """Learn, label by label, how to weigh and shift the members' logits.

    Adapts each label to the frequency in the fitting rows (label shift), mixes the members and calibrates, and knows
    no other label. Labels with few positives are drawn to the coefficients pooled over all labels. Assumes that the
    log odds are linear in the members' logits.

    Parameters
    ----------
    penalty : float or "auto", default "auto"
        Strength of the draw to the pooled coefficients, dimensionless; ``"auto"`` takes the one of 1, 10, 100, 1000
        with the lowest cross-fitted log loss.
    n_folds : int, default 3
        Folds for that choice.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 1)
        For logits, intercept last; 0 where a member does not cover the label.
    penalty_ : float
        The strength used.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency, whatever the members say.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].

    Notes
    -----
    O(n_samples · n_labels · n_models²) per Newton step; all labels at once. An absent member is guessed from the
    others.

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992.

    Examples
    --------
    >>> scores = [[[0.2], [0.7], [0.4], [0.9]]]
    >>> stacker = LabelwiseLogistic(penalty=1.0).fit(scores, [[0], [1], [0], [1]])
    >>> stacker.predict_proba(scores)[:, 0].argmax().item()
    3
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"

    coefficients_: DoubleArray
    centers_: DoubleArray
    constant_labels_: BoolArray
    penalty_: float
    n_rows_fitted_: int
    fallback_report_: dict[str, float]
    notes_: list[str]

    def __init__(
        self,
        penalty: float | Literal["auto"] = "auto",
        n_folds: int = 3,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.penalty = penalty
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Choose the penalty, then fit all labels."""
        strengths = check_penalty(self.penalty)
        rows = prepare_rows(
            predictions,
            max_rows=self.max_rows,
            n_folds=self.n_folds if len(strengths) > 1 else 1,
            random_state=self.random_state,
        )
        self.penalty_ = strengths[0] if len(strengths) == 1 else choose_penalty(rows, strengths)
        self.n_rows_fitted_ = len(rows.y_true)
        self.constant_labels_ = rows.one_class
        self.fallback_report_, self.notes_ = describe_fallback(
            "logistic", self.constant_labels_, rows.positives, "their frequency: one class in the fitting rows"
        )
        self.centers_ = rows.logits.mean(axis=1, dtype=np.float64)
        self.coefficients_ = fit_logistic(
            list(rows.logits),
            rows.y_true,
            weight=rows.weight,
            usable=rows.usable,
            penalty=logit_penalty(self.penalty_, len(rows.logits)),
        )

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Apply the regressions to a block of rows."""
        logits = fill_gaps(scores, covers, self.centers_, self.covers_)
        return probabilities(apply_logistic(list(logits), self.coefficients_)).astype(np.float32)


def logit_penalty(strength: float, n_models: int) -> LogisticPenalty:
    """Penalise members' logits on their shared scale.

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


def check_penalty(penalty: object) -> tuple[float, ...]:
    """Check a penalty and list the candidates it stands for.

    Parameters
    ----------
    penalty : float or "auto"
        As in `LabelwiseLogistic`.

    Returns
    -------
    tuple of float
        One strength, or those to choose from.

    Raises
    ------
    ValueError
        If it is neither "auto" nor a positive number.
    """
    if penalty == "auto":
        return PENALTIES
    if not isinstance(penalty, int | float) or isinstance(penalty, bool) or not penalty > 0:
        raise ValueError(f"penalty must be a positive number or 'auto': got {penalty!r}")
    return (float(penalty),)


def choose_penalty(rows: TrainingRows, strengths: tuple[float, ...]) -> float:
    """Take the penalty with the lowest cross-fitted log loss on the members' own logits.

    Parameters
    ----------
    rows : TrainingRows
        With folds.
    strengths : tuple of float
        Candidates.

    Returns
    -------
    float
        The best one; the strongest if there are no folds to judge by.
    """
    if not rows.fold_masks:
        return strengths[-1]
    losses = []
    for strength in strengths:
        held_out = cross_fit_logits(list(rows.logits), rows, rows.usable, logit_penalty(strength, len(rows.logits)))
        losses.append(cell_log_loss(rows, held_out).sum())
    return strengths[int(np.argmin(losses))]


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
    features : list of arrays of shape (n_samples, n_labels)
        As in `fit_logistic`.
    rows : TrainingRows
        Truth, weights and folds.
    usable : ndarray of bool, shape (n_labels, n_features)
        Features a label may use.
    penalty : LogisticPenalty
        Strength of the penalty.
    start : ndarray of float64, shape (n_labels, n_features + 1), optional
        Coefficients to start from; changes the time, not the result.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        Held-out logits; fitted ones if there are no folds.
    """
    held_out = np.empty(rows.y_true.shape)
    masks = rows.fold_masks
    if not masks:
        fitted = fit_logistic(features, rows.y_true, weight=rows.weight, usable=usable, penalty=penalty, start=start)
        return apply_logistic(features, fitted)
    for held in masks:
        start = fit_logistic(
            [feature[~held] for feature in features],
            rows.y_true[~held],
            weight=None if rows.weight is None else rows.weight[~held],
            usable=usable,
            penalty=penalty,
            start=start,
        )
        held_out[held] = apply_logistic([feature[held] for feature in features], start)
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
    losses = np.logaddexp(0.0, logits) - rows.y_true * logits
    return losses.sum(axis=0) if rows.weight is None else (losses * rows.weight).sum(axis=0)
