"""The quality rows on real members and few rows, and the peer for log loss, on tiny data and in this process."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from experiments.benchmarks import quality, speed
from experiments.benchmarks.datasets import load_split, prepare_few_rows, prepare_members
from experiments.benchmarks.processes import Plan
from experiments.benchmarks.references import describe_held_out

SIMULATION = """\
import sys
import numpy as np
rng = np.random.default_rng(0)
y_true = (rng.random((300, 4)) < 0.4).astype(np.uint8)
scores = np.clip(0.4 * y_true + 0.6 * rng.random((3, 300, 4)), 0, 1).astype(np.float32)
np.savez(sys.argv[1], y_scores=scores, y_true=y_true)
"""


@pytest.fixture
def plan(tmp_path, rng, monkeypatch):
    """Tiny sets in place of the real ones; jobs run once, in this process."""
    for folder in ("imaterialist2018", "fashion44k_members"):
        (tmp_path / "shared" / folder).mkdir(parents=True)
    (tmp_path / "shared" / "imaterialist2018" / "simulate_predictions.py").write_text(SIMULATION)
    for name, n_rows in (("fit", 120), ("test", 60)):
        y_true = (rng.random((n_rows, 4)) < 0.4).astype(np.uint8)
        scores = np.clip(0.4 * y_true + 0.6 * rng.random((3, n_rows, 4)), 0, 1).astype(np.float32)
        arrays = {"y_scores": scores, "y_true": y_true, "groups": np.arange(n_rows)}
        np.savez(tmp_path / "shared" / "fashion44k_members" / f"{name}.npz", **arrays)
    monkeypatch.setattr(quality, "FEW_ROWS", {80: (0.5, 0.5), 60: (0.5, 0.5)})

    def measure_here(plan, row, job, arguments):
        module, _, name = job.partition(":")
        prepared = getattr(importlib.import_module(module), name)(**arguments)
        return replace(row, values={"cpu_seconds": 1.0, **prepared.describe(prepared.run())})

    for module in (quality, speed):
        monkeypatch.setattr(module, "measure_row", measure_here)
    (tmp_path / "scratch").mkdir()
    return Plan(tmp_path / "scratch", tmp_path / "shared")


SCORES = ("test_micro_f1", "test_macro_f1", "test_mean_average_precision", "test_log_loss")


def test_real_members_are_scored_by_every_column(plan):
    rows = quality.measure_members(plan)
    assert [row.system for row in rows if row.ours] == [
        "labelstack label-context",
        "labelstack auto",
        "labelstack label-context, by macro-F1",
        "labelstack auto, by macro-F1",
    ]
    assert all(0 < row.values[name] < 1 for row in rows for name in SCORES)
    assert [goal.quantity for goal in rows[-1].goals] == ["test_macro_f1", "test_micro_f1"]
    mean = load_split(prepare_members(plan))
    assert rows[1].values["test_log_loss"] == pytest.approx(
        np.mean([sklearn_log_loss(y, p) for y, p in zip(mean.y_true_test.T, mean.y_scores_test.mean(0).T, strict=True)])
    )


def test_few_rows_are_scored_with_and_without_the_truth_of_the_others(plan):
    rows = quality.measure_few_rows(plan)
    assert len({row.job for row in rows}) == 2
    assert len(rows) == 10
    split = load_split(prepare_few_rows(plan, 60))
    assert split.y_scores.shape == (3, 60, 4)
    assert split.label_rows.shape == (180, 4)  # four fifths of 300 less what is scored
    alone, taught = (next(row for row in rows if row.system.endswith(end)) for end in ("label-context", "label rows"))
    assert alone.values["test_log_loss"] != taught.values["test_log_loss"]


def test_rows_without_their_data_say_so(tmp_path):
    for measure in (quality.measure_members, quality.measure_few_rows):
        (row,) = measure(Plan(tmp_path, None))
        assert "is absent" in row.trouble


def test_greedy_for_log_loss_ends_where_the_peer_does(plan):
    path = str(prepare_members(plan))
    peer, ours = speed._greedy_log_loss(plan, path)
    np.testing.assert_allclose(ours.values["weights"], peer.values["weights"], atol=1e-9)
    assert [goal.quantity for goal in ours.goals] == ["cpu_seconds", "log_loss"]


def test_held_out_scores_are_those_of_scikit_learn(rng):
    y_true, y_score = (rng.random((50, 4)) < 0.4).astype(np.uint8), rng.random((50, 4)).astype(np.float32)
    y_true[:, 3] = 0
    y_pred = y_score > 0.6
    values = describe_held_out(y_true, y_pred, y_score)
    assert values["test_micro_f1"] == pytest.approx(f1_score(y_true, y_pred, average="micro"))
    assert values["test_macro_f1"] == pytest.approx(f1_score(y_true, y_pred, average="macro", zero_division=0))
    precision = average_precision_score(y_true[:, :3], y_score[:, :3], average="macro")
    assert values["test_mean_average_precision"] == pytest.approx(precision)
    flat = sklearn_log_loss(y_true.ravel(), y_score.ravel().astype(float))
    assert values["test_log_loss"] == pytest.approx(flat, rel=1e-5)
