"""One logit per label of all members: their logits, weighed by what each is worth over all labels together.

A plain mean lets a useless member spoil every feature that is made of it. One logistic regression pooled over all
labels (an intercept each) has as many coefficients as there are members, so it is sure even on a few hundred rows; what
it gives to the members, none of it negative, is how they are weighed (a log-linear pool: C. Genest & J. V. Zidek,
"Combining probability distributions", Statistical Science 1(1), 1986, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import pooled_coefficients
from stacking.combiners.meta_learners.training_rows import TrainingRows


def fit_pool_weights(rows: TrainingRows) -> DoubleArray:
    """Weigh the members by a logistic regression pooled over all labels.

    Parameters
    ----------
    rows : TrainingRows
        Logits and truth.

    Returns
    -------
    ndarray of float64, shape (n_models,)
        On the simplex; equal where no member helps.
    """
    slopes = np.maximum(
        pooled_coefficients(list(rows.logits), rows.y_true, weight=rows.weight, usable=rows.usable), 0.0
    )
    total = float(slopes.sum())
    return slopes / total if total > 0 else _equal_weights(rows.usable.T)


def pool_logits(logits: Sequence[FloatArray] | FloatArray, usable: BoolArray, weights: DoubleArray) -> DoubleArray:
    """Average logits over the members that a label may use.

    Parameters
    ----------
    logits : ndarray of shape (n_models, n_samples, n_labels)
        Logits.
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members count.
    weights : ndarray of float64, shape (n_models,)
        Of the members, not negative; a label whose members weigh nothing takes their plain mean.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        The weighted mean, 0 for a label without members.
    """
    total = np.zeros(np.shape(logits)[1:], dtype=np.float64)
    for block, share in zip(logits, pool_shares(usable, weights).T, strict=True):
        total += np.where(share > 0, block, 0.0) * share
    return total


def pool_shares(usable: BoolArray, weights: DoubleArray) -> DoubleArray:
    """Give each label's members their shares of its pooled logit.

    Parameters
    ----------
    usable : ndarray of bool, shape (n_labels, n_models)
        Which members count.
    weights : ndarray of float64, shape (n_models,)
        Of the members, not negative.

    Returns
    -------
    ndarray of float64, shape (n_labels, n_models)
        Rows on the simplex, 0 for a label without members.
    """
    shares = usable * weights
    shares = np.where(shares.sum(axis=1, keepdims=True) > 0, shares, usable)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


def read_pool_weights(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Bring the arrays of a saved stacker to what this version calls them.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of its state, with ``covers_``.

    Returns
    -------
    dict of str to ndarray
        With ``pool_weights_``, which version 0.1 called ``fusing_``; all equal where an earlier one had none.
    """
    named = {"pool_weights_" if name == "fusing_" else name: array for name, array in arrays.items()}
    return {"pool_weights_": _equal_weights(arrays["covers_"]), **named}


def _equal_weights(covers: BoolArray) -> DoubleArray:
    """Weigh all members alike."""
    return np.full(len(covers), 1.0 / len(covers))
