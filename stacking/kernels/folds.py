"""The loop that deals rows into folds."""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913

import numpy as np

from stacking.kernels.compiling import compiled


@compiled
def stratify(shares, sizes, item_start, item_label, item_count, n_labels, order, shift):
    """Assign items (samples or groups) to folds by iterative stratification of label counts (Sechidis et al. 2011).

    ``item_label[item_start[i] : item_start[i + 1]]`` are the labels of item i, ``item_count`` its positives of each.
    """
    n_items, n_folds = len(sizes), len(shares)
    fold_of = np.full(n_items, -1, np.int64)
    # Turn the lists around: ``holder[start[l] : start[l + 1]]`` are the items that hold label l, in the given order.
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
    # What each fold should still get: positives of every label, and samples.
    wanted = np.empty((n_folds, n_labels))
    for fold in range(n_folds):
        wanted[fold] = shares[fold] * remaining
    room = shares * sizes.sum()
    # Deal all items of the label with the fewest positives left, then look again. Each goes to the fold that wants that
    # label most, of equal ones to that with most room, of these to the first in turn from the item's random `shift`.
    while True:
        rarest = -1
        for label in range(n_labels):
            if remaining[label] > 0 and (rarest < 0 or remaining[label] < remaining[rarest]):
                rarest = label
        # With no label left, the items that are left have no positives: they fill the folds by room alone.
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
