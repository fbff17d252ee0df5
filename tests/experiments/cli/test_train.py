import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import experiments
from stacking.predictions import load_predictions

RECIPE = """
name = "tiny"
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
name = "frequent"
network = "resnet10t"
size = 32
labels = "frequent"
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from experiments.fashionblocks import synthesize

    return synthesize(tmp_path_factory.mktemp("drawn") / "data", n_train=48, n_validation=0, n_test=8, size=32)


@pytest.fixture
def recipe(drawn):
    path = drawn / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    from typer.testing import CliRunner

    from experiments.cli import app

    (drawn / "recipe.toml").write_text(RECIPE)
    run = tmp_path_factory.mktemp("trained") / "run"
    done = CliRunner().invoke(app, ["train", str(drawn / "recipe.toml"), "--out", str(run), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return run, done


def test_train_writes_stores_of_out_of_fold_and_test_scores(trained):
    run, done = trained
    oof, test = load_predictions(run / "oof"), load_predictions(run / "test")
    assert (oof.n_samples, test.n_samples) == (48, 8)
    assert oof.models == test.models == ("small", "frequent")
    assert str(run / "oof") in done.stdout
    assert f"next: labelstack report {run} --out " in done.stderr
    assert "small" in done.stderr


def test_the_same_command_again_trains_nothing(labelstack, recipe, trained):
    run, _ = trained
    before = {path: path.stat().st_mtime_ns for path in run.glob("members/**/*.npz")}
    assert before
    assert labelstack("train", recipe, "--out", run, "--quiet").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in run.glob("members/**/*.npz")} == before


def test_one_network_a_member_and_a_holdout_serve_everything_that_follows(labelstack, drawn, tmp_path):
    recipe, run = drawn / "once.toml", tmp_path / "run"
    recipe.write_text(RECIPE.split('[[members]]\nname = "frequent"')[0].replace("n_folds = 2", 'scheme = "holdout"'))
    estimated = labelstack("doctor", "--recipe", recipe)
    assert "one network a member, 1 process of 1 thread: about" in estimated.stdout, estimated.output
    done = labelstack("train", recipe, "--out", run, "--device", "cpu")
    assert done.exit_code == 0 and f"holdout predictions: {run / 'oof'}" in done.stdout, done.output
    held = load_predictions(run / "oof")
    assert held.n_samples < 20 and held.models == ("small",)
    commands = [
        ["fit", run / "oof", "--method", "mean", "--out", tmp_path / "ensemble"],
        ["compare", run / "oof", "--holdout", run / "test", "--methods", "mean", "--out", tmp_path / "comparison"],
        ["evaluate", tmp_path / "ensemble", run / "test", "--out", tmp_path / "evaluation"],
        [
            "predict",
            tmp_path / "ensemble",
            "--run",
            run,
            "--images",
            drawn / "photos" / "test",
            "--out",
            tmp_path / "l.csv",
        ],
    ]
    for command in commands:
        finished = labelstack(*command)
        assert finished.exit_code == 0, finished.output
    assert len((tmp_path / "l.csv").read_text().splitlines()) == 9


def test_new_photos_are_labeled(labelstack, trained, drawn, tmp_path):
    run, _ = trained
    fitted = labelstack("fit", run / "oof", "--method", "mean", "--out", tmp_path / "ensemble")
    assert fitted.exit_code == 0, fitted.output
    photos = next(drawn.glob("photos/test"))
    (tmp_path / "new").mkdir()
    for path in sorted(photos.glob("*.jpg"))[:3]:
        (tmp_path / "new" / path.name).write_bytes(path.read_bytes())
    targets = ["--out", tmp_path / "labels.csv", "--scores-out", tmp_path / "scores.npz"]
    command = ["predict", tmp_path / "ensemble", "--run", run, "--images", tmp_path / "new", *targets]
    done = labelstack(*command)
    assert done.exit_code == 0, done.output
    assert f"next: labelstack evaluate {tmp_path / 'ensemble'} {run / 'test'} --out " in done.stderr
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = load_predictions(run / "test")
    assert [row["id"] for row in rows] == stored.ids[:3].tolist()
    np.testing.assert_allclose(
        load_predictions(tmp_path / "scores.npz").to_array()[0],
        _ensemble(tmp_path).predict_proba(stored.subset(samples=slice(0, 3))),
        atol=2e-3,
    )


def _ensemble(folder):
    from stacking import StackingEnsemble

    return StackingEnsemble.load(folder / "ensemble")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs = 1", "epoch = 1", "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ('network = "resnet10t"', 'network = "resnet10tt"', "resnet10t"),
        ('root = "photos"', 'root = "fotos"', "fotos"),
        ('annotations = "train.json"', 'annotations = "none.json"', "none.json"),
    ],
)
def test_a_bad_recipe_is_refused_before_work(labelstack, drawn, tmp_path, old, new, sentence):
    path = drawn / "bad.toml"
    path.write_text(RECIPE.replace(old, new))
    done = labelstack("train", path, "--out", tmp_path / "run")
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_hub_weights_without_a_network_are_named(drawn, tmp_path):
    path = drawn / "hub.toml"
    path.write_text(RECIPE.replace('network = "resnet10t"', 'network = "resnet10t"\nweights = "hub"', 1))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-m", "experiments", "train", str(path), "--out", str(tmp_path / "run")]
    root = Path(experiments.__file__).parents[1]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "hub" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--gpus", 2, "--processes", 2), "give --gpus or --processes: got 2 and 2"),
        (("--gpus", 2, "--device", "cpu"), "--gpus goes with --device auto or cuda: got 'cpu'"),
        (("--gpus", 99), "--gpus must be at most the GPUs that torch finds, "),
        (("--processes", 0), "'--processes': Input should be greater than or equal to 1"),
    ],
)
def test_processes_that_cannot_be_had_are_refused_before_work(labelstack, drawn, tmp_path, options, sentence):
    done = labelstack("train", drawn / "recipe.toml", "--out", tmp_path / "run", *options)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr and not (tmp_path / "run").exists()


def test_a_run_folder_of_another_recipe_is_refused(labelstack, drawn, trained):
    run, _ = trained
    path = drawn / "other.toml"
    path.write_text(RECIPE.replace("epochs = 1", "epochs = 2"))
    done = labelstack("train", path, "--out", run)
    assert done.exit_code == 2, done.output
    assert "recipe" in done.stderr
    assert load_predictions(run / "oof").n_samples == 48


@pytest.fixture
def damaged(drawn, tmp_path):
    """A copy of the data whose annotations and photos a test may spoil."""
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(drawn, folder)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def _annotations(folder):
    return json.loads((folder / "train.json").read_text())


def test_missing_and_unreadable_photos_are_recorded_and_training_goes_on(labelstack, damaged, tmp_path):
    photos = sorted(damaged.glob("photos/train/*.jpg"))
    photos[0].unlink()
    photos[1].write_bytes(b"<html>not found</html>")
    done = labelstack("train", damaged / "recipe.toml", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert load_predictions(tmp_path / "run" / "oof").n_samples == 46
    assert photos[1].stem in (tmp_path / "run" / "failures.csv").read_text()
    assert photos[0].stem in done.stderr + (tmp_path / "run" / "failures.csv").read_text()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda entries: entries[0]["labelId"].append("9999"), "9999"),
        (lambda entries: entries.append(dict(entries[0])), "train-000000"),
    ],
    ids=["unknown label", "duplicate id"],
)
def test_wrong_annotations_are_refused(labelstack, damaged, tmp_path, spoil, sentence):
    content = _annotations(damaged)
    spoil(content["annotations"])
    (damaged / "train.json").write_text(json.dumps(content))
    done = labelstack("train", damaged / "recipe.toml", "--out", tmp_path / "run")
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert not (tmp_path / "run" / "oof").exists()


def test_an_ablation_holds_members_against_a_baseline(labelstack, trained, tmp_path):
    run, _ = trained
    done = labelstack("ablation", run, "--baseline", "small", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "ablation.json").read_text())
    baseline, other = found["rows"]
    assert (baseline["member"], baseline["gain"], baseline["change"]) == ("small", 0.0, "the baseline's recipe")
    assert (other["member"], other["change"]) == ("frequent", 'labels = "frequent"')
    assert other["gain"] == pytest.approx(other["score"] - baseline["score"])
    assert other["recipe"]["labels"] == "frequent"
    done_files = [json.loads(path.read_text()) for path in (run / "members/small").glob("fold*/done.json")]
    assert baseline["cpu_seconds"] == pytest.approx(sum(entry["cpu_seconds"] for entry in done_files))
    assert baseline["photos_seen"] == sum(entry["n_train"] for entry in done_files)  # one epoch
    assert "frequent" in (tmp_path / "ablation.md").read_text()


def test_an_ablation_draws_how_the_score_grows_with_the_photos():
    from dataclasses import replace

    from experiments.reports.ablation import Ablation, AblationRow, ablation_report
    from stacking.report import render_html

    row = AblationRow("all", "the baseline's recipe", 0.5, 0.4, 0.6, 0, 0, 0, 0.2, 1, 0.7, 9, 1.0, 400, 800, {})
    few = replace(row, member="few", change="training.train_share = 0.25", n_photos=100, score=0.3, low=0.2, high=0.4)
    other = replace(few, member="other", change='training.train_share = 0.25, training.loss = "focal"', n_photos=77)
    page = render_html(ablation_report(Ablation("r", "all", (row, few, other), 0.1, {})))
    assert "How many photos" in page
    figure = page[page.index("<svg") : page.index("</svg>")]
    assert ">100<" in figure and ">400<" in figure and ">77<" not in figure
    assert "How many photos" not in render_html(ablation_report(Ablation("r", "all", (row,), 0.1, {})))
    counted = replace(few, change="training.train_count = 100")
    assert "How many photos" in render_html(ablation_report(Ablation("r", "all", (row, counted), 0.1, {})))


def test_an_ablation_wants_a_member_and_a_finished_run(labelstack, trained, tmp_path):
    run, _ = trained
    done = labelstack("ablation", run, "--baseline", "smal", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "baseline must be a member of the run: got 'smal'; it has small, frequent." in " ".join(done.stderr.split())
    done = labelstack("ablation", tmp_path, "--baseline", "small", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "run must be a finished run folder with a test split" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_fast_scoring_is_tried_and_recorded(labelstack, trained, drawn, tmp_path):
    run, _ = trained
    assert labelstack("fit", run / "oof", "--method", "mean", "--out", tmp_path / "ensemble").exit_code == 0
    command = ["predict", tmp_path / "ensemble", "--run", run, "--images", drawn / "photos" / "test", "--device", "cpu"]
    fast = [*command, "--fast", "--out", tmp_path / "labels.csv"]
    done = labelstack(*fast)
    assert done.exit_code == 0, done.output
    assert "in float32 and " in done.stderr and "in bfloat16, scores differ by " in done.stderr
    tried = json.loads((tmp_path / "labels.csv.manifest.json").read_text())["arithmetic"]
    assert {each["precision"] for each in tried} <= {"float32", "bfloat16"} and all(
        each["photos"] == 8 for each in tried
    )
    assert "is there already" in labelstack(*fast).stdout
    refused = labelstack("predict", tmp_path / "ensemble", run / "test", "--fast", "--out", tmp_path / "other.csv")
    assert refused.exit_code == 2 and "--fast are for the photos of --images" in refused.stderr
