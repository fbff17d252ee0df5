"""Compiled loops over one label at a time: the cuts of its mixed scores, and what the best of them is worth.

Beside `stacking.kernels.weights`, which it does not call, so that the cached code of either stands alone. A label's
cells lie together, negatives before positives: ``start`` holds two segments a label. A cut is only worth making at the
score of a positive, so the p positives are sorted and negatives counted between them: O(n log p), no sort of all cells.

Negatives lie in descending order of their highest score over the models, in blocks. A mean never exceeds the highest
score, so after some blocks the counts at all cuts above the next block's ceiling are final; as soon as they show that
no lower cut can be worth more, the label is done. On a long tail of labels that leaves a small part of the cells.
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np

from stacking.kernels.compiling import compiled, compiled_late

BLOCK = 1024
"""Cells mixed at a time: a block of all models stays in the first-level cache. Only speed depends on it."""

FIRST_BLOCK = 128
"""Negatives in a label's first block; each further block holds a quarter of those before it, and at least as many.
Only speed depends on it: what is counted before a label is done, not what it is worth."""

CEILING_MARGIN = 1e-4
"""Relative margin of a block's ceiling for what rounding adds to a mean: a float32 sum of n scores is off by about
n · 6e-8 of its size. A wider margin costs time, no result."""

ORDER_SHIFT = 18
"""Low bits of a score that the order of the negatives ignores: 32 steps an octave. Only speed depends on it, since the
ceilings are taken from the scores themselves."""

GAIN = 0
"""Worth of a label: the largest 2 hits − price · fired, 0 for never."""

OWN_F1 = 1
"""Worth of a label: its largest own F-beta; the price is beta²."""

AVERAGE_PRECISION = 2
"""Worth of a label: Σ (recall step) · precision over its cuts."""

ROC_AUC = 3
"""Worth of a label: the share of (positive, negative) pairs ranked right, ties half."""


@compiled
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


@compiled
def count_blocks(start):
    """Return where each label's blocks of negatives begin in the list of all blocks."""
    n_labels = len(start) // 2
    block_start = np.zeros(n_labels + 1, np.int64)
    for label in range(n_labels):
        n, end, n_blocks = start[2 * label + 1] - start[2 * label], 0, 0
        while end < n:
            end += max(FIRST_BLOCK, end // 4)
            n_blocks += 1
        block_start[label + 1] = block_start[label] + n_blocks
    return block_start


@compiled_late
def order_negatives(values, start, weight, is_logit, block_start, ceiling):
    """Put each label's negatives in descending order of their highest score, in place, and set the blocks' ceilings.

    A ceiling is the bit pattern of a score that no mean of the block's cells, or of later ones, exceeds.
    """
    n_models = values.shape[0]
    weighted = weight.shape[0] > 0
    longest = 1
    for label in range(len(start) // 2):
        longest = max(longest, start[2 * label + 1] - start[2 * label])
    top = np.empty(longest, np.float32)
    bits = top.view(np.uint32)
    order = np.empty(longest, np.int64)
    moved = np.empty(longest, np.float32)
    moved_weight = np.empty(longest if weighted else 0, np.float64)
    # Counting sort by the leading bits of the highest score: bins from the pattern of 2**-24, which holds all smaller
    # scores as well, to that of 1.0 (0x3F800000), filled from the highest score down.
    lowest = np.int64((127 - 24) << (23 - ORDER_SHIFT))
    n_bins = np.int64(0x3F800000 >> ORDER_SHIFT) - lowest + 1
    place = np.empty(n_bins + 1, np.int64)
    for label in range(len(start) // 2):
        first, n = start[2 * label], start[2 * label + 1] - start[2 * label]
        top[:n] = values[0, first : first + n]
        for model in range(1, n_models):
            scores = values[model, first : first + n]
            for j in range(n):
                top[j] = max(top[j], scores[j])
        for j in range(n):
            score = np.float32(1.0) / (np.float32(1.0) + np.exp(-top[j])) if is_logit else top[j]
            top[j] = min(max(score, np.float32(0.0)), np.float32(1.0))
        place[:] = 0
        for j in range(n):
            place[n_bins - 1 - max(np.int64(bits[j] >> np.uint32(ORDER_SHIFT)) - lowest, 0) + 1] += 1
        for b in range(n_bins):
            place[b + 1] += place[b]
        for j in range(n):
            b = n_bins - 1 - max(np.int64(bits[j] >> np.uint32(ORDER_SHIFT)) - lowest, 0)
            order[place[b]] = j
            place[b] += 1
        for model in range(n_models):
            scores = values[model, first : first + n]
            for j in range(n):
                moved[j] = scores[order[j]]
            scores[:] = moved[:n]
        if weighted:
            for j in range(n):
                moved_weight[j] = weight[first + order[j]]
            weight[first : first + n] = moved_weight[:n]
        # A block's ceiling is the highest score from its first cell to the label's last one: within a bin, and so
        # between neighboring blocks, cells are in no order.
        for j in range(n):
            moved[j] = top[order[j]]
        highest = moved[:n].view(np.uint32)
        n_blocks = block_start[label + 1] - block_start[label]
        begins = np.empty(n_blocks, np.int64)
        end = 0
        for block in range(n_blocks):
            begins[block] = end
            end += max(FIRST_BLOCK, end // 4)
        pattern, j = np.uint32(0), n - 1
        for block in range(n_blocks - 1, -1, -1):
            while j >= begins[block]:
                pattern = max(pattern, highest[j])
                j -= 1
            # Through `bits`, top[0] becomes the score of the pattern. 1e-30 is the margin of scores so small that
            # float32 no longer rounds them relative to their size.
            top[0] = np.float32(0.0)
            bits[0] = pattern
            top[0] = top[0] * np.float32(1.0 + CEILING_MARGIN) + np.float32(1e-30)
            ceiling[block_start[label] + block] = bits[0]


@compiled
def _sort_positives(bits, n, weight, scratch, hits):
    """Set the distinct scores of n positives, highest first, and the weight at each.

    Sorts by buckets of equal width in the bit pattern, about two a positive; ``bucket[b]`` is left as the number of
    distinct scores before bucket b. Returns the number of distinct scores, the highest pattern and the buckets' shift.
    """
    packed, edge, bucket = scratch
    weighted = weight.shape[0] > 0
    low, high = bits[0], bits[0]
    for j in range(1, n):
        low, high = min(low, bits[j]), max(high, bits[j])
    shift = np.uint32(0)  # of the bits that a bucket ignores, so that there are at most 2 n buckets
    while np.int64((high - low) >> shift) >= 2 * n:
        shift += np.uint32(1)
    n_buckets = np.int64((high - low) >> shift) + 1
    bucket[: n_buckets + 1] = 0
    for j in range(n):
        bucket[np.int64((high - bits[j]) >> shift) + 1] += 1
    for b in range(n_buckets):
        bucket[b + 1] += bucket[b]
    for j in range(n):
        below = high - bits[j]
        b = np.int64(below >> shift)
        # How far below the highest score, in the upper half, above the place in the lower: ascending order is that of
        # descending scores.
        packed[bucket[b]] = (np.uint64(below) << np.uint64(32)) | np.uint64(j)
        bucket[b] += 1
    n_cuts = begin = 0
    for b in range(n_buckets):
        end = bucket[b]
        bucket[b] = n_cuts
        if end - begin > 16:  # short buckets are sorted by insertion: only speed depends on the limit
            packed[begin:end].sort()
        else:
            for j in range(begin + 1, end):
                entry, k = packed[j], j
                while k > begin and packed[k - 1] > entry:
                    packed[k] = packed[k - 1]
                    k -= 1
                packed[k] = entry
        for j in range(begin, end):
            pattern = high - np.uint32(packed[j] >> np.uint64(32))
            if n_cuts == 0 or edge[n_cuts - 1] != pattern:
                edge[n_cuts] = pattern
                hits[n_cuts] = 0.0
                n_cuts += 1
            # The mask takes the place out of the packed entry.
            hits[n_cuts - 1] += weight[np.int64(packed[j] & np.uint64(0xFFFFFFFF))] if weighted else 1.0
        begin = end
    bucket[n_buckets] = n_cuts
    return n_cuts, high, shift


@compiled
def _add_negatives(bits, n, weight, edge, bucket, lowest, high, shift, fired, halves_ties, n_cuts):
    """Add the weight of each negative to the highest cut at or below its score; half of a tie to the next, if asked."""
    weighted = weight.shape[0] > 0
    for j in range(n):
        pattern = bits[j]
        if pattern < lowest:
            continue
        low = 0  # how many edges lie above the pattern
        if pattern < high:
            b = np.int64((high - pattern) >> shift)
            low, end = bucket[b], bucket[b + 1]
            while end - low > 8:  # halve the range while it is long, then walk: only speed depends on the limit
                middle = (low + end) // 2
                if edge[middle] > pattern:
                    low = middle + 1
                else:
                    end = middle
            while low < end and edge[low] > pattern:
                low += 1
        w = weight[j] if weighted else 1.0
        if halves_ties and edge[low] == pattern:
            w *= 0.5
            if low + 1 < n_cuts:
                fired[low + 1] += w
        fired[low] += w


@compiled
def _final_cuts(edge, hits, fired, n_cuts, ceiling, criterion, price, positives):
    """Return how many cuts suffice if no negative above `ceiling` is left to count, or −1 if more must be counted.

    A lower cut hits all positives at best, and fires them and at least the negatives counted above it. Both values rise
    with the hits (a price is a micro-F1, at most 1), so `rest` bounds what any lower cut is worth. Average precision
    and ROC AUC add up over all cuts, so none can be left out.
    """
    if criterion >= AVERAGE_PRECISION:
        return -1
    hit = false = best = 0.0
    for cut in range(n_cuts):
        if edge[cut] <= ceiling:
            if criterion == GAIN:
                rest = 2.0 * positives - price * (positives + false)
            else:
                rest = (1.0 + price) * positives / (price * positives + positives + false)
            return cut if rest <= best else -1
        hit += hits[cut]
        false += fired[cut]
        if criterion == GAIN:
            best = max(best, 2.0 * hit - price * (hit + false))
        else:
            best = max(best, (1.0 + price) * hit / (price * positives + hit + false))
    return n_cuts


@compiled
def _count_cuts(cells, candidate, label, is_logit, criterion, price, positives, scratch, hits, fired):
    """Set the weights of hits and of all fired cells at each useful cut of a label, highest first; count the cuts.

    What the cuts left out are worth by the criterion, at this price or above, the others are worth as well.
    """
    values, start, weight, block_start, ceiling = cells
    mixed, bits, packed, edge, bucket = scratch
    weighted = weight.shape[0] > 0
    first, middle, last = start[2 * label], start[2 * label + 1], start[2 * label + 2]
    _mix_label(values, middle, last - middle, candidate, label, is_logit, mixed)
    own_weight = weight[middle:last] if weighted else weight
    n_cuts, high, shift = _sort_positives(bits, last - middle, own_weight, (packed, edge, bucket), hits)
    fired[:n_cuts] = 0.0
    lowest, begin = edge[n_cuts - 1], 0
    for block in range(block_start[label], block_start[label + 1]):
        if ceiling[block] < lowest:
            break
        final = _final_cuts(edge, hits, fired, n_cuts, ceiling[block], criterion, price, positives)
        if final >= 0:
            n_cuts = final
            break
        n = min(max(FIRST_BLOCK, begin // 4), middle - first - begin)
        own_weight = weight[first + begin : first + begin + n] if weighted else weight
        _mix_label(values, first + begin, n, candidate, label, is_logit, mixed)
        halves_ties = criterion == ROC_AUC
        _add_negatives(bits, n, own_weight, edge, bucket, lowest, high, shift, fired, halves_ties, n_cuts)
        begin += n
    hit = total = 0.0
    for cut in range(n_cuts):
        hit += hits[cut]
        total += hits[cut] + fired[cut]
        hits[cut], fired[cut] = hit, total
    return n_cuts


@compiled
def _value(hits, fired, n_cuts, criterion, price, positives, negatives):
    """Return what a label's cuts are worth by a criterion; the weight of its negatives counts for ROC AUC only."""
    value = before = 0.0
    for cut in range(n_cuts):
        if criterion == GAIN:
            value = max(value, 2.0 * hits[cut] - price * fired[cut])
        elif criterion == OWN_F1:
            value = max(value, (1.0 + price) * hits[cut] / (price * positives + fired[cut]))
        elif criterion == ROC_AUC:
            value += (hits[cut] - before) / positives * (1.0 - (fired[cut] - hits[cut]) / negatives)
            before = hits[cut]
        else:
            value += (hits[cut] - before) / positives * hits[cut] / fired[cut]
            before = hits[cut]
    return value


@compiled
def _make_scratch(start):
    """Return space for one label: mixed scores and their patterns, packed and distinct scores of positives, buckets."""
    n_cells = n_positives = 1
    for label in range(len(start) // 2):
        n_cells = max(n_cells, start[2 * label + 2] - start[2 * label])
        n_positives = max(n_positives, start[2 * label + 2] - start[2 * label + 1])
    mixed = np.empty(n_cells, np.float32)
    packed, edge = np.empty(n_positives, np.uint64), np.empty(n_positives, np.uint32)
    return mixed, mixed.view(np.uint32), packed, edge, np.empty(2 * n_positives + 1, np.int64)


@compiled_late
def label_values(cells, candidates, is_logit, criterion, price, positives, values):
    """Set ``values`` (n_candidates, n_labels) where a label has positives; ``positives`` is their weight.

    ``cells`` are values, start, weight (empty for 1 each), block_start and ceiling.
    """
    start = cells[1]
    scratch = _make_scratch(start)
    hits, fired = np.empty(len(scratch[2])), np.empty(len(scratch[2]))
    for label in range(len(start) // 2):
        if positives[label] <= 0.0 or start[2 * label + 1] == start[2 * label + 2]:
            continue
        negatives = np.float64(start[2 * label + 1] - start[2 * label])
        if len(cells[2]) > 0:
            negatives = cells[2][start[2 * label] : start[2 * label + 1]].sum()
        if criterion == ROC_AUC and negatives <= 0.0:
            continue
        for c in range(len(candidates)):
            own = positives[label]
            n_cuts = _count_cuts(cells, candidates[c], label, is_logit, criterion, price, own, scratch, hits, fired)
            values[c, label] = _value(hits, fired, n_cuts, criterion, price, own, negatives)


@compiled_late
def label_cuts(cells, candidates, is_logit, price, positives, cut_start, n_cuts, hits, fired):
    """Set every candidate's cuts: label l has ``n_cuts[c, l]`` of them from ``cut_start[l]`` on in ``hits[c]``.

    Cuts that gain nothing at `price` or above are left out.
    """
    start = cells[1]
    scratch = _make_scratch(start)
    for label in range(len(start) // 2):
        own = slice(cut_start[label], cut_start[label + 1])
        for c in range(len(candidates)):
            if start[2 * label + 1] < start[2 * label + 2]:
                n_cuts[c, label] = _count_cuts(
                    cells,
                    candidates[c],
                    label,
                    is_logit,
                    GAIN,
                    price,
                    positives[label],
                    scratch,
                    hits[c, own],
                    fired[c, own],
                )


@compiled
def best_micro_f1(cut_start, n_cuts, hits, fired, positives, price, reached):
    """Set every candidate's micro-F1 at its best cut of each label, by Dinkelbach's iteration (1967) from `price` on.

    A candidate that stays below `price` gets a micro-F1 that some of its cuts reach.
    """
    for c in range(len(reached)):
        # At price λ every label takes the cut with the largest 2 TP − λ PP. The micro-F1 of these cuts is the next λ;
        # where it no longer rises, no choice of cuts has a higher one.
        value = price
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
            reached[c] = max(reached[c], f1)
            if f1 <= value:
                break
            value = f1
