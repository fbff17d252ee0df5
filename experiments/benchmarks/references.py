"""Plain numpy and scikit-learn solutions that a careful analyst would write; the quality rows are read beside them.

Scores are float32 (n_models, n_samples, n_labels). Nothing here uses labelstack, so that it can also check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import FloatingArray, LabelArray

Learner = Callable[[FloatingArray, LabelArray, FloatingArray], FloatingArray]

RIDGE_PENALTY = 300.0  # on standardized features: a choice, how it was made is not recorded


def micro_f1(y_true: npt.NDArray[Any], y_pred: npt.NDArray[np.bool_]) -> float:
    """Score decisions: 2 TP / (positives + fired).

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples, n_labels)
        Truth and decisions.

    Returns
    -------
    float
        In [0, 1].
    """
    hits = int(np.count_nonzero(y_true.astype(bool) & y_pred))
    return 2 * hits / max(1, int(np.count_nonzero(y_true)) + int(np.count_nonzero(y_pred)))


def log_loss(y_true: npt.NDArray[Any], y_score: FloatingArray) -> float:
    """Score probabilities: the mean binary log loss over all cells, clipped at 1e-7.

    Parameters
    ----------
    y_true, y_score : ndarray of shape (n_samples, n_labels)
        Truth and scores.

    Returns
    -------
    float
        At least 0.
    """
    clipped = np.clip(y_score, 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(y_true == 1, np.log(clipped), np.log(1 - clipped)), dtype=np.float64))


def describe_held_out(
    y_true: npt.NDArray[Any], y_pred: npt.NDArray[np.bool_], y_score: FloatingArray
) -> dict[str, float]:
    """Score decisions and probabilities of held-out rows.

    Parameters
    ----------
    y_true, y_pred, y_score : ndarray of shape (n_samples, n_labels)
        Truth, decisions and scores.

    Returns
    -------
    dict
        Micro-F1, macro-F1 (0 for a label without a positive), mean average precision (of the labels with one) and log
        loss.
    """
    from sklearn.metrics import average_precision_score

    true = y_true.astype(bool)
    there = true.any(axis=0)
    each = 2 * (true & y_pred).sum(axis=0) / np.maximum(true.sum(axis=0) + y_pred.sum(axis=0), 1)
    precision = [average_precision_score(true[:, label], y_score[:, label]) for label in np.flatnonzero(there)]
    return {
        "test_micro_f1": micro_f1(true, y_pred),
        "test_macro_f1": float(each.mean()),
        "test_mean_average_precision": float(np.mean(precision)) if precision else 0.0,
        "test_log_loss": log_loss(y_true, y_score),
    }


def best_single_threshold(y_score: FloatingArray, y_true: LabelArray) -> float:
    """Find the one threshold with the best micro-F1, exactly, by sorting all cells.

    Parameters
    ----------
    y_score, y_true : ndarray of shape (n_samples, n_labels)
        Scores and truth.

    Returns
    -------
    float
        A score; what is at or above it fires.
    """
    flat = y_score.reshape(-1)
    order = np.argsort(-flat, kind="stable")
    hits = np.cumsum(y_true.reshape(-1)[order], dtype=np.int64)
    f1 = 2 * hits / (hits[-1] + np.arange(1, len(flat) + 1))
    f1[:-1][flat[order][:-1] == flat[order][1:]] = -1.0  # equal scores are not cut apart
    return float(flat[order[int(f1.argmax())]])


def exact_label_thresholds(y_score: FloatingArray, y_true: LabelArray) -> FloatingArray:
    """Find the per-label thresholds with the globally best micro-F1, by sorting and Dinkelbach's iteration.

    Parameters
    ----------
    y_score, y_true : ndarray of shape (n_samples, n_labels)
        Scores and truth.

    Returns
    -------
    ndarray of shape (n_labels,)
        Thresholds, +inf for never.
    """
    n_samples, n_labels = y_score.shape
    order = np.argsort(-y_score, axis=0)
    ranked = np.take_along_axis(y_score, order, 0)
    hits = np.cumsum(np.take_along_axis(y_true, order, 0), 0, dtype=np.int32)
    fired = np.arange(1, n_samples + 1, dtype=np.int32)[:, None]
    cut = np.ones((n_samples, n_labels), bool)
    cut[:-1] = ranked[:-1] != ranked[1:]
    # At a price per fired or positive cell every label is cut on its own, where 2 TP − price · fired is largest; the F1
    # that all cuts together reach is the next price. It rises until it repeats, and is then the optimum (W. Dinkelbach,
    # "On Nonlinear Fractional Programming", Management Science, 1967). 1e-12 allows for rounding.
    labels, positives, price = np.arange(n_labels), int(y_true.sum(dtype=np.int64)), 0.0
    while True:
        gain = np.where(cut, 2 * hits - price * fired, -np.inf)
        best = gain.argmax(0)
        use = gain[best, labels] > 0
        reached = 2 * hits[best, labels][use].sum() / (positives + (best[use] + 1).sum())
        if reached - price < 1e-12:
            return np.where(use, ranked[best, labels], np.inf)
        price = float(reached)


def logits(y_scores: FloatingArray) -> FloatingArray:
    """Return log odds, clipped at 1e-6.

    Parameters
    ----------
    y_scores : ndarray
        Scores in [0, 1].

    Returns
    -------
    ndarray of float32
        Same shape.
    """
    clipped = np.clip(y_scores, 1e-6, 1 - 1e-6).astype(np.float32)
    return np.log(clipped / (1 - clipped))


def iter_folds(n_samples: int, n_splits: int = 5, random_state: int = 0) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the held-out rows of plain shuffled folds.

    Parameters
    ----------
    n_samples : int
        Rows.
    n_splits : int, default=5
        Folds.
    random_state : int, default=0
        Seed.

    Yields
    ------
    ndarray of bool, shape (n_samples,)
        True where held out.
    """
    fold = np.random.default_rng(random_state).permutation(np.arange(n_samples) % n_splits)
    for number in range(n_splits):
        yield fold == number


def cross_fit(learner: Learner, train: FloatingArray, y_true: LabelArray) -> FloatingArray:
    """Score every row by a learner that was fitted on the other folds.

    Parameters
    ----------
    learner : callable
        Takes training scores, their truth and new scores; returns scores of shape (n_new, n_labels).
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.

    Returns
    -------
    ndarray of shape (n_samples, n_labels)
        Held-out scores.
    """
    held_out = np.empty(y_true.shape, np.float32)
    for rows in iter_folds(len(y_true)):
        held_out[rows] = learner(train[:, ~rows], y_true[~rows], train[:, rows])
    return held_out


def mean_scores(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Average the models.

    Parameters
    ----------
    train, y_true : ndarray
        Not used.
    new : ndarray of shape (n_models, n_samples, n_labels)
        Scores.

    Returns
    -------
    ndarray of shape (n_samples, n_labels)
        Their mean.
    """
    return new.mean(axis=0)


def label_logistic(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Fit one logistic regression per label on the models' own logits.

    Parameters
    ----------
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores to fit on.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.
    new : ndarray of shape (n_models, n_new, n_labels)
        Scores to answer.

    Returns
    -------
    ndarray of shape (n_new, n_labels)
        Probabilities.
    """
    return _logistic_on(logits(train), y_true, logits(new))


def ridge_then_logistic(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Fit a cross-fitted ridge over all labels, then per label a logistic on own logits and the ridge score.

    Parameters
    ----------
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores to fit on.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.
    new : ndarray of shape (n_models, n_new, n_labels)
        Scores to answer.

    Returns
    -------
    ndarray of shape (n_new, n_labels)
        Probabilities.
    """
    held_out = cross_fit(_ridge, train, y_true)
    context = _ridge(train, y_true, new)
    own, own_new = logits(train), logits(new)
    return _logistic_on(
        np.concatenate([own, held_out[None]]), y_true, np.concatenate([own_new, context[None]]).astype(np.float32)
    )


def label_lightgbm(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Fit scikit-learn's way: one LightGBM of 50 trees per label with default settings on the models' own scores.

    Parameters
    ----------
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores to fit on.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.
    new : ndarray of shape (n_models, n_new, n_labels)
        Scores to answer.

    Returns
    -------
    ndarray of shape (n_new, n_labels)
        Probabilities; the constant where a label has one value.
    """
    return _lightgbm_on(lambda scores, label: scores[:, :, label].T, train, y_true, new)


def context_lightgbm(train: FloatingArray, y_true: LabelArray, new: FloatingArray, *, every: int = 1) -> FloatingArray:
    """Fit one LightGBM per label on the models' own scores and all labels' mean score.

    Parameters
    ----------
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores to fit on.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.
    new : ndarray of shape (n_models, n_new, n_labels)
        Scores to answer.
    every : int, default=1
        Fit every so many labels only, to see what it costs; the others are answered with 0.

    Returns
    -------
    ndarray of shape (n_new, n_labels)
        Probabilities; the constant where a label has one value.
    """
    mean, mean_new = train.mean(axis=0), new.mean(axis=0)

    def features(scores: FloatingArray, label: int) -> FloatingArray:
        context = mean if scores is train else mean_new
        return np.column_stack([scores[:, :, label].T, context])

    return _lightgbm_on(features, train, y_true, new, every=every)


def row_label_lightgbm(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Fit one LightGBM over all (row, label) pairs, on the models' scores, their mean and the label's frequency.

    Parameters
    ----------
    train : ndarray of shape (n_models, n_samples, n_labels)
        Scores to fit on.
    y_true : ndarray of shape (n_samples, n_labels)
        Truth.
    new : ndarray of shape (n_models, n_new, n_labels)
        Scores to answer.

    Returns
    -------
    ndarray of shape (n_new, n_labels)
        Probabilities.
    """
    from lightgbm import LGBMClassifier

    frequency = y_true.mean(axis=0)

    def pairs(scores: FloatingArray) -> FloatingArray:
        flat = scores.reshape(len(scores), -1).T
        return np.column_stack([flat, flat.mean(axis=1), np.tile(frequency, scores.shape[1])]).astype(np.float32)

    model: Any = LGBMClassifier(n_estimators=200, learning_rate=0.05, n_jobs=1, verbose=-1)
    model.fit(pairs(train), y_true.reshape(-1))
    return model.booster_.predict(pairs(new)).reshape(new.shape[1:])


def _ridge(train: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Regress all labels on the mean logits of all labels."""
    mean, mean_new = logits(train).mean(axis=0), logits(new).mean(axis=0)
    center, scale = mean.mean(axis=0), mean.std(axis=0) + 1e-6
    x = ((mean - center) / scale).astype(np.float64)
    offset = y_true.mean(axis=0)
    gram = x.T @ x + RIDGE_PENALTY * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (y_true - offset))
    return (((mean_new - center) / scale) @ weights + offset).astype(np.float32)


def _logistic_on(features: FloatingArray, y_true: LabelArray, new: FloatingArray) -> FloatingArray:
    """Fit one logistic regression per label on features (n_features, n_samples, n_labels)."""
    from sklearn.linear_model import LogisticRegression

    scores = np.empty(new.shape[1:], np.float32)
    for label in range(y_true.shape[1]):
        target = y_true[:, label]
        if target.min() == target.max():
            scores[:, label] = target[0]
            continue
        model = LogisticRegression(max_iter=200).fit(features[:, :, label].T, target)
        scores[:, label] = model.predict_proba(new[:, :, label].T)[:, 1]
    return scores


def _lightgbm_on(
    features: Any, train: FloatingArray, y_true: LabelArray, new: FloatingArray, *, every: int = 1
) -> FloatingArray:
    """Fit one LightGBM per label on ``features(scores, label)``."""
    from lightgbm import LGBMClassifier

    scores = np.zeros(new.shape[1:], np.float32)
    for label in range(0, y_true.shape[1], every):
        target = y_true[:, label]
        if target.min() == target.max():
            scores[:, label] = target[0]
            continue
        # half of LightGBM's default of 100 trees: a choice, for the time that all labels take
        model: Any = LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1)
        model.fit(features(train, label), target)
        scores[:, label] = model.booster_.predict(features(new, label))
    return scores
