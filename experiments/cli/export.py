"""The commands that carry results on: `export` and `push`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import JsonConsole, Overwrite


def export(
    console: JsonConsole,
    source: Annotated[
        Path, typer.Argument(help="Folder that `labelstack fit` wrote, or the folder of a finished training run.")
    ],
    numpy: Annotated[
        Path | None, typer.Option(help="Folder for the ensemble with a reader that needs numpy alone.")
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(help="File ending in .onnx for the ensemble; for a run a folder, one graph for each network."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write an ensemble, or the networks of a run, so that they predict without labelstack."""
    with console.session() as show:
        from experiments.publishing.exporting import export as write

        with show.training() as progress:
            written = write(source, numpy=numpy, onnx=onnx, overwrite=overwrite, progress=progress)
        for place, is_new in written.items():
            there = "" if is_new else "the result of the same inputs and options is there already: "
            show.result(f"{there or 'exported: '}{place}")
        show.data({"numpy": numpy, "onnx": onnx, "is_there_already": not any(written.values())})


def push(
    console: JsonConsole,
    folder: Annotated[Path, typer.Argument(help="Folder that `labelstack fit` or `labelstack train` wrote.")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hugging Face Hub: user/name.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody read a repository that is new.")] = False,
) -> None:
    """Upload an ensemble or a finished run with its card to the Hugging Face Hub."""
    with console.session() as show:
        from experiments.publishing.hub import push as upload

        where = upload(folder, repo, public=public)
        show.result(f"pushed: {where}")
        show.data({"url": where})
