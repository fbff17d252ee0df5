"""Whatever a command is told to write to: what is not ours stays, the old result stays until the new one is whole."""

import errno
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from base_models.testing import write_tiny_photos
from stacking import StackingEnsemble
from stacking.files import atomic_files
from stacking.files.run_lock import run_lock
from stacking.predictions import PredictionSet, load_predictions, save_predictions

MODELS = ("cnn/a", "cnn/b", "specialist")
LABELS = ("color:red", "color:blue", "sleeve:long", "neck:v", "rare:thing")

USERS_FILES = (
    "arrays/0000.npy", "texts/0000.txt", "combiner.json", "manifest.json", "index.json", "ids.npy", "y_true.npy",
    "scores/0000.npy", "by_label/0000.npy", "extras/0000.npy", "report.html", "report.md", "leaderboard.json",
    "weights.json", "history.csv", "ablation.json", "pictures/a.png", "maps.npz", "photos/ab/1.jpg", "photos/train/x",
    "duplicates/ab/1.jpg", "ledger.csv", "failures.csv", "ingest.json", "annotations.json", "labels.csv", "train.json",
    "recipe.toml", "splits.npz", "members/m/fold0/last-001.safetensors", "oof/index.json", "data/train.json",
    "ensemble/manifest.json", "notes.txt",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What several tests need, made once: they get copies."""
    place = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    y_true = (rng.random((160, 5)) < 0.4).astype(np.uint8)
    y_scores = (1 / (1 + np.exp(1.2 - 3.0 * y_true - rng.normal(size=(3, 160, 5))))).astype(np.float32)
    ids = [f"other-{row}" for row in range(160)]
    predictions = PredictionSet(y_scores, ids, MODELS, LABELS, y_true=y_true)
    StackingEnsemble("greedy", random_state=0).fit(predictions).save(place / "fitted")
    write_tiny_photos(place / "images", 16, 4)
    return place


@pytest.fixture
def ensemble(made, tmp_path):
    return Path(shutil.copytree(made / "fitted", tmp_path / "fitted"))


@pytest.fixture
def recipe(made, tmp_path):
    shutil.copytree(made / "images", tmp_path / "images")
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "t"\nn_threads = 1\n[data]\nformat = "folder"\nroot = "images"\nsplit_column = "split"\n'
        '[folds]\nn_folds = 2\n[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
    )
    return path


@pytest.fixture
def photos(recipe):
    return recipe.with_name("images")


@pytest.fixture
def urls(tmp_path):
    path = tmp_path / "urls.json"
    path.write_text(json.dumps({"images": [{"imageId": "1", "url": "http://127.0.0.1:9/1.jpg"}], "annotations": []}))
    return path


RESULTS = {  # folders that a command fills once
    "fit": lambda found: ["fit", found("bundle"), "--method", "mean"],
    "compare": lambda found: ["compare", found("bundle"), "--methods", "mean", "--folds", 2],
    "evaluate": lambda found: ["evaluate", found("ensemble"), found("held_back")],
    "optimize": lambda found: ["optimize", found("bundle")],
    "pack": lambda found: ["pack", found("bundle")],
    "suspects": lambda found: ["suspects", found("bundle"), "--top", 5],
    "describe": lambda found: ["data", "describe", found("recipe")],
}
MORE = {  # where refusing is all that is asked for here
    "explain": lambda found: ["explain", found("tmp_path") / "run", "--images", found("photos")],
    "ablation": lambda found: ["ablation", found("tmp_path") / "run", "--baseline", "m"],
    "train": lambda found: ["train", found("recipe"), "--device", "cpu"],
    "learning-rate": lambda found: ["learning-rate", found("recipe"), "--steps", 10, "--device", "cpu"],
    "demo": lambda found: ["demo"],
    "demo of predictions": lambda found: ["demo", "--predictions"],
    "synthesize": lambda found: ["data", "synthesize", "--n-train", 2],
    "download": lambda found: ["data", "download", found("urls")],
    "ingest": lambda found: ["data", "ingest", found("photos")],
    "pack-photos": lambda found: ["data", "pack-photos", found("photos"), "--size", 32, "--workers", 0],
}
FOLDERS = RESULTS | MORE
FILES = {
    "predict": lambda found: ["predict", found("ensemble"), found("held_back"), "--out", found("tmp_path") / "new.csv"],
    "bundle": lambda found: ["pack", found("bundle")],
}


def refused(done, *words):
    assert done.exit_code == 2, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("labelstack: ") and all(word in last for word in words), last
    assert "Traceback" not in done.stderr and "internal" not in done.stderr


def digests(folder):
    """What is in a folder, links as links."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_of_the_users_own_is_refused_whole(labelstack, request, tmp_path, command, overwrite):
    arguments = FOLDERS[command](request.getfixturevalue)
    place = tmp_path / "mine"
    for name in USERS_FILES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(json.dumps({"mine": name}))
    before = digests(place)
    options = ["--overwrite"] if overwrite and (command in RESULTS or command in ("explain", "ablation")) else []
    refused(labelstack(*arguments, "--out", place, *options), str(place))
    assert digests(place) == before


@pytest.mark.parametrize("command", ["fit", "pack", "compare", "synthesize"])
def test_one_file_of_the_users_is_enough(labelstack, request, tmp_path, command):
    arguments = FOLDERS[command](request.getfixturevalue)
    for number, name in enumerate(USERS_FILES):
        place = tmp_path / f"mine{number}"
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text('{"files": {}, "mine": true}')
        before = digests(place)
        refused(labelstack(*arguments, "--out", place), str(place))
        assert digests(place) == before, name


@pytest.mark.parametrize("command", FOLDERS)
def test_a_link_or_a_file_is_no_output_folder(labelstack, request, tmp_path, command):
    arguments = FOLDERS[command](request.getfixturevalue)
    (tmp_path / "elsewhere").mkdir()
    link, dangling, file, pipe = (tmp_path / name for name in ("link", "dangling", "file", "pipe"))
    link.symlink_to(tmp_path / "elsewhere")
    dangling.symlink_to(tmp_path / "nowhere")
    file.write_text("mine")
    os.mkfifo(pipe)
    for place in (link, dangling):
        refused(labelstack(*arguments, "--out", place), "is a link to", "not followed")
        assert place.is_symlink()
    for place in (file, pipe):
        refused(labelstack(*arguments, "--out", place), "must be a folder")
    assert not list((tmp_path / "elsewhere").iterdir()) and not (tmp_path / "nowhere").exists()
    assert file.read_text() == "mine" and stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("command", RESULTS)
def test_an_earlier_result_is_replaced_only_when_asked(labelstack, request, tmp_path, command):
    arguments = [*RESULTS[command](request.getfixturevalue), "--out", tmp_path / "out"]
    assert labelstack(*arguments).exit_code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = digests(tmp_path / "out")
    again = labelstack(*arguments)
    assert again.exit_code == 0, again.output  # the very same result: nothing to do
    assert digests(tmp_path / "out") == before
    if command != "describe":  # the same predictions, but for the second half of the rows
        place = load_predictions(request.getfixturevalue("bundle"))
        half = save_predictions(place.subset(samples=slice(0, 80)), tmp_path / "half.npz")
        arguments[2 if command == "evaluate" else 1] = half
        arguments += ["--drop-seen"] if command == "evaluate" else []
        if command == "evaluate":
            arguments[2] = save_predictions(request.getfixturevalue("make_predictions")(60, seed=5), tmp_path / "o.npz")
    else:
        arguments += ["--seed", "5"]
    refused(labelstack(*arguments), "already holds", "--overwrite")
    assert digests(tmp_path / "out") == before
    done = labelstack(*arguments, "--overwrite")
    assert done.exit_code == 0, done.output
    after = digests(tmp_path / "out")
    assert after["notes.txt"] == before["notes.txt"]
    assert after != before and set(after) == set(before)


@pytest.mark.parametrize("command", RESULTS)
def test_a_full_disk_during_overwrite_loses_nothing(labelstack, request, tmp_path, command, monkeypatch):
    arguments = [*RESULTS[command](request.getfixturevalue), "--out", tmp_path / "out"]
    assert labelstack(*arguments).exit_code == 0
    before = digests(tmp_path / "out")
    create, calls = atomic_files.create_file, []

    def full_after(number):
        def fail(path):
            if "out" in path.parts:
                calls.append(path)
                if len(calls) == number:
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return create(path)

        return fail

    for number in (1, 2, 4, 7, 100):
        calls.clear()
        with monkeypatch.context() as patched:
            for module in ("stacking.files.atomic_files", "stacking.predictions.forms.store"):
                patched.setattr(f"{module}.create_file", full_after(number))
            done = labelstack(*arguments, "--overwrite")
        if done.exit_code == 0:
            break
        refused(done, "No space left on device")
        assert digests(tmp_path / "out") == before, number
    assert number > 2


@pytest.mark.parametrize("command", [name for name in FOLDERS if name not in ("explain", "ablation")])
def test_two_at_once_in_one_folder(labelstack, request, tmp_path, command):
    arguments = FOLDERS[command](request.getfixturevalue)
    with run_lock(tmp_path / "out"):
        refused(labelstack(*arguments, "--out", tmp_path / "out"), "another run is working in this folder")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("command", ["fit", "compare", "evaluate", "optimize", "pack"])
@pytest.mark.parametrize("spelling", ["plain", "link", "hard link", "dots"])
def test_a_folder_that_holds_an_input_is_refused(labelstack, request, tmp_path, command, spelling):
    """Also where the folder is one of our results and could be replaced."""
    arguments = RESULTS[command](request.getfixturevalue)
    place = tmp_path / "out"
    assert labelstack(*arguments, "--out", place).exit_code == 0
    source = arguments[-1] if command == "evaluate" else arguments[1]
    inside = place / "input.npz"
    inside.write_bytes(source.read_bytes())
    if spelling in ("link", "dots"):
        given = tmp_path / "x" / "link.npz" if spelling == "link" else tmp_path / "out" / ".." / "out" / "input.npz"
        (tmp_path / "x").mkdir()
        if spelling == "link":
            given.symlink_to(inside)
    else:
        given = inside
    arguments[arguments.index(source)] = given
    before = digests(place)
    refused(labelstack(*arguments, "--out", place, "--overwrite"), "must not hold an input")
    assert digests(place) == before


def make(kind, path, source):
    """Put something in the way."""
    if kind == "link":
        path.with_name("target").write_text("mine")
        path.symlink_to(path.with_name("target"))
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may make a device")
    elif kind == "input":
        os.link(source, path)
    elif kind == "input's link":
        path.symlink_to(source)
    elif kind == "file":
        path.write_text("mine")


KINDS = ("link", "dangling", "pipe", "socket", "device", "input", "input's link", "file")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["bundle", "labels", "scores", "manifest"])
def test_what_is_no_file_of_ours_is_never_replaced(labelstack, request, tmp_path, monkeypatch, kind, target):
    monkeypatch.chdir(tmp_path)
    names = {"bundle": "b.npz", "labels": "l.csv", "scores": "s.npz", "manifest": "l.csv.manifest.json"}
    path = tmp_path / names[target]
    source = request.getfixturevalue("bundle" if target == "bundle" else "held_back")
    if target == "bundle":
        arguments = ["pack", source, "--out", path.name]
    else:
        arguments = ["predict", request.getfixturevalue("ensemble"), source, "--out", "l.csv", "--scores-out", "s.npz"]
    make(kind, path, source)
    before, mode = digests(tmp_path), path.lstat().st_mode
    for options in ([], ["--overwrite"]):
        refused(labelstack(*arguments, *options), path.name)
        assert path.lstat().st_mode == mode
        assert digests(tmp_path) == before


def test_an_output_that_is_an_input_by_another_spelling(labelstack, bundle, ensemble, held_back, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = held_back.read_bytes()
    spelled = f"fitted/../{held_back.name}"
    refused(labelstack("pack", held_back, "--out", spelled, "--overwrite"), "must not be an input")
    refused(
        labelstack("predict", ensemble, held_back, "--out", "l.csv", "--scores-out", spelled, "--overwrite"),
        "must not be an input",
    )
    refused(labelstack("predict", ensemble, held_back, "--out", spelled, "--overwrite"), "must not be an input")
    assert held_back.read_bytes() == before


def test_two_outputs_that_are_one_by_another_spelling(labelstack, ensemble, held_back, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for spelled in ("l.csv", "sub/../l.csv", tmp_path / "sub" / ".." / "l.csv"):
        done = labelstack("predict", ensemble, held_back, "--out", "l.csv", "--scores-out", spelled)
        refused(done, "--scores-out must differ from --out")
    assert not list(tmp_path.glob("*.csv"))


def test_labels_are_replaced_only_when_asked(labelstack, ensemble, bundle, held_back, tmp_path):
    out, scores = tmp_path / "l.csv", tmp_path / "s.npz"
    arguments = ["predict", ensemble, held_back, "--out", out, "--scores-out", scores]
    assert labelstack(*arguments).exit_code == 0
    before = digests(tmp_path)
    again = labelstack(*arguments)
    assert again.exit_code == 0 and "is there already" in again.stdout
    assert digests(tmp_path) == before
    other = ["predict", ensemble, bundle, "--out", out, "--scores-out", scores]
    refused(labelstack(*other), "is there already", "--overwrite")
    assert digests(tmp_path) == before
    assert labelstack(*other, "--overwrite").exit_code == 0
    assert load_predictions(scores).n_samples == 160 and len(out.read_text().splitlines()) == 161


def test_labels_whose_scores_a_kill_left_out_are_finished(labelstack, ensemble, held_back, tmp_path):
    out, scores = tmp_path / "l.csv", tmp_path / "s.npz"
    arguments = ["predict", ensemble, held_back, "--out", out, "--scores-out", scores]
    assert labelstack(*arguments).exit_code == 0
    before = digests(tmp_path)
    for lost in (out, scores):
        lost.unlink()
        assert labelstack(*arguments).exit_code == 0
        assert digests(tmp_path) == before
    out.write_text("mine now")
    refused(labelstack(*arguments), "is there already")
    assert out.read_text() == "mine now"


@pytest.mark.parametrize("pointed", ["a folder inside", "a file inside"])
def test_no_link_inside_a_result_is_followed(labelstack, ensemble, bundle, tmp_path, pointed):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (ensemble / "arrays").iterdir():
        path.rename(elsewhere / path.name)
    if pointed == "a folder inside":
        (ensemble / "arrays").rmdir()
        (ensemble / "arrays").symlink_to(elsewhere)
    else:
        for path in elsewhere.iterdir():
            (ensemble / "arrays" / path.name).symlink_to(path)
    before = digests(elsewhere)
    refused(labelstack("fit", bundle, "--method", "mean", "--out", ensemble, "--overwrite"), "fitted")
    assert digests(elsewhere) == before and before


@pytest.mark.parametrize("name", ["../../mine.txt", "/etc/mine.txt", "arrays/../../mine.txt"])
def test_a_manifest_that_names_files_elsewhere_deletes_nothing(labelstack, ensemble, bundle, tmp_path, name):
    (tmp_path / "mine.txt").write_text("mine")
    path = ensemble / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"][name] = "0"
    path.write_text(json.dumps(manifest))
    refused(labelstack("fit", bundle, "--method", "mean", "--out", ensemble, "--overwrite"), "tampered with")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_lock_that_is_a_file_of_the_users_is_kept(labelstack, bundle, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("mine")
    refused(labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "out"), ".lock")
    assert (tmp_path / "out" / ".lock").read_text() == "mine"
    (tmp_path / "out" / ".lock").unlink()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "elsewhere")
    refused(labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "out"), ".lock")
    assert not (tmp_path / "elsewhere").exists()


def test_a_work_folder_is_the_fits_own(labelstack, bundle, tmp_path):
    work, out = tmp_path / "work", tmp_path / "e"
    work.mkdir()
    (work / "mine.npz").write_text("mine")
    command = ["fit", bundle, "--method", "mean", "--out", out, "--work"]
    refused(labelstack(*command, work), "mine.npz")
    (work / "mine.npz").unlink()
    work.rmdir()
    work.symlink_to(tmp_path)
    refused(labelstack(*command, work), "is a link to")
    assert labelstack(*command, tmp_path / "fresh").exit_code == 0


def test_a_database_of_the_users_is_not_changed(labelstack, urls, tmp_path):
    place = tmp_path / "out"
    place.mkdir()
    with closing(sqlite3.connect(place / "ledger.sqlite")) as connection:
        connection.execute("CREATE TABLE photos (mine TEXT)")
        connection.commit()
    before = digests(place)
    refused(labelstack("data", "download", urls, "--out", place), "must be the ledger of a download")
    assert digests(place) == before


@pytest.mark.parametrize("name", ["labels.npz", "labels.PARQUET", "labels.csv.gz", "labels.json"])
def test_labels_are_text_and_are_called_so(labelstack, ensemble, held_back, tmp_path, name):
    done = labelstack("predict", ensemble, held_back, "--out", tmp_path / name)
    assert done.exit_code == 2 and "--out must be a text file for the labels, such as 'labels.csv'" in done.stderr
    assert not (tmp_path / name).exists()
