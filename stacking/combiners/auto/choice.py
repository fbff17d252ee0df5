"""Which candidates auto averages, and with what shares, given what they scored out of fold.

Scores on one data set are noisy, above all where rows come in groups, and the best of many looks better than it is. So
the plain mean is left only as far as the gain over it is proven (`stacking.metrics.paired_difference`):

1. the best candidate is proven better than the mean: all candidates within one standard error of it are averaged (the
   one-standard-error rule of Breiman et al., "Classification and regression trees", 1984, section 3.4.3, kept as an
   average instead of a pick), unless the average scores less than the best alone, as scores on different scales do;
   where rows or groups are few, the whole step must be proven better than a half one too;
2. else, its even average with the mean is: then that. A half step has half the noise of a whole one, and two methods
   that err differently are worth more together;
3. else the mean, with a sixteenth of the geometric mean where that one is not clearly behind. Neither learns anything,
   so there is nothing to be misled by; the geometric mean holds back scores that are high with one member only.

Where the positives lie on enough rows (`LEAST_ROWS`) or groups (`LEAST_UNITS`), nothing is picked at all unless that is
clearly better: the shares are those with the least held-out log loss (`stacking.combiners.auto.stack`), and what the
steps above say stands only where it scores more than 2.5 standard errors higher. For metrics that average over labels,
such as macro-F1 and mAP, it never does: held-out scores come from several fits, and of a label with few positives each
fit has another level, so that pooled they rank worse than those of the one fit that ships. What learns nothing from
labels does not suffer from that and would win (photos of fashion, greedy-geometric and label-context: mAP .558 and .546
held out, .563 and .618 on new rows).

There the average is carried through the line with the least held-out log loss too, so that it is a probability: the
mean of many members is too near to the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stacking._typing import FloatArray
from stacking.combiners.auto.stack import fit_line, stack_shares
from stacking.combiners.blend import average_scores
from stacking.metrics.measurement import Measurement
from stacking.metrics.named import Metric
from stacking.metrics.paired_difference import paired_gain
from stacking.ties import exceeds, first_best
from stacking.truth import Truth

GEOMETRIC_SHARE = 0.0625
"""With the threshold that few groups get, on 60 random splits of music tags by artist that chose nothing: a sixteenth
gained .0022 over the mean (standard error .0007) and fell .002 behind it in 13 % of them, an eighth .0023 in 20 %."""

LEAST_UNITS = 100
"""Effective units from which the shares are those of least log loss. The music tags with artists as groups have 13 to
26, where shares that are fitted lose up to .05; all other sets that were looked at have 138 and more. On 13 sets of 200
to 1,000 rows they gained .0052 of micro-F1 over the steps alone, 9 wins and no loss."""

CLEARLY = 2.5
"""Standard errors by which the steps must score more than the fitted shares to stand: they are the winner of several
looks at the same rows. On 36 generated sets where they were 1 to 2.5 above, they scored .0018 less on new rows
(standard error .0005); 12 of these chose nothing (.0010 less, 11 of them worse)."""

FITTED = "these shares of their logits have the least held-out log loss"

LEAST_ROWS = 40
"""The same where rows stand alone. On 13 sets of 60 rows (40 to 53 units) the shares scored .044 more than the plain
mean and .011 more than the better of mean and best single, .020 less at worst; on one of 29 units .12 less."""

MOST_HALVES = 3
"""Candidates whose average with the mean is looked at: every further look is one more chance to be misled. A choice; no
measurement is on record."""


@dataclass(frozen=True)
class Choice:
    """What is averaged and why.

    Attributes
    ----------
    shares : dict of str to float
        Share of each chosen candidate in the mean of logits; they sum to 1.
    reason : str
        One sentence.
    line : (float, float)
        Slope and intercept that the mean of logits is carried through; (1, 0) leaves it.
    """

    shares: dict[str, float]
    reason: str
    line: tuple[float, float] = (1.0, 0.0)

    def average(self, held_out: Mapping[str, FloatArray]) -> FloatArray:
        """Average what the candidates answer.

        Parameters
        ----------
        held_out : mapping of str to ndarray of float32, shape (n_samples, n_labels)
            Scores of each candidate.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        """
        chosen = [held_out[name] for name in self.shares]
        return average_scores(chosen, shares=list(self.shares.values()), line=self.line)


def choose_shares(
    held_out: Mapping[str, FloatArray],
    counts: Mapping[str, Measurement],
    judge: Callable[[FloatArray], Measurement],
    truth: Truth | None = None,
    metric: Metric | None = None,
) -> Choice:
    """Give shares to the candidates.

    Parameters
    ----------
    held_out : mapping of str to ndarray of float32, shape (n_samples, n_labels)
        Cross-fitted scores of each candidate; ``mean`` is among them.
    counts : mapping of str to Measurement
        What each is worth.
    judge : callable
        Takes scores and returns what they are worth, decided by a threshold tuned on other folds.
    truth : Truth, optional
        Of the same rows; without it no shares are fitted.
    metric : Metric, optional
        What `counts` and `judge` measure; micro-F1 by default.

    Returns
    -------
    Choice
        The shares and the reason.
    """
    stepped = _choose_by_proof(held_out, counts, judge)
    if truth is None or len(held_out) < 2:
        return stepped
    if truth.effective_units < (LEAST_ROWS if truth.groups is None else LEAST_UNITS):
        return _stay_half_way(stepped, held_out, judge)
    stepped, fitted = (
        replace(choice, line=fit_line(choice.average(held_out), truth))
        for choice in (stepped, Choice(stack_shares(held_out, truth), FITTED))
    )
    if metric is not None and metric.averages_labels:
        return fitted
    if paired_gain(judge(stepped.average(held_out)), judge(fitted.average(held_out))).exceeds(CLEARLY):
        return replace(stepped, reason=f"{stepped.reason}; shares of least held-out log loss score clearly less")
    return fitted


def _choose_by_proof(
    held_out: Mapping[str, FloatArray],
    counts: Mapping[str, Measurement],
    judge: Callable[[FloatArray], Measurement],
) -> Choice:
    """Leave the mean as far as something is proven better."""
    mean = counts["mean"]
    order = _rank(counts)
    best = order[0]
    if paired_gain(counts[best], mean).is_proven():
        return _near_best(best, held_out, counts, judge)
    halves: dict[str, float] = {}
    above = [name for name in order if exceeds(counts[name].merit, mean.merit)]
    for name in above[:MOST_HALVES]:
        gain = paired_gain(judge(average_scores([held_out["mean"], held_out[name]])), mean)
        if gain.is_proven():
            halves[name] = gain.gain
    if halves:
        name = list(halves)[first_best(list(halves.values()))]
        reason = f"{name} alone is not proven better than the plain mean, its even average with the mean is"
        return Choice({"mean": 0.5, name: 0.5}, reason)
    reason = "no candidate beats the plain mean beyond doubt"
    if "geometric" in counts:
        behind = paired_gain(mean, counts["geometric"])
        if not behind.exceeds(1.0):
            reason += "; a sixteenth of the geometric mean, which learns nothing either, holds back lone high scores"
            return Choice({"mean": 1 - GEOMETRIC_SHARE, "geometric": GEOMETRIC_SHARE}, reason)
    return Choice({"mean": 1.0}, reason)


def _stay_half_way(
    choice: Choice, held_out: Mapping[str, FloatArray], judge: Callable[[FloatArray], Measurement]
) -> Choice:
    """Average a choice that has left the mean evenly with it, unless it is proven better than that average."""
    if "mean" in choice.shares:
        return choice
    half = Choice({"mean": 0.5, **{name: 0.5 * share for name, share in choice.shares.items()}}, choice.reason)
    if paired_gain(judge(choice.average(held_out)), judge(half.average(held_out))).is_proven():
        return choice
    reason = "on few rows or groups the half step to it is taken, as the whole one is not proven better"
    return replace(half, reason=f"{choice.reason}; {reason}")


def _rank(counts: Mapping[str, Measurement]) -> list[str]:
    """Sort the candidates, the best first; those that only rounding tells apart in the order of the race."""
    left, order = list(counts), []
    while left:
        order.append(left.pop(first_best([counts[name].merit for name in left])))
    return order


def _near_best(
    best: str,
    held_out: Mapping[str, FloatArray],
    counts: Mapping[str, Measurement],
    judge: Callable[[FloatArray], Measurement],
) -> Choice:
    """Average what is within one standard error of the best, unless that scores less than the best alone."""
    gains = {name: paired_gain(counts[best], own) for name, own in counts.items()}
    near = [name for name, gain in gains.items() if not gain.exceeds(1.0)]
    if len(near) == 1:
        reason = f"{best} is proven better than the plain mean, and no other is within one standard error"
        return Choice({best: 1.0}, reason)
    if exceeds(counts[best].merit, judge(average_scores([held_out[name] for name in near])).merit):
        reason = f"{best} is proven better than the plain mean, and its average with those near it scores less"
        return Choice({best: 1.0}, reason)
    reason = f"they are within one standard error of the best, {best}, which is proven better than the plain mean"
    return Choice(dict.fromkeys(near, 1.0 / len(near)), reason)
