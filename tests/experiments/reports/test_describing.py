"""The exploratory report says what is in the data."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from base_models.manifest import Manifest, load_manifest
from base_models.photos.vocabulary import Vocabulary
from base_models.recipe.data import DataConfig
from base_models.testing import write_tiny_photos
from experiments.reports.describing import describe_data, measure_photos
from experiments.reports.photo_histograms import draw_with_histograms
from stacking.report import Table, render_html, render_markdown


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def manifest(data):
    return load_manifest(data, Path())


def tables(report, title):
    (section,) = [section for section in report.sections if section.title == title]
    return [block for block in section.blocks if isinstance(block, Table)]


def test_counts_pairs_and_shift_equal_those_of_the_annotations(manifest):
    report = describe_data(manifest, label="color:red")
    (counts,) = tables(report, "Counts")
    truth = manifest.y_true[manifest.split == "train"]
    assert counts.rows[0][:3] == ("train", 36, int(truth.sum()))
    (pairs,) = tables(report, "Labels that occur together")
    first, second, together = pairs.rows[0]
    columns = [manifest.vocabulary.names.index(name) for name in (first, second)]
    assert together == manifest.y_true[:, columns].all(axis=1).sum()
    both = [int((manifest.y_true[:, i] & manifest.y_true[:, j]).sum()) for i in range(6) for j in range(i)]
    assert together == max(both)
    (shift,) = tables(report, "Shift between splits")
    assert abs(shift.rows[0][3]) == max(abs(row[3]) for row in shift.rows) > 0
    assert report.sections[-1].title == "Photos of color:red"
    (labels,) = tables(report, "Labels")
    in_train, in_test = (int(manifest.y_true[manifest.split == name].sum()) for name in ("train", "test"))
    assert [sum(row[column] for row in labels.rows) for column in (3, 4)] == [in_train, in_test]
    assert "All are 24 × 32 pixels" in render_html(report)
    assert "<script src" not in render_html(report)


def test_sizes_and_pixel_values_are_measured(manifest, monkeypatch):
    sample = measure_photos(manifest, np.arange(5))
    assert (sample.sizes == (24, 32)).all() and len(sample.sizes) == 5
    np.testing.assert_allclose(sample.histograms.sum(axis=1), 1)
    assert sample.histograms[0].argmax() == 255


def test_a_photo_that_cannot_be_read_is_counted(data, tmp_path):
    changed = write_tiny_photos(tmp_path)
    (tmp_path / "photo003.png").write_bytes(b"no photo")
    assert measure_photos(load_manifest(changed, Path()), np.arange(6)).n_unreadable == 1


HOSTILE = (
    "<script>alert(1)</script>",
    "a`b*c_d",
    "=1+1",
    "\u202egnirts",
    '"><img src=x onerror=alert(1)>',
    "cost $x_1$ and $",
)


def test_names_of_labels_and_photos_do_nothing(manifest):
    names = Vocabulary(HOSTILE, groups=manifest.vocabulary.groups, ids=manifest.vocabulary.ids)
    ids = manifest.ids.astype("U40")
    ids[0] = "<b>|=2+2"
    hostile = Manifest(ids, names, manifest.y_true, manifest.photos, split=manifest.split)
    report = describe_data(hostile, label=HOSTILE[0], n_sample=4)
    page, text = render_html(report), render_markdown(report)
    assert "<script>alert" not in page and "<img src=x" not in page and "\u202e" not in page + text
    assert "<script>alert" not in text.replace("\\<", "") and "\n=1" not in text
    assert "&lt;script&gt;alert(1)" in page and "\\<script\\>" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for line in rows:
        cells = line.replace("\\|", "").split("|")[1:-1]
        assert not any(cell.strip().startswith("=") for cell in cells), line
    assert any("\\=1+1" in line for line in rows)


def test_an_unknown_label_is_refused(manifest):
    with pytest.raises(ValueError, match="label must be one of the 6 labels of the data: got 'hat'"):
        describe_data(manifest, label="hat")


def test_the_command_writes_both_forms(labelstack, data, tmp_path):
    recipe = tmp_path / "data.toml"
    recipe.write_text(
        f'[data]\nformat = "folder"\nroot = "{data.root}"\ngroup_column = "group"\nsplit_column = "split"\n'
    )
    done = labelstack("data", "describe", recipe, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert len(re.findall("<svg", page)) >= 5 and "Shift between splits" in page and "mathdefault" not in page
    assert "Shift between splits" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_a_recipe_without_data_is_one_sentence(labelstack, tmp_path):
    recipe = tmp_path / "data.toml"
    recipe.write_text("name = 'x'\n")
    done = labelstack("data", "describe", recipe, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "must hold a [data] table" in done.output


def test_a_photo_stands_above_its_histograms():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = (255, 0, 0)  # half black, half red
    drawn = np.asarray(Image.open(io.BytesIO(draw_with_histograms(Image.fromarray(pixels))))).astype(int)
    assert drawn.shape == (264, 144, 3)
    gray, colors = drawn[148:204], drawn[208:264]
    full = [column for column in range(144) if (gray[:, column] == gray[-1, 0]).all()]
    assert full == [0, 76 * 144 // 256]  # the two grays, black and that of red, equally frequent
    red, blank = colors[-1, 143], colors[-1, 70]
    assert red[0] > red[1] and red[0] > red[2] and (blank == (253, 253, 252)).all()
    assert np.abs(drawn[55:90, 76:108] - (255, 0, 0)).max() <= 3


def test_the_table_reads_back_and_every_photo_has_its_label_file(data, manifest, tmp_path, labelstack):
    root = Path(data.root)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[data]\nformat = "folder"\nroot = "{root}"\ngroup_column = "group"\nsplit_column = "split"\n',
        encoding="utf-8",
    )
    out = tmp_path / "description"
    done = labelstack("data", "describe", recipe, "--table", "--label-files", "--out", out)
    assert done.exit_code == 0, done.output
    config = DataConfig("csv", str(root), str(out / "photos.csv"), group_column="group", split_column="split")
    again = load_manifest(config, Path())
    assert again.ids.tolist() == manifest.ids.tolist() and again.split.tolist() == manifest.split.tolist()
    assert again.groups.tolist() == manifest.groups.tolist()
    order = [again.vocabulary.column(name) for name in manifest.vocabulary.names]
    assert np.array_equal(again.y_true[:, order], manifest.y_true)
    for photo_id, row in zip(manifest.ids, manifest.y_true, strict=True):
        names = (out / "labels" / f"{photo_id}.txt").read_text(encoding="utf-8").splitlines()
        assert names == [manifest.vocabulary.names[column] for column in np.flatnonzero(row)]
    again = labelstack("data", "describe", recipe, "--table", "--out", out, "--overwrite")
    assert again.exit_code == 0, again.output
    assert not list((out / "labels").glob("*")) and (out / "photos.csv").is_file()
