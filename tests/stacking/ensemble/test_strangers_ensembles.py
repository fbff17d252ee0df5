"""An ensemble that was changed and hashed again is refused in one sentence, or answers; nothing else happens."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from stacking import StackingEnsemble
from stacking.testing import make_predictions

METHODS = ("greedy", "label-context", "lightgbm", "pair-lightgbm")


@pytest.fixture(scope="module", params=METHODS)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / request.param
    StackingEnsemble(request.param, n_splits=2).fit(make_predictions(3, 300, 3)).save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def hash_again(folder):
    """Do what whoever changes an ensemble can do."""
    manifest = json.loads((folder / "manifest.json").read_text())
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["sha256"]}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": digests}))


def change_json(folder, name, change):
    value = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(change(value)))


def load_or_refuse(folder):
    """Load, and predict what was loaded; only the one sentence may come instead."""
    try:
        ensemble = StackingEnsemble.load(folder)
    except ValueError as error:
        assert str(error).startswith("ensemble"), error
        assert len(str(error).splitlines()) == 1
        return None
    answer = ensemble.predict_proba(make_predictions(3, 20, 3))
    assert ((answer >= 0) & (answer <= 1)).all()
    return ensemble


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("saved", ["greedy"], indirect=True)
@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [1, [2]], {"a": {"b": 1}}, -1, 1e308, deep(100), "\ud800"])
def test_any_entry_may_hold_anything(copy, value):
    manifest = json.loads((copy / "manifest.json").read_text())
    paths = [[key] for key in manifest] + [["description", key] for key in manifest["description"]]
    paths += [["description", "parameters", key] for key in manifest["description"]["parameters"]]
    for path in paths:
        changed = json.loads(json.dumps(manifest))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (copy / "manifest.json").write_text(json.dumps(changed))
        load_or_refuse(copy)
        del place[path[-1]]
        (copy / "manifest.json").write_text(json.dumps(changed))
        load_or_refuse(copy)


def test_any_part_of_the_state_may_be_another(copy):
    state = json.loads((copy / "combiner.json").read_text())
    for key in [*state["values"], "parameters", "fitted"]:
        for value in (None, 3, "x", [], {}, {"predict_proba": 1}, {"__class__": 1}, ["a"] * 3):
            changed = {**state, "values": {**state["values"], key: value}}
            (copy / "combiner.json").write_text(json.dumps(changed))
            hash_again(copy)
            load_or_refuse(copy)
    for name in state["values"].get("fitted", {}):
        changed = json.loads(json.dumps(state))
        for value in (None, -1, "x", [], {}):
            changed["values"]["fitted"][name] = value
            (copy / "combiner.json").write_text(json.dumps(changed))
            hash_again(copy)
            load_or_refuse(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:0],
        lambda array: array[..., :1],
        lambda array: array.astype(np.complex64) if array.dtype.kind in "fi" else array,
        lambda array: array.astype("U8"),
        lambda array: np.full_like(array, np.nan) if array.dtype.kind == "f" else ~array,
        lambda array: np.full_like(array, np.inf) if array.dtype.kind == "f" else array * 0,
        lambda array: array[None],
        lambda array: np.asfortranarray(array),
        lambda array: array * 10**6,
    ],
    ids=["empty", "narrow", "complex", "text", "nan", "inf", "deeper", "fortran", "large"],
)
def test_any_array_may_be_another(copy, change):
    for path in sorted((copy / "arrays").iterdir()):
        data = path.read_bytes()
        array = np.load(path)
        with np.errstate(all="ignore"):
            np.save(path, change(array))
        hash_again(copy)
        load_or_refuse(copy)
        path.write_bytes(data)


def header_of(shape, dtype="<f4"):
    import io

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("saved", ["greedy"], indirect=True)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        header_of((10**12,)),
        header_of((-1, -4)) + b"1234" * 4,
        header_of((2**62, 2**62)),
        header_of((2,), "|O") + b"\x80\x04N." * 4,
        header_of((10**18,), "<U0"),
        header_of((0, 10**18)),
    ],
    ids=["empty", "cut", "giant", "negative", "overflow", "objects", "no-size", "wide"],
)
def test_arrays_that_lie_about_themselves_cost_nothing(copy, data):
    for path in sorted((copy / "arrays").iterdir())[:2]:
        path.write_bytes(data)
    hash_again(copy)
    assert load_or_refuse(copy) is None


@pytest.mark.parametrize("saved", ["lightgbm"], indirect=True)
@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../outside.npy", "arrays/../../outside.npy", "arrays/0000.txt", "manifest.json", "", "a\0b"],
)
def test_names_of_files_that_no_ensemble_has_are_refused(copy, name):
    for key in ("arrays", "texts"):
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest[key] = {**manifest[key], "thresholds": name}
        manifest["sha256"][name] = "0" * 64
        kept = (copy / "manifest.json").read_text()
        (copy / "manifest.json").write_text(json.dumps(manifest))
        assert load_or_refuse(copy) is None
        (copy / "manifest.json").write_text(kept)


@pytest.mark.parametrize("saved", ["greedy"], indirect=True)
def test_links_are_refused(copy, tmp_path):
    target = tmp_path / "outside"
    shutil.move(copy / "arrays", target)
    (copy / "arrays").symlink_to(target)
    with pytest.raises(ValueError, match="must hold its files itself"):
        StackingEnsemble.load(copy)


@pytest.mark.parametrize("saved", ["greedy"], indirect=True)
def test_json_that_is_none_is_one_sentence(copy):
    for data in (b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b'{"a": 1, "a": 2}', b"9" * 5000):
        (copy / "manifest.json").write_bytes(data)
        assert load_or_refuse(copy) is None
    (copy / "manifest.json").unlink()
    assert load_or_refuse(copy) is None


@pytest.mark.parametrize("saved", ["greedy"], indirect=True)
def test_a_metric_that_names_code_is_not_imported_for_the_card(copy, tmp_path, monkeypatch):
    """Serving an ensemble and saving it anew write its card; that asked the metric whether thresholds matter to it."""
    (tmp_path / "planted_metric.py").write_text("def worth(y_true, y_pred):\n    return 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["description"]["parameters"]["metric"] = "planted_metric:worth"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    ensemble = load_or_refuse(copy)
    assert ensemble is not None and ensemble.metric == "planted_metric:worth"
    ensemble.figures_ = replace(ensemble.figures_, alone=dict.fromkeys(ensemble.models_, 0.5))  # of the command
    ensemble.save(tmp_path / "again")
    assert "planted_metric" not in sys.modules
    assert "Held out: " in (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
