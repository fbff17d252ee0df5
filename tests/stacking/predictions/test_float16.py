"""Half precision is for the disk alone: what is near 1 becomes 1, and sums of many rows overflow, unless one cares."""

import numpy as np
import pytest

from stacking import StackingEnsemble, load_predictions
from stacking.metrics import log_loss, micro_f1
from stacking.predictions import PredictionSet, save_predictions

N_SAMPLES = 70_000  # beyond 65,504, the largest half


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Scores close to 0 and 1 in a store of halves, and the same halves as doubles."""
    rng = np.random.default_rng(3)
    y_true = (rng.random((N_SAMPLES, 2)) < 0.7).astype(np.uint8)
    scores = np.where(rng.random((2, N_SAMPLES, 2)) < 0.97, y_true, 1 - y_true) * 0.9999 + 5e-5
    folder = tmp_path_factory.mktemp("halves") / "store"
    path = save_predictions(PredictionSet(scores, y_true=y_true), folder, dtype="float16")
    return load_predictions(path), scores.astype(np.float16).astype(np.float64), y_true


def test_a_score_that_became_one_costs_a_finite_price(stored):
    predictions, exact, y_true = stored
    assert exact.max() == 1.0
    for model in range(2):
        found = log_loss(y_true, predictions.model_scores(model))
        clipped = np.clip(exact[model], 1e-7, 1 - 1e-7)
        expected = -np.mean(np.where(y_true == 1, np.log(clipped), np.log1p(-clipped)))
        assert np.isfinite(found) and found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("method", ["mean", "convex", "logistic"])
def test_what_is_fitted_on_halves_is_finite_and_as_good_as_on_doubles(stored, method):
    predictions, exact, y_true = stored
    few = slice(3000)
    ensemble = StackingEnsemble(method, n_splits=2).fit(predictions.subset(samples=few))
    y_score = ensemble.predict_proba(predictions)
    assert np.isfinite(y_score).all() and y_score.dtype == np.float32
    doubles = PredictionSet(exact[:, few], y_true=y_true[few])
    reference = StackingEnsemble(method, n_splits=2).fit(doubles).predict_proba(exact)
    np.testing.assert_allclose(y_score, reference, atol=1e-5)
    assert micro_f1(y_true, ensemble.decide(y_score)) > 0.97


def test_sums_over_more_rows_than_a_half_can_count_do_not_overflow(stored):
    predictions, exact, _ = stored
    means = np.mean([scores.mean(axis=(1, 2)) for _, scores in predictions.iter_rows()], axis=0)
    assert np.isfinite(means).all()
    np.testing.assert_allclose(predictions.to_array().mean(axis=(1, 2), dtype=np.float64), exact.mean(axis=(1, 2)))
