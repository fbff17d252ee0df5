"""Label context: explain each label's own logit by all others, the way one reads a noisy witness.

A first stage (:class:`RidgeContext`'s) gives every label a probability. The joint regression of pooled logits and
truths then says three things about label l that its own logits cannot: how far its logit departs from what the other
labels' logits and truths explain (members err together on labels that look alike, so a high logit that those labels
explain is no evidence), what the other logits say about its truth, and what the other truths say. True labels teach
the regression; at prediction the first stage's probabilities stand in for them (mean field). A last logistic
regression per label weighs these three against the members' own logits and the ridge's answer. All in closed form but
for batched Newton steps: no network, no trees.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty, apply_logistic
from stacking.combiners.meta_learners.context_regression import JointRegression, Moments, held_out_fit, joint_regression
from stacking.combiners.meta_learners.logit_stacker import cross_fit_logits, fit_on_logits, usable_with_context
from stacking.combiners.meta_learners.ridge_context import RidgeContext
from stacking.combiners.meta_learners.ridge_stage import add_moments, moments_by_fold
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import register_method
from stacking.links import sigmoid
from stacking.process.deadline import check_deadline

STRENGTHS = ((30.0, 100.0), (300.0, 300.0), (1_000.0, 1_000.0), (3_000.0, 3_000.0), (10_000.0, 3_000.0))
"""Ridge strengths on logits and on truths to choose from; the last one all but switches the context off. A choice; no
measurement is on record: each label takes the pair that predicts its held-out rows best."""


@register_method("label-context", "own logits and what all labels explain, per label", kind="meta", cost=20.0)
class LabelContextStacker(RidgeContext):
    """Weigh a label's own logits against what the other labels' logits and probable truths explain of them.

    The strongest stacker here where labels depend on each other or members confuse labels in the same way; where they
    do not, each label's regression strength goes up and it falls back to its own logits. Wants several times as many
    rows as labels.

    Parameters
    ----------
    penalty : float or "auto", default 10.0
        Strength of the draw of logistic coefficients to the pooled ones; ``"auto"`` chooses by cross-fitting.
    n_folds : int, default 5
        Inner folds: every stage learns from held-out answers of the stage before.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    pool_weights_ : ndarray of float64, shape (n_models,)
        Weights of the members in the pooled logits, on the simplex.
    ridge_, ridge_outputs_ : ndarray of float64
        First stage: weights on the pooled logits, intercepts last.
    first_coefficients_ : ndarray of float64, shape (n_labels, n_models + 2)
        First stage: members' logits, the ridge's answer, intercept.
    to_truth_, to_logit_ : ndarray of float64, shape (2 · n_labels, n_labels)
        The joint regression, on standardized columns.
    moments_ : ndarray of float64, shape (2, 2 · n_labels)
        Means and scales of pooled logits and truths.
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 5)
        Last stage: members' logits, the ridge's answer, surprise, both parts of the joint answer, intercept.
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
    S. L. Lauritzen, "Graphical Models", 1996, prop. 5.2; D. Heckerman et al., "Dependency networks for inference,
    collaborative filtering, and data visualization", JMLR 1, 2000.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_true = rng.integers(0, 2, (60, 2))
    >>> LabelContextStacker().fit(rng.random((3, 60, 2)), y_true).coefficients_.shape
    (2, 8)
    """

    method: ClassVar[str] = "label-context"

    first_coefficients_: DoubleArray
    to_truth_: DoubleArray
    to_logit_: DoubleArray
    moments_: DoubleArray

    def _fit_features(self, rows: TrainingRows, penalty: LogisticPenalty) -> list[npt.NDArray[Any]]:
        """Fit the stages one after the other, each on held-out answers of the one before."""
        pooled, context = self._fit_ridge(rows)
        self.first_coefficients_ = fit_on_logits(rows, [context], penalty)
        features, usable = [*rows.logits, context], usable_with_context(rows.usable, 1)
        first = sigmoid(cross_fit_logits(features, rows, usable, penalty, start=self.first_coefficients_))
        joint, self.moments_, neighbors = fit_joint_stage(pooled, first, rows)
        self.to_truth_, self.to_logit_ = joint.to_truth, joint.to_logit
        return [context, *neighbors]

    def _features(self, logits: FloatArray) -> list[npt.NDArray[Any]]:
        """Apply the first stage and the joint regression."""
        pooled, context = self._apply_ridge(logits)
        first = sigmoid(apply_logistic([*logits, context], self.first_coefficients_))
        joint = JointRegression(self.to_truth_, self.to_logit_)
        return [context, *_neighbor_features(joint, self.moments_, pooled, first)]

    def _added_bytes(self, n_rows: int, n_labels: int) -> float:
        """Count the matrices of the ridge, then of the joint regression, which spans logits and truths."""
        joint = 8.0 * (2 * n_labels) ** 2 * (self.n_folds + 7)
        return max(super()._added_bytes(n_rows, n_labels), joint) + 24.0 * n_rows * n_labels


def fit_joint_stage(
    pooled: DoubleArray, first: DoubleArray, rows: TrainingRows
) -> tuple[JointRegression, DoubleArray, DoubleArray]:
    """Fit the joint regression of logits and truths, each label with the strengths that serve its held-out rows best.

    Parameters
    ----------
    pooled : ndarray of float64, shape (n_samples, n_labels)
        Pooled logits.
    first : ndarray of float64, shape (n_samples, n_labels)
        Held-out probabilities of the first stage, which stand in for the truth of held-out rows.
    rows : TrainingRows
        Truth, weights, folds.

    Returns
    -------
    joint : JointRegression
        Fitted on all rows.
    moments : ndarray of float64, shape (2, 2 · n_labels)
        Means and scales of pooled logits and truths.
    neighbors : ndarray of float64, shape (3, n_samples, n_labels)
        Held-out features: surprise, answer from logits, answer from truths.
    """
    n_labels = pooled.shape[1]
    parts = moments_by_fold(np.concatenate([pooled, rows.y_true], axis=1), rows)
    total = add_moments(parts)
    columns = np.arange(n_labels)
    best_fit = np.full(n_labels, -np.inf)
    neighbors = np.zeros((3, *pooled.shape), dtype=np.float32)
    to_truth, to_logit = np.zeros((2, 2 * n_labels, n_labels))
    masks = rows.fold_masks
    for strength, truth_strength in STRENGTHS if masks else STRENGTHS[-1:]:
        answers = np.zeros_like(neighbors)
        for held, part in zip(masks, parts, strict=False):
            check_deadline()
            rest = total - part
            regression = joint_regression(rest, n_labels, strength, truth_strength)
            answers[:, held] = _neighbor_features(regression, _stack_moments(rest), pooled[held], first[held])
        fitted = joint_regression(total, n_labels, strength, truth_strength)
        if not masks:
            answers = _neighbor_features(fitted, _stack_moments(total), pooled, first)
        fit = held_out_fit(answers[1] + answers[2], rows.y_true, rows.weight)
        better = columns[fit > best_fit]
        best_fit[better] = fit[better]
        neighbors[:, :, better] = answers[:, :, better]
        to_truth[:, better], to_logit[:, better] = fitted.to_truth[:, better], fitted.to_logit[:, better]
    return JointRegression(to_truth, to_logit), _stack_moments(total), neighbors


def _stack_moments(moments: Moments) -> DoubleArray:
    """Return means and scales as one array."""
    return np.stack([moments.means, moments.scales])


def _neighbor_features(
    joint: JointRegression, moments: DoubleArray, pooled: DoubleArray, truths: DoubleArray
) -> DoubleArray:
    """Standardize, then ask the joint regression: (3, n_samples, n_labels)."""
    n_labels = pooled.shape[1]
    (means, scales) = moments
    logits = (pooled - means[:n_labels]) / scales[:n_labels]
    return np.stack(joint.features(logits, (truths - means[n_labels:]) / scales[n_labels:]))
