"""Fit any scikit-learn classifier on an indicator matrix, and read its scores in one form.

Classifiers differ in what they take (many labels at once, or one) and in how they answer (a list of arrays, one array,
a decision function, decisions only); labels with one value in the training rows break many of them. Here a base always
gives scores of shape (n_samples, n_labels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import has_fit_parameter

from stacking._typing import DoubleArray, FloatArray
from stacking.links import sigmoid


@dataclass(frozen=True)
class FittedBase:
    """A base classifier fitted on the labels that had both values; the other labels keep a constant."""

    constants: DoubleArray  # (n_labels,) NaN where a classifier answers
    classifiers: tuple[Any, ...]  # one for all remaining labels, or one per remaining label

    def predict_proba(self, X: Any) -> FloatArray:
        """Answer constants where there is nothing to learn, and ask the classifiers for the rest.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        """
        varying = np.flatnonzero(np.isnan(self.constants))
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        scores = np.broadcast_to(self.constants, (n_samples, len(self.constants))).astype(np.float32)
        if len(varying) == 0:
            return scores
        if len(self.classifiers) == 1:
            scores[:, varying] = _positive_scores(self.classifiers[0], X, len(varying))
        else:
            for label, classifier in zip(varying, self.classifiers, strict=True):
                scores[:, label] = _positive_scores(classifier, X, 1)[:, 0]
        return np.clip(scores, 0.0, 1.0, out=scores)  # sums of float32 shares may end beyond 1


def fit_base(
    estimator: Any,
    X: Any,
    y: NDArray[np.uint8],
    sample_weight: DoubleArray | None = None,
    known: NDArray[np.bool_] | None = None,
) -> FittedBase:
    """Fit one base classifier on the labels that have both values.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned, not changed.
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        Features.
    y : ndarray of uint8, shape (n_samples, n_labels)
        Indicators.
    sample_weight : ndarray of shape (n_samples,), optional
        Weights, used where the classifier takes them.
    known : ndarray of bool, shape (n_samples, n_labels), optional
        False where an indicator is not known; no label learns from such rows, and each is then fitted for itself.

    Returns
    -------
    FittedBase
        One classifier for all labels where it takes many, else one per label.
    """
    y = y.astype(np.int64)  # some classifiers code absence as -1, which no unsigned type holds
    known = None if known is None or known.all() else known
    share = y.mean(axis=0, dtype=np.float64)
    if known is not None:
        share = (y * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    varying = np.flatnonzero((share > 0) & (share < 1))
    constants = share.copy()
    constants[varying] = np.nan
    weights = {} if sample_weight is None else _weight_parameter(estimator, sample_weight)
    if len(varying) == 0:
        return FittedBase(constants, ())
    if known is not None:
        return FittedBase(constants, tuple(_fit_known(estimator, X, y[:, k], known[:, k], weights) for k in varying))
    if len(varying) > 1 and _takes_many_labels(estimator):
        return FittedBase(constants, (clone(estimator).fit(X, y[:, varying], **weights),))
    return FittedBase(constants, tuple(_fit_label(estimator, X, y[:, label], weights) for label in varying))


def _fit_known(
    estimator: Any, X: Any, y: NDArray[Any], known: NDArray[np.bool_], weights: dict[str, DoubleArray]
) -> Any:
    """Fit a clone for one label on the rows where it is known."""
    rows = np.flatnonzero(known)
    own = {name: weight[rows] for name, weight in weights.items()}
    return _fit_label(estimator, _safe_indexing(X, rows), y[rows], own)


def fit_and_score(
    estimator: Any,
    X: Any,
    y: NDArray[np.uint8],
    held_out: NDArray[np.bool_],
    sample_weight: DoubleArray | None = None,
) -> FloatArray:
    """Fit on the rows that are not held out and score those that are.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned, not changed.
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        Features.
    y : ndarray of uint8, shape (n_samples, n_labels)
        Indicators.
    held_out : ndarray of bool, shape (n_samples,)
        True for the rows of the fold.
    sample_weight : ndarray of shape (n_samples,), optional
        Weights.

    Returns
    -------
    ndarray of float32, shape (n_held_out, n_labels)
        Scores in [0, 1].
    """
    rest = np.flatnonzero(~held_out)
    weight = None if sample_weight is None else sample_weight[rest]
    fitted = fit_base(estimator, _safe_indexing(X, rest), y[rest], weight)
    return fitted.predict_proba(_safe_indexing(X, np.flatnonzero(held_out)))


def takes_sample_weight(estimator: Any) -> bool:
    """Say whether a classifier, or the last step of a pipeline, is fitted with sample weights.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Any.

    Returns
    -------
    bool
        True where its ``fit`` has a parameter ``sample_weight``.
    """
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if not has_fit_parameter(last, "sample_weight"):
        return False
    return not _takes_matrix_only(last) or takes_sample_weight(last.estimator)  # it hands them on


def _fit_label(estimator: Any, X: Any, y: NDArray[Any], weights: dict[str, DoubleArray]) -> Any:
    """Fit a clone for one label; what takes matrices only is given one column."""
    return clone(estimator).fit(X, y[:, None] if _takes_matrix_only(estimator) else y, **weights)


def _takes_matrix_only(estimator: Any) -> bool:
    """Say whether a classifier of several outputs refuses a one-dimensional target, at the end of pipelines as well."""
    while hasattr(estimator, "steps") or hasattr(estimator, "_run_search"):  # pipelines and searches hide this tag
        estimator = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator.estimator
    tags = get_tags(estimator).target_tags
    return bool(tags.multi_output and not tags.single_output)


def _weight_parameter(estimator: Any, sample_weight: DoubleArray) -> dict[str, DoubleArray]:
    """Give the weights the name under which ``fit`` takes them; nothing where it takes none."""
    if not takes_sample_weight(estimator):
        return {}
    prefix = f"{estimator.steps[-1][0]}__" if hasattr(estimator, "steps") else ""
    return {f"{prefix}sample_weight": sample_weight}


def _takes_many_labels(estimator: Any) -> bool:
    """Say whether a classifier fits an indicator matrix natively (meta-estimators declare only multiple outputs)."""
    if _takes_matrix_only(estimator):
        return True
    tags = get_tags(estimator)
    declared = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    return bool(declared or tags.target_tags.multi_output)


def _positive_scores(classifier: Any, X: Any, n_labels: int) -> FloatArray:
    """Return scores of the value 1, shape (n_samples, n_labels), from whatever form the classifier gives."""
    if not hasattr(classifier, "predict_proba"):
        if not hasattr(classifier, "decision_function"):
            return np.asarray(classifier.predict(X), np.float32).reshape(-1, n_labels)
        decision = np.asarray(classifier.decision_function(X), np.float64).reshape(-1, n_labels)
        return sigmoid(decision).astype(np.float32)
    answer = classifier.predict_proba(X)
    if isinstance(answer, list):  # one (n_samples, n_classes) array per label
        return np.column_stack([np.asarray(one)[:, -1] for one in answer]).astype(np.float32)
    answer = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, np.float32)
    return answer[:, 1:2] if n_labels == 1 and answer.shape[1] == 2 else answer
