"""Searched weights: equal to plain numpy searches, seeds, limits, samples, held-out gain."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

from optimizers import list_optimizers
from stacking.combiners.voting import WeightedVoting
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.metrics import log_loss, micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions


def make_rows(seed, n_samples=3000, n_labels=12):
    """Five models of falling quality and uneven calibration; returns scores and truth."""
    sharpness, bias = np.array([1.0, 1.3, 0.7, 1.5, 0.5])[:, None, None], np.array([0.0, 0.6, -0.5, 0.4, 1.0])
    made = make_predictions(
        5,
        n_samples,
        n_labels,
        random_state=seed,
        frequency=np.geomspace(0.6, 0.01, n_labels),
        noise=0.7 * np.array([1.6, 1.7, 1.9, 2.5, 4.0]),
        signal=2.5,
        offset=np.log(np.geomspace(0.6, 0.005, n_labels)) + bias[:, None, None] / sharpness,
        sharpness=sharpness,
    )
    return made.to_array(), made.y_true


@pytest.fixture(scope="module")
def rows():
    return make_rows(0)


def caruana_weights(y_scores, y_true, n_iterations=25):
    """Caruana selection at .5, the plain way."""
    n_models = len(y_scores)
    copies, best = np.zeros(n_models), (-1.0, None)
    for size in range(1, n_iterations + 1):
        reached = []
        for model in range(n_models):
            weights = ((copies + np.eye(n_models)[model]) / size).astype(np.float32)
            mixed = np.zeros(y_true.shape, dtype=np.float32)
            for weight, scores in zip(weights, y_scores, strict=True):
                if weight:
                    mixed += weight * scores
            reached.append(micro_f1(y_true, mixed >= 0.5))
        top = np.flatnonzero(np.array(reached) >= max(reached) - 1e-12)
        chosen = top[np.argmax(copies[top] > 0)]
        copies[chosen] += 1
        if reached[chosen] > best[0] + 1e-12:
            best = (reached[chosen], copies / size)
    return best


def test_greedy_at_half_is_caruana_selection(rows):
    reached, weights = caruana_weights(*rows)
    voting = WeightedVoting(objective="micro-f1-half").fit(*rows)
    np.testing.assert_allclose(voting.shared_weights_, weights, atol=1e-12)
    assert 1 - voting.loss_ == pytest.approx(reached, abs=1e-12)
    assert micro_f1(rows[1], voting.predict_proba(rows[0]) >= 0.5) == pytest.approx(reached, abs=1e-12)


def test_slsqp_finds_the_optimum_of_log_loss(rows):
    from scipy.optimize import minimize

    voting = WeightedVoting("slsqp", "log-loss").fit(*rows)
    y_scores, y_true = rows[0].astype(float), rows[1]

    def loss(v):
        w = np.exp(v) / np.exp(v).sum()
        return log_loss(y_true, np.clip(np.tensordot(w, y_scores, 1), 0, 1))

    reference = minimize(loss, np.zeros(5), method="L-BFGS-B", options={"maxiter": 60})
    assert voting.loss_ <= reference.fun + 1e-7
    softmax = np.exp(reference.x) / np.exp(reference.x).sum()
    np.testing.assert_allclose(voting.shared_weights_, softmax, atol=0.01)


def test_the_best_threshold_objective_holds_out_better_than_half(rows):
    y_test_scores, y_test = make_rows(1)
    reached = {}
    for objective in ("micro-f1-half", "micro-f1-best"):
        voting = WeightedVoting(objective=objective).fit(*rows)
        thresholds = tune_thresholds(voting.predict_proba(rows[0]), rows[1], "single")
        reached[objective] = micro_f1(y_test, apply_thresholds(voting.predict_proba(y_test_scores), thresholds))
    assert reached["micro-f1-best"] > reached["micro-f1-half"]
    tuned = 1 - WeightedVoting().fit(*rows).loss_
    exact = tune_thresholds(WeightedVoting().fit(*rows).predict_proba(rows[0]), rows[1], "single")
    voting = WeightedVoting().fit(*rows)
    assert micro_f1(rows[1], voting.predict_proba(rows[0]) >= exact) == pytest.approx(tuned, abs=2e-3)


@pytest.mark.parametrize(
    ("optimizer", "objective", "options"),
    [
        ("greedy", "micro-f1-best", {}),
        ("greedy", "log-loss", {"n_iterations": 10}),
        ("pso", "micro-f1-half", {"n_iterations": 10}),
        ("hill-climbing", "log-loss", {"max_evaluations": 60}),
        ("slsqp", "log-loss", {}),
    ],
)
class TestEverySearch:
    def test_weights_lie_on_the_simplex_and_beat_every_single(self, rows, optimizer, objective, options):
        voting = WeightedVoting(optimizer, objective, optimizer_options=options).fit(*rows)
        assert voting.weights_.shape == (5, 12)
        assert (voting.weights_ >= 0).all()
        np.testing.assert_allclose(voting.weights_.sum(axis=0), 1.0)
        for model in range(5):
            single = WeightedVoting("greedy", objective).fit(rows[0][[model]], rows[1])
            assert voting.loss_ <= single.loss_ + 1e-9
        evaluations, losses = np.array(voting.history_).T
        assert (np.diff(losses) <= 0).all()
        assert evaluations[-1] == voting.n_evaluations_
        assert losses[-1] == pytest.approx(voting.loss_)

    def test_same_seed_same_weights_also_after_clone_and_pickle(self, rows, optimizer, objective, options):
        voting = WeightedVoting(optimizer, objective, random_state=3, optimizer_options=options)
        first = voting.fit(*rows)
        again = clone(voting).fit(*rows)
        np.testing.assert_array_equal(first.weights_, again.weights_)
        loaded = pickle.loads(pickle.dumps(first))
        np.testing.assert_array_equal(loaded.predict_proba(rows[0]), first.predict_proba(rows[0]))
        values, arrays, texts = first._state()
        rebuilt = WeightedVoting._from_state(json.loads(json.dumps(values)), arrays, texts)
        np.testing.assert_array_equal(rebuilt.predict_proba(rows[0]), first.predict_proba(rows[0]))

    def test_permuting_permutes(self, rows, optimizer, objective, options):
        if optimizer in ("pso", "hill-climbing"):
            pytest.skip("a seeded walk is another walk on permuted models")
        rng = np.random.default_rng(1)
        models, samples, labels = rng.permutation(5), rng.permutation(3000), rng.permutation(12)
        expected = WeightedVoting(optimizer, objective, optimizer_options=options).fit(*rows)
        moved = rows[0][models][:, samples][:, :, labels], rows[1][samples][:, labels]
        got = WeightedVoting(optimizer, objective, optimizer_options=options).fit(*moved)
        tolerance = 2e-3 if optimizer == "slsqp" else 1e-6
        np.testing.assert_allclose(got.weights_, expected.weights_[models], atol=tolerance)


@pytest.mark.parametrize(("optimizer", "objective"), [("greedy", "micro-f1-best"), ("slsqp", "log-loss")])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_members(rows, optimizer, objective, limit):
    voting = WeightedVoting(optimizer, objective, max_members=limit).fit(*rows)
    assert np.count_nonzero(voting.shared_weights_ > 1e-6) <= limit
    np.testing.assert_allclose(voting.weights_.sum(axis=0), 1.0)
    if limit == 1:
        assert voting.shared_weights_.max() == 1.0


def test_more_rows_than_max_rows_are_sampled_and_said(rows):
    voting = WeightedVoting(max_rows=1000).fit(*rows)
    assert 950 <= voting.n_tuning_rows_ <= 1000
    np.testing.assert_array_equal(voting.weights_, WeightedVoting(max_rows=1000).fit(*rows).weights_)
    assert WeightedVoting(max_rows=None).fit(*rows).n_tuning_rows_ == 3000
    reached = micro_f1(rows[1], voting.predict_proba(rows[0]) >= 0.35)
    whole = micro_f1(rows[1], WeightedVoting().fit(*rows).predict_proba(rows[0]) >= 0.35)
    assert reached == pytest.approx(whole, abs=0.02)


@pytest.mark.parametrize("objective", ["micro-f1-best", "micro-f1-half", "log-loss"])
def test_integer_weights_are_repetitions_and_unknown_cells_do_not_count(rows, objective):
    y_scores, y_true = rows[0][:, :600], rows[1][:600]
    rng = np.random.default_rng(0)
    times = rng.integers(0, 3, 600)
    weighted = PredictionSet(y_scores, y_true=y_true, sample_weight=times)
    repeated = WeightedVoting(objective=objective).fit(
        np.repeat(y_scores, times, axis=1), np.repeat(y_true, times, axis=0)
    )
    got = WeightedVoting(objective=objective).fit(weighted)
    assert got.loss_ == pytest.approx(repeated.loss_, rel=1e-5)
    y_known = rng.random(y_true.shape) < 0.7
    flipped = np.where(y_known, y_true, 1 - y_true)
    first, second = (
        WeightedVoting(objective=objective).fit(PredictionSet(y_scores, y_true=truth, y_known=y_known))
        for truth in (y_true, flipped)
    )
    np.testing.assert_array_equal(first.weights_, second.weights_)


def test_a_specialist_gets_weight_only_where_it_answers(rows):
    y_scores, y_true = rows[0].copy(), rows[1]
    covers = np.ones((5, 12), dtype=bool)
    covers[0, 6:] = False
    y_scores[0, :, 6:] = np.nan
    predictions = PredictionSet(y_scores, y_true=y_true, covers=covers)
    for optimizer, objective in (("greedy", "micro-f1-best"), ("slsqp", "log-loss")):
        voting = WeightedVoting(optimizer, objective).fit(predictions)
        assert voting.shared_weights_[0] > 0
        assert (voting.weights_[0, 6:] == 0).all()
        np.testing.assert_allclose(voting.weights_.sum(axis=0), 1.0)
        assert np.isfinite(voting.predict_proba(predictions)).all()


def test_cross_fitted_scores_do_not_see_their_fold(rows):
    y_scores, y_true = rows[0][:, :400], rows[1][:400]
    folds = np.arange(400) % 4
    score = WeightedVoting().predict_out_of_fold(PredictionSet(y_scores, y_true=y_true), folds=folds)
    changed = np.where((folds == 0)[:, None], 1 - y_true, y_true)
    again = WeightedVoting().predict_out_of_fold(PredictionSet(y_scores, y_true=changed), folds=folds)
    np.testing.assert_array_equal(score[folds == 0], again[folds == 0])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"objective": "f1"}, ValueError, "objective must be one of"),
        ({"mean": "harmonic"}, ValueError, "mean must be one of"),
        ({"optimizer": "greedi"}, ValueError, "greedy"),
        ({"optimizer": "slsqp"}, TypeError, "value_and_gradient"),
        ({"optimizer_options": {"n_iteration": 3}}, TypeError, "n_iterations"),
        ({"max_members": 0}, ValueError, "max_members must be at least 1"),
        ({"max_rows": 0}, ValueError, "max_rows must be at least 1"),
    ],
)
def test_wrong_parameters_are_named_at_fit(rows, parameters, error, message):
    with pytest.raises(error, match=message):
        WeightedVoting(**parameters).fit(*rows)


def test_importing_voting_does_not_load_numba_or_scipy_optimize():
    code = "import sys, stacking.combiners.voting; sys.exit('numba' in sys.modules or 'pyswarms' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_convex_weights_of_39_real_models_hold_out_on_unseen_artists(shared_data):
    with np.load(shared_data / "jamendo_moodtheme" / "predictions.npz") as table:
        y_scores, y_true, groups = table["y_scores"].astype(np.float32), table["y_true"], table["groups"]
    artists = np.unique(groups)
    rng = np.random.default_rng(0)
    tuning = np.isin(groups, rng.permutation(artists)[: int(0.65 * len(artists))])
    voting = WeightedVoting(optimizer="slsqp", objective="log-loss").fit(y_scores[:, tuning], y_true[tuning])
    thresholds = tune_thresholds(voting.predict_proba(y_scores[:, tuning]), y_true[tuning], "single")
    reached = micro_f1(y_true[~tuning], apply_thresholds(voting.predict_proba(y_scores[:, ~tuning]), thresholds))
    assert reached > 0.22


@pytest.mark.parametrize("objective", ["micro-f1-best", "micro-f1-half"])
@pytest.mark.parametrize("optimizer", sorted({*list_optimizers()} - {"slsqp"}))  # slsqp is for the log loss alone
def test_no_search_ends_worse_in_sample_than_the_best_single(optimizer, objective):
    predictions = make_predictions(n_samples=80)
    options = {"n_iterations": 3} if optimizer == "pso" else None
    vote = WeightedVoting(optimizer, objective, random_state=0, optimizer_options=options)
    found = vote.fit(predictions).predict_proba(predictions)

    def reached(y_score):
        rule = "single" if objective == "micro-f1-best" else "half"
        cuts = tune_thresholds(y_score, predictions.y_true, rule)
        return micro_f1(predictions.y_true, apply_thresholds(y_score, cuts))

    assert reached(found) >= max(reached(scores) for scores in predictions.to_array()) - 1e-9


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("recall-at-13", "looks at 13 labels, more than the 12"),
        ("matthews_corrcoef", "matthews_corrcoef must take truth and answers of shape"),
    ],
)
def test_a_metric_that_cannot_measure_this_truth_is_refused_before_the_search(rows, objective, message):
    with pytest.raises(ValueError, match=message):
        WeightedVoting(objective=objective).fit(*rows)
