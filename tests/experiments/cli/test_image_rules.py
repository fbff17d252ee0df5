"""`labelstack fit` and `compare` take image rules and decision rules; `predict` and `evaluate` honor them."""

import csv
import json

import numpy as np
import pytest

from stacking import StackingEnsemble, compare, load_predictions, tune_thresholds
from stacking.decision_rules import ImageRules
from stacking.metrics import micro_f1


def labels_of(path):
    with path.open(newline="") as file:
        return [[name for name in row["labels"].split("|") if name] for row in csv.DictReader(file)]


def test_rules_given_to_fit_hold_for_predict(labelstack, bundle, held_back, tmp_path):
    rules = ["--exclusive-group", "color", "--never-empty", "--max-labels", 3, "--min-per-group", "sleeve=1"]
    done = labelstack("fit", bundle, "--method", "mean", *rules, "--out", tmp_path / "e")
    assert done.exit_code == 0, done.output
    assert labelstack("predict", tmp_path / "e", held_back, "--out", tmp_path / "l.csv").exit_code == 0
    rows = labels_of(tmp_path / "l.csv")
    assert all(1 <= len(row) <= 3 and "sleeve:long" in row for row in rows)
    assert all(sum(name.startswith("color:") for name in row) <= 1 for row in rows)
    assert labelstack("evaluate", tmp_path / "e", held_back, "--out", tmp_path / "v").exit_code == 0


def test_top_k_gives_every_sample_that_many(labelstack, bundle, held_back, tmp_path):
    done = labelstack("fit", bundle, "--method", "mean", "--top-k", 2, "--out", tmp_path / "e")
    assert done.exit_code == 0, done.output
    assert labelstack("predict", tmp_path / "e", held_back, "--out", tmp_path / "l.csv").exit_code == 0
    assert {len(row) for row in labels_of(tmp_path / "l.csv")} == {2}


def test_a_named_rule_tunes_the_thresholds(labelstack, bundle, tmp_path):
    done = labelstack("fit", bundle, "--method", "mean", "--rule", "micro-macro-f1", "--out", tmp_path / "e")
    assert done.exit_code == 0, done.output
    assert "decision rule micro-macro-f1 (micro-macro-f1 ." in done.stdout
    loaded, fitted_on = StackingEnsemble.load(tmp_path / "e"), load_predictions(bundle)
    assert loaded.rule == "micro-macro-f1"
    expected = tune_thresholds(loaded.predict_proba(fitted_on), fitted_on.y_true, "micro-macro-f1")
    np.testing.assert_allclose(loaded.thresholds_, expected)


def test_compare_scores_what_fit_with_the_same_options_ships(labelstack, bundle, held_back, tmp_path):
    """The command's options reach the comparison: its score is that of the decisions of `fit` and `predict`."""
    options = ["--rule", "exact-micro-f1", "--max-labels", 2, "--never-empty", "--exclusive-group", "color"]
    where = ["--holdout", held_back, "--methods", "mean", "--out", tmp_path / "c"]
    done = labelstack("compare", bundle, *options, *where)
    assert done.exit_code == 0, done.output
    words = "--rule exact-micro-f1 --max-labels 2 --exclusive-group color --never-empty"
    assert f"next: labelstack fit {bundle} {words} --out ensemble" in " ".join(done.stderr.split())
    assert labelstack("fit", bundle, "--method", "mean", *options, "--out", tmp_path / "e").exit_code == 0
    board = json.loads((tmp_path / "c" / "leaderboard.json").read_text())
    compared = next(row for row in board["rows"] if row["method"] == "mean")
    new = load_predictions(held_back)
    assert compared["rule"] == "exact-micro-f1"
    assert compared["score"] == micro_f1(new.y_true, StackingEnsemble.load(tmp_path / "e").predict(new))
    free = compare(load_predictions(bundle), ["mean"], holdout=new).row("mean")
    assert compared["score"] != free.score


def test_compare_records_its_options_and_anew_where_they_differ(labelstack, bundle, tmp_path):
    call = ["compare", bundle, "--methods", "mean", "--folds", 2, "--max-per-group", "color=1", "--out", tmp_path / "c"]
    assert labelstack(*call, "--fit-time-limit", 30, "--rule", "single").exit_code == 0
    used = json.loads((tmp_path / "c" / "leaderboard.json").read_text())["manifest"]["ensemble"]
    assert used["rule"] == "single"
    assert used["time_limit"] == 30
    assert used["image_rules"] == ImageRules(max_per_group={"color": 1}).as_dict()
    assert "is there already" in labelstack(*call, "--fit-time-limit", 30, "--rule", "single").stdout
    for other in (["--rule", "half"], ["--fit-time-limit", 31, "--rule", "single"], ["--top-k", 1]):
        assert labelstack(*call, *other).exit_code == 2, other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rule", "micro-macro"], "Did you mean 'micro-macro-f1'"),
        (["--exclusive-group", "colur"], "Did you mean 'color'"),
        (["--min-labels", "3", "--max-labels", "2"], "at least 3 and at most 2"),
        (["--top-k", "2", "--min-labels", "1"], "--top-k must not be combined"),
        (["--max-per-group", "color"], "--max-per-group must be GROUP=N"),
        (["--max-per-group", "color=1", "--max-per-group", "color=2"], "'color' twice"),
    ],
)
@pytest.mark.parametrize("command", [("fit", "--method", "mean"), ("compare", "--methods", "mean")])
def test_wrong_rules_are_bad_input(labelstack, bundle, tmp_path, command, options, words):
    name, *method = command
    done = labelstack(name, bundle, *method, *options, "--out", tmp_path / "e")
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "e").exists()
