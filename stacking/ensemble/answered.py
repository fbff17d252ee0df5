"""Labels that no member answers, or that a combiner says nothing about: never predicted, and named.

A combiner is fitted on the labels that some member covers (`PredictionSet.only_answered`), since nothing can be learned
of the others. The ensemble answers all labels it was given: 0 for those, with the threshold +inf.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from stacking._checks import first_names
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.combiner import Combiner
from stacking.predictions import PredictionSet


def fit_answered(
    combiner: Combiner, predictions: PredictionSet, folds: IndexArray
) -> tuple[Combiner, FloatArray, BoolArray]:
    """Fit a combiner on the labels that some member answers.

    Parameters
    ----------
    combiner : Combiner
        Unfitted.
    predictions : PredictionSet
        With the truth.
    folds : ndarray of int, shape (n_samples,)
        The fold each row is held out in.

    Returns
    -------
    combiner : Combiner
        Fitted on all rows.
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Held-out scores; 0 for a label that is not answered.
    answered : ndarray of bool, shape (n_labels,)
        As `answered_by` finds them.
    """
    fitted, held_out = combiner.fit_out_of_fold(predictions.only_answered(), folds=folds)
    return fitted, spread(held_out, fitted.labels_, predictions.labels), answered_by(fitted, predictions.labels)


def predict_answered(combiner: Combiner, asked: Any, labels: Sequence[str], without: Collection[str]) -> FloatArray:
    """Score all labels, 0 where the combiner does not know the label.

    Parameters
    ----------
    combiner : Combiner
        Fitted by `fit_answered`.
    asked : PredictionSet or scores as `Combiner.predict_proba` takes them
        With all labels where positions stand for names.
    labels : sequence of str
        Of the ensemble, in fitted order.
    without : collection of str
        Members to leave out.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    """
    if len(combiner.labels_) == len(labels):
        return combiner.predict_proba(asked, without=without)
    named = combiner.named(asked, without=without, labels=labels)
    known = set(combiner.labels_)
    heard = named.subset(labels=[name for name in named.labels if name in known or name not in labels])
    return spread(combiner.predict_proba(heard, without=without), combiner.labels_, labels)


def spread(y_score: FloatArray, own: Sequence[str], labels: Sequence[str]) -> FloatArray:
    """Lay columns of some labels out among all, 0 elsewhere.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_rows, n_own)
        Columns of the labels `own`.
    own, labels : sequence of str
        Names; `own` are among `labels`, in their order.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        The same array where nothing is missing.
    """
    if len(own) == len(labels):
        return y_score
    wide = np.zeros((len(y_score), len(labels)), dtype=y_score.dtype)
    wide[:, np.isin(labels, own)] = y_score
    return wide


def answered_by(combiner: Combiner, labels: Sequence[str]) -> BoolArray:
    """Tell for which labels a fitted combiner has an answer.

    Parameters
    ----------
    combiner : Combiner
        Fitted by `fit_answered`.
    labels : sequence of str
        Of the ensemble.

    Returns
    -------
    ndarray of bool, shape (n_labels,)
        False for a label that it was not fitted on, or that its member does not cover.
    """
    answered = np.zeros(len(labels), dtype=bool)
    answered[np.isin(labels, combiner.labels_)] = combiner.answered_labels
    return answered


def member_weights(combiner: Combiner, labels: Sequence[str]) -> DoubleArray | None:
    """Return the weights of a fitted vote, for all labels of the ensemble where they differ by label.

    Parameters
    ----------
    combiner : Combiner
        Fitted by `fit_answered`.
    labels : sequence of str
        Of the ensemble.

    Returns
    -------
    ndarray of float64, shape (n_models,) or (n_models, n_labels), or None
        0 for a label that is not answered; None for what weighs no members.
    """
    weights = getattr(combiner, "weights_", None)
    if weights is None or np.ndim(weights) != 2:
        return None if weights is None else np.asarray(weights, np.float64)
    return np.asarray(spread(np.asarray(weights, np.float64), combiner.labels_, labels), np.float64)


def unanswered_note(answered: BoolArray, labels: Sequence[str]) -> list[str]:
    """Name the labels that are never predicted because nothing answers them.

    Parameters
    ----------
    answered : ndarray of bool, shape (n_labels,)
        False where nothing does.
    labels : sequence of str
        Their names.

    Returns
    -------
    list of str
        One note, or none.
    """
    names = [str(name) for name, is_answered in zip(labels, answered, strict=True) if not is_answered]
    if not names:
        return []
    what = "1 label without an answer is" if len(names) == 1 else f"{len(names)} labels without an answer are"
    return [f"{what} never predicted: {first_names(names)}"]
