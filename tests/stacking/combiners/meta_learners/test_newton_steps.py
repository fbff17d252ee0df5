"""Both ways of Newton's method find the same minimum, which is scipy's."""

import numpy as np
import pytest
from scipy.optimize import minimize

from stacking.combiners.meta_learners import newton_steps
from stacking.combiners.meta_learners.batched_logistic import (
    LogisticPenalty,
    apply_logistic,
    fit_logistic,
    fit_logistic_by_fold,
    pooled_coefficients,
)
from stacking.links import sigmoid
from stacking.process.progress import report_progress


@pytest.fixture
def problem(rng):
    features = [rng.normal(size=(700, 20)).astype(np.float32) for _ in range(4)]
    logits = features[0] - 0.7 * features[1] - 1.0
    features[3] = (features[0] + 0.1 * features[3]).astype(np.float32)  # nearly the same twice
    y_true = (rng.random(logits.shape) < sigmoid(logits)).astype(np.float64)
    y_true[:, 0] = 0.0
    weight = rng.choice([0.0, 0.7, 2.0], y_true.shape)
    usable = rng.random((20, 4)) < 0.9
    return features, y_true, weight, usable


def both(monkeypatch, fit):
    answers = []
    for least in (0, 10**12):
        monkeypatch.setattr(newton_steps, "COMPILE_FROM", least)
        answers.append(fit())
    return answers


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("nonnegative", [(), (1, 2, 3)])
@pytest.mark.parametrize("pooled", [False, True])
def test_compiled_loops_answer_as_numpy_does(problem, monkeypatch, weighted, nonnegative, pooled):
    features, y_true, weight, usable = problem
    penalty = LogisticPenalty(3.0, pooled, (0, 1), nonnegative)
    facts = {"weight": weight if weighted else None, "usable": usable, "penalty": penalty}
    compiled, plain = both(monkeypatch, lambda: fit_logistic(features, y_true, **facts))
    gap = sigmoid(apply_logistic(features, compiled)) - sigmoid(apply_logistic(features, plain))
    assert np.abs(gap).max() < 1e-4
    assert (compiled[:, list(nonnegative)] >= 0).all()


def test_pooled_slopes_are_the_same(problem, monkeypatch):
    features, y_true, weight, usable = problem
    compiled, plain = both(monkeypatch, lambda: pooled_coefficients(features, y_true, weight=weight, usable=usable))
    np.testing.assert_allclose(compiled, plain, atol=1e-4)


@pytest.mark.parametrize("least", [0, 10**12])
def test_bounded_coefficients_are_those_of_scipy(rng, monkeypatch, least):
    monkeypatch.setattr(newton_steps, "COMPILE_FROM", least)
    x = rng.normal(size=(400, 3))
    x /= x.std(axis=0)
    y = (rng.random(400) < sigmoid(x[:, 0] - 0.8 * x[:, 1])).astype(float)
    penalty = LogisticPenalty(2.0, pooled=False, nonnegative=(0, 1, 2))
    found = fit_logistic([column[:, None] for column in x.T], y[:, None], penalty=penalty)[0]

    def loss(c):
        z = x @ c[:3] + c[3]
        return (np.logaddexp(0, z) - y * z).sum() + (c[:3] ** 2).sum()

    best = minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=[(0, None)] * 3 + [(None, None)], tol=1e-12).x
    assert best[1] == 0
    np.testing.assert_allclose(found, best, atol=2e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
def test_fits_of_all_folds_at_once_are_those_of_each_alone(problem, monkeypatch, weighted, pooled):
    features, y_true, weight, usable = problem
    masks = [np.arange(700) % 5 == fold for fold in range(5)]
    y_true[~masks[2], 1] = 0.0  # without this fold a label has one class
    penalty = LogisticPenalty(3.0, pooled, (0, 1), (1, 2, 3))
    facts = {"weight": weight if weighted else None, "usable": usable, "penalty": penalty}
    together, apart = both(monkeypatch, lambda: fit_logistic_by_fold(features, y_true, masks, **facts))
    assert len(together) == 6
    for one, other in zip(together, apart, strict=True):
        gap = sigmoid(apply_logistic(features, one)) - sigmoid(apply_logistic(features, other))
        assert np.abs(gap).max() < 1e-4
        assert (one[:, 1:4] >= 0).all()
    assert (together[3][1, :-1] == 0).all()


@pytest.mark.parametrize("compile_from", [0, 10**12], ids=["compiled", "numpy"])
def test_fits_by_fold_say_how_far_they_are(problem, monkeypatch, compile_from):
    """One pass over a block of many labels takes minutes, so it must not stand still."""
    monkeypatch.setattr(newton_steps, "COMPILE_FROM", compile_from)
    features, y_true, _, _ = problem
    masks = [np.arange(len(y_true)) % 4 == fold for fold in range(4)]
    told = []
    with report_progress(lambda done, *_: told.append(done)):
        fit_logistic_by_fold(features, y_true, masks, penalty=LogisticPenalty())
    assert len(set(told)) >= 2
    assert told == sorted(told)
