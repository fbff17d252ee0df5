"""What the combiners that grow LightGBM trees share: parameters, held-out losses, and the number of rounds to keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from stacking._typing import DoubleArray
from stacking.ties import exceeds


def tree_parameters(**own: Any) -> dict[str, Any]:
    """Return LightGBM's parameters: one thread and deterministic, so that the result depends only on the seed.

    Parameters
    ----------
    **own : object
        What a combiner sets itself: ``learning_rate``, ``num_leaves``, ``min_data_in_leaf``, ``seed``.

    Returns
    -------
    dict
        For ``lightgbm.train``. Trees correct logits that a regression gave (``boost_from_average`` is off).
    """
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "lambda_l2": 5.0,
        "feature_fraction": 0.5,
        "max_bin": 63,
        "boost_from_average": False,
        "feature_pre_filter": False,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **own,
    }


def log_loss(logits: DoubleArray, y_true: DoubleArray, weight: DoubleArray | None) -> float:
    """Return the mean log loss of logits.

    Parameters
    ----------
    logits, y_true : ndarray of float64, shape (n,)
        Predicted logits and the truth.
    weight : ndarray of float64, shape (n,), or None
        Weights, None if all are 1.

    Returns
    -------
    float
        In nats.
    """
    return float(np.average(np.logaddexp(0.0, logits) - y_true * logits, weights=weight))


def stack_curves(curves: list[DoubleArray]) -> DoubleArray:
    """Put the folds' held-out losses after 0, 1, … rounds side by side.

    Parameters
    ----------
    curves : list of ndarray of float64
        One a fold.

    Returns
    -------
    ndarray of float64, shape (n_folds, n_rounds + 1)
        A fold that stopped keeps its last value.
    """
    if not curves:
        return np.empty((0, 0))
    longest = max(map(len, curves))
    return np.array([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves])


def best_rounds(curves: DoubleArray) -> int:
    """Choose how many rounds to keep.

    Parameters
    ----------
    curves : ndarray of float64, shape (n_folds, n_rounds + 1)
        Held-out losses, as from `stack_curves`.

    Returns
    -------
    int
        The number with the largest mean fall of the loss; 0 where that is within one standard error of nothing.
    """
    if not curves.size:
        return 0
    gains = curves[:, :1] - curves
    mean = gains.mean(axis=0)
    rounds = int(np.argmax(mean))
    error = gains[:, rounds].std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return rounds if exceeds(mean[rounds], error) else 0
