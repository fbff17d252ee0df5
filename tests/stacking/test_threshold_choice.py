"""Which decision rule is chosen, and when .5 gives way without proof."""

import numpy as np

from stacking import PredictionSet
from stacking.threshold_choice import choose_thresholds


def choose(y_score, y_true, groups=None):
    predictions = PredictionSet(
        y_scores=y_score[None].astype(np.float32),
        ids=[f"row{row}" for row in range(len(y_true))],
        models=["model"],
        labels=[f"label{label}" for label in range(y_true.shape[1])],
        y_true=y_true,
        groups=groups,
    )
    return choose_thresholds(y_score.astype(np.float32), predictions, np.arange(len(y_true)) % 4)


def test_a_rule_under_which_nothing_fires_needs_no_proof_against_it():
    """One group carries all that the scores know, so that no gain is proven over groups."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    groups = np.where(np.arange(400) < 200, 0, np.arange(400) // 10)
    known = np.where(groups[:, None] == 0, y_true, rng.permutation(y_true.ravel()).reshape(y_true.shape))
    choice = choose(0.1 + 0.3 * known, y_true, groups)
    assert choice.scores["half"] == 0.0
    assert choice.scores["single"] > 0.5
    assert choice.rule == "single"


def test_a_half_that_does_well_stays():
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    y_score = np.where(rng.random(y_true.shape) < 0.1, 1 - y_true, y_true) * 0.8 + 0.1
    choice = choose(y_score, y_true)
    assert choice.scores["half"] > 0.7
    assert choice.rule == "half"
