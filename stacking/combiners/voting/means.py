"""The means of several models' scores, with weights that renormalize over the models that answer a label.

A model that does not cover a label has the weight 0 there, and the others share its part:
``w_ml = w_m c_ml / Σ_k w_k c_kl``. Arithmetic and geometric means are linear in a mixing space (the score itself, its
logit); the search for weights works there.
"""

from typing import Literal, get_args

import numpy as np

from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.links import SMALLEST_SCORE

Mean = Literal["arithmetic", "geometric", "harmonic", "rank", "majority"]

INVISIBLE_WEIGHT = 1e-12
"""What solvers leave where they mean 0; even divided by the smallest score, as a harmonic mean does, it is unseen."""
_SMALLEST = np.float32(SMALLEST_SCORE)  # in the precision of the scores


def list_means() -> list[str]:
    """List the means that `SoftVoting` takes.

    Returns
    -------
    list of str
        Their names.

    Examples
    --------
    >>> list_means()
    ['arithmetic', 'geometric', 'harmonic', 'rank', 'majority']
    """
    return list(get_args(Mean))


def covered_weights(weights: DoubleArray, covers: BoolArray) -> DoubleArray:
    """Renormalize weights per label over the models that cover it.

    Parameters
    ----------
    weights : ndarray of float64, shape (..., n_models) or (..., n_models, n_labels)
        Non-negative weights; they are per label where their last axes are those of `covers`.
    covers : ndarray of bool, shape (n_models, n_labels)
        Which model answers which label.

    Returns
    -------
    ndarray of float64, shape (..., n_models, n_labels)
        Columns on the simplex, 0 where not covered. Where all covering models have weight 0, they share equally; where
        no model covers the label, the column is 0.

    Examples
    --------
    >>> import numpy as np
    >>> covered_weights(np.array([0.5, 0.5]), np.array([[True, True], [True, False]])).tolist()
    [[0.5, 1.0], [0.5, 0.0]]
    """
    if weights.shape[-2:] != covers.shape:
        weights = weights[..., None]
    shares = weights * covers
    total = shares.sum(axis=-2, keepdims=True)
    if (total <= 0.0).any():
        shares = np.where(total > 0.0, shares, covers)
        total = shares.sum(axis=-2, keepdims=True)
    return np.divide(shares, total, out=np.zeros_like(shares, dtype=np.float64), where=total > 0.0)


def have_weight(weights: DoubleArray) -> BoolArray:
    """Tell which models move an average.

    Parameters
    ----------
    weights : ndarray of float64, shape (n_models, n_labels)
        From `covered_weights`.

    Returns
    -------
    ndarray of bool, shape (n_models,)
        False for models whose weights are 0, or so small that float32 scores do not show them.
    """
    return np.asarray((weights > INVISIBLE_WEIGHT).any(axis=1))


def to_mixing_space(scores: FloatArray, mean: str) -> FloatArray:
    """Map scores to where the mean is linear: themselves, or their logits.

    Parameters
    ----------
    scores : ndarray of float32
        Scores in [0, 1]; NaN stays NaN.
    mean : {"arithmetic", "geometric"}
        The mean.

    Returns
    -------
    ndarray of float32
        Values of the same shape; logits are clipped to those of [1e-7, 1 − 1e-7].
    """
    if mean == "arithmetic":
        return scores
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    # One logarithm, where `links.logit` takes two: every vote on logits reads every cell here.
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float32)


def from_mixing_space(values: FloatArray, mean: str) -> FloatArray:
    """Map mixed values back to scores.

    Parameters
    ----------
    values : ndarray of float32
        Values in the mixing space.
    mean : {"arithmetic", "geometric"}
        The mean.

    Returns
    -------
    ndarray of float32
        Scores in [0, 1].
    """
    if mean == "arithmetic":
        return np.clip(values, 0.0, 1.0)
    return np.asarray(1 / (1 + np.exp(-values)), dtype=np.float32)


def combine(scores: FloatArray, weights: DoubleArray, mean: str) -> FloatArray:
    """Combine a block of scores by a mean.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_models, n_rows, n_labels)
        Scores in [0, 1] (ranks in [0, 1] for ``"rank"``); anything, NaN included, where the weight is 0.
    weights : ndarray of float64, shape (n_models, n_labels)
        Columns on the simplex.
    mean : {"arithmetic", "geometric", "harmonic", "rank", "majority"}
        The mean; ``"rank"`` is the arithmetic mean of the ranks given, ``"majority"`` that of the votes at .5.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        Combined scores in [0, 1].

    Notes
    -----
    Models are added one after the other in float32, so memory beyond the input is two blocks of (n_rows, n_labels). The
    harmonic mean is 0 where any model with weight says 0.
    """
    total = np.zeros(scores.shape[1:], dtype=np.float32)
    for model_scores, model_weights in zip(scores, weights.astype(np.float32), strict=True):
        used = model_weights > 0
        if not used.any():
            continue
        values = model_scores if used.all() else np.where(used, model_scores, np.float32(1))
        total += model_weights * _spread(values, mean)
    return _gather(total, mean)


def _spread(values: FloatArray, mean: str) -> FloatArray:
    """Map one model's scores to where the mean is linear."""
    if mean == "majority":
        return (values >= 0.5).astype(np.float32)
    if mean == "harmonic":
        with np.errstate(divide="ignore", over="ignore"):
            return np.float32(1) / values
    return to_mixing_space(values, "geometric" if mean == "geometric" else "arithmetic")


def _gather(total: FloatArray, mean: str) -> FloatArray:
    """Map the weighted sum back to scores."""
    if mean == "harmonic":
        return np.clip(np.float32(1) / total, 0.0, 1.0)
    return from_mixing_space(total, "geometric" if mean == "geometric" else "arithmetic")
