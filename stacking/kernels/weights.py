"""The loops of the weight search: cells that weights cannot decide, and what candidate weights make of the others."""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np

from stacking.kernels.compiling import compiled, compiled_late
from stacking.links import SMALLEST_SCORE

#
# Cells are stored by segment: one per group of labels that share weights, for F1 one each for negatives and positives.
# ``values`` is (n_models, n_cells), ``start`` (n_segments + 1,). Candidates come as float32 (n_candidates, n_models,
# n_groups), already renormalized for coverage. All candidates share one pass over the cells.

BLOCK = 1024
"""Cells worked on at a time: a block of all models stays in the first-level cache. Only speed depends on it, and the
rounding of sums; a multiple of 32, since that many probabilities share a logarithm."""

GRID_SHIFT = 17
"""Low bits that the threshold grid ignores: 64 cuts an octave of the odds, at both ends of [0, 1]."""

GRID_LOWEST = (127 - 24) << 6
"""The bit pattern of 2**-24 after the shift: the lowest cut, mirrored at 1 − 2**-24."""

GRID_HALF = (0x3F000000 >> GRID_SHIFT) - GRID_LOWEST
"""Grid position of .5, whose bit pattern is 0x3F000000; there are 2 · GRID_HALF + 1 positions."""

LOGIT_RANGE = 17.0
"""Logits of clipped scores lie within ± this: logit(1 − 1e-7) is 16.1."""

SMALLEST_PROBABILITY = np.float32(SMALLEST_SCORE)
"""Probabilities of the truth are clipped to this from below."""


@compiled
def _bounds(block, row, top, bottom):
    """Set the highest and the lowest score of each label of a row, over the models; NaN compares as false."""
    top[:] = np.float32(-1.0)
    bottom[:] = np.float32(2.0)
    for model in range(block.shape[0]):
        scores = block[model, row]
        for label in range(len(top)):
            value = scores[label]
            top[label] = value if value > top[label] else top[label]
            bottom[label] = value if value < bottom[label] else bottom[label]


@compiled
def count_undecided(block, truth, known, weight, lows, high, ceiling, group, counts, always, tier_of):
    """Count per (tier, group, truth) the cells whose decision depends on the weights; weigh those that always fire.

    A mean lies between the lowest and the highest score: a cell whose scores all lie below `low` never fires, one whose
    scores all reach `high` always does. Tier k holds the cells whose highest score lies in [lows[k], lows[k − 1]), with
    `ceiling` above the first. Sets ``tier_of`` (n_rows, n_labels), −1 for cells that are left out, and returns the
    weight of all positives.
    """
    n_rows, n_labels = truth.shape
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    # Where the first tier takes every score there is nothing to compare: 0, as `top` and `bottom` stay, lies in it.
    everything = lows[0] < np.float32(0.0) and ceiling > np.float32(1.0)
    lowest = lows[-1]
    positives = 0.0
    top = np.zeros(n_labels, np.float32)
    bottom = np.zeros(n_labels, np.float32)
    for row in range(n_rows):
        w = weight[row] if weighted else 1.0
        tiers = tier_of[row]
        tiers[:] = -1
        if w == 0.0:
            continue
        if not everything:
            _bounds(block, row, top, bottom)
        for label in range(n_labels):
            if masked and not known[row, label]:
                continue
            hit = np.int64(truth[row, label])
            if hit:
                positives += w
            if top[label] >= lowest and top[label] < ceiling:
                if bottom[label] >= high:
                    always[hit] += w
                    continue
                tier = 0
                while top[label] < lows[tier]:
                    tier += 1
                tiers[label] = tier
                counts[tier, 2 * group[label] + hit] += 1
    return positives


@compiled
def gather_undecided(block, truth, weight, tier_of, group, start):
    """Store the counted cells by (tier, group, truth): their scores (0 where not covered) and weights."""
    n_models, n_rows, n_labels = block.shape
    weighted = weight.shape[0] > 0
    per_tier = 2 * (group[-1] + 1)
    values = np.empty((n_models, start[-1]), np.float32)
    cell_weight = np.empty(start[-1] if weighted else 0, np.float64)
    fill = start[:-1].copy()
    kept = np.empty(n_labels, np.int64)
    place = np.empty(n_labels, np.int64)
    for row in range(n_rows):
        n_kept = 0
        for label in range(n_labels):
            tier = np.int64(tier_of[row, label])
            if tier >= 0:
                segment = tier * per_tier + 2 * group[label] + np.int64(truth[row, label])
                kept[n_kept] = label
                place[n_kept] = fill[segment]
                fill[segment] += 1
                n_kept += 1
        for model in range(n_models):
            scores, stored = block[model, row], values[model]
            for k in range(n_kept):
                value = scores[kept[k]]
                stored[place[k]] = value if value == value else np.float32(0.0)  # only NaN differs from itself
        if weighted:
            for k in range(n_kept):
                cell_weight[place[k]] = weight[row]
    return values, cell_weight


@compiled
def _mix(values, first, n, candidate, group, mixed):
    """Set ``mixed[:n]`` to the weighted sum of n cells; models are added in order, those of weight 0 left out."""
    mixed[:n] = np.float32(0.0)
    for model in range(values.shape[0]):
        w = candidate[model, group]
        if w != np.float32(0.0):
            scores = values[model, first : first + n]
            for j in range(n):
                mixed[j] += w * scores[j]


@compiled
def fired_at(values, start, weight, candidates, cut, fired):
    """Add, per candidate and truth, the weight of the cells whose mixed value reaches `cut`."""
    weighted = weight.shape[0] > 0
    mixed = np.empty(BLOCK, np.float32)
    for segment in range(len(start) - 1):
        group, hit = segment // 2, segment % 2
        for first in range(start[segment], start[segment + 1], BLOCK):
            n = min(BLOCK, start[segment + 1] - first)
            for c in range(len(candidates)):
                _mix(values, first, n, candidates[c], group, mixed)
                if weighted:
                    total = 0.0
                    for j in range(n):
                        if mixed[j] >= cut:
                            total += weight[first + j]
                    fired[c, hit] += total
                else:
                    count = np.int32(0)
                    for j in range(n):
                        count += np.int32(mixed[j] >= cut)
                    fired[c, hit] += count


@compiled
def _grid_places(mixed, folded, bits, n, is_logit, place):
    """Set ``place[:n]`` to the positions of mixed values on the threshold grid, 0 … 2 · GRID_HALF."""
    if is_logit:
        scale = np.float32(GRID_HALF / LOGIT_RANGE)
        for j in range(n):
            spot = np.int32((mixed[j] + np.float32(LOGIT_RANGE)) * scale)
            place[j] = min(max(spot, np.int32(0)), np.int32(2 * GRID_HALF))
        return
    for j in range(n):  # the grid is mirrored at .5, so that sure scores are told apart as well as doubtful ones
        folded[j] = max(min(mixed[j], np.float32(1.0) - mixed[j]), np.float32(0.0))
    for j in range(n):
        spot = max(np.int32(bits[j] >> np.uint32(GRID_SHIFT)) - np.int32(GRID_LOWEST), np.int32(0))
        place[j] = spot if mixed[j] < np.float32(0.5) else np.int32(2 * GRID_HALF) - spot


@compiled
def grid_histograms(values, start, weight, candidates, active, is_logit, histograms):
    """Add, per active candidate and truth, the weight of the cells at each position of the threshold grid."""
    weighted = weight.shape[0] > 0
    mixed = np.empty(BLOCK, np.float32)
    folded = np.empty(BLOCK, np.float32)
    bits = folded.view(np.uint32)
    place = np.empty(BLOCK, np.int32)
    for segment in range(len(start) - 1):
        group, hit = segment // 2, segment % 2
        for first in range(start[segment], start[segment + 1], BLOCK):
            n = min(BLOCK, start[segment + 1] - first)
            for c in active:
                _mix(values, first, n, candidates[c], group, mixed)
                _grid_places(mixed, folded, bits, n, is_logit, place)
                histogram = histograms[c, hit]
                if weighted:
                    for j in range(n):
                        histogram[place[j]] += weight[first + j]
                else:
                    for j in range(n):
                        histogram[place[j]] += 1


@compiled
def best_on_grid(histograms, active, floor, positives, best, bound):
    """Set each active candidate's best F1 at cuts from `floor` up, and what F1 cannot exceed at lower cuts."""
    for c in active:
        negative, positive = histograms[c, 0], histograms[c, 1]
        false = true = 0.0
        best[c] = 0.0
        for cut in range(len(negative) - 1, floor - 1, -1):
            false += negative[cut]
            true += positive[cut]
            if true > 0.0:
                best[c] = max(best[c], 2.0 * true / (positives + true + false))
        bound[c] = 2.0 * positives / (2.0 * positives + false) if positives > 0.0 else 0.0


@compiled
def _to_truth_probability(mixed, n, is_logit, hit):
    """Turn mixed values into probabilities of the truth, clipped from below."""
    if is_logit:
        for j in range(n):
            mixed[j] = np.float32(1.0) / (np.float32(1.0) + np.exp(-mixed[j]))
    for j in range(n):
        mixed[j] = max(mixed[j] if hit else np.float32(1.0) - mixed[j], SMALLEST_PROBABILITY)


@compiled
def log_likelihoods(values, start, weight, candidates, is_logit, totals):
    """Add, per candidate, the weighted sum of the log probabilities of the truth.

    Without weights 32 probabilities are multiplied before one logarithm is taken: four in float32, which holds 1e-28,
    and eight of those in float64, which holds 1e-224.
    """
    weighted = weight.shape[0] > 0
    mixed = np.empty(BLOCK, np.float32)
    wide = np.empty(BLOCK // 4, np.float64)
    for segment in range(len(start) - 1):
        group, hit = segment // 2, segment % 2 == 1
        for first in range(start[segment], start[segment + 1], BLOCK):
            n = min(BLOCK, start[segment + 1] - first)
            for c in range(len(candidates)):
                _mix(values, first, n, candidates[c], group, mixed)
                _to_truth_probability(mixed, n, is_logit, hit)
                if weighted:
                    for j in range(n):
                        totals[c] += weight[first + j] * np.log(np.float64(mixed[j]))
                    continue
                mixed[n:] = np.float32(1.0)  # fills the last block up; its logarithm is 0
                for j in range(BLOCK // 4):
                    pair = mixed[j] * mixed[j + BLOCK // 4]
                    wide[j] = np.float64(pair * (mixed[j + BLOCK // 2] * mixed[j + 3 * BLOCK // 4]))
                # Fold the 256 products in half three times: 32 are left, each of 8 of them.
                half = BLOCK // 8
                while half >= BLOCK // 32:
                    for j in range(half):
                        wide[j] *= wide[j + half]
                    half //= 2
                for j in range(BLOCK // 32):
                    totals[c] += np.log(wide[j])


@compiled_late
def log_likelihood_gradient(values, start, weight, candidate, is_logit, gradient):
    """Add the gradient of the log likelihood, up to a constant per group, to ``gradient``; return the log likelihood.

    The constant is what all models share; without it rounding works on small numbers. 16 probabilities, kept in
    float64, are multiplied before one logarithm is taken. Products and sums of a block are folded in half until they
    are done: that runs in parallel lanes and has one order.
    """
    weighted = weight.shape[0] > 0
    total = 0.0
    mixed = np.empty(BLOCK, np.float32)
    slope = np.empty(BLOCK, np.float32)
    parts = np.empty(BLOCK // 2, np.float32)
    truth = np.empty(BLOCK, np.float64)
    filled = np.zeros(BLOCK, np.float32)
    for segment in range(len(start) - 1):
        group, hit = segment // 2, segment % 2 == 1
        for first in range(start[segment], start[segment + 1], BLOCK):
            n = min(BLOCK, start[segment + 1] - first)
            _mix(values, first, n, candidate, group, mixed)
            if is_logit:
                for j in range(n):
                    truth[j] = 1.0 / (1.0 + np.exp(-np.float64(mixed[j] if hit else -mixed[j])))
            elif hit:
                for j in range(n):
                    truth[j] = np.float64(max(mixed[j], SMALLEST_PROBABILITY))
            else:
                for j in range(n):
                    truth[j] = max(1.0 - np.float64(mixed[j]), np.float64(SMALLEST_PROBABILITY))
            sign = np.float32(1.0) if hit else np.float32(-1.0)
            for j in range(n):
                steep = 1.0 - truth[j] if is_logit else 1.0 / truth[j]
                slope[j] = sign * np.float32(steep)
            slope[n:] = np.float32(0.0)
            if weighted:
                for j in range(n):
                    total += weight[first + j] * np.log(truth[j])
                    slope[j] *= np.float32(weight[first + j])
            else:
                truth[n:] = 1.0
                half = BLOCK // 2
                while half >= BLOCK // 16:
                    for j in range(half):
                        truth[j] *= truth[j + half]
                    half //= 2
                for j in range(BLOCK // 16):
                    total += np.log(truth[j])
            mixed[n:] = np.float32(0.0)
            half = BLOCK // 2
            for model in range(values.shape[0]):
                scores = values[model, first : first + n]
                if n < BLOCK:
                    filled[:n] = scores
                    filled[n:] = np.float32(0.0)
                    scores = filled
                for j in range(half):
                    parts[j] = slope[j] * (scores[j] - mixed[j]) + slope[j + half] * (scores[j + half] - mixed[j + half])
                width = half // 2
                while width >= 1:
                    for j in range(width):
                        parts[j] += parts[j + width]
                    width //= 2
                gradient[model, group] += parts[0]
    return total
