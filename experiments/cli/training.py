"""The command `train`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Quiet
from experiments.cli.reporting import session


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file with the data and the members.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command resumes an unfinished run.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Train the members of a recipe; write their predictions of rows that they did not see, and of the test split."""
    from base_models.training.distributed import is_first_process

    with session(quiet or not is_first_process()) as show:
        from base_models import run_training
        from experiments.recipe import load_recipe

        run = load_recipe(recipe)
        with show.training() as progress:
            run_training(run, out, recipe_folder=recipe.resolve().parent, device=device, progress=progress)
        if not is_first_process():
            return
        show.result(f"run: {out}")
        kind = "out-of-fold" if run.folds.scheme == "out-of-fold" else "holdout"
        show.result(f"{kind} predictions: {out / 'oof'}")
        if (out / "test").is_dir():
            show.result(f"test predictions: {out / 'test'}")
