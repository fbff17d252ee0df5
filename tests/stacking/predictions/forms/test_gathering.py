"""Scores in every form that people have them give one and the same prediction set, matched by name or refused."""

import numpy as np
import pandas as pd
import pytest

from stacking.predictions import PredictionSet, save_predictions
from stacking.predictions.forms.gathering import load

IDS = [f"p{number:02}" for number in range(12)]
LABELS = ["dress", "red", "hat"]
MODELS = ("resnet", "vit", "cnn")


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    return pd.DataFrame(rng.integers(0, 2, (12, 3)), index=pd.Index(IDS, name="photo"), columns=LABELS)


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(4)
    return {
        model: pd.DataFrame(rng.random((12, 3)).astype(np.float32), index=pd.Index(IDS, name="photo"), columns=LABELS)
        for model in MODELS
    }


def shuffle(frame, seed):
    return frame.sample(frac=1, random_state=seed).sample(frac=1, axis=1, random_state=seed)


def assert_same(found, frames, truth=None):
    assert set(found.models) == set(frames)
    assert sorted(found.ids) == IDS and sorted(found.labels) == sorted(LABELS)
    for model, frame in frames.items():
        wanted = frame.loc[found.ids, list(found.labels)].to_numpy(np.float32)
        np.testing.assert_allclose(found.model_scores(model), wanted, atol=1e-6)
    if truth is not None:
        np.testing.assert_array_equal(found.y_true, truth.loc[found.ids, list(found.labels)])


def write(frame, path):
    """Write a frame in the form that the file's name asks for."""
    if path.suffix == ".csv":
        frame.to_csv(path)
    elif path.suffix == ".tsv":
        frame.to_csv(path, sep="\t")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix in (".feather", ".arrow"):
        frame.reset_index().to_feather(path)
    else:
        write_hdf5(frame, path)


def write_hdf5(frame, path):
    """Write what pandas.DataFrame.to_hdf writes (format='fixed'), which itself needs PyTables."""
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group("scores")
        group.attrs["pandas_type"], group.attrs["nblocks"] = b"frame", 1
        group["axis0"] = group["block0_items"] = np.array(list(map(str.encode, frame.columns)))
        group["axis1"] = np.array([name.encode() for name in frame.index])
        group["block0_values"] = frame.to_numpy()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".feather", ".arrow", ".h5", ".hdf5"])
def test_files(frames, truth, tmp_path, suffix):
    for seed, (model, frame) in enumerate(frames.items()):
        write(shuffle(frame, seed), tmp_path / f"{model}{suffix}")
    write(shuffle(truth, 9), tmp_path / f"truth{suffix}")
    paths = [tmp_path / f"{model}{suffix}" for model in MODELS]
    found = load(*paths, truth=tmp_path / f"truth{suffix}")
    assert found.models == MODELS
    assert_same(found, frames, truth)
    assert_same(load(paths, truth=truth), frames, truth)
    assert_same(load({model: str(path) for model, path in zip(MODELS, paths, strict=True)}), frames)
    (tmp_path / f"truth{suffix}").unlink()
    found = load(str(tmp_path / f"*{suffix}"), truth=truth)
    assert found.models == tuple(sorted(MODELS))
    assert_same(found, frames, truth)


def as_polars(frame):
    import polars as pl

    return pl.DataFrame({"photo": list(frame.index)} | {name: frame[name].to_numpy() for name in frame})


def as_arrow(frame):
    import pyarrow as pa

    return pa.table({name: frame[name].to_numpy() for name in frame} | {"photo": list(frame.index)})


FRAMES = {
    "pandas": lambda frame: frame,
    "read by pandas": lambda frame: frame.reset_index(),
    "row numbers in another order": lambda frame: frame.reset_index().sample(frac=1, random_state=1),
    "nullable": lambda frame: frame.convert_dtypes(),
    "polars": as_polars,
    "lazy": lambda frame: as_polars(frame).lazy(),
    "pyarrow": as_arrow,
    "narwhals": lambda frame: __import__("narwhals").from_native(as_polars(frame)),
}


@pytest.mark.parametrize("form", FRAMES)
def test_frames(frames, truth, form):
    make = FRAMES[form]
    given = {model: make(shuffle(frame, seed)) for seed, (model, frame) in enumerate(frames.items())}
    assert_same(load(given, truth=make(shuffle(truth, 8))), frames, truth)
    assert_same(load(given, truth=shuffle(truth, 8)), frames, truth)
    unnamed = load(*given.values())
    assert unnamed.models == ("model0", "model1", "model2")
    assert load(list(given.values())).ids.tolist() == unnamed.ids.tolist()
    assert load([(name, frame) for name, frame in given.items()]).models == MODELS


def test_frames_beside_files(frames, truth, tmp_path):
    shuffle(frames["cnn"], 3).to_csv(tmp_path / "cnn.csv")
    given = {"resnet": frames["resnet"], "vit": as_polars(shuffle(frames["vit"], 2)), "cnn": tmp_path / "cnn.csv"}
    assert_same(load(given, truth=shuffle(truth, 1)), frames, truth)


def test_bundles_and_stores(frames, truth, tmp_path):
    predictions = load(frames, truth=truth)
    for name in ("bundle.npz", "store"):
        save_predictions(predictions, tmp_path / name)
        assert_same(load(tmp_path / name), frames, truth)
    assert load(predictions) is predictions
    assert_same(load(predictions, truth=1 - truth), frames, 1 - truth)


def test_hdf5_with_the_names_of_a_bundle_and_with_one_matrix(frames, truth, tmp_path):
    import h5py

    predictions = load(frames, truth=truth)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["y_scores"], file["y_true"] = predictions.to_array(), predictions.y_true
        for name in ("ids", "models", "labels"):
            file.create_dataset(name, data=list(getattr(predictions, name)), dtype=h5py.string_dtype())
    assert_same(load(tmp_path / "all.h5"), frames, truth)
    with h5py.File(tmp_path / "cnn.h5", "w") as file:
        file["preds"] = frames["cnn"].to_numpy()
    found = load(tmp_path / "cnn.h5", ids=IDS, labels=LABELS)
    assert_same(found, {"cnn": frames["cnn"]})
    with pytest.raises(ValueError, match=r"cnn.h5 is a matrix without names: give those of its rows and columns"):
        load(tmp_path / "cnn.h5")
    with pytest.raises(ValueError, match="must have 12 rows and 2 columns, as ids and labels say: got 12 and 3"):
        load(tmp_path / "cnn.h5", ids=IDS, labels=LABELS[:2])


def test_hdf5_holds_nothing_that_runs_or_lies_elsewhere(tmp_path):
    import h5py

    with h5py.File(tmp_path / "objects.h5", "w") as file:
        file.create_dataset("scores", shape=(2,), dtype=h5py.vlen_dtype(np.uint8))  # how PyTables keeps pickles
    with pytest.raises(ValueError, match="must hold numbers or text: got object, which may be Python objects"):
        load(tmp_path / "objects.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["scores"] = h5py.ExternalLink(str(tmp_path / "objects.h5"), "/scores")
    with pytest.raises(ValueError, match="must hold its arrays itself: it links to something else"):
        load(tmp_path / "link.h5")
    (tmp_path / "raw.bin").write_bytes(bytes(800))
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("scores", (10, 10), "f8", external=[(str(tmp_path / "raw.bin"), 0, 800)])
    with pytest.raises(ValueError, match="the array must lie in this file: it lies in another"):
        load(tmp_path / "raw.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("scores", (40_000, 1_000), "f8", compression="gzip", fillvalue=0.5)
    with pytest.raises(ValueError, match=r"would unpack to \d+ times its size and is not opened"):
        load(tmp_path / "bomb.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="must be an undamaged HDF5 file"):
        load(tmp_path / "text.h5")


@pytest.mark.parametrize(
    ("package", "name", "sentence"),
    [
        ("h5py", "a.h5", r"reading HDF5 needs h5py: pip install 'labelstack\[h5\]'"),
        ("pyarrow", "a.parquet", r"reading Parquet needs pyarrow: pip install 'labelstack\[parquet\]'"),
        ("pyarrow", "a.feather", r"reading Feather needs pyarrow: pip install 'labelstack\[parquet\]'"),
    ],
)
def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch, package, name, sentence):
    import builtins

    usual = builtins.__import__

    def absent(wanted, *args, **kwargs):
        if wanted.partition(".")[0] == package:
            raise ImportError(f"No module named {wanted!r}")
        return usual(wanted, *args, **kwargs)

    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=sentence):
        load(tmp_path / name)


def test_arrays_tensors_and_lists_go_by_position(frames, truth):
    array = np.stack([frame.to_numpy() for frame in frames.values()])
    for given in (array, array.tolist(), list(array), dict(zip(MODELS, array, strict=True))):
        found = load(given, truth=truth.to_numpy())
        np.testing.assert_array_equal(found.to_array(), array)
        np.testing.assert_array_equal(found.y_true, truth)
    assert load(*array).models == ("model0", "model1", "model2")
    named = load(array, truth=truth)
    assert named.ids.tolist() == IDS and named.labels == tuple(LABELS)  # of the frame beside them
    named = load(array, ids=IDS, labels=LABELS, truth=shuffle(truth, 2))
    np.testing.assert_array_equal(named.y_true, truth)


def test_tensors(frames, truth):
    torch = pytest.importorskip("torch")
    array = np.stack([frame.to_numpy() for frame in frames.values()])
    tensors = {
        "plain": torch.tensor(array),
        "with gradients": torch.tensor(array, requires_grad=True) * 1,
        "bfloat16": torch.tensor(array, dtype=torch.bfloat16, requires_grad=True),
        "half": torch.tensor(array).half(),
        "sparse": torch.tensor(array).to_sparse(),
        "double": torch.tensor(array).double(),
    }
    for name, tensor in tensors.items():
        tolerance = {"bfloat16": 4e-3, "half": 1e-3}.get(name, 1e-6)
        found = load(tensor, truth=torch.tensor(truth.to_numpy()))
        np.testing.assert_allclose(found.to_array(), array, atol=tolerance, err_msg=name)
        np.testing.assert_array_equal(found.y_true, truth)
        if name != "sparse":
            apart = load({model: tensor[place] for place, model in enumerate(MODELS)})
            np.testing.assert_allclose(apart.to_array(), array, atol=tolerance, err_msg=name)
            assert load(list(tensor)).models == ("model0", "model1", "model2")


class OnlyDlpack:
    """An array of a library that numpy knows by the exchange protocol alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_arrays_of_other_libraries(frames):
    array = np.stack([frame.to_numpy() for frame in frames.values()])
    np.testing.assert_array_equal(load(OnlyDlpack(array)).to_array(), array)
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16 if _has("ml_dtypes") else None
    if bfloat16 is not None:  # how jax and TensorFlow hand it out
        np.testing.assert_allclose(load(array.astype(bfloat16)).to_array(), array, atol=4e-3)


def _has(package):
    import importlib.util

    return importlib.util.find_spec(package) is not None


def test_logits_are_said_to_be_such(frames):
    logits = {model: np.log(frame / (1 - frame)) for model, frame in frames.items()}
    assert_same(load(logits, from_logits=True), frames)
    mixed = {**frames, "vit": logits["vit"]}
    assert_same(load(mixed, from_logits=["vit"]), frames)
    with pytest.raises(ValueError, match=r"from_logits .* must name models .* got 'vgg'"):
        load(mixed, from_logits=["vgg"])


LISTS = {
    "one cell": lambda truth: pd.DataFrame(
        {"id": truth.index, "labels": ["|".join(truth.columns[row.astype(bool)]) for row in truth.to_numpy()]}
    ),
    "one row per label": lambda truth: truth.stack().rename("value").rename_axis(["id", "label"]).reset_index(),
    "python lists": lambda truth: pd.DataFrame(
        {"labels": [truth.columns[row.astype(bool)].tolist() for row in truth.to_numpy()]}, index=truth.index
    ),
}


@pytest.mark.parametrize("form", LISTS)
def test_a_truth_frame_may_list_labels(frames, truth, form):
    table = LISTS[form](truth).sample(frac=1, random_state=4)
    assert_same(load(frames, truth=table), frames, truth)


def test_a_truth_frame_may_hold_groups_and_weights(frames, truth):
    table = truth.assign(group=["a", "b", "c"] * 4, sample_weight=np.arange(1, 13) / 2).sample(frac=1, random_state=5)
    found = load(frames, truth=table)
    assert_same(found, frames, truth)
    assert found.groups.tolist() == table.loc[found.ids, "group"].tolist()
    assert found.sample_weight.tolist() == table.loc[found.ids, "sample_weight"].tolist()
    series = pd.Series(["x", "y"] * 6, index=IDS).sample(frac=1, random_state=6)
    assert load(frames, truth=truth, groups=series).groups.tolist() == ["x", "y"] * 6


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        (lambda frames: (), ValueError, "load needs scores"),
        (lambda frames: ([],), ValueError, "load needs scores"),
        (
            lambda frames: ({"a": object()},),
            TypeError,
            "must be a path, .* or a tensor: got object",
        ),
        (lambda frames: ("absent-*.csv",), FileNotFoundError, r"absent-\*.csv must match at least one file"),
        (lambda frames: ("absent.csv",), FileNotFoundError, "does not exist"),
        (lambda frames: ({"a": frames["vit"], "b": frames["cnn"].iloc[:9]},), ValueError, "must have the 12 rows"),
        (
            lambda frames: ({"a": frames["vit"], "b": frames["cnn"].rename(index={"p03": "p99"})},),
            ValueError,
            "1 missing, such as 'p03' and 1 unknown, such as 'p99'",
        ),
        (lambda frames: ([("a", frames["vit"]), ("a", frames["cnn"])],), ValueError, "got 'a' 2 times"),
        (
            lambda frames: ({"a": frames["vit"].assign(red="much"), "b": frames["cnn"]},),
            ValueError,
            r"scores\['a'\], column 'red': the cells must be numbers: got 'much'",
        ),
        (
            lambda frames: ({"a": pd.concat([frames["vit"], frames["vit"]])},),
            ValueError,
            "p00",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(frames, given, kind, sentence):
    with pytest.raises(kind, match=sentence):
        load(*given(frames))


def test_an_array_beside_files_is_refused(frames, tmp_path):
    frames["cnn"].to_csv(tmp_path / "cnn.csv")
    with pytest.raises(TypeError, match="model 'vit' must name its rows and labels to be matched with files"):
        load({"cnn": tmp_path / "cnn.csv", "vit": frames["vit"].to_numpy()})


def test_a_prediction_set_remembers_the_frames_it_was_made_of(frames):
    assert load(frames).form.library == "pandas" and load(frames).form.index_name == "photo"
    found = load({model: as_polars(frame) for model, frame in frames.items()})
    assert (found.form.library, found.form.id_column) == ("polars", "photo")
    assert found.subset(samples=slice(3)).form == found.form
    assert PredictionSet(np.zeros((1, 2, 2))).form is None
