"""Newton's method for a block of small logistic regressions: in numpy, or compiled where there is enough to do.

Both minimize Σ w (log(1 + exp z) − y z) + λ/2 ‖c − c₀‖² for each label, z = c·x, with step halving. The compiled loops
(`stacking.kernels.logistic`) take a label at a time from the second-level cache, in float32, and need a quarter of the
time; numpy takes a block of labels in float64 and needs no compiler, whose seconds a small input is not worth.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IndexArray

COMPILE_FROM = 2_000_000
"""Numbers (rows · labels · coefficients) from which loops are compiled: numpy takes some 45 ns for one, so .1 s a fit
there, and a stacker makes dozens of fits; the compiler takes 3 to 8 s, once on a machine. Measured on two cores."""

_MAX_STEPS = 30
"""A guard: Newton's method takes about eight."""

_LAST_GAIN = 1e-6
"""Relative to the loss: the step that gains less is the last, for the next would gain about its square."""


@dataclass(frozen=True)
class Block:
    """Labels that are fitted together.

    Attributes
    ----------
    design : ndarray
        Centered, scaled features, the last of them 1: (n_labels, n_features + 1, n_samples), for the compiled loops
        (n_labels, n_blocks, n_features + 1, n_rows of a block).
    truth : ndarray
        The truth in [0, 1]: (n_labels, n_samples), for the compiled loops with the weights, in blocks as the design.
    weight : ndarray, shape (n_labels, n_samples), or None
        Cell weights, None if all are 1 or the truth holds them.
    n_samples : int
        Rows.
    """

    design: npt.NDArray[Any]
    truth: npt.NDArray[Any]
    weight: npt.NDArray[Any] | None
    n_samples: int


@dataclass(frozen=True)
class FoldBlocks:
    """Rows dealt into blocks of the compiled loops, none with rows of two folds.

    Attributes
    ----------
    rows : ndarray of int, shape (n_samples,)
        Fold after fold.
    start : ndarray of int, shape (n_blocks + 1,)
        Where each block's rows start.
    fold_of : ndarray of int, shape (n_blocks,)
        The fold of each block.
    """

    rows: IndexArray
    start: IndexArray
    fold_of: IndexArray

    @classmethod
    def deal(cls, masks: Sequence[BoolArray]) -> FoldBlocks:
        """Deal the rows of folds.

        Parameters
        ----------
        masks : sequence of ndarray of bool, shape (n_samples,)
            The rows of each fold; every row is in one.

        Returns
        -------
        FoldBlocks
            Full blocks but for the last of each fold.
        """
        from stacking.kernels.logistic import BLOCK

        counts = [int(mask.sum()) for mask in masks]
        sizes = [min(BLOCK, count - begin) for count in counts for begin in range(0, count, BLOCK)]
        return cls(
            np.concatenate([np.flatnonzero(mask) for mask in masks]),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
            np.repeat(np.arange(len(masks)), [-(-count // BLOCK) for count in counts]),
        )


class NewtonSolver(Protocol):
    """What both ways of solving offer."""

    def blocks(self, labels: IndexArray, row_size: int) -> Iterator[IndexArray]:
        """Cut labels into blocks that are fitted together.

        Parameters
        ----------
        labels : ndarray of int, shape (n_labels,)
            Positions of the labels.
        row_size : int
            How many numbers one label's design holds.

        Yields
        ------
        ndarray of int
            Positions of a block's labels.
        """

    def gather(
        self,
        features: Sequence[npt.NDArray[Any]],
        y_true: DoubleArray,
        weight: DoubleArray | None,
        labels: IndexArray,
        center: DoubleArray,
        keep: DoubleArray,
    ) -> Block:
        """Take the columns of some labels.

        Parameters
        ----------
        features : sequence of ndarray, shape (n_samples, n_labels)
            C-contiguous.
        y_true, weight : ndarray of float64, shape (n_samples, n_labels)
            Truth in [0, 1] and cell weights, None if all are 1.
        labels : ndarray of int
            Which labels.
        center, keep : ndarray of float64, shape (n_labels, n_features)
            What is subtracted from each feature, then multiplied by.

        Returns
        -------
        Block
            For the other methods.
        """

    def measure(self, values: npt.NDArray[Any], weight: DoubleArray | None) -> tuple[DoubleArray, DoubleArray]:
        """Measure each column over the cells that count.

        Parameters
        ----------
        values : ndarray, shape (n_samples, n_labels)
            A feature.
        weight : ndarray of float64, shape (n_samples, n_labels), or None
            Cell weights.

        Returns
        -------
        mean, variance : ndarray of float64, shape (n_labels,)
            0 where nothing counts.
        """

    def newton(
        self, block: Block, goal: DoubleArray, ridge: DoubleArray, lowest: DoubleArray, first: DoubleArray
    ) -> DoubleArray:
        """Minimize each label's penalized log loss.

        Parameters
        ----------
        block : Block
            The labels.
        goal : ndarray of float64, shape (n_labels, n_features + 1)
            What the penalty draws to, intercepts last.
        ridge, lowest : ndarray of float64, shape (n_features + 1,)
            Strength of the penalty, and what no coefficient falls below (-inf for none).
        first : ndarray of float64, shape (n_labels, n_features + 1)
            Where to begin.

        Returns
        -------
        ndarray of float64, shape (n_labels, n_features + 1)
            Coefficients for the block's features.
        """

    def pool(self, block: Block, shared: DoubleArray, intercepts: DoubleArray) -> PooledStep:
        """Differentiate the log loss of slopes that all labels share.

        Parameters
        ----------
        block : Block
            The labels.
        shared : ndarray of float64, shape (n_features,)
            Slopes.
        intercepts : ndarray of float64, shape (n_labels,)
            Each label's own.

        Returns
        -------
        PooledStep
            Each label's own intercept eliminated.
        """


@dataclass(frozen=True)
class PooledStep:
    """Derivatives of a regression with shared slopes, and how the intercepts follow them.

    Attributes
    ----------
    slope : ndarray of float64, shape (n_features,)
        Gradient, the intercepts eliminated (Schur complement).
    curvature : ndarray of float64, shape (n_features, n_features)
        Hessian, likewise.
    links : ndarray of float64, shape (n_labels, n_features)
        Mixed derivatives of intercepts and slopes.
    levels : ndarray of float64, shape (n_labels, 2)
        Gradient and curvature of each intercept.
    """

    slope: DoubleArray
    curvature: DoubleArray
    links: DoubleArray
    levels: DoubleArray


def compiles(n_numbers: int) -> bool:
    """Tell whether a fit is for the compiled loops.

    Parameters
    ----------
    n_numbers : int
        Rows times labels times coefficients.

    Returns
    -------
    bool
        True from `COMPILE_FROM` numbers up, where numba is installed.
    """
    return n_numbers >= COMPILE_FROM and importlib.util.find_spec("numba") is not None


def choose_solver(n_numbers: int) -> NewtonSolver:
    """Choose how to solve a fit.

    Parameters
    ----------
    n_numbers : int
        Rows times labels times coefficients.

    Returns
    -------
    NewtonSolver
        The compiled one from `COMPILE_FROM` numbers up, where numba is installed.
    """
    return CompiledSolver() if compiles(n_numbers) else _NumpySolver()


class _NumpySolver:
    """All labels of a block share every step as batched matrix products, in float64."""

    block_cells = 300_000
    """Numbers of a design at a time. Only speed and memory depend on it, but for steps that gain less than
    `_LAST_GAIN`: a block ends when all its labels have converged."""

    def blocks(self, labels: IndexArray, row_size: int) -> Iterator[IndexArray]:
        """Cut labels into blocks of `block_cells` numbers."""
        return _cut(labels, max(1, self.block_cells // max(row_size, 1)))

    def gather(
        self,
        features: Sequence[npt.NDArray[Any]],
        y_true: DoubleArray,
        weight: DoubleArray | None,
        labels: IndexArray,
        center: DoubleArray,
        keep: DoubleArray,
    ) -> Block:
        """Take the columns of some labels."""
        design = np.ones((len(labels), len(features) + 1, len(y_true)))
        for position, feature in enumerate(features):
            design[:, position] = ((feature[:, labels] - center[labels, position]) * keep[labels, position]).T
        truth = np.ascontiguousarray(y_true[:, labels].T)
        cells = None if weight is None else np.ascontiguousarray(weight[:, labels].T)
        return Block(design, truth, cells, len(y_true))

    def measure(self, values: npt.NDArray[Any], weight: DoubleArray | None) -> tuple[DoubleArray, DoubleArray]:
        """Return each column's mean and variance over the cells that count."""
        columns = np.asarray(values, dtype=np.float64)
        if weight is None:
            return columns.mean(axis=0), columns.var(axis=0)
        total = np.maximum(weight.sum(axis=0), 1e-12)
        center = (weight * columns).sum(axis=0) / total
        return center, (weight * (columns - center) ** 2).sum(axis=0) / total

    def newton(
        self, block: Block, goal: DoubleArray, ridge: DoubleArray, lowest: DoubleArray, first: DoubleArray
    ) -> DoubleArray:
        """Minimize each label's loss; all go on until the last has converged."""
        fitted = np.maximum(first, lowest)
        loss, chance = _penalized_loss(block, fitted - goal, ridge, fitted)
        for _ in range(_MAX_STEPS):
            slope, curvature = _derivatives(block, chance)
            slope += ridge * (fitted - goal)
            curvature += np.diag(ridge)
            stays = (fitted <= lowest) & (slope > 0)  # would leave their range: they stay at its border
            slope[stays] = 0.0
            curvature *= ~stays[:, :, None] & ~stays[:, None, :]
            curvature += stays[:, :, None] * np.eye(len(ridge))
            move = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
            # Twice what the quadratic model promises, relative to the loss. A label without gain stays where it is
            # while the others of its block go on.
            gain = (slope * move).sum(axis=1) / (1.0 + np.abs(loss))
            length = np.where(gain > 1e-12, 1.0, 0.0)
            # Halve the steps that make the loss worse by more than rounding; 25 halvings leave 3e-8 of a step.
            for _ in range(25):
                trial = np.maximum(fitted - length[:, None] * move, lowest)
                trial_loss, trial_chance = _penalized_loss(block, trial - goal, ridge, trial)
                worse = trial_loss > loss + 1e-10 * np.abs(loss)
                if not worse.any():
                    break
                length[worse] *= 0.5
            fitted, loss, chance = trial, trial_loss, trial_chance
            if (gain < _LAST_GAIN).all():
                break
        return fitted

    def pool(self, block: Block, shared: DoubleArray, intercepts: DoubleArray) -> PooledStep:
        """Return the derivatives for shared slopes."""
        logits = np.matmul(shared, block.design[:, :-1]) + intercepts[:, None]
        small = np.exp(-np.abs(logits))
        g, h = _derivatives(block, np.where(logits >= 0, 1.0, small) / (1.0 + small))
        level = h[:, -1, -1] + 1e-3
        links = h[:, -1, :-1]
        slope = (g[:, :-1] - links * (g[:, -1] / level)[:, None]).sum(axis=0)
        outer = links[:, :, None] * links[:, None, :] / level[:, None, None]
        return PooledStep(slope, (h[:, :-1, :-1] - outer).sum(axis=0), links, np.stack([g[:, -1], level], axis=1))


class CompiledSolver:
    """One label at a time in compiled loops, in float32.

    Parameters
    ----------
    rows : FoldBlocks, optional
        The rows in blocks of folds, for `newton_folds`; by default all are in one.
    """

    block_labels = 16
    """Columns gathered together: 16 float32 are one line of the cache. Only speed depends on it."""

    def __init__(self, rows: FoldBlocks | None = None) -> None:
        self.rows = rows

    def blocks(self, labels: IndexArray, row_size: int) -> Iterator[IndexArray]:
        """Cut labels into blocks of `block_labels`, see `NewtonSolver.blocks`."""
        return _cut(labels, self.block_labels)

    def gather(
        self,
        features: Sequence[npt.NDArray[Any]],
        y_true: DoubleArray,
        weight: DoubleArray | None,
        labels: IndexArray,
        center: DoubleArray,
        keep: DoubleArray,
    ) -> Block:
        """Take the columns of some labels, see `NewtonSolver.gather`."""
        from stacking.kernels.logistic import BLOCK, gather_labels

        n_samples, n_labels = y_true.shape
        rows = self.rows or FoldBlocks.deal([np.ones(n_samples, dtype=bool)])
        design = np.empty((len(labels), len(rows.fold_of), len(features) + 1, BLOCK), np.float32)
        design[:, :, -1] = 1.0
        for position, feature in enumerate(features):
            middle, factor = np.ascontiguousarray(center[:, position]), np.ascontiguousarray(keep[:, position])
            gather_labels(feature, labels, middle, factor, position, rows.rows, rows.start, design)
        zeros, ones = np.zeros(n_labels), np.ones(n_labels)
        targets = [y_true] if weight is None else [y_true, weight]
        cells = np.empty((len(labels), len(rows.fold_of), len(targets), BLOCK), np.float32)
        for position, values in enumerate(targets):
            gather_labels(values, labels, zeros, ones, position, rows.rows, rows.start, cells)
        return Block(design, cells, None, n_samples)

    def measure(self, values: npt.NDArray[Any], weight: DoubleArray | None) -> tuple[DoubleArray, DoubleArray]:
        """Return each column's mean and variance over the cells that count, see `NewtonSolver.measure`."""
        from stacking.kernels.logistic import column_moments

        center, variance = np.empty((2, values.shape[1]))
        column_moments(np.ascontiguousarray(values), np.empty((0, 0)) if weight is None else weight, center, variance)
        return center, variance

    def newton(
        self, block: Block, goal: DoubleArray, ridge: DoubleArray, lowest: DoubleArray, first: DoubleArray
    ) -> DoubleArray:
        """Minimize each label's loss, each until it has converged, see `NewtonSolver.newton`."""
        from stacking.kernels.logistic import newton_labels

        fitted = np.empty_like(first)
        newton_labels(
            block.design, block.truth, block.n_samples, goal, ridge, lowest, first, fitted, _MAX_STEPS, _LAST_GAIN
        )
        return fitted

    def newton_folds(
        self, block: Block, prior: DoubleArray, ridge: DoubleArray, lowest: DoubleArray, learnable: BoolArray,
        first: DoubleArray,
    ) -> DoubleArray:  # fmt: skip
        """Minimize each label's loss on all rows, and from there without each fold.

        Parameters
        ----------
        block : Block
            The labels.
        prior, ridge : ndarray of float64, shape (n_folds + 1, n_labels, n_features + 1)
            What the penalty draws to and how strongly, in the units of the block: on all rows, then without each fold.
        lowest : ndarray of float64, shape (n_features + 1,)
            What no coefficient falls below.
        learnable : ndarray of bool, shape (n_folds + 1, n_labels)
            What is fitted.
        first : ndarray of float64, shape (n_labels, n_features + 1)
            Where to begin.

        Returns
        -------
        ndarray of float64, shape (n_folds + 1, n_labels, n_features + 1)
            Coefficients for the block's features; 0 where nothing was fitted.
        """
        from stacking.kernels.logistic import newton_folds

        assert self.rows is not None  # noqa: S101
        fitted = np.zeros_like(prior)
        facts = (self.rows.start, self.rows.fold_of, prior, ridge, lowest, learnable, first)
        newton_folds(block.design, block.truth, *facts, fitted, _MAX_STEPS, _LAST_GAIN)
        return fitted

    def pool(self, block: Block, shared: DoubleArray, intercepts: DoubleArray) -> PooledStep:
        """Return the derivatives for shared slopes, see `NewtonSolver.pool`."""
        from stacking.kernels.logistic import pool_labels

        n_features = len(shared)
        slope, curvature = np.zeros(n_features), np.zeros((n_features, n_features))
        links, levels = np.empty((len(intercepts), n_features)), np.empty((len(intercepts), 2))
        pool_labels(block.design, block.truth, block.n_samples, shared, intercepts, slope, curvature, links, levels)
        return PooledStep(slope, curvature, links, levels)


def _cut(labels: IndexArray, size: int) -> Iterator[IndexArray]:
    """Yield at most `size` labels at a time."""
    return (labels[begin : begin + size] for begin in range(0, len(labels), size))


def _penalized_loss(
    block: Block, deviation: DoubleArray, ridge: DoubleArray, coefficients: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Return each label's penalized log loss and the probabilities."""
    logits = np.matmul(coefficients[:, None, :], block.design)[:, 0]
    small = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0.0) - block.truth * logits + np.log1p(small)
    if block.weight is not None:
        losses *= block.weight
    chance = np.where(logits >= 0, 1.0, small) / (1.0 + small)
    return losses.sum(axis=1) + 0.5 * (ridge * deviation**2).sum(axis=1), chance


def _derivatives(block: Block, chance: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Return gradient (n_labels, n_features + 1) and Hessian of the loss without its penalty."""
    # The floor keeps the curvature above 0 where probabilities have rounded to 0 or 1.
    error, spread = chance - block.truth, np.maximum(chance * (1.0 - chance), 1e-10)
    if block.weight is not None:
        error, spread = error * block.weight, spread * block.weight
    slope = np.matmul(block.design, error[:, :, None])[:, :, 0]
    return slope, np.matmul(block.design * spread[:, None, :], block.design.transpose(0, 2, 1))
