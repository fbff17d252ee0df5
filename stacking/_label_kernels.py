"""Compiled loops over one label at a time: the cuts of its mixed scores, and what the best of them is worth.

Beside `stacking._kernels`, which it does not call, so that the cached code of either stands alone. A label's cells lie
together, negatives before positives: ``start`` holds two segments a label. A cut is only worth making at the score of a
positive, so the p positives are sorted and the n negatives counted between them: O(n log p), no sort of all cells.
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: PLR0913

import numpy as np

from stacking._kernels import _compiled

BLOCK = 1024
"""Cells mixed at a time: a block of all models stays in the first-level cache."""

GAIN = 0
"""Worth of a label: the largest 2 hits − price · fired, 0 for never."""

OWN_F1 = 1
"""Worth of a label: its largest own F1."""

AVERAGE_PRECISION = 2
"""Worth of a label: Σ (recall step) · precision over its cuts."""


@_compiled
def _mix_label(values, first, n, candidate, label, is_logit, mixed):
    """Set ``mixed[:n]`` to a label's mixed scores in [0, 1]; models are added in order, those of weight 0 left out."""
    for begin in range(0, n, BLOCK):
        size = min(BLOCK, n - begin)
        part = mixed[begin : begin + size]
        part[:] = np.float32(0.0)
        for model in range(values.shape[0]):
            w = candidate[model, label]
            if w != np.float32(0.0):
                scores = values[model, first + begin : first + begin + size]
                for j in range(size):
                    part[j] += w * scores[j]
        if is_logit:
            for j in range(size):
                part[j] = np.float32(1.0) / (np.float32(1.0) + np.exp(-part[j]))
        else:
            for j in range(size):
                part[j] = min(max(part[j], np.float32(0.0)), np.float32(1.0))


@_compiled
def _count_cuts(bits, n_negatives, n, weight, packed, edge, hits, fired):
    """Set the weights of hits and of all fired cells at each distinct score of a positive, highest first; count them.

    Scores are given as bit patterns, which order like them; ``weight`` is that of the label's cells, or empty.
    """
    weighted = weight.shape[0] > 0
    n_positives = n - n_negatives
    ordered = packed[:n_positives]
    for j in range(n_positives):
        ordered[j] = (np.uint64(bits[n_negatives + j]) << np.uint64(32)) | np.uint64(j)
    ordered.sort()
    n_cuts = 0
    for j in range(n_positives - 1, -1, -1):
        pattern = np.uint32(ordered[j] >> np.uint64(32))
        if n_cuts == 0 or edge[n_cuts - 1] != pattern:
            edge[n_cuts] = pattern
            hits[n_cuts] = fired[n_cuts] = 0.0
            n_cuts += 1
        hits[n_cuts - 1] += weight[n_negatives + np.int64(ordered[j] & np.uint64(0xFFFFFFFF))] if weighted else 1.0
    if n_cuts == 0:
        return 0
    for j in range(n_negatives):
        pattern = bits[j]
        if pattern < edge[n_cuts - 1]:
            continue
        low, left = 0, n_cuts  # how many edges lie above the pattern
        while left > 1:
            half = left // 2
            low = low + half if edge[low + half - 1] > pattern else low
            left -= half
        low += 1 if edge[low] > pattern else 0
        fired[low] += weight[j] if weighted else 1.0
    hit = total = 0.0
    for cut in range(n_cuts):
        hit += hits[cut]
        total += hits[cut] + fired[cut]
        hits[cut], fired[cut] = hit, total
    return n_cuts


@_compiled
def _worth(hits, fired, n_cuts, criterion, price, positives):
    """Return what a label's cuts are worth by a criterion."""
    value = before = 0.0
    for cut in range(n_cuts):
        if criterion == GAIN:
            value = max(value, 2.0 * hits[cut] - price * fired[cut])
        elif criterion == OWN_F1:
            value = max(value, 2.0 * hits[cut] / (positives + fired[cut]))
        else:
            value += (hits[cut] - before) / positives * hits[cut] / fired[cut]
            before = hits[cut]
    return value


@_compiled
def _longest(start):
    """Return the most cells and the most positives of a label."""
    cells = positives = 1
    for label in range(len(start) // 2):
        cells = max(cells, start[2 * label + 2] - start[2 * label])
        positives = max(positives, start[2 * label + 2] - start[2 * label + 1])
    return cells, positives


@_compiled
def label_worths(values, start, weight, candidates, is_logit, criterion, price, positives, worths):
    """Set ``worths`` (n_candidates, n_labels) where a label has positives; ``positives`` is their weight."""
    weighted = weight.shape[0] > 0
    n_cells, n_positives = _longest(start)
    mixed = np.empty(n_cells, np.float32)
    bits = mixed.view(np.uint32)
    packed = np.empty(n_positives, np.uint64)
    edge = np.empty(n_positives, np.uint32)
    hits = np.empty(n_positives)
    fired = np.empty(n_positives)
    for label in range(len(start) // 2):
        first, middle, last = start[2 * label], start[2 * label + 1], start[2 * label + 2]
        own_weight = weight[first:last] if weighted else weight[:0]
        if positives[label] <= 0.0 or middle == last:
            continue
        for c in range(len(candidates)):
            _mix_label(values, first, last - first, candidates[c], label, is_logit, mixed)
            n_cuts = _count_cuts(bits, middle - first, last - first, own_weight, packed, edge, hits, fired)
            worths[c, label] = _worth(hits, fired, n_cuts, criterion, price, positives[label])


@_compiled
def label_cuts(values, start, weight, candidates, is_logit, cut_start, n_cuts, hits, fired):
    """Set every candidate's cuts: label l has ``n_cuts[c, l]`` of them from ``cut_start[l]`` on in ``hits[c]``."""
    weighted = weight.shape[0] > 0
    n_cells, n_positives = _longest(start)
    mixed = np.empty(n_cells, np.float32)
    bits = mixed.view(np.uint32)
    packed = np.empty(n_positives, np.uint64)
    edge = np.empty(n_positives, np.uint32)
    for label in range(len(start) // 2):
        first, middle, last = start[2 * label], start[2 * label + 1], start[2 * label + 2]
        own_weight = weight[first:last] if weighted else weight[:0]
        own = slice(cut_start[label], cut_start[label + 1])
        for c in range(len(candidates)):
            if middle < last:
                _mix_label(values, first, last - first, candidates[c], label, is_logit, mixed)
                n_cuts[c, label] = _count_cuts(
                    bits, middle - first, last - first, own_weight, packed, edge, hits[c, own], fired[c, own]
                )


@_compiled
def best_micro_f1(cut_start, n_cuts, hits, fired, positives, reached):
    """Set every candidate's micro-F1 at its best cut of each label, by Dinkelbach's iteration (1967)."""
    for c in range(len(reached)):
        value = 0.0
        while positives > 0.0:
            all_hits = all_fired = 0.0
            for label in range(len(cut_start) - 1):
                best, best_cut = 0.0, -1
                for cut in range(cut_start[label], cut_start[label] + n_cuts[c, label]):
                    gain = 2.0 * hits[c, cut] - value * fired[c, cut]
                    if gain > best:
                        best, best_cut = gain, cut
                if best_cut >= 0:
                    all_hits += hits[c, best_cut]
                    all_fired += fired[c, best_cut]
            f1 = 2.0 * all_hits / (positives + all_fired)
            if f1 <= value:
                break
            value = f1
        reached[c] = value
