"""`labelstack evaluate` finds the samples that the ensemble was fitted on, however the files are cut."""

import json

import numpy as np
import pytest

from stacking.predictions import PredictionSet, load_predictions, save_predictions


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    assert labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "e").exit_code == 0
    return tmp_path / "e"


@pytest.fixture
def mixed(bundle, held_back, tmp_path):
    """Thirty samples that were fitted on among a hundred that were not."""
    old, new = load_predictions(bundle), load_predictions(held_back)
    seen = old.subset(samples=np.arange(40, 70))
    parts = [np.concatenate([getattr(new, name), getattr(seen, name)], axis=0) for name in ("ids", "y_true")]
    scores = np.concatenate([new.to_array(), seen.to_array()], axis=1)
    both = PredictionSet(scores, parts[0], new.models, new.labels, y_true=parts[1])
    return save_predictions(both, tmp_path / "mixed.npz")


def scores_of(folder):
    board = json.loads((folder / "leaderboard.json").read_text())
    return board, {row["method"]: row["score"] for row in board["rows"]}


def test_some_rows_that_were_fitted_on_are_refused_with_their_number(labelstack, ensemble, mixed, tmp_path):
    done = labelstack("evaluate", ensemble, mixed, "--out", tmp_path / "v")
    assert done.exit_code == 2
    assert "fitted on 30 of these 130 ids, the first is 'photo0-0040'" in done.stderr
    assert "--drop-seen and score the other 100" in done.stderr
    assert not (tmp_path / "v").exists()


def test_they_can_be_left_out(labelstack, ensemble, mixed, held_back, tmp_path):
    done = labelstack("evaluate", ensemble, mixed, "--drop-seen", "--out", tmp_path / "v")
    assert done.exit_code == 0, done.output
    assert "30 samples left out" in done.stderr
    assert labelstack("evaluate", ensemble, held_back, "--out", tmp_path / "w").exit_code == 0
    (left, scores), (whole, expected) = scores_of(tmp_path / "v"), scores_of(tmp_path / "w")
    assert scores == pytest.approx(expected)
    assert (left["n_samples"], left["n_seen_dropped"], whole["n_seen_dropped"]) == (100, 30, 0)
    assert left["manifest"]["options"]["drop_seen"] is True


def test_nothing_is_left_of_a_part_of_the_fitted_rows(labelstack, ensemble, bundle, tmp_path):
    part = save_predictions(load_predictions(bundle).subset(samples=np.arange(20)), tmp_path / "part.npz")
    done = labelstack("evaluate", ensemble, part, "--drop-seen", "--out", tmp_path / "v")
    assert done.exit_code == 2
    assert "fitted on 20 of these 20 ids" in done.stderr
