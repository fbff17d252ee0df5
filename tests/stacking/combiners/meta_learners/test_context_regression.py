import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from stacking.combiners.meta_learners.context_regression import (
    held_out_fit,
    joint_regression,
    measure_moments,
    ridge_weights,
)


@pytest.fixture
def columns(rng):
    return rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)


def standardize(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def test_moments_add_up(columns, rng):
    weight = rng.random(300)
    whole = measure_moments(columns, weight)
    parts = measure_moments(columns[:100], weight[:100]) + measure_moments(columns[100:], weight[100:])
    np.testing.assert_allclose(parts.products, whole.products)
    np.testing.assert_allclose(
        (whole - measure_moments(columns[:100], weight[:100])).sums, weight[100:] @ columns[100:]
    )
    np.testing.assert_allclose(whole.means, np.average(columns, axis=0, weights=weight))


def test_ridge_equals_scikit_learn(columns):
    scaled = standardize(columns)
    weights = ridge_weights(measure_moments(columns), 4, (3.0, 30.0))
    for found, strength in zip(weights, (3.0, 30.0), strict=True):
        reference = Ridge(alpha=strength).fit(scaled[:, :4], scaled[:, 4:])
        np.testing.assert_allclose(found, reference.coef_.T, atol=1e-8)


def test_joint_regression_is_every_conditional_regression(columns):
    scaled = standardize(columns)
    joint = joint_regression(measure_moments(columns), 3, 1e-9, 1e-9)
    for label in range(3):
        for target, weights in ((label, joint.to_logit), (3 + label, joint.to_truth)):
            others = [i for i in range(6) if i != target]
            reference = LinearRegression().fit(scaled[:, others], scaled[:, target]).coef_
            found = weights[:, label].copy()
            keep = [i for i in others if i != 3 + label]
            np.testing.assert_allclose(found[keep], reference[[others.index(i) for i in keep]], atol=1e-5)
            assert found[target] == 0


def test_a_label_never_reads_its_own_truth(columns, rng):
    joint = joint_regression(measure_moments(columns), 3, 1.0, 1.0)
    logits, truths = rng.normal(size=(2, 5, 3))
    first = joint.features(logits, truths)
    truths[:, 1] += 9.0
    for before, after in zip(first, joint.features(logits, truths), strict=True):
        np.testing.assert_array_equal(before[:, 1], after[:, 1])


def test_constant_columns_say_nothing(columns):
    columns[:, 1] = 4.0
    columns[:, 5] = 0.0
    joint = joint_regression(measure_moments(columns), 3, 1.0, 1.0)
    assert np.isfinite(joint.to_truth).all()
    np.testing.assert_array_equal(joint.to_truth[1, [0, 1]], 0)
    np.testing.assert_array_equal(joint.to_truth[:, 2], 0)


def test_fit_is_the_correlation(rng):
    a, b = rng.normal(size=(2, 50, 3))
    b[:, 2] = 1.0
    expected = [np.corrcoef(a[:, label], b[:, label])[0, 1] for label in range(2)]
    np.testing.assert_allclose(held_out_fit(a, b), [*expected, 0.0])
