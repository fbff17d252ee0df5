"""The common workload: the same numbers everywhere, and the same law at any size."""

import hashlib

import numpy as np
import pytest

from experiments.benchmarks.workload import N_LABELS, label_frequencies, simulate_workload, write_workload_store
from stacking.predictions import load_store


@pytest.fixture(scope="module")
def workload():
    return simulate_workload()


def test_frequencies_expect_six_labels_a_row():
    frequency = label_frequencies()
    assert frequency.sum() == pytest.approx(6.0, abs=1e-6)
    assert frequency[0] == pytest.approx(0.74)
    assert frequency[-1] == pytest.approx(0.0005)


def test_truth_is_the_one_that_the_peers_were_measured_on(workload):
    truth = np.concatenate([workload.y_true, workload.y_true_test])
    digest = hashlib.sha256(np.ascontiguousarray(truth).tobytes()).hexdigest()
    assert digest.startswith("5991e52e2c2ba260"), "the order of the draws in workload.py has changed"


def test_scores_reach_what_was_measured(workload):
    def micro_f1(y_true, fired):
        return 2 * (y_true.astype(bool) & fired).sum() / (y_true.sum(dtype=int) + fired.sum())

    mean = workload.y_scores_test.mean(axis=0) >= 0.5
    assert micro_f1(workload.y_true_test, mean) == pytest.approx(0.6363, abs=2e-4)
    singles = [micro_f1(workload.y_true_test, scores >= 0.5) for scores in workload.y_scores_test]
    assert max(singles) == pytest.approx(0.6202, abs=2e-4)


def test_first_rows_are_those_of_the_full_workload(workload):
    few = simulate_workload(50)
    np.testing.assert_array_equal(few.y_scores, workload.y_scores[:, :50])
    np.testing.assert_array_equal(few.y_true_test, workload.y_true_test[:50])


@pytest.mark.parametrize("n_models", [2, 8])
def test_store_follows_the_law(tmp_path, workload, n_models):
    folder = write_workload_store(tmp_path / "store", 10_500, n_models)
    predictions = load_store(folder)
    assert (predictions.n_models, predictions.n_samples, predictions.n_labels) == (n_models, 10_500, N_LABELS)
    assert predictions.y_true.sum(axis=1).mean() == pytest.approx(workload.y_true.sum(axis=1).mean(), rel=0.02)
    assert predictions.model_scores(0).mean() == pytest.approx(workload.y_scores[0].mean(), rel=0.02)


def test_store_that_is_there_is_kept(tmp_path):
    folder = write_workload_store(tmp_path / "store", 100, 1)
    before = (folder / "index.json").stat().st_mtime_ns
    write_workload_store(folder, 100, 1)
    assert (folder / "index.json").stat().st_mtime_ns == before
