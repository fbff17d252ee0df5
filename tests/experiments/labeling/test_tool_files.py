"""What Label Studio and FiftyOne import: scores and labels arrive, and come back through our own readers."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from experiments.labeling.tool_files import LabeledSamples, labeling_interface, photo_paths, write_for_tool
from stacking.predictions import load_predictions

NAMES = ["color:red", 'say "hi" & <go>, now', "long sleeve"]
PATHS = {"p0": "a b/p0.jpg", "p1": "c/p1.jpg", "p2": "c/p2.jpg"}
Y_SCORE = np.array([[0.9, 0.2, 0.6], [0.3, 0.1, 0.4], [0.8, 0.7, 0.99]], dtype=np.float32)
SAMPLES = LabeledSamples(list(PATHS), NAMES, Y_SCORE > 0.5, Y_SCORE, "labelstack 1a", PATHS, "photos")


def test_tasks_hold_labels_scores_and_the_address_of_the_photo():
    tasks = json.loads(write_for_tool(SAMPLES, "label-studio"))
    assert [task["data"]["image"] for task in tasks][:2] == [
        "/data/local-files/?d=photos/a%20b/p0.jpg",
        "/data/local-files/?d=photos/c/p1.jpg",
    ]
    assert tasks[0]["data"]["scores"] == "color:red .90, long sleeve .60"
    predictions = [task["predictions"][0] for task in tasks]
    assert predictions[0]["result"][0]["value"]["choices"] == ["color:red", "long sleeve"]
    assert predictions[1]["result"] == []
    assert [one["score"] for one in predictions] == pytest.approx([0.6, 0.6, 0.7])  # of the least certain answer
    assert {one["model_version"] for one in predictions} == {"labelstack 1a"}


@pytest.mark.parametrize("form", ["label-studio", "fiftyone"])
def test_what_is_accepted_comes_back(tmp_path, form):
    for path in PATHS.values():
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / path)
    content = json.loads(write_for_tool(SAMPLES, form))
    if form == "label-studio":
        for task in content:
            task["annotations"] = [{"result": task["predictions"][0]["result"], "was_cancelled": False}]
    (tmp_path / "back.json").write_text(json.dumps(content))
    manifest = load_manifest(DataConfig("csv", "photos", "back.json"), tmp_path)
    back = {name: manifest.y_true[:, k] for k, name in enumerate(manifest.vocabulary.names)}
    assert manifest.ids.tolist() == list(PATHS)
    assert all(np.array_equal(back[name], SAMPLES.y_pred[:, k]) for k, name in enumerate(NAMES))


def test_fiftyone_gets_names_of_files_and_confidences():
    content = json.loads(write_for_tool(SAMPLES, "fiftyone"))
    assert content["classes"] == NAMES and list(content["labels"]) == ["a b/p0", "c/p1", "c/p2"]
    assert content["labels"]["a b/p0"][0] == {"label": "color:red", "confidence": 0.9}
    assert content["labels"]["c/p1"] == []


def test_photos_in_shards_have_no_address():
    assert photo_paths(["p0"], SimpleNamespace(shards=("0.tar",))) == {}
    samples = LabeledSamples(["x 1"], NAMES, Y_SCORE[:1] > 0.5, Y_SCORE[:1], "m")
    assert json.loads(write_for_tool(samples, "label-studio"))[0]["data"]["image"] == "x 1"
    assert list(json.loads(write_for_tool(samples, "fiftyone"))["labels"]) == ["x 1"]


def test_names_cannot_leave_the_interface():
    interface = ElementTree.fromstring(labeling_interface(NAMES, {"add": "Missing?"}))
    assert [choice.get("value") for choice in interface.iter("Choice")] == NAMES
    assert [tag.tag for tag in interface] == ["Image", "Header", "Text", "Choices"]


@pytest.mark.parametrize("form", ["label-studio", "fiftyone"])
def test_the_command_writes_once_and_replaces_only_when_asked(labelstack, bundle, tmp_path, form):
    out = tmp_path / "labels.json"
    assert labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "e").exit_code == 0
    arguments = ["predict", tmp_path / "e", bundle, "--format", form, "--out", out]
    assert labelstack(*arguments).exit_code == 0
    content, given = json.loads(out.read_text()), load_predictions(bundle)
    samples = [task["data"]["id"] for task in content] if form == "label-studio" else list(content["labels"])
    assert samples == given.ids.tolist()
    assert "is there already" in labelstack(*arguments).stdout
    other = [
        "fiftyone" if word == "label-studio" else "label-studio" if word == "fiftyone" else word for word in arguments
    ]
    assert labelstack(*other).exit_code == 2 and json.loads(out.read_text()) == content
    assert labelstack(*other, "--overwrite").exit_code == 0 and json.loads(out.read_text()) != content
    out.write_text("mine")
    (tmp_path / "labels.json.manifest.json").unlink()
    assert labelstack(*arguments, "--overwrite").exit_code == 2 and out.read_text() == "mine"
