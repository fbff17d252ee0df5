"""Groups come beside the scores: a column of any table, matched by id as text."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacking.diagnosis import check_predictions
from stacking.predictions import load_predictions, save_predictions
from stacking.predictions.forms.gathering import load

IDS = ["01", "1", "a:b"]
FRAME = pd.DataFrame([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], index=IDS, columns=["dress", "red"])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FRAME.rename_axis("id").to_csv("cnn.csv")
    FRAME.round().astype(int).rename_axis("id").to_csv("truth.csv")


def groups_of(groups):
    return load("cnn.csv", truth="truth.csv", groups=groups).groups.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "id,group\na:b,007\n1,x\n01,007\n",  # another order; ids and groups are text
        "split,image_id,Group\ntrain,a:b,007\ntrain,1,x\ntrain,01,007\ntest,other,y\n",  # more columns and rows
        "id;seller\n01;007\n1;x\na:b;007\n",  # the only other column
        "\ufeffid\tgroup\n01\t007\n1\tx\na:b\t007\n",
    ],
)
def test_a_column_of_groups_goes_by_id(text):
    Path("groups.csv").write_text(text, encoding="utf-8")
    assert groups_of("groups.csv") == ["007", "x", "007"]


def test_a_column_may_be_named_and_blank_cells_stand_alone():
    Path("photos.csv").write_text("id,seller,person\n01,s,\n1,s,p\na:b,s,p\n", encoding="utf-8")
    assert groups_of("photos.csv:person") == ["", "p", "p"]
    assert groups_of("photos.csv:seller") == ["s", "s", "s"]
    with pytest.raises(ValueError, match=r"column 'persn' beside 'id'.*Did you mean 'person'"):
        groups_of("photos.csv:persn")
    with pytest.raises(ValueError, match=r"column 'group' beside 'id'.*photos.csv:COLUMN"):
        groups_of("photos.csv")


def test_other_forms():
    Path("groups.json").write_text(json.dumps({"1": "x", "01": "y", "a:b": "y"}))
    np.save("groups.npy", np.array([4, 5, 4]))
    assert groups_of("groups.json") == ["y", "x", "y"]
    assert groups_of("groups.npy") == [4, 5, 4]
    assert groups_of(pd.Series({"a:b": "y", "1": "x", "01": "y"})) == ["y", "x", "y"]
    assert groups_of([1, 2, 1]) == [1, 2, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,group\n01,x\n1,x\n", "1 of 3 have no row, the first is 'a:b'"),
        ("id,group\n01,x\n1,x\na:b,x\n1,y\n", "ids must be unique"),
        ("id\n01\n", "an id column and at least one more"),
        ("", "it is empty"),
    ],
)
def test_what_is_no_group_for_every_sample_is_refused(text, words):
    Path("groups.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"groups\.csv") as caught:
        groups_of("groups.csv")
    assert words in str(caught.value)
    with pytest.raises(FileNotFoundError, match="file of groups must be an existing file"):
        groups_of("none.csv")
    Path("groups.txt").touch()
    with pytest.raises(ValueError, match=r"groups must be a \.csv.*got 'groups.txt'"):
        groups_of("groups.txt")


def test_they_replace_those_that_came_along_and_reach_the_checks():
    save_predictions(load("cnn.csv", truth="truth.csv", groups=[1, 1, 2]), "p.npz")
    Path("groups.csv").write_text("id,group\n01,x\n1,y\na:b,y\n", encoding="utf-8")
    assert load_predictions("p.npz", groups="groups.csv").groups.tolist() == ["x", "y", "y"]
    lacking = check_predictions("p.npz", groups="p.npz")
    assert any("the groups cannot be read" in finding.message for finding in lacking.of_severity("red"))
