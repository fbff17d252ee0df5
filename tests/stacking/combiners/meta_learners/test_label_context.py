"""What label-context keeps of its stages, and that what it keeps is saved."""

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.meta_learners import LabelContextStacker, LabelwiseLogistic, RidgeContext, label_context
from stacking.folds import deal_folds
from stacking.links import sigmoid
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


def test_the_second_pass_predicts_as_it_learned(rng, monkeypatch):
    fitting = shared_noise(rng, 400)
    real, losses = label_context.fit_pass, iter([3.0, 2.0, 1.0])

    def better_each_time(rows, added, penalty, **options):
        return label_context.replace(real(rows, added, penalty), loss=next(losses))

    monkeypatch.setattr(label_context, "fit_pass", better_each_time)
    stacker = LabelContextStacker().fit(fitting)
    assert stacker.pass_coefficients_.shape == (1, 12, 3 + 6)
    assert stacker.coefficients_.shape == (12, 3 + 7)
    test = shared_noise(rng, 400)
    monkeypatch.setattr(label_context, "fit_pass", real)
    plain = log_loss(test.y_true, LabelContextStacker().fit(fitting).predict_proba(test))
    assert log_loss(test.y_true, stacker.predict_proba(test)) == pytest.approx(plain, abs=0.02)


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
