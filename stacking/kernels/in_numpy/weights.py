"""The loops of the weight search in numpy: `stacking.kernels.weights` says what each does."""

# mypy: ignore-errors
# ruff: noqa: PLR0913

import numpy as np

from stacking.kernels.compiling import NeedsCompiled
from stacking.kernels.in_numpy.sums import add_up, logarithms
from stacking.kernels.weights import BLOCK, GRID_HALF, GRID_LOWEST, GRID_SHIFT, LOGIT_RANGE, SMALLEST_PROBABILITY

_PART = 16 * BLOCK
"""Cells worked on at a time; only speed and memory depend on it."""


def count_undecided(block, truth, known, weight, lows, high, ceiling, group, counts, always, tier_of):
    """Count what weights can decide."""
    weighted = weight.shape[0] > 0
    top, bottom = np.zeros(truth.shape, np.float32), np.zeros(truth.shape, np.float32)
    if not (lows[0] < 0.0 and ceiling > 1.0):
        top = np.fmax.reduce(block, axis=0, initial=np.float32(-1.0))
        bottom = np.fmin.reduce(block, axis=0, initial=np.float32(2.0))
    counted = known.copy() if known.shape[0] else np.ones(truth.shape, dtype=bool)
    if weighted:
        counted &= (weight != 0.0)[:, None]
    hit = truth != 0
    row_weight = np.broadcast_to((weight if weighted else np.ones(len(truth)))[:, None], truth.shape)
    positives = add_up(0.0, row_weight[counted & hit])
    used = counted & (top >= lows[-1]) & (top < ceiling)
    surely = used & (bottom >= high)
    for side in (0, 1):
        always[side] = add_up(always[side], row_weight[surely & (hit == side)])
    used &= ~surely
    tier = np.zeros(truth.shape, np.int8)
    for low in lows[:-1]:
        tier += top < low
    tier_of[:] = np.where(used, tier, np.int8(-1))
    segment = (2 * group + hit)[used]
    np.add.at(counts, (tier[used], segment), 1)
    return positives


def gather_undecided(block, truth, weight, tier_of, group, start):
    """Gather cells by segment, in the order of the rows."""
    cells = np.flatnonzero(tier_of >= 0)
    segment = tier_of.astype(np.int64) * (2 * (group[-1] + 1)) + 2 * group + (truth != 0)
    cells = cells[np.argsort(segment.ravel()[cells], kind="stable")]
    values = block.reshape(len(block), -1)[:, cells].astype(np.float32)
    values[np.isnan(values)] = 0.0
    cell_weight = weight[cells // truth.shape[1]] if len(weight) else np.empty(0)
    return values, cell_weight.astype(np.float64)


def _mix(values, first, last, weights):
    """Return the weighted sum of some cells; models are added in order, those of weight 0 left out."""
    mixed = np.zeros(last - first, np.float32)
    for scores, w in zip(values, weights, strict=True):
        if w != 0.0:
            mixed += w * scores[first:last]
    return mixed


def _parts(start, size=_PART):
    """Yield the group, the truth and the bounds of some cells at a time."""
    for segment in range(len(start) - 1):
        for first in range(start[segment], start[segment + 1], size):
            yield segment // 2, segment % 2, first, min(first + size, start[segment + 1])


def fired_at(values, start, weight, candidates, cut, fired):
    """Add what fires."""
    for group, hit, first, last in _parts(start):
        for c, candidate in enumerate(candidates):
            fires = _mix(values, first, last, candidate[:, group]) >= cut
            if len(weight):
                sums = np.cumsum(_padded(np.where(fires, weight[first:last], 0.0), 0.0), axis=1)[:, -1]
                fired[c, hit] = add_up(fired[c, hit], sums)
            else:
                fired[c, hit] += np.count_nonzero(fires)


def _padded(values, fill):
    """Return the values as rows of `BLOCK`, the last filled up."""
    n_blocks = -(-len(values) // BLOCK)
    whole = np.full(n_blocks * BLOCK, fill, dtype=values.dtype)
    whole[: len(values)] = values
    return whole.reshape(n_blocks, BLOCK)


def _grid_places(mixed, is_logit):
    """Return the positions of mixed values on the threshold grid."""
    if is_logit:
        spot = ((mixed + np.float32(LOGIT_RANGE)) * np.float32(GRID_HALF / LOGIT_RANGE)).astype(np.int32)
        return np.clip(spot, 0, 2 * GRID_HALF)
    folded = np.maximum(np.minimum(mixed, np.float32(1.0) - mixed), np.float32(0.0))
    spot = np.maximum((folded.view(np.uint32) >> np.uint32(GRID_SHIFT)).astype(np.int32) - np.int32(GRID_LOWEST), 0)
    return np.where(mixed < np.float32(0.5), spot, np.int32(2 * GRID_HALF) - spot)


def grid_histograms(values, start, weight, candidates, active, is_logit, histograms):
    """Add cells to the histograms of the threshold grid, of all active candidates at once."""
    n_cuts, weights = histograms.shape[2], candidates[active]
    offset = (n_cuts * np.arange(len(active)))[:, None]
    for group, hit, first, last in _parts(start, max(_PART // max(len(active), 1), BLOCK)):
        mixed = np.zeros((len(active), last - first), np.float32)
        for scores, w in zip(values, weights[:, :, group].T, strict=True):
            mixed += w[:, None] * scores[first:last]  # a weight of 0 adds ±0, which changes no bit of a sum from 0 on
        place = _grid_places(mixed, is_logit) + offset
        if len(weight):
            for c, own in zip(active, place - offset, strict=True):
                np.add.at(histograms[c, hit], own, weight[first:last])
        else:
            counts = np.bincount(place.ravel(), minlength=n_cuts * len(active))
            histograms[active, hit] += counts.reshape(-1, n_cuts).astype(histograms.dtype)


def best_on_grid(histograms, active, floor, positives, best, bound):
    """Set the best F1 on the grid, and its bound below the floor."""
    falling = np.arange(histograms.shape[2] - 1, floor - 1, -1)
    for c in active:
        filled = falling[histograms[c, 1, falling] != 0]  # only where a positive is gained F1 can rise
        false = np.cumsum(histograms[c, 0, falling], dtype=np.float64)
        true = np.cumsum(histograms[c, 1, filled], dtype=np.float64)
        some = false[len(histograms[c, 0]) - 1 - filled]
        best[c] = (2.0 * true / (positives + true + some)).max(initial=0.0)
        bound[c] = 2.0 * positives / (2.0 * positives + false[-1]) if positives > 0.0 else 0.0


def log_likelihoods(values, start, weight, candidates, is_logit, totals):
    """Add log likelihoods; the compiled exponential function of float32 has no twin."""
    if is_logit:
        raise NeedsCompiled
    for group, hit, first, last in _parts(start):
        for c, candidate in enumerate(candidates):
            mixed = _mix(values, first, last, candidate[:, group])
            mixed = np.maximum(mixed if hit else np.float32(1.0) - mixed, SMALLEST_PROBABILITY)
            if len(weight):
                totals[c] = add_up(totals[c], weight[first:last] * logarithms(mixed.astype(np.float64)))
                continue
            quarters = _padded(mixed, np.float32(1.0)).reshape(-1, 4, BLOCK // 4)
            products = (quarters[:, 0] * quarters[:, 1]) * (quarters[:, 2] * quarters[:, 3])
            totals[c] = add_up(totals[c], logarithms(_folded(products.astype(np.float64), BLOCK // 32, np.multiply)))


def _folded(rows, width, operation):
    """Fold rows in half until they have a width."""
    while rows.shape[1] > width:
        half = rows.shape[1] // 2
        rows = operation(rows[:, :half], rows[:, half:])
    return rows


def log_likelihood_gradient(values, start, weight, candidate, is_logit, gradient):
    """Add the gradient of the log likelihood and return that; logits are left to the compiled loop, which is quicker."""
    if is_logit:
        raise NeedsCompiled
    total = 0.0
    for group, hit, first, last in _parts(start):
        mixed = _mix(values, first, last, candidate[:, group])
        wide = mixed.astype(np.float64)
        truth = np.maximum(wide if hit else 1.0 - wide, np.float64(SMALLEST_PROBABILITY))
        slope = np.float32(1.0 if hit else -1.0) * (1.0 / truth).astype(np.float32)
        if len(weight):
            total = add_up(total, weight[first:last] * logarithms(truth))
            slope *= weight[first:last].astype(np.float32)
        else:
            total = add_up(total, logarithms(_folded(_padded(truth, 1.0), BLOCK // 16, np.multiply)))
        for model, scores in enumerate(values):
            parts = _padded(slope * (scores[first:last] - mixed), np.float32(0.0))
            gradient[model, group] = add_up(
                gradient[model, group], _folded(parts, 1, np.add).ravel().astype(np.float64)
            )
    return total
