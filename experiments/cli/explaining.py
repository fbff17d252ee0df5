"""The command `explain`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import OutFolder, Quiet
from experiments.cli.reporting import session


def explain(
    run: Annotated[Path, typer.Argument(help="Run folder, as labelstack train left it.")],
    images: Annotated[Path, typer.Option(help="Folder of photos.")],
    out: OutFolder,
    member: Annotated[str | None, typer.Option(help="Member to explain; else the one that validated best.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label to show in every photo. May be repeated. Else see --top.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="grad-cam; attention, for members with that head; or auto, attention where there is.")
    ] = "auto",
    top: Annotated[
        int | None, typer.Option(help="Show this many labels with the highest scores of each photo; 3 if not given.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Show which places of photos speak for a label: pictures, maps and a report."""
    with session(quiet) as show:
        from experiments.reports.explaining import DEFAULT_TOP, ExplainPlan, explain_images

        if label and top is not None:
            raise ValueError("give either --label or --top, not both: --top takes the labels with the highest scores.")
        plan = ExplainPlan(
            member,
            tuple(label or ()),
            DEFAULT_TOP if top is None else top,
            method,  # type: ignore[arg-type]  # the library checks it
            device,
        )
        with show.progress("explaining photos") as progress:
            found = explain_images(run, images, out, plan, progress)
        n_photos, n_asked = found.columns.shape
        how = f"{found.explainer.method} of {found.explainer.member.name}"
        if found.unreadable:
            show.note(f"{len(found.unreadable)} photos cannot be read: {', '.join(found.unreadable[:5])}")
        show.result(f"{n_photos:,} photos, {n_asked} labels each, by {how}")
        show.result(f"pictures: {out / 'pictures'}")
        show.result(f"report: {out / 'report.html'}")
