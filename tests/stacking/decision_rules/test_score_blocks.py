"""Thresholds tuned block by block equal those tuned on all rows at once."""

import numpy as np
import pytest

from stacking import WeightedVoting, tune_thresholds
from stacking.decision_rules import apply_thresholds
from stacking.decision_rules.choice import nested_decisions
from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks
from stacking.metrics import micro_f1
from stacking.predictions import PredictionSet, load_predictions
from stacking.predictions.forms.store import write_store


@pytest.fixture
def metadata(rng):
    """Scores with ties, a label without positives, unknown cells, and weights of which some are 0."""
    y_true = (rng.random((500, 5)) < [0.5, 0.3, 0.1, 0.02, 0.0]).astype(np.uint8)
    y_score = np.clip(0.4 * y_true + rng.random((500, 5)) * 0.8, 0, 1).round(2).astype(np.float32)
    weight = rng.integers(0, 3, 500).astype(np.float64)
    return y_score, y_true, rng.random((500, 5)) < 0.9, weight


@pytest.mark.parametrize("rule", ADDITIVE_RULES)
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("block", [1, 37, 500])
def test_blocks_merge_without_loss(metadata, rule, is_weighted, is_masked, block):
    y_score, y_true, known, weight = metadata
    options = {"y_known": known if is_masked else None, "sample_weight": weight if is_weighted else None}
    predictions = PredictionSet(y_score[None], y_true=y_true, **options)
    blocks = ScoreBlocks(lambda rows: y_score[rows], predictions, block=block)
    thresholds = blocks.tune(rule)
    np.testing.assert_array_equal(thresholds, tune_thresholds(y_score, y_true, rule, **options))
    decided = apply_thresholds(y_score, thresholds)
    assert blocks.micro_f1(thresholds) == pytest.approx(micro_f1(y_true, decided, **options), abs=1e-12)


@pytest.mark.parametrize("rule", ADDITIVE_RULES)
def test_rows_that_are_not_kept_do_not_count(metadata, rule):
    y_score, y_true, _, _ = metadata
    kept = np.arange(500) % 3 > 0
    kept[100:200] = False
    predictions = PredictionSet(y_score[None], y_true=y_true)
    thresholds = ScoreBlocks(lambda rows: y_score[rows], predictions, kept, block=50).tune(rule)
    np.testing.assert_array_equal(thresholds, tune_thresholds(y_score[kept], y_true[kept], rule))


@pytest.mark.parametrize("rule", ADDITIVE_RULES)
def test_a_fold_decides_by_the_other_folds(metadata, rule):
    y_score, y_true, known, weight = metadata
    predictions = PredictionSet(y_score[None], y_true=y_true, y_known=known, sample_weight=weight)
    folds = np.arange(500) % 3
    decided = nested_decisions(y_score, predictions, folds, rule=rule)
    for fold in range(3):
        rest = folds != fold
        thresholds = tune_thresholds(y_score[rest], y_true[rest], rule, y_known=known[rest], sample_weight=weight[rest])
        np.testing.assert_array_equal(decided[~rest], apply_thresholds(y_score[~rest], thresholds))


def test_a_store_is_read_block_by_block(metadata, rng, tmp_path):
    y_score, y_true, _, _ = metadata
    other = np.clip(y_score + rng.normal(0, 0.2, y_score.shape), 0, 1).astype(np.float32)
    write_store(PredictionSet([y_score, other], y_true=y_true), tmp_path / "store")
    predictions = load_predictions(tmp_path / "store")
    vote = WeightedVoting().fit(predictions)
    sizes = []

    def read(rows):
        scores = vote.predict_proba(predictions.subset(samples=rows))
        sizes.append(len(scores))
        return scores

    thresholds = ScoreBlocks(read, predictions, block=60).tune()
    assert max(sizes) == 60
    np.testing.assert_array_equal(thresholds, tune_thresholds(vote.predict_proba(predictions), y_true))


def test_nothing_to_predict_is_never():
    predictions = PredictionSet(np.full((1, 4, 2), 0.5, np.float32), y_true=np.zeros((4, 2), int))
    blocks = ScoreBlocks(lambda rows: predictions.to_array()[0][rows], predictions, block=3)
    assert np.isinf(blocks.tune()).all()
    assert blocks.micro_f1(blocks.tune()) == 0.0


def test_what_cannot_be_tuned_is_refused():
    predictions = PredictionSet(np.full((1, 4, 2), 0.5, np.float32))
    with pytest.raises(ValueError, match="predictions must carry y_true"):
        ScoreBlocks(lambda rows: None, predictions)
    with pytest.raises(ValueError, match=r"rule must be one of .* got 'cyclic'"):
        ScoreBlocks(lambda rows: None, predictions.with_truth(np.zeros((4, 2), int))).tune("cyclic")
