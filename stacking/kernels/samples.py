"""Compiled loops over one sample at a time: metrics of its mixed scores, for the search of voting weights."""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901, PLR0913, SIM109

import numpy as np

from stacking.kernels.compiling import compiled

STEP_SHIFT = 19
"""Low bits that the threshold grid ignores: 16 cuts an octave of the odds, at both ends of [0, 1]."""

LOWEST = (127 - 8) << 4
"""The bit pattern of 2**-8 after the shift: the lowest cut but that at 0, mirrored at 1 − 2**-8."""

HALF = (0x3F000000 >> STEP_SHIFT) - LOWEST
"""Grid position of .5, whose bit pattern is 0x3F000000; there are 2 · HALF + 1 positions."""

LRAP = 0
COVERAGE_ERROR = 1
RANKING_LOSS = 2
RECALL_AT = 3
PRECISION_AT = 4
BRIER = 5
"""What is asked of a kernel: names for numbers that only have to differ."""


@compiled
def add_thresholds(mixed, truth, known, weight, upper, lower, is_subset, gained, sums):
    """Add rows to the sum of a ratio of counts at every cut of the grid.

    The ratio is ``upper · (TP, PP, P) / lower · (TP, PP, P)``, 0 where the lower count is; with `is_subset` it is 1
    where all known cells are right, else 0. ``gained`` (n_cuts,) gets what the sum gains where the cut falls to a
    position, ``sums`` the sum above every cut, where nothing fires, and the weight of the rows. ``known`` and
    ``weight`` may be empty.
    """
    n_rows, n_labels = mixed.shape
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    n_cuts = 2 * HALF + 1
    hits, fired = np.zeros(n_cuts, np.int32), np.zeros(n_cuts, np.int32)
    folded = np.empty(n_labels, np.float32)
    bits = folded.view(np.uint32)
    for row in range(n_rows):
        scores = mixed[row]
        for label in range(n_labels):
            folded[label] = max(min(scores[label], np.float32(1.0) - scores[label]), np.float32(0.0))
        positives, lowest, highest = 0, n_cuts, -1
        counted = False
        for label in range(n_labels):
            if masked and not known[row, label]:
                continue
            counted = True
            place = max(np.int32(bits[label] >> np.uint32(STEP_SHIFT)) - np.int32(LOWEST), np.int32(0))
            if scores[label] >= np.float32(0.5):
                place = np.int32(2 * HALF) - place
            if truth[row, label]:
                hits[place] += 1
                positives += 1
            fired[place] += 1
            lowest, highest = min(lowest, place), max(highest, place)
        if not counted:
            continue
        w = weight[row] if weighted else 1.0
        sums[1] += w
        before = 1.0 if is_subset and positives == 0 else 0.0
        sums[0] += w * before
        hit = all_fired = 0
        for cut in range(highest, lowest - 1, -1):
            if fired[cut] == 0:
                continue
            hit += hits[cut]
            all_fired += fired[cut]
            hits[cut] = fired[cut] = 0
            if is_subset:
                value = 1.0 if hit == positives and all_fired == positives else 0.0
            else:
                below = lower[0] * hit + lower[1] * all_fired + lower[2] * positives
                value = (upper[0] * hit + upper[1] * all_fired + upper[2] * positives) / below if below > 0 else 0.0
            gained[cut] += w * (value - before)
            before = value


@compiled
def measure_rows(mixed, truth, known, weight, kind, k, sums):
    """Add rows to the upper and the lower sum of a metric; ``known`` and ``weight`` may be empty."""
    n_rows, n_labels = mixed.shape
    masked, weighted = known.shape[0] > 0, weight.shape[0] > 0
    positive = np.empty(n_labels, np.float32)
    top_score, top_label = np.empty(k, np.float32), np.empty(k, np.int64)
    for row in range(n_rows):
        scores = mixed[row]
        w = weight[row] if weighted else 1.0
        n_known = n_true = n_top = 0
        error = 0.0
        for label in range(n_labels):
            if masked and not known[row, label]:
                continue
            n_known += 1
            true = truth[row, label]
            if true:
                positive[n_true] = scores[label]
                n_true += 1
            if kind == BRIER:
                error += (np.float64(scores[label]) - true) ** 2
        if kind == RECALL_AT or kind == PRECISION_AT:
            limit = np.float32(-1.0)  # the lowest of the top, once there are k
            for label in range(n_labels):
                score = scores[label]
                if score <= limit or (masked and not known[row, label]):
                    continue
                place = min(n_top, k - 1)
                while place > 0 and top_score[place - 1] < score:
                    top_score[place], top_label[place] = top_score[place - 1], top_label[place - 1]
                    place -= 1
                top_score[place], top_label[place] = score, label
                n_top = min(n_top + 1, k)
                if n_top == k:
                    limit = top_score[k - 1]
        if n_known == 0:
            continue
        if kind == BRIER:
            sums[0] += w * error
            sums[1] += w * n_known
        elif kind == RECALL_AT or kind == PRECISION_AT:
            found = 0
            for place in range(n_top):
                found += np.int64(truth[row, top_label[place]])
            sums[0] += w * found
            sums[1] += w * (n_true if kind == RECALL_AT else n_top)
        else:
            value = 0.0
            if kind == COVERAGE_ERROR and n_true > 0:  # the lowest positive alone decides
                positive[0] = positive[:n_true].min()
            for place in range(min(n_true, 1) if kind == COVERAGE_ERROR else n_true):
                rank = hits = 0
                limit = positive[place]
                for label in range(n_labels):
                    rank += np.int64(scores[label] >= limit)
                if masked:
                    for label in range(n_labels):
                        rank -= np.int64(scores[label] >= limit and not known[row, label])
                for other in range(n_true):
                    hits += np.int64(positive[other] >= limit)
                if kind == LRAP:
                    value += hits / rank
                elif kind == COVERAGE_ERROR:
                    value = np.float64(rank)
                else:
                    value += rank - hits
            trivial = n_true == 0 or n_true == n_known
            if kind == LRAP:
                value = 1.0 if trivial else value / n_true
            elif kind == RANKING_LOSS:
                value = 0.0 if trivial else value / (n_true * (n_known - n_true))
            sums[0] += w * value
            sums[1] += w
