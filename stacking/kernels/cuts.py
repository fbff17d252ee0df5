"""Sorted cuts: what each possible threshold of a label would fire on, and the best of them.

Scores are float32 in [0, 1], which order like their bit patterns; the histograms use the top bits, 16 bins an octave,
so that a rare label's scores near zero are told apart as well as a frequent label's near one.
"""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: PLR0913

import numpy as np

from stacking.kernels.compiling import compiled

LOWEST_PATTERN = (127 - 24) << 23
"""The bits of 2**-24 as float32: smaller scores share bin 0 of a histogram."""

FINEST_SHIFT = 19
"""Histogram bins ignore so many low bits of a score's pattern, or more: 16 bins an octave. Only speed depends on it."""

ONE_PATTERN = 127 << 23
"""The bits of 1.0."""

SHORT = 96
"""Most entries that are sorted by insertion: only speed depends on it."""

ROW_SHIFT = 34
"""A packed entry holds the score's 30 bits above the 33 of its place, and the truth in bit 0: sorted as whole numbers,
entries are in order of score, then of place. (No pattern of a score in [0, 1] needs more than 30 bits.) The place is
the row; where all cells are one pool, the row above the label, which takes the last `cell_bits` bits."""

PLACE_BITS = 33
"""Bits of the place."""

NEVER = np.uint32(0xFFFFFFFF)
"""A floor above every score: nothing of that label is gathered."""


@compiled
def score_histograms(bits, truth, known, weight, entries, mass, positive, shift):
    """Add each label's rows, their weight and the weight of its positives to histograms of the score's bin.

    A bin holds the scores that differ in their last `shift` bits only.
    """
    lowest = np.int64(LOWEST_PATTERN >> shift)  # the bin number of 2**-24; smaller scores fall into bin 0 as well
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
            # The mask drops the sign bit, so that −0.0 is 0.
            b = max((np.int64(bits[row, label] & np.uint32(0x7FFFFFFF)) >> shift) - lowest, 0)
            entries[label, b] += 1
            if weighted:
                mass[label, b] += w
            if truth[row, label]:
                positive[label, b] += w


@compiled
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
        total, last = 0.0, False  # `last`: the limit is reached, and the next filled bin is the last one kept
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


@compiled
def gather_entries(bits, truth, known, weight, floors, first_row, row_cells, cell_bits, packed, fill):
    """Pack (score, place, truth) of every entry at or above its label's floor where the label is filled up to so far.

    With `row_cells` above 1 so many entries that follow each other are the cells of one row.
    """
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    for row in range(bits.shape[0]):
        if weighted and weight[row] == 0.0:
            continue
        for label in range(bits.shape[1]):
            pattern = bits[row, label] & np.uint32(0x7FFFFFFF)  # without the sign of a zero
            if pattern < floors[label] or (masked and not known[row, label]):
                continue
            hit = np.uint64(1) if truth[row, label] else np.uint64(0)
            place = np.uint64(first_row + row)
            if row_cells > 1:
                place = (np.uint64(first_row + row // row_cells) << np.uint64(cell_bits)) | np.uint64(row % row_cells)
            packed[fill[label]] = (np.uint64(pattern) << np.uint64(ROW_SHIFT)) | (place << np.uint64(1)) | hit
            fill[label] += 1


@compiled
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


@compiled
def keep_within(packed, start, weight, cell_bits, limit):
    """Move the entries of each label that its limit reaches to the front of the array; return where each label's begin.

    Of each label the highest entries stay until their weight reaches the limit, and the next lower score after them.
    """
    weighted = weight.shape[0] > 0
    row_of = np.uint64(cell_bits + 1)
    kept = np.zeros(len(start), np.int64)
    for label in range(len(start) - 1):
        begin, entry = start[label], start[label + 1]
        total, last = 0.0, False  # `last`: the limit is reached, and the next lower score is the last one kept
        while entry > begin:
            pattern = packed[entry - 1] >> np.uint64(ROW_SHIFT)
            while entry > begin and packed[entry - 1] >> np.uint64(ROW_SHIFT) == pattern:
                entry -= 1
                # The mask takes the place and the truth out of the entry.
                total += weight[(packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of] if weighted else 1.0
            if last:
                break
            last = total >= limit[label]
        fill = kept[label]
        for source in range(entry, start[label + 1]):
            packed[fill] = packed[source]
            fill += 1
        kept[label + 1] = fill
    return kept


@compiled
def cumulate_cuts(packed, start, weight, cell_bits):
    """Turn sorted entries into cuts between distinct scores, descending; only cuts that gain a positive are kept.

    Returns per cut the pattern of its lowest score and of the next lower one, and the weights of the true positives and
    of all entries at or above it.
    """
    weighted = weight.shape[0] > 0
    row_of = np.uint64(cell_bits + 1)
    n_labels = len(start) - 1
    capacity = 0  # a cut that is kept gains a positive, so there are at most as many cuts as positives
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
                w = weight[(packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of] if weighted else 1.0
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


@compiled
def count_stops(packed, start, shift):
    """Count per label the scores and the histogram bins that hold a positive."""
    lowest = np.int64(LOWEST_PATTERN >> shift)
    cuts, edges = np.zeros(len(start) - 1, np.int64), np.zeros(len(start) - 1, np.int64)
    for label in range(len(start) - 1):
        # Of the score, and of the bin, that the last positive was in; −1 is none.
        last_pattern, last_bin = np.int64(-1), np.int64(-1)
        for entry in range(start[label + 1] - 1, start[label] - 1, -1):
            if packed[entry] & np.uint64(1):
                pattern = np.int64(packed[entry] >> np.uint64(ROW_SHIFT))
                b = max((pattern >> shift) - lowest, 0)
                cuts[label] += pattern != last_pattern
                edges[label] += b != last_bin
                last_pattern, last_bin = pattern, b
    return cuts, edges


@compiled
def find_stops(packed, start, shift, cut_start, edge_start):
    """Find the places of the lowest entry of each score and of each histogram bin that hold a positive.

    They descend within a label; `cut_start` and `edge_start` say where each label's begin, by `count_stops`.
    """
    lowest = np.int64(LOWEST_PATTERN >> shift)
    cut, edge = np.empty(cut_start[-1], np.int64), np.empty(edge_start[-1], np.int64)
    for label in range(len(start) - 1):
        next_cut, next_edge = cut_start[label], edge_start[label]
        in_cut = in_edge = False  # whether the present score, the present bin hold a positive
        for entry in range(start[label + 1] - 1, start[label] - 1, -1):
            if packed[entry] & np.uint64(1):
                in_cut = in_edge = True
            elif not in_edge:
                continue
            ends_cut = ends_edge = entry == start[label]
            if not ends_cut:
                pattern = np.int64(packed[entry] >> np.uint64(ROW_SHIFT))
                lower = np.int64(packed[entry - 1] >> np.uint64(ROW_SHIFT))
                ends_cut = pattern != lower
                ends_edge = max((pattern >> shift) - lowest, 0) != max((lower >> shift) - lowest, 0)
            if ends_cut and in_cut:
                cut[next_cut] = entry
                next_cut, in_cut = next_cut + 1, False
            if ends_edge and in_edge:
                edge[next_edge] = entry
                next_edge, in_edge = next_edge + 1, False
    return cut, edge


@compiled
def sums_at_stops(packed, start, cut, cut_start, edge, edge_start, weight, part, cell_bits):
    """Add up the weight of the true and of all entries of some rows from the highest score down to each stop.

    A stop is the place of the last entry that belongs to it; cuts and edges are two lists of them. Returns both sums at
    every cut and at every edge, and per label those of all its entries. Without weights the inner loop has no branch
    that the rows decide.
    """
    weighted = weight.shape[0] > 0
    row_of = np.uint64(cell_bits + 1)
    n_labels = len(start) - 1
    hits, fired = np.empty(len(cut)), np.empty(len(cut))
    edge_hits, edge_fired = np.empty(len(edge)), np.empty(len(edge))
    all_hits, all_fired = np.zeros(n_labels), np.zeros(n_labels)
    for label in range(n_labels):
        hit = total = 0.0
        entry, first = start[label + 1] - 1, start[label]
        c, e = cut_start[label], edge_start[label]
        while entry >= first:
            next_cut = cut[c] if c < cut_start[label + 1] else first
            next_edge = edge[e] if e < edge_start[label + 1] else first
            last = max(next_cut, next_edge)
            if weighted:
                while entry >= last:
                    row = (packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of
                    if part[row]:
                        total += weight[row]
                        if packed[entry] & np.uint64(1):
                            hit += weight[row]
                    entry -= 1
            else:
                more_hits = more = 0
                while entry >= last:
                    kept = np.int64(part[(packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of])
                    more += kept
                    more_hits += kept & np.int64(packed[entry] & np.uint64(1))
                    entry -= 1
                hit, total = hit + more_hits, total + more
            if c < cut_start[label + 1] and next_cut == last:
                hits[c], fired[c] = hit, total
                c += 1
            if e < edge_start[label + 1] and next_edge == last:
                edge_hits[e], edge_fired[e] = hit, total
                e += 1
        all_hits[label], all_fired[label] = hit, total
    return hits, fired, edge_hits, edge_fired, all_hits, all_fired


@compiled
def scores_around(places, packed, start, part, cell_bits):
    """Return per label the pattern of the entry at a place and of the next lower one of some rows; −1 is no place."""
    row_of = np.uint64(cell_bits + 1)
    score, lower = np.zeros(len(places), np.uint32), np.zeros(len(places), np.uint32)
    for label in range(len(places)):
        if places[label] < 0:
            continue
        pattern = packed[places[label]] >> np.uint64(ROW_SHIFT)
        entry = places[label] - 1
        while entry >= start[label] and not part[(packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of]:
            entry -= 1
        score[label] = pattern
        if entry >= start[label]:
            lower[label] = np.uint32(packed[entry] >> np.uint64(ROW_SHIFT))
        else:  # nothing is lower: a little below, as in `cumulate_cuts`
            low = (np.int64(pattern) >> FINEST_SHIFT) << FINEST_SHIFT
            lower[label] = np.uint32(low if low > LOWEST_PATTERN else 0)
    return score, lower


@compiled
def count_part(packed, start, weight, part, pattern, cell_bits):
    """Add up per label the weight of the true positives and of all entries of some rows at or above its pattern.

    With `cell_bits` above 0 the entries are one pool.
    """
    weighted = weight.shape[0] > 0
    row_of, cell = np.uint64(cell_bits + 1), (np.uint64(1) << np.uint64(cell_bits)) - np.uint64(1)
    hits, fired = np.zeros(len(pattern)), np.zeros(len(pattern))
    floor = pattern.min()
    for segment in range(len(start) - 1):
        label = segment
        for entry in range(start[segment + 1] - 1, start[segment] - 1, -1):
            if packed[entry] >> np.uint64(ROW_SHIFT) < (floor if cell_bits > 0 else pattern[label]):
                break
            row = (packed[entry] & np.uint64(0x3FFFFFFFF)) >> row_of
            if not part[row]:
                continue
            if cell_bits > 0:
                label = np.int64((packed[entry] >> np.uint64(1)) & cell)
                if packed[entry] >> np.uint64(ROW_SHIFT) < pattern[label]:
                    continue
            w = weight[row] if weighted else 1.0
            fired[label] += w
            if packed[entry] & np.uint64(1):
                hits[label] += w
    return hits, fired


@compiled
def best_cuts(cut_start, hits, fired, price):
    """Return per label the cut that maximizes 2 hits − price · fired, −1 if none is above 0; fewest fired if tied."""
    n_labels = len(cut_start) - 1
    chosen = np.full(n_labels, -1, np.int64)
    for label in range(n_labels):
        best = 0.0
        for cut in range(cut_start[label], cut_start[label + 1]):
            gain = 2.0 * hits[cut] - price * fired[cut]
            if gain > best:
                best, chosen[label] = gain, cut
    return chosen


@compiled
def best_f1_cuts(cut_start, hits, fired, positives, square):
    """Return per label the cut with the highest own F-beta, −1 where the label has no positives; ``square`` is β²."""
    n_labels = len(cut_start) - 1
    chosen = np.full(n_labels, -1, np.int64)
    value = np.zeros(n_labels)
    for label in range(n_labels):
        for cut in range(cut_start[label], cut_start[label + 1]):
            f1 = (1.0 + square) * hits[cut] / (square * positives[label] + fired[cut])
            if f1 > value[label]:
                value[label], chosen[label] = f1, cut
    return chosen, value


@compiled
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
                # A gain of a few rounding errors is none: two equal cuts would take turns until the last cycle.
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
