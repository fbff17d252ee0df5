"""Labels as COCO, Label Studio, FiftyOne and img2dataset write them: read alike, cut alike, refused by name."""

import copy
import json
import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from base_models.ingest import IngestOptions, ingest_photos
from base_models.manifest import load_manifest
from base_models.manifest.tool_forms import open_labels
from base_models.manifest.tool_forms.registry import TOOL_FORMS
from base_models.recipe.data import DataConfig
from experiments.recipe.understanding import GivenData, understand

TRUTH = {"p0": {"red", "long sleeve"}, "p1": {"red"}, "p2": set()}
FILES = {"p0": "a/p0.jpg", "p1": "a/p1.jpg", "p2": "b/p2.jpg"}


def classification(label):
    return {"_id": {"$oid": "1"}, "_cls": "Classification", "tags": [], "label": label, "confidence": None}


def choices(labels, control="look"):
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": sorted(labels)}}


COCO = {
    "info": {},
    "images": [{"id": 10 + n, "file_name": path, "width": 20, "height": 20} for n, path in enumerate(FILES.values())],
    "categories": [{"id": 90, "name": "long sleeve", "supercategory": "sleeve"}, {"id": 3, "name": "red"}],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 0},
        {"id": 2, "image_id": 10, "category_id": 90, "segmentation": {"counts": "x", "size": [20, 20]}, "iscrowd": 1},
        {"id": 3, "image_id": 10, "category_id": 3, "bbox": [2, 2, 5, 5], "iscrowd": 0},
        {"id": 4, "image_id": 11, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 0},
    ],
}
TASKS = [
    {
        "id": n,
        "data": {"image": f"/data/local-files/?d=shop/{path}", "note": "x"},
        "annotations": [{"id": n, "was_cancelled": False, "result": [choices(TRUTH[name])] if TRUTH[name] else []}],
        "predictions": [{"model_version": "m", "result": [choices({"blue"})]}],
    }
    for n, (name, path) in enumerate(FILES.items())
]
FLAT = [
    {"image": f"s3://shop/{path}", "id": n, "annotation_id": n, "lead_time": 1.0, "annotator": 1}
    | ({"look": {"choices": sorted(TRUTH[name])} if len(TRUTH[name]) > 1 else "red"} if TRUTH[name] else {})
    for n, (name, path) in enumerate(FILES.items())
]
SAMPLES = {
    "samples": [
        {
            "filepath": f"data/{path}",
            "tags": [],
            "ground_truth": {"_cls": "Classifications", "classifications": [*map(classification, TRUTH[name])]},
            "model": classification("blue"),
        }
        for name, path in FILES.items()
    ]
}
LABELS = {"classes": ["red", "long sleeve"], "labels": {"a/p0": [0, {"label": "long sleeve"}], "a/p1": "red", "p2": []}}
CONTENT = {"coco": COCO, "tasks": TASKS, "flat": FLAT, "samples": SAMPLES, "labels": LABELS}


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for path in FILES.values():
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "photos" / path)
    return tmp_path / "photos"


def write(folder, content):
    (folder / "given.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "given.json"


def labels_of(manifest):
    names = np.array(manifest.vocabulary.names)
    return {i: set(names[row == 1].tolist()) for i, row in zip(manifest.ids.tolist(), manifest.y_true, strict=True)}


def read(photos, content, **columns):
    file = write(photos.parent, content)
    return load_manifest(DataConfig("csv", "photos", file.name, **columns), photos.parent)


def write_img2dataset(folder, **columns):
    """Write what the tool leaves: shards, one with a download that failed."""
    folder.mkdir(exist_ok=True)
    keys = ["000000000", "000000001", "000000002", "000010000"]
    status = ["success", "success", "failed_to_download", "success"]
    frame = pd.DataFrame({"url": "https://x/a.jpg", **columns, "key": keys, "status": status})
    frame.iloc[:3].to_parquet(folder / "00000.parquet")
    frame.iloc[3:].to_parquet(folder / "00001.parquet")
    for key, done in zip(keys, status, strict=True):
        if done == "success":
            (folder / key[:5]).mkdir(exist_ok=True)
            noise = np.random.default_rng(int(key)).integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / key[:5] / f"{key}.jpg")


@pytest.mark.parametrize("form", CONTENT)
def test_every_form_says_the_same(photos, form):
    assert labels_of(read(photos, CONTENT[form])) == TRUTH
    found = understand(GivenData(photos, photos.parent / "given.json"), photos.parent)
    assert labels_of(found.manifest) == labels_of(load_manifest(found.config, photos.parent)) == TRUTH
    assert found.facts[0].startswith("given.json: ")
    with pytest.raises(ValueError, match=r"given\.json must use labels of the vocabulary: got unknown 'long sleeve'"):
        (photos.parent / "list.txt").write_text("red\nblue\n")
        read(photos, CONTENT[form], labels="list.txt")


@pytest.mark.parametrize("form", CONTENT)
def test_an_ingest_keeps_the_form(photos, tmp_path, form):
    (photos / "b" / "p2.jpg").write_bytes(b"no photo")
    file = write(tmp_path, CONTENT[form])
    report = ingest_photos(photos, tmp_path / "out", file, IngestOptions(size=32, workers=1))
    assert (report.counts["kept"], report.counts["failed"]) == (2, 1)
    kept = load_manifest(DataConfig("csv", "photos", "annotations.json"), tmp_path / "out")
    assert labels_of(kept) == {name: TRUTH[name] for name in ("p0", "p1")} and not kept.missing


def test_plain_json_is_ingested_too(photos, tmp_path):
    for content in ({"p0.jpg": ["red"], "p1.jpg": []}, [{"image": "p0.jpg", "labels": ["red"], "shop": 7}]):
        out = tmp_path / f"out{len(content)}"
        ingest_photos(photos, out, write(tmp_path, content), IngestOptions(size=32, workers=1))
        assert json.loads((out / "annotations.json").read_text()) == content


@pytest.mark.parametrize("form", CONTENT)
def test_no_content_has_two_forms(tmp_path, form):
    source = open_labels(write(tmp_path, CONTENT[form]), tmp_path, DataConfig("folder", ""))
    assert sum(known.recognizes(source) for known in TOOL_FORMS) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"imageId": "p0"}], "annotations": [{"imageId": "p0", "labelId": ["red"]}]},
        {"p0.jpg": ["red"], "p1.jpg": []},
        {"labels": ["red"], "classes": ["blue"]},  # photos that are called so
        [{"image": "p0.jpg", "labels": ["red"]}],
        [{"image": "p0.jpg", "labels": ["red"], "data": "new"}],
        [], {}, 3, None, "text", [1], [None], {"images": [], "annotations": []},
    ],
)  # fmt: skip
def test_other_json_is_no_tools(tmp_path, content):
    source = open_labels(write(tmp_path, content), tmp_path, DataConfig("folder", ""))
    assert not any(known.recognizes(source) for known in TOOL_FORMS)


def change(form, *path_and_value):
    """Return a form's content with one value set, or deleted by ``...``."""
    *path, last, value = path_and_value
    content = copy.deepcopy(CONTENT[form])
    place = content
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (change("coco", "annotations", 3, "category_id", 4), r"annotations\[3\] must have a category .* got '4'"),
        (change("coco", "annotations", 3, "category_id", True), r"annotations\[3\], category_id must hold labels"),
        (change("coco", "annotations", 3, "category_id", ...), r"annotations\[3\], category_id"),
        (change("coco", "annotations", 3, "image_id", 99), r"annotations\[3\] must have an image .* got '99'"),
        (change("coco", "annotations", 0, 5), r"annotations\[0\] must be an object: got '5'"),
        (change("coco", "annotations", []), r"must hold annotations: got none"),
        (change("coco", "images", 1, "id", 10), r"images\[1\] must have an id of its own: got '10' again"),
        (change("coco", "images", 1, "file_name", "a/p0.jpg"), r"every file name once: got 'a/p0.jpg' again"),
        (change("coco", "images", 1, "file_name", None), r"images\[1\], file_name must name the photo's file"),
        (change("coco", "categories", 1, "name", "long sleeve"), r"every name once: got 'long sleeve' again"),
        (change("coco", "categories", 1, "id", 90), r"categories\[1\] must have an id of its own"),
        (change("coco", "categories", {"3": "red"}), r"categories must be a list"),
        ([{"image_id": 1, "category_id": 3, "score": 0.5}], "got results of COCO"),
        (change("tasks", 1, "annotations", "x"), r"tasks\[1\], annotations must be a list"),
        (change("tasks", 1, "data", "image", "data:image/png;base64,AAA"), r"tasks\[1\], data.image must name"),
        (change("tasks", 1, "data", 7), r"tasks\[1\], data must be an object"),
        (change("tasks", 1, "data", "image", TASKS[0]["data"]["image"]), r"every photo once: got 'shop/a/p0.jpg'"),
        (change("tasks", 0, "annotations", 0, "result", [choices([" "])]), r"tasks\[0\] must hold labels that are"),
        ([{"data": {"image": "p0.jpg"}, "predictions": []}], "must hold finished annotations with labels: got none"),
        ([{"data": {"front": "p0.jpg", "back": "p1.jpg"}, "annotations": []}], "one field that names the photo"),
        (change("samples", "samples", 1, "filepath", 5), r"samples\[1\], filepath must name the photo's file"),
        (change("samples", "samples", 1, "filepath", "data/a/p0.jpg"), "every photo once: got 'data/a/p0.jpg'"),
        (change("samples", "samples", 1, "ground_truth", "red"), r"samples\[1\], ground_truth must hold labels of"),
        (change("samples", "samples", 1, []), r"samples\[1\] must be an object"),
        (change("labels", "labels", "a/p1", 2), r"labels\['a/p1'\] must be a place in 'classes', 0 to 1: got 2"),
        (change("labels", "labels", "a/p1", "blue"), r"labels\['a/p1'\] must be one of 'classes': got 'blue'"),
        (change("labels", "classes", ["red", "red"]), r"every label once: got 'red' again"),
        ({"classes": None, "labels": {"p0": None}}, "must hold labeled photos: got none of 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(photos, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read(photos, content)
    assert "given.json" in str(error.value) and "\n" not in str(error.value)


def test_coco_counts_every_annotation_and_lists_categories_without_any(photos, caplog):
    content = change("coco", "categories", 0, "id", "90")  # text and number are one id
    content["categories"].append({"id": 4, "name": "never"})
    manifest = read(photos, content)
    assert manifest.vocabulary.names == ("long sleeve", "red", "never") and labels_of(manifest) == TRUTH
    fact = understand(GivenData(photos, photos.parent / "given.json"), photos.parent).facts[0]
    assert "4 annotations (1 crowds) of 3 categories in 3 photos, 1 without annotations" in fact
    panoptic = change("coco", "annotations", [{"image_id": 10, "segments_info": [{"category_id": 3}]}])
    assert labels_of(read(photos, panoptic))["p0"] == {"red"}
    lvis = copy.deepcopy(COCO)
    for image in lvis["images"]:
        image |= {"coco_url": f"http://h/{image.pop('file_name')}", "neg_category_ids": [3]}
    with caplog.at_level(logging.WARNING):
        assert labels_of(read(photos, lvis)) == TRUTH
    assert "3 photos say which categories were looked for" in caplog.text


def test_splits_of_coco_are_files(photos):
    (photos.parent / "val.json").write_text(json.dumps(change("coco", "images", 0, "file_name", "b/p0.jpg")))
    for name, rows in (("given.json", slice(0, 2)), ("val.json", slice(2, 3))):
        content = {**COCO, "images": COCO["images"][rows]}
        ids = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in COCO["annotations"] if a["image_id"] in ids] or [
            {"image_id": 12, "category_id": 90}
        ]
        (photos.parent / name).write_text(json.dumps(content))
    config = DataConfig("csv", "photos", "given.json", validation_annotations="val.json")
    manifest = load_manifest(config, photos.parent)
    assert dict(zip(manifest.ids, manifest.split, strict=True)) == {"p0": "train", "p1": "train", "p2": "validation"}
    assert labels_of(manifest) == {**TRUTH, "p2": {"long sleeve"}}


def test_annotators_of_label_studio_agree(photos, caplog):
    content = copy.deepcopy(TASKS)
    content[0]["annotations"] = [{"result": [choices(labels)]} for labels in (["red", "a"], ["red", "b"], ["b"])]
    content[1]["annotations"] = [
        {"was_cancelled": True, "result": [choices(["a"])]},
        {"result": [choices(["b"])]},
        {"ground_truth": True, "result": [choices(["red"])]},
    ]
    content[2]["annotations"] = [{"was_cancelled": True, "result": []}]
    with caplog.at_level(logging.WARNING):
        manifest = read(photos, content)
    assert labels_of(manifest) == {"p0": {"red", "b"}, "p1": {"red"}} and manifest.unannotated == ("shop/b/p2.jpg",)
    assert "1 photos have no annotation" in caplog.text
    pair = copy.deepcopy(TASKS)
    pair[1]["annotations"] = [{"result": [choices(["red"])]}, {"result": []}]
    assert labels_of(read(photos, pair))["p1"] == {"red"}  # one of two is half


def test_controls_of_label_studio(photos):
    content = copy.deepcopy(TASKS)
    taxonomy = {"from_name": "kind", "type": "taxonomy", "value": {"taxonomy": [["top"], ["top", "shirt"]]}}
    box = {"from_name": "box", "type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["red"]}}
    text = {"from_name": "said", "type": "textarea", "value": {"text": ["nice"]}}
    content[2]["annotations"] = [{"result": [taxonomy, box, text]}]
    found = labels_of(read(photos, content))
    assert found["p2"] == {"kind:top", "kind:top/shirt", "box:red"}
    assert found["p1"] == {"look:red"}
    assert labels_of(read(photos, content, labels_column="look")) == TRUTH
    with pytest.raises(ValueError, match="must have labels from 'color': got 'look', 'kind', 'box'"):
        read(photos, content, labels_column="color")


@pytest.mark.parametrize("uploaded", [True, False])
def test_uploads_of_label_studio_are_found_under_both_names(photos, uploaded):
    content = copy.deepcopy(TASKS)
    for task, name in zip(content, FILES, strict=True):
        task["data"]["image"] = f"/data/upload/4/0a1b2c3d-{name}.jpg"
    if uploaded:
        for path in FILES.values():
            file = photos / path
            file.rename(file.with_name(f"0a1b2c3d-{file.name}"))
    found = labels_of(read(photos, content))
    assert found == {("0a1b2c3d-" if uploaded else "") + name: labels for name, labels in TRUTH.items()}


def test_single_choices_of_json_min_need_a_name_only_beside_other_texts(photos):
    content = [{**{k: v for k, v in row.items() if k != "look"}, "look": "red"} for row in FLAT]
    assert set(map(frozenset, labels_of(read(photos, content)).values())) == {frozenset({"red"})}
    for row in content:
        row["note"] = "sold"
    with pytest.raises(ValueError, match="must have one field of labels: got 'look', 'note'"):
        read(photos, content)
    assert labels_of(read(photos, content, labels_column="look"))["p0"] == {"red"}


def test_fields_and_tags_of_fiftyone(photos, caplog):
    content = copy.deepcopy(SAMPLES)
    for sample, split in zip(content["samples"], ("train", "val", "test"), strict=True):
        sample["tags"] = ["new", split]
        sample["boxes"] = {"_cls": "Detections", "detections": [{"label": "red"}, {"label": "red"}]}
    content["samples"][1]["ground_truth"] = None
    with caplog.at_level(logging.WARNING):
        manifest = read(photos, content)
    assert manifest.split.tolist() == ["train", "test"] and manifest.unannotated == ("data/a/p1.jpg",)
    assert labels_of(read(photos, content, labels_column="boxes"))["p2"] == {"red"}
    content["samples"][0]["tags"] = ["new"]
    assert read(photos, content).split.tolist() == ["train", "train"]  # not every photo has one
    for sample in content["samples"]:
        sample.pop("ground_truth")
    with pytest.raises(ValueError, match="one field of labels, or one called 'ground_truth': got 'model', 'boxes'"):
        read(photos, content)
    with pytest.raises(ValueError, match="labels in the field 'seen': got 'model', 'boxes'"):
        read(photos, content, labels_column="seen")


def test_a_folder_of_img2dataset(tmp_path, caplog):
    pytest.importorskip("pyarrow")
    folder = tmp_path / "got"
    write_img2dataset(folder, labels=[["red", "long sleeve"], [], ["red"], None], caption="a dress")
    with caplog.at_level(logging.WARNING):
        found = understand(GivenData(folder, folder), tmp_path)
    assert labels_of(found.manifest) == {"000000000": {"red", "long sleeve"}, "000000001": set()}
    assert found.facts[0] == "got: img2dataset, 3 of 4 photos, labels in the column 'labels'"
    assert "1 addresses have no photo: 1 failed_to_download" in caplog.text
    assert "1 photos have no annotation and are left out: '000010000'" in caplog.text
    assert labels_of(load_manifest(found.config, tmp_path)) == labels_of(found.manifest)
    caplog.clear()
    report = ingest_photos(folder, tmp_path / "out", folder, IngestOptions(size=32, workers=1))
    assert "1 addresses have no photo" in caplog.text and "1 photos have no annotation" in caplog.text
    assert report.annotations.name == "annotations.csv" and report.counts["kept"] == 2
    kept = load_manifest(DataConfig("csv", "photos", "annotations.csv", id_column="key"), tmp_path / "out")
    assert labels_of(kept) == labels_of(found.manifest)


def test_captions_are_labels_only_if_somebody_says_so(tmp_path):
    pytest.importorskip("pyarrow")
    write_img2dataset(tmp_path / "got", caption=["red|long", "red", "x", "long"])
    with pytest.raises(ValueError, match="must have a column of labels: got 'caption'; name the one"):
        understand(GivenData(tmp_path / "got", tmp_path / "got"), tmp_path)
    found = understand(GivenData(tmp_path / "got", tmp_path / "got", labels_column="caption"), tmp_path)
    assert labels_of(found.manifest)["000000000"] == {"red", "long"}
    with pytest.raises(ValueError, match="or in a folder that img2dataset has written"):
        understand(GivenData(tmp_path / "got", tmp_path), tmp_path)
