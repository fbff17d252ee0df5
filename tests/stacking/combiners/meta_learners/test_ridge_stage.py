"""The ridge among rows gives what the one among labels gives; what does not fit in memory is refused beforehand."""

import numpy as np
import pytest

from stacking import StackingEnsemble
from stacking.combiners.meta_learners import ridge_stage
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import create_method, list_methods
from stacking.process import memory
from stacking.testing import make_predictions


def wide_rows(rng, *, n_rows=30, n_labels=40, weighted=False, n_folds=3):
    truth = (rng.random((n_rows, n_labels)) < 0.3).astype(float)
    truth[:, 0] = 1.0
    logits = (2 * truth - 1 + rng.normal(size=(2, *truth.shape))).astype(np.float32)
    logits[:, :, 1] = 0.5
    weight = rng.integers(0, 3, truth.shape) / 2 if weighted else None
    return TrainingRows(logits, truth, weight, np.ones((n_labels, 2), bool), np.arange(n_rows) % n_folds)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_folds", [1, 3])
def test_rows_and_labels_solve_the_same_ridge(rng, weighted, n_folds, monkeypatch):
    rows = wide_rows(rng, weighted=weighted, n_folds=n_folds)
    pooled = rows.logits.mean(axis=0, dtype=np.float64)
    ridge = ridge_stage.fit_ridge_stage(pooled, rows)
    weights, outputs, held_out = ridge.weights, ridge.outputs, ridge.held_out
    assert outputs.shape == (31, 40)
    new = rng.normal(size=(7, 40))
    answer = ridge_stage.apply_ridge(new, weights, outputs)
    padded = TrainingRows(  # rows without weight make it a matter of labels and change nothing
        np.concatenate([rows.logits, np.zeros((2, 20, 40), np.float32)], axis=1),
        np.concatenate([rows.y_true, np.zeros((20, 40))]),
        np.concatenate([np.ones((30, 40)) if rows.weight is None else rows.weight, np.zeros((20, 40))]),
        rows.usable,
        np.concatenate([rows.folds, np.arange(20) % n_folds]),
    )
    among_labels = ridge_stage.fit_ridge_stage(np.concatenate([pooled, np.zeros((20, 40))]), padded)
    dense, none, dense_held_out = among_labels.weights, among_labels.outputs, among_labels.held_out
    assert dense.shape == (41, 40)
    assert none.shape == (0, 40)
    np.testing.assert_allclose(dense_held_out[:30], held_out, atol=2e-5)
    np.testing.assert_allclose(ridge_stage.apply_ridge(new, dense, none), answer, atol=1e-8)


@pytest.mark.parametrize("method", ["ridge-context", "label-context"])
def test_more_labels_than_rows_are_saved_and_loaded(method, tmp_path):
    predictions = make_predictions(2, 30, 40)
    ensemble = StackingEnsemble(method, n_splits=2).fit(predictions)
    assert ensemble.combiner_.ridge_.shape == (41, 31)
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.predict_proba(predictions), ensemble.predict_proba(predictions))


def test_ten_thousand_labels_of_fifty_rows_need_little():
    gib = memory.GIB
    for name in ("ridge-context", "label-context"):  # in blocks; the ties between all labels are .8 GiB of it
        assert create_method(name).memory_needed(2, 50, 10_000) < 2 * gib
        assert create_method(name).memory_needed(2, 20_000, 10_000) < 8 * gib
    assert create_method("ridge-context").memory_needed(2, 50, 1_500) < 0.1 * gib


@pytest.mark.parametrize("name", [name for name in list_methods() if name not in ("convolutional", "auto")])
def test_every_method_says_what_it_needs_and_is_refused_before_it_is_taken(name, monkeypatch):
    combiner = create_method(name)
    assert combiner.memory_needed(4, 10_000_000, 1000) > combiner.memory_needed(4, 1000, 100) > 0
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    monkeypatch.setattr(memory, "SMALL", 100)
    with pytest.raises(ValueError, match=r"needs about .* GiB of memory, of which .* GiB are available: take fewer"):
        combiner.fit(make_predictions(3, 200, 30))


def test_auto_leaves_out_what_does_not_fit(monkeypatch):
    from stacking.combiners.meta_learners.label_context import LabelContextStacker

    monkeypatch.setattr(LabelContextStacker, "memory_needed", lambda self, *size: 1e18)
    ensemble = StackingEnsemble("auto", n_splits=2).fit(make_predictions(3, 120, 3))
    assert any("GiB" in str(entry) for entry in ensemble.combiner_.entries_)


def test_the_least_of_what_the_system_and_its_limits_leave_counts(monkeypatch, tmp_path):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    limit.write_text("1000\n")
    used.write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\nactive_file 100\n")
    monkeypatch.setattr(memory, "_GROUP_LIMITS", (str(limit),))
    monkeypatch.setattr(memory, "_GROUP_USES", (str(used),))
    assert memory.available_memory() == 500
    limit.write_text("max\n")
    assert memory.available_memory() != 500
