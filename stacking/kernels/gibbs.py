"""The loop that samples the labels of one row after the other, each given all others."""

# A kernel is one loop nest on plain arrays: numba types it, and splitting it would hide the loop.
# mypy: ignore-errors
# ruff: noqa: C901

import numpy as np

from stacking.kernels.compiling import fusing

SURELY_ABSENT = np.float32(-9.0)
"""Log odds from which a label is taken for absent without a draw: at −9 it is present once in 8,000 draws."""


@fusing
def gibbs_marginals(fields, couplings, n_sweeps, n_discarded, marginals):
    """Set each row's marginal probabilities under p(y) ∝ exp(h·y) with log odds h_l + Σ_k y_k W_kl given the others.

    Every sweep draws the labels in their order; what is averaged are the conditional probabilities, not the draws
    (Rao–Blackwell). Every row uses the same random numbers (xorshift: G. Marsaglia, Journal of Statistical Software
    8(14), 2003), so that its answer depends neither on the rows beside it nor on where it stands.
    """
    n_rows, n_labels = fields.shape
    log_odds, chances = np.empty(n_labels, np.float32), np.empty(n_labels, np.float32)
    present = np.empty(n_labels, np.bool_)
    drawn_labels = np.empty(n_labels, np.int64)
    for i in range(n_rows):
        state = np.uint64(88172645463325252)
        for label in range(n_labels):
            log_odds[label] = fields[i, label]
            present[label] = False
            marginals[i, label] = np.float32(0.0)
        for label in range(n_labels):
            if fields[i, label] > 0:
                present[label] = True
                for k in range(n_labels):
                    log_odds[k] += couplings[label, k]
        sweep, begin, calm, n_drawn = 0, 0, False, 0
        n_calm = 0  # averaged sweeps since the labels that are not drawn last added theirs
        while sweep < n_sweeps:
            if calm:
                # No label changed in a whole sweep: chances stay, and only labels that are drawn can change anything.
                changed = -1
                averaged = sweep >= n_discarded
                for place in range(n_drawn):
                    label = drawn_labels[place]
                    chance = chances[label]
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    drawn = np.float32(state >> np.uint64(40)) * np.float32(5.9604645e-08) < chance  # 24 bits
                    if drawn != present[label]:
                        changed = label
                        break
                if changed < 0:
                    if averaged:
                        n_calm += 1
                    sweep += 1
                    continue
                # Up to this label the sweep is done; the rest of it goes on below.
                for label in range(n_labels):
                    times = n_calm + (1 if averaged and label <= changed else 0)
                    marginals[i, label] += np.float32(times) * chances[label]
                n_calm, calm, begin = 0, False, changed + 1
                present[changed] = not present[changed]
                sign = np.float32(1.0) if present[changed] else np.float32(-1.0)
                for k in range(n_labels):
                    log_odds[k] += sign * couplings[changed, k]
            changes = begin > 0
            n_drawn = 0
            for label in range(begin, n_labels):
                z = log_odds[label]
                drawn = False
                if z > SURELY_ABSENT:
                    chance = np.float32(1.0) / (np.float32(1.0) + np.exp(-z))
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    drawn = np.float32(state >> np.uint64(40)) * np.float32(5.9604645e-08) < chance  # 24 bits in [0, 1)
                    drawn_labels[n_drawn] = label
                    n_drawn += 1
                else:
                    chance = np.exp(z)
                chances[label] = chance
                if sweep >= n_discarded:
                    marginals[i, label] += chance
                if drawn != present[label]:
                    present[label] = drawn
                    changes = True
                    if drawn:
                        for k in range(n_labels):
                            log_odds[k] += couplings[label, k]
                    else:
                        for k in range(n_labels):
                            log_odds[k] -= couplings[label, k]
            calm, begin = not changes, 0
            sweep += 1
        for label in range(n_labels):
            marginals[i, label] += np.float32(n_calm) * chances[label]
            marginals[i, label] /= np.float32(n_sweeps - n_discarded)
