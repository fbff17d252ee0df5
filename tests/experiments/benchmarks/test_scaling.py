"""The job whose growth is measured: joint weights and exact thresholds from a store."""

import numpy as np
import pytest

from experiments.benchmarks.scaling import weigh_and_cut
from stacking import PredictionSet, WeightedVoting, tune_thresholds
from stacking.metrics import micro_f1
from stacking.predictions.forms.store import write_store


@pytest.fixture
def predictions(rng):
    y_true = (rng.random((400, 6)) < 0.3).astype(np.uint8)
    noise = rng.random((4, 400, 6)) * np.array([0.4, 0.6, 0.8, 1.0])[:, None, None]
    return PredictionSet(np.clip(0.4 * y_true + noise, 0, 1).astype(np.float32), y_true=y_true)


@pytest.mark.parametrize("parts", [{}, {"n_models": 3}, {"n_labels": 2}])
@pytest.mark.parametrize("sample", [False, True])
def test_the_job_finds_what_is_found_in_memory(predictions, tmp_path, parts, sample):
    write_store(predictions, tmp_path / "store")
    job = weigh_and_cut(str(tmp_path / "store"), **parts, sample=sample)
    answer = job.run()
    labels = [0, 5] if "n_labels" in parts else None
    models = np.arange(parts["n_models"]) if "n_models" in parts else None
    expected = predictions.subset(labels=labels, models=models)
    vote = WeightedVoting(random_state=0).fit(expected)
    y_score = vote.predict_proba(expected)
    thresholds = tune_thresholds(y_score, expected.y_true)
    np.testing.assert_array_equal(answer[1], thresholds)
    described = job.describe(answer)
    np.testing.assert_array_equal(described["weights"], vote.shared_weights_)
    assert described["n_cells"] == y_score.size
    assert described["train_micro_f1"] == pytest.approx(micro_f1(expected.y_true, y_score >= thresholds), abs=1e-12)
