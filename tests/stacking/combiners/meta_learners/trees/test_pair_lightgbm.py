import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.meta_learners import PairLightGBM
from stacking.folds import deal_folds
from stacking.metrics import log_loss
from stacking.testing import make_predictions


@pytest.fixture(scope="module")
def few_rows():
    """Many labels, few rows each: one member sees, one is noise; labels share that, so pairs can learn it together."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        y_true = (rng.random((300, 20)) < np.linspace(0.02, 0.3, 20)).astype(np.uint8)
        seeing = 1.0 / (1.0 + np.exp(-(4.0 * y_true - 3.5 + rng.normal(0, 1.2, y_true.shape))))
        return PredictionSet(np.stack([seeing, rng.random(y_true.shape)]), y_true=y_true)

    return draw(0), draw(1)


def test_pairs_learn_from_all_labels_whom_to_trust(few_rows):
    fitting, test = few_rows
    stacked = PairLightGBM().fit(fitting).predict_proba(test)
    assert log_loss(test.y_true, stacked) < log_loss(test.y_true, test.to_array().mean(axis=0)) - 0.15


@pytest.mark.parametrize("ratio", [1.0, 1000.0])
def test_drawing_negatives_leaves_the_frequency_right(few_rows, ratio):
    fitting, test = few_rows
    stacker = PairLightGBM(negatives_per_positive=ratio).fit(fitting)
    assert (stacker.shift_ == 0.0) == (ratio == 1000.0)
    assert stacker.predict_proba(test).mean() == pytest.approx(test.y_true.mean(), rel=0.1)


def test_cells_not_annotated_and_rows_without_weight_do_not_count(few_rows):
    fitting, test = few_rows
    half = np.arange(300) % 2 == 0
    lied = np.where(half[:, None], fitting.y_true, 1 - fitting.y_true)
    unknown = PredictionSet(fitting.to_array(), y_true=lied, y_known=np.tile(half[:, None], (1, 20)))
    weightless = PredictionSet(fitting.to_array(), y_true=lied, sample_weight=half.astype(float))
    for predictions in (unknown, weightless):
        y_score = PairLightGBM().fit(predictions).predict_proba(test)
        assert y_score.mean() == pytest.approx(test.y_true.mean(), rel=0.25)


def test_weights_move_the_answer(few_rows):
    fitting, test = few_rows
    weight = np.where(fitting.y_true.sum(axis=1) > 3, 5.0, 1.0)
    weighted = PredictionSet(fitting.to_array(), y_true=fitting.y_true, sample_weight=weight)
    plain, heavy = (PairLightGBM().fit(each).predict_proba(test).mean() for each in (fitting, weighted))
    assert heavy > 1.03 * plain


def test_held_out_scores_know_nothing_of_random_labels(rng):
    predictions = make_predictions(n_samples=400, random_state=3)
    noise = predictions.with_truth((rng.random((400, 4)) < 0.4).astype(np.uint8)).with_groups(np.arange(400) // 4)
    fitted, held_out = PairLightGBM(n_trees=60).fit_out_of_fold(noise, folds=deal_folds(noise.truth))
    truth = noise.y_true.astype(bool)
    assert abs(held_out[truth].mean() - held_out[~truth].mean()) < 0.03
    np.testing.assert_array_equal(held_out, fitted.predict_out_of_fold(noise, folds=deal_folds(noise.truth)))


def test_a_sample_of_the_rows_still_scores_all_of_them(few_rows):
    fitting, _ = few_rows
    fitted, held_out = PairLightGBM(max_rows=200).fit_out_of_fold(fitting, folds=deal_folds(fitting.truth))
    assert fitted.n_rows_fitted_ == 200
    assert held_out.shape == (300, 20)
    assert log_loss(fitting.y_true, held_out) < log_loss(fitting.y_true, fitting.to_array().mean(axis=0))


def test_the_members_training_frequency_is_read(few_rows):
    fitting, _ = few_rows
    metadata = {"y_true": fitting.y_true, "train_frequency": np.linspace(0.1, 0.2, 20)}
    stacker = PairLightGBM().fit(PredictionSet(fitting.to_array(), **metadata))
    np.testing.assert_allclose(stacker.train_frequency_[0], np.log(0.1 / 0.9), rtol=1e-4)


def test_too_few_positives_leave_the_plain_mean_and_say_so():
    predictions = make_predictions(n_samples=12, n_labels=2)
    ensemble = StackingEnsemble("pair-lightgbm").fit(predictions)
    np.testing.assert_allclose(ensemble.predict_proba(predictions), predictions.to_array().mean(axis=0), atol=1e-6)
    assert ensemble.combiner_.fallback_report_ == {"labels": 1.0, "positives": 1.0}
    assert "pair-lightgbm: 2 of 2 labels (100.0% of the positives) kept to the plain mean" in str(ensemble.report_)


def test_survives_its_folder(few_rows, tmp_path):
    fitting, test = few_rows
    ensemble = StackingEnsemble("pair-lightgbm").fit(fitting)
    ensemble.save(tmp_path / "ensemble")
    again = StackingEnsemble.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(again.predict_proba(test), ensemble.predict_proba(test))
    assert again.combiner_.notes_ == ensemble.combiner_.notes_


def test_trees_on_other_features_are_refused(few_rows):
    values, arrays, texts = PairLightGBM(n_trees=3).fit(few_rows[0])._state()
    values["fitted"]["models_"] = ["model0"]
    with pytest.raises(ValueError, match="fit the ensemble again"):
        PairLightGBM._from_state(values, arrays, texts)


@pytest.mark.parametrize(("name", "value"), [("n_trees", 0), ("negatives_per_positive", 0.0)])
def test_parameters_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        PairLightGBM(**{name: value}).fit(make_predictions())
