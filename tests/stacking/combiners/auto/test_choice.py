"""What auto averages: the proven best, half a step towards it, or the mean with a little of the geometric mean."""

import numpy as np
import pytest

from stacking.combiners.auto.choice import choose_shares
from stacking.metrics.named import find_metric
from stacking.metrics.paired_difference import F1Counts
from stacking.truth import Truth

N_UNITS = 400


def counts(hits, n_units=N_UNITS, seed=0):
    """Ten labels fired and ten true in every unit, `hits` of them right on average."""
    right = np.random.default_rng(seed).binomial(10, hits / 10, n_units).astype(float)
    return F1Counts(np.column_stack([right, np.full(n_units, 10.0), np.full(n_units, 10.0)]))


def choose(judged, average=None):
    """Scores are constants; the judge is asked for averages alone."""
    held_out = {name: np.full((2, 1), 0.5, np.float32) for name in judged}
    return choose_shares(held_out, judged, lambda y_score: average)


@pytest.fixture
def pair(rng):
    """Two candidates that err apart, of which the better alone is proven better than the mean."""
    y_true = (rng.random((300, 4)) < 0.4).astype(np.uint8)
    logits = 2.0 * y_true - 1.0 + np.stack([1.5, 1.0])[:, None, None] * rng.normal(size=(2, 300, 4))
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return {"mean": scores[0], "ridge-context": scores[1]}, y_true


@pytest.mark.parametrize(
    ("n_groups", "worth", "fitted"), [(300, 7.0, True), (300, 6.0, False), (20, 6.0, False)], ids=str
)
def test_many_units_take_the_shares_of_least_log_loss_unless_the_proven_steps_score_more(pair, n_groups, worth, fitted):
    held_out, y_true = pair
    truth = Truth.check(y_true, groups=np.arange(300) % n_groups)
    judged = {"mean": counts(5.0), "ridge-context": counts(7.0, seed=2)}

    def judge(y_score):
        alone = np.array_equal(np.argsort(y_score, axis=0), np.argsort(held_out["ridge-context"], axis=0))
        return judged["ridge-context"] if alone else counts(worth, seed=2)

    choice = choose_shares(held_out, judged, judge, truth)
    assert (choice.shares != {"ridge-context": 1.0}) == fitted
    assert (choice.line == (1.0, 0.0)) == (n_groups == 20)
    if fitted:
        assert 0.05 < choice.shares["mean"] < choice.shares["ridge-context"]


@pytest.mark.parametrize(("worth", "shares"), [(7.0, [0.5, 0.5]), (6.0, [1.0])])
def test_with_few_groups_the_whole_step_must_be_proven_better_than_half_of_it(pair, worth, shares):
    held_out, y_true = pair
    judged = {"mean": counts(5.0), "ridge-context": counts(7.0, seed=2)}

    def judge(y_score):
        alone = np.array_equal(y_score, held_out["ridge-context"])
        return judged["ridge-context"] if alone else counts(worth, seed=2)

    choice = choose_shares(held_out, judged, judge, Truth.check(y_true, groups=np.arange(300) % 20))
    assert list(choice.shares.values()) == shares
    assert ("half step" in choice.reason) == (len(shares) == 2)
    assert "is proven better than the plain mean" in choice.reason


@pytest.mark.parametrize(
    ("name", "fitted"), [("micro-f1", False), ("macro-f1", True), ("map", True), ("0.5*micro-f1+0.5*map", True)]
)
def test_what_averages_over_labels_is_no_judge_of_held_out_scores_of_several_fits(pair, name, fitted):
    held_out, y_true = pair
    judged = {"mean": counts(5.0), "ridge-context": counts(7.0, seed=2)}

    def judge(y_score):
        alone = np.array_equal(np.argsort(y_score, axis=0), np.argsort(held_out["ridge-context"], axis=0))
        return judged["ridge-context"] if alone else counts(6.0, seed=2)

    choice = choose_shares(held_out, judged, judge, Truth.check(y_true), find_metric(name))
    assert (choice.shares != {"ridge-context": 1.0}) == fitted


def test_the_proven_best_is_taken_alone_where_no_other_is_near():
    choice = choose({"mean": counts(5.0), "geometric": counts(5.0, seed=1), "ridge-context": counts(7.0, seed=2)})
    assert choice.shares == {"ridge-context": 1.0}
    assert "no other" in choice.reason


def test_those_near_the_proven_best_are_averaged():
    judged = {"mean": counts(5.0), "a": counts(7.0, seed=2), "b": counts(7.0, seed=2), "c": counts(6.0)}
    choice = choose(judged, counts(7.1, seed=2))
    assert choice.shares == {"a": 0.5, "b": 0.5}
    assert "within one standard error of the best" in choice.reason
    choice = choose(judged, counts(6.8, seed=2))  # their average is worse than the best of them
    assert choice.shares == {"a": 1.0}
    assert "its average with those near it scores less" in choice.reason


def test_half_a_step_is_taken_where_only_that_is_proven():
    noisy = counts(5.0, 30).counts
    mean = F1Counts(noisy)
    whole, half = noisy.copy(), noisy.copy()
    whole[:, 0] += np.resize([3.0, -2.5], 30)
    half[:, 0] += np.resize([0.5, 0.4], 30)
    choice = choose({"mean": mean, "greedy": F1Counts(whole)}, F1Counts(half))
    assert choice.shares == {"mean": 0.5, "greedy": 0.5}


@pytest.mark.parametrize(("geometric", "shares"), [(5.0, {"mean": 0.9375, "geometric": 0.0625}), (3.0, {"mean": 1.0})])
def test_without_proof_the_mean_takes_a_little_of_a_geometric_mean_that_is_not_behind(geometric, shares):
    judged = {"mean": counts(5.0), "geometric": counts(geometric, seed=0 if geometric == 5.0 else 1)}
    choice = choose(judged, counts(5.0))
    assert choice.shares == shares
    assert "beyond doubt" in choice.reason


def test_the_mean_alone_is_an_answer():
    assert choose({"mean": counts(5.0)}).shares == {"mean": 1.0}
