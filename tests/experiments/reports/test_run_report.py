"""What a run's report says where each member has one network, and where no member answers some labels."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from base_models.recipe.folds import FoldConfig
from base_models.recipe.run import DerivedMember
from base_models.runs.out_of_fold import run_training
from base_models.testing import tiny_recipe, write_tiny_photos
from experiments.benchmarks.seed_results import SECTIONS, write_seed_results
from experiments.cli import app
from stacking import load_predictions


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    recipe = tiny_recipe(write_tiny_photos(folder / "photos", 60, 12))
    members = tuple(
        replace(member, training=replace(member.training, min_label_count=10, train_count=20))
        for member in recipe.members
    )
    folds = FoldConfig(scheme="holdout", holdout_fraction=0.4, validation_fraction=0.25)
    derived = (DerivedMember("pair", ("frequent", "rare")),)
    run_training(replace(recipe, members=members, derived=derived, folds=folds), folder / "run", device="cpu")
    out = folder / "report"
    asked = ["report", str(folder / "run"), "--out", str(out), "--methods", "mean,greedy"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    return folder, (out / "report.md").read_text("utf-8")


def table(text, caption):
    rows = text.partition(caption)[2].strip().split("\n\n")[1].split("\n")
    return {cells[0]: cells[1:] for cells in ([c.strip(" *") for c in row.strip("|").split("|")] for row in rows[2:])}


def test_members_of_one_network_have_validation_scores(reported):
    rows = table(reported[1], "*With one threshold for all labels")
    assert {"whole", "frequent", "pair"} <= set(rows)
    assert all(float(cells[0]) > 0.1 for name, cells in rows.items() if name != "rare"), rows


def test_labels_that_no_member_answers_are_named_and_never_predicted(reported):
    folder, text = reported
    with pytest.warns(UserWarning, match="no model answers"):
        oof = load_predictions(folder / "run" / "oof")
    answered = dict(zip(oof.labels, oof.covers.any(axis=0).tolist(), strict=True))
    assert [name for name, is_answered in answered.items() if not is_answered] == ["mark:dot"]
    assert "1 label without an answer is never predicted: 'mark:dot'" in text
    board = json.loads((folder / "report" / "leaderboard.json").read_text())
    assert {row["method"] for row in board["rows"]} == {"whole", "frequent", "rare", "pair", "mean", "greedy"}
    assert all(row["never_predicted"] >= 1 for row in board["rows"])


def test_the_results_of_a_seed_hold_its_own_numbers_and_the_reports_tables(reported, tmp_path):
    folder, _ = reported
    written = write_seed_results("004", folder / "run", folder / "report", "Tiny photos.", tmp_path)
    text = written.read_text("utf-8")
    assert "| precomputed features → MLP | .504 |" in text and all(f"## {title}\n" in text for title in SECTIONS)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(shown) == len(set(shown)) >= 5 and "data:image" not in text
    assert {path.name for path in (tmp_path / "pictures" / "004").iterdir()} == {Path(path).name for path in shown}
    for path in shown:  # charts; no photo of the run's
        svg = (tmp_path / path).read_text("utf-8")
        assert svg.startswith("<svg") and "<image" not in svg
    found = json.loads((tmp_path / "004.json").read_text())
    assert found["members"]["whole"]["photos"] == 20
    board = json.loads((folder / "report" / "leaderboard.json").read_text())
    assert np.allclose([row["score"] for row in found["rows"]], [row["score"] for row in board["rows"]])
