"""The command `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Quiet
from experiments.cli.reporting import session


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, run, ensemble and report.")] = Path("demo-run"),
    quiet: Quiet = False,
) -> None:
    """Do the main job on embedded data, offline; the same command goes on where it was stopped."""
    with session(quiet) as show:
        from experiments.demo import DemoPlan, run_demo

        with show.training() as training:
            lines = run_demo(out, DemoPlan(say=show.note, progress=training))
        for line in lines:
            show.result(line)
