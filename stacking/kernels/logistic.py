"""The loops of many small logistic regressions: one label at a time, its features in the second-level cache.

A label's design is (n_blocks, n_features + 1, `BLOCK`) float32, the last feature 1; sums over rows are made in float32
within a block of rows and in float64 over blocks. Against float64 throughout, fitted probabilities differ by less than
1e-5 (measured on 5,000 rows of simulated and of real members).
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np

from stacking.kernels.compiling import compiled, fusing
from stacking.kernels.exponential import falling_exponentials

BLOCK = 256
"""Rows worked on at a time: their logits and weights stay in the first-level cache. Only speed depends on it, and the
rounding of sums; a multiple of 32, since that many factors 1 + exp(−|z|), at most 2³² together, share a logarithm."""

LOWEST_CURVATURE = np.float32(1e-10)
"""Floor of p(1 − p): keeps the curvature above 0 where probabilities have rounded to 0 or 1."""

WORSE = 1e-6
"""A step is halved where the loss grows by more than this share of itself, plus that of the root of the rows: what
float32 sums round, whose errors add up at random. By the loss alone, a rare label's, near 0, was never good enough:
300 evaluations in place of 5."""

NO_FOLD = -1
"""Stands for a fold that no row is in."""


@fusing
def column_moments(values, weight, center, variance):
    """Set the mean and the variance of each column over the cells that weigh something; ``weight`` may be empty."""
    n_rows, n_labels = values.shape
    weighted = weight.shape[0] > 0
    total = np.zeros(n_labels)
    center[:] = 0.0
    variance[:] = 0.0
    for i in range(n_rows):
        row = values[i]
        if weighted:
            cells = weight[i]
            for label in range(n_labels):
                total[label] += cells[label]
                center[label] += cells[label] * row[label]
        else:
            for label in range(n_labels):
                center[label] += row[label]
    for label in range(n_labels):
        total[label] = max(total[label], 1e-12) if weighted else n_rows
        center[label] /= total[label]
    for i in range(n_rows):
        row = values[i]
        if weighted:
            cells = weight[i]
            for label in range(n_labels):
                deviation = row[label] - center[label]
                variance[label] += cells[label] * deviation * deviation
        else:
            for label in range(n_labels):
                deviation = row[label] - center[label]
                variance[label] += deviation * deviation
    for label in range(n_labels):
        variance[label] /= total[label]


@compiled
def gather_labels(source, labels, center, keep, position, rows, start, target):
    """Set ``target[k, b, position]`` to the column of label ``labels[k]``, centered and scaled.

    Block b holds the rows ``rows[start[b] : start[b + 1]]``; what is beyond them in a block is left as it is.
    """
    for block in range(target.shape[1]):
        begin, n = start[block], start[block + 1] - start[block]
        for k in range(len(labels)):
            label = labels[k]
            middle, factor = np.float32(center[label]), np.float32(keep[label])
            for j in range(n):
                target[k, block, position, j] = (np.float32(source[rows[begin + j], label]) - middle) * factor


@fusing
def _evaluate(design, cells, start, fold_of, fold, only, beta, floats, bits, slope, curvature):
    """Return the log loss at `beta`, and set its gradient and the upper half of its Hessian.

    Block b holds rows ``start[b] : start[b + 1]`` of the fold ``fold_of[b]``. Sums go over all blocks but those of
    `fold`, or where `only` over them.
    """
    n_features = design.shape[1]
    weighted = cells.shape[1] > 1
    logits, small, spread, error = floats[0], floats[1], floats[2], floats[3]
    power = bits.view(np.float32)
    loss = 0.0
    slope[:] = 0.0
    curvature[:] = 0.0
    for block in range(design.shape[0]):
        if (fold_of[block] == fold) != only:
            continue
        n = start[block + 1] - start[block]
        for j in range(n):
            logits[j] = np.float32(0.0)
        for f in range(n_features):
            b = beta[f]
            for j in range(n):
                logits[j] += b * design[block, f, j]
        falling_exponentials(logits, n, small, bits)
        part = np.float32(0.0)
        for j in range(n):
            a = small[j] * power[j]
            total = np.float32(1.0) + a
            inverse = np.float32(1.0) / total
            truth = cells[block, 0, j]
            error[j] = (inverse if logits[j] >= 0 else a * inverse) - truth
            spread[j] = max(a * inverse * inverse, LOWEST_CURVATURE)
            logits[j] = max(logits[j], np.float32(0.0)) - truth * logits[j]
            small[j] = total
        if weighted:
            for j in range(n):
                weight = cells[block, 1, j]
                error[j] *= weight
                spread[j] *= weight
                part += weight * (logits[j] + np.log(small[j]))
        else:
            for j in range(n):
                part += logits[j]
            for first in range(0, n, 32):
                product = np.float32(1.0)
                for j in range(first, min(first + 32, n)):
                    product *= small[j]
                loss += np.log(np.float64(product))
        loss += part
        for f in range(n_features):
            dot = np.float32(0.0)
            for j in range(n):
                dot += error[j] * design[block, f, j]
                small[j] = spread[j] * design[block, f, j]
            slope[f] += dot
            for h in range(f, n_features, 2):  # two products share one read of `small`; the second may be a repetition
                g = min(h + 1, n_features - 1)
                d0 = d1 = np.float32(0.0)
                for j in range(n):
                    d0 += small[j] * design[block, h, j]
                    d1 += small[j] * design[block, g, j]
                curvature[f, h] += d0
                if g > h:
                    curvature[f, g] += d1
    return loss


@compiled
def _solve(matrix, vector):
    """Solve in place a symmetric positive definite system whose upper half is given, by Cholesky's decomposition."""
    n = len(vector)
    for i in range(n):
        for j in range(i, n):
            value = matrix[i, j]
            for k in range(i):
                value -= matrix[k, i] * matrix[k, j]
            if i == j:
                matrix[i, i] = np.sqrt(max(value, 1e-30))
            else:
                matrix[i, j] = value / matrix[i, i]
    for i in range(n):
        value = vector[i]
        for k in range(i):
            value -= matrix[k, i] * vector[k]
        vector[i] = value / matrix[i, i]
    for i in range(n - 1, -1, -1):
        value = vector[i]
        for k in range(i + 1, n):
            value -= matrix[i, k] * vector[k]
        vector[i] = value / matrix[i, i]


@compiled
def _minimize(
    design, cells, start, fold_of, fold, prior, ridge, lowest, now, loss, slope, curvature, room, max_steps, last_gain
):
    """Minimize one label's penalized log loss on the rows outside `fold`, from ``now`` and in place.

    ``loss``, ``slope`` and ``curvature`` are those at ``now`` without the penalty; a loss of infinity says that they
    are not known.
    """
    n_features = len(now)
    floats, bits, beta, move, trial = room
    known, rounding = loss < np.inf, np.sqrt(np.float64(start[-1]))
    reached, least, length, step = loss, np.inf, 1.0, 0
    move[:] = 0.0
    while True:
        for f in range(n_features):
            trial[f] = max(now[f] - length * move[f], lowest[f])
            beta[f] = trial[f]
        if step > 0 or not known:
            reached = _evaluate(design, cells, start, fold_of, fold, False, beta, floats, bits, slope, curvature)
        for f in range(n_features - 1):
            reached += 0.5 * ridge[f] * (trial[f] - prior[f]) ** 2
        if reached > least + WORSE * (abs(least) + rounding) and length > 1e-6:
            length *= 0.5
            continue
        for f in range(n_features):
            now[f] = trial[f]
        least = reached
        step += 1
        if step > max_steps:
            return
        for f in range(n_features):
            if f < n_features - 1:
                slope[f] += ridge[f] * (now[f] - prior[f])
            curvature[f, f] += ridge[f]
        for f in range(n_features):
            if now[f] <= lowest[f] and slope[f] > 0.0:  # would leave its range: it stays at the border
                slope[f] = 0.0
                for h in range(n_features):
                    curvature[min(f, h), max(f, h)] = 0.0
                curvature[f, f] = 1.0
            move[f] = slope[f]
        _solve(curvature, move)
        gain = 0.0
        for f in range(n_features):
            gain += slope[f] * move[f]
        length = 1.0
        if gain < last_gain * (1.0 + abs(least)):  # the last step: what it gains is less than float32 sums tell
            for f in range(n_features):
                now[f] = max(now[f] - move[f], lowest[f])
            return


@compiled
def newton_labels(design, cells, n_rows, prior, ridge, lowest, first, fitted, max_steps, last_gain):
    """Minimize each label's penalized log loss from ``first``: Newton's method with step halving.

    ``design`` is (n_labels, n_blocks, n_features + 1, `BLOCK`); ``cells`` likewise, with the truth and, where not all
    cells weigh 1, their weights. ``ridge`` (n_features + 1,) draws coefficients to ``prior``, its last entry the step
    of the intercept to none; none falls below ``lowest`` (projected Newton: D. P. Bertsekas, SIAM Journal on Control
    and Optimization 20, 1982). The step that gains less than ``last_gain`` of the loss is the last one.
    """
    n_labels, n_blocks, n_features, _ = design.shape
    slope, curvature = np.empty(n_features), np.empty((n_features, n_features))
    room = _make_room(n_features)
    now = np.empty(n_features)
    start, fold_of = _rows_of_blocks(n_blocks, n_rows)
    for label in range(n_labels):
        for f in range(n_features):
            now[f] = max(first[label, f], lowest[f])
        _minimize(
            design[label], cells[label], start, fold_of, NO_FOLD, prior[label], ridge, lowest, now, np.inf, slope,
            curvature, room, max_steps, last_gain,
        )  # fmt: skip
        for f in range(n_features):
            fitted[label, f] = now[f]


@compiled
def newton_folds(design, cells, start, fold_of, prior, ridge, lowest, learnable, first, fitted, max_steps, last_gain):
    """Minimize each label's loss on all rows, and from there again without each fold.

    Blocks are as in `_evaluate`. ``prior``, ``ridge`` and ``fitted`` are (n_folds + 1, n_labels, n_features + 1), all
    rows first; ``learnable`` (n_folds + 1, n_labels) tells what is fitted. What all folds begin with is summed up once:
    the derivatives of the loss without a fold are those of all rows less the fold's own.
    """
    n_labels, _, n_features, _ = design.shape
    n_folds = len(prior) - 1
    losses, slopes = np.empty(n_folds), np.empty((n_folds, n_features))
    curvatures = np.empty((n_folds, n_features, n_features))
    slope, curvature = np.empty(n_features), np.empty((n_features, n_features))
    room = _make_room(n_features)
    floats, bits, beta, _, _ = room
    now = np.empty(n_features)
    for label in range(n_labels):
        if not learnable[0, label]:
            continue
        for f in range(n_features):
            now[f] = max(first[label, f], lowest[f])
        _minimize(
            design[label], cells[label], start, fold_of, NO_FOLD, prior[0, label], ridge[0, label], lowest, now, np.inf,
            slope, curvature, room, max_steps, last_gain,
        )  # fmt: skip
        for f in range(n_features):
            fitted[0, label, f] = now[f]
            beta[f] = now[f]
        for fold in range(n_folds):
            losses[fold] = _evaluate(
                design[label], cells[label], start, fold_of, fold, True, beta, floats, bits, slopes[fold],
                curvatures[fold],
            )  # fmt: skip
        for fold in range(n_folds):
            if not learnable[fold + 1, label]:
                continue
            loss = 0.0
            slope[:] = 0.0
            curvature[:] = 0.0
            for other in range(n_folds):
                if other != fold:
                    loss += losses[other]
                    slope += slopes[other]
                    curvature += curvatures[other]
            for f in range(n_features):
                now[f] = fitted[0, label, f]
            _minimize(
                design[label], cells[label], start, fold_of, fold, prior[fold + 1, label], ridge[fold + 1, label],
                lowest, now, loss, slope, curvature, room, max_steps, last_gain,
            )  # fmt: skip
            for f in range(n_features):
                fitted[fold + 1, label, f] = now[f]


@compiled
def _make_room(n_features):
    """Make what `_minimize` works in."""
    floats, bits = np.empty((4, BLOCK), np.float32), np.empty(BLOCK, np.int32)
    return floats, bits, np.empty(n_features, np.float32), np.empty(n_features), np.empty(n_features)


@compiled
def _rows_of_blocks(n_blocks, n_rows):
    """Return where the rows of each block start, and that they are in one fold."""
    start = np.empty(n_blocks + 1, np.int64)
    for block in range(n_blocks + 1):
        start[block] = min(block * BLOCK, n_rows)
    return start, np.zeros(n_blocks, np.int64)


@compiled
def pool_labels(design, cells, n_rows, shared, intercepts, slope, curvature, links, levels):
    """Add the labels' derivatives of a regression with shared slopes, each label's own intercept eliminated.

    Adds to ``slope`` and ``curvature`` of the shared slopes, and sets what moves the intercepts afterwards: ``links``
    (n_labels, n_features) and ``levels`` (n_labels, 2), gradient and curvature of each intercept.
    """
    n_labels, n_blocks, n_columns, _ = design.shape
    n_features = n_columns - 1
    start, fold_of = _rows_of_blocks(n_blocks, n_rows)
    floats, bits = np.empty((4, BLOCK), np.float32), np.empty(BLOCK, np.int32)
    own_slope, own_curvature = np.empty(n_columns), np.empty((n_columns, n_columns))
    beta = np.empty(n_columns, np.float32)
    for label in range(n_labels):
        for f in range(n_features):
            beta[f] = shared[f]
        beta[n_features] = intercepts[label]
        _evaluate(
            design[label], cells[label], start, fold_of, NO_FOLD, False, beta, floats, bits, own_slope, own_curvature
        )
        level = own_curvature[n_features, n_features] + 1e-3
        levels[label, 0], levels[label, 1] = own_slope[n_features], level
        for f in range(n_features):
            links[label, f] = own_curvature[f, n_features]
            slope[f] += own_slope[f] - links[label, f] * own_slope[n_features] / level
        for f in range(n_features):
            for h in range(f, n_features):
                value = own_curvature[f, h] - links[label, f] * own_curvature[h, n_features] / level
                curvature[f, h] += value
                if h != f:
                    curvature[h, f] += value
