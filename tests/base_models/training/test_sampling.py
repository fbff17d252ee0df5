"""Sampling by label frequency: the closed form, exact draws, what is reached."""

import numpy as np
import pytest

from base_models.training.sampling import create_sampler, label_weights, reached_exponent, share_of_rows

COUNTS = np.array([1000, 200, 30, 4])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
def test_weights_solve_the_two_equations(alpha):
    weights = label_weights(COUNTS, alpha)
    assert (weights * COUNTS).sum() == pytest.approx(COUNTS.sum())
    ratios = np.outer(weights * COUNTS, 1 / (weights * COUNTS))
    np.testing.assert_allclose(ratios, np.divide.outer(COUNTS, COUNTS) ** alpha, rtol=1e-9)


def test_a_label_without_positives_weighs_nothing():
    weights = label_weights(np.array([9, 0, 1]), 0.5)
    assert weights[1] == 0 and np.isfinite(weights).all()


def one_label_each(counts):
    return np.repeat(np.eye(len(counts), dtype=np.uint8), counts, axis=0)


@pytest.mark.parametrize("combine", ["mean", "max", "sum"])
@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_the_target_is_reached_where_photos_hold_one_label(alpha, combine):
    truth = one_label_each(COUNTS)
    sampler = create_sampler(np.arange(len(truth)) + 7, truth, alpha, combine)
    drawn = sampler.draw(3, 0)
    assert len(drawn) == len(truth) and drawn.min() >= 7
    wanted = COUNTS**alpha / (COUNTS**alpha).sum() * len(truth)
    np.testing.assert_allclose(truth[drawn - 7].sum(axis=0), wanted, rtol=0.05)
    figures = sampler.figures(drawn)
    assert figures["sampling_target"] == alpha
    assert figures["sampling_reached"] == pytest.approx(alpha, abs=0.03)
    weight = (wanted / COUNTS)[truth.argmax(axis=1)]
    assert figures["effective_sample_size"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_frequent_labels_ride_along_and_that_is_said(rng):
    truth = one_label_each(COUNTS)
    truth[:, 0] = 1
    sampler = create_sampler(np.arange(len(truth)), truth, 0.0, "mean")
    reached = sampler.figures(sampler.draw(0, 0))["sampling_reached"]
    assert 0.1 < reached < 1


def test_each_row_occurs_as_often_as_its_weight_says_rounded_down_or_up(rng):
    truth = (rng.random((500, 6)) < [0.7, 0.4, 0.2, 0.1, 0.05, 0.01]).astype(np.uint8)
    sampler = create_sampler(np.arange(500), truth, 0.3, "max")
    times = np.bincount(sampler.draw(1, 2), minlength=500)
    wanted = 500 * sampler.weights / sampler.weights.sum()
    assert np.all(np.abs(times - wanted) < 1)


def test_a_draw_depends_on_seed_and_epoch_alone(rng):
    truth = (rng.random((80, 4)) < 0.4).astype(np.uint8)
    sampler = create_sampler(np.arange(80), truth, 0.5, "sum")
    first = sampler.draw(1, 4)
    sampler.draw(1, 5)
    np.testing.assert_array_equal(sampler.draw(1, 4), first)
    assert not np.array_equal(np.sort(sampler.draw(1, 5)), np.sort(first))
    assert not np.array_equal(np.sort(sampler.draw(2, 4)), np.sort(first))


def test_rows_without_labels_weigh_one():
    truth = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], np.uint8)
    assert create_sampler(np.arange(4), truth, 0.0, "max").weights.tolist() == [0.75, 1.0, 1.5, 0.75]
    with pytest.raises(ValueError, match="sampling_weight must be one of mean, max, sum"):
        create_sampler(np.arange(4), truth, 0.0, "product")


def test_equal_counts_have_no_exponent_but_one():
    assert reached_exponent(np.array([5, 5]), np.array([2, 9])) == 1.0
    assert reached_exponent(np.array([0, 5]), np.array([0, 9])) == 1.0


def test_shares_are_nested():
    rows = np.arange(100, 160)
    tenth, half = share_of_rows(rows, 0.1, 4), share_of_rows(rows, 0.5, 4)
    assert len(tenth) == 6 and len(half) == 30 and set(tenth) < set(half) < set(rows)
    assert share_of_rows(rows, 1.0, 4) is rows and len(share_of_rows(rows, 1e-6, 4)) == 1
