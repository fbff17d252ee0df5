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

from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.meta_learners.training_rows import TruthRows
from stacking.process.deadline import check_deadline

STRENGTHS = (10.0, 3.0, 1.0)
"""Penalties λ to choose from, from strong to weak, on 0/1 truths: the loss is a sum over rows. 1 was best on the
simulated contest, 2 on photos of fashion, 10 where labels hardly depend (5,000 rows each)."""

LARGEST = 12.0
"""Log odds are cut off at ±this: beyond, neighbors that are surely absent would decide alone."""

COMPILE_FROM = 200_000
"""Cells from which the loop is compiled: numpy takes some 19 ns for a cell and a step, so 1.2 s there for the seven
fits of a stacker, and the compiler takes about 1 s, once on a machine. Measured on one core."""

_STEPS, _LEAST_GAIN = 40, 1e-6
"""Most steps of L-BFGS, all labels in one, and the share of the loss below which a step is the last; held-out
pseudo-likelihood no longer moves by then (5,520 rows, 228 labels)."""

_SCALED = 1 / 3
"""Power of the curvature at the labels' frequencies that each weight is searched in units of: ½ would make all equally
steep there, but where labels exclude each other they are not so at the end. Against none, 8 to 40 steps in place of 40
on simulated and on real labels, all but once nearer to the minimum: frequent labels are a thousand times as steep as
rare ones."""

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
    O(steps · n_samples · n_labels · labels of a row), in numpy O(steps · n_samples · n_labels²).
    """
    from scipy.optimize import minimize

    n_samples, n_labels = y_true.shape
    total = float(n_samples) if weight is None else weight.sum(axis=0)
    share = ((y_true if weight is None else y_true * weight).sum(axis=0) + 0.5) / (total + 1.0)
    level = np.log(share) - np.log1p(-share)
    means = y_true.mean(axis=0)
    others = ~np.eye(n_labels, dtype=bool)
    log_loss: _CompiledLoss | _NumpyLoss
    log_loss = _CompiledLoss(y_true, weight) if y_true.size >= COMPILE_FROM else _NumpyLoss(y_true, weight)

    steepness = total * share * (1.0 - share)
    curvature = np.concatenate(
        [np.outer(means * (1.0 - means), steepness) + strength, [steepness + _INTERCEPT_STRENGTH]]
    )
    unit = curvature**-_SCALED

    def loss_and_slope(scaled: DoubleArray) -> tuple[float, DoubleArray]:
        check_deadline()
        values = scaled.reshape(unit.shape) * unit
        links, intercepts = values[:-1], values[-1]
        loss, slope, level_slope = log_loss(links, intercepts - means @ links)
        away = intercepts - level
        loss += 0.5 * strength * float((links**2).sum()) + 0.5 * _INTERCEPT_STRENGTH * float((away**2).sum())
        slope = (slope - np.outer(means, level_slope)) * others + strength * links
        return loss, (np.concatenate([slope, (level_slope + _INTERCEPT_STRENGTH * away)[None]]) * unit).ravel()

    first = np.concatenate([np.zeros((n_labels, n_labels)), level[None]])
    if start is not None:
        first = np.concatenate([start.weights[:-1], (start.weights[-1] + means @ start.weights[:-1])[None]])
    found = minimize(
        loss_and_slope,
        (first / unit).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxcor": 8, "ftol": _LEAST_GAIN},
    ).x
    values = found.reshape(unit.shape) * unit
    links = values[:-1] * others
    return DependencyNetwork(np.concatenate([links, (values[-1] - means @ links)[None]]))


class _NumpyLoss:
    """Log loss of log odds ``y_true @ links + base`` with its slopes, in products of float32."""

    def __init__(self, y_true: DoubleArray, weight: DoubleArray | None) -> None:
        self.truth = np.ascontiguousarray(y_true, dtype=np.float32)
        self.cells = None if weight is None else np.ascontiguousarray(weight, dtype=np.float32)

    def __call__(self, links: DoubleArray, base: DoubleArray) -> tuple[float, DoubleArray, DoubleArray]:
        logits = self.truth @ links.astype(np.float32) + base.astype(np.float32)
        small = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0.0) - self.truth * logits + np.log1p(small)
        error = np.where(logits >= 0, 1.0, small) / (1.0 + small) - self.truth
        if self.cells is not None:
            losses *= self.cells
            error *= self.cells
        slope = (self.truth.T @ error).astype(np.float64)
        return float(losses.sum(dtype=np.float64)), slope, error.sum(axis=0, dtype=np.float64)


class _CompiledLoss:
    """The same in one loop over the truths that are not 0; a fifth of the time at six labels a row.

    Rows with the same labels are gone through once: a block of 512 among 10,000 labels has none in two rows of three.
    """

    def __init__(self, y_true: DoubleArray, weight: DoubleArray | None) -> None:
        self.times = np.ones(len(y_true), np.float32)
        if weight is None and bool(((y_true == 0.0) | (y_true == 1.0)).all()):
            y_true, self.times = _merge_rows(y_true)
        rows, self.column = np.nonzero(y_true)
        self.start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(y_true)))])
        self.value = y_true[rows, self.column].astype(np.float32)
        self.cells = np.empty((0, 0), np.float32) if weight is None else np.ascontiguousarray(weight, dtype=np.float32)

    def __call__(self, links: DoubleArray, base: DoubleArray) -> tuple[float, DoubleArray, DoubleArray]:
        from stacking.kernels.dependencies import network_derivatives

        slope, level_slope = np.empty(links.shape), np.empty(len(base))
        entries = (self.start, self.column, self.value, self.times, self.cells)
        narrow = (links.astype(np.float32), base.astype(np.float32))
        return network_derivatives(*entries, *narrow, slope, level_slope), slope, level_slope


def _merge_rows(y_true: DoubleArray) -> tuple[DoubleArray, FloatArray]:
    """Return each row of truths once, in the order in which they first come, and how often it comes."""
    bits = np.ascontiguousarray(np.packbits(y_true > 0, axis=1))
    _, first, times = np.unique(bits.view(f"V{bits.shape[1]}")[:, 0], return_index=True, return_counts=True)
    order = np.argsort(first)
    return y_true[first[order]], times[order].astype(np.float32)


def choose_strength(
    y_true: DoubleArray, weight: DoubleArray | None, held: BoolArray, label_rows: TruthRows | None = None
) -> tuple[float, DependencyNetwork]:
    """Take the penalty under which held-out rows are most likely, label by label given the others' truths.

    Parameters
    ----------
    y_true : ndarray of float, shape (n_samples, n_labels)
        Truths in [0, 1].
    weight : ndarray of float64, shape (n_samples, n_labels), or None
        Cell weights.
    held : ndarray of bool, shape (n_samples,)
        Rows to judge by; the others teach.
    label_rows : TruthRows, optional
        Further rows that teach.

    Returns
    -------
    strength : float
        One of `STRENGTHS`: from the strongest down, the last before held-out log loss rises.
    network : DependencyNetwork
        Fitted with it on the rows that are not held.
    """
    chosen: tuple[float, DependencyNetwork] | None = None
    network, least = None, np.inf
    teaching = TruthRows(y_true, weight).of(~held).before(label_rows)
    for strength in STRENGTHS:
        network = fit_dependency_network(teaching.y_true, teaching.weight, strength, start=network)
        log_odds, truth = network.log_odds(y_true[held]), y_true[held]
        losses = np.logaddexp(0.0, log_odds) - truth * log_odds
        loss = float((losses if weight is None else losses * weight[held]).sum())
        if chosen is not None and loss >= least:
            break
        chosen, least = (strength, network), loss
    assert chosen is not None  # noqa: S101
    return chosen
