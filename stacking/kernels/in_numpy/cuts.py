"""The loops over sorted cuts in numpy: `stacking.kernels.cuts` says what each does."""

# mypy: ignore-errors
# ruff: noqa: PLR0913

from itertools import pairwise

import numpy as np

from stacking.kernels.cuts import FINEST_SHIFT, LOWEST_PATTERN, NEVER, PLACE_BITS, ROW_SHIFT, SHORT

_SHIFT, _ONE = np.uint64(ROW_SHIFT), np.uint64(1)
_PLACE = np.uint64((1 << PLACE_BITS) - 1)
_UNSIGNED = np.uint32(0x7FFFFFFF)  # all but the sign of a float32, so that -0 and 0 are one score


def _counted(shape, known, weight):
    """Say which cells count."""
    counted = known != 0 if known.shape[0] else np.ones(shape, dtype=bool)
    return counted & (weight != 0.0)[:, None] if len(weight) else counted


def _row(packed, cell_bits):
    """Return the rows of entries."""
    return ((packed >> _ONE) & _PLACE) >> np.uint64(cell_bits)


def score_histograms(bits, truth, known, weight, entries, mass, positive, shift):
    """Add rows to the histograms."""
    row, label = np.nonzero(_counted(bits.shape, known, weight))
    pattern = (bits[row, label] & _UNSIGNED).astype(np.int64) >> shift
    place = label * entries.shape[1] + np.maximum(pattern - (LOWEST_PATTERN >> shift), 0)
    np.add.at(entries.reshape(-1), place, 1)
    w = weight[row] if len(weight) else np.ones(len(row))
    if len(weight):
        np.add.at(mass.reshape(-1), place, w)
    hit = truth[row, label] != 0
    np.add.at(positive.reshape(-1), place[hit], w[hit])


def lowest_floors(entries, mass, limit, shift):
    """Return the floors and how many entries they keep."""
    lowest = LOWEST_PATTERN >> shift
    floors, kept = np.full(len(mass), NEVER, np.uint32), np.zeros(len(mass), np.int64)
    for label in range(len(mass)):
        filled = np.flatnonzero(entries[label])[::-1]
        if limit[label] <= 0.0 or not len(filled):
            continue
        enough = np.flatnonzero(np.cumsum(mass[label, filled]) >= limit[label])
        last = min(enough[0] + 1, len(filled) - 1) if len(enough) else len(filled) - 1
        kept[label] = entries[label, filled[: last + 1]].sum()
        floors[label] = (filled[last] + lowest) << shift if filled[last] > 0 else 0
    return floors, kept


def gather_entries(bits, truth, known, weight, floors, first_row, row_cells, cell_bits, packed, fill):
    """Pack what lies at or above the floors."""
    pattern = bits & _UNSIGNED
    label, row = np.nonzero((_counted(bits.shape, known, weight) & (pattern >= floors)).T)
    entries = pattern[row, label].astype(np.uint64) << _SHIFT
    place = row + first_row if row_cells == 1 else ((first_row + row // row_cells) << cell_bits) | row % row_cells
    entries |= place.astype(np.uint64) << _ONE
    entries |= (truth[row, label] != 0).astype(np.uint64)
    n = np.bincount(label, minlength=len(fill))
    before = np.concatenate([[0], np.cumsum(n)[:-1]])
    packed[fill[label] + np.arange(len(label)) - before[label]] = entries
    fill += n


def sort_short_segments(packed, start):
    """Sort the labels with few entries."""
    for begin, end in pairwise(start.tolist()):
        if 1 < end - begin <= SHORT:
            packed[begin:end].sort()


def keep_within(packed, start, weight, cell_bits, limit):
    """Keep what the limits reach."""
    kept = np.zeros(len(start), np.int64)
    for label, (begin, end) in enumerate(pairwise(start.tolist())):
        entries = packed[begin:end].copy()
        ends = np.flatnonzero(np.diff(entries[::-1] >> _SHIFT, append=~np.uint64(0)) != 0)
        w = weight[_row(entries, cell_bits)] if len(weight) else np.ones(len(entries))
        enough = np.flatnonzero(np.cumsum(w[::-1])[ends] >= limit[label])
        n_kept = ends[min(enough[0] + 1, len(ends) - 1)] + 1 if len(enough) else len(entries)
        kept[label + 1] = kept[label] + n_kept
        packed[kept[label] : kept[label + 1]] = entries[len(entries) - n_kept :]
    return kept


def cumulate_cuts(packed, start, weight, cell_bits):
    """Turn sorted entries into cuts."""
    cut_start = np.zeros(len(start) - 1 + 1, np.int64)
    found = []
    for label, (begin, end) in enumerate(pairwise(start.tolist())):
        entries = packed[begin:end][::-1]
        pattern = (entries >> _SHIFT).astype(np.uint32)
        true = (entries & _ONE).astype(bool)
        w = weight[_row(entries, cell_bits)] if len(weight) else np.ones(len(entries))
        hits, fired = np.cumsum(np.where(true, w, 0.0)), np.cumsum(w)
        last = np.flatnonzero(np.append(pattern[1:] != pattern[:-1], True)) if len(entries) else np.empty(0, int)
        last = last[np.diff(hits[last], prepend=0.0) > 0.0]
        lower = _just_below(pattern[last])
        follows = last + 1 < len(entries)
        lower[follows] = pattern[last[follows] + 1]
        found.append((pattern[last], lower, hits[last], fired[last]))
        cut_start[label + 1] = cut_start[label] + len(last)
    kinds = (np.uint32, np.uint32, np.float64, np.float64)
    columns = zip(*found, strict=True) if found else [()] * 4
    parts = [np.concatenate([np.empty(0, kind), *column]) for kind, column in zip(kinds, columns, strict=True)]
    return cut_start, *parts


def _just_below(pattern):
    """Return the next lower score where nothing is lower: a little below, whatever the bins were."""
    low = (pattern.astype(np.int64) >> FINEST_SHIFT) << FINEST_SHIFT
    return np.where(low > LOWEST_PATTERN, low, 0).astype(np.uint32)


def _lowest_of_runs(values, packed, start):
    """Return the places of the lowest entry of each run of equal values that holds a positive, and their labels."""
    label = np.repeat(np.arange(len(start) - 1), np.diff(start))
    begins = np.append(True, (values[1:] != values[:-1]) | (label[1:] != label[:-1]))[: len(values)]
    runs = np.flatnonzero(begins)
    holds = np.add.reduceat(packed & _ONE, runs) > 0 if len(runs) else runs > 0
    return runs[holds], label[runs[holds]]


def _runs(packed, start, shift):
    """Return the scores and the bins of entries, each with the places of `_lowest_of_runs`."""
    pattern = (packed >> _SHIFT).astype(np.int64)
    bins = np.maximum((pattern >> shift) - (LOWEST_PATTERN >> shift), 0)
    return tuple(_lowest_of_runs(values, packed, start) for values in (pattern, bins))


def count_stops(packed, start, shift):
    """Count cuts and edges."""
    (_, cut), (_, edge) = _runs(packed, start, shift)
    return tuple(np.bincount(label, minlength=len(start) - 1) for label in (cut, edge))


def find_stops(packed, start, shift, cut_start, edge_start):
    """Find cuts and edges."""
    return tuple(place[np.lexsort((-place, label))] for place, label in _runs(packed, start, shift))


def sums_at_stops(packed, start, cut, cut_start, edge, edge_start, weight, part, cell_bits):
    """Add up down to each stop."""
    n_labels = len(start) - 1
    row, true = _row(packed, cell_bits), (packed & _ONE) != 0
    kept = part[row] != 0
    found = [(np.empty(len(cut)), np.empty(len(edge)), np.zeros(n_labels)) for _ in range(2)]
    for side, (at_cuts, at_edges, total) in zip((kept & true, kept), found, strict=True):
        w = np.where(side, weight[row], 0.0) if len(weight) else side
        # Counts are exact whatever they are added to; weights are added up label by label, as the loop does.
        running = np.concatenate([[0], np.cumsum(side)])
        for label, (begin, end) in enumerate(pairwise(start.tolist())):
            if begin == end:
                continue
            down = np.cumsum(w[begin:end][::-1]) if len(weight) else running[end] - running[begin:end][::-1]
            for stops, first, sums in ((cut, cut_start, at_cuts), (edge, edge_start, at_edges)):
                own = slice(first[label], first[label + 1])
                sums[own] = down[end - 1 - stops[own]]
            total[label] = down[-1]
    (hits, edge_hits, all_hits), (fired, edge_fired, all_fired) = found
    return hits, fired, edge_hits, edge_fired, all_hits, all_fired


def scores_around(places, packed, start, part, cell_bits):
    """Return the scores around each place."""
    score, lower = np.zeros(len(places), np.uint32), np.zeros(len(places), np.uint32)
    for label in np.flatnonzero(places >= 0).tolist():
        score[label] = packed[places[label]] >> _SHIFT
        entry = int(places[label]) - 1
        while entry >= start[label] and not part[_row(packed[entry], cell_bits)]:
            entry -= 1
        found = entry >= start[label]
        lower[label] = packed[entry] >> _SHIFT if found else _just_below(score[label : label + 1])[0]
    return score, lower


def count_part(packed, start, weight, part, pattern, cell_bits):
    """Count some rows at or above the patterns."""
    hits, fired = np.zeros(len(pattern)), np.zeros(len(pattern))
    row, label = _row(packed, cell_bits), np.repeat(np.arange(len(start) - 1), np.diff(start))
    if cell_bits > 0:
        label = ((packed >> _ONE) & np.uint64((1 << cell_bits) - 1)).astype(np.int64)
    used = np.flatnonzero(((packed >> _SHIFT) >= pattern[label]) & (part[row] != 0))[::-1]
    w = weight[row[used]] if len(weight) else np.ones(len(used))
    np.add.at(fired, label[used], w)
    true = (packed[used] & _ONE) != 0
    np.add.at(hits, label[used][true], w[true])
    return hits, fired


def best_cuts(cut_start, hits, fired, price):
    """Return the cut that gains most, the first of equal ones."""
    chosen = np.full(len(cut_start) - 1, -1, np.int64)
    n_cuts = np.diff(cut_start)
    filled = np.flatnonzero(n_cuts)
    if len(filled):
        gain = 2.0 * hits - price * fired
        most = np.maximum.reduceat(gain, cut_start[filled])
        is_best = np.flatnonzero((gain == np.repeat(most, n_cuts[filled])) & (gain > 0.0))
        chosen[np.searchsorted(cut_start, is_best[::-1], side="right") - 1] = is_best[::-1]
    return chosen
