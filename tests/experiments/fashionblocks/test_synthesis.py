"""FashionBlocks: the same from the same seed, shaped like the contest, readable by the manifest."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from experiments.fashionblocks import LABELS, draw_garment_plan, draw_sample, synthesize
from experiments.fashionblocks.annotation import annotate
from experiments.fashionblocks.drawing import draw_photo
from experiments.fashionblocks.shapes import garment_parts
from experiments.fashionblocks.wardrobe import Garment

CONFIG = DataConfig(
    format="imaterialist-json",
    root="photos",
    annotations="train.json",
    validation_annotations="validation.json",
    test_annotations="test.json",
    labels="labels.csv",
)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("blocks"), n_train=40, n_validation=6, n_test=10, random_state=7)


@pytest.fixture(scope="module")
def many_labels():
    """Labels of 4,000 garments of each world, undrawn."""
    columns = {name: column for column, name in enumerate(LABELS)}
    matrices = {}
    for world in ("training", "shifted"):
        matrix = np.zeros((4000, len(LABELS)), dtype=np.uint8)
        rng = np.random.default_rng(3)
        for row in range(len(matrix)):
            matrix[row, [columns[x] for x in annotate(draw_garment_plan(rng, world), rng, world)]] = 1
        matrices[world] = matrix
    return matrices


def test_same_seed_same_bytes_and_another_seed_others(small, tmp_path):
    again = synthesize(tmp_path / "again", n_train=40, n_validation=6, n_test=10, random_state=7)
    other = synthesize(tmp_path / "other", n_train=40, n_validation=6, n_test=10, random_state=8)
    assert contents(again) == contents(small)
    assert contents(other)["photos/train/train-000000.jpg"] != contents(small)["photos/train/train-000000.jpg"]


def test_a_larger_data_set_begins_with_the_smaller(small, tmp_path):
    larger = contents(synthesize(tmp_path / "larger", n_train=43, n_validation=0, n_test=0, random_state=7))
    for name, data in contents(small).items():
        if name.startswith("photos/train"):
            assert larger[name] == data
    assert "test.json" not in larger


def test_the_manifest_reads_it(small):
    manifest = load_manifest(CONFIG, small)
    assert [len(manifest.split_rows(s)) for s in ("train", "validation", "test")] == [40, 6, 10]
    assert manifest.vocabulary.names == LABELS
    assert len(set(manifest.vocabulary.groups)) == 8
    assert manifest.missing == manifest.unannotated == ()
    for row in range(manifest.n_photos):
        assert manifest.read_photo(row).size == (64, 64)
    photo, labels = draw_sample("test", 3, 64, seed=7)
    row = int(manifest.split_rows("test")[3])
    assert {LABELS[c] for c in np.flatnonzero(manifest.y_true[row])} == set(labels)
    difference = np.asarray(photo, float) - np.asarray(manifest.read_photo(row), float)
    assert np.abs(difference).mean() < 12  # JPEG only


def test_counts_are_those_of_the_training_split(small):
    manifest = load_manifest(CONFIG, small)
    lines = (small / "labels.csv").read_text().splitlines()[1:]
    assert [int(line.rsplit(",", 1)[1]) for line in lines] == manifest.y_true[:40].sum(axis=0).tolist()


def test_a_finished_folder_is_kept_and_another_one_refused(small):
    before = (small / "train.json").stat().st_mtime_ns
    synthesize(small, n_train=40, n_validation=6, n_test=10, random_state=7)
    assert (small / "train.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="out must be a new folder or hold this data set"):
        synthesize(small, n_train=41, n_validation=6, n_test=10, random_state=7)


def test_an_interrupted_folder_is_completed(small, tmp_path):
    def stop(done, total):
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path, n_train=40, n_validation=6, n_test=10, random_state=7, progress=stop)
    assert not (tmp_path / "fashionblocks.json").exists()
    synthesize(tmp_path, n_train=40, n_validation=6, n_test=10, random_state=7)
    assert contents(tmp_path) == contents(small)


def test_strange_folders_and_arguments_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"out must be a new or empty folder: .*holds 'thesis\.tex'"):
        synthesize(tmp_path)
    with pytest.raises(ValueError, match=r"out must be a folder: .* is a file"):
        synthesize(tmp_path / "thesis.tex")
    with pytest.raises(ValueError, match="n_train, n_validation and n_test must be 0 or more"):
        synthesize(tmp_path / "new", n_train=-1)
    with pytest.raises(ValueError, match="size must be at least 32"):
        synthesize(tmp_path / "new", size=16)


def test_progress_counts_every_photo(tmp_path):
    events = []
    synthesize(tmp_path, n_train=3, n_validation=1, n_test=2, random_state=0, progress=lambda *x: events.append(x))
    assert events == [(n, 6) for n in range(1, 7)]


def test_a_generator_is_taken_and_the_global_one_left_alone(tmp_path):
    state = str(np.random.get_state())  # noqa: NPY002 - the one that must not move
    synthesize(tmp_path, n_train=2, n_validation=0, n_test=0, random_state=np.random.default_rng(1))
    assert str(np.random.get_state()) == state  # noqa: NPY002


def test_labels_are_shaped_like_the_contests(many_labels):
    train, test = many_labels["training"], many_labels["shifted"]
    groups = np.array([name.split(":")[0] for name in LABELS])
    assert len(LABELS) >= 40
    assert len(set(groups)) == 8
    assert 5.5 < train.sum(axis=1).mean() < 6.5
    assert 7.5 < test.sum(axis=1).mean() < 8.5
    assert (train[:, groups == "gender"].sum(axis=1) == 1).all()
    for group in ("category", "sleeve", "neckline"):
        assert train[:, groups == group].sum(axis=1).max() == 1
    assert test[:, groups == "color"].sum(axis=1).mean() > 1.2 * train[:, groups == "color"].sum(axis=1).mean() + 0.2
    counts = np.sort(train.sum(axis=0))[::-1]
    assert counts[0] > 50 * counts[-1] > 0  # a long tail in which every label occurs
    assert (test.sum(axis=0) > 0).all()
    odds = [np.log((m.mean(axis=0) + 1e-3) / (1 - m.mean(axis=0))) for m in (train, test)]
    assert (np.abs(odds[1] - odds[0]) > np.log(2)).sum() >= 8  # labels that move by more than a factor of 2


def test_gender_and_style_leave_no_mark():
    plain = Garment("shirt", "male", "striped", "cotton", "blue", "long", "collar", "red", ("formal",))
    other = Garment("shirt", "female", "striped", "cotton", "blue", "long", "collar", "red", ("party", "summer"))
    photos = [draw_photo(g, 64, np.random.default_rng(5)).tobytes() for g in (plain, other)]
    assert photos[0] == photos[1]


def test_every_other_group_leaves_one():
    plain = Garment("shirt", "male", "striped", "cotton", "blue", "long", "collar", "", ("formal",))
    base = np.asarray(draw_photo(plain, 64, np.random.default_rng(5)), float)
    changes = {
        "category": "dress",
        "pattern": "dotted",
        "material": "knit",
        "color": "red",
        "sleeve": "short",
        "neckline": "v-neck",
        "accent": "yellow",
    }
    for name, value in changes.items():
        changed = Garment(**{**vars(plain), name: value})
        difference = np.abs(np.asarray(draw_photo(changed, 64, np.random.default_rng(5)), float) - base)
        assert difference.max() > 40, name


@pytest.mark.parametrize("category", [name.split(":")[1] for name in LABELS if name.startswith("category:")])
def test_every_category_has_parts_within_its_units(category, rng):
    garment = Garment(category, "female", "solid", "cotton", "red", "long", "round", "", ("casual",))
    for _ in range(20):
        parts = garment_parts(garment, rng)
        assert any(part.kind == "cloth" for part in parts)
        for part in parts:
            assert np.abs(part.points).max() < 1.3


def test_no_label_reads_off_one_pixel_statistic():
    """No statistic of the picture as a whole ranks any label well: areas under the curve stay below .85."""
    from sklearn.metrics import roc_auc_score

    statistics, truth = [], np.zeros((700, len(LABELS)), dtype=np.uint8)
    for number in range(len(truth)):
        photo, labels = draw_sample("test", number, 64, seed=0)
        truth[number, [LABELS.index(label) for label in labels]] = 1
        pixels = np.asarray(photo, dtype=np.float32) / 255
        hsv = np.asarray(photo.convert("HSV"), dtype=np.float32) / 255
        edges = np.abs(np.diff(pixels.mean(axis=2), axis=0)).mean()
        channels = [*np.moveaxis(pixels, 2, 0), *np.moveaxis(hsv, 2, 0)]
        statistics.append([edges, *(c.mean() for c in channels), *(c.std() for c in channels), *pixels[32, 32]])
    for column, label in enumerate(LABELS):
        if truth[:, column].sum() >= 40:
            areas = [roc_auc_score(truth[:, column], values) for values in np.array(statistics).T]
            assert max(max(areas), 1 - min(areas)) < 0.85, label


def test_photos_of_other_sizes(tmp_path):
    for size in (32, 96):
        photo, _ = draw_sample("train", 0, size, seed=0)
        assert photo.size == (size, size)
    file = io.BytesIO()
    photo.save(file, "JPEG")
    assert Image.open(file).size == (96, 96)


def test_the_files_are_contest_json(small):
    data = json.loads((small / "validation.json").read_text())
    assert set(data) >= {"images", "annotations"}
    assert data["images"][0]["imageId"] == data["annotations"][0]["imageId"] == "validation-000000"
    assert all(isinstance(label, str) for label in data["annotations"][0]["labelId"])


def test_a_set_that_was_killed_when_all_but_a_mark_was_done_is_finished(tmp_path):
    out = synthesize(tmp_path / "blocks", n_train=3, n_validation=0, n_test=0)
    whole = sorted(path.name for path in out.iterdir())
    shutil.copy(out / "fashionblocks.json", out / "unfinished.json")
    synthesize(out, n_train=3, n_validation=0, n_test=0)
    assert sorted(path.name for path in out.iterdir()) == whole
    (out / "unfinished.json").write_text("{}")  # no mark of ours
    synthesize(out, n_train=3, n_validation=0, n_test=0)
    assert (out / "unfinished.json").read_text() == "{}"
