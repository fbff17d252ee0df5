"""Photo tables and truth tables are read alike: the same files, through `load_manifest` and `load_predictions`."""

import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from stacking.predictions import load_predictions

IDS = ["0", "1", "2"]
TRUTH = {"0": {"red", "blue"}, "1": {"red"}, "2": set()}
LABELS = "labelId,labelName\n7,red\n9,blue\n"


@pytest.fixture
def folder(tmp_path):
    for name in IDS:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def read_photos(folder, file, *, labels=True, **columns):
    """Return the labels of every photo."""
    config = DataConfig("csv", ".", file, labels="labels.csv" if labels else None, **columns)
    manifest = load_manifest(config, folder)
    names = np.array(manifest.vocabulary.names)
    return {
        photo: set(names[row == 1].tolist()) for photo, row in zip(manifest.ids.tolist(), manifest.y_true, strict=True)
    }


def read_truth(folder, file, *, labels=True):
    """Return the labels of every sample."""
    scores = pd.DataFrame(np.full((3, 2), 0.5), index=IDS, columns=["red", "blue"])
    given = {"labels": folder / "labels.csv"} if labels else {}
    found = load_predictions(models=[("a", scores)], truth=folder / file, **given)
    names = np.array(found.labels)
    return {photo: set(names[row == 1].tolist()) for photo, row in zip(found.ids.tolist(), found.y_true, strict=True)}


ALIKE = {
    "bars": "image,labels\n0,red|blue\n1,red\n2,\n",
    "commas": 'image,labels\n0,"red, blue"\n1,red\n2,\n',
    "semicolons": "image,labels\n0,red;blue\n1,red\n2,\n",
    "spaces": "image,labels\n0,red blue\n1,red\n2,\n",
    "ids": "id,labels\n0,7 9\n1,7\n2,\n",
    "ids by bars": "id,labelIds\n0,7|9\n1,7\n2,\n",
    "ids by commas": 'id,labels\n0,"7,9"\n1,7\n2,\n',
    "lists": "image_id,labels\n0,\"['red', 'blue']\"\n1,\"['red']\"\n2,[]\n",
    "lists of ids": 'photo,labels\n0,"[7, 9]"\n1,[7]\n2,[]\n',
    "JSON lists": 'filename,labels\n0,"[""red"", ""blue""]"\n1,"[""red""]"\n2,[]\n',
    "wide": "image,red,blue\n0,1,1\n1,1,0\n2,0,0\n",
    "wide, other order": "image,blue,red\n0,1,1\n1,0,1\n2,0,0\n",
    "wide, ids": "image,7,9\n0,1,1\n1,1,0\n2,0,0\n",
    "wide, words": "image,red,blue\n0,True,True\n1,TRUE,false\n2,False,False\n",
    "wide, fractions": "image,red,blue\n0,1.0,1.0\n1,1.0,0.0\n2,0,0\n",
    "wide, decimal commas": "image;red;blue\n0;1,0;1,0\n1;1,0;0,0\n2;0;0\n",
    "long with values": "image,label,value\n0,red,1\n0,blue,1\n1,red,1\n1,blue,0\n2,red,0\n2,blue,0\n",
    "semicolons between cells": "image;labels\n0;red|blue\n1;red\n2;\n",
    "semicolons between cells, commas in them": "image;labels\n0;red,blue\n1;red\n2;\n",
    "tabs between cells": "image\tlabels\n0\tred|blue\n1\tred\n2\t\n",
    "byte order mark and carriage returns": "\ufeffimage,labels\r\n0,red|blue\r\n1,red\r\n2,\r\n",
    "spaces around everything": "image , labels\n0, red | blue \n1,red \n2, \n",
    "row numbers first": ",image,labels\n0,0,red|blue\n1,1,red\n2,2,\n",
    "ids last": "labels,image\nred|blue,0\nred,1\n,2\n",
    "commas after the last cell": "image,labels,\n0,red|blue,\n1,red,\n2,,\n",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*are not used")
@pytest.mark.parametrize("name", ALIKE)
def test_one_content_in_every_table(folder, name):
    (folder / "t.csv").write_bytes(ALIKE[name].encode("utf-8"))
    assert read_photos(folder, "t.csv") == TRUTH == read_truth(folder, "t.csv")
    if "7" not in ALIKE[name] and name != "spaces":  # without a label list there are no ids
        assert read_photos(folder, "t.csv", labels=False) == TRUTH == read_truth(folder, "t.csv", labels=False)


def test_long_tables_have_one_label_a_row(folder):
    text = "image,label\n0,red\n1,red\n0,blue\n2,blue\n"
    expected = {"0": {"red", "blue"}, "1": {"red"}, "2": {"blue"}}
    (folder / "t.csv").write_text(text)
    assert read_photos(folder, "t.csv") == expected == read_truth(folder, "t.csv")
    (folder / "t.csv").write_text(text.replace("label", "labelId").replace("red", "7").replace("blue", "9"))
    assert read_photos(folder, "t.csv") == expected == read_truth(folder, "t.csv")


@pytest.mark.parametrize("values", [
    {"labels": [["red", "blue"], ["red"], []]}, {"labels": [[7, 9], [7], []]}, {"labels": ["red|blue", "red", ""]},
    {"red": [True, True, False], "blue": [True, False, False]}, {"red": [1.0, 1.0, 0.0], "blue": [1, 0, 0]},
])  # fmt: skip
@pytest.mark.parametrize("ids", [[0, 1, 2], IDS])
def test_parquet_files_alike(folder, values, ids):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"image": ids, **values}).to_parquet(folder / "t.parquet")
    assert read_photos(folder, "t.parquet") == TRUTH == read_truth(folder, "t.parquet")


REFUSED = {
    'image,labels\n0,"red;blue,red"\n1,red\n2,\n': "must be one of the 2 known|must use",
    "image,labels\n0,red\n0,blue\n1,red\n2,\n": "ids must be unique: got '0' 2 times; .*a column called 'label'",
    "image,label\n0,red|blue\n0,blue\n1,red\n2,\n": "ids must be unique: got '0' 2 times",
    "image,label,value\n0,red,1\n0,red,0\n1,red,1\n2,red,0\n": "'0' must have the label 'red' or not: got 0 and 1",
    "image,labels\n0,red\n1\n2,blue\n": "equally long rows, 2 cells each: line 3 has 1",
    "image,labels\n0,red,blue\n1,red\n2,\n": "equally long rows, 2 cells each: line 2 has 3",
    "image,red,blue\n0,1,-1\n1,0,1\n2,0,0\n": "must be 0 or 1|must hold only 0 and 1|a number, 0 or 1",
    "image,red,blue\n0,1,2\n1,0,1\n2,0,0\n": "must be 0 or 1|must hold only 0 and 1|a number, 0 or 1",
    "image,labels,red,blue\n0,red,1,0\n1,blue,0,1\n2,red,1,1\n": "in one place which labels a sample has",
    "image,red,red\n0,1,0\n1,0,1\n2,0,0\n": "must name every column once: got 'red' twice",
    "": "must hold a table: it is empty",
}


@pytest.mark.parametrize("text", REFUSED)
def test_both_refuse_alike(folder, text):
    (folder / "t.csv").write_text(text)
    for read in (read_photos, read_truth):
        with pytest.raises(ValueError, match=REFUSED[text]):
            read(folder, "t.csv")


def test_numbers_that_are_ids_and_names_are_refused_alike(folder):
    (folder / "labels.csv").write_text("labelId,name\n0,red\n1,blue\n2,1\n")
    (folder / "t.csv").write_text("image,labels\n0,1\n1,1\n2,\n")
    with pytest.raises(ValueError, match="could be both: '1' is the id of 'blue'"):
        read_photos(folder, "t.csv")
    scores = pd.DataFrame(np.full((3, 3), 0.5), index=IDS, columns=["red", "blue", "1"])
    for column, label in (("labelId", 1), ("labelName", 2)):
        (folder / "t.csv").write_text(f"image,{column}\n0,1\n1,1\n2,\n")
        read = load_predictions(models=[("a", scores)], truth=folder / "t.csv", labels=folder / "labels.csv")
        assert read.y_true[:, label].tolist() == [1, 1, 0] and read.y_true.sum() == 2
        assert (
            load_manifest(DataConfig("csv", ".", "t.csv", labels="labels.csv"), folder).y_true.tolist()
            == read.y_true.tolist()
        )


@pytest.mark.parametrize(
    "name",
    [
        "label",
        "labels",
        "labelId",
        "group",
        "fold",
        "value",
        "split",
        "id",
        "image",
        "nan",
        "none",
        "True",
        "0",
        "007",
        "+x",
        "a,b",
    ],
)
def test_labels_may_be_called_anything(folder, name):
    """A task of one label with 0 and 1, and lists that name it."""
    quoted = f'"{name}"'
    (folder / "labels.csv").write_text(f"labelId,name\n7,{quoted}\n")
    (folder / "t.csv").write_text(f"key,{quoted}\n0,1\n1,0\n2,1\n")
    (folder / "l.csv").write_text(f"key,tags\n0,{quoted}\n1,\n2,{quoted}\n")
    config = DataConfig("csv", ".", "t.csv", labels="labels.csv", id_column="key")
    scores = pd.DataFrame(np.full((3, 1), 0.5), index=IDS, columns=[name])
    scores.to_csv(folder / "a.csv", index_label="key")
    for file in ("t.csv", "l.csv"):
        assert load_manifest(DataConfig(**{**vars(config), "annotations": file}), folder).y_true.ravel().tolist() == [
            1,
            0,
            1,
        ]
        read = load_predictions(models=[folder / "a.csv"], truth=folder / file, labels=folder / "labels.csv")
        assert read.y_true.ravel().tolist() == [1, 0, 1] and read.label_ids == ("7",)
    if name not in ("0", "007"):
        assert load_predictions(models=[folder / "a.csv"], truth=folder / "t.csv").y_true.ravel().tolist() == [1, 0, 1]


def test_zero_and_one_without_a_label_list_are_a_riddle(folder):
    (folder / "t.csv").write_text("image,label\n0,1\n1,0\n2,1\n")
    with pytest.raises(
        ValueError, match=r"holds 0 and 1, which could be the labels '0' and '1' .* whether it has the label"
    ):
        read_photos(folder, "t.csv", labels=False)
    assert read_photos(folder, "t.csv", labels=False, label_separator="|") == {"0": {"1"}, "1": {"0"}, "2": {"1"}}


def test_photos_must_be_annotated_for_every_label(folder):
    (folder / "t.csv").write_text("image,red,blue\n0,1,\n1,1,0\n2,0,0\n")
    with pytest.raises(ValueError, match="row '0', column 'blue': the cell must be 0 or 1: got a blank"):
        read_photos(folder, "t.csv")
    (folder / "t.csv").write_text("image,label,value\n0,red,1\n1,red,0\n1,blue,0\n2,blue,1\n")
    with pytest.raises(ValueError, match="'0' has no row for 'blue'; add 0 or 1"):
        read_photos(folder, "t.csv")
    with pytest.warns(UserWarning, match="2 absent rows count as labels that were not annotated"):
        read_truth(folder, "t.csv")


def test_groups_and_splits_that_nobody_maps_are_said_aloud(folder, caplog):
    (folder / "t.csv").write_text("image,labels,group,url\n0,red|blue,a,x\n1,red,a,x\n2,,b,x\n")
    with caplog.at_level(logging.WARNING):
        read_photos(folder, "t.csv")
    assert "the columns 'group' are not used; data.group_column" in caplog.text and "url" not in caplog.text


def test_most_labels_occurring_once_is_said_aloud(tmp_path):
    rows = [f"{number},red shirt {number}" for number in range(30)]
    for number in range(30):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    (tmp_path / "t.csv").write_text("\n".join(["image,labels", *rows]))
    with pytest.warns(UserWarning, match="30 of 30 labels occur in one sample only"):
        load_manifest(DataConfig("csv", ".", "t.csv"), tmp_path)


LISTS = {
    "l.csv": ["labelId,name\n7,red\n9,blue\n", "labelId,labelName\n7,red\n9,blue\n",
              "label_id;label_name\n7;red\n9;blue\n",
              "labelId,labelName,taskName\n7, red,color\n9,blue ,color\n", "id,label\n7,red\n9,blue\n"],
    "l.json": ['{"7": "red", "9": "blue"}', '{"red": 7, "blue": 9}',
               '[{"id": 7, "name": "red"}, {"id": 9, "name": "blue"}]',
               '{"categories": [{"id": 7, "name": "red"}, {"id": 9, "name": "blue"}]}'],
    "l.tsv": ["labelId\tlabelName\n7\tred\n9\tblue\n"],
}  # fmt: skip


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, texts in LISTS.items() for text in texts])
def test_label_lists_with_ids_in_every_spelling(folder, file, text):
    (folder / file).write_text(text)
    (folder / "t.csv").write_text("image,labels\n0,7 9\n1,7\n2,\n")
    manifest = load_manifest(DataConfig("csv", ".", "t.csv", labels=file), folder)
    scores = pd.DataFrame(np.full((3, 2), 0.5), index=IDS, columns=["red", "blue"])
    found = load_predictions(models=[("a", scores)], truth=folder / "t.csv", labels=folder / file)
    assert manifest.vocabulary.names == found.labels == ("red", "blue")
    assert manifest.vocabulary.ids == found.label_ids == ("7", "9")
    assert manifest.y_true.tolist() == found.y_true.tolist() == [[1, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(("file", "text"), [
    ("l.csv", "label\nred\nblue\n"), ("l.csv", "name\nred\nblue\n"), ("l.txt", "red\nblue\n"),
    ("l.txt", "red\r\nblue\r\n\r\n"),
    ("l.json", '["red", "blue"]'),
])  # fmt: skip
def test_label_lists_without_ids_in_every_spelling(folder, file, text):
    (folder / file).write_bytes(text.encode())
    (folder / "t.csv").write_text("image,labels\n0,red|blue\n1,red\n2,\n")
    manifest = load_manifest(DataConfig("csv", ".", "t.csv", labels=file), folder)
    assert manifest.vocabulary.names == ("red", "blue") and manifest.vocabulary.own_ids is None


def paint(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


@pytest.mark.parametrize("prefix", ["", "./", "photos/", "somewhere/else/", "C:\\photos\\", "/data/"])
def test_equal_file_names_in_folders_are_told_apart(tmp_path, prefix):
    for name in ("p1/view1.png", "p2/view1.png", "p2/view2.png"):
        paint(tmp_path / "photos" / name)
    files = [prefix + name for name in ("p2/view1.png", "p1/view1.png", "p2/view2.png")]
    rows = "".join(f"{file},{label}\n" for file, label in zip(files, ("red", "blue", "red"), strict=True))
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}")
    if prefix == "C:\\photos\\":
        with pytest.raises(ValueError, match="must use photo ids"):
            load_manifest(DataConfig("csv", "photos", "t.csv"), tmp_path)
        return
    manifest = load_manifest(DataConfig("csv", "photos", "t.csv"), tmp_path)
    assert [path.removeprefix("p") for path in manifest.photos.paths] == ["2/view1.png", "1/view1.png", "2/view2.png"]
    assert len(set(manifest.ids.tolist())) == 3 and manifest.ids[0].endswith("p2/view1")
    assert manifest.y_true.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_one_of_several_photos_of_a_name_must_be_meant(tmp_path):
    for name in ("p1/view1.png", "p2/view1.png", "p3/other.png"):
        paint(tmp_path / "photos" / name)
    (tmp_path / "t.csv").write_text("image,labels\nview1,red\nother,blue\n")
    with pytest.raises(ValueError, match=r"'view1' could be 'p1/view1', 'p2/view1'; write the path below data.root"):
        load_manifest(DataConfig("csv", "photos", "t.csv"), tmp_path)
    (tmp_path / "t.csv").write_text("image,labels\np2/view1.png,red\nother,blue\n")
    manifest = load_manifest(DataConfig("csv", "photos", "t.csv"), tmp_path)
    assert manifest.ids.tolist() == ["view1", "other"] and manifest.photos.paths.tolist() == [
        "p2/view1.png",
        "p3/other.png",
    ]


def test_files_may_call_their_columns_by_label_ids(folder):
    """Scores and truth whose columns are ids, in every form that names its columns."""
    scores = pd.DataFrame(np.full((3, 2), 0.5), index=IDS, columns=["7", "9"])
    truth = pd.DataFrame([[1, 1], [1, 0], [0, 0]], index=IDS, columns=["7", "9"])
    scores.to_csv(folder / "a.csv", index_label="id")
    truth.to_csv(folder / "t.csv", index_label="id")
    np.savez(folder / "t.npz", y_true=truth.to_numpy(), ids=IDS, labels=["7", "9"])
    np.savez(folder / "b.npz", y_scores=scores.to_numpy()[None], ids=IDS, labels=["7", "9"], models=["b"])
    for model in (("a", scores), folder / "a.csv", folder / "b.npz"):
        for given in (truth, folder / "t.csv", folder / "t.npz"):
            found = load_predictions(models=[model], truth=given, labels=folder / "labels.csv")
            assert found.labels == ("red", "blue") and found.label_ids == ("7", "9")
            assert found.y_true.tolist() == [[1, 1], [1, 0], [0, 0]]


def test_groups_weights_and_folds_stand_beside_labels_in_every_shape(folder):
    scores = pd.DataFrame(np.full((3, 2), 0.5), index=IDS, columns=["red", "blue"])
    for head, rows in (
        ("id,group,labels,fold,sample_weight", ["0,a ,red|blue,0,1", "1,a,red,1,2", "2,b,,0,.5"]),
        ("id,red,blue,group,fold,sample_weight", ["0,1,1,a,0,1", "1,1,0, a,1,2", "2,0,0,b,0,.5"]),
    ):
        (folder / "t.csv").write_text("\n".join([head, *rows]))
        for given in ({}, {"labels": folder / "labels.csv"}):
            found = load_predictions(models=[("a", scores)], truth=folder / "t.csv", **given)
            assert found.y_true.tolist() == [[1, 1], [1, 0], [0, 0]]
            assert found.groups.tolist() == ["a", "a", "b"] and found.folds.tolist() == [0, 1, 0]
            assert found.sample_weight.tolist() == [1.0, 2.0, 0.5]
    (folder / "t.csv").write_text("id,label,group\n0,red,a\n0,blue,b\n1,red,a\n2,red,a\n")
    with pytest.raises(ValueError, match="the rows of '0' must agree in the column 'group': got 'b' and 'a'"):
        load_predictions(models=[("a", scores)], truth=folder / "t.csv")
    (folder / "t.csv").write_text("id,labels,group,groups\n0,red,a,b\n1,red,a,a\n2,red,a,a\n")
    with pytest.raises(ValueError, match="must have one column of groups: 'groups' is another"):
        load_predictions(models=[("a", scores)], truth=folder / "t.csv")


def test_photos_whose_names_are_no_text_are_left_out(tmp_path, caplog):
    import os

    from base_models.manifest import load_photo_folder

    for name in (b"good.png", b"b\xff.png", b" .png", b"-x.png", b"a\nb.png"):
        paint(tmp_path / os.fsdecode(name))
    with caplog.at_level(logging.WARNING):
        ids, photos = load_photo_folder(tmp_path)
    assert ids.tolist() == ["-x", "a\nb", "good"] and len(photos) == 3
    assert "2 photos in" in caplog.text and "blank or no UTF-8" in caplog.text
