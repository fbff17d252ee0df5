"""Shares of candidates by what their held-out logits are worth together: no pick, so nothing is lost by a wrong one.

The shares on the simplex, with one intercept and one slope, that minimize the log loss of the mean logit (Y. Yao et
al., "Using stacking to average Bayesian predictive distributions", Bayesian Analysis 13(3), 2018, on a log-linear
pool). The loss is convex in shares times slope, so that there is one optimum, and it uses every cell, where a count of
hits sees only those near a threshold. The slope is free because a mean of many members' logits is nearer to 0 than
their evidence together: without it the mean of twenty equal members would be left for learners that are no better, only
louder. Slope and intercept belong to the answer (`fit_line`): without them it would be no probability.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from optimizers._checks import check_random_state
from stacking._typing import DoubleArray, FloatArray, IndexArray
from stacking.links import logit, sigmoid
from stacking.truth import Truth

NEGATIVES_PER_POSITIVE, LEAST_NEGATIVES = 4, 2_000
"""Negatives are thinned to these, each then counts for several: they are many and say little. A choice; no measurement
is on record."""

MOST_POSITIVES = 20_000
"""Positives that are read: ten shares are known from them to far less than what they are rounded to."""

_SLOPES = (-4.0, 4.0)
"""Bounds of the logarithm of the slope, a guard: twenty equal members with errors of their own need 2.4."""

LEAST_SHARE = 0.02
"""Candidates with less are left out, as each must be asked at prediction."""


def stack_shares(held_out: Mapping[str, FloatArray], truth: Truth, *, random_state: int = 0) -> dict[str, float]:
    """Find the shares.

    Parameters
    ----------
    held_out : mapping of str to ndarray of float32, shape (n_samples, n_labels)
        Cross-fitted scores of each candidate.
    truth : Truth
        Of the same rows.
    random_state : int, default=0
        Draws the negatives.

    Returns
    -------
    dict of str to float
        In the order given, summing to 1; candidates with less than `LEAST_SHARE` are not in it.
    """
    from scipy.optimize import minimize

    logits, y_true, weight = _gather_cells(held_out, truth, random_state)
    n = len(logits)

    def loss_and_slope(values: DoubleArray) -> tuple[float, DoubleArray]:
        shares, scale = _shares(values[:n]), np.exp(values[n + 1])
        mean = shares @ logits
        answer = scale * mean + values[n]
        error = weight * (sigmoid(answer) - y_true)
        slope = scale * (logits @ error)
        loss = weight @ (np.logaddexp(0.0, answer) - y_true * answer)
        return float(loss), np.concatenate([shares * (slope - slope @ shares), [error.sum(), scale * (mean @ error)]])

    bounds = [(None, None)] * (n + 1) + [_SLOPES]  # where all are right or all wrong, it would not end
    found = minimize(
        loss_and_slope, np.zeros(n + 2), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}
    ).x
    shares = _shares(found[:n])
    kept = shares >= LEAST_SHARE
    shares = np.where(kept, shares, 0.0) / shares[kept].sum()
    return {name: float(share) for name, share in zip(held_out, shares, strict=True) if share}


def fit_line(y_score: FloatArray, truth: Truth, *, random_state: int = 0) -> tuple[float, float]:
    """Find the slope and the intercept with which the logits of an average have the least log loss.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Held-out scores.
    truth : Truth
        Of the same rows.
    random_state : int, default=0
        Draws the negatives.

    Returns
    -------
    (float, float)
        The slope, which is positive, and the intercept; 1 and 0 where one class is all that counts.

    Notes
    -----
    The truth is drawn in by one row, so that what is always right does not become certainty.

    References
    ----------
    J. C. Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999,
    section 2.2.
    """
    from scipy.optimize import minimize

    logits, y_true, weight = _gather_cells({"": y_score}, truth, random_state)
    n_positives = np.count_nonzero(y_true)
    n_negatives = len(y_true) - n_positives
    if not n_positives or not n_negatives:
        return 1.0, 0.0
    target = np.where(y_true > 0, (n_positives + 1) / (n_positives + 2), 1 / (n_negatives + 2))

    def loss_and_slope(values: DoubleArray) -> tuple[float, DoubleArray]:
        scaled = np.exp(values[0]) * logits[0]
        answer = scaled + values[1]
        error = weight * (sigmoid(answer) - target)
        loss = weight @ (np.logaddexp(0.0, answer) - target * answer)
        return float(loss), np.array([scaled @ error, error.sum()])

    bounds = [_SLOPES, (None, None)]
    found = minimize(loss_and_slope, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(found[0])), float(found[1])


def _shares(values: DoubleArray) -> DoubleArray:
    """Turn free numbers into shares (softmax)."""
    exponentials = np.exp(values - values.max())
    return np.asarray(exponentials / exponentials.sum())


def _gather_cells(
    held_out: Mapping[str, FloatArray], truth: Truth, random_state: int
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return logits (n_candidates, n_cells), truth and weight of the positives and of some negatives; mean weight 1."""
    counts = np.ones(truth.y_true.shape, dtype=bool) if truth.y_known is None else truth.y_known.copy()
    if truth.sample_weight is not None:
        counts &= truth.sample_weight[:, None] > 0
    rng = check_random_state(random_state)
    positives, own = _thin(np.flatnonzero(truth.y_true & counts), MOST_POSITIVES, rng)
    most = max(NEGATIVES_PER_POSITIVE * len(positives), LEAST_NEGATIVES)
    negatives, other = _thin(np.flatnonzero(~truth.y_true & counts), most, rng)
    cells, sizes = np.concatenate([positives, negatives]), [len(positives), len(negatives)]
    weight = np.repeat([own, other], sizes)
    if truth.sample_weight is not None:
        weight *= truth.sample_weight[cells // truth.y_true.shape[1]]
    logits = np.stack([logit(scores.ravel()[cells]).astype(np.float64) for scores in held_out.values()])
    return logits, np.repeat([1.0, 0.0], sizes), weight / weight.mean()


def _thin(cells: IndexArray, most: int, rng: np.random.Generator) -> tuple[IndexArray, float]:
    """Draw at most `most` cells; say for how many each of them stands."""
    if len(cells) <= most:
        return cells, 1.0
    return np.sort(rng.choice(cells, most, replace=False)), len(cells) / most
