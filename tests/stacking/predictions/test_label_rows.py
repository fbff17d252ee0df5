"""Annotated rows without scores: read by name, never a scored row, and carried wherever the set goes."""

import numpy as np
import pandas as pd
import pytest

from stacking import PredictionSet
from stacking.predictions.forms.label_rows import attach_label_rows
from stacking.predictions.label_rows import LabelRows

LABELS = ["coat", "dress", "red"]
TRUTH = [[1, 0, 1], [0, 1, 1], [0, 1, 0]]


@pytest.fixture
def scored():
    return PredictionSet(np.full((2, 3, 3), 0.5), ids=["a", "b", "c"], labels=LABELS, y_true=TRUTH)


def test_a_table_is_matched_by_label_name(scored, tmp_path):
    (tmp_path / "more.csv").write_text("id,red,coat,dress\nx,1,0,0\ny,0,1,\n")
    with pytest.warns(UserWarning, match="not annotated"):
        rows = attach_label_rows(scored, tmp_path / "more.csv").label_rows
    np.testing.assert_array_equal(rows.y_true, [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(rows.y_known, [[True, True, True], [True, False, True]])
    assert rows.ids.tolist() == ["x", "y"]


@pytest.mark.parametrize("source", ["lists", "frame", "array", "npy"])
def test_every_form_of_a_truth_is_read(scored, tmp_path, source):
    wanted = np.array([[0, 0, 1], [1, 1, 0]], dtype=np.uint8)
    if source == "lists":
        given = tmp_path / "more.tsv"
        given.write_text("id\tlabels\nx\tred\ny\tcoat|dress\n")
    elif source == "frame":
        given = pd.DataFrame(wanted, index=["x", "y"], columns=LABELS)[["red", "dress", "coat"]]
    elif source == "array":
        given = wanted
    else:
        given = tmp_path / "more.npy"
        np.save(given, wanted)
    np.testing.assert_array_equal(attach_label_rows(scored, given).label_rows.y_true, wanted)


def test_scored_rows_and_their_groups_are_left_out(scored, tmp_path):
    (tmp_path / "more.csv").write_text("id,labels,group\nb,red,7\nx,red,1\ny,coat,9\nz,dress,\n")
    grouped = scored.with_groups([1, 1, 2])
    with pytest.warns(UserWarning, match="2 of 4 are scored rows, or of their groups; left out"):
        rows = attach_label_rows(grouped, tmp_path / "more.csv").label_rows
    assert rows.ids.tolist() == ["y", "z"]  # a blank group is no group


def test_groups_that_come_later_count_too(scored):
    taught = scored.with_label_rows([[1, 0, 0], [0, 0, 1]], ids=["x", "y"], groups=["p", "q"])
    with pytest.warns(UserWarning, match="1 of 2"):
        assert taught.with_groups(["q", "q", "r"]).label_rows.ids.tolist() == ["x"]


def test_rows_that_may_share_a_group_are_told_of(scored):
    with pytest.warns(UserWarning, match="column 'group'"):
        scored.with_groups([1, 1, 2]).with_label_rows([[1, 0, 0]])


def test_the_scored_truth_itself_is_refused(scored):
    with pytest.raises(ValueError, match="other rows than the scored ones"):
        scored.with_label_rows([*TRUTH, [1, 1, 1]])


@pytest.mark.parametrize(
    ("rows", "match"),
    [([[1, 0]], "2"), ([[1, 0, 2]], "0 or 1|0 and 1"), ([], "label_rows")],
)
def test_wrong_rows_are_refused(scored, rows, match):
    with pytest.raises(ValueError, match=match):
        scored.with_label_rows(rows)


def test_unknown_labels_are_refused_by_name(scored, tmp_path):
    (tmp_path / "more.csv").write_text("id,labels\nx,shoe\n")
    with pytest.raises(ValueError, match="'shoe'"):
        attach_label_rows(scored, tmp_path / "more.csv")
    with pytest.raises(FileNotFoundError, match="label rows"):
        attach_label_rows(scored, tmp_path / "none.csv")


def test_they_go_where_the_set_goes(scored):
    taught = scored.with_label_rows([[1, 0, 0], [0, 0, 1]], ids=["x", "y"])
    part = taught.subset(samples=[0, 2], labels=["red", "coat"])
    np.testing.assert_array_equal(part.label_rows.y_true, [[0, 1], [1, 0]])
    weighted = PredictionSet(np.full((1, 3, 3), 0.5), labels=LABELS, y_true=TRUTH, sample_weight=[1, 0, 2])
    assert weighted.with_label_rows([[1, 1, 1]]).only_counted().in_memory().label_rows is not None
    assert taught.fingerprint != scored.fingerprint
    assert taught.fingerprint != scored.with_label_rows([[1, 0, 0], [0, 1, 1]], ids=["x", "y"]).fingerprint


def test_a_row_of_which_nothing_is_known_is_no_row():
    known = [[True, False], [False, False]]
    assert len(LabelRows.check([[1, 0], [0, 0]], n_labels=2, y_known=known)) == 1


def test_a_frame_is_matched_by_its_columns_and_named_by_its_index(scored):
    frame = pd.DataFrame([[1, 0, 0], [0, 1, np.nan]], index=["x", "y"], columns=["red", "coat", "dress"])
    with pytest.warns(UserWarning, match="label_rows: 1 blank cells count as labels that were not annotated"):
        rows = scored.with_label_rows(frame).label_rows
    np.testing.assert_array_equal(rows.y_true, [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(rows.y_known, [[True, True, True], [True, False, True]])
    assert rows.ids.tolist() == ["x", "y"]
    with pytest.warns(UserWarning, match="scored"):  # a row that is scored is left out
        left = scored.with_label_rows(frame.fillna(0).set_axis(["a", "y"])).label_rows
    assert left.ids.tolist() == ["y"]
    with pytest.raises(ValueError, match="label_rows must have the 3 labels of the predictions"):
        scored.with_label_rows(frame.fillna(0).rename(columns={"red": "reed"}))


def test_what_a_masked_array_masks_is_not_known(scored):
    hidden = np.ma.masked_array([[7, 0, 1], [0, 1, 0]], mask=[[True, False, False], [False, False, False]])
    rows = scored.with_label_rows(hidden).label_rows
    np.testing.assert_array_equal(rows.y_true, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(rows.y_known, [[False, True, True], [True, True, True]])


def test_a_prediction_set_gives_its_truth_by_name(scored):
    facts = {"labels": LABELS[::-1], "ids": ["x", "y"], "y_known": [[True, False, True], [True, True, True]]}
    other = PredictionSet(np.full((2, 2, 3), 0.5), y_true=[[1, 0, 0], [0, 1, 1]], **facts)
    rows = attach_label_rows(scored, other).label_rows
    np.testing.assert_array_equal(rows.y_true, [[0, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(rows.y_known, [[True, False, True], [True, True, True]])
    assert rows.ids.tolist() == ["x", "y"]
    with pytest.raises(ValueError, match="label_rows must carry a truth"):
        attach_label_rows(scored, PredictionSet(np.full((2, 2, 3), 0.5), labels=LABELS))
