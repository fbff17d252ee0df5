"""Made-up and damaged files for every reader and writer: only ValueError, TypeError or OSError may leave them.

`hypothesis` makes the cases. In the suite a few of each are tried; ``make fuzz`` tries thirty times as many,
and ``LABELSTACK_FUZZ=10`` ten times. Warnings
that readers give on purpose are listed in ``LISTED``; any other one is an error here as it is everywhere in the tests.
"""

import contextlib
import io
import json
import os
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from base_models.manifest.folder import scan_folder
from base_models.manifest.imaterialist_json import read_imaterialist_json, read_photo_urls
from base_models.manifest.tar_shards import scan_tar_shards
from base_models.photos.decoding import decode_photo
from experiments.recipe import load_recipe
from stacking import PredictionSet, StackingEnsemble, load_predictions, save_predictions
from stacking.combiners.meta_learners.trees.tree_text import load_booster
from stacking.files.untrusted import read_json, read_npy, read_npz
from stacking.predictions.forms.name_lists import read_ids, read_label_list
from stacking.predictions.forms.truth import read_truth
from stacking.testing import make_predictions

TIMES = {"": 1, "long": 30}.get(asked := os.environ.get("LABELSTACK_FUZZ", "")) or int(asked)
LISTED = (
    "unknown keys",
    "blank cells",
    "are not used",
    "no model answers",
    "models name different labels",
    "labels occur",
)
EXPECTED = (ValueError, TypeError, OSError)

pytestmark = pytest.mark.fuzz


def fuzz(n_cases):
    """Try so many cases, always the same ones in the suite; no database, no deadline."""
    return settings(
        max_examples=TIMES * n_cases,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def survive(action, *arguments, **options):
    """Run; return what came, or None where it was refused in one sentence."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = action(*arguments, **options)
        except EXPECTED as error:
            assert str(error).strip(), repr(error)
            assert isinstance(error, OSError) or len(str(error)) < 5000
            result = None
    strange = [warning for warning in said if not any(text in str(warning.message) for text in LISTED)]
    assert not strange, strange[0].message
    return result


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@st.composite
def damaged(draw, sources):
    """One of some honest files, changed in a few places, cut, or with a piece repeated."""
    data = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        how = draw(st.integers(0, 3))
        if how == 0:
            data[place] = draw(st.integers(0, 255))
        elif how == 1:
            del data[place : place + draw(st.integers(1, 64))]
        elif how == 2:
            data[place:place] = data[place : place + draw(st.integers(1, 64))]
        else:
            data[place : place + 1] = draw(
                st.sampled_from([b"", b"\0", b"\xff", b"9" * 30, b"-1", b"nan", b"[[[[", b'"', b"\n"])
            )
    return bytes(data)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


# -- JSON, arrays, archives --------------------------------------------------------------------------------------------


@fuzz(60)
@given(data=st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_json(tmp_path_factory, data):
    path = put(tmp_path_factory.getbasetemp(), "f.json", data)
    survive(read_json, path, "a file")
    survive(read_ids, path)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


ARRAYS = [
    npy(np.eye(3, dtype="f4")),
    npy(np.array(["a", "bb"])),
    npy(np.asfortranarray(np.ones((4, 5)))),
    npy(np.bool_(1)),
]


@fuzz(80)
@given(data=damaged(ARRAYS))
def test_arrays(tmp_path_factory, data):
    path = put(tmp_path_factory.getbasetemp(), "f.npy", data)
    array = survive(read_npy, path)
    assert array is None or (array.nbytes <= len(data) and not array.dtype.hasobject)
    survive(read_ids, path)
    survive(read_label_list, path)
    survive(read_truth, path, ids=np.array(["a", "b", "c"]), labels=["x", "y", "z"])
    survive(load_predictions, models=[path], ids=["a", "b", "c"], labels=["x", "y", "z"])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    save_predictions(make_predictions(2, 6, 3), folder / "a.npz")
    with (
        zipfile.ZipFile(folder / "a.npz") as plain,
        zipfile.ZipFile(folder / "b.npz", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    return [(folder / name).read_bytes() for name in ("a.npz", "b.npz")]


@fuzz(80)
@given(data=st.data())
def test_bundles(bundles, tmp_path_factory, data):
    path = put(tmp_path_factory.getbasetemp(), "f.npz", data.draw(damaged(bundles)))
    survive(read_npz, path)
    read_whole(survive(load_predictions, path))
    survive(read_truth, path)


def read_whole(predictions):
    """Read all scores of a set; they must be probabilities."""
    scores = None if predictions is None else survive(predictions.to_array)
    if scores is not None:
        assert ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all()


@fuzz(60)
@given(
    key=st.sampled_from(["y_scores", "ids", "models", "labels", "y_true", "y_known", "groups", "folds", "covers", "x"]),
    value=st.lists(SCALARS, max_size=4) | st.lists(st.lists(SCALARS, max_size=3), max_size=3) | SCALARS,
)
def test_prediction_sets_of_anything(key, value):
    metadata = {"y_scores": [[[0.5, 0.1]]], "ids": ["a"], "models": ["m"], "labels": ["x", "y"], key: value}
    if key == "x":
        metadata["extras"] = {"x": metadata.pop("x")}
    read_whole(survive(PredictionSet, metadata.pop("y_scores"), **metadata))


# -- stores and ensembles ----------------------------------------------------------------------------------------------


def hash_again(folder, manifest, files):
    """Hash what was changed, as whoever changes it can."""
    import hashlib

    index = json.loads((folder / manifest).read_text())
    for name in index[files]:
        data = (folder / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        index[files][name] = digest if files == "sha256" else {"bytes": len(data), "sha256": digest}
    (folder / manifest).write_text(json.dumps(index))


@fuzz(60)
@given(data=st.data())
def test_stores(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store") / "s"
    save_predictions(make_predictions(2, 6, 3), folder)
    change_one_file(folder, data, "index.json")
    if data.draw(st.booleans()):
        survive(hash_again, folder, "index.json", "files")
    read_whole(survive(load_predictions, folder, verify=data.draw(st.sampled_from([None, False]))))


def change_one_file(folder, data, *more):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files + [folder / name for name in more] * 3))
    path.write_bytes(data.draw(damaged([path.read_bytes()])))


@pytest.fixture(scope="module")
def ensembles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    for method in ("greedy", "label-context", "lightgbm"):
        StackingEnsemble(method, n_splits=2).fit(make_predictions(2, 200, 3)).save(folder / method)
    return {
        method.name: {path.relative_to(method): path.read_bytes() for path in method.rglob("*") if path.is_file()}
        for method in sorted(folder.iterdir())
    }


@fuzz(60)
@given(data=st.data())
def test_ensembles(ensembles, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ensemble")
    for name, content in ensembles[data.draw(st.sampled_from(sorted(ensembles)))].items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    change_one_file(folder, data, "manifest.json", "combiner.json")
    if data.draw(st.integers(0, 3)):
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            hash_again(folder, "manifest.json", "sha256")
    ensemble = survive(StackingEnsemble.load, folder)
    if ensemble is not None:
        answer = survive(ensemble.predict_proba, make_predictions(2, 20, 3))
        assert answer is None or ((answer >= 0) & (answer <= 1)).all()


@fuzz(60)
@given(data=st.data())
def test_lightgbm_texts(ensembles, data):
    texts = [content for name, content in ensembles["lightgbm"].items() if name.suffix == ".txt"]
    if texts:
        survive(load_booster, data.draw(damaged(texts)).decode("utf-8", "replace"), n_features=5, who="a label")


# -- tables, label lists, recipes, annotations -------------------------------------------------------------------------

TABLES = [
    b"id,x,y\na,0.5,0.1\nb,1,0\n",
    b"id,labels\na,x|y\nb,\n",
    b"id,labels,group,sample_weight\na,x y,g,1\nb,y,h,2\n",
    "\ufeffid;x\né;1\n".encode(),
    b"labelId,labelName,taskName\n1,x,t\n2,y,t\n",
    b"id\tx\na\t1\n",
]


@fuzz(80)
@given(
    data=damaged(TABLES) | st.binary(max_size=120),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz", ".parquet"]),
)
def test_tables(tmp_path_factory, data, suffix):
    path = put(tmp_path_factory.getbasetemp(), f"f{suffix}", data)
    read_whole(survive(load_predictions, models=[path]))
    survive(read_truth, path, labels=["x", "y"])
    survive(read_label_list, path)
    survive(read_ids, path)


RECIPE = b"""name = "small"
[data]
root = "photos"
annotations = "a.csv"
[folds]
n_folds = 3
[[members]]
name = "a"
network = "scratch_cnn"
size = 32
[members.training]
epochs = 2
"""


@fuzz(60)
@given(data=damaged([RECIPE]) | st.binary(max_size=80))
def test_recipes(tmp_path_factory, data):
    survive(load_recipe, put(tmp_path_factory.getbasetemp(), "r.toml", data))


ANNOTATIONS = (
    b'{"images": [{"imageId": "1", "url": "http://a/1.jpg"}], "annotations": [{"imageId": "1", "labelId": ["66"]}]}'
)


@fuzz(60)
@given(data=damaged([ANNOTATIONS]))
def test_annotations(tmp_path_factory, data):
    path = put(tmp_path_factory.getbasetemp(), "a.json", data)
    survive(read_imaterialist_json, path)
    survive(read_photo_urls, path)


# -- photos ------------------------------------------------------------------------------------------------------------


def picture(kind, **options):
    file = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(file, kind, **options)
    return file.getvalue()


PHOTOS = [
    picture("JPEG"),
    picture("JPEG", progressive=True),
    picture("PNG"),
    picture("GIF"),
    picture("WEBP"),
    picture("BMP"),
]


@fuzz(120)
@given(data=damaged(PHOTOS), at_least=st.sampled_from([0, 8]))
def test_photos(data, at_least):
    image = survive(decode_photo, data, at_least=at_least)
    assert image is None or image.mode == "RGB"


def tar_of(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as shard:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return file.getvalue()


@fuzz(60)
@given(data=damaged([tar_of(("a.jpg", b"x" * 600), ("é/" * 60 + "b.png", b"y"))]))
def test_tar_shards(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tar")
    put(folder, "s.tar", data)
    found = survive(scan_tar_shards, folder)
    for row in range(0 if found is None else len(found[0])):
        survive(found[1].read_bytes, row)


@fuzz(40)
@given(
    names=st.lists(st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n), max_size=4)
)
def test_photo_folders(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("photos")
    for name in names:
        with open(os.fsencode(folder) + b"/" + name + b".jpg", "wb") as file:  # noqa: PTH123 - a name of bytes
            file.write(b"x")
    survive(scan_folder, folder)


# -- writers -----------------------------------------------------------------------------------------------------------


@fuzz(60)
@given(
    names=st.lists(
        st.text(max_size=6) | st.sampled_from(["\ud800", "=1+1", "a\nb", "a,b", '"', "é", "\0", " "]),
        min_size=2,
        max_size=2,
    )
)
def test_whatever_names_are_taken_come_back(tmp_path_factory, names):
    for key in ("ids", "models", "labels"):
        shape = {"ids": (1, 2, 1), "models": (2, 1, 1), "labels": (1, 1, 2)}[key]
        predictions = survive(PredictionSet, np.full(shape, 0.5), **{key: names})
        if predictions is None:
            continue
        for place in (tmp_path_factory.mktemp("w") / "b.npz", tmp_path_factory.mktemp("w") / "store"):
            assert survive(save_predictions, predictions, place) is not None
            assert list(getattr(load_predictions(place), key)) == names


@fuzz(40)
@given(value=JSON_VALUES | st.binary(max_size=4) | st.just(float("nan")))
def test_json_writer(tmp_path_factory, value):
    from stacking.files.atomic_files import atomic_write_json

    path = tmp_path_factory.mktemp("j") / "f.json"
    survive(atomic_write_json, path, {"value": value})
    assert not path.exists() or json.loads(path.read_text(encoding="utf-8"))["value"] == value
