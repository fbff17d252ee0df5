"""Stores grow and shrink, and stay whole."""

import numpy as np
import pytest

from stacking.files.run_lock import FolderInUseError, run_lock
from stacking.predictions import (
    PredictionSet,
    add_by_label_copy,
    add_models,
    drop_models,
    load_store,
    pack_predictions,
    verify_store,
)


@pytest.fixture
def store(full_set, tmp_path):
    return pack_predictions(full_set, tmp_path / "store", by_label=True)


def test_by_label_copy(full_set, store, same_sets, monkeypatch):
    loaded = load_store(store)
    assert loaded.source.reads_labels_fast
    same_sets(loaded, full_set)
    copy = np.load(store / "by_label" / "0001.npy")
    assert copy.flags.f_contiguous
    np.testing.assert_array_equal(copy, full_set.to_array()[1])
    reads = []
    kind = type(loaded.source.base.matrices[0])
    read = kind.read
    monkeypatch.setattr(kind, "read", lambda self, *rest: (reads.append(self.by_column), read(self, *rest))[1])
    monkeypatch.setattr("stacking.predictions.score_reader.BLOCK_BYTES", 1)
    for labels, scores in loaded.iter_labels():
        np.testing.assert_array_equal(scores, full_set.to_array()[:, :, labels])
    assert reads and all(reads)
    reads.clear()
    np.testing.assert_array_equal(next(loaded.iter_rows(3))[1], full_set.to_array()[:, :3])
    assert not any(reads)


def test_by_label_copy_in_blocks(full_set, tmp_path, monkeypatch):
    monkeypatch.setattr("stacking.predictions.sources.rows_per_block", lambda columns, n_bytes: 7)
    folder = pack_predictions(full_set, tmp_path / "s", dtype="float16", by_label=True)
    for number in range(3):
        rows, columns = (np.load(folder / part / f"000{number}.npy") for part in ("scores", "by_label"))
        assert columns.dtype == np.float16
        np.testing.assert_array_equal(rows, columns)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    add_by_label_copy(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == before


def test_by_label_copy_later(full_set, tmp_path, same_sets):
    folder = pack_predictions(full_set, tmp_path / "s")
    assert not load_store(folder).source.reads_labels_fast
    add_by_label_copy(folder)
    assert load_store(folder).source.reads_labels_fast
    verify_store(folder)
    same_sets(load_store(folder), full_set)


def test_add_a_model(full_set, store, rng):
    order = rng.permutation(40)
    scores = rng.random((40, 2), dtype=np.float32)
    new = PredictionSet(scores[order][None], full_set.ids[order], ["new"], ["NA", "dress"])
    add_models(store, new)
    loaded = load_store(store, verify=True)
    assert loaded.models == (*full_set.models, "new")
    assert loaded.covers[3].tolist() == [True, False, True, False, False, False]
    np.testing.assert_array_equal(loaded.model_scores("new")[:, [2, 0]], scores)
    np.testing.assert_array_equal(loaded.to_array()[:3], full_set.to_array())
    np.testing.assert_array_equal(loaded.y_true, full_set.y_true)
    assert len(list((store / "by_label").iterdir())) == 4
    np.testing.assert_array_equal(np.concatenate([s for _, s in loaded.iter_labels()], axis=2), loaded.to_array())
    assert loaded.fingerprint == loaded.in_memory().fingerprint


def test_drop_a_model_and_add_it_again(full_set, store, same_sets):
    specialist = full_set.subset(models=["specialist"])
    drop_models(store, ["specialist"])
    same_sets(load_store(store, verify=True), full_set.subset(models=[0, 1]))
    assert not list(store.glob("covers*"))
    assert sorted(path.name for path in (store / "scores").iterdir()) == ["0000.npy", "0001.npy"]
    add_models(store, specialist)
    same_sets(load_store(store, verify=True), full_set)
    drop_models(store, ["cnn/a"])
    same_sets(load_store(store, verify=True), full_set.subset(models=[1, 2]))
    add_models(store, full_set.subset(models=[0]))
    same_sets(load_store(store, verify=True), full_set.subset(models=[1, 2, 0]))
    assert len(list(store.glob("covers*"))) == 1


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda s, p: add_models(s, p), ValueError, "models must have unique names: got 'cnn/a' twice"),
    (lambda s, p: drop_models(s, ["cnn/b"]), ValueError, r"got 'cnn/b'\. Did you mean 'cnn/a'"),
    (lambda s, p: drop_models(s, p.models), ValueError, "models must leave at least one in the store: got all 3"),
    (lambda s, p: pack_predictions(p, s), FileExistsError, "already holds a store"),
    (lambda s, p: add_models(s / "none", p), FileNotFoundError, "must be a prediction store: got no such folder"),
    (lambda s, p: add_models(s, PredictionSet([[[0.5]]])), ValueError, "lacks 40 of 40 rows, first row '000'"),
    (lambda s, p: add_models(s, PredictionSet(np.zeros((1, 40, 1)), p.ids)), ValueError, "first label 'label0'"),
])  # fmt: skip
def test_refusals_change_nothing(full_set, store, same_sets, change, error, message):
    with pytest.raises(error, match=message):
        change(store, full_set)
    same_sets(load_store(store, verify=True), full_set)


def test_two_changes_at_once_are_refused(full_set, store):
    with run_lock(store), pytest.raises(FolderInUseError, match="another run is working in this folder"):
        drop_models(store, ["cnn/a"])


def test_a_changed_store_can_be_replaced(full_set, store, same_sets):
    drop_models(store, ["cnn/a"])
    pack_predictions(full_set, store, overwrite=True)
    same_sets(load_store(store, verify=True), full_set)
    assert not list((store / "by_label").iterdir())
