"""A recipe as plain values and back, for processes that share a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.run import DerivedMember, TrainingRun
from base_models.recipe.training import TrainingConfig


def plain_recipe(recipe: TrainingRun) -> dict[str, Any]:
    """Return a recipe, with all that only its speed depends on, as JSON takes it.

    Parameters
    ----------
    recipe : TrainingRun
        The recipe.

    Returns
    -------
    dict
        For `restore_recipe`.
    """
    return dataclasses.asdict(recipe)


def restore_recipe(plain: Mapping[str, Any]) -> TrainingRun:
    """Return the recipe that `plain_recipe` made plain.

    Parameters
    ----------
    plain : mapping
        After its way through JSON.

    Returns
    -------
    TrainingRun
        Equal to the original.
    """
    values = {name: _tuples(value) for name, value in plain.items()}
    values["data"], values["folds"] = DataConfig(**values["data"]), FoldConfig(**values["folds"])
    values["derived"] = tuple(DerivedMember(**entry) for entry in values["derived"])
    values["members"] = tuple(
        MemberConfig(**{**entry, "training": TrainingConfig(**entry["training"])}) for entry in values["members"]
    )
    return TrainingRun(**values)


def _tuples(value: Any) -> Any:
    """Turn JSON's lists into the tuples that they were."""
    if isinstance(value, Mapping):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
