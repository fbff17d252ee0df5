"""The loop of a dependency network: all labels' regressions on the few other labels that each row holds.

A row's truths are few numbers that are not 0, so that their products with the weights are sums of a few rows of these:
a dense product of 10,000 rows by 228 labels, six of them positive, costs six times as much with all that follows it.
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np

from stacking.kernels.compiling import fusing
from stacking.kernels.exponential import falling_exponentials

FLUSHED = 512
"""Rows whose slopes are summed in float32 before they are added in float64; only rounding depends on it."""


@fusing
def network_derivatives(start, column, value, times, cells, links, base, slope, level_slope):
    """Return the log loss of all labels given the others; set its slopes.

    ``column[start[i] : start[i + 1]]`` are the labels of row i whose truth is not 0, ``value`` these truths; the row
    counts ``times[i]`` times; ``cells`` (n_rows, n_labels) weighs the cells, or is empty. The log odds are ``base``
    plus the sum of ``links[j] · truth[j]`` over the row's labels j; ``slope`` (n_labels, n_labels) is with regard to
    ``links``, ``level_slope`` to ``base``.
    """
    n_rows, n_labels = len(start) - 1, links.shape[0]
    weighted = cells.shape[0] > 0
    logits, small, error = (
        np.empty(n_labels, np.float32),
        np.empty(n_labels, np.float32),
        np.empty(n_labels, np.float32),
    )
    bits = np.empty(n_labels, np.int32)
    power = bits.view(np.float32)
    part, level_part = np.zeros((n_labels, n_labels), np.float32), np.zeros(n_labels, np.float32)
    slope[:] = 0.0
    level_slope[:] = 0.0
    loss = 0.0
    for i in range(n_rows):
        often = times[i]
        for label in range(n_labels):
            logits[label] = base[label]
        for entry in range(start[i], start[i + 1]):
            j, v = column[entry], value[entry]
            for label in range(n_labels):
                logits[label] += v * links[j, label]
        falling_exponentials(logits, n_labels, small, bits)
        for label in range(n_labels):
            a = small[label] * power[label]
            total = np.float32(1.0) + a
            inverse = np.float32(1.0) / total
            error[label] = inverse if logits[label] >= 0 else a * inverse
            small[label] = total
        row_loss = np.float32(0.0)
        if weighted:
            for label in range(n_labels):
                row_loss += cells[i, label] * (max(logits[label], np.float32(0.0)) + np.log(small[label]))
            for entry in range(start[i], start[i + 1]):
                j, v = column[entry], value[entry]
                row_loss -= cells[i, j] * v * logits[j]
                error[j] -= v
            for label in range(n_labels):
                error[label] *= cells[i, label]
        else:
            for label in range(n_labels):
                row_loss += max(logits[label], np.float32(0.0))
            for first in range(0, n_labels, 32):
                product = np.float32(1.0)
                for label in range(first, min(first + 32, n_labels)):
                    product *= small[label]
                loss += often * np.log(np.float64(product))
            for entry in range(start[i], start[i + 1]):
                j, v = column[entry], value[entry]
                row_loss -= v * logits[j]
                error[j] -= v
        loss += often * np.float64(row_loss)
        for entry in range(start[i], start[i + 1]):
            j, v = column[entry], often * value[entry]
            for label in range(n_labels):
                part[j, label] += v * error[label]
        for label in range(n_labels):
            level_part[label] += often * error[label]
        if i % FLUSHED == FLUSHED - 1 or i == n_rows - 1:
            for j in range(n_labels):
                for label in range(n_labels):
                    slope[j, label] += part[j, label]
                    part[j, label] = np.float32(0.0)
                level_slope[j] += level_part[j]
                level_part[j] = np.float32(0.0)
    return loss
