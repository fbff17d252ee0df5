"""The commands `fit`, `predict` and `evaluate`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import (
    GivenImageRules,
    GivenPredictions,
    Metric,
    OutFolder,
    Overwrite,
    Quiet,
    Rule,
    Seed,
    check_out_folder,
    input_paths,
    is_there,
    takes_predictions,
)
from experiments.cli.reporting import session

Ensemble = Annotated[Path, typer.Argument(help="Folder that `labelstack fit` wrote.")]
Without = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Leave this member out. May be repeated.")]


@takes_predictions
def fit(
    *,
    out: OutFolder,
    method: Annotated[str, typer.Option(help="auto, or the name of one method as `compare` lists them.")] = "auto",
    time_limit: Annotated[float | None, typer.Option(help="Seconds that auto may take.")] = None,
    rule: Rule = "auto",
    metric: Metric = "micro-f1",
    image_rules: GivenImageRules,
    work: Annotated[
        Path | None,
        typer.Option(help="Keep finished labels in this folder; after a kill the same command goes on from there."),
    ] = None,
    given: GivenPredictions,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Fit an ensemble on predictions with truth, tune its thresholds, save it."""
    with session(quiet) as show:
        from experiments.reports.result_manifest import build_manifest
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.ensemble.folder import ensemble_folder
        from stacking.files.output_rules import check_folder, check_not_input
        from stacking.files.result_cache import keep_pieces
        from stacking.metrics import metric_name

        check_out_folder(out)
        inputs = given.paths
        StackingEnsemble(method, rule=rule, metric=metric).check_parameters()
        rules = image_rules.read()
        opened = given.open()
        ensemble = StackingEnsemble(
            method, random_state=seed, time_limit=time_limit, image_rules=rules, rule=rule, metric=metric
        )
        options = {**ensemble.get_params(), "image_rules": None if rules is None else rules.as_dict()}
        options["metric"] = metric_name(metric)
        request = build_manifest("fit", {"predictions": opened.fingerprint}, options)
        with ensemble_folder(out, overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                return
            if work is not None:
                check_folder(work, "--work")
                check_not_input(work, [*inputs, out], is_folder=True)
            with show.progress("fitting"), keep_pieces(work):
                ensemble.fit(opened)
            ensemble.save(output)
        show.result(str(ensemble.report_))
        show.result(f"ensemble: {out}")
        if work is not None:
            show.note(f"the finished labels in {work} are not needed any more")


@partial(takes_predictions, without=["truth"])
def predict(
    *,
    ensemble: Ensemble,
    out: Annotated[Path, typer.Option(help="CSV file for the predicted labels.")],
    run: Annotated[Path | None, typer.Option(help="Run folder whose networks score the photos of --images.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of new photos.")] = None,
    scores_out: Annotated[Path | None, typer.Option(help="Also write the scores, as a bundle (.npz).")] = None,
    csv_format: Annotated[
        str, typer.Option("--format", help="labels (id,labels joined by |) or submission (the contest's form).")
    ] = "labels",
    without: Without = None,
    rematch: Annotated[
        str,
        typer.Option(
            help="Move the thresholds until these samples get as many labels as those that the ensemble was fitted on: "
            "by one shift, or per-label. For new samples that are like those, hundreds at least."
        ),
    ] = "none",
    given: GivenPredictions,
    device: Annotated[str, typer.Option(help="For --images: auto, cpu or cuda.")] = "auto",
    overwrite: Overwrite = False,
    guard: Annotated[
        bool,
        typer.Option(
            help="Put ' before ids and labels that a spreadsheet would run as a formula; such a file is for people, "
            "not to be read back."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Label samples with a saved ensemble, from predictions or from new photos."""
    with session(quiet) as show:
        from experiments.label_table import (
            LabelTarget,
            check_run,
            ids_in_order,
            label_ids_of,
            label_samples,
            score_images,
        )
        from experiments.reports.result_manifest import build_manifest, hash_files
        from experiments.submission import choose_label_texts
        from stacking.decision_rules.rematch import REMATCHES
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.files.atomic_files import sha256_file
        from stacking.files.output_folder import hash_request

        inputs = input_paths(ensemble, run, images, *given.paths)
        target = LabelTarget(out, scores_out, csv_format, guard, overwrite=overwrite, inputs=inputs)
        target.check()
        left_out = tuple(without or ())
        options = {"without": left_out, "format": csv_format, "guard": guard, "rematch": rematch}
        if rematch not in ("none", *REMATCHES):
            raise ValueError(f"--rematch must be none, {' or '.join(REMATCHES)}: got {rematch!r}.")
        loaded = StackingEnsemble.load(ensemble)
        if rematch != "none":
            loaded.check_rematch()
        if (run is None) != (images is None):
            raise ValueError("--run and --images belong together: give the run folder and the folder of new photos.")
        label_ids = label_ids_of(loaded.labels_, given.labels) or loaded.label_ids_
        if run is not None and images is not None:
            if given.predictions is not None or given.model:
                raise ValueError("give either predictions or --run with --images, not both.")
            of_run = check_run(loaded, run, left_out)
            texts = choose_label_texts(loaded.labels_, label_ids or of_run, csv_format)
            hashes = {"run": sha256_file(run / "manifest.json"), "images": hash_request(hash_files(images))}
        else:
            opened = given.open()
            loaded.check_names(opened.models, opened.labels, without=left_out)
            label_ids = label_ids or ids_in_order(loaded.labels_, opened.labels, opened.label_ids)
            texts = choose_label_texts(loaded.labels_, label_ids, csv_format)
            hashes = {"predictions": opened.fingerprint}
        manifest = build_manifest(
            "predict",
            {"ensemble": loaded.fingerprint, **hashes},
            {**options, "labels": texts, "scores": bool(scores_out)},
        )
        if target.holds(manifest):
            show.result(f"the result of the same inputs and options is there already: {out}")
            return
        if run is not None and images is not None:
            with show.training() as progress:
                opened = score_images(run, images, device=device, progress=progress)
            unreadable = opened.extras.get("unreadable", ())
            if len(unreadable):
                show.note(f"{len(unreadable)} photos cannot be read and get no row: {', '.join(unreadable[:5])}")
        target = replace(target, texts=texts)
        counts = label_samples(loaded, opened, target, manifest, without=left_out, rematch=rematch)
        show.result(f"{counts.n_samples:,} samples, {counts.labels_per_sample:.2f} labels each: {out}")
        if scores_out is not None:
            show.result(f"scores: {scores_out}")


@takes_predictions
def evaluate(
    *,
    ensemble: Ensemble,
    out: OutFolder,
    given: GivenPredictions,
    without: Without = None,
    drop_seen: Annotated[
        bool, typer.Option("--drop-seen", help="Leave out samples that the ensemble was fitted on.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(help="What to score by, as `fit` takes it; by default what the ensemble was fitted for."),
    ] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Score a saved ensemble on truth that it has not seen; write a leaderboard and a report."""
    with session(quiet) as show:
        from experiments.reports.evaluation import evaluate_ensemble, write_evaluation
        from experiments.reports.result_manifest import build_manifest, result_folder
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.metrics import find_metric, metric_name

        check_out_folder(out)
        loaded = StackingEnsemble.load(ensemble)
        opened = given.open()
        left_out = tuple(without or ())
        if loaded.fitted_ids_ is None:
            show.note("an earlier version saved this ensemble: whether it was fitted on these samples cannot be told")
        hashes = {"ensemble": loaded.fingerprint, "predictions": opened.fingerprint}
        options = {"without": left_out, "drop_seen": drop_seen, "random_state": seed}
        options |= {} if metric is None else {"metric": metric_name(find_metric(metric))}
        request = build_manifest("evaluate", hashes, options)
        inputs = input_paths(ensemble, *given.paths)
        with result_folder(out, "evaluate", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                return
            leaderboard, report = evaluate_ensemble(
                loaded, opened, without=left_out, drop_seen=drop_seen, random_state=seed, metric=metric
            )
            if leaderboard["n_seen_dropped"]:
                show.note(f"{leaderboard['n_seen_dropped']:,} samples left out: the ensemble was fitted on them")
            write_evaluation(output, leaderboard, report, hashes, options)
        for row in leaderboard["rows"]:
            show.result(f"{row['score']:.4f}  {row['low']:.4f} to {row['high']:.4f}  {row['method']}")
        show.result(f"report: {out / 'report.html'}")
