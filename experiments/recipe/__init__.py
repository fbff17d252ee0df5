"""Recipes: one TOML file that says everything about one experiment, read, checked, explained and begun."""

from experiments.recipe.reading import build, load_recipe, read_toml

__all__ = ["build", "load_recipe", "read_toml"]
