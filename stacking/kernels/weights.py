"""Every compiled loop of the package: folds, sorted cuts, and the objectives of the weight search.

Compiled by numba on first use and cached on disk. Import this module inside functions only: ``import stacking`` must
not load numba. Scores are float32 in [0, 1], which order like their bit patterns; the histograms use the top bits,
16 bins an octave, so that a rare label's scores near zero are told apart as well as a frequent label's near one.
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np
from numba import njit


def _compile(kernel, **options):
    """Compile on first use, cached on disk; where nothing can be written, for this process only."""
    try:
        return njit(cache=True, nogil=True, **options)(kernel)
    except RuntimeError:  # numba: "no locator available"
        return njit(nogil=True, **options)(kernel)


def _compiled(kernel):
    """Compile with exact IEEE arithmetic: sums are made in the order written."""
    return _compile(kernel)


def _reassociating(kernel):
    """Compile with sums in any order, which lets them run in parallel lanes."""
    return _compile(kernel, fastmath={"reassoc", "nsz"})


LOWEST_PATTERN = (127 - 24) << 23
"""The bits of 2**-24 as float32: smaller scores share bin 0 of a histogram."""

FINEST_SHIFT = 19
"""Histogram bins ignore so many low bits of a score's pattern, or more: 16 bins an octave. Only speed depends on it."""

ONE_PATTERN = 127 << 23
"""The bits of 1.0."""

SHORT = 96
"""Most entries that are sorted by insertion: only speed depends on it."""

ROW_SHIFT = 34
"""A packed entry holds the score's 30 bits above the row's 33, and the truth in bit 0."""

NEVER = np.uint32(0xFFFFFFFF)
"""A floor above every score: nothing of that label is gathered."""


# -- folds -------------------------------------------------------------------------------------------------------------


@_compiled
def stratify(shares, sizes, item_start, item_label, item_count, n_labels, order, shift):
    """Assign items (samples or groups) to folds by iterative stratification of label counts (Sechidis et al. 2011)."""
    n_items, n_folds = len(sizes), len(shares)
    fold_of = np.full(n_items, -1, np.int64)
    start = np.zeros(n_labels + 1, np.int64)
    remaining = np.zeros(n_labels)
    for entry in range(len(item_label)):
        start[item_label[entry] + 1] += 1
        remaining[item_label[entry]] += item_count[entry]
    for label in range(n_labels):
        start[label + 1] += start[label]
    holder = np.empty(len(item_label), np.int64)
    fill = start.copy()
    for item in order:
        for entry in range(item_start[item], item_start[item + 1]):
            holder[fill[item_label[entry]]] = item
            fill[item_label[entry]] += 1
    wanted = np.empty((n_folds, n_labels))
    for fold in range(n_folds):
        wanted[fold] = shares[fold] * remaining
    room = shares * sizes.sum()
    while True:
        rarest = -1
        for label in range(n_labels):
            if remaining[label] > 0 and (rarest < 0 or remaining[label] < remaining[rarest]):
                rarest = label
        candidates = holder[start[rarest] : start[rarest + 1]] if rarest >= 0 else order
        for item in candidates:
            if fold_of[item] >= 0:
                continue
            best, best_wanted = -1, 0.0
            for turn in range(n_folds):
                fold = (turn + shift[item]) % n_folds
                need = wanted[fold, rarest] if rarest >= 0 else 0.0
                if best < 0 or need > best_wanted or (need == best_wanted and room[fold] > room[best]):
                    best, best_wanted = fold, need
            fold_of[item] = best
            room[best] -= sizes[item]
            for entry in range(item_start[item], item_start[item + 1]):
                wanted[best, item_label[entry]] -= item_count[entry]
                remaining[item_label[entry]] -= item_count[entry]
        if rarest < 0:
            return fold_of


# -- cuts of sorted scores ---------------------------------------------------------------------------------------------


@_compiled
def score_histograms(bits, truth, known, weight, entries, mass, positive, shift):
    """Add each label's rows, their weight and the weight of its positives to histograms of the score's bin.

    A bin holds the scores that differ in their last `shift` bits only.
    """
    lowest = np.int64(LOWEST_PATTERN >> shift)
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    w = 1.0
    for row in range(bits.shape[0]):
        if weighted:
            w = weight[row]
            if w == 0.0:
                continue
        for label in range(bits.shape[1]):
            if masked and not known[row, label]:
                continue
            b = max((np.int64(bits[row, label] & np.uint32(0x7FFFFFFF)) >> shift) - lowest, 0)
            entries[label, b] += 1
            if weighted:
                mass[label, b] += w
            if truth[row, label]:
                positive[label, b] += w


@_compiled
def lowest_floors(entries, mass, limit, shift):
    """Return per label the smallest score pattern worth sorting, and how many entries lie at or above it.

    A cut of label l whose weight exceeds ``limit[l]`` cannot be optimal; one more filled bin is kept so that every
    useful cut has its next lower score at hand.
    """
    n_labels, n_bins = mass.shape
    lowest = np.int64(LOWEST_PATTERN >> shift)
    floors = np.empty(n_labels, np.uint32)
    kept = np.zeros(n_labels, np.int64)
    for label in range(n_labels):
        floors[label] = NEVER
        if limit[label] <= 0.0:
            continue
        total, last = 0.0, False
        for b in range(n_bins - 1, -1, -1):
            if entries[label, b] == 0:
                continue
            kept[label] += entries[label, b]
            total += mass[label, b]
            floors[label] = np.uint32((b + lowest) << shift) if b > 0 else np.uint32(0)
            if last:
                break
            last = total >= limit[label]
    return floors, kept


@_compiled
def gather_entries(bits, truth, known, weight, floors, first_row, packed, fill):
    """Pack (score, row, truth) of every entry at or above its label's floor where the label is filled up to so far."""
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    for row in range(bits.shape[0]):
        if weighted and weight[row] == 0.0:
            continue
        for label in range(bits.shape[1]):
            pattern = bits[row, label] & np.uint32(0x7FFFFFFF)
            if pattern < floors[label] or (masked and not known[row, label]):
                continue
            hit = np.uint64(1) if truth[row, label] else np.uint64(0)
            place = np.uint64(first_row + row) << np.uint64(1)
            packed[fill[label]] = (np.uint64(pattern) << np.uint64(ROW_SHIFT)) | place | hit
            fill[label] += 1


@_compiled
def sort_short_segments(packed, start):
    """Sort the entries of every label that has few of them, by insertion."""
    for label in range(len(start) - 1):
        if start[label + 1] - start[label] > SHORT:
            continue
        for place in range(start[label] + 1, start[label + 1]):
            entry, hole = packed[place], place
            while hole > start[label] and packed[hole - 1] > entry:
                packed[hole] = packed[hole - 1]
                hole -= 1
            packed[hole] = entry


@_compiled
def cumulate_cuts(packed, start, weight):
    """Turn sorted entries into cuts between distinct scores, descending; only cuts that gain a positive are kept.

    Returns per cut the pattern of its lowest score and of the next lower one, and the weights of the true positives and
    of all entries at or above it.
    """
    weighted = weight.shape[0] > 0
    n_labels = len(start) - 1
    capacity = 0
    for entry in packed:
        capacity += np.int64(entry & np.uint64(1))
    cut_start = np.zeros(n_labels + 1, np.int64)
    score = np.empty(capacity, np.uint32)
    lower = np.empty(capacity, np.uint32)
    hits = np.empty(capacity)
    fired = np.empty(capacity)
    n_cuts = 0
    for label in range(n_labels):
        hit = total = 0.0
        entry = start[label + 1] - 1
        while entry >= start[label]:
            pattern = packed[entry] >> np.uint64(ROW_SHIFT)
            before = hit
            while entry >= start[label] and packed[entry] >> np.uint64(ROW_SHIFT) == pattern:
                w = weight[(packed[entry] >> np.uint64(1)) & np.uint64(0x1FFFFFFFF)] if weighted else 1.0
                total += w
                if packed[entry] & np.uint64(1):
                    hit += w
                entry -= 1
            if hit > before:
                score[n_cuts] = pattern
                if entry >= start[label]:
                    lower[n_cuts] = np.uint32(packed[entry] >> np.uint64(ROW_SHIFT))
                else:  # nothing is lower: a little below, whatever the bins were
                    low = (np.int64(pattern) >> FINEST_SHIFT) << FINEST_SHIFT
                    lower[n_cuts] = np.uint32(low if low > LOWEST_PATTERN else 0)
                hits[n_cuts] = hit
                fired[n_cuts] = total
                n_cuts += 1
        cut_start[label + 1] = n_cuts
    return cut_start, score[:n_cuts], lower[:n_cuts], hits[:n_cuts], fired[:n_cuts]


@_compiled
def best_cuts(cut_start, hits, fired, price):
    """Return per label the cut that maximises 2 hits − price · fired, −1 if none is above 0; fewest fired if tied."""
    n_labels = len(cut_start) - 1
    chosen = np.full(n_labels, -1, np.int64)
    for label in range(n_labels):
        best = 0.0
        for cut in range(cut_start[label], cut_start[label + 1]):
            gain = 2.0 * hits[cut] - price * fired[cut]
            if gain > best:
                best, chosen[label] = gain, cut
    return chosen


@_compiled
def best_f1_cuts(cut_start, hits, fired, positives):
    """Return per label the cut with the highest own F1, or −1 where the label has no positives, and that F1."""
    n_labels = len(cut_start) - 1
    chosen = np.full(n_labels, -1, np.int64)
    value = np.zeros(n_labels)
    for label in range(n_labels):
        for cut in range(cut_start[label], cut_start[label + 1]):
            f1 = 2.0 * hits[cut] / (positives[label] + fired[cut])
            if f1 > value[label]:
                value[label], chosen[label] = f1, cut
    return chosen, value


@_compiled
def cycle_cuts(cut_start, hits, fired, positives, chosen, max_cycles):
    """Set one label's cut after the other to the best micro-F1 given the others (Fan & Lin 2007), until none moves."""
    n_labels = len(cut_start) - 1
    all_hits = all_fired = 0.0
    for label in range(n_labels):
        if chosen[label] >= 0:
            all_hits += hits[chosen[label]]
            all_fired += fired[chosen[label]]
    for cycle in range(max_cycles):
        moved = False
        for label in range(n_labels):
            now = chosen[label]
            other_hits = all_hits - (hits[now] if now >= 0 else 0.0)
            other_fired = all_fired - (fired[now] if now >= 0 else 0.0)
            best, best_f1 = now, 2.0 * all_hits / (positives + all_fired)
            for cut in range(cut_start[label] - 1, cut_start[label + 1]):
                never = cut < cut_start[label]
                h, n = (0.0, 0.0) if never else (hits[cut], fired[cut])
                f1 = 2.0 * (other_hits + h) / (positives + other_fired + n)
                if f1 > best_f1 + 1e-15:
                    best, best_f1 = (-1 if never else cut), f1
            if best != now:
                moved = True
                chosen[label] = best
                all_hits = other_hits + (hits[best] if best >= 0 else 0.0)
                all_fired = other_fired + (fired[best] if best >= 0 else 0.0)
        if not moved:
            return cycle + 1
    return max_cycles


# -- weight search -----------------------------------------------------------------------------------------------------
#
# Cells are stored by segment: one per group of labels that share weights, for F1 one each for negatives and positives.
# ``values`` is (n_models, n_cells), ``start`` (n_segments + 1,). Candidates come as float32 (n_candidates, n_models,
# n_groups), already renormalised for coverage. All candidates share one pass over the cells.

BLOCK = 1024
"""Cells worked on at a time: a block of all models stays in the first-level cache."""

GRID_SHIFT = 17
"""Low bits that the threshold grid ignores: 64 cuts an octave of the odds, at both ends of [0, 1]."""

GRID_LOWEST = (127 - 24) << 6
"""The bit pattern of 2**-24 after the shift: the lowest cut, mirrored at 1 − 2**-24."""

GRID_HALF = (0x3F000000 >> GRID_SHIFT) - GRID_LOWEST
"""Grid position of .5; there are 2 · GRID_HALF + 1 positions."""

LOGIT_RANGE = 17.0
"""Logits of clipped scores lie within ± this."""

SMALLEST_PROBABILITY = np.float32(1e-7)
"""Probabilities of the truth are clipped to this from below."""


@_compiled
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


@_compiled
def count_undecided(block, truth, known, weight, lows, high, ceiling, group, counts, always, tier_of):
    """Count per (tier, group, truth) the cells whose decision depends on the weights; weigh those that always fire.

    A mean lies between the lowest and the highest score: a cell whose scores all lie below `low` never fires, one whose
    scores all reach `high` always does. Tier k holds the cells whose highest score lies in [lows[k], lows[k − 1]), with
    `ceiling` above the first. Sets ``tier_of`` (n_rows, n_labels), −1 for cells that are left out, and returns the
    weight of all positives.
    """
    n_rows, n_labels = truth.shape
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
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


@_compiled
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
                stored[place[k]] = value if value == value else np.float32(0.0)
        if weighted:
            for k in range(n_kept):
                cell_weight[place[k]] = weight[row]
    return values, cell_weight


@_compiled
def _mix(values, first, n, candidate, group, mixed):
    """Set ``mixed[:n]`` to the weighted sum of n cells; models are added in order, those of weight 0 left out."""
    mixed[:n] = np.float32(0.0)
    for model in range(values.shape[0]):
        w = candidate[model, group]
        if w != np.float32(0.0):
            scores = values[model, first : first + n]
            for j in range(n):
                mixed[j] += w * scores[j]


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
def _to_truth_probability(mixed, n, is_logit, hit):
    """Turn mixed values into probabilities of the truth, clipped from below."""
    if is_logit:
        for j in range(n):
            mixed[j] = np.float32(1.0) / (np.float32(1.0) + np.exp(-mixed[j]))
    for j in range(n):
        mixed[j] = max(mixed[j] if hit else np.float32(1.0) - mixed[j], SMALLEST_PROBABILITY)


@_compiled
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
                mixed[n:] = np.float32(1.0)
                for j in range(BLOCK // 4):
                    pair = mixed[j] * mixed[j + BLOCK // 4]
                    wide[j] = np.float64(pair * (mixed[j + BLOCK // 2] * mixed[j + 3 * BLOCK // 4]))
                half = BLOCK // 8
                while half >= BLOCK // 32:
                    for j in range(half):
                        wide[j] *= wide[j + half]
                    half //= 2
                for j in range(BLOCK // 32):
                    totals[c] += np.log(wide[j])


@_reassociating
def log_likelihood_gradient(values, start, weight, candidate, is_logit, gradient):
    """Add the gradient of the log likelihood, up to a constant per group, to ``gradient``; return the log likelihood.

    The constant is what all models share; without it rounding works on small numbers. 16 probabilities, kept in
    float64, are multiplied before one logarithm is taken.
    """
    weighted = weight.shape[0] > 0
    total = 0.0
    mixed = np.empty(BLOCK, np.float32)
    slope = np.empty(BLOCK, np.float32)
    truth = np.empty(BLOCK, np.float64)
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
            if weighted:
                for j in range(n):
                    total += weight[first + j] * np.log(truth[j])
                    slope[j] *= np.float32(weight[first + j])
            else:
                for k in range(0, n, 16):
                    product = 1.0
                    for j in range(k, min(k + 16, n)):
                        product *= truth[j]
                    total += np.log(product)
            for model in range(values.shape[0]):
                scores = values[model, first : first + n]
                dot = np.float32(0.0)
                for j in range(n):
                    dot += slope[j] * (scores[j] - mixed[j])
                gradient[model, group] += dot
    return total
