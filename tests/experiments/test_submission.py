import csv

import numpy as np
import pytest

from experiments.submission import guard_cell, write_labels_csv

LABELS = ["red", "=cmd()", "blue"]
Y_PRED = np.array([[True, False, True], [False, True, False], [False, False, False]])


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_labels_form_guards_names_where_it_is_asked_for(tmp_path):
    write_labels_csv(tmp_path / "p.csv", ["a,b", "@b", "-7"], LABELS, Y_PRED, guard=True)
    assert rows_of(tmp_path / "p.csv") == [["id", "labels"], ["a,b", "red|blue"], ["'@b", "'=cmd()"], ["-7", ""]]


def test_nothing_is_guarded_by_default_and_a_submission_never(tmp_path):
    write_labels_csv(tmp_path / "p.csv", ["@a", "b", "c"], LABELS, Y_PRED)
    assert rows_of(tmp_path / "p.csv")[1:3] == [["@a", "red|blue"], ["b", "=cmd()"]]
    ids = ["7", "12", "228"]
    write_labels_csv(tmp_path / "s.csv", ["1", "2", "-3"], ids, Y_PRED, csv_format="submission", guard=True)
    assert (tmp_path / "s.csv").read_bytes() == b"image_id,label_id\n1,7 228\n2,12\n-3,\n"


@pytest.mark.parametrize(
    ("cell", "guarded"), [("+1.5e3", "+1.5e3"), ("-x", "'-x"), ("\tx", "'\tx"), ("x=1", "x=1"), ("", "")]
)
def test_guard_cell(cell, guarded):
    assert guard_cell(cell) == guarded


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="must not hold ' ' in the form 'submission'"):
        write_labels_csv(tmp_path / "s.csv", ["1"], ["long sleeve"], np.ones((1, 1), bool), csv_format="submission")
    with pytest.raises(ValueError, match=r"must not hold '\|'"):
        write_labels_csv(tmp_path / "s.csv", ["1"], ["a|b"], np.ones((1, 1), bool))
    with pytest.raises(ValueError, match=r"one row per id and one column per label, \(1, 2\): got \(1, 1\)"):
        write_labels_csv(tmp_path / "s.csv", ["1"], ["a", "b"], np.ones((1, 1), bool))
    with pytest.raises(ValueError, match="'labels' or 'submission'"):
        write_labels_csv(tmp_path / "s.csv", ["1"], ["a"], np.ones((1, 1), bool), csv_format="kaggle")
    assert list(tmp_path.iterdir()) == []
