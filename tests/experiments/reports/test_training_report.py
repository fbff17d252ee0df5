import numpy as np
import pytest

from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from experiments.fashionblocks import synthesize
from experiments.reports.training_report import (
    judged_tags,
    learning_curves_section,
    photos_section,
    worst_errors_section,
)
from stacking.comparison.held_out import HeldOut
from stacking.report import ImageGrid, Paragraph, Report, Table, render_html, render_markdown
from stacking.truth import Truth


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = synthesize(tmp_path_factory.mktemp("blocks"), n_train=6, n_validation=0, n_test=14, size=48)
    config = DataConfig(
        format="imaterialist-json",
        root="photos",
        annotations="train.json",
        test_annotations="test.json",
        labels="labels.csv",
    )
    return load_manifest(config, folder)


@pytest.fixture
def answer(manifest):
    rows = manifest.split_rows("test")
    y_true = manifest.y_true[rows]
    y_score = np.where(y_true == 1, 0.8, 0.1).astype(np.float32)
    y_score[3] = 1 - y_score[3]  # the worst photo
    y_score[5, 0] = 0.999 if y_true[5, 0] == 0 else 0.001  # the most confident single mistake
    labels = tuple(str(name) for name in manifest.vocabulary.names)
    return HeldOut("mean", manifest.ids[rows], labels, Truth.check(y_true), y_score, y_score >= 0.5)


def blocks(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_photos_carry_their_judged_labels(answer, manifest):
    section = photos_section(answer, manifest, n_photos=8)
    (grid,) = blocks(section, ImageGrid)
    assert len(grid.photos) == 8
    photo = grid.photos[0]
    row = answer.ids.tolist().index(photo.title)
    hits = {answer.labels[i] for i in np.flatnonzero((answer.y_true[row] == 1) & answer.y_pred[row])}
    assert {tag.text for tag in photo.tags if tag.kind == "hit"} <= hits
    assert photo.media_type == "image/jpeg"
    same = photos_section(answer, manifest, n_photos=8)
    assert [photo.title for photo in blocks(same, ImageGrid)[0].photos] == [photo.title for photo in grid.photos]


def test_worst_errors_come_first(answer, manifest):
    section = worst_errors_section(answer, manifest, n_photos=3, n_pairs=4)
    assert blocks(section, ImageGrid)[0].photos[0].title == answer.ids[3]
    rows = blocks(section, Table)[0].rows
    assert rows[0][:2] == (answer.ids[5], answer.labels[0])
    assert rows[0][2] in ("missed", "predicted wrongly")


def test_photos_without_a_file_are_left_out(answer, manifest):
    train_only = manifest.select(manifest.split_rows("train"))
    assert blocks(photos_section(answer, train_only), ImageGrid)[0].photos == []


def test_learning_curves_read_what_is_there(tmp_path):
    for member, lengths in (("small", (3, 2)), ("large", (1,))):
        for fold, length in enumerate(lengths):
            folder = tmp_path / "members" / member / f"fold{fold}"
            folder.mkdir(parents=True)
            lines = [f"{epoch},{1 / epoch},{0.4 + 0.1 * epoch},10" for epoch in range(1, length + 1)]
            text = "\n".join(["epoch,loss,validation_micro_f1,seconds", *lines]) + "\n"
            (folder / "history.csv").write_text(text)
    section = learning_curves_section(tmp_path)
    (table,) = blocks(section, Table)
    assert [row[:3] for row in table.rows] == [("large", 1, 1), ("small", 2, 3)]
    assert table.rows[1][3] == pytest.approx((0.7 + 0.6) / 2)
    assert table.rows[1][4] == pytest.approx(50)
    text = render_html(Report("t", [section]))
    assert text.count("<svg") >= 2
    assert "small" in render_markdown(Report("t", [section]))


def test_learning_curves_before_the_first_epoch(tmp_path):
    (tmp_path / "members" / "small").mkdir(parents=True)
    assert isinstance(learning_curves_section(tmp_path).blocks[0], Paragraph)


def test_many_labels_are_counted():
    labels = tuple(f"l{i}" for i in range(30))
    tags = judged_tags(labels, np.ones(30, np.uint8), np.zeros(30, bool))
    assert len(tags) == 14
    assert tags[-1].text == "and 17 more"


def test_sampled_members_say_what_was_reached(tmp_path):
    header = "epoch,loss,validation_micro_f1,seconds,sampling_target,sampling_reached,effective_sample_size"
    for member, text in {"plain": "epoch,loss,validation_micro_f1\n1,0.5,0.4\n", "drawn": header + "\n"}.items():
        for fold in range(2):
            folder = tmp_path / "members" / member / f"fold{fold}"
            folder.mkdir(parents=True)
            rows = f"1,0.5,0.4,2,0.5,0.7{fold},6{fold}0\n" if member == "drawn" else ""
            (folder / "history.csv").write_text(text + rows)
    table = blocks(learning_curves_section(tmp_path), Table)[-1]
    (row,) = table.rows
    assert row[0] == "drawn" and row[1:] == pytest.approx((0.5, 0.705, 605))
    assert "605" in render_markdown(Report("r", [learning_curves_section(tmp_path)]))
