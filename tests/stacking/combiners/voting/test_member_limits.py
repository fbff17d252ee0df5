"""Limits on the members of a vote, and the weights that a search starts from."""

import itertools
import json

import numpy as np
import pytest
from sklearn.base import clone

from optimizers import minimize
from stacking.combiners.registry import create_method
from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.member_limits import MemberLimits, within_limits
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.testing import make_predictions

COSTS = [5.0, 1.0, 2.0, 1.0]


@pytest.fixture(scope="module")
def predictions():
    """Four members; the best one is the most costly."""
    return make_predictions(
        4,
        600,
        5,
        frequency=np.geomspace(0.5, 0.05, 5),
        noise=[0.8, 1.2, 1.1, 1.6],
        offset=np.log(np.geomspace(0.5, 0.05, 5)),
    )


def used_cost(voting):
    return float(np.array(COSTS)[(voting.weights_ > 0).any(axis=1)].sum())


@pytest.mark.parametrize("weights_per", ["model", "label"])
@pytest.mark.parametrize(
    ("optimizer", "objective", "options"),
    [
        ("greedy", "micro-f1-best", {}),
        ("slsqp", "log-loss", {}),
        ("pso", "micro-f1-half", {"n_iterations": 5, "n_particles": 6}),
    ],
)
def test_members_cost_no_more_than_the_limit(predictions, optimizer, objective, options, weights_per):
    parameters = {"optimizer": optimizer, "objective": objective, "weights_per": weights_per}
    free = WeightedVoting(**parameters, optimizer_options=options).fit(predictions)
    assert free.weights_[0].max() > 0
    for max_cost in (1, 3, 4):
        limited = WeightedVoting(**parameters, optimizer_options=options, member_costs=COSTS, max_cost=max_cost)
        limited.fit(predictions)
        assert used_cost(limited) <= max_cost
        np.testing.assert_allclose(limited.weights_.sum(axis=0), 1.0)
        assert limited.loss_ >= free.loss_ - 1e-9 or optimizer == "pso"
    wide = WeightedVoting(**parameters, optimizer_options=options, member_costs=COSTS, max_cost=9).fit(predictions)
    np.testing.assert_array_equal(wide.shared_weights_, free.shared_weights_)


def test_one_affordable_member_is_the_best_affordable_one(predictions):
    limited = WeightedVoting(member_costs=COSTS, max_cost=2, max_members=1).fit(predictions)
    losses = create_objective("micro-f1-best", predictions)(np.eye(4))
    assert limited.shared_weights_[np.argmin(np.where(np.array(COSTS) <= 2, losses, np.inf))] == 1.0


def test_costs_by_name_are_the_same_as_in_order_and_survive_clone_and_save(predictions, tmp_path):
    by_name = {"model2": 2.0, "model0": 5.0, "model1": 1.0, "model3": 1.0}
    first = WeightedVoting(member_costs=COSTS, max_cost=3).fit(predictions)
    second = clone(WeightedVoting(member_costs=by_name, max_cost=3)).fit(predictions)
    np.testing.assert_array_equal(first.weights_, second.weights_)
    values, arrays, texts = second._state()
    rebuilt = WeightedVoting._from_state(json.loads(json.dumps(values)), arrays, texts)
    np.testing.assert_array_equal(rebuilt.predict_proba(predictions), first.predict_proba(predictions))
    ensemble = StackingEnsemble(method="greedy-per-label", n_splits=2).fit(predictions)
    ensemble.save(tmp_path / "ensemble")
    loaded = StackingEnsemble.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(loaded.predict_proba(predictions), ensemble.predict_proba(predictions))


def test_the_heaviest_that_fit_are_kept_and_none_is_wasted():
    limits = MemberLimits(np.array(COSTS), 4.0, 2)
    assert limits.keep_heaviest(np.array([0.7, 0.2, 0.1, 0.0])).tolist() == [1, 2]
    assert limits.keep_heaviest(np.array([1.0, 0.0, 0.0, 0.0])).tolist() == [1]
    allowed = [
        used
        for size in range(1, 5)
        for used in itertools.combinations(range(4), size)
        if size <= 2 and sum(COSTS[member] for member in used) <= 4
    ]
    for size in range(1, 5):
        for used in itertools.combinations(range(4), size):
            weights = np.zeros((1, 4))
            weights[0, list(used)] = 1 / size
            assert limits.allow(weights)[0] == (used in allowed)


def test_only_allowed_candidates_are_scored():
    limits = MemberLimits(np.array(COSTS), 4.0, 4)
    seen = []
    limited = within_limits(lambda weights: (seen.append(len(weights)), weights[:, 1])[1], limits)
    np.testing.assert_array_equal(limited(np.eye(4)), [np.inf, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(limited(np.eye(4)[:1]), [np.inf])
    assert seen == [3]


class TestStarts:
    """A start with a budget that allows nothing else is the answer if it is better than the default starts."""

    def test_convex_and_greedy_starts_are_reached_at_once(self, predictions):
        objective = create_objective("micro-f1-best", predictions)
        convex = minimize(create_objective("log-loss", predictions), 4, "slsqp", random_state=0).weights
        for start, expected in (("convex", convex), ("greedy", WeightedVoting().fit(predictions).shared_weights_)):
            options = {"max_evaluations": 6}
            voting = WeightedVoting("random-search", start=start, optimizer_options=options).fit(predictions)
            known = np.vstack([np.full(4, 0.25), np.eye(4), expected])
            assert voting.loss_ == pytest.approx(objective(known).min(), abs=1e-12)
        np.testing.assert_allclose(voting.shared_weights_, expected)

    def test_given_weights(self, predictions):
        best = WeightedVoting().fit(predictions)
        options = {"max_evaluations": 6}
        voting = clone(WeightedVoting("random-search", start=best.shared_weights_, optimizer_options=options))
        np.testing.assert_allclose(voting.fit(predictions).shared_weights_, best.shared_weights_)
        limited = WeightedVoting("random-search", start=best.shared_weights_, max_members=1, optimizer_options=options)
        assert limited.fit(predictions).shared_weights_.max() == 1.0

    @pytest.mark.parametrize("start", ["convex", "greedy"])
    def test_a_warm_start_keeps_the_limits(self, predictions, start):
        for optimizer in ("greedy", "hill-climbing"):
            voting = WeightedVoting(
                optimizer, start=start, member_costs=COSTS, max_cost=3, optimizer_options={"max_evaluations": 40}
            )
            assert used_cost(voting.fit(predictions)) <= 3

    def test_a_registered_method_takes_them(self, predictions):
        limited = create_method("greedy", start="convex", member_costs=COSTS, max_cost=2).fit(predictions)
        assert used_cost(limited) <= 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_cost": 3}, "member_costs and max_cost belong together: got max_cost alone"),
        ({"member_costs": COSTS}, "member_costs and max_cost belong together: got member_costs alone"),
        ({"member_costs": COSTS, "max_cost": 0.5}, "max_cost must afford at least one member"),
        ({"member_costs": COSTS, "max_cost": np.nan}, "max_cost must afford at least one member"),
        ({"member_costs": [1, 2], "max_cost": 2}, "member_costs must hold one value per model"),
        ({"member_costs": [1, 2, -1, 1], "max_cost": 2}, "member_costs must be finite and not negative"),
        ({"member_costs": {"model0": 1}, "max_cost": 2}, "member_costs must name every member: 'model1'"),
        (
            {"member_costs": {f"model{i}": 1 for i in range(4)} | {"modell": 1}, "max_cost": 2},
            "member_costs must name members only: got 'modell'.*Did you mean",
        ),
        ({"start": "best"}, "start must be one of"),
        ({"start": [0.5, 0.5]}, "start must hold one value per model"),
        ({"start": [0.5, 0.5, 0.5, 0.5]}, "start must sum to 1"),
    ],
)
def test_wrong_limits_and_starts_are_named(predictions, parameters, message):
    with pytest.raises(ValueError, match=message):
        WeightedVoting(**parameters).fit(predictions)
