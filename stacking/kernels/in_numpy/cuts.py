"""The loops over sorted cuts in numpy: `stacking.kernels.cuts` says what each does."""

# mypy: ignore-errors
# ruff: noqa: PLR0913

from itertools import pairwise

import numpy as np

from stacking.kernels.cuts import FINEST_SHIFT, LOWEST_PATTERN, NEVER, ROW_SHIFT, SHORT

_SHIFT, _ONE = np.uint64(ROW_SHIFT), np.uint64(1)
_PLACE = np.uint64(0x1FFFFFFFF)  # the 33 bits of the row, as in `stacking.kernels.cuts`
_UNSIGNED = np.uint32(0x7FFFFFFF)  # all but the sign of a float32, so that -0 and 0 are one score


def _counted(shape, known, weight):
    """Say which cells count."""
    counted = known != 0 if known.shape[0] else np.ones(shape, dtype=bool)
    return counted & (weight != 0.0)[:, None] if len(weight) else counted


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


def gather_entries(bits, truth, known, weight, floors, first_row, packed, fill):
    """Pack what lies at or above the floors."""
    pattern = bits & _UNSIGNED
    label, row = np.nonzero((_counted(bits.shape, known, weight) & (pattern >= floors)).T)
    entries = pattern[row, label].astype(np.uint64) << _SHIFT
    entries |= (row + first_row).astype(np.uint64) << _ONE
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


def cumulate_cuts(packed, start, weight):
    """Turn sorted entries into cuts."""
    cut_start = np.zeros(len(start) - 1 + 1, np.int64)
    found = []
    for label, (begin, end) in enumerate(pairwise(start.tolist())):
        entries = packed[begin:end][::-1]
        pattern = (entries >> _SHIFT).astype(np.uint32)
        true = (entries & _ONE).astype(bool)
        w = weight[(entries >> _ONE) & _PLACE] if len(weight) else np.ones(len(entries))
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


def sums_at_stops(row, truth, start, stops, stop_start, weight, part):
    """Add up down to each stop."""
    n_labels = len(start) - 1
    hits, fired = np.empty(len(stops)), np.empty(len(stops))
    all_hits, all_fired = np.zeros(n_labels), np.zeros(n_labels)
    kept = part[row] != 0
    sides = ((kept & (truth != 0), hits, all_hits), (kept, fired, all_fired))
    if not len(weight):  # counts: sums over all labels are exact, and their differences too
        stop_end = start[1:][np.repeat(np.arange(n_labels), np.diff(stop_start))]
        for side, sums, total in sides:
            running = np.concatenate([[0], np.cumsum(side)])
            sums[:] = running[stop_end] - running[stops]
            total[:] = running[start[1:]] - running[start[:-1]]
        return hits, fired, all_hits, all_fired
    for side, sums, total in sides:
        w = np.where(side, weight[row], 0.0)
        for label, (begin, end) in enumerate(pairwise(start.tolist())):
            if begin < end:
                own = slice(stop_start[label], stop_start[label + 1])
                running = np.cumsum(w[begin:end][::-1])
                sums[own], total[label] = running[end - 1 - stops[own]], running[-1]
    return hits, fired, all_hits, all_fired


def scores_around(places, packed, row, start, part):
    """Return the scores around each place."""
    score, lower = np.zeros(len(places), np.uint32), np.zeros(len(places), np.uint32)
    for label in np.flatnonzero(places >= 0).tolist():
        score[label] = packed[places[label]] >> _SHIFT
        entry = int(places[label]) - 1
        while entry >= start[label] and not part[row[entry]]:
            entry -= 1
        found = entry >= start[label]
        lower[label] = packed[entry] >> _SHIFT if found else _just_below(score[label : label + 1])[0]
    return score, lower


def count_part(packed, row, start, weight, part, pattern, row_cells):
    """Count some rows at or above the patterns."""
    hits, fired = np.zeros(len(pattern)), np.zeros(len(pattern))
    label = np.repeat(np.arange(len(start) - 1), np.diff(start))
    if row_cells > 1:
        label = ((packed >> _ONE) & _PLACE).astype(np.int64) - row_cells * row.astype(np.int64)
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
