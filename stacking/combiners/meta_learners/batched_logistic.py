"""Many small logistic regressions at once: one per label, each on its own few features.

scikit-learn fits them one by one through a Python loop and an optimizer meant for thousands of features. Here they are
fitted block by block by Newton's method (`stacking.combiners.meta_learners.newton_steps`), which takes the penalty this
package needs: coefficients are drawn not to zero but to those that *one* regression pooled over all
labels would use, so that a label with five positives behaves like the average label and a label with thousands as its
own data say (a hierarchical prior; Gelman & Hill, "Data Analysis Using Regression and Multilevel/Hierarchical
Models", 2007, ch. 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.combiners.meta_learners.newton_steps import CompiledSolver, FoldBlocks, choose_solver, compiles
from stacking.process.deadline import check_deadline
from stacking.process.progress import advance

_POOL_CELLS = 250_000
"""Cells that the pooled regression is fitted on, for one slope a feature and one intercept a label. A choice; no
measurement is on record."""


@dataclass(frozen=True)
class LogisticPenalty:
    """How strongly coefficients are held, and where.

    Attributes
    ----------
    strength : float
        λ of λ/2·‖c − c₀‖², on features of unit spread, dimensionless; the loss is a sum over rows.
    pooled : bool
        Draw to the coefficients pooled over labels; otherwise to 0.
    shared_scale : tuple of int
        Features whose unit is comparable across labels (logits of the members): they are scaled by their spread over
        all labels, the others by each label's own.
    nonnegative : tuple of int
        Features that may only speak for a label: their coefficients do not fall below 0.
    """

    strength: float = 1.0
    pooled: bool = True
    shared_scale: tuple[int, ...] = ()
    nonnegative: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Scaling:
    """Center and scale of every feature for every label."""

    center: DoubleArray  # (n_labels, n_features)
    scale: DoubleArray


def fit_logistic(
    features: Sequence[npt.NDArray[Any]],
    y_true: DoubleArray,
    *,
    weight: DoubleArray | None = None,
    usable: BoolArray | None = None,
    penalty: LogisticPenalty | None = None,
    start: DoubleArray | None = None,
) -> DoubleArray:
    """Fit one logistic regression per label.

    Parameters
    ----------
    features : sequence of arrays, each of shape (n_samples, n_labels)
        Feature f of label l is column l of ``features[f]``; finite.
    y_true : ndarray of float64, shape (n_samples, n_labels)
        The truth in [0, 1].
    weight : ndarray of float64, shape (n_samples, n_labels), optional
        Cell weights; 0 leaves a cell out.
    usable : ndarray of bool, shape (n_labels, n_features), optional
        Features a label may use; others get coefficient 0.
    penalty : LogisticPenalty, optional
        Default: strength 1, pooled.
    start : ndarray of float64, shape (n_labels, n_features + 1), optional
        Coefficients to start from, as returned by an earlier fit.

    Returns
    -------
    ndarray of float64, shape (n_labels, n_features + 1)
        Coefficients for the features as given, the intercept last. A label with one class gets coefficients 0 and the
        logit of its smoothed frequency, (positives + ½) / (rows + 1).

    Notes
    -----
    Newton's method with step halving, O(steps · n_samples · n_labels · n_features²), about eight steps.
    """
    penalty = penalty or LogisticPenalty()
    strengths = (penalty.strength,)
    return fit_logistic_path(
        features,
        y_true,
        strengths,
        weight=weight,
        usable=usable,
        penalty=penalty,
        start=None if start is None else [start],
    )[0]


def fit_logistic_path(
    features: Sequence[npt.NDArray[Any]],
    y_true: DoubleArray,
    strengths: Sequence[float],
    *,
    weight: DoubleArray | None = None,
    usable: BoolArray | None = None,
    penalty: LogisticPenalty,
    start: Sequence[DoubleArray] | None = None,
) -> list[DoubleArray]:
    """Fit the same regressions under several strengths of the penalty; what does not depend on it is made once.

    Parameters
    ----------
    features, y_true : array
        As in `fit_logistic`.
    strengths : sequence of float
        Strengths, in place of the penalty's own.
    weight, usable : array, optional
        As in `fit_logistic`.
    penalty : LogisticPenalty
        Everything else about the penalty.
    start : sequence of ndarray of float64, optional
        One for each strength, as in `fit_logistic`.

    Returns
    -------
    list of ndarray of float64, shape (n_labels, n_features + 1)
        Coefficients for each strength.
    """
    n_samples, n_labels = y_true.shape
    n_features = len(features)
    usable = np.ones((n_labels, n_features), dtype=bool) if usable is None else usable
    features = [np.ascontiguousarray(feature) for feature in features]
    y_true, weight = np.ascontiguousarray(y_true), None if weight is None else np.ascontiguousarray(weight)
    scaling = _find_scaling(features, weight, usable, penalty)
    prior = np.zeros((n_labels, n_features))
    if penalty.pooled and n_labels > 1 and n_features:
        prior = np.where(usable, _pooled_coefficients(features, y_true, weight, usable, scaling), 0.0)
    coefficients = np.zeros((n_labels, n_features + 1))
    total = np.full(n_labels, float(n_samples)) if weight is None else weight.sum(axis=0)
    positives = (y_true if weight is None else y_true * weight).sum(axis=0)
    share = (positives + 0.5) / (total + 1.0)
    coefficients[:, -1] = np.log(share) - np.log1p(-share)
    learnable = np.flatnonzero((positives > 0) & (positives < total - 1e-9))  # 1e-9: weights add up with rounding
    level = coefficients[:, -1:].copy()
    firsts = [
        np.concatenate([own[:, :-1] * scaling.scale, _centered_intercept(own, scaling)[:, None]], axis=1)
        for own in start or ()
    ] or [np.concatenate([prior, level], axis=1)] * len(strengths)
    path = [coefficients, *(coefficients.copy() for _ in strengths[1:])]
    lowest = np.full(n_features + 1, -np.inf)
    lowest[list(penalty.nonnegative)] = 0.0
    solver = choose_solver(n_samples * n_labels * (n_features + 1))
    for labels in solver.blocks(learnable, n_samples * (n_features + 1)):
        check_deadline()
        block = solver.gather(features, y_true, weight, labels, scaling.center, usable / scaling.scale)
        for strength, first, found in zip(strengths, firsts, path, strict=True):
            # Intercepts are free: too weak to move one, 1e-6 keeps the system solvable where no cell counts.
            ridge = np.append(np.full(n_features, strength), 1e-6)
            goal = np.maximum(np.concatenate([prior[labels], first[labels, -1:]], axis=1), lowest)
            fitted = solver.newton(block, goal, ridge, lowest, first[labels])
            found[labels, :-1] = fitted[:, :-1] / scaling.scale[labels]
            found[labels, -1] = fitted[:, -1] - (found[labels, :-1] * scaling.center[labels]).sum(axis=1)
    return path


def fit_logistic_by_fold(
    features: Sequence[npt.NDArray[Any]],
    y_true: DoubleArray,
    masks: Sequence[BoolArray],
    *,
    weight: DoubleArray | None = None,
    usable: BoolArray | None = None,
    penalty: LogisticPenalty,
    start: DoubleArray | None = None,
) -> list[DoubleArray]:
    """Fit the regressions on all rows, and once more without each fold.

    Parameters
    ----------
    features, y_true : array
        As in `fit_logistic`.
    masks : sequence of ndarray of bool, shape (n_samples,)
        The rows of each fold; every row is in one.
    weight, usable, penalty, start : array
        As in `fit_logistic`; `start` is for all rows.

    Returns
    -------
    list of ndarray of float64, shape (n_labels, n_features + 1)
        Coefficients of all rows, then those without each fold, whose search begins at the first.

    Notes
    -----
    Where loops are compiled, a label's columns are gathered once for all fits, in the units of all rows; a fit without
    a fold has the units of its own rows in its penalty.
    """
    facts: dict[str, Any] = {"usable": usable, "penalty": penalty}
    if not masks or not compiles(y_true.size * (len(features) + 1)):
        whole = fit_logistic(features, y_true, weight=weight, start=start, **facts)
        fitted = [whole]
        for held in masks:
            own = fit_logistic(
                [feature[~held] for feature in features],
                y_true[~held],
                weight=None if weight is None else weight[~held],
                start=whole,
                **facts,
            )
            fitted.append(own)
            advance(len(fitted), len(masks) + 1)
        return fitted
    usable = np.ones((y_true.shape[1], len(features)), dtype=bool) if usable is None else usable
    features = [np.ascontiguousarray(feature) for feature in features]
    y_true, weight = np.ascontiguousarray(y_true), None if weight is None else np.ascontiguousarray(weight)
    return _FoldFits.prepare(features, y_true, masks, weight, usable, penalty).solve(start)


@dataclass(frozen=True)
class _FoldFits:
    """The regressions on all rows and without each fold; leading axes are (n_folds + 1, n_labels)."""

    features: Sequence[npt.NDArray[Any]]
    y_true: DoubleArray
    weight: DoubleArray | None
    usable: BoolArray
    penalty: LogisticPenalty
    rows: FoldBlocks
    scalings: list[_Scaling]
    priors: DoubleArray  # (…, n_features), each fit in its own units
    levels: DoubleArray  # (…): intercepts of the smoothed frequency
    learnable: BoolArray  # (…): whether both classes are there

    @classmethod
    def prepare(
        cls,
        features: Sequence[npt.NDArray[Any]],
        y_true: DoubleArray,
        masks: Sequence[BoolArray],
        weight: DoubleArray | None,
        usable: BoolArray,
        penalty: LogisticPenalty,
    ) -> _FoldFits:
        """Find each fit's units, frequencies and the coefficients that it is drawn to."""
        parts = [(y_true[held], None if weight is None else weight[held]) for held in masks]
        # Row 0 takes all folds, row k + 1 all but fold k.
        taken = np.concatenate([np.ones((1, len(masks))), 1.0 - np.eye(len(masks))])
        totals = np.stack(
            [
                np.full(usable.shape[0], float(len(truth))) if cells is None else cells.sum(axis=0)
                for truth, cells in parts
            ]
        )
        positives = taken @ np.stack(
            [(truth if cells is None else truth * cells).sum(axis=0) for truth, cells in parts]
        )
        total = taken @ totals
        share = (positives + 0.5) / (total + 1.0)
        scalings = _scale_folds(features, masks, [cells for _, cells in parts], totals, usable, penalty)
        priors = np.zeros((len(taken), *usable.shape))
        if penalty.pooled and usable.size and len(usable) > 1:
            for place, scaling, within in zip(
                priors, scalings, [None, *(np.flatnonzero(~held) for held in masks)], strict=True
            ):
                place[:] = np.where(
                    usable, _pooled_coefficients(features, y_true, weight, usable, scaling, within), 0.0
                )
        learnable = (positives > 0) & (positives < total - 1e-9)
        levels = np.log(share) - np.log1p(-share)
        rows = FoldBlocks.deal(masks)
        return cls(features, y_true, weight, usable, penalty, rows, scalings, priors, levels, learnable)

    def solve(self, start: DoubleArray | None) -> list[DoubleArray]:
        """Fit them, label by label, in the units of all rows."""
        whole, n_features = self.scalings[0], self.priors.shape[-1]
        first = np.concatenate([self.priors[0], self.levels[0][:, None]], axis=1)
        if start is not None:
            first = np.concatenate([start[:, :-1] * whole.scale, _centered_intercept(start, whole)[:, None]], axis=1)
        lowest = np.full(n_features + 1, -np.inf)
        lowest[list(self.penalty.nonnegative)] = 0.0
        units = np.stack([scaling.scale / whole.scale for scaling in self.scalings])
        ridge = np.concatenate([self.penalty.strength * units**2, np.full((*self.levels.shape, 1), 1e-6)], axis=2)
        goal = np.maximum(np.concatenate([self.priors / units, np.zeros((*self.levels.shape, 1))], axis=2), lowest)
        found = np.concatenate([np.zeros(self.priors.shape), self.levels[:, :, None]], axis=2)
        solver, keep = CompiledSolver(self.rows), self.usable / whole.scale
        fitting = np.flatnonzero(self.learnable[0])
        for labels in solver.blocks(fitting, 0):
            check_deadline()
            advance(float(np.searchsorted(fitting, labels[0])), len(fitting))
            block = solver.gather(self.features, self.y_true, self.weight, labels, whole.center, keep)
            learnable = np.ascontiguousarray(self.learnable[:, labels])
            fitted = solver.newton_folds(block, goal[:, labels], ridge[:, labels], lowest, learnable, first[labels])
            slopes = fitted[:, :, :-1] / whole.scale[labels]
            level = fitted[:, :, -1:] - (slopes * whole.center[labels]).sum(axis=2, keepdims=True)
            found[:, labels] = np.where(
                learnable[:, :, None], np.concatenate([slopes, level], axis=2), found[:, labels]
            )
        return list(found)


def _scale_folds(
    features: Sequence[npt.NDArray[Any]],
    masks: Sequence[BoolArray],
    weights: Sequence[DoubleArray | None],
    totals: DoubleArray,
    usable: BoolArray,
    penalty: LogisticPenalty,
) -> list[_Scaling]:
    """Measure mean and spread of each feature over all rows, and without each fold, from those of the folds."""
    centers, variances = np.zeros((2, len(masks), *usable.shape))
    for position, feature in enumerate(features):
        solver = choose_solver(feature.size * (len(features) + 1))
        for fold, (held, weight) in enumerate(zip(masks, weights, strict=True)):
            centers[fold, :, position], variances[fold, :, position] = solver.measure(feature[held], weight)
    scalings = []
    for left_out in [None, *range(len(masks))]:
        share = totals.copy()
        if left_out is not None:
            share[left_out] = 0.0
        share /= np.maximum(share.sum(axis=0), 1e-12)
        center = (share[:, :, None] * centers).sum(axis=0)
        variance = (share[:, :, None] * (variances + (centers - center) ** 2)).sum(axis=0)
        scalings.append(_scale(center, variance, usable, penalty))
    return scalings


def apply_logistic(features: Sequence[npt.NDArray[Any]], coefficients: DoubleArray) -> DoubleArray:
    """Give the logits of fitted regressions.

    Parameters
    ----------
    features : sequence of arrays, each of shape (n_samples, n_labels)
        As in `fit_logistic`.
    coefficients : ndarray of float64, shape (n_labels, n_features + 1)
        As returned by `fit_logistic`.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        Logits.
    """
    logits = np.tile(coefficients[:, -1], (len(features[0]), 1)) if features else coefficients[None, :, -1].copy()
    for position, feature in enumerate(features):
        logits += feature * coefficients[:, position]
    return logits


def _centered_intercept(start: DoubleArray, scaling: _Scaling) -> DoubleArray:
    """Return the intercepts that belong to centered features."""
    return start[:, -1] + (start[:, :-1] * scaling.center).sum(axis=1)


def _find_scaling(
    features: Sequence[npt.NDArray[Any]], weight: DoubleArray | None, usable: BoolArray, penalty: LogisticPenalty
) -> _Scaling:
    """Measure mean and spread of each feature for each label over the rows that count."""
    n_labels, n_features = usable.shape
    center, variance = np.zeros((n_labels, n_features)), np.zeros((n_labels, n_features))
    for position, feature in enumerate(features):
        solver = choose_solver(feature.size * (n_features + 1))
        center[:, position], variance[:, position] = solver.measure(feature, weight)
    return _scale(center, variance, usable, penalty)


def _scale(center: DoubleArray, variance: DoubleArray, usable: BoolArray, penalty: LogisticPenalty) -> _Scaling:
    """Turn variances into the units of the penalty."""
    for position in penalty.shared_scale:
        counts = usable[:, position]
        if counts.any():
            variance[:, position] = variance[counts, position].mean()
    scale = np.sqrt(variance)
    return _Scaling(center, np.where(scale > 1e-9, scale, 1.0))  # less than 1e-9 is the rounding of a constant


def pooled_coefficients(
    features: Sequence[npt.NDArray[Any]],
    y_true: DoubleArray,
    *,
    weight: DoubleArray | None = None,
    usable: BoolArray | None = None,
) -> DoubleArray:
    """Fit one set of coefficients for all labels, with an intercept per label, on at most some 250,000 cells.

    Parameters
    ----------
    features : sequence of arrays, each of shape (n_samples, n_labels)
        Finite, in a unit that all labels share.
    y_true : ndarray of float64, shape (n_samples, n_labels)
        The truth in [0, 1].
    weight : ndarray of float64, shape (n_samples, n_labels), optional
        Cell weights; 0 leaves a cell out.
    usable : ndarray of bool, shape (n_labels, n_features), optional
        Features a label may use.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        Coefficients for the features as given.
    """
    usable = np.ones((y_true.shape[1], len(features)), dtype=bool) if usable is None else usable
    scaling = _find_scaling(features, weight, usable, LogisticPenalty(shared_scale=tuple(range(len(features)))))
    return _pooled_coefficients(features, y_true, weight, usable, scaling) / scaling.scale.max(axis=0)


def _pooled_coefficients(
    features: Sequence[npt.NDArray[Any]],
    y_true: DoubleArray,
    weight: DoubleArray | None,
    usable: BoolArray,
    scaling: _Scaling,
    within: IndexArray | None = None,
) -> DoubleArray:
    """Fit one set of coefficients for all labels, with an intercept per label, on evenly spaced rows (of some).

    Newton on a block-arrow system: each label's intercept is eliminated by its Schur complement. 1e-3 on the
    diagonal, for the shared coefficients a penalty as well, keeps it solvable.
    """
    n_labels, n_features = usable.shape
    n_pool = max(500, _POOL_CELLS // n_labels)  # 500 rows at least, however many labels: a choice, as `_POOL_CELLS` is
    n_rows = len(y_true) if within is None else len(within)
    rows = np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_pool)).astype(np.intp))
    rows = rows if within is None else within[rows]
    thinned = [np.ascontiguousarray(feature[rows], dtype=np.float32) for feature in features]
    truth, cells = np.ascontiguousarray(y_true[rows]), None if weight is None else weight[rows]
    share = (truth if cells is None else truth * cells).sum(axis=0) + 0.5
    share = share / ((len(rows) if cells is None else cells.sum(axis=0)) + 1.0)
    shared, intercepts = np.zeros(n_features), np.log(share) - np.log1p(-share)
    solver = choose_solver(n_rows * n_labels * (n_features + 1))
    row_size, keep = len(rows) * (n_features + 1), usable / scaling.scale
    for _ in range(12):
        check_deadline()
        slope, curvature = 1e-3 * shared, 1e-3 * np.eye(n_features)
        links, levels = np.empty((n_labels, n_features)), np.empty((n_labels, 2))
        for labels in solver.blocks(np.arange(n_labels), row_size):
            block = solver.gather(thinned, truth, cells, labels, scaling.center, keep)
            step = solver.pool(block, shared, intercepts[labels])
            slope, curvature = slope + step.slope, curvature + step.curvature
            links[labels], levels[labels] = step.links, step.levels
        move = np.linalg.solve(curvature, slope)
        largest = np.abs(move).max()
        # No step is halved here; instead none moves a coefficient by more than 2 logits, where a quadratic model of the
        # loss has long ceased to hold.
        move *= min(1.0, 2.0 / max(largest, 1e-12))
        shared = shared - move
        intercepts = intercepts - np.clip((levels[:, 0] - links @ move) / levels[:, 1], -2.0, 2.0)
        # Where the largest move is so small, the next would be about its square; 12 steps are a guard.
        if largest < 1e-4:
            break
    return shared
