import numpy as np
import pytest

from stacking import StackingEnsemble
from stacking.combiners.blend import Blend
from stacking.combiners.registry import create_method
from stacking.folds import deal_folds
from stacking.links import logit, sigmoid
from stacking.testing import make_predictions

METHODS = ("rank", "ridge-context")


@pytest.mark.parametrize("scale", ["probability", "logit"])
def test_a_blend_is_the_average_of_its_methods(scale):
    predictions = make_predictions()
    folds = deal_folds(predictions.truth)
    blend, held_out = Blend(METHODS, scale=scale).fit_out_of_fold(predictions, folds=folds)
    parts = [create_method(name).fit_out_of_fold(predictions, folds=folds) for name in METHODS]

    def average(first, second):
        if scale == "probability":
            return (first + second) / 2
        return sigmoid((logit(first) + logit(second)) / 2)

    np.testing.assert_allclose(held_out, average(*(score for _, score in parts)), atol=1e-6)
    fitted = average(*(combiner.predict_proba(predictions) for combiner, _ in parts))
    np.testing.assert_allclose(blend.predict_proba(predictions), fitted, atol=1e-6)
    np.testing.assert_array_equal(blend.predict_out_of_fold(predictions, folds=folds), held_out)


def test_pair_blend_averages_the_mean_and_the_pairs():
    predictions = make_predictions()
    blend, mean, pairs = (create_method(name).fit(predictions) for name in ("pair-blend", "mean", "pair-lightgbm"))
    expected = (mean.predict_proba(predictions) + pairs.predict_proba(predictions)) / 2
    np.testing.assert_allclose(blend.predict_proba(predictions), expected, atol=1e-6)
    assert blend.notes_ == pairs.notes_


@pytest.mark.parametrize("method", ["pair-blend", "auto"])
def test_combiners_of_combiners_survive_their_folder(method, tmp_path):
    predictions = make_predictions(n_samples=150)
    ensemble = StackingEnsemble(method, n_splits=2).fit(predictions)
    ensemble.save(tmp_path / "ensemble")
    again = StackingEnsemble.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(again.predict_proba(predictions), ensemble.predict_proba(predictions))
    assert again.report_ == ensemble.report_


@pytest.mark.parametrize("methods", [["mean"], "mean", ["mean", "mean"], []])
def test_a_blend_needs_two_methods(methods):
    with pytest.raises(ValueError, match="two or more different methods"):
        Blend(methods).fit(make_predictions())


def test_unknown_names_get_a_hint():
    with pytest.raises(ValueError, match="meen"):
        Blend(["meen", "rank"]).fit(make_predictions())
    with pytest.raises(ValueError, match="scale must be"):
        Blend(scale="log").fit(make_predictions())


@pytest.mark.parametrize("method", ["logistic", "ridge-context", "label-context"])
def test_one_class_labels_are_reported_as_fallen_back(method):
    predictions = make_predictions()
    truth = np.asarray(predictions.y_true).copy()
    truth[:, 0] = 0
    report = StackingEnsemble(method).fit(predictions.with_truth(truth)).report_
    assert f"{method}: 1 of 4 labels (0.0% of the positives) kept to their frequency" in str(report)
