"""What the fits add to the error of a nested score: the delete-a-fold jackknife, and its draws."""

import numpy as np
import pytest

from stacking import PredictionSet, compare
from stacking.metrics.bootstrap import percentile_interval
from stacking.metrics.fit_error import draw_fit_errors, fit_deviations
from stacking.testing import make_predictions


def test_it_is_the_delete_a_group_jackknife_of_a_mean():
    """Of a mean over rows in equal groups the jackknife is known in closed form, and is the variance of that mean."""
    rng = np.random.default_rng(0)
    hits = rng.integers(20, 60, 8)
    counts = np.stack([hits, np.full(8, 80), np.full(8, 80)], axis=1)
    own = hits / 80
    without = (own.sum() - own) / 7
    constant = fit_deviations([0.5] * 8, counts)  # D_k is a constant minus the mean without fold k
    assert (constant**2).sum() == pytest.approx(7 / 8 * ((without - without.mean()) ** 2).sum())
    assert (constant**2).sum() == pytest.approx(own.var(ddof=1) / 8)


def test_a_shift_of_all_cross_fitted_scores_is_no_error():
    """Smaller fitting sides score less everywhere: that is a bias, not noise."""
    counts = [[40, 50, 60], [45, 50, 60], [30, 50, 60]]
    np.testing.assert_allclose(fit_deviations([0.6, 0.7, 0.8], counts), fit_deviations([0.5, 0.6, 0.7], counts))


@pytest.mark.parametrize(("without", "counts"), [([0.7], [[4, 5, 6]]), ([0.7, None], [[4, 5, 6], [3, 5, 6]])])
def test_nothing_is_added_where_nothing_is_known(without, counts):
    assert not fit_deviations(without, counts).any()


def test_draws_have_the_jackknifes_covariance():
    deviations = np.array([[0.01, -0.02, 0.01], [0.01, -0.02, 0.01], [0.0, 0.01, -0.01]])
    draws = draw_fit_errors(deviations, n_bootstrap=200_000, random_state=3)
    np.testing.assert_allclose(np.cov(draws), deviations @ deviations.T, atol=5e-6)
    np.testing.assert_array_equal(draws[0], draws[1])


@pytest.fixture(scope="module")
def unsteady():
    """Few rows and many rare labels, so that each fold would choose other thresholds."""
    predictions = make_predictions(3, 150, 30, random_state=5)
    return PredictionSet(predictions.to_array(), y_true=predictions.y_true)


def test_nested_limits_know_the_fits_and_those_on_a_holdout_need_not(unsteady):
    options = {"n_splits": 3, "n_bootstrap": 400, "rule": "exact-micro-f1"}
    nested = compare(unsteady, ["greedy"], **options)
    error = nested.results["greedy"].fit_deviations["chosen"]
    assert np.sqrt((error**2).sum()) > 0.001
    rows_alone = nested.replicates["greedy", "chosen"] - draw_fit_errors([error], n_bootstrap=400)[0]
    low, high = percentile_interval(rows_alone)
    row = nested.row("greedy")
    assert row.high - row.low > high - low
    assert nested.manifest["bootstrap"]["fit_error"] == "jackknife over 3 folds"
    new = make_predictions(3, 150, 30, random_state=6)
    names = [f"new{i}" for i in range(150)]
    held = compare(unsteady, ["greedy"], holdout=PredictionSet(new.to_array(), names, y_true=new.y_true), **options)
    assert not held.results["greedy"].fit_deviations["chosen"].any()
    assert held.manifest["bootstrap"]["fit_error"] is None


def test_equal_methods_differ_by_exactly_nothing(unsteady):
    """The fits' errors are drawn together: what is the same predictor twice has limits of 0."""
    from stacking.combiners.registry import create_method

    same = {"one": create_method("greedy"), "two": create_method("greedy")}
    found = compare(unsteady, same, n_splits=3, n_bootstrap=100).difference("one", "two")
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_all_three_decisions_have_their_own_error(unsteady):
    found = compare(unsteady, ["mean"], n_splits=3, n_bootstrap=50, rule="single").results["mean"].fit_deviations
    assert all(errors.any() for errors in found.values())
    np.testing.assert_array_equal(found["chosen"], found["single"])
    assert (found["chosen"] != found["per_label"]).any()


def test_what_learns_nothing_owes_nothing_to_its_fits(unsteady):
    """The plain mean at .5 decides the same whatever it is fitted on."""
    found = compare(unsteady, ["mean"], n_splits=3, n_bootstrap=50, rule="half").results["mean"].fit_deviations
    np.testing.assert_allclose(found["chosen"], 0.0, atol=1e-15)
