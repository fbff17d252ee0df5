"""Weights per label and per group: the optimum by brute force, shrinkage, coverage, held-out gain."""

import itertools

import numpy as np
import pytest

from stacking.combiners.registry import create_method
from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.label_weights import GroupSearch, search_label_weights
from stacking.combiners.voting.objectives.per_label import MicroF1PerLabel
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.metrics import micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions

ONE_BY_ONE = {"max_evaluations": 10**9}  # a budget is kept for each search, which is why they do not run together
OBJECTIVES = ["micro-f1-best", "micro-f1-per-label", "macro-f1", "mean-average-precision", "log-loss"]


def make_set(seed, n_samples=800, **metadata):
    """Two members that each see their half of the labels well, and one that sees all a little."""
    noise = np.full((3, 8), 2.0)
    noise[0, ::2] = noise[1, 1::2] = 0.7
    settings = {"frequency": np.geomspace(0.5, 0.05, 8), "offset": np.log(np.geomspace(0.5, 0.03, 8))}
    return make_predictions(3, n_samples, 8, random_state=seed, noise=noise, **settings, **metadata)


def held_out_score(voting, tuning, test):
    thresholds = tune_thresholds(voting.predict_proba(tuning), tuning.y_true, "exact-micro-f1")
    return micro_f1(test.y_true, apply_thresholds(voting.predict_proba(test), thresholds))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("group_of", [[0, 1, 2], [0, 1, 0]])
def test_the_price_iteration_finds_the_optimum_of_a_grid(seed, group_of):
    """Searched exhaustively, each group on a grid of weights, it equals the best of all combinations."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, (12, 3))
    y_true[0] = 1
    predictions = PredictionSet(rng.random((2, 12, 3)).round(1), y_true=y_true)
    grid = np.array([[w, 1 - w] for w in np.linspace(0, 1, 5)])

    def exhaust(objective, n_members, initial):
        tried = np.vstack([initial, grid])
        return tried[np.argmin(objective(tried))]

    search = GroupSearch("micro-f1-best", "arithmetic", exhaust, np.ones(2, dtype=bool), 0.0)
    group_of = np.array(group_of)
    found = search_label_weights(predictions, np.array([0.5, 0.5]), group_of, search)
    columns = [np.stack(pick, axis=1)[:, group_of] for pick in itertools.product(grid, repeat=group_of.max() + 1)]
    losses = MicroF1PerLabel(predictions)(np.stack(columns))
    assert MicroF1PerLabel(predictions)(found[None])[0] == pytest.approx(losses.min(), abs=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_own_weights_are_not_worse_in_sample_and_find_the_member_that_sees_the_label(objective):
    predictions = make_set(0)
    shared = WeightedVoting(objective=objective).fit(predictions)
    own = WeightedVoting(objective=objective, weights_per="label", shrinkage=0).fit(predictions)
    np.testing.assert_array_equal(own.shared_weights_, shared.shared_weights_)
    np.testing.assert_allclose(own.weights_.sum(axis=0), 1.0)
    assert (own.weights_ >= 0).all()
    assert (own.weights_[0, :6:2] > 0.5).all()
    assert (own.weights_[1, 1:6:2] > 0.5).all()
    if objective.startswith("micro"):
        losses = MicroF1PerLabel(predictions)(np.stack([own.weights_, shared.weights_]))
        assert losses[0] < losses[1]


def test_own_weights_hold_out_better_where_members_differ_by_label():
    tuning, test = make_set(0, 3000), make_set(1, 3000)
    shared, own = (create_method(name).fit(tuning) for name in ("greedy", "greedy-per-label"))
    assert held_out_score(own, tuning, test) > held_out_score(shared, tuning, test) + 0.02


def test_shrinkage_is_in_positives():
    predictions = make_set(0)
    vote = WeightedVoting("slsqp", "log-loss", weights_per="label", shrinkage=0)
    whole = vote.fit(predictions)
    half = WeightedVoting("slsqp", "log-loss", weights_per="label", shrinkage=50).fit(predictions)
    positives = predictions.y_true.sum(axis=0)
    share = positives / (positives + 50)
    expected = share * whole.weights_ + (1 - share) * whole.shared_weights_[:, None]
    np.testing.assert_allclose(half.weights_, expected, atol=1e-12)


def test_own_weights_come_nearer_to_the_shared_ones_the_stronger_the_shrinkage():
    predictions = make_set(0)
    distances = []
    for shrinkage in (0, 30, 300, 1e9):
        voting = WeightedVoting(weights_per="label", shrinkage=shrinkage).fit(predictions)
        distances.append(np.abs(voting.weights_ - voting.shared_weights_[:, None]).max())
    assert distances[0] > distances[1] > distances[2] > distances[3]
    assert distances[3] < 1e-6


@pytest.mark.parametrize("objective", ["micro-f1-best", "log-loss"])
def test_labels_of_a_group_share_their_weights(objective):
    predictions = make_set(0, label_groups=["even", "odd"] * 4)
    voting = WeightedVoting(objective=objective, weights_per="group", shrinkage=0).fit(predictions)
    np.testing.assert_allclose(voting.weights_, voting.weights_[:, [0, 1] * 4], atol=1e-12)
    assert voting.weights_[0, 0] > 0.5 > voting.weights_[0, 1]
    np.testing.assert_array_equal(
        voting.predict_proba(predictions.subset(labels=list(reversed(predictions.labels)))),
        voting.predict_proba(predictions),
    )


@pytest.mark.parametrize("objective", ["micro-f1-best", "log-loss"])
def test_coverage_a_label_without_positives_and_weights_of_samples(objective):
    covers = np.ones((3, 8), dtype=bool)
    covers[0, 4:] = covers[1:, 3] = False
    predictions = make_set(0, covers=covers)
    truth = predictions.y_true.copy()
    truth[:, 7] = 0
    known = np.ones(truth.shape, dtype=bool)
    known[::3, 2] = False
    metadata = predictions.metadata() | {"y_true": truth, "y_known": known, "sample_weight": np.arange(800) % 3}
    predictions = PredictionSet(predictions.to_array(), **metadata)
    voting = WeightedVoting(objective=objective, weights_per="label").fit(predictions)
    assert (voting.weights_[~covers] == 0).all()
    np.testing.assert_allclose(voting.weights_.sum(axis=0), 1.0)
    rest = voting.shared_weights_[1:] / voting.shared_weights_[1:].sum()
    np.testing.assert_allclose(voting.weights_[1:, 7], rest)
    flipped = predictions.with_truth(np.where(known, truth, 1 - truth), known)
    again = WeightedVoting(objective=objective, weights_per="label").fit(flipped)
    np.testing.assert_array_equal(again.weights_, voting.weights_)


def test_without_any_positive_the_shared_weights_stay():
    predictions = make_set(0, 50)
    predictions = predictions.with_truth(np.zeros_like(predictions.y_true))
    voting = WeightedVoting(weights_per="label").fit(predictions)
    np.testing.assert_array_equal(voting.weights_, np.repeat(voting.shared_weights_[:, None], 8, axis=1))


def test_leaving_a_member_out_renormalizes_own_weights():
    predictions = make_set(0)
    voting = create_method("greedy-per-label").fit(predictions)
    weights = voting.weights_[1:] / voting.weights_[1:].sum(axis=0)
    expected = (weights[:, None] * predictions.to_array()[1:]).sum(axis=0)
    np.testing.assert_allclose(voting.predict_proba(predictions, without=["model0"]), expected, atol=1e-6)


def test_exact_convex_weights_per_label():
    predictions = make_set(0)
    own = WeightedVoting("slsqp", "log-loss", weights_per="label", shrinkage=0).fit(predictions)
    for label in (0, 5):
        alone = WeightedVoting("slsqp", "log-loss").fit(predictions.subset(labels=[label]))
        np.testing.assert_allclose(own.weights_[:, label], alone.shared_weights_, atol=2e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights_per": "labels"}, "weights_per must be one of .*Did you mean 'label'"),
        ({"weights_per": "group"}, "weights_per='group' needs the label_groups"),
        ({"shrinkage": -1}, "shrinkage must be finite and not negative"),
        ({"shrinkage": np.inf}, "shrinkage must be finite and not negative"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        WeightedVoting(**parameters).fit(make_set(0, 50))


@pytest.mark.parametrize("objective", ["micro-f1-best", "macro-f1", "mean-average-precision"])
@pytest.mark.parametrize("weights_per", ["label", "group"])
@pytest.mark.parametrize("n_models", [3, 9])
def test_labels_searched_together_find_what_each_finds_alone(objective, weights_per, n_models, rng, monkeypatch):
    """To the last bit, with labels that few members cover, ties, unknown cells, and whatever fits at once."""
    truth = (rng.random((60, 30)) < rng.choice([0.02, 0.1, 0.4], 30)).astype(np.uint8)
    scores = (1 / (1 + np.exp(2 - 2 * truth - rng.normal(size=(n_models, 60, 30))))).round(1)
    covers = rng.random((n_models, 30)) < 0.7
    covers[0] |= ~covers.any(axis=0)
    predictions = PredictionSet(
        np.where(covers[:, None], scores, np.nan),
        y_true=truth,
        covers=covers,
        y_known=rng.random(truth.shape) < 0.9,
        sample_weight=rng.random(60),
        label_groups=[f"group {label % 7}" for label in range(30)],
    )
    for options in ({}, {"max_members": 2}):
        found = []
        for at_once, more in ((4_000_000, {}), (400, {}), (4_000_000, ONE_BY_ONE)):
            monkeypatch.setattr("stacking.combiners.voting.label_weights._WEIGHTS_AT_ONCE", at_once)
            voting = WeightedVoting(
                objective=objective, weights_per=weights_per, shrinkage=0, optimizer_options=options | more
            )
            found.append(voting.fit(predictions).weights_)
        np.testing.assert_array_equal(found[0], found[2])
        np.testing.assert_array_equal(found[1], found[2])
        if weights_per == "label":  # searches that find something
            assert (found[0] != WeightedVoting(objective=objective).fit(predictions).weights_).any()
