"""The command `suspects`, from predictions and from a run with photos."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stacking.predictions import load_predictions, save_predictions


def test_a_planted_error_comes_first_in_every_file(labelstack, make_predictions, tmp_path):
    given = make_predictions(160)
    truth = given.y_true.copy()
    truth[9, 0] ^= 1
    bundle = save_predictions(make_predictions(160, y_true=truth), tmp_path / "p.npz")
    bundle_scores = load_predictions(bundle)
    assert bundle_scores.y_true[9, 0] == truth[9, 0]
    out = tmp_path / "out"
    done = labelstack("suspects", bundle, "--top", 6, "--out", out)
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader((out / "suspects.csv").read_text().splitlines()))
    assert len(rows) == 6 and [row["rank"] for row in rows] == list("123456")
    assert {row["suggestion"] for row in rows} <= {"add", "remove"}
    hit = next(row for row in rows if row["id"] == "photo0-0009" and row["label"] == "color:red")
    assert hit["suggestion"] == ("remove" if truth[9, 0] else "add")
    tasks = json.loads((out / "label_studio.json").read_text())
    assert {task["data"]["id"] for task in tasks} == {row["id"] for row in rows}
    proposed = {
        (task["data"]["id"], label)
        for task in tasks
        for result in task["predictions"][0]["result"]
        for label in result["value"]["choices"]
    }
    listed = {row["id"] for row in rows}
    labels = {
        (name, label)
        for name, cells in zip(bundle_scores.ids.tolist(), bundle_scores.y_true, strict=True)
        for label, cell in zip(bundle_scores.labels, cells, strict=True)
        if cell and name in listed
    }
    assert proposed == labels ^ {(row["id"], row["label"]) for row in rows}  # all labels, with the suspects turned
    for row in rows:
        task = next(task for task in tasks if task["data"]["id"] == row["id"])
        assert row["label"] in task["data"][row["suggestion"]].split(", ")
    interface = ElementTree.parse(out / "label_studio.xml").getroot()
    assert [choice.get("value") for choice in interface.iter("Choice")] == list(bundle_scores.labels)
    fields = {tag.get("value") for tag in interface if tag.tag in ("Image", "Text")}
    assert fields == {"$image", "$add", "$remove"} and all(field[1:] in tasks[0]["data"] for field in fields)
    samples = json.loads((out / "fiftyone.json").read_text())
    assert all(sample["tags"][0] == "suspect" and len(sample["tags"]) > 1 for sample in samples)
    assert "What mending would bring" in (out / "report.md").read_text()
    again = labelstack("suspects", bundle, "--top", 6, "--out", out)
    assert again.exit_code == 0 and "is there already" in again.stdout


def test_names_that_a_page_or_table_could_run_stay_text(labelstack, make_predictions, tmp_path):
    ids = [f"<script>{row}</script>,\n" for row in range(160)]
    given = make_predictions(160)
    hostile = type(given)(given.to_array(), ids, given.models, given.labels, y_true=given.y_true)
    bundle = save_predictions(hostile, tmp_path / "p.npz")
    assert labelstack("suspects", bundle, "--top", 3, "--out", tmp_path / "out").exit_code == 0
    assert "<script>1" not in (tmp_path / "out" / "report.html").read_text()
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "out" / "suspects.csv").read_text())))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--top", "0"], "top must be at least 1"), (["--method", "x"], "x")]
)
def test_wrong_input_is_answered_in_a_sentence(labelstack, bundle, tmp_path, arguments, message):
    done = labelstack("suspects", bundle, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_shows_photos_with_maps(labelstack, tmp_path):
    pytest.importorskip("torch")
    from base_models import run_training
    from base_models.testing import tiny_recipe, write_tiny_photos

    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos"))
    recipe = tiny_recipe(recipe.data, members=recipe.members[:1], derived=())
    run_training(recipe, tmp_path / "run", recipe_folder=tmp_path, device="cpu")
    done = labelstack("suspects", tmp_path / "run", "--top", 5, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 5 and "looked for the label" in page
    rows = list(csv.DictReader((tmp_path / "out" / "suspects.csv").read_text().splitlines()))
    assert all(row["photo"].endswith(".png") for row in rows)
    tasks = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    prefix = "/data/local-files/?d="
    below = {task["data"]["image"].removeprefix(prefix) for task in tasks if task["data"]["image"].startswith(prefix)}
    assert below == {Path(row["photo"]).relative_to(tmp_path).as_posix() for row in rows}
