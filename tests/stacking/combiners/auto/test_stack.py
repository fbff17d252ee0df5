"""Shares and line of least log loss: the optimum, whatever the unit of weights and whatever does not count."""

import numpy as np
import pytest
from scipy.optimize import minimize

from stacking.combiners.auto import stack
from stacking.combiners.auto.stack import fit_line, stack_shares
from stacking.combiners.blend import average_scores
from stacking.truth import Truth


@pytest.fixture
def candidates(rng):
    """Two candidates that see the truth through noise of their own, and one that sees nothing."""
    y_true = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    seen = 3.0 * y_true - 1.5
    noise = rng.normal(size=(3, 400, 5))
    logits = {"a": seen + noise[0], "b": seen + 2 * noise[1], "nothing": 2 * noise[2]}
    return {name: (1 / (1 + np.exp(-z))).astype(np.float32) for name, z in logits.items()}, y_true


def log_loss(shares, logits, y_true, intercept):
    answer = np.tensordot(shares, logits, 1) + intercept
    return np.mean(np.logaddexp(0.0, answer) - y_true * answer)


def test_no_other_shares_have_a_lower_log_loss(candidates):
    held_out, y_true = candidates
    shares = stack_shares(held_out, Truth.check(y_true))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert "nothing" not in shares
    logits = np.stack([np.log(s / (1 - s)) for s in held_out.values()]).astype(float)
    best = minimize(
        lambda v: log_loss(v[:3], logits, y_true, v[3]), [1 / 3] * 3 + [0.0], bounds=[(0, None)] * 3 + [(None, None)]
    ).x[:3]
    np.testing.assert_allclose([shares.get(name, 0.0) for name in held_out], best / best.sum(), atol=0.02)


@pytest.fixture
def many_members(rng):
    """The mean logit of twenty equal members, whose evidence together is a multiple of it, and one loud voice."""
    y_true = (rng.random((200, 10)) < 0.2).astype(np.uint8)
    members = 2.0 * y_true - 1.5 + 6.0 * rng.normal(size=(20, 200, 10))
    loud = 3.0 * y_true - 3.0 + 1.5 * rng.normal(size=(200, 10))  # one voice, right as a probability
    held_out = {name: 1 / (1 + np.exp(-z)) for name, z in {"geometric": members.mean(axis=0), "loud": loud}.items()}
    return {name: scores.astype(np.float32) for name, scores in held_out.items()}, y_true


def test_the_mean_of_many_equal_members_is_not_left_for_something_louder(many_members):
    held_out, y_true = many_members
    logits = np.stack([np.log(s / (1 - s)) for s in held_out.values()]).astype(float)
    fixed = minimize(lambda v: log_loss(np.array([v[0], 1 - v[0]]), logits, y_true, v[1]), [0.5, 0.0]).x[0]
    assert stack_shares(held_out, Truth.check(y_true))["geometric"] > fixed + 0.05


def test_the_line_gives_an_average_the_least_log_loss(many_members):
    held_out, y_true = many_members
    scores = held_out["geometric"]
    logits = np.log(scores / (1 - scores)).astype(float)
    line = fit_line(scores, Truth.check(y_true))
    best = minimize(lambda v: log_loss(v[:1], logits[None], y_true, v[1]), [1.0, 0.0])
    assert line[0] == pytest.approx(best.x[0], abs=0.02)
    assert line[1] == pytest.approx(best.x[1], abs=0.02)
    scaled = average_scores([scores], line=line)
    np.testing.assert_allclose(np.log(scaled / (1 - scaled)), line[0] * logits + line[1], atol=1e-4)
    assert fit_line(scaled, Truth.check(y_true)) == pytest.approx((1.0, 0.0), abs=0.02)


@pytest.mark.parametrize("truth", [0, 1])
def test_one_class_leaves_an_average_as_it_is(truth):
    y_true = np.full((20, 2), truth, dtype=np.uint8)
    assert fit_line(np.full((20, 2), 0.3, np.float32), Truth.check(y_true)) == (1.0, 0.0)


def test_what_is_always_right_ends(rng):
    y_true = (rng.random((50, 3)) < 0.4).astype(np.uint8)
    held_out = {
        "sure": np.where(y_true > 0, 0.9, 0.1).astype(np.float32),
        "half": np.full(y_true.shape, 0.5, np.float32),
    }
    assert stack_shares(held_out, Truth.check(y_true))["sure"] > 0.5
    scaled = average_scores([held_out["sure"]], line=fit_line(held_out["sure"], Truth.check(y_true)))
    assert 0.005 < scaled.min() < 0.03  # not certain: as if one more row of either class were wrong
    assert 0.005 < 1 - scaled.max() < 0.03


def test_what_does_not_count_moves_no_share(candidates, rng):
    held_out, y_true = candidates
    known, weight = rng.random(y_true.shape) < 0.8, np.repeat([1.0, 2.0, 0.0, 1.0], 100)
    shares = stack_shares(held_out, Truth.check(y_true, y_known=known, sample_weight=weight))
    hidden = ~known | (weight == 0)[:, None]
    other = {name: np.where(hidden, np.float32(0.9), scores) for name, scores in held_out.items()}
    flipped = np.where(hidden, 1 - y_true, y_true)
    again = stack_shares(other, Truth.check(flipped, y_known=known, sample_weight=7 * weight))
    assert again == pytest.approx(shares, abs=1e-6)
    line = fit_line(held_out["b"], Truth.check(y_true, y_known=known, sample_weight=weight))
    again = fit_line(other["b"], Truth.check(flipped, y_known=known, sample_weight=7 * weight))
    assert again == pytest.approx(line, abs=1e-6)


def test_thinned_cells_stand_for_all(candidates, monkeypatch):
    held_out, y_true = candidates
    whole = stack_shares(held_out, Truth.check(y_true))
    monkeypatch.setattr(stack, "MOST_POSITIVES", 300)
    monkeypatch.setattr(stack, "LEAST_NEGATIVES", 300)
    monkeypatch.setattr(stack, "NEGATIVES_PER_POSITIVE", 2)
    assert stack_shares(held_out, Truth.check(y_true)) == pytest.approx(whole, abs=0.1)
    thinned = fit_line(held_out["a"], Truth.check(y_true))
    monkeypatch.undo()
    assert thinned == pytest.approx(fit_line(held_out["a"], Truth.check(y_true)), abs=0.2)


def test_units_are_as_many_as_carry_the_positives():
    even = np.ones((60, 2), dtype=np.uint8)
    assert Truth.check(even).effective_units == pytest.approx(60)
    assert Truth.check(even, groups=np.arange(60) % 6).effective_units == pytest.approx(6)
    assert Truth.check(even, groups=np.maximum(np.arange(60) - 50, 0)).effective_units < 2
    assert Truth.check(np.zeros((5, 2), dtype=np.uint8)).effective_units == 0
