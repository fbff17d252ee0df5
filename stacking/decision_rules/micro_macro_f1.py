"""Per-label thresholds for micro-F1 and macro-F1 at once: a price between firing where it pays and no label given up.

Micro-F1's optimum never predicts half of a long tail; macro-F1's ruins micro-F1. Their weighted sum is maximized from
both ends and from the middle, each start improved in two ways: all labels at once, every label taking the cut that is
best for the present price (Dinkelbach's step, with the label's own F1 added), as long as that pays; then one label at
a time, always the one that gains most, until none does.
"""

from dataclasses import dataclass

import numpy as np

from stacking._typing import DoubleArray, IntArray
from stacking.decision_rules.exact_micro_f1 import maximize_micro_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.own_f1 import maximize_own_f1
from stacking.decision_rules.registry import register
from stacking.decision_rules.sorted_cuts import SortedCuts, count_scores, sort_cuts

LEAST_GAIN = 1e-13
"""Gains below this share of the highest value, 1 + weight, are rounding: some hundred times what float64 resolves."""


@register("micro-macro-f1", average="micro-F1 + macro-F1")
def tune_micro_macro_f1(scores: LabeledScores, weight: float = 1.0) -> DoubleArray:
    """Choose per-label thresholds for the sum of micro-F1 and `weight` times macro-F1.

    The result is never worse, on these rows, than the thresholds of ``"exact-micro-f1"`` or of ``"macro-f1"``, and no
    change of a single label improves it; it need not be the global optimum.

    Parameters
    ----------
    scores : LabeledScores
        Scores and truth.
    weight : float, default 1.0
        What a point of macro-F1 is worth in points of micro-F1, dimensionless, not negative; 0 is ``"exact-micro-f1"``.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds halfway between distinct scores; +inf for labels without positives and those given up.

    Raises
    ------
    ValueError
        If `weight` is negative or not finite.

    Notes
    -----
    Let B be a label's own best F1 and λ the micro-F1 of all those cuts together. A cut that fires more than
    max(p (2 / B − 1), 2 p / λ) for p positives is worse than the label's own best cut in both averages, so it is not
    sorted. O(n_cuts) per step.

    References
    ----------
    W. Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967, for the price.
    R.-E. Fan, C.-J. Lin, "A study on threshold selection for multi-label classification", National Taiwan University,
    2007, for the label by label ascent.
    """
    if not (np.isfinite(weight) and weight >= 0.0):
        raise ValueError(f"weight must be finite and not negative: got {weight}.")
    own_cuts, own_choice, own_best = maximize_own_f1(scores)
    price = own_cuts.micro_f1(own_choice)
    positives = own_cuts.positives
    if price == 0.0:
        return np.full(scores.n_labels, np.inf)
    limit = positives * np.maximum(2.0 / np.where(own_best > 0, own_best, 1.0) - 1.0, 2.0 / price)
    cuts = sort_cuts(scores, count_scores(scores), limit)
    target = _Target.of(cuts, weight)
    starts = [maximize_micro_f1(cuts, price)[0], _own_best_cuts(cuts)]
    # The middle: micro-F1 made linear halfway between the totals of the two ends.
    starts.append(target.answer((target.totals(starts[0]) + target.totals(starts[1])) / 2.0))
    found = [_climb(target, start) for start in starts]
    return cuts.thresholds(max(found, key=target.value))


def _own_best_cuts(cuts: SortedCuts) -> IntArray:
    """Return each label's cut with the best own F1."""
    from stacking.kernels import cuts as _kernels

    chosen: IntArray = _kernels.best_f1_cuts(cuts.start, cuts.hits, cuts.fired, cuts.positives, 1.0)[0]
    return chosen


@dataclass(frozen=True)
class _Target:
    """The sum to maximize, over the cuts of all labels; a cut of −1 stands for never."""

    cuts: SortedCuts
    label: IntArray
    own: DoubleArray
    least_gain: float

    @classmethod
    def of(cls, cuts: SortedCuts, weight: float) -> "_Target":
        """Compute each cut's share of the macro term."""
        label = np.repeat(np.arange(len(cuts.positives)), np.diff(cuts.start))
        own = 2.0 * cuts.hits / np.maximum(cuts.positives[label] + cuts.fired, np.finfo(np.float64).tiny)
        return cls(cuts, label, own * weight / len(cuts.positives), LEAST_GAIN * (1.0 + weight))

    def of_labels(self, values: DoubleArray, chosen: IntArray) -> DoubleArray:
        """Return the chosen cuts' values, 0 for never."""
        return np.where(chosen >= 0, values[chosen], 0.0) if len(values) else np.zeros(len(chosen))

    def totals(self, chosen: IntArray) -> DoubleArray:
        """Return twice the hits, and positives plus fired, over all labels: numerator and denominator of micro-F1."""
        hits, fired = (self.of_labels(values, chosen).sum() for values in (self.cuts.hits, self.cuts.fired))
        return np.array([2.0 * hits, self.cuts.positives.sum() + fired])

    def value(self, chosen: IntArray) -> float:
        """Return micro-F1 plus the macro term."""
        numerator, denominator = self.totals(chosen)
        return float(numerator / denominator + self.of_labels(self.own, chosen).sum())

    def answer(self, totals: DoubleArray) -> IntArray:
        """Return every label's best cut where micro-F1 is linear around the given totals."""
        numerator, denominator = totals
        gain = (2.0 * self.cuts.hits - numerator / denominator * self.cuts.fired) / denominator + self.own
        best, cut = self.best_of_labels(gain)
        return np.where(best > 0.0, cut, -1)

    def best_of_labels(self, values: DoubleArray) -> tuple[DoubleArray, IntArray]:
        """Return each label's highest value and the first cut that has it; −inf and −1 for a label without cuts."""
        n_labels = len(self.cuts.positives)
        best, cut = np.full(n_labels, -np.inf), np.full(n_labels, -1, dtype=np.int64)
        filled = np.flatnonzero(np.diff(self.cuts.start))
        if len(filled):
            best[filled] = np.maximum.reduceat(values, self.cuts.start[filled])
            places = np.flatnonzero(values == best[self.label])[::-1]
            cut[self.label[places]] = places
        return best, cut

    def best_move(self, chosen: IntArray) -> tuple[float, int, int]:
        """Return the largest gain of changing one label's cut, the label and its new cut."""
        cuts = self.cuts
        numerator, denominator = self.totals(chosen)
        own = self.of_labels(self.own, chosen)
        others = numerator - 2.0 * self.of_labels(cuts.hits, chosen)
        rest = denominator - self.of_labels(cuts.fired, chosen)
        values = (others[self.label] + 2.0 * cuts.hits) / (rest[self.label] + cuts.fired) + self.own
        best, cut = self.best_of_labels(values)
        never = others / np.maximum(rest, np.finfo(np.float64).tiny)
        cut = np.where(never >= best, -1, cut)
        gain = np.maximum(best, never) - own - numerator / denominator
        label = int(gain.argmax())
        return float(gain[label]), label, int(cut[label])


def _climb(target: _Target, start: IntArray) -> IntArray:
    """Improve a choice of cuts: all labels at once while that pays, then one at a time."""
    chosen, value = start, target.value(start)
    while True:  # all labels at once: linear, so not exact where many move, and the true value is checked
        moved = target.answer(target.totals(chosen))
        reached = target.value(moved)
        if reached <= value + target.least_gain:
            break
        chosen, value = moved, reached
    chosen = chosen.copy()
    while True:  # one label at a time the gain is exact
        gain, label, cut = target.best_move(chosen)
        if gain <= target.least_gain or cut == chosen[label]:
            return chosen
        chosen[label] = cut
