import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from base_models.manifest import load_manifest
from base_models.recipe.folds import FoldConfig
from experiments.recipe import choosing, load_recipe, writing
from experiments.recipe.choosing import Weights, choose_run
from experiments.recipe.understanding import GivenData, understand

LABELS = ("color:red", "color:blue", "sleeve:long", "neck:v")
N_PHOTOS = 40


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    y_true = (rng.random((N_PHOTOS, len(LABELS))) < (0.6, 0.5, 0.5, 0.3)).astype(int)
    y_true[0] = 1
    return pd.DataFrame(y_true, [f"p{row:02}.jpg" for row in range(N_PHOTOS)], LABELS)


@pytest.fixture
def photos(tmp_path, truth):
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(truth.index):
        Image.new("RGB", (70, 50), (number * 6, 90, 40)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def lists_of(truth):
    return [[label for label in truth if row[label]] for _, row in truth.iterrows()]


def joined(mark):
    return lambda truth: pd.DataFrame({"image": truth.index, "tags": [mark.join(row) for row in lists_of(truth)]})


def long(truth):
    rows = [(name, label) for name, row in zip(truth.index, lists_of(truth), strict=True) for label in row or [""]]
    return pd.DataFrame(rows, columns=["file", "label"])


def with_splits(truth):
    split = ["test" if row % 5 == 0 else "training" for row in range(N_PHOTOS)]
    return joined(", ")(truth).assign(split=split, group=[f"g{row // 2}" for row in range(N_PHOTOS)])


TABLES = {
    "wide": (lambda truth: truth.rename_axis("filename").reset_index(), "one column per label", {}),
    "bars": (joined("|"), r"labels in 'tags', separated by '\|'", {"label_separator": "|", "labels_column": "tags"}),
    "commas": (joined(", "), "separated by commas", {"label_separator": ","}),
    "semicolons": (joined(";"), "separated by semicolons", {"label_separator": ";"}),
    "spaces": (joined(" "), "separated by spaces", {"label_separator": " "}),
    "lists": (
        lambda truth: pd.DataFrame({"id": [name[:3] for name in truth.index], "labels": map(str, lists_of(truth))}),
        "written as lists",
        {"id_column": "id"},
    ),
    "long": (long, "one row per photo and label; photos in column 'file'", {"labels_column": "label"}),
    "splits": (with_splits, "32 train, 8 test", {"split_column": "split", "group_column": "group"}),
}


def records(truth):
    return [{"file_name": name, "labels": row} for name, row in zip(truth.index, lists_of(truth), strict=True)]


def contest(truth):
    rows = zip(truth.index, lists_of(truth), strict=True)
    return {"annotations": [{"imageId": name[:3], "labelId": row} for name, row in rows]}


JSONS = {
    "records": (records, "written as lists", {"id_column": "file_name"}),
    "flags": (
        lambda truth: [
            {"photo": one["file_name"], "tags": dict.fromkeys(one["labels"], True)} for one in records(truth)
        ],
        "written as lists",
        {"id_column": "photo", "labels_column": "tags"},
    ),
    "columns": (lambda truth: truth.rename_axis("image").reset_index().to_dict("records"), "one column per label", {}),
    "mapping": (lambda truth: dict(zip(truth.index, lists_of(truth), strict=True)), "written as lists", {}),
    "contest": (contest, "in the form of the iMaterialist contest", {"format": "imaterialist-json"}),
}  # fmt: skip


def write(folder, truth, name):
    if name in TABLES:
        TABLES[name][0](truth).to_csv(folder / "labels.csv", index=False)
        return folder / "labels.csv"
    (folder / "labels.json").write_text(json.dumps(JSONS[name][0](truth)))
    return folder / "labels.json"


@pytest.fixture
def quick(monkeypatch):
    """Measure nothing: as if a photo's time were its pixels."""
    monkeypatch.setattr(choosing, "_measurer", lambda manifest, device: lambda run: (run.members[0].size ** 2 / 10, 0))
    monkeypatch.setattr(choosing, "find_weights", lambda names: Weights(dict.fromkeys(names, "none")))


@pytest.mark.parametrize("name", [*TABLES, *JSONS])
def test_a_file_of_labels_is_understood_and_the_recipe_says_how(labelstack, photos, truth, tmp_path, name, quick):
    """The recipe reads the same labels as are in the file, from names that are written out."""
    labels = write(tmp_path, truth, name)
    _, words, columns = (TABLES | JSONS)[name]
    done = labelstack("init", photos, labels, "--out", tmp_path / "recipe.toml", "--device", "cpu")
    assert done.exit_code == 0, done.output
    found = understand(GivenData(photos, labels), tmp_path)
    assert any(pd.Series(found.facts).str.contains(words)), found.facts
    assert f"{N_PHOTOS} photos, of which {N_PHOTOS} are labeled" in done.stdout
    run = load_recipe(tmp_path / "recipe.toml")
    assert {key: getattr(run.data, key) for key in columns} == columns
    manifest = load_manifest(run.data, tmp_path)
    named = truth.set_axis([name[:3] for name in truth.index])
    assert manifest.ids.tolist() == named.index.tolist()
    assert (named[list(manifest.vocabulary.names)].to_numpy() == manifest.y_true).all()


def test_what_is_not_there_is_counted(photos, truth, tmp_path):
    labels = write(tmp_path, truth, "bars")
    (photos / "p00.jpg").unlink()
    Image.new("RGB", (20, 20)).save(photos / "unlabeled.png")
    facts = understand(GivenData(photos, labels), tmp_path).facts
    told = "40 photos, of which 39 are labeled and 1 are not used; 1 of 40 labeled photos are not there"
    assert any(told in fact for fact in facts)


def test_names_with_spaces_are_not_torn(photos, truth, tmp_path):
    """Labels of two words that do not come again and again are labels, not lists of words."""
    table = pd.DataFrame({"image": truth.index, "label": [f"kind number{row}" for row in range(N_PHOTOS)]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.warns(UserWarning, match="is the separator right"):
        found = understand(GivenData(photos, tmp_path / "labels.csv"), tmp_path)
    assert found.config.label_separator is None and found.manifest.n_labels == N_PHOTOS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "labels.csv"), "the photos must be in a folder"),
        (("photos", "nowhere.csv"), "the labels must be in a file"),
        (("photos", "labels.csv", "--hours", "0"), "--hours must be positive"),
        (("photos", "labels.csv", "--id-column", "fiel"), "must have the column 'fiel'"),
        (("$photos", "labels.csv"), "must hold no '\\$'"),
        (("photos", "labels.csv", "--out", "mine.toml"), "'mine.toml' is there already"),
        (("photos", "labels.csv", "--out", "labels.csv"), "out must not be an input"),
        (("photos", "odd.json"), "must hold records such as"),
    ],
)
def test_wrong_input_is_named_and_no_file_of_the_users_is_touched(
    labelstack, photos, truth, tmp_path, monkeypatch, quick, arguments, words
):
    write(tmp_path, truth, "bars")
    (tmp_path / "mine.toml").write_text("mine")
    (tmp_path / "odd.json").write_text("[1, 2]")
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = labelstack("init", *arguments)
    assert done.exit_code == 2
    assert pd.Series(done.stderr.splitlines()[-1]).str.contains(words).all(), done.stderr
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def _manifest(photos, truth, tmp_path):
    return understand(GivenData(photos, write(tmp_path, truth, "bars")), tmp_path)


@pytest.mark.parametrize(
    ("seconds", "size", "folds"),
    [(1e9, 96, 5), (4 * 64**2, 64, 5), (2 * 64**2, 64, 3), (1.1 * 96**2, 64, 3), (1, 64, "holdout")],
)
def test_the_largest_run_that_fits_is_chosen(photos, truth, tmp_path, seconds, size, folds):
    """The photos are 70 pixels, so nothing above 96 is of use; folds go before size."""
    found, shown = _manifest(photos, truth, tmp_path), []

    def measure(run):
        shown.append((run.members[0].size, run.folds))
        networks = {5: 4.0, 3: 2.0}[run.folds.n_folds] if run.folds.scheme == "out-of-fold" else 0.9
        return networks * run.members[0].size ** 2, 0

    weights = Weights(dict.fromkeys((name for _, name in choosing.NETWORKS["cpu"]), "none"))
    choice = choose_run(found.config, found.manifest, weights, device="cpu", seconds=seconds, measure=measure)
    scheme = FoldConfig(scheme="holdout") if folds == "holdout" else FoldConfig(folds)
    assert (choice.run.members[0].size, choice.run.folds) == (size, scheme)
    assert choice.fits == (choice.seconds <= seconds) == (seconds > 1)
    assert len(shown) == len(set(shown))


def test_memory_is_a_limit_too(photos, truth, tmp_path):
    found = _manifest(photos, truth, tmp_path)
    weights = Weights(dict.fromkeys((name for _, name in choosing.NETWORKS["cpu"]), "hub"))
    choice = choose_run(
        found.config, found.manifest, weights, device="cpu", seconds=1e9,
        measure=lambda run: (1.0, 2**62 if run.members[0].size > 64 else 0),
    )  # fmt: skip
    assert choice.fits and choice.run.members[0].size == 64


@pytest.mark.parametrize("weights", ["none", "hub"])
def test_the_file_says_what_was_chosen(photos, truth, tmp_path, weights):
    found = understand(GivenData(photos, write(tmp_path, truth, "splits")), tmp_path)
    names = [name for _, name in choosing.NETWORKS["cuda"]]
    run = choosing.make_run(found.config, 32, Weights(dict.fromkeys(names, weights)), "cuda", 128, FoldConfig(3))
    text = writing.write_recipe(run, found, ["a fact"])
    (tmp_path / "first.toml").write_text(text, encoding="utf-8")
    assert load_recipe(tmp_path / "first.toml") == run
    assert text.count("#") > 15 and "# a fact" in text
    bared = re.sub(r"^# (?=\w+ = |\[\[)", "", text, flags=re.MULTILINE)
    assert bared.count("#") < text.count("#") - 8
    (tmp_path / "bared.toml").write_text(bared, encoding="utf-8")
    assert len(load_recipe(tmp_path / "bared.toml").members) == len(run.members) + 1


def test_photos_and_labels_are_trained_and_the_same_command_resumes(
    labelstack, photos, truth, tmp_path, monkeypatch, quick
):
    monkeypatch.setattr(choosing, "NETWORKS", {"cpu": (("small", "resnet10t"),)})
    monkeypatch.setattr(choosing, "EPOCHS", (1, 1))
    monkeypatch.setattr(choosing, "FOLDS", (FoldConfig(scheme="holdout"),))
    monkeypatch.chdir(tmp_path)
    labels = write(tmp_path, truth, "commas").name
    done = labelstack("train", "photos", labels, "--out", "run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "separated by commas" in done.stdout and Path("run/oof").is_dir()
    monkeypatch.setattr(writing, "begin_recipe", lambda *_: pytest.fail("it was measured again"))
    assert labelstack("train", "photos", labels, "--out", "run", "--device", "cpu").exit_code == 0
    joined("|")(truth).to_csv("other.csv", index=False)
    other = labelstack("train", "photos", "other.csv", "--out", "run", "--device", "cpu")
    assert other.exit_code == 2 and "was begun with 'photos' and 'labels.csv'" in other.stderr
    assert "add the file of labels" in labelstack("train", "photos", "--out", "run2").stderr
