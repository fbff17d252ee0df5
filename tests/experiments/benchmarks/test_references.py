"""The plain solutions, against brute force on tiny cases; the rows and goals that judge."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from experiments.benchmarks import references
from experiments.benchmarks.rows import Goal, Row


@pytest.fixture
def tiny(rng):
    y_score = rng.integers(1, 6, (7, 3)).astype(np.float32) / 6  # with ties
    y_true = (rng.random((7, 3)) < 0.4).astype(np.uint8)
    y_true[0] = 1
    return y_score, y_true


def test_micro_f1_and_log_loss_equal_scikit_learn(tiny):
    y_score, y_true = tiny
    fired = y_score >= 0.5
    assert references.micro_f1(y_true, fired) == pytest.approx(f1_score(y_true, fired, average="micro"))
    expected = sklearn_log_loss(y_true.ravel(), y_score.ravel().astype(float))
    assert references.log_loss(y_true, y_score) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_thresholds_are_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    y_score = rng.integers(1, 6, (7, 3)).astype(np.float32) / 6
    y_true = (rng.random((7, 3)) < 0.4).astype(np.uint8)
    y_true[0] = 1
    cuts = [*np.unique(y_score).tolist(), np.inf]
    every = [references.micro_f1(y_true, y_score >= np.array(choice)) for choice in itertools.product(cuts, repeat=3)]
    exact = references.exact_label_thresholds(y_score, y_true)
    assert references.micro_f1(y_true, y_score >= exact) == pytest.approx(max(every))
    one = max(references.micro_f1(y_true, y_score >= cut) for cut in cuts)
    single = references.best_single_threshold(y_score, y_true)
    assert references.micro_f1(y_true, y_score >= single) == pytest.approx(one)


@pytest.mark.parametrize("name", ["label_logistic", "ridge_then_logistic", "label_lightgbm", "context_lightgbm"])
def test_learners_beat_chance_out_of_fold(rng, name):
    y_true = (rng.random((400, 3)) < 0.4).astype(np.uint8)
    y_true[:, 2] = 0  # a label with one value
    noise = rng.normal(size=(2, 400, 3))
    y_scores = (1 / (1 + np.exp(1 - 2 * y_true - noise))).astype(np.float32)
    scores = references.cross_fit(getattr(references, name), y_scores, y_true)
    assert np.isfinite(scores).all()
    fired = scores >= references.best_single_threshold(scores, y_true)
    assert references.micro_f1(y_true, fired) > references.micro_f1(y_true, np.ones_like(fired)) + 0.1


def test_held_out_rows_are_not_fitted(rng):
    seen = []

    def remember(train, y_true, new):
        seen.append((set(train[0, :, 0].tolist()), set(new[0, :, 0].tolist())))
        return new[0]

    scores = rng.random((1, 30, 2)).astype(np.float32)
    references.cross_fit(remember, scores, np.zeros((30, 2), np.uint8))
    assert len(seen) == 5
    assert all(not fitted & held_out for fitted, held_out in seen)


def test_goal_says_by_how_much_it_was_missed():
    assert Goal("cpu_seconds", 0.08).verdict({"cpu_seconds": 0.08}) == "reached"
    assert Goal("test_micro_f1", 0.7, at_most=False).verdict({"test_micro_f1": 0.69}).startswith("missed by 0.01 ")
    assert Goal("cpu_seconds", 0.08).verdict({}) == "not measured"


def test_row_in_trouble_reaches_nothing():
    row = Row("job", "system", True, goals=(Goal("cpu_seconds", 1.0),), trouble="not measured: crashed")
    assert row.as_dict()["goals"][0]["verdict"] == "not measured: crashed"
