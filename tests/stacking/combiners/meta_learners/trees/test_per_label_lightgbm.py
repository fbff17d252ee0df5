import numpy as np
import pytest

from stacking.combiners.meta_learners import LabelwiseLogistic, PerLabelStacker
from stacking.metrics import log_loss
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions


@pytest.fixture
def curved(rng):
    """Label 0 fires in the middle of the first model's scores; label 1 is a straight line; label 2 is rare."""

    def draw():
        scores = rng.random((3, 1200, 3)).astype(np.float32)
        y_true = np.stack(
            [
                rng.random(1200) < np.where(np.abs(scores[0, :, 0] - 0.5) < 0.2, 0.85, 0.1),
                rng.random(1200) < scores[1, :, 1],
                np.arange(1200) % 150 == 0,
            ],
            axis=1,
        )
        return PredictionSet(scores, y_true=y_true)

    return draw(), draw()


def test_trees_where_they_help_and_nowhere_else(curved):
    fitting, test = curved
    trees, line = PerLabelStacker().fit(fitting), LabelwiseLogistic(penalty=10.0).fit(fitting)
    np.testing.assert_array_equal(trees.boosted_, [True, False, False])
    gain = [
        log_loss(test.y_true[:, [j]], line.predict_proba(test)[:, [j]])
        - log_loss(test.y_true[:, [j]], trees.predict_proba(test)[:, [j]])
        for j in range(3)
    ]
    assert gain[0] > 0.1
    np.testing.assert_allclose(gain[1:], 0.0, atol=1e-6)


def test_fallbacks_are_reported(curved):
    fitted = PerLabelStacker().fit(curved[0])
    positives = np.asarray(curved[0].y_true).sum(axis=0)
    assert fitted.fallback_report_["labels"] == pytest.approx(2 / 3)
    assert fitted.fallback_report_["positives"] == pytest.approx(positives[1:].sum() / positives.sum())


def test_the_result_does_not_depend_on_n_jobs(curved):
    first = PerLabelStacker(n_jobs=1).fit(curved[0]).predict_proba(curved[1])
    second = PerLabelStacker(n_jobs=2).fit(curved[0]).predict_proba(curved[1])
    np.testing.assert_array_equal(first, second)


def test_one_class_in_every_fold_stays_finite():
    predictions = make_predictions(n_samples=100)
    truth = np.asarray(predictions.y_true).copy()
    truth[:, 0], truth[:, 1] = 1, 0
    truth[3, 1] = 1
    y_score = PerLabelStacker(min_positives=1).fit(predictions.with_truth(truth)).predict_proba(predictions)
    assert np.isfinite(y_score).all()
    np.testing.assert_allclose(y_score[:, 0], 100.5 / 101, rtol=1e-4)


def test_trees_on_other_features_are_refused(curved):
    fitted = PerLabelStacker().fit(curved[0])
    values, arrays, texts = fitted._state()
    arrays["context_"] = arrays["context_"][:, :1]
    with pytest.raises(ValueError, match="max_feature_idx must be"):
        PerLabelStacker._from_state(values, arrays, texts)
