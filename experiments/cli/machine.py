"""The command `doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Quiet
from experiments.cli.reporting import session


def doctor(
    target: Annotated[
        Path | None, typer.Argument(help="Also estimate time and memory: a recipe (.toml), or predictions with truth.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="The same for a recipe, whatever its name ends in.")] = None,
    out: Annotated[Path, typer.Option(help="Folder whose disk will be written to.")] = Path(),
    quiet: Quiet = False,
) -> None:
    """Show versions, devices, threads, memory and disk; estimate what a recipe or a set of predictions costs here."""
    with session(quiet) as show:
        from experiments.estimates.doctor import as_text, examine

        if target is not None and recipe is not None:
            raise ValueError(f"give one recipe: got {str(target)!r} and --recipe {str(recipe)!r}.")
        if target is not None and target.suffix.lower() == ".toml":
            target, recipe = None, target
        facts = []
        if target is not None:  # first, as looking for devices loads torch, whose memory fit and compare do without
            from experiments.cli.options import open_predictions
            from experiments.estimates.estimate_predictions import estimate_predictions

            opened = open_predictions(target)
            show.note("trying every method on a few rows …")
            facts = estimate_predictions(opened)
        for line in as_text([*examine(out), *facts]):
            show.result(line)
        if recipe is not None:
            from base_models.manifest import load_manifest
            from experiments.estimates.estimate import estimate
            from experiments.recipe import load_recipe

            run = load_recipe(recipe)
            manifest = load_manifest(run.data, recipe.resolve().parent)
            show.note("training every member on a few batches …")
            for line in as_text(estimate(run, manifest)):
                show.result(line)
