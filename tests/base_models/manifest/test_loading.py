"""Manifests in every form, and every way in which they can be wrong."""

import json
import logging
import multiprocessing
import pickle
import sys
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from base_models.manifest import load_manifest, load_photo_folder, scan_folder, scan_tar_shards
from base_models.manifest.imaterialist_json import read_imaterialist_json
from base_models.photos.decoding import UnreadablePhotoError
from base_models.recipe.data import DataConfig

LABELS = "labelId,name,count\n1,color:red,2\n2,color:blue,2\n3,sleeve:long,1\n"
TABLE = (
    "image,labels,seller,split\n007.jpg,1 3,s1,train\nsub/NA.png,2,s1,train\n8,color:blue,s2,test\nv1.2,1|2,s3,val\n"
)


def paint(path, color=(200, 30, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 16), color).save(path)


@pytest.fixture
def table_folder(tmp_path):
    for number, name in enumerate(["007.jpg", "sub/NA.png", "8.jpg", "v1.2.jpg"]):
        paint(tmp_path / "photos" / name, (40 * number, 10, 10))
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "annotations.csv").write_text(TABLE.replace("1|2", "1 2"))
    return tmp_path


@pytest.fixture
def table_config():
    return DataConfig(
        format="csv",
        root="photos",
        annotations="annotations.csv",
        labels="labels.csv",
        group_column="seller",
        split_column="split",
    )


@pytest.fixture
def contest_folder(tmp_path):
    """Return a function that writes contest files and their photos."""

    def write(name, entries, *, images=None, keys=("imageId", "labelId")):
        for photo_id, _ in entries:
            paint(tmp_path / "photos" / f"{photo_id}.jpg")
        listed = [photo_id for photo_id, _ in entries] if images is None else images
        data = {
            "images": [{keys[0]: i, "url": f"https://example.org/{i}.jpg"} for i in listed],
            "annotations": [{keys[0]: i, keys[1]: labels} for i, labels in entries],
        }
        (tmp_path / name).write_text(json.dumps(data))
        (tmp_path / "labels.csv").write_text(LABELS)
        return tmp_path

    return write


CONTEST = DataConfig(format="imaterialist-json", root="photos", annotations="train.json", labels="labels.csv")


def test_table_keeps_ids_as_text_and_maps_columns(table_folder, table_config):
    manifest = load_manifest(table_config, table_folder)
    assert manifest.ids.tolist() == ["007", "NA", "8", "v1.2"]
    assert manifest.split.tolist() == ["train", "train", "test", "validation"]
    assert manifest.groups.tolist() == ["s1", "s1", "s2", "s3"]
    assert manifest.y_true.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert manifest.y_true.dtype == np.uint8
    assert manifest.vocabulary.groups == ("color", "color", "sleeve")
    assert manifest.read_photo(1).size == (12, 16)
    assert abs(manifest.read_photo(2).getpixel((5, 5))[0] - 80) < 4
    assert manifest.missing == ()


def test_separators_bars_or_white_space_or_named(table_folder, table_config):
    config = replace(table_config, split_column=None, group_column=None)
    file = table_folder / "annotations.csv"
    file.write_text("image,labels\n007,1|color:blue\n8,\n")
    assert load_manifest(config, table_folder).y_true.tolist() == [[1, 1, 0], [0, 0, 0]]
    file.write_text('image,labels\n007,"1; 3"\n')
    assert load_manifest(replace(config, label_separator=";"), table_folder).y_true.tolist() == [[1, 0, 1]]


def test_without_vocabulary_the_labels_are_those_met(table_folder, table_config):
    manifest = load_manifest(replace(table_config, labels=None), table_folder)
    assert manifest.vocabulary.names == ("1", "2", "3", "color:blue")


def test_folder_form_finds_its_table_inside(table_folder):
    (table_folder / "annotations.csv").rename(table_folder / "photos" / "annotations.csv")
    manifest = load_manifest(DataConfig(format="folder", root="photos"), table_folder)
    assert manifest.n_photos == 4


def test_tar_shards_hold_the_same_photos_as_the_folder(table_folder, table_config):
    plain = load_manifest(table_config, table_folder)
    (table_folder / "shards").mkdir()
    for number, names in enumerate((["007.jpg", "sub/NA.png"], ["8.jpg", "v1.2.jpg"])):
        with tarfile.open(table_folder / "shards" / f"{number}.tar", "w") as shard:
            for name in names:
                shard.add(table_folder / "photos" / name, arcname=f"images/{name}")
    sharded = load_manifest(replace(table_config, format="tar", root="shards"), table_folder)
    assert sharded.fingerprint == plain.fingerprint
    for row in range(4):
        assert sharded.photos.read_bytes(row) == plain.photos.read_bytes(row)


@pytest.mark.parametrize("keys", [("imageId", "labelId"), ("image_id", "label_id")])
def test_contest_files_in_both_spellings(contest_folder, keys):
    folder = contest_folder("train.json", [("11", ["1", "3"]), (12, [2])], keys=keys)
    contest_folder("test.json", [("13", ["3"])], keys=keys)
    manifest = load_manifest(replace(CONTEST, test_annotations="test.json"), folder)
    assert manifest.ids.tolist() == ["11", "12", "13"]
    assert manifest.split.tolist() == ["train", "train", "test"]
    assert manifest.y_true.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_contest_splits_numbered_from_one_live_in_folders(contest_folder):
    folder = contest_folder("train.json", [("1", ["1"])])
    contest_folder("validation.json", [("1", ["2"])])
    for split in ("train", "validation"):
        paint(folder / "photos" / split / "1.jpg")
    (folder / "photos" / "1.jpg").unlink()
    config = replace(CONTEST, validation_annotations="validation.json", split_folders=True)
    manifest = load_manifest(config, folder)
    assert manifest.ids.tolist() == ["train-1", "validation-1"]
    assert manifest.split_rows("validation").tolist() == [1]


def test_missing_photos_are_recorded_and_the_rest_goes_on(contest_folder, caplog):
    folder = contest_folder("train.json", [("11", ["1"]), ("12", ["2"]), ("13", ["3"])])
    (folder / "photos" / "12.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        manifest = load_manifest(CONTEST, folder)
    assert manifest.missing == ("12",)
    assert manifest.ids.tolist() == ["11", "13"]
    assert "1 of 3 annotated photos were not found" in caplog.text


def test_images_without_annotation_are_recorded(contest_folder):
    folder = contest_folder("train.json", [("11", ["1"])], images=["11", "12"])
    assert load_manifest(CONTEST, folder).unannotated == ("12",)


def test_no_photo_at_all_is_an_error(contest_folder):
    folder = contest_folder("train.json", [("11", ["1"])])
    (folder / "photos" / "11.jpg").unlink()
    with pytest.raises(ValueError, match=r"data\.root must hold the annotated photos: none of 1"):
        load_manifest(CONTEST, folder)


def test_unreadable_photo_says_which_and_why(contest_folder):
    folder = contest_folder("train.json", [("11", ["1"]), ("12", ["1"])])
    (folder / "photos" / "12.jpg").write_bytes(b"<html>")
    manifest = load_manifest(CONTEST, folder)
    with pytest.raises(UnreadablePhotoError, match=r"12: neither JPEG"):
        manifest.read_photo(1)
    (folder / "photos" / "11.jpg").unlink()
    with pytest.raises(UnreadablePhotoError, match=r"11: .*No such file"):
        manifest.read_photo(0)


@pytest.mark.parametrize(
    ("entries", "images", "reason"),
    [
        ([("11", ["1"]), ("12", ["99", "soft"])], None, r"train\.json must use .*: got unknown '99', 'soft'"),
        ([("11", ["-1"])], None, "unknown '-1'"),
        ([("11", [1.5])], None, r"annotations\[0\] must use ids that are text or whole numbers: got 1.5"),
        ([("11", "1")], None, "must hold a list of label ids"),
        ([("11", ["1"]), ("11", ["2"])], ["11"], r"every photo once: got '11' more than once"),
        ([("11", ["1"]), ("12", ["2"])], ["11"], "got unknown photos '12'"),
        ([("11", ["1"])], ["11", "11"], r"list every image once: got '11' again"),
        ([], ["11"], "must hold an object with a list 'annotations'"),
    ],
)  # fmt: skip
def test_wrong_annotations_get_one_sentence(contest_folder, entries, images, reason):
    folder = contest_folder("train.json", entries, images=images)
    with pytest.raises(ValueError, match=reason):
        load_manifest(CONTEST, folder)


@pytest.mark.parametrize(
    "photo_id", ["../../x", "/abs", "a/b", "x\0y", "", "..", "a" * 300, ".hidden", "é", "CON", "nul.7", "=1+1"]
)
def test_ids_that_are_no_file_names_are_refused(contest_folder, photo_id):
    folder = contest_folder("train.json", [("11", ["1"])])
    text = json.dumps({"annotations": [{"imageId": photo_id, "labelId": ["1"]}]})
    (folder / "train.json").write_text(text)
    with pytest.raises(ValueError, match=r"must use photo ids (of 1 to 128 letters|that are file names everywhere)"):
        load_manifest(CONTEST, folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"annotations": [{"imageId": "1", "imageId": "2", "labelId": []}]}', "the key 'imageId' occurs twice"),
        ('{"annotations": [{"imageId": "1", "labelId": [NaN]}]}', "NaN is no JSON value"),
        ('{"annotations": [{"imageId": "1", "labelId": [-Infinity]}]}', "-Infinity is no JSON value"),
        ('{"annotations": [{"labelId": []}]}', "must be an object with 'imageId' or 'image_id'"),
        ('{"annotations": [7]}', "must be an object"),
        ("[" * 100_000, "nested too deeply|valid JSON"),
        ("[]", "list 'annotations'"),
        ("{", "valid JSON in UTF-8"),
    ],
)
def test_strange_json_is_refused(contest_folder, text, reason):
    folder = contest_folder("train.json", [("11", ["1"])])
    (folder / "train.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_manifest(CONTEST, folder)


def test_json_encodings(contest_folder):
    folder = contest_folder("train.json", [("11", ["1"])])
    text = (folder / "train.json").read_text()
    (folder / "train.json").write_text(text, encoding="utf-8-sig")
    assert load_manifest(CONTEST, folder).n_photos == 1
    (folder / "train.json").write_text(text, encoding="utf-16")
    with pytest.raises(ValueError, match="valid JSON in UTF-8"):
        load_manifest(CONTEST, folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("photo,labels\n1,1\n", "must have the column 'seller': got columns photo, labels"),
        ("image,labels,seller,split\n007,1,s\n", "4 cells each: line 2 has 3"),
        (
            "image,labels,seller,split\n007,1,s,holdout\n",
            "must name splits 'train', 'validation' or 'test': got 'holdout'",
        ),
        ("image,labels,seller,split\n007.jpg,1,s,train\n007.png,1,s,train\n", "got '007' more than once"),
        ("", "must hold a table: it is empty"),
    ],
)
def test_wrong_tables_get_one_sentence(table_folder, table_config, text, reason):
    (table_folder / "annotations.csv").write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_manifest(table_config, table_folder)


@pytest.mark.parametrize("part", ["root", "annotations", "labels"])
def test_missing_files_are_named(table_folder, table_config, part):
    with pytest.raises(ValueError, match=rf"data\.{part} must .*nowhere"):
        load_manifest(replace(table_config, **{part: "nowhere"}), table_folder)


def test_equal_paths_are_an_error_in_folders_and_shards(table_folder):
    paint(table_folder / "photos" / "8.png")
    with pytest.raises(ValueError, match=r"every photo id once .*8\.jpg and 8\.png"):
        scan_folder(table_folder / "photos")
    with tarfile.open(table_folder / "a.tar", "w") as shard:
        for name in ("8.jpg", "8.png"):
            shard.add(table_folder / "photos" / name, arcname=name)
    with pytest.raises(ValueError, match=r"every photo id once .*8\.png"):
        scan_tar_shards(table_folder)


def test_equal_names_in_folders_are_told_apart_by_their_paths(table_folder):
    paint(table_folder / "photos" / "other" / "8.png")
    assert scan_folder(table_folder / "photos")[0] == ["007", "8", "other/8", "sub/NA", "v1.2"]
    with tarfile.open(table_folder / "a.tar", "w") as shard:
        for name in ("8.jpg", "other/8.png"):
            shard.add(table_folder / "photos" / name, arcname=name)
    assert scan_tar_shards(table_folder)[0] == ["8", "other/8"]


def test_damaged_and_compressed_shards_are_refused(table_folder):
    with tarfile.open(table_folder / "a.tar", "w:gz") as shard:
        shard.add(table_folder / "photos" / "8.jpg", arcname="8.jpg")
    with pytest.raises(ValueError, match=r"a\.tar must be a plain, whole tar file"):
        scan_tar_shards(table_folder)


def test_a_shard_cut_later_loses_photos_and_not_the_run(table_folder):
    with tarfile.open(table_folder / "a.tar", "w") as shard:
        shard.add(table_folder / "photos" / "8.jpg", arcname="8.jpg")
    _, photos = scan_tar_shards(table_folder)
    data = (table_folder / "a.tar").read_bytes()
    (table_folder / "a.tar").write_bytes(data[: int(photos.offsets[0]) + 20])
    with pytest.raises(UnreadablePhotoError, match="the shard ends within the photo"):
        photos.read_bytes(0)


def test_symbolic_links_do_not_lead_out_of_the_folder(table_folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    paint(outside / "secret.jpg")
    (table_folder / "photos" / "link").symlink_to(outside, target_is_directory=True)
    assert "secret" not in scan_folder(table_folder / "photos")[0]


def first_bytes(photos):
    return photos.read_bytes(0)[:2]


def test_sources_travel_to_spawned_workers(table_folder, table_config):
    manifest = load_manifest(table_config, table_folder)
    copy = pickle.loads(pickle.dumps(manifest))
    assert copy.fingerprint == manifest.fingerprint
    with multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn").Pool(1) as pool:
        assert pool.map(first_bytes, [manifest.photos]) == [b"\xff\xd8"]


def test_select_takes_rows_and_masks(table_folder, table_config):
    manifest = load_manifest(table_config, table_folder)
    assert manifest.select(np.array([2, 0])).ids.tolist() == ["8", "007"]
    assert manifest.select(manifest.split == "train").ids.tolist() == ["007", "NA"]
    assert manifest.select(np.array([2, 0])).read_photo(0).tobytes() == manifest.read_photo(2).tobytes()
    assert len(manifest.select(np.array([], dtype=np.int64))) == 0


def test_the_fingerprint_sees_labels_splits_groups_and_sizes(table_folder, table_config):
    def fingerprint():
        return load_manifest(table_config, table_folder).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    for old, new in (("1 3", "1"), ("s1,train", "s9,train"), ("s2,test", "s2,train")):
        text = (table_folder / "annotations.csv").read_text()
        (table_folder / "annotations.csv").write_text(text.replace(old, new, 1))
        assert fingerprint() != first
        (table_folder / "annotations.csv").write_text(text)
    paint(table_folder / "photos" / "8.jpg", (1, 250, 99))
    (table_folder / "photos" / "8.jpg").write_bytes((table_folder / "photos" / "8.jpg").read_bytes() + b"\0")
    assert fingerprint() != first


def test_n_train_draws_whole_groups_and_leaves_other_splits(tmp_path):
    rows = ["image,labels,seller,split"]
    for number in range(60):
        paint(tmp_path / "photos" / f"{number}.png")
        rows.append(f"{number},a,s{number // 3},{'test' if number >= 45 else 'train'}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    config = DataConfig("csv", "photos", "t.csv", group_column="seller", split_column="split", n_train=20)
    manifest = load_manifest(config, tmp_path)
    train = manifest.split_rows("train")
    assert len(train) == 18  # six whole groups of three: a seventh does not fit into 20
    assert len(manifest.split_rows("test")) == 15
    assert set(np.unique(manifest.groups[train], return_counts=True)[1]) == {3}
    again = load_manifest(replace(config, subset_seed=1), tmp_path)
    assert again.ids.tolist() != manifest.ids.tolist()
    assert load_manifest(replace(config, group_column=None), tmp_path).split_rows("train").shape == (20,)
    with pytest.raises(ValueError, match=r"data\.n_train must be at most the number of training photos: got 46 for 45"):
        load_manifest(replace(config, n_train=46), tmp_path)


def test_min_label_count_counts_training_photos_only(table_folder, table_config):
    manifest = load_manifest(replace(table_config, min_label_count=1), table_folder)
    assert manifest.vocabulary.names == ("color:red", "color:blue", "sleeve:long")
    (table_folder / "annotations.csv").write_text(TABLE.replace("1|2", "1 2").replace("1 3", "1"))
    manifest = load_manifest(replace(table_config, min_label_count=1), table_folder)
    assert manifest.vocabulary.names == ("color:red", "color:blue")
    assert manifest.y_true.shape == (4, 2)
    with pytest.raises(ValueError, match="must leave a label: got 9"):
        load_manifest(replace(table_config, min_label_count=9), table_folder)


def test_paths_expand_variables_and_stay_relative_to_the_recipe(table_folder, table_config, monkeypatch):
    monkeypatch.setenv("LABELSTACK_TEST_FOLDER", str(table_folder))
    config = replace(table_config, root="$LABELSTACK_TEST_FOLDER/photos")
    assert load_manifest(config, table_folder).n_photos == 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "zip"}, r"data\.format must be"),
        ({"n_train": 0}, r"data\.n_train must be at least 1"),
        ({"min_label_count": -1}, r"data\.min_label_count must be at least 0"),
        ({"annotations": ""}, r"data\.annotations must name the annotation file"),
    ],
)
def test_config_checks_itself(options, reason):
    with pytest.raises(ValueError, match=reason):
        DataConfig(**{"format": "csv", "root": "photos", "annotations": "a.csv", **options})


def test_photos_without_labels_for_prediction(table_folder):
    ids, photos = load_photo_folder(table_folder / "photos")
    assert sorted(ids.tolist()) == ["007", "8", "NA", "v1.2"]
    assert len(photos) == 4
    (table_folder / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold at least one"):
        load_photo_folder(table_folder / "empty")


def test_the_real_photos(shared_data):
    folder = shared_data / "fashion44k"
    config = DataConfig(
        format="tar",
        root=".",
        annotations="annotations.csv",
        labels="labels.csv",
        labels_column="labelIds",
        group_column="group",
        split_column="split",
    )
    manifest = load_manifest(config, folder)
    assert (manifest.n_photos, manifest.n_labels) == (43_294, 189)
    assert len(manifest.split_rows("test")) == 8_659
    assert manifest.missing == ()
    assert manifest.y_true.sum(axis=1).mean() == pytest.approx(7.0, abs=0.05)
    assert manifest.read_photo(43_000).size == (60, 80)


def test_the_data_side_does_not_need_torch():
    import subprocess

    code = "import sys, base_models.manifest, base_models.photos.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_repeated_key_among_very_many_is_found_at_once(tmp_path):
    keys = ", ".join(f'"k{number}": 0' for number in range(200_000))
    (tmp_path / "a.json").write_text(f'{{"images": [{{{keys}, "k199999": 1}}], "annotations": []}}')
    began = time.process_time()
    with pytest.raises(ValueError, match="the key 'k199999' occurs twice"):
        read_imaterialist_json(tmp_path / "a.json")
    assert time.process_time() - began < 10  # counting each key among all takes an hour
