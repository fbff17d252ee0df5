import csv
import html
import json
import re
import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from typer.testing import CliRunner

from experiments.cli import app
from experiments.demo import DemoPlan, run_demo
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import load_predictions

RECIPE = """
name = "tiny-demo"
n_threads = 1
[data]
format = "imaterialist-json"
root = "photos"
annotations = "train.json"
test_annotations = "test.json"
labels = "labels.csv"
[folds]
n_folds = 2
[training]
epochs = 1
batch_size = 16
[[members]]
name = "small"
network = "resnet10t"
size = 32
[[members]]
name = "other"
network = "resnet10t"
size = 32
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    (folder / "recipe.toml").write_text(RECIPE)
    said = []
    plan = DemoPlan(folder / "recipe.toml", n_train=60, n_test=24, time_limit=5, say=said.append)
    lines = run_demo(folder / "demo-run", plan)
    return folder / "demo-run", plan, lines, said


def test_the_demo_leaves_data_run_ensemble_and_report(done):
    out, _, lines, said = done
    assert len(lines) == 5
    assert str(out / "report" / "report.html") in lines[-1]
    assert len(said) == 4
    board = json.loads((out / "report" / "leaderboard.json").read_text())
    assert {"small", "other"} <= {row["method"] for row in board["rows"] if row["kind"] == "member"}
    page = (out / "report" / "report.html").read_text()
    for title in ("Learning curves", "Photos", "Worst errors", "Strengths and weaknesses of"):
        assert title in page
    assert "data:image/jpeg" in page
    assert "Learning curves" in (out / "report" / "report.md").read_text()
    assert (out / "ensemble").is_dir()
    assert load_predictions(out / "run" / "test").n_samples == 24


def test_the_same_command_trains_nothing_again(done):
    out, plan, _, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("run/members/**/*.npz")}
    run_demo(out, plan)
    assert {path: path.stat().st_mtime_ns for path in out.glob("run/members/**/*.npz")} == before


SECTIONS = (
    "Leaderboard",
    "Labels",
    "Validation and test",
    "Thresholds, rule by rule",
    "Frequent and rare labels",
    "Photos",
    "Worst errors",
    "Strengths and weaknesses of",
    "Learning curves",
    "Members and ensembles side by side",
    "Members and cost",
)


def tables_of(page):
    """The tables of a page by their captions: a list of cells per row, as they are sorted or as they are written."""
    found = {}
    for caption, table in re.findall(r'aria-label="([^"]*)"><table[^>]*>(.*?)</table>', page, re.DOTALL):
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)[1:]
        cells = [re.findall(r'<td[^>]*?(?:data-v="([^"]*)")?>(.*?)</td>', row) for row in rows]
        found[html.unescape(caption)] = [[float(v) if v else html.unescape(text) for v, text in row] for row in cells]
    return found


@pytest.fixture(scope="module")
def reported(done, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "r"
    arguments = ["report", done[0] / "run", "--out", out, "--methods", "mean,greedy", "--edges", "3,10"]
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exit_code == 0, answer.output
    return out, answer


def test_the_demos_page_is_the_page_of_a_run(done, reported):
    pages = [(done[0] / "report" / "report.html").read_text("utf-8"), (reported[0] / "report.html").read_text("utf-8")]
    for page in pages:
        titles = re.findall(r"<h2>(.*?)</h2>", page)
        assert all(any(title.startswith(wanted) for title in titles) for wanted in SECTIONS), titles
        assert page.count("data:image/jpeg") > 20 and "cannot be shown" not in page
    assert "next: labelstack fit" in reported[1].stderr
    assert {path.name for path in reported[0].iterdir()} == {
        "report.html", "report.md", "charts", "leaderboard.json", "leaderboard.csv", "thresholds.html", "manifest.json",
    }  # fmt: skip


def test_both_splits_and_every_rule_are_scored_as_scikit_learn_would(done, reported):
    fitting, new = load_predictions(done[0] / "run" / "oof"), load_predictions(done[0] / "run" / "test")
    tables = tables_of((reported[0] / "report.html").read_text("utf-8"))
    both = next(rows for caption, rows in tables.items() if caption.startswith("With one threshold"))
    assert {row[0] for row in both} >= {"small", "other"}
    y_old, y_new = np.asarray(fitting.y_true), np.asarray(new.y_true)
    for name, *scores in both:
        if name not in fitting.models:
            continue
        old, decided = fitting.model_scores(name), np.zeros(y_old.shape, bool)
        for fold in np.unique(fitting.folds):
            held = fitting.folds == fold
            decided[held] = apply_thresholds(old[held], tune_thresholds(old[~held], y_old[~held], "single"))
        shown = apply_thresholds(new.model_scores(name), tune_thresholds(old, y_old, "single"))
        f1 = [f1_score(*pair, average=how, zero_division=0) for pair in ((y_old, decided), (y_new, shown))
              for how in ("micro", "macro")]  # fmt: skip
        assert scores == pytest.approx([*f1, f1[2] - f1[0]])
    rules = next(rows for caption, rows in tables.items() if caption.startswith("The ensemble's scores decided"))
    assert len(rules) == 6
    method = next(row[0] for row in both if row[0].startswith("ensemble"))[len("ensemble (") : -1]
    ensemble, tuned_on = StackingEnsemble(method, random_state=0).fit_out_of_fold(fitting)
    for row, rule in zip(rules, ("half", "single", "exact-micro-f1", "cyclic"), strict=False):
        y_pred = apply_thresholds(ensemble.predict_proba(new), tune_thresholds(tuned_on.y_score, y_old, rule))
        micro = [
            how(y_new, y_pred, average="micro", zero_division=0) for how in (f1_score, precision_score, recall_score)
        ]
        assert row[3] == pytest.approx(micro[0]) and row[5:7] == pytest.approx(micro[1:])
        hits = (y_pred & (y_new == 1)).sum()
        assert row[7:10] == [hits, y_pred.sum() - hits, y_new.sum() - hits]
        assert row[10] == ((y_new.sum(axis=0) > 0) & ~y_pred.any(axis=0)).sum()
    bands = next(rows for caption, rows in tables.items() if "pooled by their positives among the training" in caption)
    positives = y_old.sum(axis=0)
    assert bands[-1][:4] == ["all", len(positives), positives.sum(), y_new.sum()]
    inside = (positives >= 3) & (positives < 10)
    assert next(row for row in bands if row[0] == "3 to 9")[1:4] == [
        inside.sum(), positives[inside].sum(), y_new[:, inside].sum(),
    ]  # fmt: skip


def test_training_and_validation_are_scored_alike_in_every_epoch(done, reported):
    with (done[0] / "run" / "members" / "small" / "fold0" / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    for part in ("training", "validation"):
        assert 0 <= float(row[f"{part}_micro_f1"]) <= 1 and float(row[f"{part}_log_loss"]) > 0
    record = json.loads((done[0] / "run" / "members" / "small" / "fold0" / "done.json").read_text())
    assert 0 < int(row["trained_parameters"]) <= record["n_parameters"]
    tables = tables_of((reported[0] / "report.html").read_text("utf-8"))
    members = next(rows for caption, rows in tables.items() if caption.startswith("Members, their networks"))
    assert [line[0] for line in members] == ["other", "small", "all"]
    assert members[1][5:7] == [record["n_parameters"], int(row["trained_parameters"])]


def test_members_and_ensembles_stand_in_one_table_with_their_parameters(done, reported):
    board = json.loads((reported[0] / "leaderboard.json").read_text())["rows"]
    tables = tables_of((reported[0] / "report.html").read_text("utf-8"))
    models = next(rows for caption, rows in tables.items() if caption.startswith("Members and ensembles by score"))
    assert [row[0] for row in models] == [row["method"] for row in board]
    records = {
        name: [json.loads(path.read_text()) for path in (done[0] / "run" / "members" / name).glob("*/done.json")]
        for name in ("small", "other")
    }
    total = sum(folds[0]["n_parameters"] for folds in records.values())
    seconds = sum(one["seconds"] for folds in records.values() for one in folds)
    for row, scored in zip(models, board, strict=True):
        assert row[2:4] == pytest.approx([scored["score"], scored["macro_f1"]])
        precision, recall = row[4:6]
        assert row[2] == pytest.approx(2 * precision * recall / (precision + recall))
        if row[1] == "member":
            assert row[10] == records[row[0]][0]["n_parameters"] and row[12] == records[row[0]][0]["n_train"]
        else:
            assert row[10] == total and row[13] == pytest.approx(seconds)


def test_a_run_of_an_earlier_version_is_reported_with_what_is_missing_said(done, tmp_path):
    run = shutil.copytree(done[0] / "run", tmp_path / "run")
    shutil.rmtree(run / "test")
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["recipe_folder"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    for history in run.glob("members/*/*/history.csv"):
        history.write_text("epoch,loss,validation_micro_f1,threshold\n1,0.5,0.3,0.2\n")
    arguments = ["report", run, "--out", tmp_path / "r", "--methods", "mean"]
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exit_code == 0, answer.output
    page = html.unescape((tmp_path / "r" / "report.html").read_text("utf-8"))
    for said in (
        "before it was recorded where its photos are: give that folder with --data",
        "did not record training scores and log losses",
        "before the number of trained parameters was recorded",
    ):
        assert said in page
    assert "test micro-F1" not in page and "nested in 5 folds" in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "run must be a finished run folder"),
        (["--edges", "5,2"], "edges must be rising whole numbers"),
        (["--edges", "a"], "--edges must be whole numbers joined by commas: got 'a'"),
    ],
)
def test_what_cannot_be_reported_is_said_in_a_sentence(tmp_path, more, said):
    (tmp_path / "run").mkdir()
    answer = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--out", str(tmp_path / "r"), *more])
    assert answer.exit_code == 2 and said in answer.stderr
    assert not (tmp_path / "r").exists()
