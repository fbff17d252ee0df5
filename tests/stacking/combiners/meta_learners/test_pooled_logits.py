"""Pooled logits: members weighed by one pooled regression, a useless one not at all."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from stacking import PredictionSet
from stacking.combiners.meta_learners.batched_logistic import pooled_coefficients
from stacking.combiners.meta_learners.pooled_logits import fit_pool_weights, pool_logits, read_pool_weights
from stacking.combiners.meta_learners.training_rows import prepare_rows


def noisy_logits(rng, n_samples=600):
    truth = (rng.random((n_samples, 3)) < [0.5, 0.3, 0.1]).astype(np.uint8)
    signal = 2.0 * truth - 1.0
    noise = rng.normal(size=(3, n_samples, 3))
    return truth, np.stack([signal + noise[0], signal + 3 * noise[1], 2 * noise[2]])


def test_pooled_coefficients_are_those_of_one_regression_with_an_intercept_per_label(rng):
    truth, logits = noisy_logits(rng)
    found = pooled_coefficients(list(logits), truth.astype(float))
    design = np.concatenate([logits.reshape(3, -1).T, np.tile(np.eye(3), (len(truth), 1))], axis=1)
    expected = LogisticRegression(C=1e4, fit_intercept=False, max_iter=1000).fit(design, truth.ravel()).coef_[0, :3]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_useless_member_weighs_next_to_nothing(rng):
    truth, logits = noisy_logits(rng)
    rows = prepare_rows(
        PredictionSet(1 / (1 + np.exp(-logits)), y_true=truth), max_rows=None, n_folds=3, random_state=0
    )
    weights = fit_pool_weights(rows)
    assert weights.sum() == pytest.approx(1) and weights.min() >= 0
    assert weights[0] > 3 * weights[1] > 0 and weights[2] < 0.02


def test_labels_that_a_member_does_not_answer_are_pooled_from_the_others():
    logits = np.array([[[1.0, 0.0]], [[3.0, 5.0]]])  # (2 models, 1 sample, 2 labels)
    usable = np.array([[True, True], [False, True]])
    np.testing.assert_allclose(pool_logits(logits, usable, np.array([0.75, 0.25])), [[1.5, 5.0]])
    np.testing.assert_allclose(pool_logits(logits, usable, np.array([1.0, 0.0])), [[1.0, 5.0]])
    np.testing.assert_allclose(pool_logits(logits, usable & False, np.array([0.5, 0.5])), [[0.0, 0.0]])


def test_a_saved_stacker_may_call_the_weights_as_it_did_earlier():
    covers, weights = np.ones((2, 3), bool), np.array([0.25, 0.75])
    found = read_pool_weights({"covers_": covers, "fusing_": weights})
    assert found["pool_weights_"] is weights and set(found) == {"covers_", "pool_weights_"}
    np.testing.assert_array_equal(read_pool_weights({"covers_": covers})["pool_weights_"], [0.5, 0.5])
