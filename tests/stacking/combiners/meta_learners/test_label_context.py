"""What label-context keeps of its stages, and that what it keeps is saved."""

import itertools

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.meta_learners import LabelContextStacker, LabelwiseLogistic, RidgeContext, label_context
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.folds import deal_folds
from stacking.links import logit, sigmoid
from stacking.metrics import log_loss, mean_average_precision
from stacking.testing import check_what_counts, make_uncounted


@pytest.fixture
def every_stage(monkeypatch):
    """Try the posterior on small sets too."""
    monkeypatch.setattr(label_context, "LEAST_CELLS", 0)


def shared_noise(rng, n_samples=900, n_labels=12):
    """Labels of which neighbors exclude each other, all seen through a noise that they share."""
    truth = (rng.random((n_samples, n_labels)) < 0.4).astype(np.uint8)
    truth[:, 1::2] &= 1 - truth[:, ::2]
    logits = 2.0 * truth - 2.0 + 1.5 * rng.normal(size=(n_samples, 1)) + rng.normal(size=(3, n_samples, n_labels))
    return PredictionSet(sigmoid(logits).astype(np.float32), y_true=truth)


def test_every_stage_is_kept_where_it_helps_saved_and_loaded(rng, every_stage, tmp_path):
    fitting, test = shared_noise(rng), shared_noise(rng)
    ensemble = StackingEnsemble("label-context").fit(fitting)
    stacker = ensemble.combiner_
    assert stacker.network_.shape == (13, 12)
    assert stacker.posterior_couplings_.shape == (12, 12)
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.predict_proba(test), ensemble.predict_proba(test))
    ridge = log_loss(test.y_true, RidgeContext().fit(fitting).predict_proba(test))
    assert log_loss(test.y_true, ensemble.predict_proba(test)) < ridge - 0.005


def answer_alone(stacker, number, test):
    """What one of the answers that are averaged says."""
    shares = stacker.answer_shares_
    stacker.answer_shares_ = np.zeros_like(shares)
    stacker.answer_shares_[number] = 1.0
    alone = stacker.predict_proba(test)
    stacker.answer_shares_ = shares
    return alone


def with_depth(monkeypatch, depth):
    """Let every label average so many passes."""
    monkeypatch.setattr(label_context, "_choose_depth", lambda rows, passes: np.full(rows.y_true.shape[1], depth))


@pytest.mark.parametrize(("depth", "earlier"), [(2, (1, 12, 3 + 7)), (3, (2, 12, 3 + 8))])
def test_passes_and_the_posterior_are_averaged(rng, every_stage, monkeypatch, depth, earlier):
    fitting, test = shared_noise(rng), shared_noise(rng)
    with_depth(monkeypatch, depth)
    falling = itertools.count(-10.0)
    monkeypatch.setattr(label_context, "_loss", lambda rows, logits: next(falling))  # asked first is better
    stacker = LabelContextStacker().fit(fitting)
    assert stacker.pass_coefficients_.shape == earlier
    assert stacker.coefficients_.shape == (12, 3 + 8)
    weights = np.array([*[1 / depth] * depth, 1.0]) / 2
    np.testing.assert_allclose(stacker.answer_shares_, np.tile(weights[:, None], 12))
    whole, parts = stacker.predict_proba(test), [answer_alone(stacker, number, test) for number in range(depth + 1)]
    mean = np.average(logit(np.array(parts)), axis=0, weights=weights)
    np.testing.assert_allclose(whole, sigmoid(mean), atol=1e-5)
    losses = [log_loss(test.y_true, part) for part in parts]
    assert log_loss(test.y_true, whole) < np.average(losses, weights=weights)


def test_further_passes_predict_as_they_learned(rng, monkeypatch):
    fitting, test = shared_noise(rng, 400), shared_noise(rng, 400)
    with_depth(monkeypatch, 3)
    stacker = LabelContextStacker().fit(fitting)
    np.testing.assert_allclose(stacker.answer_shares_, np.tile([[1 / 3], [1 / 3], [1 / 3], [0.0]], 12))
    first, *others = (log_loss(test.y_true, answer_alone(stacker, number, test)) for number in (0, 1, 2))
    assert others == pytest.approx([first, first], abs=0.02)
    state = stacker._state()
    np.testing.assert_array_equal(
        LabelContextStacker._from_state(*state).predict_proba(test), stacker.predict_proba(test)
    )


def test_labels_of_like_frequency_choose_together_how_many_passes_they_average(rng):
    y_true = np.zeros((400, 5))
    for label, positives in enumerate((5, 6, 200, 190, 0)):
        y_true[:positives, label] = 1.0
    rows = TrainingRows(np.empty((0, 400, 5), np.float32), y_true, None, np.ones((5, 0), bool), np.zeros(400, int))
    right = 4.0 * y_true - 2.0
    # The second pass helps frequent labels; of the rare ones it helps one by less than it harms the other.
    first, second = right.copy(), right.copy()
    first[:, [0, 2, 3]] *= 0.9
    second[:, 1] *= -2.0
    second[:, 4] = first[:, 4]  # all passes answer alike where there is one class
    np.testing.assert_array_equal(label_context._choose_depth(rows, [first, second]), [1, 1, 2, 2, 1])
    np.testing.assert_array_equal(label_context._choose_depth(rows, [first]), [1, 1, 1, 1, 1])


def test_a_pass_or_posterior_that_does_not_help_has_no_share(rng, monkeypatch):
    fitting = shared_noise(rng, 400)
    with_depth(monkeypatch, 1)
    monkeypatch.setattr(label_context, "_loss", lambda rows, logits: np.inf)
    stacker = LabelContextStacker().fit(fitting)
    assert not len(stacker.pass_coefficients_)
    np.testing.assert_array_equal(stacker.answer_shares_, np.repeat([[1.0], [0.0]], 12, axis=1))
    monkeypatch.undo()
    y_true = (rng.random((200, 3)) < 0.4).astype(float)
    y_true[:, 2] = 0.0
    rows = TrainingRows(np.empty((0, 200, 3), np.float32), y_true, None, np.ones((3, 0), bool), np.zeros(200, int))
    good, bad = 4.0 * y_true - 2.0, 2.0 - 4.0 * y_true
    shares, answer = label_context._mix(rows, [good, 0.5 * good], np.array([2, 1, 2]), [bad])
    np.testing.assert_array_equal(shares, [[0.5, 1.0, 0.5], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(answer, good * [0.75, 1.0, 0.75])
    shares, answer = label_context._mix(rows, [bad], np.ones(3, int), [good])
    np.testing.assert_array_equal(shares, [[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]])  # one class: its frequency
    np.testing.assert_allclose(answer, np.where(np.arange(3) == 2, bad, 0.0))


def test_what_was_saved_before_the_average_answers_by_its_last_pass(rng, every_stage):
    fitting, test = shared_noise(rng), shared_noise(rng)
    stacker = LabelContextStacker().fit(fitting)
    values, arrays, texts = stacker._state()
    earlier = {name: array for name, array in arrays.items() if name != "answer_shares_"}
    again = LabelContextStacker._from_state(values, earlier, texts)
    np.testing.assert_array_equal(
        again.predict_proba(test), answer_alone(stacker, len(stacker.pass_coefficients_), test)
    )


def test_a_posterior_that_is_wrong_is_left_out(rng, every_stage):
    truth = (rng.random((600, 6)) < 0.4).astype(np.uint8)
    heavy = 2.0 * truth - 1.0 + 0.4 * rng.standard_t(1, size=(2, 600, 6))  # no law of normal noise
    stacker = LabelContextStacker().fit(PredictionSet(sigmoid(heavy).astype(np.float32), y_true=truth))
    assert stacker.posterior_own_.shape == (0, 3)


@pytest.mark.parametrize("n_samples", [300, 1200])
def test_coin_tosses_score_chance_on_the_held_out_answers_that_are_kept(rng, every_stage, n_samples):
    excess = []
    for _ in range(3):
        y_true = (rng.random((n_samples, 5)) < 0.3).astype(np.uint8)
        predictions = PredictionSet(rng.random((3, n_samples, 5)).astype(np.float32), y_true=y_true)
        y_score = LabelContextStacker().predict_out_of_fold(predictions, folds=deal_folds(predictions.truth))
        excess.append(mean_average_precision(y_true, y_score) - y_true.mean())
    assert abs(np.mean(excess)) < 0.03


def test_what_does_not_count_moves_no_stage(every_stage):
    check_what_counts(
        lambda p: LabelContextStacker().fit(p).predict_proba(p.subset(samples=p.truth.counted)), tolerance=2e-4
    )


@pytest.mark.parametrize("stacker", [LabelwiseLogistic, RidgeContext, LabelContextStacker])
def test_held_out_answers_come_from_one_fit_and_are_about_those_of_clones(rng, stacker, monkeypatch):
    predictions = shared_noise(rng, 800)
    folds = deal_folds(predictions.truth)
    kept = stacker().predict_out_of_fold(predictions, folds=folds)
    nested = stacker()._score_by_clones(predictions, folds)
    assert log_loss(predictions.y_true, kept) == pytest.approx(log_loss(predictions.y_true, nested), abs=0.01)
    monkeypatch.setattr(stacker, "_fit", None)  # no clone is fitted
    fitted, again = stacker().fit_out_of_fold(predictions, folds=folds)
    np.testing.assert_array_equal(again, kept)
    assert fitted.predict_proba(predictions).shape == kept.shape


def test_uncounted_rows_and_holes_reach_every_stage(every_stage):
    predictions = make_uncounted(n_samples=300)
    folds = deal_folds(predictions.truth)
    y_score = LabelContextStacker().fit_out_of_fold(predictions, folds=folds)[1]
    assert np.isfinite(y_score).all()
