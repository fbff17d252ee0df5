"""What scores photos that are in no fold: the mean of the fold networks, of their logits, or one refit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.runs.prediction import predict  # noqa: E402
from base_models.runs.stores import mean_over_networks  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run for each choice, of one member that trains in a moment; by choice."""
    folder = tmp_path_factory.mktemp("new-photos")
    recipe = tiny_recipe(write_tiny_photos(folder / "photos", 16, 4))
    member = replace(recipe.members[0], training=replace(recipe.members[0].training, epochs=1))
    found = {}
    for choice in ("mean", "logit-mean", "refit"):
        chosen = replace(recipe, members=(member,), derived=(), folds=replace(recipe.folds, new_photos=choice))
        found[choice] = run_training(chosen, folder / choice, device="cpu")
    return recipe.data, found


def network_scores(run, fold):
    """The probabilities that one network wrote for the test split."""
    return read_npz(run / "members" / "whole" / f"fold{fold}" / "test.npz")["scores"].astype(np.float64)


def test_the_test_split_is_scored_as_the_recipe_says(runs):
    _, found = runs
    first, second = (network_scores(found["mean"], fold) for fold in (0, 1))
    logits = (np.log(first / (1 - first)) + np.log(second / (1 - second))) / 2
    expected = {
        "mean": (first + second) / 2,
        "logit-mean": 1 / (1 + np.exp(-logits)),
        "refit": network_scores(found["refit"], 2),
    }
    for choice, scores in expected.items():
        stored = load_predictions(found[choice] / "test").to_array()[0]
        np.testing.assert_allclose(stored, scores, atol=1e-6)
    assert np.abs(expected["mean"] - expected["refit"]).max() > 1e-3


def test_new_photos_are_scored_like_the_test_split(runs):
    data, found = runs
    manifest = load_manifest(data, Path())
    photos = manifest.select(manifest.split_rows("test"))
    for run in found.values():
        np.testing.assert_allclose(
            predict(run, photos, device="cpu").to_array(), load_predictions(run / "test").to_array(), atol=1e-5
        )


def test_the_refit_learns_from_all_folds_and_the_choice_changes_no_out_of_fold_score(runs):
    _, found = runs
    words = {
        name: json.loads((run / "manifest.json").read_text())["scheme"]["new_photos"] for name, run in found.items()
    }
    assert words["mean"] == "arithmetic mean of the fold models"
    assert words["logit-mean"] == "logit mean of the fold models" and "rows of all folds" in words["refit"]
    done = json.loads((found["refit"] / "members" / "whole" / "fold2" / "done.json").read_text())
    assert done["n_train"] + done["n_validation"] == 16
    mean = load_predictions(found["mean"] / "oof")
    for run in found.values():
        np.testing.assert_array_equal(load_predictions(run / "oof").to_array(), mean.to_array())
        assert set(load_predictions(run / "oof").folds) == {0, 1}


def test_means_keep_what_is_not_covered():
    nan = float("nan")
    parts = [np.array([[0.2, nan, 1.0]], np.float32), np.array([[0.4, nan, 1.0]], np.float32)]
    np.testing.assert_allclose(mean_over_networks(parts), [[0.3, nan, 1.0]], atol=1e-6)
    found = mean_over_networks(parts, "logit-mean")
    odds = np.sqrt(0.2 / 0.8 * 0.4 / 0.6)
    np.testing.assert_allclose(found, [[odds / (1 + odds), nan, 1.0]], atol=1e-6)
