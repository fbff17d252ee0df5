"""A scikit-learn classifier as the combiner: its features are the scores of all members for all labels.

This is what ``sklearn.ensemble.StackingClassifier`` does with its final estimator (Wolpert, "Stacked generalization",
Neural Networks 5, 1992), for many labels. With many members and labels it learns from far more features than the
combiners of :mod:`stacking.combiners.meta_learners`, so it wants many rows or a strong penalty.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from stacking._typing import FloatArray
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.multilabel_bases import FittedBase, fit_base
from stacking.predictions import PredictionSet


class ClassifierCombiner(Combiner):
    """Fit a scikit-learn classifier on the members' scores.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned; fitted once where it takes many labels, else once per label.

    Attributes
    ----------
    classifier_ : FittedBase
        The fitted classifier; labels with one value only keep it.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> y_true = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 5, dtype=np.uint8)
    >>> y_scores = np.stack([0.2 + 0.6 * y_true, 0.5 + 0.0 * y_true])
    >>> combiner = ClassifierCombiner(LogisticRegression()).fit(y_scores, y_true)
    >>> (combiner.predict_proba(y_scores) > 0.5)[:2].tolist()
    [[True, False], [False, True]]
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"

    classifier_: FittedBase

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def _fit(self, predictions: PredictionSet) -> None:
        """Fit on the rows' scores; a score that is not covered is 0 in every row."""
        features = _features(predictions.to_array())
        truth = predictions.truth
        weight = None if truth.sample_weight is None else truth.sample_weight / truth.mean_weight
        self.classifier_ = fit_base(self.estimator, features, truth.y_true.view(np.uint8), weight, truth.y_known)

    def _combine_block(self, scores: FloatArray, covers: npt.NDArray[np.bool_]) -> FloatArray:
        """Score a block of rows."""
        return self.classifier_.predict_proba(_features(scores))

    def _state(self) -> CombinerState:
        """Refuse: a scikit-learn classifier has no form but pickle."""
        raise ValueError(
            "a final estimator of scikit-learn cannot be saved as plain files: pickle the stack, or take a combiner of "
            "stacking."
        )


def _features(scores: FloatArray) -> FloatArray:
    """Lay the scores (n_models, n_samples, n_labels) of a row side by side."""
    n_models, n_samples, n_labels = scores.shape
    return np.nan_to_num(scores, nan=0.0).transpose(1, 0, 2).reshape(n_samples, n_models * n_labels)
