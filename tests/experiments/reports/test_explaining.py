"""Explaining photos of a folder, and the section on strengths and weaknesses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from experiments.reports.label_explanations import explanation_section  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.predictions import PredictionSet, load_predictions  # noqa: E402
from stacking.report import ImageGrid, Table  # noqa: E402


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished run, where its photos are, and a folder of new ones of which one cannot be read."""
    folder = tmp_path_factory.mktemp("explaining")
    data = write_tiny_photos(folder / "photos")
    run = run_training(tiny_recipe(data), folder / "run", device="cpu")
    (folder / "new").mkdir()
    for number in range(36, 41):
        shutil.copy(folder / "photos" / f"photo{number:03d}.png", folder / "new")
    (folder / "new" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    return run, folder, data


def test_the_highest_scores_get_pictures_maps_and_a_report(labelstack, tiny, tmp_path):
    run, folder, _ = tiny
    done = labelstack("explain", run, "--images", folder / "new", "--top", 2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "5 photos, 2 labels each, by grad-cam of whole" in done.stdout and "1 photos cannot be read" in done.stderr
    found = read_npz(tmp_path / "out" / "maps.npz")
    scored = load_predictions(run / "test")
    rows = [scored.ids.tolist().index(photo) for photo in found["ids"]]
    scores = scored.model_scores("whole")[rows]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    assert found["labels"].tolist() == [[scored.labels[label] for label in row] for row in order]
    np.testing.assert_allclose(found["scores"], np.take_along_axis(scores, order, axis=1), atol=1e-6)
    assert found["maps"].shape[:2] == (5, 2) and found["maps"].min() >= 0 and found["maps"].max() <= 1
    pictures = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert pictures == sorted(Path(name).name for name in found["pictures"].ravel()) and len(pictures) == 10
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 5 * 3 and "cut" in page and "Grad-CAM at layer1" in page
    assert "photo036: the photo" in (tmp_path / "out" / "report.md").read_text()


def test_named_labels_are_asked_of_every_photo(labelstack, tiny, tmp_path):
    run, folder, _ = tiny
    names = ["--label", "place:top", "--label", "color:red"]
    done = labelstack("explain", run, "--images", folder / "new", "--member", "whole", *names, "--out", tmp_path, "-q")
    assert done.exit_code == 0, done.output
    found = read_npz(tmp_path / "maps.npz")
    assert found["labels"].tolist() == [["place:top", "color:red"]] * 5
    assert (tmp_path / "pictures" / "photo036__place_top.png").is_file()
    assert '"labels": [' in (tmp_path / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--member", "hole"], "member must be one of 'whole', 'frequent', 'rare': got 'hole'. Did you mean 'whole'?"),
        (["--member", "pair"], "'pair' is made of 'frequent' and 'rare'"),
        (["--label", "place:tip"], "got 'place:tip'. Did you mean 'place:top'?"),
        (["--member", "rare", "--label", "place:top"], "one of the 3 that member 'rare' answers"),
        (["--method", "attention"], "member 'whole' must have the attention head"),
        (["--method", "gradcam"], "method must be one of auto, grad-cam, attention: got 'gradcam'"),
        (["--top", "0"], "top must lie in 1 … 6"),
        (["--top", "7"], "top must lie in 1 … 6"),
        (["--top", "1", "--label", "place:top"], "give either --label or --top, not both"),
        (["--images", "{folder}/none"], "none"),
        (["--images", "{folder}/empty"], "must hold at least one"),
        (["--images", "{folder}/broken"], "none of them readable"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(labelstack, tiny, tmp_path, options, sentence):
    run, folder, _ = tiny
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / "a.jpg").write_bytes(b"nothing")
    given = [option.format(folder=folder) for option in options]
    done = labelstack("explain", run, "--images", folder / "new", *given, "--out", tmp_path / "out", "-q")
    assert done.exit_code == 2 and sentence in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_and_a_file_in_the_way_are_bad_input(labelstack, tiny, tmp_path):
    run, folder, _ = tiny
    done = labelstack("explain", tmp_path, "--images", folder / "new", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "holds no manifest.json" in done.stderr
    (tmp_path / "file").write_text("")
    done = labelstack("explain", run, "--images", folder / "new", "--out", tmp_path / "file")
    assert done.exit_code == 2 and "file" in done.stderr


def test_names_of_photos_and_labels_make_safe_and_different_files():
    from experiments.reports.explaining import _FileNames

    names = _FileNames()
    assert names.of("../a b", "x/y") == "_a_b__x_y"
    assert names.of("../a_b", "x:y") == "_a_b__x_y-2"
    assert names.of("A_B", "X_Y") != names.of("a_b", "x_y")
    assert len(names.of("p" * 300, "l" * 300)) < 200


def test_strengths_weaknesses_and_telling_photos_of_a_member(tiny):
    run, _, data = tiny
    manifest = load_manifest(data, Path())
    rows, labels = np.arange(36), manifest.vocabulary.names
    red, green = labels.index("color:red"), labels.index("color:green")
    y_true = manifest.y_true[rows]
    right = np.where(y_true == 1, 0.9, 0.1).astype(np.float32)
    y_score = right.copy()
    reds, others = np.flatnonzero(y_true[:, red] == 1), np.flatnonzero(y_true[:, red] == 0)
    y_score[reds[1:], red], y_score[reds[2], red] = 0.3, 0.2  # all missed but the first, the third the farthest
    y_score[others[:4], red], y_score[others[1], red] = 0.7, 0.8  # predicted wrongly, the second the surest
    metadata = {"ids": manifest.ids[rows], "models": ("whole",), "labels": labels, "y_true": y_true}
    fitting = PredictionSet(right[None], **metadata, folds=rows % 2)
    held_out = PredictionSet(y_score[None], **metadata)
    section = explanation_section(run, manifest, "whole", fitting, held_out)
    best, worst = (block for block in section.blocks if isinstance(block, Table))
    assert section.title == "Strengths and weaknesses of whole"
    assert [1, int(y_true[:, green].sum()), 0, 0] in [
        [row[1], *row[4:]] for row in best.rows if row[0] == "color:green"
    ]
    assert worst.rows[0][0] == "color:red"
    assert worst.rows[0][2:] == pytest.approx([1 / 5, 1 / len(reds), 1, 4, len(reds) - 1])
    grids = [block for block in section.blocks if isinstance(block, ImageGrid)]
    (shown,) = [grid for grid in grids if grid.caption.startswith("color:red")]
    assert [(photo.title, photo.tags[0].text) for photo in shown.photos] == [
        (manifest.ids[reds[0]], "found, score .90"),
        (manifest.ids[others[1]], "predicted wrongly, score .80"),
        (manifest.ids[reds[2]], "missed, score .20"),
    ]


def test_without_photos_the_tables_remain(tiny):
    run, _, data = tiny
    manifest = load_manifest(data, Path())
    none = manifest.select(np.arange(0))
    section = explanation_section(run, none, "rare", load_predictions(run / "oof"), load_predictions(run / "test"))
    assert len([block for block in section.blocks if isinstance(block, Table)]) == 2
    assert not [block for block in section.blocks if isinstance(block, ImageGrid)]
