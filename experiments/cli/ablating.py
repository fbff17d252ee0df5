"""The command `ablation`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import OutFolder, Overwrite, Quiet, check_out_folder, is_there
from experiments.cli.reporting import session


def ablation(
    run: Annotated[Path, typer.Argument(help="Run folder whose members differ from a baseline in one setting each.")],
    baseline: Annotated[str, typer.Option(help="The member that the others are held against.")],
    out: OutFolder,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Say what each change of a recipe brings: the members of a run beside one of them, on its test split."""
    with session(quiet) as show:
        from experiments.reports.ablation import REQUIRED_FILES, measure_ablation, write_ablation
        from experiments.reports.result_manifest import build_manifest, hash_files, result_folder

        check_out_folder(out)
        request = build_manifest("ablation", hash_files(run, REQUIRED_FILES), {"baseline": baseline})
        with result_folder(out, "ablation", overwrite=overwrite, inputs=[run], request=request) as output:
            if is_there(output, show):
                return
            found = measure_ablation(run, baseline)
            write_ablation(found, output)
        for row in found.rows:
            show.result(f"{row.score:.4f}  {row.gain:+.4f} [{row.gain_low:+.4f}, {row.gain_high:+.4f}]  {row.member}")
        show.result(f"report: {out / 'ablation.html'}")
