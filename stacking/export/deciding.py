"""How an ensemble decides, as a program: thresholds, the rule that moves each sample's scores first, image rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from stacking._typing import DoubleArray
from stacking.decision_rules import ImageRules, SampleRule
from stacking.decision_rules.image_rules import NEVER, TINY, GroupLimits, group_limits
from stacking.decision_rules.thresholds import float32_limits
from stacking.export.program import BOOL, DOUBLE, FLOAT, INTEGER, Value, concatenate, logit, sigmoid, where


def decide(scores: Value, ensemble: Any) -> Value:
    """Append how scores become labels.

    Parameters
    ----------
    scores : Value
        Of type float32, shape (n_samples, n_labels).
    ensemble : StackingEnsemble
        Fitted.

    Returns
    -------
    Value
        Truths of the same shape.
    """
    if ensemble.sample_rule_ is not None:
        scores = _shift(scores, ensemble.sample_rule_, len(ensemble.labels_))
    fired = scores >= float32_limits(ensemble.thresholds_)
    rules: ImageRules | None = ensemble.image_rules
    if rules is None or not rules.is_active:
        return fired
    return _keep(scores, fired, ensemble.thresholds_, group_limits(rules, ensemble.label_groups_))


def _shift(scores: Value, rule: SampleRule, n_labels: int) -> Value:
    """Move each sample's scores so that .5 decides, as `SampleRule.shift` does."""
    odds = logit(scores.cast(DOUBLE)) * rule.slope + rule.intercept
    descending = odds.sorted()
    chance, square = sigmoid(descending), rule.beta**2
    total = chance.sum(1, keep=True) * square + np.arange(1, n_labels + 1)
    chosen = (chance.cumulate(1) * (1.0 + square) / total).place_of_largest(1)
    lower = concatenate([descending, descending.take([n_labels - 1], axis=1) - 1.0], axis=1)
    last, first = lower.take_along(chosen, 1), lower.take_along(chosen + 1, 1)
    return sigmoid(odds - (last + first) / 2.0).cast(FLOAT)


def _keep(scores: Value, fired: Value, thresholds: DoubleArray, bounds: GroupLimits) -> Value:
    """Add and drop labels until the rules are kept, as `apply_image_rules` does."""
    n_labels = len(thresholds)
    needed = np.log(np.clip(thresholds, TINY, 1 - TINY)) - np.log1p(-np.clip(thresholds, TINY, 1 - TINY))
    margins = logit(scores.cast(DOUBLE), TINY) - np.where(thresholds > 1.0, NEVER, needed)
    margins = where(fired, margins.at_least(0.0), margins.at_most(-TINY))
    counts, program = fired.cast(INTEGER), scores.program
    n_fired = counts.sum(1, keep=True)
    kept = (n_fired >= bounds.low) & (n_fired <= bounds.high)
    never = fired & ~fired
    must, barred = never, never
    for columns, least, most in zip(bounds.members, bounds.least, bounds.most, strict=True):
        of_group = counts.take(columns, 1).sum(1, keep=True)
        kept = kept & (of_group >= least) & (of_group <= most)
        place = margins.take(columns, 1).places()
        # Each label of the group finds its place there; a label outside of it reads the first and is left alone.
        position = np.zeros(n_labels, np.int64)
        position[columns] = np.arange(len(columns))
        inside = program.constant(np.isin(np.arange(n_labels), columns), BOOL)
        place = place.take(position, 1)
        must = must | (inside & (place < least))
        barred = barred | (inside & (place >= most))
    wanted = (must | ((margins >= 0.0) & ~barred)).cast(INTEGER).sum(1, keep=True)
    taken = wanted.at_least(bounds.low).at_most(bounds.high)
    tier = where(must, program.constant(0, INTEGER), where(barred, program.constant(2, INTEGER), 1))
    order = (0 - (tier * n_labels + margins.places())).cast(DOUBLE).places()
    return (kept & fired) | (~kept & (order < taken))
