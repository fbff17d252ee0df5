"""Labels of the truth that the out-of-fold ensemble doubts: given ones that look wrong, missing ones that look right.

An ensemble that is fitted on the other folds gives every cell the probability p that its label is given. Doubt in a
cell is the log odds that its annotation is wrong,

    log p/(1 − p) + log ρ_missed   where the label is not given,
    log (1 − p)/p + log ρ_added    where it is,

by Bayes' theorem with two error rates for each label: the share of its positives that annotators missed, and the share
of its negatives that they added. Both are counted as confident learning counts them (C. Northcutt, L. Jiang, I. Chuang,
"Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021): cells that contradict their annotation
although they look as typical of the other answer as the mean of those who have it. With both rates left out the order
is that of cleanlab's self-confidence, which takes every rare label for wrong and knows of no annotators who leave out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stacking._checks import check_at_least
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.registry import create_method
from stacking.decision_rules.choice import nested_decisions
from stacking.folds import deal_folds
from stacking.links import logit, sigmoid
from stacking.metrics.counts import DecisionCounts
from stacking.predictions import PredictionSet
from stacking.truth import Truth

WEAK = 0.7
"""Cross-fitted micro-F1 below which more than half of the suspects were sound in simulations of 500 samples and 40
labels: with nothing planted, .44, .54, .68 and .82 named 12, 6, 3 and 1 % of the annotations."""

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the listed suspects for which it is said what mending them would bring; only shown."""


@dataclass(frozen=True)
class Suspects:
    """Doubtful cells, the most doubtful first.

    Attributes
    ----------
    ids : ndarray of str, shape (n_samples,)
        All samples.
    labels : tuple of str
        All labels.
    rows, columns : ndarray of int, shape (n_suspects,)
        Sample and label of each suspect.
    given : ndarray of bool, shape (n_suspects,)
        Whether its label is given: a suspect of True is to be taken away, one of False to be added.
    score : ndarray of float32, shape (n_suspects,)
        What the ensemble, fitted without the sample's fold, says of the label.
    doubt : ndarray of float64, shape (n_suspects,)
        Estimated probability that the annotation is wrong.
    n_errors : float
        Estimated number of wrong annotations among all cells. It takes what the ensemble contradicts for wrong, so it
        is worth what the ensemble is: strong ones find .5 to .7 of the errors planted in simulations, weak ones name
        hundreds where none was planted. See `is_weak`.
    mending : list of tuple of int and float
        How many of the first are mended, and the cross-fitted micro-F1 beside the truth thus mended if all of them were
        wrong: none first, then `SHARES` of the suspects.
    """

    ids: npt.NDArray[np.str_]
    labels: tuple[str, ...]
    rows: IndexArray
    columns: IndexArray
    given: BoolArray
    score: FloatArray
    doubt: DoubleArray
    n_errors: float
    mending: list[tuple[int, float]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def micro_f1(self) -> float:
        """Cross-fitted micro-F1 of the ensemble that judged, beside the truth as it is given."""
        return self.mending[0][1]

    @property
    def is_weak(self) -> bool:
        """Whether the ensemble is too weak for its number of errors to be believed: the order alone is of use."""
        return self.micro_f1 < WEAK


_BLOCK_ROWS = 1_024
"""Rows whose doubts are computed at a time; only memory depends on it."""


def find_suspects(
    predictions: PredictionSet,
    *,
    method: str = "logistic",
    top: int | None = None,
    n_splits: int = 5,
    random_state: int = 0,
) -> Suspects:
    """Rank the annotations that the out-of-fold ensemble doubts.

    Parameters
    ----------
    predictions : PredictionSet
        Out-of-fold scores with the truth that is to be looked over.
    method : str, default="logistic"
        One of `labelstack.list_methods()`; its scores should be calibrated.
    top : int, optional
        How many are listed; by default as many as are estimated to be wrong.
    n_splits : int, default=5
        Folds of the cross-fitting.
    random_state : int, default=0
        Seed.

    Returns
    -------
    Suspects
        Cells that are not known, and samples of weight 0, are never among them.

    Raises
    ------
    ValueError
        If the truth is missing, `top` is below 1, or nothing can be held out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, (200, 2))
    >>> scores = np.clip(0.5 + 0.35 * (2 * truth - 1) + 0.05 * rng.normal(size=(2, 200, 2)), 0, 1)
    >>> truth[7, 1] = 1 - truth[7, 1]
    >>> found = find_suspects(PredictionSet(scores, y_true=truth), top=1)
    >>> (found.rows[0].item(), found.columns[0].item())
    (7, 1)
    """
    if predictions.y_true is None:
        raise ValueError("predictions must carry the truth that is looked over: give --truth, or a bundle with y_true.")
    check_at_least(1, top=top)
    counted = predictions.only_counted()
    folds = deal_folds(counted.truth, n_splits, random_state=random_state)
    if len(np.unique(folds)) < 2:
        raise ValueError("predictions must hold two samples or groups at least: nothing can be held out.")
    y_score = create_method(method, random_state=random_state).predict_out_of_fold(counted, folds=folds)
    truth = counted.truth
    doubt = annotation_doubt(y_score, truth)
    known = _known(truth)
    n_errors = float(doubt.sum(where=known))
    wanted = min(max(1, round(n_errors)) if top is None else top, int(known.sum()))
    rows, columns = np.divmod(_most_doubted(doubt, known, wanted), counted.n_labels)
    decided = nested_decisions(y_score, counted, folds, rule="single")
    return Suspects(
        ids=counted.ids,
        labels=tuple(counted.labels),
        rows=rows,
        columns=columns,
        given=truth.y_true[rows, columns],
        score=y_score[rows, columns],
        doubt=doubt[rows, columns],
        n_errors=n_errors,
        mending=_mend(decided, truth, rows, columns),
    )


def annotation_doubt(y_score: FloatArray, truth: Truth) -> DoubleArray:
    """Estimate how probable it is that each annotation is wrong.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Calibrated scores that did not see their row.
    truth : Truth
        What is given.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        Probabilities; of cells that are not known, too, as if the label were not given.
    """
    known = _known(truth)
    given, absent = truth.y_true & known, ~truth.y_true & known
    n_given, n_absent = given.sum(axis=0), absent.sum(axis=0)
    typical = y_score.sum(axis=0, dtype=np.float64, where=given) / np.maximum(n_given, 1)
    typical_absent = (n_absent - y_score.sum(axis=0, dtype=np.float64, where=absent)) / np.maximum(n_absent, 1)
    missed, added = np.zeros((2, len(typical)))
    blocks = [slice(begin, begin + _BLOCK_ROWS) for begin in range(0, len(y_score), _BLOCK_ROWS)]
    for rows in blocks:
        score = y_score[rows].astype(np.float64)
        missed += (absent[rows] & (score >= typical) & (n_given > 0)).sum(axis=0)
        added += (given[rows] & (1.0 - score >= typical_absent) & (n_absent > 0)).sum(axis=0)
    # One more of each in the numerator and two in the denominator (Laplace): a label with nothing to count has a rate.
    missed_rate = (missed + 1.0) / (n_given + missed + 2.0)
    added_rate = (added + 1.0) / (n_absent + added + 2.0)
    doubt = np.empty(y_score.shape)
    for rows in blocks:
        odds = logit(y_score[rows], np.float64)
        doubt[rows] = sigmoid(np.where(truth.y_true[rows], np.log(added_rate) - odds, np.log(missed_rate) + odds))
    return doubt


def _most_doubted(doubt: DoubleArray, known: BoolArray, wanted: int) -> IndexArray:
    """Return the flat positions of the known cells in most doubt, the first of equal ones first."""
    flat = np.where(known, doubt, -1.0).ravel()
    least = np.partition(flat, len(flat) - wanted)[len(flat) - wanted] if 0 < wanted < len(flat) else 0.0
    found = np.flatnonzero(flat >= max(least, 0.0))
    return found[np.argsort(-flat[found], kind="stable")[:wanted]]


def _known(truth: Truth) -> BoolArray:
    """Return which cells are annotated."""
    return np.ones(truth.y_true.shape, dtype=bool) if truth.y_known is None else truth.y_known


def _mend(decided: BoolArray, truth: Truth, rows: IndexArray, columns: IndexArray) -> list[tuple[int, float]]:
    """Score decisions beside the truth with the first suspects turned."""
    found = []
    for n_mended in dict.fromkeys([0, *(max(1, round(share * len(rows))) for share in SHARES)]):
        mended = truth.y_true.copy()
        mended[rows[:n_mended], columns[:n_mended]] ^= True
        turned = replace(truth, y_true=mended)
        found.append((n_mended, DecisionCounts.count(decided, turned).micro_f1(turned)))
    return found
