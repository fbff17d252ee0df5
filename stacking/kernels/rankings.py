"""Compiled loops over rankings: what average precision and ROC AUC are on resamples of the rows."""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901

import numpy as np

from stacking.kernels.compiling import compiled


@compiled
def resample_average_precision(true, weight, unit, last, by_unit, total, n_ranked):
    """Add each resample's average precision to `total`, and 1 to `n_ranked`, where it holds a positive.

    Cells come from the highest score down, `last` where the next score is lower; ``by_unit`` (n_units, n_resamples)
    says how often each unit was drawn.
    """
    n_draws = by_unit.shape[1]
    hit, fired, before, value = np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws)
    lowest = 0
    for cell in range(len(true)):
        lowest = cell if true[cell] else lowest
    while not last[lowest]:
        lowest += 1
    gained = False
    for cell in range(lowest + 1):
        drawn, w = by_unit[unit[cell]], weight[cell]
        if true[cell]:
            gained = True
            for c in range(n_draws):
                hit[c] += w * drawn[c]
        for c in range(n_draws):
            fired[c] += w * drawn[c]
        if last[cell] and gained:
            gained = False
            for c in range(n_draws):
                if hit[c] > before[c]:
                    value[c] += (hit[c] - before[c]) * hit[c] / fired[c]
                    before[c] = hit[c]
    for c in range(n_draws):
        if hit[c] > 0.0:
            total[c] += value[c] / hit[c]
            n_ranked[c] += 1.0


@compiled
def resample_roc_auc(true, weight, unit, last, by_unit, total, n_ranked):
    """Add each resample's ROC AUC to `total`, and 1 to `n_ranked`, where it holds positives and negatives.

    The arguments are those of `resample_average_precision`.
    """
    n_draws = by_unit.shape[1]
    hit, false, above, wrong = np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws)
    tied = np.zeros(n_draws)  # weight of the positives at the present score
    has_positives = False
    for cell in range(len(true)):
        drawn, w = by_unit[unit[cell]], weight[cell]
        if true[cell]:
            has_positives = True
            for c in range(n_draws):
                tied[c] += w * drawn[c]
        else:
            for c in range(n_draws):
                false[c] += w * drawn[c]
        if last[cell]:
            if has_positives:
                has_positives = False
                for c in range(n_draws):
                    # Negatives above count whole, those at the same score half.
                    wrong[c] += tied[c] * (above[c] + false[c]) / 2.0
                    hit[c] += tied[c]
                    tied[c] = 0.0
            for c in range(n_draws):
                above[c] = false[c]
    for c in range(n_draws):
        if hit[c] > 0.0 and false[c] > 0.0:
            total[c] += 1.0 - wrong[c] / (hit[c] * false[c])
            n_ranked[c] += 1.0
