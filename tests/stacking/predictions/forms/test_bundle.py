"""The bundle: one .npz file."""

import numpy as np
import pytest

from stacking.predictions import PredictionSet, load_predictions, save_predictions


@pytest.fixture
def arrays():
    return {
        "y_scores": np.array([[[0.25, 0.5]]], np.float32), "ids": np.array(["a"]), "models": np.array(["m"]),
        "labels": np.array(["x", "y"]),
    }  # fmt: skip


def test_round_trip(full_set, tmp_path, same_sets):
    path = save_predictions(full_set, tmp_path / "p.npz")
    with pytest.warns(UserWarning, match="holds unknown keys 'seed': kept in extras"):
        loaded = load_predictions(path)
    same_sets(loaded, full_set)
    assert loaded.fingerprint == full_set.fingerprint


def test_bundles_and_stores_say_the_same(full_set, tmp_path):
    full_set.extras.clear()
    bundle = load_predictions(save_predictions(full_set, tmp_path / "p.npz"))
    store = load_predictions(save_predictions(bundle, tmp_path / "s"))
    again = load_predictions(save_predictions(store.subset(samples=slice(None)), tmp_path / "q.npz"))
    assert bundle.fingerprint == store.fingerprint == again.fingerprint
    assert (tmp_path / "p.npz").read_bytes() == (tmp_path / "q.npz").read_bytes()


def test_numpy_reads_it_without_pickle(full_set, tmp_path):
    with np.load(save_predictions(full_set, tmp_path / "p.npz"), allow_pickle=False) as archive:
        assert archive["y_scores"].dtype == np.float32
        assert archive["models"].tolist() == list(full_set.models)
        assert archive["label_groups"].tolist() == list(full_set.label_groups)


def test_an_existing_bundle_is_replaced_when_asked(full_set, tmp_path):
    save_predictions(full_set, tmp_path / "p.npz")
    with pytest.raises(FileExistsError, match=r"p\.npz is there already: choose another name"):
        save_predictions(PredictionSet([[[0.5]]]), tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as kept:
        assert kept["ids"].tolist() == full_set.ids.tolist()
    save_predictions(PredictionSet([[[0.5]]]), tmp_path / "p.npz", overwrite=True)
    assert load_predictions(tmp_path / "p.npz").to_array().tolist() == [[[0.5]]]
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_float16(full_set, tmp_path):
    full_set.extras.clear()
    path = save_predictions(full_set, tmp_path / "p.npz", dtype="float16")
    found = load_predictions(path).to_array()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, full_set.to_array(), rtol=0, atol=2**-11)


def test_bundles_of_numpy(arrays, tmp_path):
    np.savez_compressed(tmp_path / "p.npz", **arrays, y_true=np.array([[True, False]]))
    assert load_predictions(tmp_path / "p.npz").y_true.tolist() == [[1, 0]]


def test_logits(arrays, tmp_path):
    arrays["y_scores"] = np.array([[[0.0, -1000.0]]])
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(ValueError, match=r"p\.npz: model 'm', row 'a', label 'y': .*got -1000.0; .* from_logits=True"):
        load_predictions(tmp_path / "p.npz")
    assert load_predictions(tmp_path / "p.npz", from_logits=True).to_array().tolist() == [[[0.5, 0.0]]]


def test_a_missing_key_is_named(arrays, tmp_path):
    del arrays["ids"]
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(
        ValueError, match=r"must hold y_scores, ids, models, labels: it lacks 'ids' and holds 'y_scores'"
    ):
        load_predictions(tmp_path / "p.npz")


def test_python_objects_are_never_loaded(arrays, tmp_path):
    arrays["ids"] = np.array(["a"], object)
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(ValueError, match="holds Python objects, which are never loaded"):
        load_predictions(tmp_path / "p.npz")


@pytest.mark.parametrize("change", [
    lambda b: b[:-1], lambda b: b"", lambda b: b"hello", lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:],
])  # fmt: skip
def test_damage_is_found(full_set, tmp_path, change):
    path = save_predictions(full_set, tmp_path / "p.npz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"p\.npz must be an undamaged \.npz file"):
        load_predictions(path)


def test_one_array_is_no_bundle(tmp_path):
    np.save(tmp_path / "p.npy", np.zeros(3))
    (tmp_path / "p.npy").rename(tmp_path / "p.npz")
    with pytest.raises(ValueError, match="it is not one, or was cut short"):
        load_predictions(tmp_path / "p.npz")


def test_extras_that_need_pickle_are_refused(tmp_path):
    predictions = PredictionSet([[[0.5]]], extras={"file": np.array([1]), "odd": object()})
    with pytest.raises(TypeError, match="odd must hold numbers or strings to be saved"):
        save_predictions(predictions, tmp_path / "p.npz")
    del predictions.extras["odd"]
    save_predictions(predictions, tmp_path / "p.npz")
    with pytest.warns(UserWarning, match="unknown keys 'file'"):
        assert load_predictions(tmp_path / "p.npz").extras["file"].tolist() == [1]


def test_real_predictions(shared_data, tmp_path):
    predictions = load_predictions(shared_data / "jamendo_moodtheme" / "predictions.npz")
    assert (predictions.n_models, predictions.n_samples, predictions.n_labels) == (39, 2521, 56)
    assert predictions.models[0] == "MTG/results_mediaeval_baseline_vggish_predictions"
    store = load_predictions(save_predictions(predictions, tmp_path / "store"))
    assert store.fingerprint == predictions.fingerprint
