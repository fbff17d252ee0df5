"""optimize, compare, fit, predict and evaluate on a small bundle, for real."""

import csv
import json
import re

import numpy as np
import pytest

from optimizers import list_optimizers
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.metrics import micro_f1
from stacking.predictions import PredictionSet, load_predictions, save_predictions


def fails(done, code, *words):
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_optimize_writes_weights_and_history(labelstack, bundle, tmp_path, optimizer):
    out = tmp_path / "weights"
    objective = "log-loss" if optimizer == "slsqp" else "micro-f1-best"
    done = labelstack("optimize", bundle, "--optimizer", optimizer, "--objective", objective, "--out", out)
    assert done.exit_code == 0, done.output
    found = json.loads((out / "weights.json").read_text())
    assert found["models"] == ["cnn/a", "cnn/b", "specialist"]
    assert sum(found["weights"]) == pytest.approx(1)
    assert min(found["weights"]) >= 0
    with (out / "history.csv").open(newline="") as file:
        losses = [float(row["best_loss"]) for row in csv.DictReader(file)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(found["loss"])
    assert (out / "history.svg").read_text().startswith("<svg")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["inputs"]["predictions"] == load_predictions(bundle).fingerprint
    assert manifest["options"]["optimizer"] == optimizer
    assert manifest["versions"]["numpy"] == np.__version__


def test_optimize_twice_gives_the_same_files(labelstack, bundle, tmp_path):
    for name in ("a", "b"):
        assert (
            labelstack("optimize", bundle, "--optimizer", "pso", "--seed", 7, "--out", tmp_path / name).exit_code == 0
        )
    for name in ("weights.json", "history.csv", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_optimize_refuses_unknown_names_and_missing_truth(labelstack, bundle, tmp_path, make_predictions):
    fails(labelstack("optimize", bundle, "--optimizer", "pos", "--out", tmp_path / "w"), 2, "pso")
    fails(labelstack("optimize", bundle, "--objective", "micro", "--out", tmp_path / "w"), 2, "micro-f1-best")
    save_predictions(make_predictions(y_true=None), tmp_path / "blind.npz")
    fails(labelstack("optimize", tmp_path / "blind.npz", "--out", tmp_path / "w"), 2, "truth")
    assert not (tmp_path / "w").exists()


def test_compare_writes_a_leaderboard_and_reports(labelstack, bundle, held_back, tmp_path):
    out = tmp_path / "comparison"
    command = ["compare", bundle, "--holdout", held_back, "--methods", "mean,greedy", "--folds", 2, "--out", out]
    done = labelstack(*command)
    assert done.exit_code == 0, done.output
    board = json.loads((out / "leaderboard.json").read_text())
    assert board["metric"] == "micro_f1"
    assert {row["method"] for row in board["rows"]} >= {"mean", "greedy", "cnn/a"}
    assert [row["score"] for row in board["rows"]] == sorted((row["score"] for row in board["rows"]), reverse=True)
    assert all(row["low"] <= row["score"] <= row["high"] for row in board["rows"])
    assert (out / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "greedy" in (out / "report.md").read_text()
    assert json.loads((out / "manifest.json").read_text())["fingerprint"] == load_predictions(bundle).fingerprint
    assert "report.html" in done.stdout


def test_compare_may_leave_members_out(labelstack, bundle, held_back, tmp_path):
    command = ["compare", bundle, "--holdout", held_back, "--methods", "mean", "--out", tmp_path / "c"]
    members = load_predictions(bundle).models[:2]
    done = labelstack(*command, "--only", members[0], "--only", members[1])
    assert done.exit_code == 0, done.output
    board = json.loads((tmp_path / "c" / "leaderboard.json").read_text())
    assert {row["method"] for row in board["rows"]} == {"mean", *members}
    fails(labelstack(*command, "--only", "cnn/aa"), 2, "cnn/a")


def test_compare_refuses_an_unknown_method_and_overlapping_rows(labelstack, bundle, tmp_path):
    fails(labelstack("compare", bundle, "--methods", "gredy", "--out", tmp_path / "c"), 2, "greedy")
    fails(labelstack("compare", bundle, "--holdout", bundle, "--out", tmp_path / "c"), 2, "holdout")


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    done = labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "ensemble")
    assert done.exit_code == 0, done.output
    return tmp_path / "ensemble"


def read_labels(path):
    with path.open(newline="") as file:
        return {row["id"]: set(filter(None, row["labels"].split("|"))) for row in csv.DictReader(file)}


def test_fit_predict_evaluate_agree(labelstack, ensemble, held_back, tmp_path):
    targets = ["--out", tmp_path / "labels.csv", "--scores-out", tmp_path / "scores.npz"]
    done = labelstack("predict", ensemble, held_back, *targets)
    assert done.exit_code == 0, done.output
    held, scores = load_predictions(held_back), load_predictions(tmp_path / "scores.npz")
    assert scores.models == ("ensemble",)
    assert scores.ids.tolist() == held.ids.tolist()
    np.testing.assert_array_equal(scores.y_true, held.y_true)
    labels = read_labels(tmp_path / "labels.csv")
    y_pred = np.array([[name in labels[sample] for name in held.labels] for sample in held.ids])
    done = labelstack("evaluate", ensemble, held_back, "--out", tmp_path / "evaluation")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "evaluation" / "leaderboard.json").read_text())["rows"]
    row = next(row for row in rows if row["method"] == "ensemble")
    assert row["score"] == pytest.approx(micro_f1(held.y_true, y_pred))
    assert row["low"] <= row["score"] <= row["high"]
    for name in ("report.html", "report.md", "manifest.json"):
        assert (tmp_path / "evaluation" / name).stat().st_size > 0
    assert (tmp_path / "labels.csv.manifest.json").is_file()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_scores_as_a_table(labelstack, ensemble, held_back, tmp_path, suffix):
    targets = ["--out", tmp_path / "labels.csv", "--scores-out", tmp_path / f"scores{suffix}"]
    done = labelstack("predict", ensemble, held_back, *targets)
    assert done.exit_code == 0, done.output
    read, fitted = load_predictions(models=[tmp_path / f"scores{suffix}"]), StackingEnsemble.load(ensemble)
    held = load_predictions(held_back)
    assert read.ids.tolist() == held.ids.tolist() and read.labels == fitted.labels_
    np.testing.assert_array_equal(read.to_array()[0], fitted.predict_proba(held))  # no digit is lost
    again = labelstack("predict", ensemble, held_back, *targets)
    assert again.exit_code == 0 and "is there already" in again.stdout
    fails(labelstack("predict", ensemble, held_back, *targets, "--rematch", "shift"), 2, "--overwrite")
    done = labelstack("predict", ensemble, held_back, *targets, "--rematch", "shift", "--overwrite")
    assert done.exit_code == 0, done.output


def test_a_table_of_the_users_own_is_not_replaced_by_scores(labelstack, ensemble, held_back, tmp_path):
    out, scores = tmp_path / "labels.csv", tmp_path / "scores.csv"
    assert labelstack("predict", ensemble, held_back, "--out", out).exit_code == 0
    scores.write_text("mine\n")
    command = ["predict", ensemble, held_back, "--out", out, "--scores-out", scores, "--overwrite"]
    fails(labelstack(*command), 2, "is no file that labelstack wrote")
    assert scores.read_text() == "mine\n"


def test_order_of_models_labels_and_samples_does_not_matter(labelstack, ensemble, held_back, tmp_path):
    held = load_predictions(held_back)
    turned = held.subset(models=list(held.models[::-1]), labels=list(held.labels[::-1]), samples=np.arange(100)[::-1])
    save_predictions(turned, tmp_path / "turned.npz")
    for name, path in (("a", held_back), ("b", tmp_path / "turned.npz")):
        assert labelstack("predict", ensemble, path, "--out", tmp_path / f"{name}.csv").exit_code == 0
    assert read_labels(tmp_path / "a.csv") == read_labels(tmp_path / "b.csv")


def test_a_missing_member_is_an_error_unless_left_out(labelstack, ensemble, held_back, tmp_path):
    held = load_predictions(held_back)
    save_predictions(held.subset(models=["cnn/a", "specialist"]), tmp_path / "two.npz")
    done = labelstack("predict", ensemble, tmp_path / "two.npz", "--out", tmp_path / "l.csv")
    fails(done, 2, "'cnn/b' is missing")
    command = ["predict", ensemble, tmp_path / "two.npz", "--out", tmp_path / "l.csv", "--without", "cnn/b"]
    assert labelstack(*command).exit_code == 0
    fails(labelstack(*command[:-1], "cnn/z"), 2, "cnn/z")


def test_submission_form(labelstack, bundle, tmp_path, make_predictions):
    numbered = make_predictions()
    from stacking.predictions import PredictionSet

    renamed = PredictionSet(
        numbered.to_array(), numbered.ids, numbered.models, ["1", "2", "3", "4", "228"], y_true=numbered.y_true
    )
    save_predictions(renamed, tmp_path / "numbered.npz")
    assert labelstack("fit", tmp_path / "numbered.npz", "--method", "mean", "--out", tmp_path / "e").exit_code == 0
    command = [
        "predict",
        tmp_path / "e",
        tmp_path / "numbered.npz",
        "--format",
        "submission",
        "--out",
        tmp_path / "s.csv",
    ]
    assert labelstack(*command).exit_code == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image_id", "label_id"]
    assert {label for row in rows for label in row["label_id"].split()} <= {"1", "2", "3", "4", "228"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "{tmp}"], "is a folder"),
        (["--out", "{tmp}/l.csv", "--scores-out", "{tmp}/s.txt"], "must end in .npz, .csv, .parquet or .feather"),
        (["--out", "{tmp}/l.csv", "--format", "kaggle"], "'labels', 'submission', 'label-studio' or 'fiftyone'"),
        (["--out", "{tmp}/l.csv", "--format", "fiftyone"], "--out must end in .json for --format fiftyone"),
        (["--out", "{tmp}/l.csv", "--run", "{tmp}"], "belong together"),
        (["--out", "{tmp}/l.csv", "--run", "{tmp}", "--images", "{tmp}"], "not both"),
    ],
)
def test_predict_refuses_contradictions(labelstack, ensemble, held_back, tmp_path, options, words):
    done = labelstack("predict", ensemble, held_back, *(option.format(tmp=tmp_path) for option in options))
    fails(done, 2, words)


def test_a_folder_that_is_no_ensemble_or_a_damaged_one_is_refused(labelstack, ensemble, held_back, tmp_path):
    (tmp_path / "empty").mkdir()
    fails(labelstack("predict", tmp_path / "empty", held_back, "--out", tmp_path / "l.csv"), 2, "empty")
    fails(labelstack("evaluate", tmp_path / "none", held_back, "--out", tmp_path / "e"), 2, "none")
    damaged = next(path for path in sorted(ensemble.rglob("*")) if path.suffix == ".npy")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    fails(labelstack("predict", ensemble, held_back, "--out", tmp_path / "l.csv"), 2, damaged.name)


def test_fit_refuses_unknown_methods_and_missing_truth(labelstack, bundle, tmp_path, make_predictions):
    fails(labelstack("fit", bundle, "--method", "gredy", "--out", tmp_path / "e"), 2, "greedy")
    save_predictions(make_predictions(y_true=None), tmp_path / "blind.npz")
    fails(labelstack("fit", tmp_path / "blind.npz", "--out", tmp_path / "e"), 2, "--truth must be given")
    fails(labelstack("evaluate", tmp_path / "e", tmp_path / "blind.npz", "--out", tmp_path / "v"), 2)


def test_auto_with_too_little_time_for_all_candidates_is_saved_and_used(labelstack, bundle, held_back, tmp_path):
    done = labelstack("fit", bundle, "--time-limit", "0.5", "--out", tmp_path / "e")
    assert done.exit_code == 0, done.output
    assert "method auto" in done.stdout
    head, best, *_ = done.stdout.splitlines()
    assert re.fullmatch(r"method +micro-F1 +behind the best +± s\.e\. +time +share.*", head), head
    assert re.fullmatch(r"\S+ +\.\d{3} +– +– .*", best), best  # the error is that of a difference; the best has none
    done = labelstack("evaluate", tmp_path / "e", held_back, "--out", tmp_path / "v")
    assert done.exit_code == 0, done.output


def test_evaluate_refuses_the_rows_it_was_fitted_on(labelstack, ensemble, bundle, tmp_path):
    done = labelstack("evaluate", ensemble, bundle, "--out", tmp_path / "evaluation")
    fails(done, 2, "must be rows that the ensemble has not seen")
    assert not (tmp_path / "evaluation").exists()


def test_quiet_leaves_stderr_empty(labelstack, bundle, tmp_path):
    done = labelstack("optimize", bundle, "--out", tmp_path / "w", "--quiet")
    assert done.exit_code == 0
    assert done.stderr == ""


def test_thresholds_are_rematched_when_asked_and_both_are_reported(labelstack, ensemble, held_back, tmp_path):
    held = load_predictions(held_back)
    scores = 0.6 * held.to_array()  # distributed otherwise, in the same order
    averaged = PredictionSet(scores, held.ids, held.models, held.labels, y_true=held.y_true)
    save_predictions(averaged, tmp_path / "averaged.npz")
    done = labelstack("evaluate", ensemble, tmp_path / "averaged.npz", "--out", tmp_path / "evaluation")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "evaluation" / "leaderboard.json").read_text())["rows"]
    score = {row["method"]: row["score"] for row in rows}
    assert "ensemble, rematched shift" in done.stdout
    assert "members and their mean answer at the threshold .5" in done.stdout
    assert score["ensemble, rematched shift"] > score["ensemble"] + 0.02
    for how in ("none", "shift", "per-label"):
        out = tmp_path / f"{how}.csv"
        done = labelstack("predict", ensemble, tmp_path / "averaged.npz", "--rematch", how, "--out", out)
        assert done.exit_code == 0, done.output
        labels = read_labels(out)
        y_pred = np.array([[name in labels[sample] for name in held.labels] for sample in held.ids])
        method = "ensemble" if how == "none" else f"ensemble, rematched {how}"
        assert micro_f1(held.y_true, y_pred) == pytest.approx(score[method])
        assert json.loads(out.with_name(f"{how}.csv.manifest.json").read_text())["options"]["rematch"] == how
    fails(
        labelstack("predict", ensemble, held_back, "--rematch", "shifts", "--out", tmp_path / "l.csv"),
        2,
        "--rematch must be none, shift or per-label: got 'shifts'",
    )
