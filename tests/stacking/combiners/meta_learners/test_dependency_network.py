"""The network is a set of logistic regressions; its penalty is chosen by rows it did not see."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from stacking.combiners.meta_learners import dependency_network
from stacking.combiners.meta_learners.dependency_network import (
    LARGEST,
    STRENGTHS,
    DependencyNetwork,
    choose_strength,
    fit_dependency_network,
)


def chained(rng, n_samples, n_labels=6):
    """Each label depends on the one before: it excludes it."""
    truth = np.zeros((n_samples, n_labels))
    truth[:, 0] = rng.random(n_samples) < 0.5
    for label in range(1, n_labels):
        truth[:, label] = rng.random(n_samples) < np.where(truth[:, label - 1] > 0, 0.05, 0.5)
    return truth


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_are_scikit_learns_regressions(rng, weighted):
    truth = chained(rng, 500)
    weight = rng.choice([0.0, 1.0, 2.5], truth.shape) if weighted else None
    network = fit_dependency_network(truth, weight, 2.0)
    for label in range(6):
        others = np.delete(truth, label, axis=1)
        cells = None if weight is None else weight[:, label]
        own = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(others, truth[:, label], sample_weight=cells)
        np.testing.assert_allclose(np.delete(network.weights[:-1, label], label), own.coef_[0], atol=0.03)
        np.testing.assert_allclose(network.log_odds(truth)[:, label], own.decision_function(others), atol=0.06)
        assert network.weights[label, label] == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_the_compiled_loop_answers_as_numpy_does(rng, monkeypatch, weighted):
    truth = chained(rng, 1500, 40)
    weight = rng.choice([0.0, 1.0, 2.5], truth.shape) if weighted else None
    truth[weight == 0 if weighted else np.zeros(truth.shape, bool)] = 0.25  # unknown: the label's frequency
    plain = fit_dependency_network(truth, weight, 3.0)
    monkeypatch.setattr(dependency_network, "COMPILE_FROM", 1)
    compiled = fit_dependency_network(truth, weight, 3.0)
    chances = [1 / (1 + np.exp(-network.log_odds(truth))) for network in (plain, compiled)]
    np.testing.assert_allclose(*chances, atol=2e-3)  # both stop near the optimum, after other steps


def test_rows_that_come_again_count_as_often(rng, monkeypatch):
    monkeypatch.setattr(dependency_network, "COMPILE_FROM", 1)
    truth = chained(rng, 60, 12)
    truth[:30] = 0.0
    times = rng.integers(1, 9, 60)
    again = np.repeat(truth, times, axis=0)
    assert dependency_network._CompiledLoss(again, None).times.sum() == times.sum()
    assert len(dependency_network._CompiledLoss(again, None).times) <= 31
    merged = fit_dependency_network(again, None, 3.0)
    weighed = fit_dependency_network(truth, np.repeat(times[:, None], 12, axis=1).astype(float), 3.0)
    chances = [1 / (1 + np.exp(-network.log_odds(truth))) for network in (merged, weighed)]
    np.testing.assert_allclose(*chances, atol=2e-3)  # the mean that centers the truths differs


def test_labels_of_one_class_and_odd_beliefs_stay_finite(rng):
    truth = chained(rng, 100)
    truth[:, 2], truth[:, 3] = 0.0, 1.0
    network = fit_dependency_network(truth, None, 1.0)
    answers = network.log_odds(np.array([[1e3] * 6, [0.0] * 6]))
    assert np.abs(answers).max() <= LARGEST
    assert network.log_odds(truth)[:, 2].max() < -4
    assert network.log_odds(truth)[:, 3].min() > 4


def test_few_rows_of_noise_take_the_strongest_penalty(rng):
    held = np.arange(120) % 3 == 0
    noise = (rng.random((120, 12)) < 0.3).astype(float)
    assert choose_strength(noise, None, held)[0] == STRENGTHS[0]
    held = np.arange(3000) % 3 == 0
    assert choose_strength(chained(rng, 3000), np.ones((3000, 6)), held)[0] < STRENGTHS[0]


def test_a_start_changes_the_time_only(rng):
    truth = chained(rng, 400)
    cold = fit_dependency_network(truth, None, 1.0)
    start = DependencyNetwork(rng.normal(size=(7, 6)) * (1 - np.eye(7, 6)))
    np.testing.assert_allclose(fit_dependency_network(truth, None, 1.0, start=start).weights, cold.weights, atol=0.05)
