import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty, apply_logistic, fit_logistic

FREE = LogisticPenalty(1e-9, pooled=False)


@pytest.fixture
def problem(rng):
    features = [rng.normal(size=(500, 4)), 10.0 + 3.0 * rng.normal(size=(500, 4))]
    logits = features[0] * [1.0, -0.5, 2.0, 0.0] + 0.2 * (features[1] - 10) - [0.0, 1.0, 2.0, 3.0]
    y_true = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    return features, y_true


def test_equals_scikit_learn(problem, rng):
    features, y_true = problem
    weight = rng.integers(0, 3, y_true.shape).astype(float)
    fitted = fit_logistic(features, y_true, weight=weight, penalty=FREE)
    for label in range(4):
        X = np.column_stack([feature[:, label] for feature in features])
        reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
            X, y_true[:, label], sample_weight=weight[:, label]
        )
        np.testing.assert_allclose(fitted[label], [*reference.coef_[0], reference.intercept_[0]], rtol=2e-3, atol=2e-3)
    logits = apply_logistic(features, fitted)
    np.testing.assert_allclose(logits[:, 3], reference.decision_function(X), atol=0.02)


def test_the_penalty_is_the_documented_one(problem):
    features, y_true = problem
    fitted = fit_logistic(features[:1], y_true, penalty=LogisticPenalty(7.0, pooled=False))
    for label in range(4):
        X = features[0][:, [label]]
        reference = LogisticRegression(C=1 / 7.0, tol=1e-10).fit((X - X.mean()) / X.std(), y_true[:, label])
        assert fitted[label, 0] * X.std() == pytest.approx(reference.coef_[0, 0], abs=1e-3)


def test_a_strong_penalty_gives_all_labels_the_pooled_slope(problem):
    features, y_true = problem
    penalty = LogisticPenalty(1e9, pooled=True, shared_scale=(0, 1))
    fitted = fit_logistic(features, y_true, penalty=penalty)
    np.testing.assert_allclose(fitted[:, :-1], np.broadcast_to(fitted[0, :-1], (4, 2)), rtol=1e-5)
    assert -0.5 < fitted[0, 0] < 2.0
    chance = 1 / (1 + np.exp(-apply_logistic(features, fitted)))
    np.testing.assert_allclose(chance.mean(axis=0), y_true.mean(axis=0), atol=1e-4)


def test_unusable_features_and_one_class_labels(problem):
    features, y_true = problem
    y_true[:, 0], y_true[:, 1] = 0, 1
    usable = np.array([[True, True], [True, True], [False, True], [True, False]])
    fitted = fit_logistic(features, y_true, usable=usable)
    assert fitted[2, 0] == 0
    assert fitted[3, 1] == 0
    np.testing.assert_array_equal(fitted[:2, :2], 0)
    assert 1 / (1 + np.exp(-fitted[0, 2])) == pytest.approx(0.5 / 501)
    assert 1 / (1 + np.exp(-fitted[1, 2])) == pytest.approx(500.5 / 501)


def test_separable_labels_stay_finite(rng):
    x = rng.normal(size=(100, 1))
    fitted = fit_logistic([x], (x > 0).astype(float), penalty=LogisticPenalty(1.0))
    assert np.isfinite(fitted).all()
    assert fitted[0, 0] > 1


def test_the_start_does_not_change_the_result(problem, rng):
    features, y_true = problem
    cold = fit_logistic(features, y_true)
    warm = fit_logistic(features, y_true, start=cold + rng.normal(0, 0.5, cold.shape))
    np.testing.assert_allclose(apply_logistic(features, warm), apply_logistic(features, cold), atol=2e-2)
