"""The run folder: one recipe, one process, nothing of anybody else's."""

import tomllib
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from base_models.recipe.canonical import canonical_recipe, to_toml  # noqa: E402
from base_models.recipe.data import DataConfig  # noqa: E402
from base_models.runs.folder import open_run_folder  # noqa: E402
from base_models.testing import tiny_recipe  # noqa: E402

RECIPE = tiny_recipe(DataConfig("folder", "photos"))


def opened(out, recipe=RECIPE):
    return open_run_folder(out, recipe, n_threads=1, device="cpu")


def test_a_new_folder_records_what_decides_the_run(tmp_path):
    with opened(tmp_path / "new" / "run") as folder:
        assert folder.manifest["runs_started"] == 1
        assert folder.manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    with opened(tmp_path / "new" / "run") as folder:
        assert folder.manifest["runs_started"] == 2
    recipe = tomllib.loads((tmp_path / "new" / "run" / "recipe.toml").read_text())
    assert recipe == canonical_recipe(RECIPE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(RECIPE, seed=4), "seed is the default there and 4 here"),
        (replace(RECIPE, folds=replace(RECIPE.folds, n_folds=3)), "folds.n_folds is 2 there and 3 here"),
        (replace(RECIPE, members=RECIPE.members[:1], derived=()), "derived is .* there and the default here"),
        (
            replace(RECIPE, members=(replace(RECIPE.members[0], size=48), *RECIPE.members[1:])),
            "members.whole.size is 32 there and 48 here",
        ),
    ],
)
def test_a_folder_of_another_recipe_is_refused_and_left_alone(tmp_path, changed, message):
    with opened(tmp_path / "run"):
        pass
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with (
        pytest.raises(ValueError, match=f"out must belong to this recipe: in .*, {message}"),
        opened(tmp_path / "run", changed),
    ):
        pass
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_settings_that_change_nothing_do_not_make_another_recipe(tmp_path):
    with opened(tmp_path):
        pass
    with opened(tmp_path, replace(RECIPE, n_threads=7, cache="none", n_workers=1)) as folder:
        assert folder.manifest["n_threads"] == 1


def test_other_peoples_folders_are_refused(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text("{}")
    for name, message in {
        "thesis": "holds .* and no manifest.json, so it is not a run folder",
        "file": "is a file",
        "store": "belongs to something else",
    }.items():
        with pytest.raises(ValueError, match=message), opened(tmp_path / name):
            pass


def test_a_second_run_in_the_folder_is_refused_at_once(tmp_path):
    with opened(tmp_path), pytest.raises(ValueError, match="another run is working in this folder"), opened(tmp_path):
        pass
    with opened(tmp_path):  # the first has let go
        pass


def test_too_little_space_is_found_before_work(tmp_path, monkeypatch):
    from stacking.files import atomic_files

    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(atomic_files.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(ValueError, match="too little space"), opened(tmp_path / "run"):
        pass


def test_stale_temporary_files_are_swept(tmp_path):
    with opened(tmp_path):
        pass
    stale = tmp_path / "members" / "whole" / ".tmp-0123456789abcdef"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    with opened(tmp_path):
        assert not stale.exists()


def test_reasons_that_look_like_formulas_are_text(tmp_path):
    with opened(tmp_path) as folder:
        folder.write_failures({"a": "=1+1", "b": 'broken, "cut"'})
    assert (tmp_path / "failures.csv").read_text() == 'id,reason\na,\'=1+1\nb,"broken, ""cut"""\n'


def test_toml_survives_strange_text():
    recipe = {"name": 'a "b" \\ ü\n', "x": [1, 2.5, True], "members": [{"name": "m", "training": {"epochs": 2}}]}
    assert tomllib.loads(to_toml(recipe)) == recipe
