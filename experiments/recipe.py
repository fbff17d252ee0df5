"""Read a recipe: one TOML file that says everything about one experiment.

The tables of the file are the frozen dataclasses that the library takes; pydantic checks them here, so the library
needs no pydantic. A key that no dataclass knows is an error that names the nearest one. Paths are relative to the
recipe, and ``$NAME`` in them is replaced by the environment variable.
"""

import dataclasses
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from optimizers.registry import nearest_name
from stacking.files.untrusted import check_depth

if typing.TYPE_CHECKING:
    from base_models.recipe.run import TrainingRun

T = TypeVar("T")
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")


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
    if isinstance(document.get("training"), Mapping):  # checked alone, so that an error names the table it stands in
        build(TrainingConfig, document["training"], path, inside="training")
    run = build(TrainingRun, merge_training_defaults(document), path)
    folder = Path(path).resolve().parent
    members = tuple(
        dataclasses.replace(member, weights=str(_resolve_path(Path(member.weights), folder)))
        if member.weights.endswith(_WEIGHT_FILES)
        else member
        for member in run.members
    )
    shared = str(_resolve_path(Path(run.features_folder), folder)) if run.features_folder else ""
    packs = str(_resolve_path(Path(run.photos_folder), folder)) if run.photos_folder else ""
    return dataclasses.replace(run, members=members, features_folder=shared, photos_folder=packs)


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
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(dict(document))
    except ValidationError as error:
        found = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] not in _UNKNOWN_KEY)
        problems = [_sentence(kind, problem, inside) for problem in found]
        more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ValueError(f"recipe {str(source)!r}: {problems[0]}{more}") from error


def _sentence(kind: Any, problem: Mapping[str, Any], inside: str) -> str:
    """Say one problem that pydantic found in the words of the recipe."""
    loc = tuple(problem["loc"])
    where = ".".join(str(step) for step in ((inside, *loc) if inside else loc))
    if problem["type"] in _UNKNOWN_KEY:
        known = _keys_at(kind, loc[:-1])
        near = nearest_name(str(loc[-1]), known)
        hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}."
        return f"unknown key {where!r}; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"the key {where!r} is missing."
    if problem["type"] == "value_error":  # the dataclass's own sentence
        return f"{where}: {problem['ctx']['error']}" if where else str(problem["ctx"]["error"])
    message = str(problem["msg"])
    message = message[:1].lower() + message[1:]
    return f"{where}: {message.rstrip('.')} (got {problem['input']!r})." if where else f"{message.rstrip('.')}."


def _keys_at(kind: Any, loc: Sequence[Any]) -> list[str]:
    """Return the keys a recipe may hold at a place."""
    for step in loc:
        kind = _step(kind, step)
    kind = _dataclass_in(kind)
    return [field.name for field in dataclasses.fields(kind) if field.init] if kind else []


def _step(kind: Any, step: Any) -> Any:
    """Return the type found by one key or index inside a type."""
    inside = _dataclass_in(kind)
    if inside is not None and isinstance(step, str):
        return typing.get_type_hints(inside).get(step)
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next((argument for argument in arguments if argument is not type(None)), None)
    return next((argument for argument in reversed(arguments) if argument is not Ellipsis), None)


def _dataclass_in(kind: Any) -> Any:
    """Return the dataclass that a type is, or that an optional type allows."""
    if dataclasses.is_dataclass(kind):
        return kind
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next((argument for argument in typing.get_args(kind) if dataclasses.is_dataclass(argument)), None)
    return None


def _resolve_path(path: Path, folder: Path) -> Path:
    """Make one path absolute."""
    text = os.path.expandvars(path.expanduser())
    unset = re.search(r"\$\{?(\w+)\}?", text)
    if unset:
        raise ValueError(
            f"the path {str(path)!r} needs the environment variable {unset.group(1)!r}: set it, or write the path out."
        )
    return Path(os.path.normpath(folder / text))
