"""The canonical form of a recipe, its hash, and the recipe written as TOML.

The canonical form leaves out every value that equals its default. Two recipes with the same canonical form are the
same run, and a later version of the package that adds a setting (with a neutral default) still recognizes the run
folders of an earlier one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

NEUTRAL = {"neutral": True}
"""Marks settings that do not change what is computed; the canonical form leaves them out."""


def canonical_recipe(config: Any) -> Any:
    """Return a configuration as plain JSON values, without what equals its default.

    Parameters
    ----------
    config : dataclass instance or plain value
        A configuration such as ``TrainingRun``.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Its canonical form.

    Examples
    --------
    >>> from base_models.recipe.folds import FoldConfig
    >>> canonical_recipe(FoldConfig(n_folds=3))
    {'n_folds': 3}
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {}
        for entry in dataclasses.fields(config):
            value = getattr(config, entry.name)
            if entry.metadata.get("neutral"):
                continue
            default = entry.default_factory() if entry.default_factory is not dataclasses.MISSING else entry.default
            inner = canonical_recipe(value)
            if value != default and inner != canonical_recipe(default):  # or they differ in neutral settings only
                plain[entry.name] = inner
        return plain
    if isinstance(config, Mapping):
        return {str(key): canonical_recipe(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [canonical_recipe(value) for value in config]
    return config if isinstance(config, bool | int | float | str) or config is None else str(config)


def recipe_hash(config: Any) -> str:
    """Return the SHA-256 of a configuration's canonical form.

    Parameters
    ----------
    config : dataclass instance
        A configuration such as ``TrainingRun``.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(canonical_recipe(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def to_toml(recipe: Mapping[str, Any]) -> str:
    """Write a canonical recipe as TOML.

    Parameters
    ----------
    recipe : mapping
        Strings, numbers, booleans, lists and mappings.

    Returns
    -------
    str
        TOML text that parses to the same recipe.

    Examples
    --------
    >>> print(to_toml({"name": "small", "folds": {"n_folds": 3}}), end="")
    name = "small"
    folds = {n_folds = 3}
    """
    lines = []
    for key, value in recipe.items():
        if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            continue
        lines.append(f"{key} = {_toml_value(value)}")
    for key, value in recipe.items():
        if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for entry in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_toml_value(inner)}" for name, inner in entry.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    """Write one value; strings as JSON does, which TOML reads alike but for what lies outside 16 bits and DEL."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
