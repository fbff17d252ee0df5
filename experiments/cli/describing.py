"""The command `data describe`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import OutFolder, Quiet, Seed
from experiments.cli.reporting import session


def describe(
    recipe: Annotated[Path, typer.Argument(help="TOML file with a [data] table; the rest of a recipe is not read.")],
    out: OutFolder,
    label: Annotated[str | None, typer.Option(help="Show photos of this label; else of the most frequent.")] = None,
    n_sample: Annotated[int, typer.Option(help="Photos opened for sizes and pixel values.", min=1)] = 1000,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Describe a data set: counts, labels, pairs, photos, sizes, pixel values, shift between splits."""
    with session(quiet) as show:
        from base_models.manifest import load_manifest
        from base_models.recipe.data import DataConfig
        from experiments.recipe import build, read_toml
        from experiments.reports.describing import describe_data, write_description

        table = read_toml(recipe).get("data")
        if not isinstance(table, dict):
            raise ValueError(f"the recipe {str(recipe)!r} must hold a [data] table: it has none; add one.")
        manifest = load_manifest(build(DataConfig, table, recipe, inside="data"), recipe.resolve().parent)
        write_description(describe_data(manifest, n_sample=n_sample, label=label, random_state=seed), out)
        show.result(f"report: {out / 'report.html'}")
