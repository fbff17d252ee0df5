import json

import pytest

from experiments.demo import DemoPlan, run_demo
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
