"""Read a recipe: one TOML file that says everything about one experiment.

The tables of the file are the frozen dataclasses that the library takes; pydantic checks them here, so the library
needs no pydantic. All that is wrong is told at once. Paths are relative to the recipe, and ``$NAME`` in them
is replaced by the environment variable.
"""

import dataclasses
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from base_models.recipe.problems import RecipeError
from experiments.recipe.problems import find_problems
from experiments.recipe.types import hints_of, write_value
from optimizers.registry import nearest_name
from stacking.files.output_rules import check_not_url
from stacking.files.remote import path_of
from stacking.files.untrusted import check_depth

if typing.TYPE_CHECKING:
    from base_models.recipe.run import TrainingRun

T = TypeVar("T")
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")


def load_recipe(path: str | Path) -> "TrainingRun":
    """Read the recipe of a training run.

    The table ``[training]`` at the top holds defaults for all members; each member may say otherwise in its own.

    Parameters
    ----------
    path : str or Path
        The TOML file.

    Returns
    -------
    TrainingRun
        Checked, defaults filled in. The paths of its data stay as written: `load_manifest` takes them from the recipe's
        folder. The paths of weight files, of shared features and of packed photos are made absolute.

    Raises
    ------
    ValueError
        If the file is absent or no TOML, or a key or value is wrong.
    """
    from base_models.recipe.run import TrainingRun, merge_training_defaults
    from base_models.recipe.training import TrainingConfig

    document = read_toml(path)
    problems = []
    known = [*hints_of(TrainingRun), "training"]
    for key in [key for key in document if key not in known and nearest_name(key, known) == "training"]:
        problems.append(f"unknown key {key!r}; did you mean 'training'?")
        document.setdefault("training", document.pop(key))
    if isinstance(document.get("training"), Mapping):  # looked at alone, so that an error names the table it stands in
        found, document["training"] = find_problems(TrainingConfig, document["training"], "training")
        problems += found
    elif "training" in document:
        problems.append(f"training must be a table: got {write_value(document.pop('training'))}.")
    merged = merge_training_defaults(document)
    found, mended = find_problems(TrainingRun, merged)
    folder, places = Path(path).resolve().parent, {}
    for where, text in _paths_in(mended):
        try:
            places[where] = _resolve_place(text, folder, may_be_url=where == "photos_folder")
        except ValueError as error:
            found.append(f"{where}: {error}")
    _refuse([*problems, *found], path)
    run = build(TrainingRun, merged, path)
    members = tuple(
        dataclasses.replace(member, weights=places.get(f"members.{number}.weights", member.weights))
        for number, member in enumerate(run.members)
    )
    features, photos = (places.get(name, "") for name in ("features_folder", "photos_folder"))
    return dataclasses.replace(run, members=members, features_folder=features, photos_folder=photos)


def _paths_in(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the paths that are taken from the recipe's folder here, with their keys."""
    for number, member in enumerate(document["members"]):
        weights = member.get("weights", "")
        if weights.endswith(_WEIGHT_FILES):
            yield f"members.{number}.weights", weights
    for name in ("features_folder", "photos_folder"):
        if document.get(name):
            yield name, document[name]


def _resolve_place(text: str, folder: Path, *, may_be_url: bool) -> str:
    """Return a path from the recipe's folder on, or a URL where one can be."""
    if may_be_url and path_of(text) is None:
        return text
    check_not_url(text, "it")
    return str(_resolve_path(path_of(text) or Path(text), folder))


def _refuse(problems: Sequence[str], source: str | Path) -> None:
    """Refuse a recipe that has problems."""
    if problems:
        recipe = f"recipe {str(source)!r}"
        raise RecipeError(problems, f"{recipe}:" if len(problems) == 1 else f"{recipe} has")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict
        Its tables.

    Raises
    ------
    ValueError
        If it is absent, is no TOML, or is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the recipe must be a TOML file: there is none at {str(path)!r}.")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        check_depth(document)
        return document
    except RecursionError as error:
        raise ValueError(f"the recipe {str(path)!r} must be a recipe: it is nested too deeply.") from error
    except ValueError as error:  # of TOML, of UTF-8, of numbers with thousands of digits
        raise ValueError(f"the recipe {str(path)!r} must be valid TOML: {error}.") from error


def build(kind: type[T], document: Mapping[str, Any], source: str | Path, *, inside: str = "") -> T:
    """Turn the tables of a recipe into a dataclass, checking every key and type.

    Parameters
    ----------
    kind : type
        A frozen dataclass; its fields may be dataclasses, lists or mappings of them.
    document : mapping
        Tables as `read_toml` gives them.
    source : str or Path
        The recipe's path, for errors.
    inside : str, default=''
        Name of the table that `document` is, for errors; empty for the whole recipe.

    Returns
    -------
    object
        An instance of `kind`.

    Raises
    ------
    ValueError
        If a key is unknown, is missing, has the wrong type, or a value is refused by the dataclass.
    """
    from pydantic import TypeAdapter

    _refuse(find_problems(kind, document, inside)[0], source)
    return TypeAdapter(kind).validate_python(dict(document))


def _resolve_path(path: Path, folder: Path) -> Path:
    """Make one path absolute."""
    text = os.path.expandvars(path.expanduser())
    unset = re.search(r"\$\{?(\w+)\}?", text)
    if unset:
        raise ValueError(
            f"the path {str(path)!r} needs the environment variable {unset.group(1)!r}: set it, or write the path out."
        )
    return Path(os.path.normpath(folder / text))
