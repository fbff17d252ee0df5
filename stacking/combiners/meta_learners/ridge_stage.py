"""The ridge regression of all labels' truths on all labels' pooled logits, from whichever side is smaller.

With many rows it is solved from cross products of the labels, which add up over folds. With fewer rows than labels
the same answers come from products among the rows (the dual form), where no matrix of labels by labels is made: 50
rows of 10,000 labels take megabytes instead of 20 GiB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stacking._typing import DoubleArray
from stacking.combiners.meta_learners.context_regression import Moments, held_out_fit, measure_moments, ridge_weights
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.process.deadline import check_deadline

STRENGTHS = (30.0, 300.0, 3_000.0, 10_000.0, 30_000.0)
"""Ridge strengths to choose from, on standardized pooled logits, whose squares add up to the number of rows. A choice;
no measurement is on record: each label takes the one that predicts its held-out rows best."""


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


@dataclass(frozen=True)
class FittedRidge:
    """The ridge of all rows, and what it left for the stages after it.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_labels + 1, n_labels) or (n_labels + 1, n_samples + 1)
        Fitted on all rows; intercepts in the last row.
    outputs : ndarray of float64, shape (0, n_labels) or (n_samples + 1, n_labels)
        What the weights must be multiplied by if they lead to rows; empty where they lead to labels.
    held_out : ndarray of float64, shape (n_samples, n_labels)
        Cross-fitted answers.
    moments : list of Moments, or None
        Of the pooled logits and truths of each fold; None where the regression was solved among the rows.
    """

    weights: DoubleArray
    outputs: DoubleArray
    held_out: DoubleArray
    moments: list[Moments] | None = None


def fit_ridge_stage(pooled: DoubleArray, rows: TrainingRows) -> FittedRidge:
    """Regress the truth on the pooled logits of all labels, each label with the strength that serves it best.

    With fewer rows than labels the regression is solved among the rows (its dual form): the same answers without any
    matrix of labels by labels.

    Parameters
    ----------
    pooled : ndarray of float64, shape (n_samples, n_labels)
        Fused logits.
    rows : TrainingRows
        Truth, weights, folds.

    Returns
    -------
    FittedRidge
        With the held-out answers.

    References
    ----------
    C. Saunders, A. Gammerman, V. Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998.
    """
    if len(pooled) < pooled.shape[1]:
        return _fit_dual(pooled, rows)
    n_labels = pooled.shape[1]
    no_outputs = np.empty((0, n_labels))
    parts = moments_by_fold(np.concatenate([pooled, rows.y_true], axis=1), rows)
    total = add_moments(parts)
    masks = rows.fold_masks
    answers = np.zeros((len(STRENGTHS), *pooled.shape), dtype=np.float32)
    for held, part in zip(masks, parts, strict=False):
        check_deadline()
        for answer, weights in zip(answers, _raw_ridges(total - part, n_labels), strict=True):
            answer[held] = pooled[held] @ weights[:-1] + weights[-1]
    fitted = _raw_ridges(total, n_labels)
    if not masks:
        strongest = fitted[-1]
        return FittedRidge(strongest, no_outputs, pooled @ strongest[:-1] + strongest[-1], parts)
    best = np.argmax([held_out_fit(answer, rows.y_true, rows.weight) for answer in answers], axis=0)
    columns = np.arange(n_labels)
    held_out = answers[best, :, columns].T.astype(np.float64)
    return FittedRidge(fitted[best, :, columns].T.copy(), no_outputs, held_out, parts)


def apply_ridge(pooled: DoubleArray, weights: DoubleArray, outputs: DoubleArray) -> DoubleArray:
    """Give the ridge's answers.

    Parameters
    ----------
    pooled : ndarray of float64, shape (n_samples, n_labels)
        Fused logits.
    weights, outputs : ndarray of float64
        As `fit_ridge_stage` gave them.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        One answer per label.
    """
    answer = pooled @ weights[:-1] + weights[-1]
    return answer @ outputs if len(outputs) else answer


def ridge_bytes(n_rows: int, n_labels: int, n_folds: int) -> float:
    """Estimate the memory that `fit_ridge_stage` takes besides the rows.

    Parameters
    ----------
    n_rows, n_labels, n_folds : int
        Size of the fit.

    Returns
    -------
    float
        Bytes.
    """
    answers = 4.0 * len(STRENGTHS) * n_rows * n_labels
    if n_rows < n_labels:
        return answers + 8.0 * n_rows * (6 * n_labels + 4 * n_rows)
    products = 8.0 * (2 * n_labels) ** 2 * (n_folds + 4)  # of each fold, of all, of the others, and standardized
    return answers + products + 8.0 * n_labels**2 * (3 * len(STRENGTHS) + 3)


def _raw_ridges(moments: Moments, n_labels: int) -> DoubleArray:
    """Return ridge weights for unscaled inputs, intercepts last: (n_strengths, n_labels + 1, n_labels)."""
    scaled = ridge_weights(moments, n_labels, STRENGTHS)
    weights = scaled * moments.scales[n_labels:] / moments.scales[:n_labels, None]
    intercepts = moments.means[n_labels:] - np.einsum("i,sij->sj", moments.means[:n_labels], weights)
    return np.concatenate([weights, intercepts[:, None, :]], axis=1)


def _fit_dual(pooled: DoubleArray, rows: TrainingRows) -> FittedRidge:
    """Fit the ridge among the rows."""
    weight, masks = row_weight(rows), rows.fold_masks
    answers = np.zeros((len(STRENGTHS), *pooled.shape), dtype=np.float32)
    for held in masks:
        check_deadline()
        fold = _DualRidge.fit(pooled[~held], rows.y_true[~held], None if weight is None else weight[~held])
        for answer, strength in zip(answers, STRENGTHS, strict=True):
            answer[held] = apply_ridge(pooled[held], fold.inputs, fold.outputs(strength))
    whole = _DualRidge.fit(pooled, rows.y_true, weight)
    if not masks:
        outputs = whole.outputs(STRENGTHS[-1])
        return FittedRidge(whole.inputs, outputs, apply_ridge(pooled, whole.inputs, outputs))
    best = np.argmax([held_out_fit(answer, rows.y_true, rows.weight) for answer in answers], axis=0)
    chosen = np.take_along_axis(answers, best[None, None, :], axis=0)[0].astype(np.float64)
    return FittedRidge(whole.inputs, whole.outputs(np.array(STRENGTHS)[best]), chosen)


@dataclass(frozen=True)
class _DualRidge:
    """A ridge in the directions that the rows span: X = standardized rows, X Xᵀ = U diag(values) Uᵀ."""

    inputs: DoubleArray  # (n_labels + 1, n_rows + 1): to the directions Xᵀ U, and a constant 1
    values: DoubleArray  # (n_rows,)
    targets: DoubleArray  # (n_rows, n_labels): Uᵀ Y in the targets' units
    means: DoubleArray  # (n_labels,) of the targets

    @classmethod
    def fit(cls, pooled: DoubleArray, truth: DoubleArray, weight: DoubleArray | None) -> _DualRidge:
        """Solve what all strengths share."""
        root = np.ones(len(pooled)) if weight is None else np.sqrt(weight)
        means, scales, x = _standardize(pooled, root)
        target_means, target_scales, y = _standardize(truth, root)
        values, vectors = np.linalg.eigh(x @ x.T)
        inputs = np.zeros((pooled.shape[1] + 1, len(pooled) + 1))
        inputs[:-1, :-1] = (x.T @ vectors) / scales[:, None]
        inputs[-1, :-1] = -means @ inputs[:-1, :-1]
        inputs[-1, -1] = 1.0
        return cls(inputs, np.maximum(values, 0.0), (vectors.T @ y) * target_scales, target_means)

    def outputs(self, strength: float | DoubleArray) -> DoubleArray:
        """Return the weights from the directions to the labels: (XᵀX + λ)⁻¹ Xᵀ Y = Xᵀ U (values + λ)⁻¹ Uᵀ Y."""
        return np.concatenate([self.targets / (self.values[:, None] + strength), self.means[None]])


def _standardize(columns: DoubleArray, root: DoubleArray) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return weighted means and scales, and the columns standardized and times the root of the weight."""
    total = max(float((root**2).sum()), 1e-12)
    means = (root**2) @ columns / total
    variance = (root**2) @ (columns**2) / total - means**2
    scales = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 1e-12)), 1.0)
    centered = np.where(variance > 1e-12, columns - means, 0.0) / scales  # as `Moments` does
    return means, scales, centered * root[:, None]
