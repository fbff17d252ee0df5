"""The loops over one label at a time in numpy: `stacking.kernels.labels` says what each does.

The compiled loops count negatives between the cuts, the highest first, and leave out the cuts that can no longer be
worth more. Here all are counted, in the same order, and none is left out: what the cuts are worth is the same.
"""

# mypy: ignore-errors
# ruff: noqa: PLR0913

import numpy as np

from stacking.kernels.compiling import NeedsCompiled
from stacking.kernels.in_numpy.cuts import best_cuts
from stacking.kernels.in_numpy.sums import add_up
from stacking.kernels.labels import CEILING_MARGIN, FIRST_BLOCK, GAIN, ORDER_SHIFT, OWN_F1, ROC_AUC


def count_blocks(start):
    """Return where each label's blocks begin."""
    return np.concatenate([[0], np.cumsum([len(_begins(n)) for n in np.diff(start)[::2].tolist()])]).astype(np.int64)


def _begins(n):
    """Return where the blocks of n negatives begin."""
    begins, end = [], 0
    while end < n:
        begins.append(end)
        end += max(FIRST_BLOCK, end // 4)
    return begins


def order_negatives(values, start, weight, is_logit, block_start, ceiling):
    """Put negatives in descending order of their highest score, and set the ceilings."""
    if is_logit:
        raise NeedsCompiled
    lowest = (127 - 24) << (23 - ORDER_SHIFT)
    for label in range(len(start) // 2):
        own = slice(start[2 * label], start[2 * label + 1])
        top = np.clip(values[:, own].max(axis=0), np.float32(0.0), np.float32(1.0))
        bins = np.maximum((top.view(np.uint32) >> np.uint32(ORDER_SHIFT)).astype(np.int64) - lowest, 0)
        order = np.argsort(-bins, kind="stable")
        values[:, own] = values[:, own][:, order]
        if len(weight):
            weight[own] = weight[own][order]
        # The highest score from a block's first cell to the label's last one, and the margin.
        highest = np.maximum.accumulate(top[order][::-1])[::-1][_begins(len(order))]
        raised = highest * np.float32(1.0 + CEILING_MARGIN) + np.float32(1e-30)
        ceiling[block_start[label] : block_start[label + 1]] = raised.view(np.uint32)


def _count_cuts(cells, weights, label, halves_ties):
    """Return the weights of hits and of all fired cells at each distinct score of a label's positives."""
    values, start, weight = cells[:3]
    first, middle, last = start[2 * label], start[2 * label + 1], start[2 * label + 2]
    mixed = np.zeros(last - first, np.float32)
    for scores, w in zip(values, weights[:, label], strict=True):
        if w != 0.0:
            mixed += w * scores[first:last]
    mixed = np.clip(mixed, np.float32(0.0), np.float32(1.0))
    own_weight = weight[first:last] if len(weight) else np.ones(last - first)
    negative, positive = mixed[: middle - first], mixed[middle - first :]
    # Edges are sorted from the highest down: negated, they ascend, as `searchsorted` wants.
    edges, cut = np.unique(-positive, return_inverse=True)
    hits, fired = np.zeros(len(edges)), np.zeros(len(edges))
    np.add.at(hits, cut, own_weight[middle - first :])
    counted = np.flatnonzero(-negative <= edges[-1])
    place = np.searchsorted(edges, -negative[counted], side="left")
    w = own_weight[counted]
    if halves_ties:
        _add_with_halved_ties(fired, place, w, -negative[counted] == edges[place])
    else:
        np.add.at(fired, place, w)
    return np.cumsum(hits), np.cumsum(hits + fired)


def _add_with_halved_ties(fired, place, weight, is_tied):
    """Add weights, half of a tie's to the next cut, in the order of the loop."""
    w = np.where(is_tied, 0.5 * weight, weight)
    shared = is_tied & (place + 1 < len(fired))
    places, amounts = np.stack([place + 1, place], axis=1), np.stack([w, w], axis=1)
    used = np.stack([shared, np.ones(len(w), dtype=bool)], axis=1)
    np.add.at(fired, places[used], amounts[used])


def label_values(cells, candidates, is_logit, criterion, price, positives, values):
    """Set what each label is worth."""
    if is_logit:
        raise NeedsCompiled
    start, weight = cells[1], cells[2]
    for label in range(len(start) // 2):
        first, middle, last = start[2 * label : 2 * label + 3]
        own = positives[label]
        if own <= 0.0 or middle == last:
            continue
        negatives = add_up(0.0, weight[first:middle]) if len(weight) else float(middle - first)
        if criterion == ROC_AUC and negatives <= 0.0:
            continue
        for c, candidate in enumerate(candidates):
            hits, fired = _count_cuts(cells, candidate, label, criterion == ROC_AUC)
            if criterion == GAIN:
                worth = max(0.0, (2.0 * hits - price * fired).max())
            elif criterion == OWN_F1:
                worth = max(0.0, ((1.0 + price) * hits / (price * own + fired)).max())
            else:
                steps = np.diff(hits, prepend=0.0) / own
                shares = 1.0 - (fired - hits) / negatives if criterion == ROC_AUC else hits / fired
                # The loop multiplies by the hits before it divides by what fired.
                terms = steps * shares if criterion == ROC_AUC else steps * hits / fired
                worth = add_up(0.0, terms)
            values[c, label] = worth


def label_cuts(cells, candidates, is_logit, price, positives, cut_start, n_cuts, hits, fired):
    """Set every candidate's cuts."""
    if is_logit:
        raise NeedsCompiled
    start = cells[1]
    for label in range(len(start) // 2):
        if start[2 * label + 1] == start[2 * label + 2]:
            continue
        for c, candidate in enumerate(candidates):
            own_hits, own_fired = _count_cuts(cells, candidate, label, False)
            own = slice(cut_start[label], cut_start[label] + len(own_hits))
            hits[c, own], fired[c, own], n_cuts[c, label] = own_hits, own_fired, len(own_hits)


def best_micro_f1(cut_start, n_cuts, hits, fired, positives, price, reached):
    """Set every candidate's micro-F1 at its best cuts."""
    for c in range(len(reached)):
        # The cuts of this candidate, one label after the other, as `best_cuts` takes them.
        own_start = np.concatenate([[0], np.cumsum(n_cuts[c])])
        used = np.arange(own_start[-1]) + np.repeat(cut_start[:-1] - own_start[:-1], n_cuts[c])
        own_hits, own_fired = hits[c, used], fired[c, used]
        value = price
        while positives > 0.0:
            chosen = best_cuts(own_start, own_hits, own_fired, value)
            chosen = chosen[chosen >= 0]
            f1 = 2.0 * add_up(0.0, own_hits[chosen]) / (positives + add_up(0.0, own_fired[chosen]))
            reached[c] = max(reached[c], f1)
            if f1 <= value:
                break
            value = f1
