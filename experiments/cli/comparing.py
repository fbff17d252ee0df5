"""The command `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import (
    FromLogits,
    Ids,
    Labels,
    LogitsOf,
    Models,
    OutFolder,
    Predictions,
    Quiet,
    Seed,
    Truth,
    check_out_folder,
    choose_logits,
    open_predictions,
)
from experiments.cli.reporting import session


def compare(
    out: OutFolder,
    predictions: Predictions = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Fit on PREDICTIONS and score on these, instead of nested cross-validation.")
    ] = None,
    methods: Annotated[str, typer.Option(help="Names joined by commas, or all.")] = "all",
    only: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Leave out all other members. May be repeated.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Outer and inner folds.")] = 5,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which no method is begun.")] = None,
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    logits_of: LogitsOf = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Compare members, votes and meta-learners on rows that tuned nothing; write a leaderboard and a report."""
    with session(quiet) as show:
        from experiments.reports.comparison_files import write_comparison
        from stacking.combiners.registry import method_kind
        from stacking.comparison import compare as compare_methods
        from stacking.predictions import load_predictions

        check_out_folder(out)
        chosen = "all" if methods == "all" else [name.strip() for name in methods.split(",")]
        for name in chosen if isinstance(chosen, list) else ():
            method_kind(name)  # unknown names before anything is read
        if holdout is not None and not holdout.exists():
            raise FileNotFoundError(f"--holdout must be a bundle or a store: {holdout} does not exist.")
        opened = open_predictions(
            predictions, truth, model, ids, labels, from_logits=choose_logits(from_logits, logits_of)
        )
        held_out = None if holdout is None else load_predictions(holdout)
        if only:
            opened = opened.subset(models=only)
            held_out = None if held_out is None else held_out.subset(models=only)
        with show.progress("comparing") as progress:
            found = compare_methods(
                opened,
                chosen,
                holdout=held_out,
                n_splits=folds,
                random_state=seed,
                time_limit=time_limit,
                progress=progress,
            )
        write_comparison(found, out)
        for row in found.rows:
            show.result(f"{row.score:.4f}  {row.low:.4f} to {row.high:.4f}  {row.method}")
        for failure in found.failures:
            show.note(f"not scored: {failure.name}: {failure.reason}")
        show.result(f"constant answer: {found.constant_answer:.4f}")
        show.result(f"report: {out / 'report.html'}")
