"""Thresholds go from the page of an evaluation into a file, and by it into predictions."""

import csv
import json
import re

import numpy as np
import pytest

from stacking.decision_rules.threshold_file import FORMAT
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import load_predictions


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    assert labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "e").exit_code == 0
    return tmp_path / "e"


def write_thresholds(path, labels, limits):
    by_name = {name: None if limit == np.inf else limit for name, limit in zip(labels, limits, strict=True)}
    path.write_text(json.dumps({"format": FORMAT, "thresholds": by_name}), "utf-8")


def read_labels(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: set(filter(None, row["labels"].split("|"))) for row in csv.DictReader(file)}


def test_predict_decides_by_a_thresholds_file(labelstack, ensemble, held_back, tmp_path):
    loaded, new = StackingEnsemble.load(ensemble), load_predictions(held_back)
    limits = np.array([0.2, np.inf, 0.6, 0.9, 0.05])
    write_thresholds(tmp_path / "t.json", loaded.labels_, limits)
    done = labelstack("predict", ensemble, held_back, "--thresholds", tmp_path / "t.json", "--out", tmp_path / "l.csv")
    assert done.exit_code == 0, done.output
    expected = loaded.decide(loaded.predict_proba(new), limits)
    found = read_labels(tmp_path / "l.csv")
    names = np.array(loaded.labels_)
    assert found == {str(id): set(names[row]) for id, row in zip(new.ids, expected, strict=True)}
    # other thresholds are another request: the earlier labels are not taken for theirs
    write_thresholds(tmp_path / "t.json", loaded.labels_, limits / 2)
    again = labelstack("predict", ensemble, held_back, "--thresholds", tmp_path / "t.json", "--out", tmp_path / "l.csv")
    assert again.exit_code != 0 and "--overwrite" in again.stderr


def test_the_page_of_an_evaluation_begins_where_the_ensemble_decides(
    labelstack, ensemble, held_back, chromium, tmp_path
):
    assert labelstack("evaluate", ensemble, held_back, "--out", tmp_path / "v").exit_code == 0
    assert chromium.open(tmp_path / "v" / "thresholds.html") == []
    (tmp_path / "t.json").write_text(chromium.evaluate("document.getElementById('file').value"), "utf-8")
    assert json.loads((tmp_path / "t.json").read_text("utf-8"))["format"] == FORMAT
    for name, more in (("own", ()), ("file", ("--thresholds", tmp_path / "t.json"))):
        assert labelstack("predict", ensemble, held_back, *more, "--out", tmp_path / f"{name}.csv").exit_code == 0
    assert read_labels(tmp_path / "own.csv") == read_labels(tmp_path / "file.csv")
    board = json.loads((tmp_path / "v" / "leaderboard.json").read_text())
    micro = chromium.evaluate("Number(document.querySelector('#totals tbody tr').cells[3].dataset.v)")
    assert micro == pytest.approx(next(row["score"] for row in board["rows"] if row["method"] == "ensemble"))


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_results_lie_beside_their_report(labelstack, ensemble, bundle, held_back, command, tmp_path):
    inputs = (bundle, "--methods", "mean,greedy", "--folds", 2) if command == "compare" else (ensemble, held_back)
    done = labelstack(command, *inputs, "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "r" / "leaderboard.json").read_text())["rows"]
    with (tmp_path / "r" / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(row["method"], float(row["score"])) for row in table] == [(row["method"], row["score"]) for row in rows]
    linked = re.findall(r"\]\((charts/[^)]*\.svg)\)", (tmp_path / "r" / "report.md").read_text("utf-8"))
    assert linked and all((tmp_path / "r" / path).is_file() for path in linked)
    assert set(linked) <= set(json.loads((tmp_path / "r" / "manifest.json").read_text())["files"])
    assert (tmp_path / "r" / "thresholds.html").is_file()


def test_thresholds_and_rematch_are_not_both_taken(labelstack, ensemble, held_back, tmp_path):
    more = ("--thresholds", tmp_path / "t.json", "--rematch", "shift", "--out", tmp_path / "l.csv")
    done = labelstack("predict", ensemble, held_back, *more)
    assert done.exit_code == 2 and "give either --thresholds or --rematch" in done.stderr
    done = labelstack(
        "predict", ensemble, held_back, "--thresholds", tmp_path / "none.json", "--out", tmp_path / "l.csv"
    )
    assert done.exit_code == 2 and "none.json" in done.stderr
