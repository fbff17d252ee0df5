"""The commands `fit`, `predict` and `evaluate`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.completion import complete_method, complete_metric
from experiments.cli.options import (
    GivenImageRules,
    GivenPredictions,
    JsonConsole,
    LabelRows,
    Log,
    Metric,
    OutFolder,
    Overwrite,
    Rule,
    Seed,
    check_out_folder,
    free_name,
    input_paths,
    is_there,
    warn_of_faults,
)
from experiments.cli.process_options import count_processes
from experiments.cli.reporting import Reporter

if TYPE_CHECKING:
    from experiments.labeling.label_table import LabelCounts, PhotoScoring
    from experiments.labeling.sample_sheet import SampleSheet
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import PredictionSet
    from stacking.report import Cell

Ensemble = Annotated[Path, typer.Argument(help="Folder that `labelstack fit` wrote.")]
Without = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Leave this member out. May be repeated.")]


def _check_rematch_option(rematch: str, thresholds: Path | None) -> None:
    """Raise where ``--rematch`` is unknown, or ``--thresholds`` says something else."""
    from stacking.decision_rules.rematch import REMATCHES

    if rematch not in ("none", *REMATCHES):
        raise ValueError(f"--rematch must be none, {' or '.join(REMATCHES)}: got {rematch!r}.")
    if thresholds is not None and rematch != "none":
        raise ValueError("give either --thresholds or --rematch, not both: each says where to decide.")


def _check_work_options(
    images: Path | None, work: Path | None, packed: Path | None, how: bool | int | None = None
) -> None:
    """Raise where options for photos are given without photos, or a folder cannot be worked in."""
    if images is None and (work is not None or packed is not None):
        raise ValueError("--work and --packed are for the photos of --images: leave them out.")
    if images is None and how:
        raise ValueError("--gpus, --processes and --fast are for the photos of --images: leave them out.")
    if work is not None or packed is not None:
        from base_models.packed.photo_pack import PACKS
        from base_models.runs.scored_chunks import WORK
        from stacking.files.output_rules import check_work_folder
        from stacking.files.remote import path_of

        for folder, kind in ((work, WORK), (None if packed is None else path_of(packed), PACKS)):
            if folder is not None:
                check_work_folder(folder, kind, inputs=[images])


def fit(
    *,
    console: JsonConsole,
    out: OutFolder,
    method: Annotated[
        str,
        typer.Option(autocompletion=complete_method, help="auto, or one method that `labelstack methods` lists."),
    ] = "auto",
    time_limit: Annotated[float | None, typer.Option(help="Seconds that auto may take.")] = None,
    rule: Rule = "auto",
    metric: Metric = "micro-f1",
    image_rules: GivenImageRules,
    work: Annotated[
        Path | None,
        typer.Option(help="Keep finished labels in this folder; after a kill the same command goes on from there."),
    ] = None,
    given: GivenPredictions,
    label_rows: LabelRows = None,
    log: Log = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Fit an ensemble on predictions with truth, tune its thresholds, save it."""
    with console.session() as show:
        from experiments.publishing.tracking import track_result, tracking
        from experiments.reports.fit_report import describe_fit
        from experiments.reports.report_files import write_report
        from experiments.reports.result_manifest import build_manifest
        from stacking.combiners.label_rows import check_label_rows_teach
        from stacking.ensemble.card import measure_figures
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.ensemble.folder import ensemble_folder
        from stacking.files.output_rules import check_folder, check_not_input
        from stacking.files.result_cache import caching
        from stacking.metrics import metric_name
        from stacking.predictions.forms.label_rows import attach_label_rows
        from stacking.process.progress import report_progress

        check_out_folder(out)
        inputs = [*given.paths, *input_paths(label_rows)]
        StackingEnsemble(method, rule=rule, metric=metric).check_parameters()
        if label_rows is not None:
            check_label_rows_teach([method])
        rules = image_rules.read()
        opened = attach_label_rows(given.open(), label_rows)
        ensemble = StackingEnsemble(
            method, random_state=seed, time_limit=time_limit, image_rules=rules, rule=rule, metric=metric
        )
        options = {**ensemble.get_params(), "image_rules": None if rules is None else rules.as_dict()}
        options["metric"] = metric_name(metric)
        request = build_manifest("fit", {"predictions": opened.fingerprint}, options)
        show.next("predict", out, *given.stand_ins(opened.models), "--out", free_name("labels.csv"))
        with ensemble_folder(out, overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                show.data({"out": out, **StackingEnsemble.load(out).report_})
                return
            warn_of_faults(opened, given, show)
            if work is not None:
                check_folder(work, "--work")
                check_not_input(work, [*inputs, out], is_folder=True)
            with tracking(log, out) as tracker:
                with show.progress("fitting") as progress, report_progress(progress), caching(work):
                    _, tuned_on = ensemble.fit_out_of_fold(opened)
                write_report(describe_fit(ensemble, request), output)
                ensemble.figures_ = measure_figures(ensemble, tuned_on, try_without_members=True)
                ensemble.save(output)
                if tracker is not None:
                    scores = {ensemble.report_.metric_title: ensemble.report_.estimate}
                    track_result(tracker, out, scores, options, ["README.md", "report.html", "report.md"])
        show.data({"out": out, **ensemble.report_})
        _show_fit(ensemble, show)
        show.result(f"report: {out / 'report.html'}")
        show.result(f"ensemble: {out}")
        if work is not None:
            show.note(f"the finished labels in {work} are not needed any more")


def _show_fit(ensemble: "StackingEnsemble", show: Reporter) -> None:
    """Write what was chosen: the race and the rules as tables, the rest as lines."""
    from experiments.reports.fit_report import behind_the_best, gain_titles, rules_best_first
    from stacking.report import Column
    from stacking.report.writing import write_score

    chosen = ensemble.report_
    entries = getattr(ensemble.combiner_, "entries_", None)
    title, estimate = chosen.metric_title, chosen.estimate
    worth = "nothing could be held out" if estimate is None else f"cross-fitted {title} {write_score(estimate)}"
    if not entries:
        show.result(str(chosen))
        return
    columns: list[Column | str] = ["method", Column(title, "score"), Column("behind the best", "score")]
    columns += [Column("± s.e.", "score"), Column("time", "seconds"), Column("share", "percent"), "left out because"]
    left_out = any(one["reason"] for one in entries)
    rows: list[list[Cell]] = [
        [one["name"], one["score"], *behind_the_best(one), one["seconds"], one["weight"], one["reason"]]
        for one in entries
    ]
    rows = [row[: 7 if left_out else 6] for row in rows]
    show.table(columns[: 7 if left_out else 6], rows)
    show.result("")
    show.table(["rule", Column(chosen.rule_title, "score")], [list(pair) for pair in rules_best_first(ensemble)])
    show.result("")
    for number, note in enumerate(chosen["notes"]):
        (show.detail if number else show.result)(str(note))  # the first says what was chosen and why
    steps = [[step["cause"], step["gain"], step["explanation"]] for step in chosen.get("gain_steps", [])]
    gain, start = gain_titles(ensemble)
    show.table(["step", Column(gain, "gain"), start], steps)
    if chosen["n_never_predicted"]:
        show.result(f"{chosen['n_never_predicted']:,} of {chosen['n_labels']:,} labels are never predicted")
    show.result(f"method {chosen['method']}, decision rule {chosen['rule']}: {worth}")


def _say_filling(show: Reporter, sheet: "SampleSheet | None", counts: "LabelCounts") -> None:
    """Say how many rows a contest's file has, and what was filled."""
    if sheet is not None:
        for note in counts.filling.notes(len(sheet.ids)):
            show.result(note)
        show.result(f"{len(sheet.ids):,} rows with the ids that are asked for, each once")


def _check_photo_options(run: Path | None, images: Path | None, given: GivenPredictions) -> None:
    """Raise unless photos come with their run, and instead of predictions."""
    if (run is None) != (images is None):
        raise ValueError("--run and --images belong together: give the run folder and the folder of new photos.")
    if run is not None and (given.predictions is not None or given.model):
        raise ValueError("give either predictions or --run with --images, not both.")


def _choose_sheet(csv_format: str, like: Path | None, given: GivenPredictions) -> tuple[Path | None, GivenPredictions]:
    """Find the ids that a submission is to have: of `--like`, or `--ids`, which matrices need for their rows too."""
    if csv_format != "submission":
        if like is not None:
            raise ValueError("--like is for --format submission: add it, or leave --like out.")
        return None, given
    nameless = any(value.lower().endswith(".npy") for value in given.model or ())
    if like is None and not nameless:
        like, given = given.ids, replace(given, ids=None)
    return like, given


def predict(
    *,
    console: JsonConsole,
    ensemble: Ensemble,
    out: Annotated[Path, typer.Option(help="File for the predicted labels: CSV, or JSON for another tool.")],
    run: Annotated[Path | None, typer.Option(help="Run folder whose networks score the photos of --images.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of new photos.")] = None,
    scores_out: Annotated[
        Path | None, typer.Option(help="Also write the scores: .npz (a bundle), .csv, .parquet or .feather.")
    ] = None,
    csv_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="labels (id,labels joined by |), submission (the contest's form, see --like), label-studio (tasks "
            "with predictions to accept or change) or fiftyone (labels.json with confidences).",
        ),
    ] = "labels",
    like: Annotated[
        Path | None,
        typer.Option(
            help="With --format submission: the contest's sample file, whose ids, order and header are kept; columns "
            "that are labels get probabilities. Or a list of ids, as --ids."
        ),
    ] = None,
    without: Without = None,
    rematch: Annotated[
        str,
        typer.Option(
            help="Move the thresholds until these samples get as many labels as those that the ensemble was fitted on: "
            "by one shift, or per-label. For new samples that are like those, hundreds at least."
        ),
    ] = "none",
    thresholds: Annotated[
        Path | None,
        typer.Option(
            help="Decide by this thresholds file, as the page of thresholds of `labelstack evaluate` gives it."
        ),
    ] = None,
    given: Annotated[GivenPredictions, "truth", "groups"],  # these two it does not take
    device: Annotated[str, typer.Option(help="For --images: auto, cpu or cuda.")] = "auto",
    work: Annotated[
        Path | None,
        typer.Option(
            help="For --images: keep decoded photos and finished scores in this folder, a chunk in memory; after a "
            "kill the same command goes on from there. Many photos take OUT.work, which is deleted at the end."
        ),
    ] = None,
    packed: Annotated[
        Path | None,
        typer.Option(help="For --images: a folder of `labelstack data pack-photos`; what it lacks is added to it."),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="For --images: processes that decode; -1 starts as many as suit.", min=-1)
    ] = -1,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="For --images: GPUs that share the photos, each with a process of its own."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="The same for processes on a CPU, or for more than one on a GPU.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="For --images on a CPU: networks trained in float32 score in bfloat16 where a trial on these photos "
            "finds that faster and no score moved by more than .01.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    guard: Annotated[
        bool,
        typer.Option(
            help="Put ' before ids and labels that a spreadsheet would run as a formula; such a file is for people, "
            "not to be read back."
        ),
    ] = False,
) -> None:
    """Label samples with a saved ensemble, from predictions or from new photos."""
    with console.session() as show:
        from experiments.labeling.label_table import (
            LabelTarget,
            PhotoScoring,
            check_run,
            clear_work_of,
            ids_in_order,
            label_ids_of,
            label_samples,
            label_texts,
            own_work_folder,
        )
        from experiments.labeling.sample_sheet import read_sheet
        from experiments.reports.result_manifest import build_manifest, hash_files
        from stacking.decision_rules.threshold_file import read_thresholds
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.files.atomic_files import sha256_file
        from stacking.files.output_folder import hash_request

        inputs = input_paths(ensemble, run, images, thresholds, like, *given.paths)
        _check_work_options(images, work, packed, gpus or processes or fast)
        n_processes = count_processes(gpus, processes, device) or 1
        wanted, given = _choose_sheet(csv_format, like, given)
        target = LabelTarget(out, scores_out, csv_format, guard, overwrite=overwrite, inputs=inputs, images=images)
        target.check()
        left_out = tuple(without or ())
        options = {"without": left_out, "format": csv_format, "guard": guard, "rematch": rematch}
        options |= {"fast": True} if fast else {}
        _check_rematch_option(rematch, thresholds)
        loaded = StackingEnsemble.load(ensemble)
        if rematch != "none":
            loaded.check_rematch()
        if thresholds is not None:
            loaded.thresholds_ = read_thresholds(thresholds, loaded.labels_)
        _check_photo_options(run, images, given)
        label_ids = label_ids_of(loaded.labels_, given.labels) or loaded.label_ids_
        if run is not None and images is not None:
            label_ids = label_ids or check_run(loaded, run, left_out)
            hashes = {"run": sha256_file(run / "manifest.json"), "images": hash_request(hash_files(images))}
        else:
            opened = given.open()
            loaded.check_names(opened.models, opened.labels, without=left_out)
            label_ids = label_ids or ids_in_order(loaded.labels_, opened.labels, opened.label_ids)
            hashes = {"predictions": opened.fingerprint}
        sheet = None if wanted is None else read_sheet(wanted, loaded.labels_, label_ids)
        is_list = sheet is None or sheet.places is None
        texts = label_texts(loaded.labels_, label_ids, csv_format) if is_list else tuple(loaded.labels_)
        hashes |= {} if wanted is None else {"like": sha256_file(wanted)}
        manifest = build_manifest(
            "predict",
            {"ensemble": loaded.fingerprint, **hashes},  # the thresholds are part of the fingerprint
            {**options, "labels": texts, "scores": bool(scores_out)},
        )
        left_out_again = [word for name in left_out for word in ("--without", name)]
        held_out = _held_out_of(run, loaded) if run is not None else _with_truth(given, opened)
        show.next("evaluate", ensemble, *held_out, *left_out_again, "--out", free_name("evaluation"))
        if target.holds(manifest):
            show.result(f"the result of the same inputs and options is there already: {out}")
            show.data({"out": out, "scores_out": scores_out, "is_there_already": True})
            return
        own_work: Path | None = None
        if run is not None and images is not None:
            own_work = own_work_folder(out, images, n_processes) if work is None else None
            where = "cuda" if gpus else device
            scoring = PhotoScoring(run, images, None, work or own_work, packed, where, workers, n_processes)
            scoring = replace(scoring, precision="auto" if fast else "trained")
            opened, left_out = _score_new_photos(loaded, scoring, left_out, show)
        target = replace(target, texts=texts, sheet=sheet)
        counts = label_samples(loaded, opened, target, manifest, without=left_out, rematch=rematch)
        if own_work is not None:
            clear_work_of(own_work)
        said = {"n_samples": counts.n_samples, "labels_per_sample": counts.labels_per_sample}
        filled = {} if sheet is None else {"n_rows": len(sheet.ids), **vars(counts.filling)}
        show.data({"out": out, "scores_out": scores_out, **said, **filled})
        _say_filling(show, sheet, counts)
        show.result(f"{counts.n_samples:,} samples, {counts.labels_per_sample:.2f} labels each: {out}")
        if scores_out is not None:
            show.result(f"scores: {scores_out}")


def _with_truth(given: GivenPredictions, opened: "PredictionSet") -> list[str]:
    """Return the words for predictions with their truth; where that is not known, a word in capitals stands for it."""
    return given.arguments if opened.y_true is not None else [*given.arguments, "--truth", "TRUTH.csv"]


def _held_out_of(run: Path, ensemble: "StackingEnsemble") -> list[str]:
    """Return the words for photos that no network of a run was trained on: its test split, where it has one."""
    from experiments.several_sets import store_of
    from stacking.predictions import load_predictions

    held_out = store_of(run, "test")
    if held_out != run:
        scored = load_predictions(held_out)
        if scored.y_true is not None and set(ensemble.models_) <= set(scored.models):
            return [str(held_out)]
    return ["PREDICTIONS", "--truth", "TRUTH.csv"]


def _score_new_photos(
    ensemble: "StackingEnsemble", scoring: "PhotoScoring", without: tuple[str, ...], show: Reporter
) -> "tuple[PredictionSet, tuple[str, ...]]":
    """Score photos by the members that have a say; also return those that were not asked."""
    from experiments.labeling.label_table import score_images

    needed = ensemble.members_needed(without=without)
    if idle := [name for name in ensemble.models_ if name not in needed and name not in without]:
        n_models = len(ensemble.models_)
        show.note(f"{len(idle)} of {n_models} members have no weight and are not asked: {', '.join(idle)}")
    with show.training() as progress:
        opened = score_images(replace(scoring, models=needed), progress=progress)
    unreadable = opened.extras.get("unreadable", ())
    if len(unreadable):
        show.note(f"{len(unreadable)} photos cannot be read and get no row: {', '.join(unreadable[:5])}")
    for tried in map(json.loads, opened.extras.get("arithmetic", ())):
        show.note(
            f"{tried['network']} scores in {tried['precision']}: {tried['photos']} photos took "
            f"{tried['float32 ms']:.0f} ms in float32 and {tried['bfloat16 ms']:.0f} in bfloat16, scores differ by "
            f"{tried['largest difference']:.4f} at most"
        )
    return opened, tuple(name for name in ensemble.models_ if name not in needed)


def evaluate(
    *,
    console: JsonConsole,
    ensemble: Ensemble,
    out: OutFolder,
    given: GivenPredictions,
    without: Without = None,
    drop_seen: Annotated[
        bool, typer.Option("--drop-seen", help="Leave out samples that the ensemble was fitted on.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_metric,
            help="What to score by, as `fit` takes it; by default what the ensemble was fitted for.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Score a saved ensemble on truth that it has not seen; write a leaderboard and a report."""
    with console.session() as show:
        from experiments.reports.evaluation import evaluate_ensemble
        from experiments.reports.result_manifest import build_manifest, result_folder
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.metrics import find_metric, metric_name
        from stacking.report import Column
        from stacking.report.writing import write_interval

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
        show.next("predict", ensemble, *given.stand_ins(opened.models), "--out", free_name("labels.csv"))
        with result_folder(out, "evaluate", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show, "leaderboard.json"):
                return
            found = evaluate_ensemble(
                loaded, opened, without=left_out, drop_seen=drop_seen, random_state=seed, metric=metric
            )
            leaderboard = found.leaderboard
            if leaderboard["n_seen_dropped"]:
                show.note(f"{leaderboard['n_seen_dropped']:,} samples left out: the ensemble was fitted on them")
            replace(found, options=options).write(output)
        show.data({"out": out, **json.loads((out / "leaderboard.json").read_text(encoding="utf-8"))})
        show.table(
            ["method", "kind", Column(found.metric_title, "score"), Column("95 % interval", "interval")],
            [
                [row["method"], row["kind"], row["score"], write_interval(row["low"], row["high"])]
                for row in leaderboard["rows"]
            ],
        )
        if found.needs_decisions:
            show.result("members and their mean answer at the threshold .5")
        page = out / "thresholds.html"  # none for a rule that decides sample by sample
        show.result(f"report: {out / 'report.html'}{f'; to try other thresholds: {page}' if page.exists() else ''}")
