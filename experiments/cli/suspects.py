"""The command `suspects`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.completion import complete_method
from experiments.cli.options import (
    GivenPredictions,
    JsonConsole,
    OutFolder,
    Overwrite,
    Seed,
    check_out_folder,
    free_name,
    input_paths,
    is_there,
)

SHOWN = 10
"""Suspects that the prompt shows; the files hold all."""


def suspects(
    *,
    console: JsonConsole,
    given: GivenPredictions,
    out: OutFolder,
    method: Annotated[
        str, typer.Option(autocompletion=complete_method, help="What judges, as `labelstack methods` lists it.")
    ] = "logistic",
    top: Annotated[
        int | None, typer.Option(help="List so many; by default as many as are estimated to be wrong.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="For a run: folder that the recipe's paths start from, if the photos have moved."),
    ] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """List the labels of the truth that look wrong or missing, for a person to look at: predictions, or a whole run."""
    with console.session() as show:
        from dataclasses import replace

        from experiments.reports.result_manifest import build_manifest, is_run, result_folder
        from experiments.reports.suspect_files import WEAKNESS, open_photos_of_run, write_suspects
        from stacking.diagnosis.suspects import find_suspects
        from stacking.report import Column
        from stacking.report.writing import write_score

        check_out_folder(out)
        run = given.predictions if is_run(given.predictions) else None
        photos = None if run is None else open_photos_of_run(run, data)
        opened = (given if run is None else replace(given, predictions=run / "oof")).open()
        options = {"method": method, "top": top, "photos": photos is not None, "random_state": seed}
        request = build_manifest("suspects", {"predictions": opened.fingerprint}, options)
        inputs = input_paths(*given.paths, data)
        show.next("check", *given.arguments)
        with result_folder(out, "suspects", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                return
            with show.progress("judging"):
                found = find_suspects(opened, method=method, top=top, random_state=seed)
            write_suspects(found, opened, output, photos)
            output.commit({**request, "files": sorted(output.written)})
        rows = [
            [str(found.ids[row]), found.labels[column], "remove" if is_given else "add", float(score), float(doubt)]
            for row, column, is_given, score, doubt in zip(
                found.rows, found.columns, found.given, found.score, found.doubt, strict=True
            )
        ]
        names = ("id", "label", "suggestion", "score", "doubt")
        show.data(
            {
                "out": out,
                "n_errors": found.n_errors,
                "micro_f1": found.micro_f1,
                "is_weak": found.is_weak,
                "suspects": [dict(zip(names, row, strict=True)) for row in rows],
            }
        )
        show.table(["sample", "label", "change", Column("score", "score"), Column("doubt", "percent")], rows[:SHOWN])
        errors = f"{found.n_errors:,.0f} wrong annotations by estimate"
        judge = f"judged by an ensemble of micro-F1 {write_score(found.micro_f1, 2)}"
        show.result(f"{len(found):,} suspects, {errors}, {judge}: {out / 'suspects.csv'}")
        if found.is_weak:
            show.result(WEAKNESS)
        show.result(f"report: {out / 'report.html'}")
        interface = out / "label_studio.xml"
        show.note(
            f"for Label Studio: {out / 'label_studio.json'}, with the labeling interface {interface}; for FiftyOne: "
            f"{out / 'fiftyone.json'}"
        )
        mended = replace(given, truth=Path("MENDED-TRUTH.csv"))
        show.next("fit", *mended.arguments, "--out", free_name("ensemble"))
