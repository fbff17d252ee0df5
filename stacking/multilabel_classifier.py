"""Stack scikit-learn classifiers on a multi-label target, which ``sklearn.ensemble.StackingClassifier`` does not do.

Every base classifier is cross-fitted on the same stratified folds, a combiner learns on those out-of-fold
probabilities, and each base classifier is then fitted once more on all rows for new data (Wolpert, "Stacked
generalization", Neural Networks 5, 1992). The combiner by default is :class:`stacking.StackingEnsemble`, which keeps to
the plain mean where learning more does not pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    check_is_fitted,
    validate_data,
)

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from stacking.predictions import PredictionSet

FloatArray = NDArray[np.float32]

SMALLEST_PROBABILITY = 1e-7
"""No answer is certain: scikit-learn expects probabilities of indicator targets inside (0, 1)."""


@dataclass(frozen=True)
class FittedBase:
    """A base classifier fitted on the labels that had both values; the other labels keep a constant."""

    constants: NDArray[np.float64]  # (n_labels,) NaN where a classifier answers
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
        return scores


@dataclass(frozen=True)
class Target:
    """A target as indicators, with what is needed to answer in its own form."""

    indicators: NDArray[np.uint8]  # (n_samples, n_labels)
    classes: NDArray[Any] | list[NDArray[Any]]  # an array for a one-dimensional target
    labels: tuple[str, ...]


class StackingMultilabelClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Stack scikit-learn classifiers on a binary indicator target of many labels.

    Classifiers that handle many labels natively are fitted once per fold, the others once per label and fold. A label
    that has one value only in a training fold is answered by that constant. Scores of classifiers without
    ``predict_proba`` are the logistic function of ``decision_function``. A one-dimensional target is decided at .5, an
    indicator matrix at the thresholds that the final estimator tuned for micro-F1.

    Parameters
    ----------
    estimators : sequence of (str, estimator)
        Names and scikit-learn classifiers; they are cloned, never changed.
    final_estimator : combiner or None, default=None
        A combiner of :mod:`stacking` or a :class:`stacking.StackingEnsemble`; ``None`` means
        ``StackingEnsemble(method="auto")``.
    n_splits : int, default=5
        Folds for the out-of-fold scores, at least 2.
    n_jobs : int or None, default=None
        Passed to :class:`joblib.Parallel` without a backend, so ``joblib.parallel_config`` decides where the fits run.
    random_state : int or None, default=0
        Seed of the folds and of the default final estimator.

    Attributes
    ----------
    classes_ : list of ndarray of shape (2,), or ndarray of shape (2,) for a one-dimensional target
        The values of each label.
    estimators_ : list of FittedBase
        The base classifiers fitted on all rows.
    final_estimator_ : combiner
        The combiner fitted on the out-of-fold scores.
    thresholds_ : ndarray of shape (n_labels,)
        A label fires where its score reaches its threshold.
    labels_ : tuple of str
        Label names: the columns of a data frame, else ``label0`` ….

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5(2), 1992.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> X, y = make_multilabel_classification(n_samples=120, n_classes=3, random_state=0)
    >>> bases = [("logistic", LogisticRegression()), ("neighbors", KNeighborsClassifier())]
    >>> StackingMultilabelClassifier(bases).fit(X, y).predict_proba(X).shape
    (120, 3)
    """

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        final_estimator: Any = None,
        *,
        n_splits: int = 5,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.n_splits = n_splits
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Cross-fit the base classifiers, learn the combiner, refit the base classifiers on all rows.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features, handed to the base classifiers as they are.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Binary indicators; a one-dimensional target of two values is the case of one label.
        groups : array-like of shape (n_samples,), optional
            Rows that must share a fold, such as photos of one product.

        Returns
        -------
        StackingMultilabelClassifier
            Itself, fitted.

        Raises
        ------
        ValueError
            If ``estimators`` is empty, a name is repeated, or the target is neither binary nor a binary indicator
            matrix.
        """
        names = self._check_estimators()
        X = self._check_features(X, reset=True)
        target = _read_target(y, X.shape[0])
        self.classes_, self.labels_ = target.classes, target.labels
        self._one_dimensional = isinstance(target.classes, np.ndarray)
        indicators = target.indicators
        folds = self._folds(indicators, groups)
        jobs = [(base, fold) for base in range(len(names)) for fold in np.unique(folds)]
        held_out = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_and_score)(self.estimators[base][1], X, indicators, folds, fold) for base, fold in jobs
        )
        scores = np.empty((len(names), *indicators.shape), np.float32)
        for (base, fold), rows in zip(jobs, held_out, strict=True):
            scores[base, folds == fold] = rows
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_base)(estimator, X, indicators) for _, estimator in self.estimators
        )
        self._fit_final(self._as_predictions(scores), indicators, groups)
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the combined probability of every label.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Probabilities in [0, 1]; for a one-dimensional target shape (n_samples, 2), one column per class.
        """
        scores = self._label_scores(X)
        return np.column_stack([1 - scores[:, 0], scores[:, 0]]) if self._one_dimensional else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels whose probability reaches their threshold.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_labels) or (n_samples,)
            Indicators in the form of the target given to ``fit``.
        """
        fired = self._label_scores(X) >= self.thresholds_
        if self._one_dimensional:
            return self.classes_[np.minimum(fired[:, 0], len(self.classes_) - 1)]
        return fired.astype(int)

    def _label_scores(self, X: Any) -> FloatArray:
        """Return the combined scores of shape (n_samples, n_labels)."""
        check_is_fitted(self)
        X = self._check_features(X, reset=False)
        scores = np.stack([fitted.predict_proba(X) for fitted in self.estimators_])
        combined = self.final_estimator_.predict_proba(self._as_predictions(scores))
        return np.clip(combined, SMALLEST_PROBABILITY, np.float32(1 - SMALLEST_PROBABILITY))

    def _as_predictions(self, scores: FloatArray) -> PredictionSet:
        """Wrap base scores of shape (n_models, n_samples, n_labels) with the names of this stack."""
        from stacking.predictions import PredictionSet

        return PredictionSet(scores, models=[name for name, _ in self.estimators], labels=self.labels_)

    def _fit_final(self, predictions: PredictionSet, indicators: NDArray[np.uint8], groups: ArrayLike | None) -> None:
        """Fit the combiner on out-of-fold scores and take its thresholds, or tune one on its cross-fitted scores."""
        from stacking.ensemble import StackingEnsemble

        final = StackingEnsemble(method="auto", random_state=self.random_state)
        if self.final_estimator is not None:
            final = clone(self.final_estimator)
        self.final_estimator_ = final.fit(predictions, indicators, groups=groups)
        if self._one_dimensional:
            self.thresholds_ = np.full(1, 0.5)
        elif isinstance(final, StackingEnsemble):
            self.thresholds_ = final.thresholds_
        else:
            self.thresholds_ = self._tune(final, predictions.with_truth(indicators).with_groups(groups), groups)

    def _tune(self, combiner: Any, predictions: PredictionSet, groups: ArrayLike | None) -> NDArray[np.float64]:
        """Choose thresholds on scores that the combiner gave to rows it was not fitted on."""
        from stacking.threshold_choice import choose_thresholds

        folds = self._folds(np.asarray(predictions.y_true), groups)
        scores = combiner.cross_fit_predict(predictions, folds=folds)
        return choose_thresholds(scores, predictions, folds).thresholds

    def _folds(self, indicators: NDArray[np.uint8], groups: ArrayLike | None) -> NDArray[np.integer[Any]]:
        """Return the fold in which each row is held out."""
        if len(indicators) < 2:
            raise ValueError("X must hold at least 2 samples to cross-fit: got n_samples=1.")
        from stacking.folds import stratified_group_folds

        n_splits = min(self.n_splits, len(indicators))
        return stratified_group_folds(indicators, n_splits, groups=groups, random_state=self.random_state)

    def _check_estimators(self) -> list[str]:
        """Return the names, checked."""
        names = [name for name, _ in self.estimators]
        if not names:
            raise ValueError("estimators must hold at least one (name, classifier) pair: got an empty list.")
        if len(set(names)) != len(names):
            raise ValueError(f"estimators must have different names: got {names}; rename the repeated ones.")
        if self.n_splits < 2:
            raise ValueError(f"n_splits must be at least 2: got {self.n_splits}.")
        return names

    def _check_features(self, X: Any, *, reset: bool) -> Any:
        """Leave data frames to the base classifiers (they may pick columns); check everything else."""
        if hasattr(X, "iloc"):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            return X
        takes_sparse = self.__sklearn_tags__().input_tags.sparse
        return validate_data(self, X, reset=reset, accept_sparse="csr" if takes_sparse else False)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.input_tags.sparse = all(get_tags(estimator).input_tags.sparse for _, estimator in self.estimators)
        return tags


def _read_target(y: Any, n_samples: int) -> Target:
    """Read a target of one or many labels; a single column is the case of one label."""
    if y is None:
        raise ValueError("StackingMultilabelClassifier requires y to be passed, but the target y is None.")
    columns = getattr(y, "columns", None)
    dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    dense = dense[:, 0] if dense.ndim == 2 and dense.shape[1] == 1 else dense
    dense = check_array(dense, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(dense)
    if len(dense) != n_samples:
        raise ValueError(f"y must have one row per row of X: got {len(dense)} rows for {n_samples}.")
    kind = type_of_target(dense, input_name="y")
    if dense.ndim == 1:
        classes = np.unique(dense)
        if kind != "binary":
            raise ValueError(
                "Only binary classification is supported for a one-dimensional target. "
                f"The type of the target is {kind}; give one indicator column per class."
            )
        return Target((dense == classes[-1]).astype(np.uint8)[:, None], classes, ("label0",))
    if kind != "multilabel-indicator":
        raise ValueError(f"y must be a matrix of 0 and 1, one column per label: got a {kind} target.")
    names = range(dense.shape[1]) if columns is None else columns
    labels = tuple(f"label{name}" if columns is None else str(name) for name in names)
    return Target(dense.astype(np.uint8), [np.array([0, 1])] * len(labels), labels)


def _fit_and_score(
    estimator: Any, X: Any, y: NDArray[np.uint8], folds: NDArray[np.integer[Any]], fold: int
) -> FloatArray:
    """Fit on the rows outside a fold and return the scores of its rows."""
    fitted = _fit_base(estimator, _safe_indexing(X, np.flatnonzero(folds != fold)), y[folds != fold])
    return fitted.predict_proba(_safe_indexing(X, np.flatnonzero(folds == fold)))


def _fit_base(estimator: Any, X: Any, y: NDArray[np.uint8]) -> FittedBase:
    """Fit one base classifier on the labels that have both values in ``y``."""
    y = y.astype(np.int64)  # some classifiers code absence as -1, which no unsigned type holds
    share = y.mean(axis=0, dtype=np.float64)
    varying = np.flatnonzero((share > 0) & (share < 1))
    constants = share.copy()
    constants[varying] = np.nan
    if len(varying) == 0:
        return FittedBase(constants, ())
    if len(varying) > 1 and _takes_many_labels(estimator):
        return FittedBase(constants, (clone(estimator).fit(X, y[:, varying]),))
    return FittedBase(constants, tuple(clone(estimator).fit(X, y[:, label]) for label in varying))


def _takes_many_labels(estimator: Any) -> bool:
    """Say whether a classifier fits an indicator matrix natively (meta-estimators declare only multiple outputs)."""
    tags = get_tags(estimator)
    declared = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    return bool(declared or tags.target_tags.multi_output)


def _positive_scores(classifier: Any, X: Any, n_labels: int) -> FloatArray:
    """Return probabilities of the value 1, shape (n_samples, n_labels), from whatever form the classifier gives."""
    if not hasattr(classifier, "predict_proba"):
        decision = np.asarray(classifier.decision_function(X), np.float64).reshape(-1, n_labels)
        return (1 / (1 + np.exp(-np.clip(decision, -30, 30)))).astype(np.float32)
    answer = classifier.predict_proba(X)
    if isinstance(answer, list):  # one (n_samples, n_classes) array per label
        return np.column_stack([np.asarray(one)[:, -1] for one in answer]).astype(np.float32)
    answer = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, np.float32)
    return answer[:, 1:2] if n_labels == 1 and answer.shape[1] == 2 else answer
