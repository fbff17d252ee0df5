"""Stackers in blocks of labels: how labels are dealt, that nothing is lost on the way, and what it costs."""

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble, load_predictions, save_predictions
from stacking.combiners.meta_learners import LabelContextStacker, RidgeContext, blocked_stacker, label_blocks
from stacking.combiners.meta_learners.label_blocks import deal_labels
from stacking.export import reader
from stacking.export.writing import export_numpy
from stacking.folds import deal_folds
from stacking.links import sigmoid
from stacking.metrics import log_loss
from stacking.testing import check_combiner, list_combiner_checks


@pytest.fixture
def small_blocks(monkeypatch):
    """Deal blocks of four labels with two neighbors where there are more than six."""
    for name, value in {"MOST_LABELS": 6, "BLOCK_LABELS": 4, "NEIGHBOR_LABELS": 2}.items():
        monkeypatch.setattr(label_blocks, name, value)


def in_threes(rng, n_samples=500, n_labels=12):
    """Labels of which those with the same remainder by four go together, three at a time."""
    topics = rng.random((n_samples, 4)) < 0.3
    truth = (topics[:, np.arange(n_labels) % 4] & (rng.random((n_samples, n_labels)) < 0.8)).astype(np.uint8)
    logits = 2.0 * truth - 2.0 + 1.5 * rng.normal(size=(3, n_samples, n_labels))
    return PredictionSet(sigmoid(logits).astype(np.float32), y_true=truth)


def test_labels_that_go_together_share_a_block(rng, monkeypatch):
    monkeypatch.setattr(label_blocks, "BLOCK_LABELS", 3)
    blocks = deal_labels(in_threes(rng))
    assert sorted(block.targets.tolist() for block in blocks) == [[k, k + 4, k + 8] for k in range(4)]
    assert sum(len(block.neighbors) for block in blocks) <= 2  # what chance makes of topics; their labels are 3 each


def test_neighbors_are_the_rest_of_a_topic(rng, monkeypatch):
    monkeypatch.setattr(label_blocks, "BLOCK_LABELS", 2)
    monkeypatch.setattr(label_blocks, "NEIGHBOR_LABELS", 1)
    for block in deal_labels(in_threes(rng)):
        topics = {label % 4 for label in block.targets.tolist()}
        assert {label % 4 for label in block.neighbors.tolist()} <= topics


def test_chance_makes_no_neighbors(rng, monkeypatch):
    monkeypatch.setattr(label_blocks, "BLOCK_LABELS", 20)
    coins = rng.integers(0, 2, (300, 200))
    blocks = deal_labels(PredictionSet(rng.random((2, 300, 200)), y_true=coins))
    assert sum(len(block.neighbors) for block in blocks) <= 4


def test_rows_read_in_parts_and_weights_deal_alike(rng, monkeypatch):
    predictions = in_threes(rng)
    twice = predictions.subset(samples=np.repeat(np.arange(500), 2))
    weighed = PredictionSet(predictions.to_array(), y_true=predictions.y_true, sample_weight=np.full(500, 7.0))
    monkeypatch.setattr(label_blocks, "BLOCK_LABELS", 3)
    expected = sorted(block.targets.tolist() for block in deal_labels(predictions))
    monkeypatch.setattr(label_blocks, "_BLOCK_CELLS", 1_000)
    for other in (predictions, twice, weighed.only_counted()):
        assert sorted(block.targets.tolist() for block in deal_labels(other)) == expected


@pytest.mark.parametrize("kind", [LabelContextStacker, RidgeContext])
def test_blocks_lose_little_and_beat_no_context(rng, small_blocks, monkeypatch, kind):
    fitting, test = in_threes(rng), in_threes(rng)
    in_blocks = log_loss(test.y_true, kind().fit(fitting).predict_proba(test))
    monkeypatch.setattr(label_blocks, "MOST_LABELS", 1_500)
    at_once = log_loss(test.y_true, kind().fit(fitting).predict_proba(test))
    alone = log_loss(test.y_true, StackingEnsemble("logistic").fit(fitting).predict_proba(test))
    assert in_blocks < at_once + 0.1 * (alone - at_once) < alone - 0.03


def test_held_out_scores_are_honest(rng, small_blocks):
    coins = rng.integers(0, 2, (400, 12)).astype(np.uint8)
    predictions = PredictionSet(rng.random((2, 400, 12)), y_true=coins)
    _, held_out = LabelContextStacker().fit_out_of_fold(predictions, folds=deal_folds(predictions.truth, 5))
    assert log_loss(coins, held_out) > 0.69


def test_a_store_gives_the_same_as_an_array(rng, small_blocks, monkeypatch, tmp_path):
    predictions = in_threes(rng)
    save_predictions(predictions, tmp_path / "store")
    stored = load_predictions(tmp_path / "store")
    folds = deal_folds(predictions.truth, 5)
    expected = LabelContextStacker().fit_out_of_fold(predictions, folds=folds)[1]
    for n_bytes in (1, 2**30):  # a pass for each block, one for all
        monkeypatch.setattr(blocked_stacker, "PANEL_BYTES", n_bytes)
        fitted, held_out = LabelContextStacker().fit_out_of_fold(stored, folds=folds)
        np.testing.assert_array_equal(held_out, expected)
    assert len(fitted.blocks_) == 3
    assert "12 labels in 3 blocks of 4" in fitted.notes_[-1]


@pytest.mark.parametrize("method", ["label-context", "ridge-context", "label-network"])
def test_blocks_are_saved_loaded_and_exported(rng, small_blocks, tmp_path, method):
    if method == "label-network":
        pytest.importorskip("torch")
    fitting, test = in_threes(rng), in_threes(rng)
    ensemble = StackingEnsemble(method).fit(fitting)
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.predict_proba(test), ensemble.predict_proba(test))
    again.save(tmp_path / "second")
    assert again.combiner_.fallback_report_ == ensemble.combiner_.fallback_report_
    export_numpy(ensemble, tmp_path / "n")
    exported = reader.load(tmp_path / "n").predict_proba(test.to_array())
    np.testing.assert_allclose(exported, ensemble.predict_proba(test), atol=1e-5)


@pytest.mark.parametrize("numbers", [[0] * 12, [9] * 12, [0.0] * 12, [0] * 11])
def test_blocks_that_do_not_hold_the_labels_are_refused(rng, small_blocks, numbers):
    values, arrays, texts = RidgeContext().fit(in_threes(rng))._state()
    RidgeContext._from_state(values, arrays, texts)
    with pytest.raises(ValueError, match="the blocks of RidgeContext must hold its labels"):
        RidgeContext._from_state(values, {**arrays, "block_of_label_": np.array(numbers)}, texts)


def test_a_fit_forgets_the_blocks_of_the_one_before(rng, small_blocks):
    predictions = in_threes(rng)
    few = predictions.subset(labels=np.arange(5))
    stacker = RidgeContext().fit(predictions)
    np.testing.assert_array_equal(stacker.fit(few).predict_proba(few), RidgeContext().fit(few).predict_proba(few))


def test_label_rows_teach_blocks(rng, small_blocks):
    few, more = in_threes(rng).subset(samples=np.arange(120)), in_threes(rng, 2_000)
    taught = LabelContextStacker().fit(few.with_label_rows(more.y_true))
    assert taught.n_label_rows_ == 2_000
    assert "blocks" in taught.notes_[-1]
    assert taught.notes_[-1].startswith("label-context: label rows without scores taught ")


@pytest.mark.parametrize("check", list_combiner_checks())
@pytest.mark.parametrize("kind", [LabelContextStacker, RidgeContext])
def test_the_contract_is_kept_in_blocks(monkeypatch, kind, check):
    for name, value in {"MOST_LABELS": 3, "BLOCK_LABELS": 2, "NEIGHBOR_LABELS": 1}.items():
        monkeypatch.setattr(label_blocks, name, value)
    check_combiner(kind, only=check, symmetric=False)


def test_memory_grows_with_the_labels_not_with_their_square():
    one, two = (LabelContextStacker().memory_needed(4, 50_000, n_labels) for n_labels in (5_000, 10_000))
    assert two < 2.2 * one
    assert two < 12 * 2**30
