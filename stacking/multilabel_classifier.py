"""Stack scikit-learn classifiers on a multi-label target, which ``sklearn.ensemble.StackingClassifier`` does not do.

Every base classifier is cross-fitted on the same stratified folds, a combiner learns on those out-of-fold
probabilities, and each base classifier is then fitted once more on all rows for new data (Wolpert, "Stacked
generalization", Neural Networks 5, 1992). The combiner by default is :class:`stacking.StackingEnsemble`, which keeps to
the plain mean where learning more does not pay.
"""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, TransformerMixin, clone, is_classifier
from sklearn.utils import Bunch, _safe_indexing, get_tags
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import (
    _check_feature_names,
    _check_feature_names_in,
    _check_n_features,
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    validate_data,
)

from stacking._checks import check_at_least, check_names, refuse_mask
from stacking._typing import FloatArray
from stacking.combiners.multilabel_bases import fit_and_score, fit_base, takes_sample_weight
from stacking.links import SMALLEST_SCORE
from stacking.multilabel_target import Target, holds_text, name_rows, read_target, refuse_gaps
from stacking.named_arrays import AxisNames, align_by_name, is_frame
from stacking.process.child_processes import run_parallel

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from stacking.decision_rules.choice import TunedRule
    from stacking.metrics.named import Metric
    from stacking.named_arrays import AxisNames
    from stacking.predictions import PredictionSet
    from stacking.truth import Truth


FEWEST_ROWS_TO_TUNE = 50
"""Below, labels are decided at .5, as scikit-learn expects of probabilities: so few rows place a threshold badly.
The number is a choice, not tuned."""


class StackingMultilabelClassifier(ClassifierMixin, TransformerMixin, _BaseComposition):  # type: ignore[misc]
    """Stack scikit-learn classifiers on a binary indicator target of many labels.

    Classifiers that handle many labels natively are fitted once per fold, the others once per label and fold. A label
    that has one value only in a training fold is answered by that constant. Scores of classifiers without
    ``predict_proba`` are the logistic function of ``decision_function``. A one-dimensional target and fewer
    than 50 rows are decided at .5, else a label fires at the threshold that was tuned for micro-F1 on the out-of-fold
    scores, so that ``predict`` is more than ``predict_proba`` rounded. Parameters of the base classifiers
    are reached as ``name__parameter``, for example in a grid search, and a base classifier is left out by setting it to
    ``"drop"``.

    Parameters
    ----------
    estimators : sequence of (str, estimator)
        Names and scikit-learn classifiers, or ``"drop"``; they are cloned, never changed.
    final_estimator : str, combiner, classifier or None, default=None
        The name of a method (see :func:`stacking.combiners.registry.list_methods`), a combiner of :mod:`stacking`, a
        :class:`stacking.StackingEnsemble`, or a scikit-learn classifier that learns from all scores of all labels.
        ``None`` means ``"auto"``.
    n_splits : int, default=5
        Folds for the out-of-fold scores, at least 2.
    cv : int, splitter, iterable or None, default=None
        As in scikit-learn: a number of folds, a splitter such as ``GroupKFold``, or pairs of row numbers to train and
        to test on; every row is tested once. None means `n_splits`. Numbers give folds that are stratified over the
        labels and keep groups whole.
    n_jobs : int or None, default=None
        Passed to :class:`joblib.Parallel` without a backend, so ``joblib.parallel_config`` decides where the fits run.
    random_state : int or None, default=0
        Seed of the folds and of the default final estimator.
    metric : str, Metric or callable, default="micro-f1"
        What the final estimator is fitted for, the thresholds are tuned for and ``score`` goes by, as
        `stacking.metrics.find_metric` takes it; an ensemble that is given keeps its own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,), or of shape (2,) for a one-dimensional target
        The numbers of the labels, one per column of ``predict_proba``, as scikit-learn's own multi-label classifiers
        have them; for a one-dimensional target its two values.
    estimators_ : list of FittedBase
        The base classifiers fitted on all rows, without those dropped.
    named_estimators_ : Bunch
        The same by name: ``stack.named_estimators_["logistic"]`` or ``stack.named_estimators_.logistic``.
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
        cv: Any = None,
        n_jobs: int | None = None,
        random_state: int | None = 0,
        metric: str | Metric | Callable[..., Any] = "micro-f1",
    ) -> None:
        self.metric = metric
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.n_splits = n_splits
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def _parts(self) -> list[tuple[str, Any]]:
        """Names and base classifiers that take part."""
        return [(name, estimator) for name, estimator in self.estimators if not _is_dropped(estimator)]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, with those of the base classifiers under their names.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the base classifiers and their parameters.

        Returns
        -------
        dict
            Values by name.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a base classifier is replaced under its name, its parameters under ``name__parameter``.

        Parameters
        ----------
        **params : object
            Values by name.

        Returns
        -------
        StackingMultilabelClassifier
            Itself.
        """
        self._set_params("estimators", **params)
        return self

    def fit(
        self, X: Any, y: ArrayLike, *, groups: ArrayLike | None = None, label_rows: Any = None, **fit_params: ArrayLike
    ) -> Self:
        """Cross-fit the base classifiers, learn the combiner, refit the base classifiers on all rows.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features, handed to the base classifiers as they are.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Binary indicators, dense, sparse or a data frame whose columns name the labels; a one-dimensional target of
            two values is the case of one label.
        groups : array-like of shape (n_samples,), optional
            Rows that must share a fold, such as photos of one product; one whose group is blank (None, NaN, "") stands
            alone.
        label_rows : data frame, array or path, shape (n_rows, n_labels), optional
            Targets of further rows without features, in any form that `StackingEnsemble.fit` takes: they teach what
            labels go together. Rows of a data frame whose names are among those of `X` or `y` are left out; arrays name
            no rows, so they must be others.
        **fit_params : array-like of shape (n_samples,)
            ``sample_weight`` alone: weights of the rows for the base classifiers, the final estimator and the
            thresholds. A row of weight 0 is left out; base classifiers that take no weights are named in a warning. As
            in scikit-learn's own stack it is no named parameter, since weights and repeated rows are not the same to
            folds.

        Returns
        -------
        StackingMultilabelClassifier
            Itself, fitted.

        Raises
        ------
        TypeError
            If another fit parameter is given.
        ValueError
            If ``estimators`` is empty, a name is repeated, one is no classifier, or the target is neither binary nor a
            binary indicator matrix.
        """
        self._check_estimators()
        final = self._create_final()
        sample_weight = fit_params.pop("sample_weight", None)
        if fit_params:
            raise TypeError(f"fit takes groups and sample_weight beside X and y: got {', '.join(fit_params)}.")
        X = self._check_features(X, reset=True)
        rows = name_rows(X, y)
        target = read_target(y, _num_samples(X), rows)
        self.classes_, self.labels_ = target.classes, target.labels
        self._one_dimensional = target.is_one_dimensional
        if hasattr(final, "check_parameters"):
            final.check_parameters(target.labels)
        groups, sample_weight = align_by_name({"row": rows}, "position", groups=groups, sample_weight=sample_weight)
        given = self._given_folds(X, target, groups)
        X, truth = self._read_truth(X, target.indicators, sample_weight, groups)
        if given is None:
            folds = self._folds(truth)
        else:  # rows of weight 0 are gone
            folds = given if len(given) == len(truth.y_true) else given[np.asarray(sample_weight) > 0]
        indicators = truth.y_true.view(np.uint8)
        weight = None if truth.sample_weight is None else truth.sample_weight / truth.mean_weight
        jobs = [(base, fold) for base in range(len(self._parts)) for fold in np.unique(folds)]
        held_out = run_parallel(
            (delayed(fit_and_score)(self._parts[base][1], X, indicators, folds == fold, weight) for base, fold in jobs),
            self.n_jobs,
        )
        scores = np.empty((len(self._parts), *indicators.shape), np.float32)
        for (base, fold), part in zip(jobs, held_out, strict=True):
            scores[base, folds == fold] = part
        self.estimators_ = run_parallel(
            (delayed(fit_base)(estimator, X, indicators, weight) for _, estimator in self._parts), self.n_jobs
        )
        self.named_estimators_ = Bunch(**dict(zip([name for name, _ in self._parts], self.estimators_, strict=True)))
        metadata = {"y_true": indicators, "sample_weight": truth.sample_weight, "groups": truth.groups}
        self._fit_final(
            final, self._with_label_rows(self._as_predictions(scores, **metadata), label_rows, rows[1], final)
        )
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the scores of the base classifiers, side by side, as `sklearn.ensemble.StackingClassifier` does.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features as in ``fit``. Rows that were fitted on have scores of classifiers that have seen them.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_estimators * n_labels)
            All labels of the first base classifier, then those of the next; named by ``get_feature_names_out``, and a
            data frame after ``set_output(transform="pandas")``.
        """
        scores = self._base_scores(X)
        return scores.transpose(1, 0, 2).reshape(scores.shape[1], -1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Name the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the features; they decide nothing, but must be those of ``fit``.

        Returns
        -------
        ndarray of str, shape (n_estimators * n_labels,)
            ``logistic_label0 …``
        """
        check_is_fitted(self, "n_features_in_")
        _check_feature_names_in(self, input_features, generate_names=False)
        return np.array([f"{name}_{label}" for name, _ in self._parts for label in self.labels_], dtype=object)

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
        """Return the labels whose probability reaches their threshold; image rules of the final estimator are kept.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_labels) or (n_samples,)
            Indicators in the form of the target given to ``fit``.
        """
        fired = self._decide(self._label_scores(X))
        if self._one_dimensional:
            return self.classes_[np.minimum(fired[:, 0], len(self.classes_) - 1)]
        return fired.astype(int)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Score the answers for some samples by `metric`, turned so that larger is better.

        As in scikit-learn's estimators that choose by a metric, it is that metric which scores, not the share of rows
        whose labels are all right (``sklearn.metrics.accuracy_score`` of ``predict``). A one-dimensional target is
        scored by accuracy.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Features as in ``fit``.
        y : array-like, sparse matrix or data frame of shape (n_samples, n_labels) or (n_samples,)
            The truth; rows and labels that have names are matched by them, as in ``fit``.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples.

        Returns
        -------
        float
            The metric, negative for losses.
        """
        from stacking.metrics.named import find_metric

        check_is_fitted(self)
        rows = {"row": name_rows(X, y)}
        if self._one_dimensional:
            y, sample_weight = align_by_name(rows, "position", y=y, sample_weight=sample_weight)
            return float(super().score(X, y, sample_weight))
        metric = find_metric(self.metric)
        given = y.toarray() if hasattr(y, "toarray") else y
        named = rows | {"label": ("the stack", AxisNames.of(self.labels_))} if is_frame(given) else rows
        truth, sample_weight = align_by_name(named, "position", y_true=given, sample_weight=sample_weight)
        answers = self.predict(X) if metric.needs_decisions else self.predict_proba(X)
        return metric.sign * metric(truth, answers, sample_weight=sample_weight)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted stack to a folder, without pickle.

        The classifiers are written by skops (``pip install 'labelstack[skops]'``), what combines them as
        `StackingEnsemble.save` writes it.

        Parameters
        ----------
        folder : path
            New or empty, or an earlier stack to replace.
        overwrite : bool, default=False
            Replace an earlier stack; it stays until the new one is whole. Other files are never touched.

        Raises
        ------
        ImportError
            If skops is not installed.
        OutputRefusedError
            If the folder holds a stack that was not to be replaced, or something else.
        TypeError
            If the final estimator is a scikit-learn classifier or a bare combiner: give ``StackingEnsemble(combiner)``.
        """
        from stacking.ensemble.classifier_folder import describe_stack, write_classifier_folder

        check_is_fitted(self)
        estimators = [
            (name, estimator if _is_dropped(estimator) else clone(estimator)) for name, estimator in self.estimators
        ]
        parts = (self.final_estimator_, estimators, dict(self.named_estimators_), describe_stack(self))
        write_classifier_folder(folder, *parts, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, trusted: Collection[str] = ()) -> Self:
        """Read a stack that `save` wrote.

        Parameters
        ----------
        folder : path
            Its folder. It may be a stranger's: only scikit-learn's and numpy's types are built, and those that are
            named in `trusted`.
        trusted : collection of str, default=()
            Full names of further types; an error lists those that are needed.

        Returns
        -------
        StackingMultilabelClassifier
            Fitted.

        Raises
        ------
        ImportError
            If skops is not installed.
        ValueError
            If a file is missing or was changed, or a type is not trusted.
        """
        from stacking.ensemble.classifier_folder import read_classifier_folder, restore_stack
        from stacking.files.untrusted import damage_of

        ensemble, estimators, fitted, facts = read_classifier_folder(folder, trusted)
        with damage_of(f"stack {folder}", "fit it again"):
            stack = cls(estimators, clone(ensemble), **facts["parameters"])
            stack.final_estimator_, stack.named_estimators_ = ensemble, Bunch(**fitted)
            stack.estimators_ = [fitted[name] for name, _ in stack._parts]
            restore_stack(stack, facts)
        return stack

    def _label_scores(self, X: Any) -> FloatArray:
        """Return the combined scores of shape (n_samples, n_labels)."""
        scores = self._as_predictions(self._base_scores(X))
        combined = self.final_estimator_.predict_proba(scores)
        # No answer is certain: scikit-learn expects probabilities of indicator targets inside (0, 1).
        return np.clip(combined, SMALLEST_SCORE, np.float32(1 - SMALLEST_SCORE))

    def _base_scores(self, X: Any) -> FloatArray:
        """Return the scores of the base classifiers, shape (n_estimators, n_samples, n_labels)."""
        check_is_fitted(self)
        X = self._check_features(X, reset=False)
        return np.stack([fitted.predict_proba(X) for fitted in self.estimators_])

    def _as_predictions(self, scores: FloatArray, **metadata: Any) -> PredictionSet:
        """Wrap base scores of shape (n_models, n_samples, n_labels) with the names of this stack."""
        from stacking.predictions import PredictionSet

        names = [name for name, _ in self._parts]
        return PredictionSet(scores, models=names, labels=self.labels_, **metadata)

    def _read_truth(
        self, X: Any, indicators: NDArray[np.uint8], sample_weight: ArrayLike | None, groups: ArrayLike | None
    ) -> tuple[Any, Truth]:
        """Check weights and groups, leave out the rows of weight 0, and warn of bases that take no weights."""
        from stacking.metrics.named import find_metric
        from stacking.truth import Truth

        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            weightless = [name for name, estimator in self._parts if not takes_sample_weight(estimator)]
            if weightless:
                warnings.warn(
                    f"sample_weight does not reach {', '.join(map(repr, weightless))}: they take none; the other base "
                    "classifiers, the final estimator and the thresholds use it.",
                    stacklevel=3,
                )
        truth = Truth.check(indicators, sample_weight=sample_weight, groups=groups)
        find_metric(self.metric).check_truth(truth)
        if truth.counted is None:
            return X, truth
        return _safe_indexing(X, np.flatnonzero(truth.counted)), truth.only_counted()

    def _with_label_rows(
        self, predictions: PredictionSet, label_rows: Any, rows: AxisNames | None, final: Any
    ) -> PredictionSet:
        """Add the label rows that are no rows of the fit, for a final estimator that learns from them."""
        from stacking.combiners.label_rows import teach_label_rows

        taught = teach_label_rows(predictions, label_rows, [final])
        more = taught.label_rows
        if more is None or rows is None or rows.is_made_up:
            return taught
        return predictions.with_label_rows(more.without(np.array(rows.names, dtype=np.str_), None, None))

    def _fit_final(self, final: Any, predictions: PredictionSet) -> None:
        """Fit the combiner on out-of-fold scores and take its thresholds, or tune one on its cross-fitted scores."""
        from stacking.ensemble.ensemble import StackingEnsemble

        self.final_estimator_ = final.fit(predictions)
        self._tuned: TunedRule | None = None
        if self._one_dimensional or predictions.n_samples < FEWEST_ROWS_TO_TUNE:
            self.thresholds_ = np.full(predictions.n_labels, 0.5)
        elif isinstance(final, StackingEnsemble):
            self.thresholds_ = final.thresholds_
        else:
            self._tuned = self._tune(final, predictions)
            self.thresholds_ = self._tuned.thresholds

    def _decide(self, y_score: FloatArray) -> NDArray[np.bool_]:
        """Decide by the thresholds, and by the image rules of a final estimator that has some."""
        from stacking.ensemble.ensemble import StackingEnsemble

        if isinstance(self.final_estimator_, StackingEnsemble):
            own = self.thresholds_ is self.final_estimator_.thresholds_  # then its rule may decide sample by sample
            return self.final_estimator_.decide(y_score, None if own else self.thresholds_)
        if self._tuned is not None and self.thresholds_ is self._tuned.thresholds:
            return self._tuned.decide(y_score)
        return y_score >= self.thresholds_

    def _create_final(self) -> Any:
        """Build the unfitted combiner or ensemble that the final estimator stands for."""
        from stacking.combiners.classifier import ClassifierCombiner
        from stacking.combiners.combiner import Combiner
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.metrics.named import find_metric

        given = "auto" if self.final_estimator is None else self.final_estimator
        find_metric(self.metric)
        if isinstance(given, str):
            return StackingEnsemble(given, random_state=self.random_state, metric=self.metric)
        if isinstance(given, StackingEnsemble | Combiner):
            return clone(given)
        if not hasattr(given, "fit") or not is_classifier(given):
            raise ValueError(
                "final_estimator must be the name of a method, a combiner, a StackingEnsemble or a scikit-learn "
                f"classifier: got {given!r}."
            )
        return ClassifierCombiner(clone(given))

    def _tune(self, combiner: Any, predictions: PredictionSet) -> TunedRule:
        """Choose a decision rule on scores that the combiner gave to rows it was not fitted on."""
        from stacking.decision_rules.choice import choose_thresholds
        from stacking.metrics.named import find_metric

        folds = self._folds(predictions.truth)
        scores = combiner.predict_out_of_fold(predictions, folds=folds)
        return choose_thresholds(scores, predictions, folds, metric=find_metric(self.metric))

    def _given_folds(self, X: Any, target: Target, groups: ArrayLike | None) -> NDArray[np.intp] | None:
        """Return the folds of a splitter or of pairs of row numbers; None where `cv` is a number or None."""
        from stacking.folds import read_folds

        if self.cv is None or isinstance(self.cv, numbers.Integral):
            return None
        y = target.indicators[:, 0] if self._one_dimensional else target.indicators
        return read_folds(self.cv, X, y, groups)

    @property
    def _n_folds(self) -> int:
        """How many folds are dealt where `cv` names none."""
        return int(self.cv) if isinstance(self.cv, numbers.Integral) else self.n_splits

    def _folds(self, truth: Truth) -> NDArray[np.intp]:
        """Return the fold in which each row is held out."""
        from stacking.folds import deal_folds

        if len(truth.y_true) < 2:
            raise ValueError("X must hold at least 2 samples to cross-fit: got n_samples=1.")
        if truth.n_units < 2:
            raise ValueError("groups must hold at least 2 groups to cross-fit: got 1, so no row could be held out.")
        return deal_folds(truth, self._n_folds, random_state=self.random_state)

    def _check_estimators(self) -> None:
        """Raise unless there are classifiers with names of their own."""
        names = [name for name, _ in self.estimators]
        if not self._parts:
            raise ValueError("estimators must hold at least one (name, classifier) pair: got an empty list.")
        if len(set(names)) != len(names):
            raise ValueError(f"estimators must have different names: got {names}; rename the repeated ones.")
        self._validate_names(check_names(names, name="the names of estimators").tolist())
        for name, estimator in self._parts:
            if not hasattr(estimator, "__sklearn_tags__") or not is_classifier(estimator):
                raise ValueError(f"estimators must be classifiers: got {estimator!r} under the name {name!r}.")
        check_at_least(2, **{"n_splits" if self.cv is None else "cv": self._n_folds})

    def _check_features(self, X: Any, *, reset: bool) -> Any:
        """Leave data frames and text to the base classifiers (they may pick columns); check everything else."""
        refuse_mask(X, "X")
        if (is_frame(X) and hasattr(X, "shape")) or holds_text(X):
            if getattr(X, "ndim", 1) == 2:
                _check_feature_names(self, X, reset=reset)
                _check_n_features(self, X, reset=reset)
            return X
        takes_sparse = "csr" if self.__sklearn_tags__().input_tags.sparse else False
        X = validate_data(self, X, reset=reset, accept_sparse=takes_sparse, ensure_all_finite=False)
        refuse_gaps(X, self._parts)
        return X

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.transformer_tags.preserves_dtype = []  # scores are float32
        bases = [get_tags(estimator).input_tags for _, estimator in self._parts]
        tags.input_tags.sparse = all(base.sparse for base in bases)
        tags.input_tags.allow_nan = all(base.allow_nan for base in bases)
        return tags


def _is_dropped(estimator: Any) -> bool:
    """Say whether a base classifier was set to "drop"."""
    return isinstance(estimator, str) and estimator == "drop"
