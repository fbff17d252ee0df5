"""Stores and bundles that were changed and hashed again are refused in one sentence, or hold probabilities."""

import hashlib
import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from stacking import load_predictions
from stacking.predictions import load_store, save_predictions
from stacking.predictions.forms.matrix_files import header_bytes
from stacking.testing import make_predictions

VALUES = [None, 3, -1, 1.5, "x", [], {}, ["a", "a", "b"], [1, 2, 3], {"a": {"b": 1}}, 10**30, "\ud800", True]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "store"
    save_predictions(make_predictions(3, 40, 5), folder)
    return folder


@pytest.fixture
def store(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "store")


def hash_again(folder):
    index = json.loads((folder / "index.json").read_text())
    for name in index["files"]:
        data = (folder / name).read_bytes()
        index["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "index.json").write_text(json.dumps(index))


def read_or_refuse(folder, **options):
    """Open and read everything; only the one sentence may come instead."""
    try:
        predictions = load_predictions(folder, **options)
        scores = predictions.to_array()
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return str(error)
    assert ((scores >= 0) & (scores <= 1) | np.isnan(scores) & ~predictions.covers[:, None]).all()
    return None


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_any_entry_of_the_index_may_hold_anything(store, value):
    index = json.loads((store / "index.json").read_text())
    for path in [(key,) for key in index] + [("files", "ids.npy"), ("files", "ids.npy", "bytes"), ("facts", "y_true")]:
        for remove in (False, True):
            changed = json.loads(json.dumps(index))
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            if remove:
                del place[path[-1]]
            (store / "index.json").write_text(json.dumps(changed))
            read_or_refuse(store)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.npy", "scores/../../x.npy", "scores/0001.npy", "ids.npy", ""])
def test_files_outside_or_named_twice_are_refused(store, name):
    index = json.loads((store / "index.json").read_text())
    index["scores"][0] = name
    index["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (store / "index.json").write_text(json.dumps(index))
    assert read_or_refuse(store) is not None


@pytest.mark.parametrize("value", [7, -1, np.inf, -np.inf, np.nan, 1.0000001, -1e-30])
@pytest.mark.parametrize("verify", [None, False])
@pytest.mark.parametrize("by_label", [False, True])
def test_scores_that_are_no_probabilities_name_their_place(store, value, verify, by_label):
    if by_label:
        from stacking.predictions import add_by_label_copy

        add_by_label_copy(store)
    for path in [store / "scores" / "0001.npy", *store.glob("by_label/0001.npy")]:
        scores = np.load(path)
        scores[17, 3] = value
        np.save(path, scores)
    hash_again(store)
    predictions = load_store(store, verify=verify)
    expected = rf"model 'model1', row '{predictions.ids[17]}', label 'label3': the score must be"
    with pytest.raises(ValueError, match=expected):
        predictions.to_array()
    with pytest.raises(ValueError, match=expected):
        list(predictions.iter_labels())
    with pytest.raises(ValueError, match=expected):
        predictions.subset(samples=[5, 17], labels=["label3", "label0"]).to_array()
    assert predictions.subset(samples=[5, 16]).to_array().shape == (3, 2, 5)


def test_minus_zero_is_a_probability(store):
    scores = np.load(store / "scores" / "0000.npy")
    scores[0, 0] = -0.0
    np.save(store / "scores" / "0000.npy", scores)
    hash_again(store)
    assert load_store(store).to_array()[0, 0, 0] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        header_bytes((10**12, 5), "<f4"),
        header_bytes((40, 5), "<f8") + bytes(40 * 5 * 4),
        header_bytes((-40, -5), "<f4") + bytes(40 * 5 * 4),
        header_bytes((40, 5), "|O") + bytes(40 * 5 * 8),
        header_bytes((40, 5), "<c8") + bytes(40 * 5 * 8),
        header_bytes((200,), "<f4") + bytes(800),
        header_bytes((5, 40), "<f4") + bytes(800),
        header_bytes((0, 5), "<f4"),
    ],
    ids=["empty", "cut", "giant", "short", "negative", "objects", "complex", "flat", "turned", "no-rows"],
)
def test_score_files_that_lie_about_themselves_are_refused(store, data):
    for name in ("scores/0000.npy", "ids.npy", "y_true.npy"):
        kept = (store / name).read_bytes()
        (store / name).write_bytes(data)
        hash_again(store)
        assert read_or_refuse(store) is not None
        (store / name).write_bytes(kept)


def test_scores_in_fortran_order_are_read_alike(store):
    before = load_store(store).to_array()
    scores = np.load(store / "scores" / "0000.npy")
    np.save(store / "scores" / "0000.npy", np.asfortranarray(scores))
    hash_again(store)
    np.testing.assert_array_equal(load_store(store).to_array(), before)


@pytest.mark.parametrize("what", ["scores", "scores/0000.npy", "ids.npy"])
def test_links_inside_a_store_are_refused(store, tmp_path, what):
    shutil.move(store / what, tmp_path / "outside")
    (store / what).symlink_to(tmp_path / "outside")
    assert "must hold its files itself" in read_or_refuse(store)


def test_a_link_to_a_store_is_a_store(store, tmp_path):
    (tmp_path / "link").symlink_to(store)
    assert read_or_refuse(tmp_path / "link") is None


def test_index_nested_thousands_deep(store):
    (store / "index.json").write_bytes(b'{"format": ' + b"[" * 50_000)
    assert "nested" in read_or_refuse(store)


def bundle_with(path, *, compression=zipfile.ZIP_STORED, **members):
    arrays = {"ids": np.array(["a", "b"]), "models": np.array(["m"]), "labels": np.array(["x", "y"])}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, array in ({**arrays, "y_scores": np.full((1, 2, 2), 0.5, np.float32)} | members).items():
            if isinstance(array, np.ndarray):
                file = io.BytesIO()
                np.save(file, array)
                array = file.getvalue()
            archive.writestr(f"{key}.npy", array)
    return path


def test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(tmp_path):
    zeros = np.zeros((1, 100_000, 200), np.float32)
    path = bundle_with(tmp_path / "bomb.npz", compression=zipfile.ZIP_DEFLATED, y_scores=zeros)
    assert path.stat().st_size < 200_000
    assert "is not opened" in read_or_refuse(path)


def test_a_small_compressed_bundle_is_fine(tmp_path):
    path = bundle_with(tmp_path / "b.npz", compression=zipfile.ZIP_DEFLATED, y_scores=np.zeros((1, 2, 2), np.float32))
    assert read_or_refuse(path) is None


@pytest.mark.parametrize("key", ["y_scores", "ids", "y_true", "extra"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        header_bytes((10**13,), "<f4"),
        header_bytes((1,), "|O") + bytes(8),
        header_bytes((-2, -2), "<f4") + bytes(16),
    ],
    ids=["empty", "giant", "objects", "negative"],
)
def test_bundle_members_that_lie_are_refused(tmp_path, key, data):
    assert str(tmp_path) in read_or_refuse(bundle_with(tmp_path / "b.npz", **{key: data}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bundle_with_one_name_twice_is_refused(tmp_path):
    path = bundle_with(tmp_path / "b.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("ids.npy", b"")
    assert "each once" in read_or_refuse(path)


def test_a_gzip_bomb_is_no_table(tmp_path):
    import gzip

    path = tmp_path / "scores.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"id,a\n")
        for _ in range(80):
            file.write(b"0" * 2**20)
    with pytest.raises(ValueError, match="is not opened"):
        load_predictions(models=[path])


def test_surrogates_are_no_names(tmp_path):
    for key in ("ids", "models", "labels"):
        array = {"ids": ["a", "\ud800"], "models": ["\udc80"], "labels": ["x", "\udfff"]}[key]
        assert "UTF-8" in read_or_refuse(bundle_with(tmp_path / "b.npz", **{key: np.array(array)}))
