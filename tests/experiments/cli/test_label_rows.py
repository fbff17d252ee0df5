"""``--label-rows`` of `fit` and `compare`, as a person types it."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from stacking import StackingEnsemble
from stacking.links import sigmoid

LABELS = [f"shape:{number}" for number in range(8)]


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """Two members' scores of 60 photos with their truth, and 400 more photos with labels only, 20 of them the same."""
    truth = (rng.random((440, 8)) < 0.4).astype(int)
    truth[:, 1::2] &= 1 - truth[:, ::2]
    ids = [f"photo{row}" for row in range(440)]
    for name in ("cnn", "vit"):
        scores = sigmoid(2.0 * truth[:60] - 1.0 + 1.5 * rng.normal(size=(60, 8)))
        _write(tmp_path / f"{name}.csv", ["id", *LABELS], [[one, *row] for one, row in zip(ids, scores, strict=False)])
    _write(tmp_path / "truth.csv", ["id", *LABELS], [[one, *row] for one, row in zip(ids, truth[:60], strict=False)])
    lists = ["|".join(np.array(LABELS)[row > 0]) for row in truth]
    _write(tmp_path / "more.csv", ["id", "labels"], [[ids[row], lists[row]] for row in range(40, 440)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def run(*words):
    scores = ["--model", "cnn.csv", "--model", "vit.csv", "--truth", "truth.csv"]
    return CliRunner().invoke(app, [words[0], *scores, *words[1:]])


def test_fit_says_what_they_taught_and_an_equal_call_finds_it(folder):
    words = ("fit", "--method", "label-context", "--label-rows", "more.csv", "--out", "e")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "20 of 400 are scored rows" in done.output
    notes = StackingEnsemble.load(folder / "e").report_["notes"]
    assert any("380 label rows" in note for note in notes)
    assert "is there already" in run(*words).output
    assert run(*words[:3], "--out", "e").exit_code == 2  # without them it is another request


def test_what_learns_nothing_from_them_is_refused_before_reading(folder):
    refused = run("fit", "--method", "mean", "--label-rows", "more.csv", "--out", "e")
    assert refused.exit_code == 2
    assert "label-context, auto and label-network only" in refused.output
    refused = run("compare", "--methods", "mean,greedy", "--label-rows", "more.csv", "--out", "c")
    assert "label-context, auto and label-network only" in refused.output
    missing = run("fit", "--label-rows", "none.csv", "--out", "e")
    assert missing.exit_code == 2
    assert "none.csv" in missing.output
    assert not (folder / "e").exists()


def test_an_output_over_the_label_rows_is_refused(folder):
    refused = run("fit", "--method", "label-context", "--label-rows", "more.csv", "--out", "more.csv")
    assert refused.exit_code == 2


def test_compare_takes_them(folder):
    done = run("compare", "--methods", "label-context", "--folds", "2", "--label-rows", "more.csv", "--out", "c")
    assert done.exit_code == 0, done.output
    rows = json.loads((folder / "c" / "leaderboard.json").read_text())["rows"]
    assert any(row["method"] == "label-context" for row in rows)
    assert "--label-rows more.csv" in done.output  # of the command that is named next
