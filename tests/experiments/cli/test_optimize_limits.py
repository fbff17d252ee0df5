"""optimize: every objective of the registry, a warm start, and limits on the members."""

import json

import numpy as np
import pytest
from typer.main import get_command

from experiments.cli import app
from stacking.combiners.voting.objectives.registry import list_objectives
from stacking.predictions import PredictionSet, save_predictions


@pytest.fixture
def bundle(tmp_path):
    rng = np.random.default_rng(0)
    y_true = rng.random((200, 4)) < 0.3
    z = 2.0 * y_true - 1.2 + rng.standard_normal((3, 200, 4)) * np.array([0.8, 1.2, 1.6])[:, None, None]
    predictions = PredictionSet(1 / (1 + np.exp(-z)), models=["a=1", "b", "c"], y_true=y_true.astype(np.uint8))
    save_predictions(predictions, tmp_path / "bundle.npz")
    return tmp_path / "bundle.npz"


def read_weights(folder):
    found = json.loads((folder / "weights.json").read_text())
    return dict(zip(found["models"], found["weights"], strict=True))


@pytest.mark.parametrize("objective", list_objectives())
def test_every_objective_is_searched_and_named_in_the_help(labelstack, bundle, tmp_path, objective):
    out = tmp_path / "out"
    done = labelstack("optimize", bundle, "--objective", objective, "--start", "convex", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert sum(read_weights(out).values()) == pytest.approx(1.0)
    (option,) = (each for each in get_command(app).commands["optimize"].params if each.name == "objective")
    assert objective in option.help


def test_limits_on_members(labelstack, bundle, tmp_path):
    costs = ["--member-cost", "a=1=9", "--member-cost", "b=2", "--member-cost", "c=1"]
    for name, limit in (("cost", [*costs, "--max-cost", 3]), ("number", ["--max-members", 1])):
        out = tmp_path / name
        assert labelstack("optimize", bundle, *limit, "--out", out).exit_code == 0
        weights = read_weights(out)
        assert (weights["a=1"] == 0) if name == "cost" else (max(weights.values()) == 1)
    options = json.loads((tmp_path / "cost" / "manifest.json").read_text())["options"]
    assert options["member_costs"] == {"a=1": 9.0, "b": 2.0, "c": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--member-cost", "b"], "--member-cost must be NAME=COST"),
        (["--member-cost", "b=x"], "--member-cost must be NAME=COST"),
        (["--member-cost", "b=1", "--member-cost", "b=2"], "--member-cost must be NAME=COST, once per member"),
        (["--max-cost", "3"], "--member-cost and --max-cost belong together"),
        (["--start", "best"], "start must be one of"),
        (["--objective", "macro"], "objective must be one of"),
    ],
)
def test_wrong_limits_are_bad_input(labelstack, bundle, tmp_path, arguments, message):
    done = labelstack("optimize", bundle, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
