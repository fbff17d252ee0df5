"""How likely each label is given all others: one logistic regression per label on the other labels' truths.

The regressions are not made to agree in one joint law (a *dependency network*: D. Heckerman et al., "Dependency
networks for inference, collaborative filtering, and data visualization", JMLR 1, 2000, section 2); together they
maximize the pseudo-likelihood Π p(y_l | y_{−l}) (J. Besag, "Statistical analysis of non-lattice data", The Statistician
24, 1975). On the scale of log odds they hold what a linear regression cannot: labels that all but exclude each other.
Only truths teach them, so annotated rows without any scores serve as well. At prediction, probabilities stand in for
the truths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray
from stacking.process.deadline import check_deadline

STRENGTHS = (10.0, 3.0, 1.0)
"""Penalties λ to choose from, from strong to weak, on 0/1 truths: the loss is a sum over rows. 1 was best on the
simulated contest, 2 on photos of fashion, 10 where labels hardly depend (5,000 rows each)."""

LARGEST = 12.0
"""Log odds are cut off at ±this: beyond, neighbors that are surely absent would decide alone."""

_STEPS = 40
"""Steps of L-BFGS, all labels in one; held-out pseudo-likelihood no longer moves by then (5,520 rows, 228 labels)."""

_INTERCEPT_STRENGTH = 0.01
"""Holds the intercept of a label with one class, weakly, to the logit of its smoothed frequency."""


@dataclass(frozen=True)
class DependencyNetwork:
    """A fitted network.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_labels + 1, n_labels)
        Column l holds what the other labels add to the log odds of label l, 0 for itself; intercepts in the last row.
    """

    weights: DoubleArray

    def log_odds(self, truths: npt.NDArray[np.floating]) -> DoubleArray:
        """Give each label's log odds from truths or probabilities of the others.

        Parameters
        ----------
        truths : ndarray, shape (n_samples, n_labels)
            In [0, 1].

        Returns
        -------
        ndarray of float64, shape (n_samples, n_labels)
            Within ± `LARGEST`.
        """
        return np.clip(truths @ self.weights[:-1] + self.weights[-1], -LARGEST, LARGEST)


def fit_dependency_network(
    y_true: DoubleArray,
    weight: DoubleArray | None,
    strength: float,
    *,
    start: DependencyNetwork | None = None,
) -> DependencyNetwork:
    """Fit all labels' regressions at once.

    Parameters
    ----------
    y_true : ndarray of float, shape (n_samples, n_labels)
        Truths in [0, 1]; unknown ones hold the label's frequency.
    weight : ndarray of float64, shape (n_samples, n_labels), or None
        Cell weights; 0 leaves a cell out as what is explained.
    strength : float
        Of the penalty: λ in λ/2 ‖B‖².
    start : DependencyNetwork, optional
        Where to begin: a network of the same rows.

    Returns
    -------
    DependencyNetwork
        Approximately the minimum of Σ w (log(1 + exp z) − y z) + λ/2 ‖B‖², z = (y − mean) B + a, diag B = 0.

    Notes
    -----
    L-BFGS (D. C. Liu, J. Nocedal, Mathematical Programming 45, 1989) on n_labels² weights with products in float32:
    O(steps · n_samples · n_labels²).
    """
    from scipy.optimize import minimize

    n_samples, n_labels = y_true.shape
    truth = np.ascontiguousarray(y_true, dtype=np.float32)
    cells = None if weight is None else np.ascontiguousarray(weight, dtype=np.float32)
    total = float(n_samples) if weight is None else weight.sum(axis=0)
    share = ((y_true if weight is None else y_true * weight).sum(axis=0) + 0.5) / (total + 1.0)
    level = np.log(share) - np.log1p(-share)
    means = y_true.mean(axis=0)
    centered = np.ascontiguousarray(y_true - means, dtype=np.float32)
    others = ~np.eye(n_labels, dtype=bool)

    def loss_and_slope(values: DoubleArray) -> tuple[float, DoubleArray]:
        check_deadline()
        links, intercepts = values[:-n_labels].reshape(n_labels, n_labels), values[-n_labels:]
        logits = centered @ links.astype(np.float32) + intercepts.astype(np.float32)
        small = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0.0) - truth * logits + np.log1p(small)
        error = np.where(logits >= 0, 1.0, small) / (1.0 + small) - truth
        if cells is not None:
            losses *= cells
            error *= cells
        away = intercepts - level
        loss = float(losses.sum(dtype=np.float64)) + 0.5 * strength * float((links**2).sum())
        slope = (centered.T @ error).astype(np.float64) * others + strength * links
        level_slope = error.sum(axis=0, dtype=np.float64) + _INTERCEPT_STRENGTH * away
        return loss + 0.5 * _INTERCEPT_STRENGTH * float((away**2).sum()), np.concatenate([slope.ravel(), level_slope])

    first = np.concatenate([np.zeros(n_labels * n_labels), level])
    if start is not None:
        first = np.concatenate([start.weights[:-1].ravel(), start.weights[-1] + means @ start.weights[:-1]])
    found = minimize(
        loss_and_slope, first, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "maxcor": 8, "ftol": 1e-7}
    ).x
    links = found[:-n_labels].reshape(n_labels, n_labels) * others
    return DependencyNetwork(np.concatenate([links, (found[-n_labels:] - means @ links)[None]]))


def choose_strength(y_true: DoubleArray, weight: DoubleArray | None, held: BoolArray) -> float:
    """Take the penalty under which held-out rows are most likely, label by label given the others' truths.

    Parameters
    ----------
    y_true : ndarray of float, shape (n_samples, n_labels)
        Truths in [0, 1].
    weight : ndarray of float64, shape (n_samples, n_labels), or None
        Cell weights.
    held : ndarray of bool, shape (n_samples,)
        Rows to judge by; the others teach.

    Returns
    -------
    float
        One of `STRENGTHS`: from the strongest down, the last before held-out log loss rises.
    """
    network, best, least = None, STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        fitting = None if weight is None else weight[~held]
        network = fit_dependency_network(y_true[~held], fitting, strength, start=network)
        log_odds, truth = network.log_odds(y_true[held]), y_true[held]
        losses = np.logaddexp(0.0, log_odds) - truth * log_odds
        loss = float((losses if weight is None else losses * weight[held]).sum())
        if loss >= least:
            break
        best, least = strength, loss
    return best
