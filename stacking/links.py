"""The link between probabilities and real numbers: one logit, one sigmoid, one distance that is kept from 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST_SCORE = 1e-7
"""Scores are clipped to this distance from 0 and 1: float32 resolves no finer near 1, and a logit must be finite."""


def logit(
    y_score: npt.ArrayLike, dtype: type[np.floating[Any]] = np.float32, smallest: float = SMALLEST_SCORE
) -> npt.NDArray[Any]:
    """Turn scores into logits, clipped so that they are finite.

    Parameters
    ----------
    y_score : array of any shape
        Scores in [0, 1]; NaN stays NaN.
    dtype : type, default numpy.float32
        What is computed with.
    smallest : float, default 1e-7
        Distance from 0 and 1 that is kept.

    Returns
    -------
    ndarray of `dtype`
        Logits, in ±16.2 by default, same shape.

    Examples
    --------
    >>> logit([0.5, 1.0]).round(1).tolist()
    [0.0, 15.899999618530273]
    """
    clipped = np.clip(np.asarray(y_score, dtype=dtype), smallest, dtype(1 - smallest))
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn logits into probabilities without overflow.

    Parameters
    ----------
    logits : array of any shape
        Any real numbers.

    Returns
    -------
    ndarray of float64
        Values in [0, 1], same shape.

    Examples
    --------
    >>> sigmoid([0.0, -1000.0]).tolist()
    [0.5, 0.0]
    """
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def sigmoid_in_place(logits: npt.NDArray[Any]) -> None:
    """Turn logits into probabilities where they are, without a copy of a large matrix.

    Parameters
    ----------
    logits : ndarray of float
        Overwritten with ``1 / (1 + exp(−logits))``.
    """
    with np.errstate(over="ignore"):
        np.negative(logits, out=logits)
        np.exp(logits, out=logits)
        np.add(logits, 1, out=logits)
        np.divide(1, logits, out=logits)
