"""Cross-fitting: scores, thresholds and estimates that never saw the row they are judged on.

Whatever is tuned after a combiner (thresholds, calibration, the choice of method) must be tuned on scores of rows that
the combiner did not fit, and judged on rows the tuning did not see. Both splits keep groups together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.deadline import check_deadline
from stacking.folds import stratified_group_folds

if TYPE_CHECKING:
    from stacking.combiners.combiner import Combiner
    from stacking.predictions import PredictionSet

__all__ = ["make_folds", "nested_decisions", "sample_rows", "score_held_out"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]
RandomState = int | np.random.Generator | None


def make_folds(predictions: PredictionSet, n_splits: int = 5, *, random_state: RandomState = 0) -> IntArray:
    """Deal the rows of a prediction set into stratified folds that keep its groups together.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth; its groups are respected, and what does not count balances no fold.
    n_splits : int, default 5
        Wanted number of folds; fewer where there are fewer samples or groups.
    random_state : int, Generator or None, default 0
        Breaks ties.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        The fold each row is held out in; all 0 if there is nothing to split (one sample or one group).
    """
    n_items = predictions.n_samples if predictions.groups is None else len(np.unique(predictions.groups))
    n_splits = min(n_splits, n_items)
    if n_splits < 2 or predictions.y_true is None:
        return np.zeros(predictions.n_samples, dtype=np.intp)
    truth = np.asarray(predictions.y_true)
    if predictions.y_known is not None:
        truth = truth * predictions.y_known
    if predictions.sample_weight is not None:
        truth = truth * (predictions.sample_weight > 0)[:, None]
    folds = stratified_group_folds(truth, n_splits, groups=predictions.groups, random_state=random_state)
    return np.asarray(folds, dtype=np.intp)


def sample_rows(predictions: PredictionSet, max_rows: int | None, *, random_state: RandomState = 0) -> PredictionSet:
    """Draw at most `max_rows` rows and hold them in memory.

    Fitting reads rows many times; beyond `max_rows` more rows cost memory and time but hardly move a per-label fit.

    Parameters
    ----------
    predictions : PredictionSet
        Any size, in memory or on disk.
    max_rows : int or None
        Upper limit; None takes all.
    random_state : int, Generator or None, default 0
        Which rows.

    Returns
    -------
    PredictionSet
        All rows in memory, or a random sample of them in their order.
    """
    if max_rows is None or predictions.n_samples <= max_rows:
        return predictions.in_memory()
    rng = np.random.default_rng(random_state)
    rows = np.sort(rng.choice(predictions.n_samples, size=max_rows, replace=False))
    return predictions.subset(samples=rows).in_memory()


def score_held_out(combiner: Combiner, predictions: PredictionSet, folds: IntArray) -> FloatArray:
    """Score every fold by a clone fitted on the other folds.

    The folds run through `joblib.Parallel` with no backend and no number of jobs named: one after the other, unless
    ``joblib.parallel_config`` says otherwise (processes, Dask, Ray).

    Parameters
    ----------
    combiner : Combiner
        Cloned, not changed.
    predictions : PredictionSet
        With the truth where the combiner needs it.
    folds : ndarray of int, shape (n_samples,)
        The fold each row is held out in.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_labels)
        Held-out scores in [0, 1], the same however the folds run.
    """
    from joblib import Parallel, delayed, effective_n_jobs
    from sklearn.base import clone

    masks = [folds == fold for fold in np.unique(folds)]
    answers: Iterable[FloatArray]
    if effective_n_jobs(None) == 1:  # then one fold's scores at a time are enough
        answers = (_fit_and_score(clone(combiner), predictions, held) for held in masks)
    else:
        answers = Parallel()(delayed(_fit_and_score)(clone(combiner), predictions, held) for held in masks)
    y_score = np.empty((predictions.n_samples, predictions.n_labels), dtype=np.float32)
    for held, answer in zip(masks, answers, strict=True):
        check_deadline()
        y_score[held] = answer
    return y_score


def _fit_and_score(combiner: Combiner, predictions: PredictionSet, held: BoolArray) -> FloatArray:
    """Fit on the rows that are not held out, score those that are."""
    return combiner.fit(predictions.subset(samples=~held)).predict_proba(predictions.subset(samples=held))


def nested_decisions(
    y_score: FloatArray,
    predictions: PredictionSet,
    folds: IntArray,
    *,
    rule: str = "single",
    decide: Callable[..., BoolArray] | None = None,
) -> BoolArray:
    """Decide each fold with thresholds tuned on the other folds' held-out scores.

    Parameters
    ----------
    y_score : ndarray of shape (n_samples, n_labels)
        Held-out scores, as `Combiner.cross_fit_predict` gives them.
    predictions : PredictionSet
        Its truth, known cells and weights tune the thresholds.
    folds : ndarray of int, shape (n_samples,)
        The folds of `y_score`.
    rule : str, default "single"
        A decision rule's name.
    decide : callable, optional
        ``decide(y_score, thresholds)`` returns the decisions; by default the thresholds alone decide.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_labels)
        Decisions that saw neither their row's scores nor its truth.
    """
    from stacking.decision_rules import apply_thresholds, tune_thresholds
    from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks

    decided = np.zeros(y_score.shape, dtype=bool)
    for fold in np.unique(folds):
        held = folds == fold
        if rule in ADDITIVE_RULES:  # without a copy of the other folds' rows
            thresholds = ScoreBlocks(y_score.__getitem__, predictions, ~held).tune(rule)
            decided[held] = apply_thresholds(y_score[held], thresholds)
            continue
        thresholds = tune_thresholds(
            y_score[~held],
            np.asarray(predictions.y_true)[~held],
            rule,
            y_known=None if predictions.y_known is None else predictions.y_known[~held],
            sample_weight=None if predictions.sample_weight is None else predictions.sample_weight[~held],
        )
        decided[held] = (decide or apply_thresholds)(y_score[held], thresholds)
    return decided
