import dataclasses
import json
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from base_models.recipe.run import TrainingRun
from base_models.recipe.training import TrainingConfig
from experiments.recipe import load_recipe
from experiments.recipe.keys import list_keys, recipe_page, recipe_schema

ROOT = Path(__file__).parents[3]
REFRESH = "write it anew: python -m experiments.recipe.keys"


def test_the_page_and_the_schema_of_the_manual_are_those_of_the_dataclasses():
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == recipe_page(), REFRESH
    assert json.loads((ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8")) == recipe_schema(), REFRESH


def test_every_key_is_explained():
    assert [key.place for key in list_keys() if not key.meaning.endswith((".", "…"))] == []
    assert {key.table for key in list_keys()} == {"", "data", "members", "training", "folds", "derived"}
    names = {key.name for key in list_keys() if key.table == "training"}
    assert names == {field.name for field in dataclasses.fields(TrainingConfig)}


def test_defaults_are_those_that_a_recipe_gets():
    needed = {"data": {"format": "folder", "root": "."}, "members": [{"name": "a", "network": "resnet18"}], "name": "x"}
    run = TypeAdapter(TrainingRun).validate_python(needed)
    places = {"": run, "data": run.data, "members": run.members[0], "training": run.members[0].training}
    places["folds"] = run.folds
    for key in list_keys():
        if key.default and key.table in places:
            value = getattr(places[key.table], key.name)
            assert json.loads(key.default) == (list(value) if isinstance(value, tuple) else value), key.place


def _objects(schema, document):
    """Yield every table of a document with what the schema says of it."""
    definitions = schema["$defs"]

    def resolve(entry):
        return definitions[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry

    def walk(entry, value):
        if isinstance(value, dict):
            entry = resolve(entry)
            yield entry, value
            for key, inner in value.items():
                yield from walk(entry["properties"].get(key, {}), inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(entry.get("items", {}), inner)

    yield from walk(schema, document)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_the_schema_takes_every_recipe_of_ours(path, monkeypatch):
    """And refuses what is misspelled: an editor would mark it."""
    monkeypatch.setenv("LABELSTACK_SHARED_DATA", "data")
    load_recipe(path)
    for table, values in _objects(recipe_schema(), tomllib.loads(path.read_text(encoding="utf-8"))):
        assert not table["additionalProperties"]
        assert set(values) <= set(table["properties"])
        assert table.get("title") == "TrainingConfig" or set(table.get("required", [])) <= set(values)


def test_the_command_lists_keys_and_writes_the_schema(labelstack):
    done = labelstack("keys", "epochs")
    assert done.exit_code == 0 and "training.freeze_epochs" in done.stdout and "data.root" not in done.stdout
    assert json.loads(labelstack("keys", "--json").stdout) == recipe_schema()
    wrong = labelstack("keys", "epcohs")
    assert wrong.exit_code == 2 and "is in none" in wrong.stderr
