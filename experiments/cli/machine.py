"""The command `doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Quiet
from experiments.cli.reporting import session


def doctor(
    recipe: Annotated[Path | None, typer.Option(help="Also estimate time and disk for this recipe.")] = None,
    out: Annotated[Path, typer.Option(help="Folder whose disk will be written to.")] = Path(),
    quiet: Quiet = False,
) -> None:
    """Show versions, devices, threads, memory and disk, and estimate what a recipe costs here."""
    with session(quiet) as show:
        from experiments.doctor import as_text, examine

        for line in as_text(examine(out)):
            show.result(line)
        if recipe is not None:
            from base_models.manifest import load_manifest
            from experiments.estimate import estimate
            from experiments.recipe import load_recipe

            run = load_recipe(recipe)
            manifest = load_manifest(run.data, recipe.resolve().parent)
            show.note("timing a few training steps of every member …")
            for line in as_text(estimate(run, manifest)):
                show.result(line)
