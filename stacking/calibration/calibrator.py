"""What all calibrators share: score matrices in, score matrices of the same shape out, one label at a time."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from stacking._checks import check_y_score
from stacking._typing import DoubleArray, FloatArray
from stacking.named_arrays import AxisNames, align_by_name, find_names
from stacking.truth import Truth


class Calibrator(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Base of maps from scores to better probabilities that keep each label's order of samples (ties may appear).

    A subclass implements ``_fit(y_score, y_true, weight)`` and ``_transform(y_score)``.
    """

    requires_truth = True

    n_labels_: int
    labels_: list[str] | None

    def fit(
        self,
        y_score: npt.ArrayLike,
        y_true: npt.ArrayLike | None = None,
        *,
        y_known: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn the map on scores of rows that their model was not fitted on.

        Parameters
        ----------
        y_score : array of shape (n_samples, n_labels)
            Scores in [0, 1].
        y_true : array of shape (n_samples, n_labels), optional
            The truth, 0 or 1; needed by all but `PriorShift`.
        y_known : array of bool, shape (n_samples, n_labels), optional
            False where the label was not annotated.
        sample_weight : array of shape (n_samples,), optional
            Non-negative weights.

        Returns
        -------
        Self
            Fitted.

        Raises
        ------
        ValueError
            If shapes disagree or the truth is missing.
        """
        self.labels_ = find_names("label", {"y_score": y_score, "y_true": y_true})
        y_score, y_true, y_known, sample_weight = align_by_name(
            y_score=y_score, y_true=y_true, y_known=y_known, sample_weight=sample_weight
        )
        scores = np.asarray(check_y_score(y_score), dtype=np.float64)
        if y_true is None and self.requires_truth:
            raise ValueError(f"y_true must be given, {type(self).__name__} learns from it: pass y_true.")
        self.n_labels_ = scores.shape[1]
        given = np.zeros(scores.shape, dtype=bool) if y_true is None else y_true
        shape = (len(scores), self.n_labels_)
        truth = Truth.check(given, y_known=y_known, sample_weight=sample_weight, shape=shape)
        scores = scores if truth.counted is None else scores[truth.counted]
        truth = truth.only_counted()
        weight = np.ones(scores.shape) if truth.y_known is None else truth.y_known.astype(np.float64)
        if truth.sample_weight is not None:
            weight *= (truth.sample_weight / truth.mean_weight)[:, None]
        self._fit(scores, None if y_true is None else truth.y_true.astype(np.float64), weight)
        return self

    def transform(self, y_score: npt.ArrayLike) -> FloatArray:
        """Map scores.

        Parameters
        ----------
        y_score : array of shape (n_samples, n_labels)
            Scores in [0, 1] of the same labels.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Calibrated scores in [0, 1].

        Raises
        ------
        ValueError
            If the number of labels differs from the fitted one.
        """
        check_is_fitted(self, "n_labels_")
        fitted = None if self.labels_ is None else AxisNames.of(self.labels_)
        (y_score,) = align_by_name({"label": ("the fitted scores", fitted)}, y_score=y_score)
        scores = np.asarray(check_y_score(y_score), dtype=np.float64)
        if scores.shape[1] != self.n_labels_:
            raise ValueError(f"y_score must have {self.n_labels_} labels as fitted: got {scores.shape[1]}.")
        return np.clip(self._transform(scores), 0.0, 1.0).astype(np.float32)

    def _fit(self, y_score: DoubleArray, y_true: DoubleArray | None, weight: DoubleArray) -> None:
        """Learn the map; arguments are checked."""
        raise NotImplementedError(f"{type(self).__name__} must implement _fit")

    def _transform(self, y_score: DoubleArray) -> DoubleArray:
        """Apply the map."""
        raise NotImplementedError(f"{type(self).__name__} must implement _transform")
