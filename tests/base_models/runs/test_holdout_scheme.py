"""Train once, stack on a holdout: one network per member, which has seen no row of the store `oof`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.recipe.folds import FoldConfig  # noqa: E402
from base_models.recipe.run import DerivedMember  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.runs.prediction import predict  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from base_models.training import epoch  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402


def holdout_recipe(data, **settings):
    """A specialist pair and their union, with one network each."""
    recipe = tiny_recipe(data, folds=FoldConfig(validation_fraction=0.25, **settings))
    members = tuple(replace(m, training=replace(m.training, epochs=1)) for m in recipe.members[1:])
    return replace(recipe, members=members, derived=(DerivedMember("pair", ("frequent", "rare")),))


@pytest.fixture(scope="module")
def held_run(tiny_photos, tmp_path_factory):
    """A finished run whose holdout is a quarter of the training rows; tests must not change it."""
    recipe = holdout_recipe(tiny_photos, scheme="holdout", holdout_fraction=0.25)
    return run_training(recipe, tmp_path_factory.mktemp("held") / "run", device="cpu")


def test_the_store_holds_the_holdout_only_and_no_network_saw_it(held_run, tiny_photos):
    manifest, splits = load_manifest(tiny_photos, Path()), read_npz(held_run / "splits.npz")
    oof, test = load_predictions(held_run / "oof"), load_predictions(held_run / "test")
    held, validation = splits["fold"] == 0, splits["validation"][:, 0]
    learned = (splits["split"] == "train") & ~held
    assert oof.ids.tolist() == splits["ids"][held].tolist() and 7 <= held.sum() <= 11
    assert set(oof.folds) == {-1}
    assert oof.models == test.models == ("frequent", "rare", "pair")
    assert test.n_samples == len(manifest.split_rows("test"))
    groups = np.array([manifest.groups[manifest.ids.tolist().index(name)] for name in splits["ids"]])
    assert not set(groups[held]) & set(groups[learned])
    assert validation.any() and (learned & ~validation).any() and not (validation & ~learned).any()
    truth = manifest.y_true[np.isin(manifest.ids, splits["ids"][learned])]
    np.testing.assert_allclose(oof.train_frequency, truth.mean(axis=0))
    assert [path.name for path in (held_run / "members" / "rare").iterdir()] == ["fold0"]
    done = json.loads((held_run / "members" / "rare" / "fold0" / "done.json").read_text())
    assert done["n_train"] + done["n_validation"] == learned.sum()
    assert "one network" in json.loads((held_run / "manifest.json").read_text())["scheme"]["oof"]


def test_the_truth_of_the_holdout_changes_no_score(held_run, tmp_path):
    ours = write_tiny_photos(tmp_path / "photos")
    held = load_predictions(held_run / "oof").ids.tolist()
    # the same rows are held out and learned from, but the labels of the holdout are exchanged
    recipe = holdout_recipe(ours, scheme="holdout", holdout_fraction=0.25)
    table = tmp_path / "photos" / "annotations.csv"
    lines = table.read_text().splitlines()
    lied = [
        line.replace("color:green", "color:red") if line.split(",")[0].removesuffix(".png") in held else line
        for line in lines
    ]
    assert lied != lines
    table.write_text("\n".join(lied) + "\n")

    def same_rows(*_):
        return {**read_npz(held_run / "splits.npz")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("base_models.runs.splits._decide_splits", same_rows)
        run = run_training(recipe, tmp_path / "run", device="cpu")
    for name in ("oof", "test"):
        theirs = load_predictions(held_run / name)
        np.testing.assert_array_equal(load_predictions(run / name).to_array(), theirs.to_array())
    assert not np.array_equal(load_predictions(run / "oof").y_true, load_predictions(held_run / "oof").y_true)


def test_the_validation_split_of_the_data_can_be_the_holdout(tmp_path):
    data = write_tiny_photos(tmp_path / "photos", 24, 8)
    table = tmp_path / "photos" / "annotations.csv"
    table.write_text(
        "".join(
            line.replace(",train", ",validation") if line[5:8].isdigit() and 16 <= int(line[5:8]) < 24 else line
            for line in table.read_text().splitlines(keepends=True)
        )
    )
    run = run_training(holdout_recipe(data, scheme="validation-split"), tmp_path / "run", device="cpu")
    oof = load_predictions(run / "oof")
    assert oof.ids.tolist() == [f"photo{i:03d}" for i in range(16, 24)] and set(oof.folds) == {-1}
    assert load_predictions(run / "test").n_samples == 8
    assert not (run / "validation").exists()
    table.write_text(table.read_text().replace("group11", "group0"))
    with pytest.raises(ValueError, match=r"must share no group with the training split.*1 groups.*'group0'"):
        run_training(holdout_recipe(data, scheme="validation-split"), tmp_path / "shared", device="cpu")


def test_data_that_cannot_be_held_out_is_refused(tiny_photos, tmp_path):
    with pytest.raises(ValueError, match=r"needs a validation split in the data.*got 0 and 36 photos"):
        run_training(holdout_recipe(tiny_photos, scheme="validation-split"), tmp_path / "a", device="cpu")
    few = write_tiny_photos(tmp_path / "photos", 3, 1)
    recipe = replace(holdout_recipe(few, scheme="holdout"), derived=())
    with pytest.raises(ValueError, match="'holdout' needs at least 4 training photos that can be read: got 3"):
        run_training(replace(recipe, members=recipe.members[:1]), tmp_path / "b", device="cpu")


def test_a_run_killed_and_started_again_gives_the_same_stores(held_run, tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(epoch, "SECONDS_BETWEEN_REPORTS", -1.0)

    def interrupt(event):
        if (event.kind, event.member, event.step) == ("step", "rare", 2):
            raise KeyboardInterrupt

    recipe = holdout_recipe(tiny_photos, scheme="holdout", holdout_fraction=0.25)
    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, tmp_path / "run", device="cpu", progress=interrupt)
    run = run_training(recipe, tmp_path / "run", device="cpu")
    for name in ("oof", "test"):
        ours, theirs = (load_predictions(folder / name) for folder in (run, held_run))
        np.testing.assert_array_equal(ours.to_array(), theirs.to_array())


def test_new_photos_are_scored_by_the_one_network(held_run, tiny_photos):
    manifest = load_manifest(tiny_photos, Path())
    found = predict(held_run, manifest.select(manifest.split_rows("test")), device="cpu")
    np.testing.assert_allclose(found.to_array(), load_predictions(held_run / "test").to_array(), atol=1e-5)
