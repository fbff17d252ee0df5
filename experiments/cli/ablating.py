"""The command `ablation`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import OutFolder, Quiet
from experiments.cli.reporting import session


def ablation(
    run: Annotated[Path, typer.Argument(help="Run folder whose members differ from a baseline in one setting each.")],
    baseline: Annotated[str, typer.Option(help="The member that the others are held against.")],
    out: OutFolder,
    quiet: Quiet = False,
) -> None:
    """Say what each change of a recipe brings: the members of a run beside one of them, on its test split."""
    with session(quiet) as show:
        from experiments.reports.ablation import measure_ablation, write_ablation

        found = measure_ablation(run, baseline)
        write_ablation(found, out)
        for row in found.rows:
            show.result(f"{row.score:.4f}  {row.gain:+.4f} [{row.gain_low:+.4f}, {row.gain_high:+.4f}]  {row.member}")
        show.result(f"report: {out / 'ablation.html'}")
