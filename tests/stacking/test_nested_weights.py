"""Whatever tunes nested decisions counts rows by their weights, and cells that nobody annotated not at all."""

import numpy as np
import pytest

from stacking.decision_rules import apply_thresholds, get_decision_rule, list_decision_rules, tune_thresholds
from stacking.decision_rules.choice import nested_decisions
from stacking.predictions import PredictionSet

RULES = [rule for rule in list_decision_rules() if rule not in ("half", "cross-validated")]  # that one deals folds too
RULES = [rule for rule in RULES if not get_decision_rule(rule).by_sample]


@pytest.fixture
def scored(rng):
    """Scores that are right where the weights are large, and wrong elsewhere."""
    y_true = (rng.random((240, 5)) < 0.3).astype(np.uint8)
    weight = np.where(np.arange(240) % 3 == 0, 40.0, 1.0)
    right = 0.25 + 0.3 * y_true + 0.15 * rng.random((240, 5))
    y_score = np.where(weight[:, None] > 1, right, 1 - right).astype(np.float32)
    return y_score, y_true, weight, np.arange(240) % 4


@pytest.mark.parametrize("rule", RULES)
def test_weights_reach_the_thresholds_of_every_fold(rule, scored):
    y_score, y_true, weight, folds = scored
    predictions = PredictionSet(y_score[None], y_true=y_true, sample_weight=weight)
    decided = nested_decisions(y_score, predictions, folds, rule=rule)
    unweighted = nested_decisions(y_score, PredictionSet(y_score[None], y_true=y_true), folds, rule=rule)
    assert not np.array_equal(decided, unweighted)
    for fold in range(4):
        held = folds == fold
        thresholds = tune_thresholds(y_score[~held], y_true[~held], rule, sample_weight=weight[~held])
        np.testing.assert_array_equal(decided[held], apply_thresholds(y_score[held], thresholds))


@pytest.mark.parametrize("rule", [*RULES, "cross-validated"])
def test_unknown_cells_move_no_nested_decision(rule, scored, rng):
    y_score, y_true, weight, folds = scored
    known = rng.random(y_true.shape) < 0.6
    lied = np.where(known, y_true, 1 - y_true)
    moved = np.where(known, y_score, rng.random(y_score.shape)).astype(np.float32)
    decided = [
        nested_decisions(score, PredictionSet(score[None], y_true=given, y_known=known), folds, rule=rule)
        for score, given in ((y_score, y_true), (y_score, lied), (moved, y_true))
    ]
    np.testing.assert_array_equal(decided[0], decided[1])
    np.testing.assert_array_equal(decided[0][known], decided[2][known])
    unweighted = np.where(np.arange(240) % 2, 0.0, weight)
    lied = np.where((unweighted == 0)[:, None], 1 - y_true, y_true)
    decided = [
        nested_decisions(
            y_score, PredictionSet(y_score[None], y_true=given, sample_weight=unweighted), folds, rule=rule
        )
        for given in (y_true, lied)
    ]
    np.testing.assert_array_equal(decided[0], decided[1])
