"""The commands `fit`, `predict` and `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import (
    FromLogits,
    Ids,
    Labels,
    Models,
    OutFolder,
    Predictions,
    Quiet,
    Seed,
    Truth,
    open_predictions,
)
from experiments.cli.reporting import session

Ensemble = Annotated[Path, typer.Argument(help="Folder that `labelstack fit` wrote.")]
Without = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Leave this member out. May be repeated.")]


def fit(
    out: OutFolder,
    predictions: Predictions = None,
    method: Annotated[str, typer.Option(help="auto, or the name of one method as `compare` lists them.")] = "auto",
    time_limit: Annotated[float | None, typer.Option(help="Seconds that auto may take.")] = None,
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Fit an ensemble on predictions with truth, tune its thresholds, save it."""
    with session(quiet) as show:
        from stacking.ensemble import StackingEnsemble

        opened = open_predictions(predictions, truth, model, ids, labels, from_logits=from_logits)
        ensemble = StackingEnsemble(method=method, random_state=seed, time_limit=time_limit)
        with show.progress("fitting"):
            ensemble.fit(opened)
        ensemble.save(out)
        show.result(str(ensemble.report_))
        show.result(f"ensemble: {out}")


def predict(
    ensemble: Ensemble,
    out: Annotated[Path, typer.Option(help="CSV file for the predicted labels.")],
    predictions: Predictions = None,
    run: Annotated[Path | None, typer.Option(help="Run folder whose networks score the photos of --images.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of new photos.")] = None,
    scores_out: Annotated[Path | None, typer.Option(help="Also write the scores, as a bundle (.npz).")] = None,
    csv_format: Annotated[
        str, typer.Option("--format", help="labels (id,labels joined by |) or submission (the contest's form).")
    ] = "labels",
    without: Without = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    device: Annotated[str, typer.Option(help="For --images: auto, cpu or cuda.")] = "auto",
    guard: Annotated[bool, typer.Option(help="Put ' before names that a spreadsheet would run as a formula.")] = True,
    quiet: Quiet = False,
) -> None:
    """Label samples with a saved ensemble, from predictions or from new photos."""
    with session(quiet) as show:
        from experiments.labeling import check_targets, label_samples, score_images
        from stacking.ensemble import StackingEnsemble

        check_targets(out, scores_out, csv_format)
        loaded = StackingEnsemble.load(ensemble)
        if (run is None) != (images is None):
            raise ValueError("--run and --images belong together: give the run folder and the folder of new photos.")
        if run is not None and images is not None:
            if predictions is not None or model:
                raise ValueError("give either predictions or --run with --images, not both.")
            with show.training() as progress:
                opened = score_images(run, images, device=device, progress=progress)
            unreadable = opened.extras.get("unreadable", ())
            if len(unreadable):
                show.note(f"{len(unreadable)} photos cannot be read and get no row: {', '.join(unreadable[:5])}")
        else:
            opened = open_predictions(predictions, None, model, ids, labels, from_logits=from_logits)
        counts = label_samples(
            loaded, opened, out, scores_out=scores_out, csv_format=csv_format, without=tuple(without or ()), guard=guard
        )
        show.result(f"{counts.n_samples:,} samples, {counts.labels_per_sample:.2f} labels each: {out}")
        if scores_out is not None:
            show.result(f"scores: {scores_out}")


def evaluate(
    ensemble: Ensemble,
    out: OutFolder,
    predictions: Predictions = None,
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    without: Without = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Score a saved ensemble on truth that it has not seen; write a leaderboard and a report."""
    with session(quiet) as show:
        from experiments.evaluation import evaluate_ensemble, write_evaluation
        from stacking.ensemble import StackingEnsemble

        loaded = StackingEnsemble.load(ensemble)
        opened = open_predictions(predictions, truth, model, ids, labels, from_logits=from_logits)
        left_out = tuple(without or ())
        leaderboard, report = evaluate_ensemble(loaded, opened, without=left_out, random_state=seed)
        inputs = {"ensemble": loaded.fingerprint, "predictions": opened.fingerprint}
        write_evaluation(out, leaderboard, report, inputs, {"without": left_out, "random_state": seed})
        for row in leaderboard["rows"]:
            show.result(f"{row['score']:.4f}  {row['low']:.4f} to {row['high']:.4f}  {row['method']}")
        show.result(f"report: {out / 'report.html'}")
