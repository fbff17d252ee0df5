import csv
import importlib.util

import numpy as np
import pytest

from stacking.combiners.meta_learners import (
    LabelContextStacker,
    LabelwiseLogistic,
    PerLabelStacker,
    RidgeContext,
    logit_stacker,
)
from stacking.combiners.meta_learners.training_rows import describe_fallback
from stacking.combiners.voting import SoftVoting
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.folds import deal_folds
from stacking.links import sigmoid
from stacking.metrics import log_loss, mean_average_precision, micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import draw_scores, make_predictions

LINEAR = [LabelwiseLogistic, RidgeContext, LabelContextStacker]


def dependent(rng, n_samples=1500, n_labels=8):
    """Labels that come in pairs, and models that err together on a pair."""
    pair = rng.random((n_samples, n_labels // 2)) < 0.3
    y_true = np.repeat(pair, 2, axis=1) ^ (rng.random((n_samples, n_labels)) < 0.08)
    shared = np.repeat(rng.normal(size=(n_samples, n_labels // 2)), 2, axis=1)
    return PredictionSet(draw_scores(y_true, np.full(3, 0.8), rng, offset=1.2 * shared - 3.0), y_true=y_true)


@pytest.mark.parametrize("stacker", [*LINEAR, PerLabelStacker])
def test_random_labels_score_chance_out_of_fold(rng, stacker):
    y_true = (rng.random((600, 4)) < 0.3).astype(np.uint8)
    predictions = PredictionSet(rng.random((4, 600, 4)), y_true=y_true)
    y_score = stacker().predict_out_of_fold(predictions, folds=deal_folds(predictions.truth))
    assert mean_average_precision(y_true, y_score) == pytest.approx(y_true.mean(), abs=0.05)
    base_rate = log_loss(y_true, np.broadcast_to(y_true.mean(axis=0), y_true.shape))
    assert base_rate - 0.003 < log_loss(y_true, y_score) < base_rate + 0.03


@pytest.mark.parametrize("stacker", LINEAR)
def test_a_memorized_key_gains_nothing(rng, stacker):
    """A model that scores by row number holds no truth for a row that is held out."""
    predictions = make_predictions(n_samples=600)
    keys = np.tile(np.linspace(0.001, 0.999, 600, dtype=np.float32)[:, None], (1, 4))
    with_keys = PredictionSet(np.concatenate([predictions.to_array(), keys[None]]), y_true=predictions.y_true)
    folds = deal_folds(predictions.truth)
    plain = log_loss(predictions.y_true, stacker().predict_out_of_fold(predictions, folds=folds))
    assert log_loss(predictions.y_true, stacker().predict_out_of_fold(with_keys, folds=folds)) > plain - 0.003


def test_context_pays_where_labels_depend(rng):
    fitting, test = dependent(rng), dependent(rng)
    losses = [log_loss(test.y_true, stacker().fit(fitting).predict_proba(test)) for stacker in LINEAR]
    mean = log_loss(test.y_true, SoftVoting().fit(fitting).predict_proba(test))
    assert losses[0] < mean - 0.03
    assert losses[1] < losses[0] - 0.004
    assert losses[2] < losses[1] - 0.004


@pytest.mark.parametrize("stacker", LINEAR)
def test_one_class_labels_get_their_frequency_and_are_named(stacker):
    predictions = make_predictions()
    truth = np.asarray(predictions.y_true).copy()
    truth[:, 1] = 0
    fitted = stacker().fit(predictions.with_truth(truth))
    np.testing.assert_array_equal(fitted.constant_labels_, [False, True, False, False])
    np.testing.assert_allclose(fitted.predict_proba(predictions)[:, 1], 0.5 / (len(truth) + 1), rtol=1e-4)


@pytest.mark.parametrize("stacker", LINEAR)
def test_cells_that_are_not_annotated_do_not_count(rng, stacker):
    predictions = make_predictions(n_samples=400)
    known = rng.random((400, 4)) < 0.8
    spoiled = np.where(known, predictions.y_true, 1 - predictions.y_true)
    right = stacker().fit(predictions.with_truth(predictions.y_true * known, known)).predict_proba(predictions)
    wrong = stacker().fit(predictions.with_truth(spoiled, known)).predict_proba(predictions)
    assert np.abs(right - wrong).mean() < 0.02  # only the deal of the folds may differ
    ignored = stacker().fit(predictions.with_truth(spoiled)).predict_proba(predictions)
    assert np.abs(right - ignored).mean() > 0.03


def test_sample_weights_are_repetitions(rng):
    predictions = make_predictions(n_samples=200)
    times = rng.integers(1, 4, 200)
    weighted = PredictionSet(predictions.to_array(), y_true=predictions.y_true, sample_weight=times)
    repeated = predictions.subset(samples=np.repeat(np.arange(200), times))
    repeated = PredictionSet(repeated.to_array(), y_true=repeated.y_true)
    a = LabelwiseLogistic(penalty=1e-6).fit(weighted).predict_proba(predictions)
    b = LabelwiseLogistic(penalty=1e-6).fit(repeated).predict_proba(predictions)
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("stacker", LINEAR)
def test_an_absent_member_is_guessed_from_the_others(stacker):
    fitting, test = make_predictions(5, 800, random_state=1), make_predictions(5, 800, random_state=2)
    fitted = stacker().fit(fitting)
    full = log_loss(test.y_true, fitted.predict_proba(test))
    less = log_loss(test.y_true, fitted.predict_proba(test, without=["model3"]))
    assert full < less < full + 0.08


@pytest.mark.parametrize("stacker", LINEAR)
def test_large_sets_are_sampled(stacker):
    predictions = make_predictions(n_samples=500)
    fitted = stacker(max_rows=200).fit(predictions)
    assert fitted.n_rows_fitted_ == 200
    assert fitted.predict_proba(predictions).shape == (500, 4)


def test_a_bad_penalty_is_an_error():
    for penalty in (0, -1.0, "automatic", True):
        with pytest.raises(ValueError, match="penalty must be a positive number or 'auto'"):
            RidgeContext(penalty=penalty).fit(make_predictions())


def load_simulator(folder):
    spec = importlib.util.spec_from_file_location("simulate_predictions", folder / "simulate_predictions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.simulate


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_label_context_beats_the_ridge_on_the_simulated_contest(shared_data):
    folder = shared_data / "imaterialist2018"
    with (folder / "label_counts.csv").open() as file:
        labels = list(csv.DictReader(file))
    y_true = np.load(folder / "validation_label_rows.npz")["y_true"]
    counts = np.array([int(row["train_count"]) for row in labels])
    scores = load_simulator(folder)(y_true, counts, np.array([row["taskName"] for row in labels]), n_models=4)
    order = np.random.default_rng(5).permutation(len(y_true))
    fitting, test = order[: int(0.8 * len(order))], order[int(0.8 * len(order)) :]
    losses, best = [], []
    for stacker in (RidgeContext(n_folds=3), LabelContextStacker(n_folds=3)):
        y_score = stacker.fit(scores[:, fitting], y_true[fitting]).predict_proba(scores[:, test])
        losses.append(log_loss(y_true[test], y_score))
        single = tune_thresholds(y_score, y_true[test], "single")
        best.append(micro_f1(y_true[test], apply_thresholds(y_score, single)))
    assert losses[1] < losses[0] - 0.003
    assert best[1] > best[0] + 0.015


@pytest.mark.parametrize("stacker", [RidgeContext, LabelContextStacker])
def test_few_rows_of_many_members_take_a_stronger_penalty_and_many_rows_do_not_ask(stacker, rng, monkeypatch):
    y_true = (rng.random((300, 4)) < 0.3).astype(np.uint8)
    y_scores = sigmoid(0.4 * y_true - 1.0 + rng.normal(size=(20, 300, 4))).astype(np.float32)
    few, many = PredictionSet(y_scores, y_true=y_true), PredictionSet(y_scores[:2], y_true=y_true)
    chosen, strong = (stacker(penalty=one).fit(few).predict_proba(few) for one in ("auto", 300.0))
    np.testing.assert_array_equal(chosen, strong)
    monkeypatch.setattr(logit_stacker, "choose_penalty", None)  # 300 rows for three coefficients are many
    np.testing.assert_array_equal(
        stacker().fit(many).predict_proba(many), stacker(penalty=10.0).fit(many).predict_proba(many)
    )


def test_counts_of_labels_are_written_with_commas():
    fell_back = np.arange(10_000) < 1_803
    note = describe_fallback("logistic", fell_back, np.ones(10_000), "their frequency")[1][0]
    assert note.startswith("logistic: 1,803 of 10,000 labels (18.0% of the positives)")
