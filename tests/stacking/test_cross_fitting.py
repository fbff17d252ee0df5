import numpy as np
import pytest

from stacking._checks import check_folds
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.decision_rules.choice import nested_decisions
from stacking.folds import deal_folds
from stacking.metrics import micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions


def test_folds_are_checked():
    with pytest.raises(ValueError, match="folds must hold one value per sample: got shape"):
        check_folds([0, 1], 3, least=2)
    with pytest.raises(ValueError, match="at least 2 different folds: got 1"):
        check_folds([1, 1, 1], 3, least=2)
    assert check_folds([-1, -1], 2).tolist() == [-1, -1]


def test_groups_stay_together():
    predictions = make_predictions(n_samples=100)
    groups = np.arange(100) // 7
    folds = deal_folds(predictions.with_groups(groups).truth, 4)
    assert len(np.unique(folds)) == 4
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


def test_nothing_to_split_gives_one_fold():
    predictions = make_predictions(n_samples=20)
    assert deal_folds(predictions.with_groups(np.zeros(20, int)).truth).max() == 0
    assert len(np.unique(deal_folds(predictions.with_groups(np.arange(20) // 10).truth, 5))) == 2


def test_a_sample_keeps_rows_whole():
    predictions = make_predictions(n_samples=200)
    sample = predictions.sample(50, random_state=3)
    assert sample.n_samples == 50
    places = [list(predictions.ids).index(name) for name in sample.ids]
    assert places == sorted(places)
    np.testing.assert_array_equal(sample.to_array(), predictions.to_array()[:, places])
    np.testing.assert_array_equal(sample.y_true, predictions.y_true[places])
    assert predictions.sample(None).n_samples == 200


def test_thresholds_are_tuned_on_the_other_folds_only(rng):
    y_true = (rng.random((400, 30)) < 0.1).astype(np.uint8)
    noise = rng.random((400, 30)).astype(np.float32)
    predictions = PredictionSet(noise[None], y_true=y_true)
    folds = np.arange(400) % 4
    honest = micro_f1(y_true, nested_decisions(noise, predictions, folds, rule="exact-micro-f1"))
    tuned = tune_thresholds(noise, y_true, "exact-micro-f1")
    optimistic = micro_f1(y_true, apply_thresholds(noise, tuned))
    assert honest < optimistic - 0.01
    for fold in range(4):
        held = folds == fold
        thresholds = tune_thresholds(noise[~held], y_true[~held], "exact-micro-f1")
        decided = nested_decisions(noise, predictions, folds, rule="exact-micro-f1")[held]
        np.testing.assert_array_equal(decided, apply_thresholds(noise[held], thresholds))
