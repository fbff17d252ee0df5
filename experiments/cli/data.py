"""The commands `data …`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Quiet, Seed
from experiments.cli.reporting import session


def synthesize(
    out: Annotated[Path, typer.Option(help="Folder for photos and annotations.")],
    n_train: Annotated[int, typer.Option(help="Training photos.")] = 3000,
    n_validation: Annotated[int, typer.Option(help="Validation photos.")] = 600,
    n_test: Annotated[int, typer.Option(help="Test photos.")] = 1000,
    size: Annotated[int, typer.Option(help="Side of the photos in pixels.")] = 64,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Draw FashionBlocks, a data set of garments, in the form of the iMaterialist contest."""
    with session(quiet) as show:
        from experiments.fashionblocks import synthesize as draw

        with show.progress("drawing photos") as progress:
            draw(
                out,
                n_train=n_train,
                n_validation=n_validation,
                n_test=n_test,
                size=size,
                random_state=seed,
                progress=progress,
            )
        show.result(f"{n_train + n_validation + n_test:,} photos: {out}")
