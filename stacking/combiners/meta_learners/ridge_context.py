"""Ridge over all labels, then logistic regression per label on own logits and the ridge's answer.

What a member says about *other* labels tells much about this one: labels depend on each other, and members confuse
them in the same way. The ridge gathers that into one number per label; the logistic regression weighs it against the
members' own logits. The ridge's answers for the fitting rows are cross-fitted, or the second stage would trust them
too much.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty
from stacking.combiners.meta_learners.context_regression import Moments, held_out_fit, measure_moments, ridge_weights
from stacking.combiners.meta_learners.logit_stacker import LogitStacker
from stacking.combiners.meta_learners.pooled_logits import equal_weights, fuse_logits, fusing_weights
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import register_method
from stacking.deadline import check_deadline

STRENGTHS = (30.0, 300.0, 3_000.0, 10_000.0, 30_000.0)
"""Ridge strengths to choose from, on standardised fused logits."""


@register_method("ridge-context", "ridge over all labels, then logistic per label", kind="meta", cost=6.0)
class RidgeContext(LogitStacker):
    """Weigh what the members say about a label against what they say about all labels.

    Assumes that rows are many compared to labels (a few times as many); each label takes the ridge strength that
    predicts its held-out rows best, so that a label to which no other is related falls back to its own logits.

    Parameters
    ----------
    penalty : float or "auto", default 10.0
        Strength of the draw of the logistic coefficients to the pooled ones; ``"auto"`` chooses by cross-fitting.
    n_folds : int, default 5
        Inner folds for the ridge's held-out answers.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    fusing_ : ndarray of float64, shape (n_models,)
        Weights of the members in the fused logits, on the simplex.
    ridge_ : ndarray of float64, shape (n_labels + 1, n_labels)
        Weights on the fused logits, intercepts in the last row.
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 2)
        Second stage: members' logits, the ridge's answer, intercept.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].

    Notes
    -----
    O(n_samples · n_labels² + n_labels³ + n_samples · n_labels · n_models²); memory O(n_models · n_samples · n_labels).

    References
    ----------
    L. Breiman, J. H. Friedman, "Predicting multivariate responses in multiple linear regression", JRSS B 59, 1997.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_true = rng.integers(0, 2, (60, 2))
    >>> RidgeContext().fit(rng.random((3, 60, 2)), y_true).ridge_.shape
    (3, 2)
    """

    method: ClassVar[str] = "ridge-context"

    fusing_: DoubleArray
    ridge_: DoubleArray

    def _fit_features(self, rows: TrainingRows, penalty: LogisticPenalty) -> list[npt.NDArray[Any]]:
        """Fit the ridge; return its cross-fitted answers."""
        self.fusing_ = fusing_weights(rows)
        self.ridge_, context = fit_ridge_stage(fuse_logits(rows.logits, rows.usable, self.fusing_), rows)
        return [context]

    def _features(self, logits: FloatArray) -> list[npt.NDArray[Any]]:
        """Return the ridge's answers."""
        return [fuse_logits(logits, self.covers_.T, self.fusing_) @ self.ridge_[:-1] + self.ridge_[-1]]

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the stacker; earlier versions weighed all members alike."""
        return super()._from_state(values, {"fusing_": equal_weights(arrays["covers_"]), **arrays}, texts)


def row_weight(rows: TrainingRows) -> DoubleArray | None:
    """Give one weight per row, for regressions that span labels.

    Parameters
    ----------
    rows : TrainingRows
        With cell weights or none.

    Returns
    -------
    ndarray of float64, shape (n_samples,), or None
        The largest weight in the row.
    """
    return None if rows.weight is None else rows.weight.max(axis=1)


def moments_by_fold(columns: DoubleArray, rows: TrainingRows) -> list[Moments]:
    """Sum up each fold; all rows as one part if there are no folds.

    Parameters
    ----------
    columns : ndarray of float64, shape (n_samples, n_columns)
        What to sum up.
    rows : TrainingRows
        Folds and weights.

    Returns
    -------
    list of Moments
        In the order of ``rows.fold_masks``.
    """
    weight = row_weight(rows)
    masks = rows.fold_masks or [np.ones(len(columns), dtype=bool)]
    return [measure_moments(columns[held], None if weight is None else weight[held]) for held in masks]


def add_moments(parts: list[Moments]) -> Moments:
    """Add the moments of disjoint rows.

    Parameters
    ----------
    parts : list of Moments
        At least one.

    Returns
    -------
    Moments
        Of all rows.
    """
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def fit_ridge_stage(fused: DoubleArray, rows: TrainingRows) -> tuple[DoubleArray, DoubleArray]:
    """Regress the truth on the fused logits of all labels, each label with the strength that serves it best.

    Parameters
    ----------
    fused : ndarray of float64, shape (n_samples, n_labels)
        Fused logits.
    rows : TrainingRows
        Truth, weights, folds.

    Returns
    -------
    weights : ndarray of float64, shape (n_labels + 1, n_labels)
        Fitted on all rows; intercepts in the last row.
    held_out : ndarray of float64, shape (n_samples, n_labels)
        Cross-fitted answers.
    """
    n_labels = fused.shape[1]
    parts = moments_by_fold(np.concatenate([fused, rows.y_true], axis=1), rows)
    total = add_moments(parts)
    masks = rows.fold_masks
    answers = np.zeros((len(STRENGTHS), *fused.shape), dtype=np.float32)
    for held, part in zip(masks, parts, strict=False):
        check_deadline()
        for answer, weights in zip(answers, _raw_ridges(total - part, n_labels), strict=True):
            answer[held] = fused[held] @ weights[:-1] + weights[-1]
    fitted = _raw_ridges(total, n_labels)
    if not masks:
        strongest = fitted[-1]
        return strongest, fused @ strongest[:-1] + strongest[-1]
    best = np.argmax([held_out_fit(answer, rows.y_true, rows.weight) for answer in answers], axis=0)
    columns = np.arange(n_labels)
    return fitted[best, :, columns].T.copy(), answers[best, :, columns].T.astype(np.float64)


def _raw_ridges(moments: Moments, n_labels: int) -> DoubleArray:
    """Return ridge weights for unscaled inputs, intercepts last: (n_strengths, n_labels + 1, n_labels)."""
    scaled = ridge_weights(moments, n_labels, STRENGTHS)
    weights = scaled * moments.scales[n_labels:] / moments.scales[:n_labels, None]
    intercepts = moments.means[n_labels:] - np.einsum("i,sij->sj", moments.means[:n_labels], weights)
    return np.concatenate([weights, intercepts[:, None, :]], axis=1)
