"""Stack five scikit-learn classifiers on small multi-label sets, beside their mean and scikit-learn's own stack."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from experiments.benchmarks.references import best_single_threshold, describe_held_out, iter_folds, micro_f1
from experiments.benchmarks.worker import Job
from stacking._typing import FloatingArray, LabelArray

DATA_SETS = ("emotions", "birds", "medical", "enron", "cal500", "bibtex")
SYSTEMS = ("best base", "plain mean", "sklearn StackingClassifier", "labelstack")

_Answer: TypeAlias = tuple[npt.NDArray[np.bool_], Any]
"""Decisions, and their scores or what was fitted and gives them: scores are not asked for on the clock."""


def tabular_job(path: str, system: str, quick: bool) -> Job:
    """Prepare one system on one set.

    Parameters
    ----------
    path : str
        Mulan set with ``X``, ``Y`` and ``split``.
    system : str
        One of `SYSTEMS`.
    quick : bool
        Whether to take few rows, features, labels and trees.

    Returns
    -------
    Job
        Runs fitting on the training rows and prediction of the test rows.
    """
    x, y, x_test, y_test = load_tabular(path, quick)

    def run() -> _Answer:
        bases = create_bases(quick)
        if system == "labelstack":
            from stacking import StackingMultilabelClassifier

            fitted = StackingMultilabelClassifier(bases, random_state=0).fit(x, y)
        elif system == "sklearn StackingClassifier":
            fitted = _fit_sklearn_stack(bases, x, y)
        else:
            return _decide_plainly(bases, x, y, x_test, average=system == "plain mean")
        return fitted.predict(x_test).astype(bool), fitted

    def describe(answer: _Answer) -> dict[str, float]:
        y_pred, scores = answer
        if system == "sklearn StackingClassifier":  # its own predict_proba takes multi-label answers for lists of them
            y_score = scores.final_estimator_.predict_proba(scores.transform(x_test))
        else:
            y_score = scores if isinstance(scores, np.ndarray) else _scores_of(scores, x_test, y_test.shape[1])
        return describe_held_out(y_test, y_pred, y_score)

    return Job(run, describe)


def load_tabular(path: str, quick: bool) -> tuple[FloatingArray, LabelArray, FloatingArray, LabelArray]:
    """Load a set by its own split, or 65/35 at random where it has none.

    Parameters
    ----------
    path : str
        The file.
    quick : bool
        Whether to take 300 rows, 40 features and 10 labels at most.

    Returns
    -------
    tuple of ndarray
        Training features and labels, test features and labels.
    """
    with np.load(path) as data:
        x, y, split = data["X"], data["Y"], data["split"]
    tune = split == "train"
    if not tune.any():
        tune = np.random.default_rng(0).random(len(y)) < 0.65
    if quick:
        kept = np.sort(np.random.default_rng(0).permutation(len(y))[:300])
        frequent = np.argsort(-y.sum(0, dtype=int))[:10]
        x, y, tune = x[kept][:, :40], y[kept][:, frequent], tune[kept]
    return x[tune], y[tune], x[~tune], y[~tune]


def create_bases(quick: bool) -> list[tuple[str, Any]]:
    """Create five different classifiers, each of which scores all labels.

    Parameters
    ----------
    quick : bool
        Whether to grow few trees.

    Returns
    -------
    list of (str, estimator)
        Names and classifiers.
    """
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # plain settings; how they were chosen is not recorded
    n_trees = 10 if quick else 200
    linear = OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=300))
    return [
        ("logistic", make_pipeline(StandardScaler(), linear)),
        ("forest", RandomForestClassifier(n_trees, min_samples_leaf=2, random_state=0)),
        ("extra trees", ExtraTreesClassifier(n_trees, min_samples_leaf=2, random_state=0)),
        ("neighbors", make_pipeline(StandardScaler(), KNeighborsClassifier(15))),
        ("bayes", OneVsRestClassifier(GaussianNB(var_smoothing=1e-2))),
    ]


def _fit_sklearn_stack(bases: list[tuple[str, Any]], x: FloatingArray, y: LabelArray) -> Any:
    """Fit scikit-learn's own stack, with a logistic regression per label on top."""
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold
    from sklearn.multiclass import OneVsRestClassifier

    final = OneVsRestClassifier(LogisticRegression(max_iter=300))
    folds = KFold(5, shuffle=True, random_state=0)
    return StackingClassifier(bases, final, cv=folds, stack_method="predict_proba").fit(x, y)


def _decide_plainly(
    bases: list[tuple[str, Any]], x: FloatingArray, y: LabelArray, x_test: FloatingArray, *, average: bool
) -> _Answer:
    """Cross-fit the bases, tune one threshold on the out-of-fold scores of their mean or of the best, refit, decide."""
    held_out = hold_out(bases, x, y)
    if average:
        threshold = best_single_threshold(held_out.mean(axis=0), y)
        scores = np.mean(score_new(bases, x, y, x_test), axis=0).astype(np.float32)
        return scores >= threshold, scores
    cuts = [best_single_threshold(scores, y) for scores in held_out]
    reached = [micro_f1(y, scores >= cut) for scores, cut in zip(held_out, cuts, strict=True)]
    best = int(np.argmax(reached))
    chosen = score_new(bases[best : best + 1], x, y, x_test)[0]
    return chosen >= cuts[best], chosen


def hold_out(bases: list[tuple[str, Any]], x: FloatingArray, y: LabelArray) -> FloatingArray:
    """Score every row by classifiers that were fitted on the other folds.

    Parameters
    ----------
    bases : list of (str, estimator)
        Cloned, not changed.
    x, y : ndarray
        Features and labels.

    Returns
    -------
    ndarray of float32, shape (n_bases, n_samples, n_labels)
        Out-of-fold scores.
    """
    held_out = np.empty((len(bases), *y.shape), np.float32)
    for rows in iter_folds(len(y)):
        held_out[:, rows] = score_new(bases, x[~rows], y[~rows], x[rows])
    return held_out


def score_new(bases: list[tuple[str, Any]], x: FloatingArray, y: LabelArray, new: FloatingArray) -> FloatingArray:
    """Score new rows by classifiers that were fitted on all others.

    Parameters
    ----------
    bases : list of (str, estimator)
        Cloned, not changed.
    x, y : ndarray
        Features and labels to fit on.
    new : ndarray
        Features of the new rows.

    Returns
    -------
    ndarray of float32, shape (n_bases, n_new, n_labels)
        Their scores.
    """
    return np.stack([_scores_of(_fit_base(base, x, y), new, y.shape[1]) for _, base in bases])


def _fit_base(base: Any, x: FloatingArray, y: LabelArray) -> Any:
    """Fit a clone, without a word about labels that are constant in a fold."""
    import warnings

    from sklearn.base import clone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label that is constant in a fold
        return clone(base).fit(x, y)


def _scores_of(fitted: Any, x: FloatingArray, n_labels: int) -> FloatingArray:
    """Return the scores of the positives, whatever form the classifier answers in."""
    answer = fitted.predict_proba(x)
    if not isinstance(answer, list):
        return np.asarray(answer, np.float32).reshape(len(x), n_labels)
    classes = getattr(fitted, "classes_", [np.array([0, 1])] * n_labels)
    columns = [
        scores[:, 1] if scores.shape[1] == 2 else np.full(len(x), float(found[0]))
        for scores, found in zip(answer, classes, strict=True)
    ]
    return np.column_stack(columns).astype(np.float32)
