"""The joint regression of pooled logits and truths, each label with the strengths that serve its held-out rows best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray
from stacking.combiners.meta_learners.context_regression import JointRegression, Moments, held_out_fit, joint_regression
from stacking.combiners.meta_learners.held_out_stages import Folded
from stacking.combiners.meta_learners.ridge_stage import add_moments, moments_by_fold
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.process.deadline import check_deadline

STRENGTHS = ((30.0, 100.0), (300.0, 300.0), (1_000.0, 1_000.0), (3_000.0, 3_000.0), (10_000.0, 3_000.0))
"""Ridge strengths on logits and on truths to choose from; the last one all but switches the context off. A choice; no
measurement is on record: each label takes the pair that predicts its held-out rows best."""


@dataclass(frozen=True)
class JointContext:
    """A joint regression and the units of its columns.

    Attributes
    ----------
    regression : JointRegression
        For standardized columns.
    moments : ndarray of float64, shape (2, 2 · n_labels)
        Means and scales of pooled logits and truths.
    """

    regression: JointRegression
    moments: DoubleArray

    def features(self, pooled: npt.NDArray[np.floating], truths: npt.NDArray[np.floating]) -> DoubleArray:
        """Say what the context makes of every label.

        Parameters
        ----------
        pooled : ndarray, shape (n_samples, n_labels)
            Pooled logits.
        truths : ndarray, shape (n_samples, n_labels)
            Truths, or probabilities that stand in for them.

        Returns
        -------
        ndarray of float64, shape (3, n_samples, n_labels)
            Surprise, answer from logits, answer from truths.
        """
        return np.stack(self.regression.features(*self.standardize(pooled, truths)))

    def standardize(
        self, pooled: npt.NDArray[np.floating], truths: npt.NDArray[np.floating]
    ) -> tuple[DoubleArray, DoubleArray]:
        """Bring columns to the units of the regression.

        Parameters
        ----------
        pooled, truths : ndarray, shape (n_samples, n_labels)
            As for `features`.

        Returns
        -------
        logits, truths : ndarray of float64, shape (n_samples, n_labels)
            Of mean 0 and unit spread where the regression was fitted.
        """
        n_labels = pooled.shape[1]
        means, scales = self.moments
        return (pooled - means[:n_labels]) / scales[:n_labels], (truths - means[n_labels:]) / scales[n_labels:]


def fit_joint_stage(
    pooled: DoubleArray, first: DoubleArray, rows: TrainingRows, parts: list[Moments] | None = None
) -> Folded[JointContext]:
    """Fit the joint regression on all rows and without each fold.

    Parameters
    ----------
    pooled : ndarray of float64, shape (n_samples, n_labels)
        Pooled logits.
    first : ndarray of float64, shape (n_samples, n_labels)
        Held-out probabilities of the first stage, which stand in for the truth of held-out rows where the strengths
        are chosen.
    rows : TrainingRows
        Truth, weights, folds.
    parts : list of Moments, optional
        Of the pooled logits and truths of each fold, where they are known.

    Returns
    -------
    Folded of JointContext
        Each label with its own strengths, the same in all folds.
    """
    n_labels = pooled.shape[1]
    parts = parts or moments_by_fold(np.concatenate([pooled, rows.y_true], axis=1), rows)
    total = add_moments(parts)
    masks = rows.fold_masks
    rests = [total - part for part in parts] if masks else []
    fitted = [_Choice.empty(moments) for moments in (total, *rests)]
    best_fit = np.full(n_labels, -np.inf)
    for strengths in STRENGTHS if masks else STRENGTHS[-1:]:
        answers = np.zeros(pooled.shape)
        tried = []
        for held, rest in zip(masks, rests, strict=True):
            check_deadline()
            context = JointContext(joint_regression(rest, n_labels, *strengths), _stack(rest))
            from_logits, from_truths = context.regression.answers(*context.standardize(pooled[held], first[held]))
            answers[held] = from_logits + from_truths
            tried.append(context.regression)
        fit = held_out_fit(answers, rows.y_true, rows.weight) if masks else np.zeros(n_labels)
        better = np.flatnonzero(fit > best_fit)
        best_fit[better] = fit[better]
        for choice, regression in zip(fitted, (joint_regression(total, n_labels, *strengths), *tried), strict=True):
            choice.take(better, regression)
    whole, *others = (choice.context for choice in fitted)
    return Folded(whole, tuple(others), tuple(masks))


@dataclass(frozen=True)
class _Choice:
    """A joint context whose columns come from several strengths."""

    context: JointContext

    @classmethod
    def empty(cls, moments: Moments) -> _Choice:
        """Begin with nothing chosen."""
        n_columns = len(moments.sums)
        to_truth, to_logit = np.zeros((2, n_columns, n_columns // 2))
        return cls(JointContext(JointRegression(to_truth, to_logit), _stack(moments)))

    def take(self, labels: npt.NDArray[np.intp], regression: JointRegression) -> None:
        """Let some labels have the weights of a regression."""
        self.context.regression.to_truth[:, labels] = regression.to_truth[:, labels]
        self.context.regression.to_logit[:, labels] = regression.to_logit[:, labels]


def _stack(moments: Moments) -> DoubleArray:
    """Return means and scales as one array."""
    return np.stack([moments.means, moments.scales])
