"""The command `data describe`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import OutFolder, Overwrite, Quiet, Seed, check_out_folder, is_there
from experiments.cli.reporting import session


def describe(
    recipe: Annotated[Path, typer.Argument(help="TOML file with a [data] table; the rest of a recipe is not read.")],
    out: OutFolder,
    label: Annotated[str | None, typer.Option(help="Show photos of this label; else of the most frequent.")] = None,
    n_sample: Annotated[int, typer.Option(help="Photos opened for sizes and pixel values.", min=1)] = 1000,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Describe a data set: counts, labels, pairs, photos, sizes, pixel values, shift between splits."""
    with session(quiet) as show:
        from base_models.manifest import load_manifest
        from base_models.recipe.data import DataConfig
        from experiments.recipe import build, read_toml
        from experiments.reports.describing import describe_data, hash_data, write_description
        from experiments.reports.result_manifest import build_manifest, result_folder

        check_out_folder(out)
        table = read_toml(recipe).get("data")
        if not isinstance(table, dict):
            raise ValueError(f"the recipe {str(recipe)!r} must hold a [data] table: it has none; add one.")
        manifest = load_manifest(build(DataConfig, table, recipe, inside="data"), recipe.resolve().parent)
        options = {"recipe": table, "label": label, "n_sample": n_sample, "random_state": seed}
        request = build_manifest("data describe", {"data": hash_data(manifest)}, options)
        with result_folder(out, "data describe", overwrite=overwrite, inputs=[recipe], request=request) as output:
            if is_there(output, show):
                return
            report = describe_data(manifest, n_sample=n_sample, label=label, random_state=seed)
            write_description(report, output, options)
        show.result(f"report: {out / 'report.html'}")
