"""The recipes of the five systems that the package was conceived for: listed, copied, trained, reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from base_models.runs.out_of_fold import run_training
from experiments.cli.recipes import FOLDER
from experiments.fashionblocks import synthesize
from experiments.recipe import load_recipe
from stacking import load_predictions

SEEDS = sorted((FOLDER / "seeds").glob("*.toml"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    synthesize(folder, n_train=72, n_validation=0, n_test=16, size=32, random_state=0)
    return folder


def shrink(recipe):
    """Keep what a recipe says, at the scale of a test: the smallest network, one or two epochs, 32 pixels."""
    members = []
    for member in recipe.members:
        epochs = 2 if member.training.freeze_epochs or member.training.stop_when_overfit else 1
        training = replace(
            member.training, epochs=epochs, batch_size=12, sizes=(), train_count=min(member.training.train_count, 24)
        )
        network = "scratch-cnn" if member.network == "scratch-cnn" else "test_resnet"
        members.append(
            replace(member, network=network, size=32, degraded_size=min(member.degraded_size, 8), training=training)
        )
    folds = replace(recipe.folds, validation_fraction=0.2)
    return replace(recipe, members=tuple(members), folds=folds, data=replace(recipe.data, min_label_count=2))


def test_there_are_five_and_every_one_says_what_it_needs():
    assert [path.stem for path in SEEDS] == ["000", "001", "002", "003", "004"]
    for path in SEEDS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# Seed {path.stem}") and "On the contest" in text and "labelstack report run" in text


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_every_seed_trains_on_fashionblocks_and_answers(path, blocks, tmp_path):
    recipe = shrink(load_recipe(path))
    run = run_training(recipe, tmp_path / "run", recipe_folder=blocks, device="cpu")
    oof, test = load_predictions(run / "oof"), load_predictions(run / "test")
    names = [member.name for member in recipe.members] + [derived.name for derived in recipe.derived]
    assert list(oof.models) == list(test.models) == names and test.n_samples == 16
    assert np.isfinite(oof.to_array()[oof.covers.all(axis=1)]).all()
    combined = [place for place, name in enumerate(names) if name == "combined"]
    if combined:  # the two specialists of seed 004: each label from the one that answers it
        first, second = (oof.covers[names.index(name)] for name in ("frequent-labels", "rare-labels"))
        assert not (first & second).any() and np.array_equal(oof.covers[combined[0]], first | second)


def test_recipes_are_listed_and_copied(labelstack, tmp_path):
    listed = json.loads(labelstack("recipes", "--json").stdout)["recipes"]
    assert {"demo", "seeds/000", "seeds/004"} <= {row["recipe"] for row in listed}
    assert all(row["what it is"].endswith(".") for row in listed)  # a whole sentence: only the first line is read
    target = tmp_path / "mine.toml"
    done = labelstack("recipes", "seeds/002", "--out", str(target))
    assert done.exit_code == 0 and target.read_text() == (FOLDER / "seeds" / "002.toml").read_text()
    assert {member.head for member in load_recipe(target).members} == {"linear", "wide+recurrent"}
    again = labelstack("recipes", "seeds/002", "--out", str(target))
    assert again.exit_code != 0 and "--overwrite" in again.stderr
    assert labelstack("recipes", "seeds/003", "--out", str(target), "--overwrite").exit_code == 0
    wrong = labelstack("recipes", "seeds/005")
    assert wrong.exit_code != 0 and "recipe must be one of" in wrong.stderr and "Did you mean" in wrong.stderr


def test_heads_in_a_list_are_one_network_in_any_order(tmp_path):
    text = (FOLDER / "seeds" / "002.toml").read_text()
    for written in ('["recurrent", "wide"]', '"wide+recurrent"'):
        (tmp_path / "other.toml").write_text(text.replace('["wide", "recurrent"]', written))
        assert load_recipe(tmp_path / "other.toml") == load_recipe(FOLDER / "seeds" / "002.toml")
    (tmp_path / "other.toml").write_text(text.replace('["wide", "recurrent"]', '["wide", "attention"]'))
    with pytest.raises(ValueError, match="head"):
        load_recipe(tmp_path / "other.toml")
