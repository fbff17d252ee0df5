"""From three files of the contest to a submission, in small: the whole walk with its commands, on a loopback server."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("aiohttp")

from experiments.benchmarks.contest_walk import WalkPlan, check_submission, contest_names, walk, write_walk
from experiments.cli.recipes import FOLDER
from experiments.recipe import load_recipe

pytestmark = pytest.mark.network
TINY = {"resnet50": "test_resnet", "inception_v3": "test_resnet", "legacy_xception": "test_resnet"}


def test_the_contests_recipe_says_what_the_contest_needs():
    recipe = load_recipe(FOLDER / "imaterialist2018.toml")
    members = {member.name: member for member in recipe.members}
    whole = [member for member in recipe.members if member.labels == "all"]
    assert len({member.network for member in whole}) == len(whole) == 4
    assert {member.weights for member in recipe.members} == {"hub"} and {m.size for m in recipe.members} == {299}
    assert {member.training.precision for member in recipe.members} == {"auto"} and recipe.n_workers == -1
    assert members["frequent-labels"].split_count == members["rare-labels"].split_count == 100_000
    assert recipe.folds.scheme == "validation-split" and recipe.data.split_folders
    packed = 1_014_544 + 9_897  # photos of the splits that are trained and stacked on, at 299 pixels
    assert packed * 3 * 299**2 / 2**30 < recipe.photos_gib


def test_a_hundred_photos_walk_from_three_files_to_a_submission(labelstack, tmp_path):
    def invoke(arguments):
        done = labelstack(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    networks = (*TINY.items(), ("seresnext50_32x4d", "test_resnet"))
    found = walk(tmp_path, WalkPlan(n_photos=100, size=32, epochs=1, networks=networks), invoke)
    end = found["submission"]
    assert end["rows"] == found["n_photos"]["test"] == 15 and 0 <= end["micro_f1"] <= 1
    assert "category:T Shirt" in contest_names()
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]["labels"] == contest_names()
    commands = [step["command"].split()[0] for step in found["steps"]]
    assert commands == ["data"] * 6 + ["train", "compare", "fit", "predict"]
    assert "is gone" not in write_walk(found, tmp_path / "told").read_text()
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    truth = {str(number): {"1"} for number in range(1, 16)}
    check_submission(tmp_path / "submission.csv", truth)
    for damaged in ([lines[0], *lines[2:]], [*lines, lines[-1]], [lines[0], lines[2], lines[1], *lines[3:]]):
        (tmp_path / "damaged.csv").write_text("\n".join(damaged) + "\n")
        with pytest.raises(ValueError, match="the 15 ids of the test file"):
            check_submission(tmp_path / "damaged.csv", truth)
    (tmp_path / "damaged.csv").write_text("\n".join([*lines[:-1], f"{lines[-1].partition(',')[0]},999"]) + "\n")
    with pytest.raises(ValueError, match="label ids only"):
        check_submission(tmp_path / "damaged.csv", truth)
