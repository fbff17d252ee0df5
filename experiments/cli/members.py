"""The commands about members: `train`, `report`, `ablation`, `explain`, `doctor` and `learning-rate`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.completion import complete_methods
from experiments.cli.options import (
    Console,
    GivenPredictions,
    JsonConsole,
    Log,
    OutFolder,
    Overwrite,
    Seed,
    check_out_folder,
    free_name,
    input_paths,
    is_there,
)
from experiments.cli.process_options import count_processes


def train(
    console: Console,
    recipe: Annotated[Path, typer.Argument(help="TOML file with the data and the members, or a folder of photos.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command resumes an unfinished run.")],
    labels: Annotated[
        Path | None,
        typer.Argument(help="Labels of the photos in that folder: trains what labelstack init would write."),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="With photos and labels: how long the training may take here; 2 if not given.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs that train folds side by side, each with a process of its own.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The same for processes on a CPU, or for more than one on a GPU; if not given, as many as suit a CPU.",
        ),
    ] = None,
    log: Log = None,
) -> None:
    """Train the members of a recipe; write their predictions of rows that they did not see, and of the test split."""
    from base_models.training.distributed import is_first_process

    with console.session(silent=not is_first_process()) as show:
        from base_models import run_training
        from experiments.cli.init import begin_run
        from experiments.publishing.run_card import write_run_card
        from experiments.publishing.tracking import track_result, track_training, tracking
        from experiments.recipe import load_recipe

        n_processes = count_processes(gpus, processes, device)
        if labels is None:
            _refuse_other_inputs(recipe, hours)
            run, folder = load_recipe(recipe), recipe.resolve().parent
        else:
            run, folder = begin_run(recipe, labels, out, 2.0 if hours is None else hours, device, show), Path()
        where = "cuda" if gpus else device
        with show.training() as progress, tracking(log if is_first_process() else None, out) as tracker:
            heard = progress if tracker is None else track_training(tracker, out, progress)
            run_training(run, out, recipe_folder=folder, device=where, progress=heard, n_processes=n_processes)
            if not is_first_process():
                return
            if not write_run_card(out):
                show.note(f"{out / 'README.md'} is your own and stays; the run has no card")
            if tracker is not None:
                about = {"recipe": run.name, "members": ", ".join(one.name for one in run.members), "seed": run.seed}
                track_result(tracker, out, {}, about, ["README.md", "recipe.toml", "manifest.json"])
        show.result(f"run: {out}")
        kind = "out-of-fold" if run.folds.scheme == "out-of-fold" else "holdout"
        show.result(f"{kind} predictions: {out / 'oof'}")
        if (out / "test").is_dir():
            show.result(f"test predictions: {out / 'test'}")
        show.next("report", out, "--out", free_name(f"{out.name}-report"))


def _refuse_other_inputs(recipe: Path, hours: float | None) -> None:
    """Refuse photos without labels, and a time limit for a recipe."""
    if recipe.is_dir():
        raise ValueError(
            f"train takes a recipe, or photos and their labels: got the folder {str(recipe)!r} alone; add the file of "
            "labels, as in labelstack train photos/ labels.csv --out run."
        )
    if hours is not None:
        raise ValueError("--hours is for photos and labels: a recipe says itself what is trained; leave it out.")


def ablation(
    console: JsonConsole,
    run: Annotated[Path, typer.Argument(help="Run folder whose members differ from a baseline in one setting each.")],
    baseline: Annotated[str, typer.Option(help="The member that the others are held against.")],
    out: OutFolder,
    overwrite: Overwrite = False,
) -> None:
    """Say what each change of a recipe brings: the members of a run beside one of them, on its test split."""
    with console.session() as show:
        from experiments.reports.ablation import REQUIRED_FILES, measure_ablation, write_ablation
        from experiments.reports.result_manifest import build_manifest, hash_files, result_folder
        from stacking.report import Cell, Column
        from stacking.report.writing import write_interval

        check_out_folder(out)
        request = build_manifest("ablation", hash_files(run, REQUIRED_FILES), {"baseline": baseline})
        show.next("compare", run / "oof", "--out", free_name("comparison"))
        with result_folder(out, "ablation", overwrite=overwrite, inputs=[run], request=request) as output:
            if is_there(output, show):
                return
            found = measure_ablation(run, baseline)
            write_ablation(found, output)
        rows: list[list[Cell]] = [
            [row.member, row.score, row.gain, write_interval(row.gain_low, row.gain_high, signed=True)]
            for row in found.rows
        ]
        show.data(
            {"out": out, "rows": [dict(zip(("member", "score", "gain", "interval"), row, strict=True)) for row in rows]}
        )
        columns: list[Column | str] = [
            "member",
            Column("micro-F1", "score"),
            Column("to the baseline", "gain"),
            Column("95 % interval", "interval"),
        ]
        show.table(columns, [[*row[:2], None, ""] if row[0] == baseline else row for row in rows])
        show.result(f"report: {out / 'ablation.html'}")


def report(
    console: Console,
    run: Annotated[Path, typer.Argument(help="Run folder, as labelstack train left it.")],
    out: OutFolder,
    methods: Annotated[
        str,
        typer.Option(autocompletion=complete_methods, help="Ensembles to compare: names joined by commas, or all."),
    ] = "all",
    edges: Annotated[
        str, typer.Option(help="Training positives with which the bands of rare and frequent labels begin.")
    ] = "1,20,200,2000",
    data: Annotated[
        Path | None, typer.Option(help="Folder that the recipe's paths start from, if the photos have moved.")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which no method is started.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Report a training run on one page: members, curves, ensembles, thresholds, labels, photos, errors and cost."""
    with console.session() as show:
        from experiments.reports.result_manifest import build_manifest, hash_files, result_folder
        from experiments.reports.run_report import RUN_FILES, RunReportPlan, report_run

        check_out_folder(out)
        chosen = "all" if methods == "all" else [name.strip() for name in methods.split(",")]
        plan = RunReportPlan(chosen, time_limit, _split_edges(edges), data, seed)
        options = {"methods": chosen, "edges": plan.edges, "time_limit": time_limit, "data": data, "random_state": seed}
        request = build_manifest("report", hash_files(run, RUN_FILES), options)
        inputs = input_paths(run, data)
        show.next("fit", run / "oof", "--out", free_name("ensemble"))
        with result_folder(out, "report", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                return
            with show.progress("comparing") as progress:
                found = report_run(run, plan, progress=progress)
            found.write(output)
        show.result(found.comparison.verdict())
        show.result(f"report: {out / 'report.html'}")


def _split_edges(text: str) -> tuple[int, ...]:
    """Read whole numbers joined by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"--edges must be whole numbers joined by commas: got {text!r}.")
    return tuple(int(part) for part in parts)


def explain(
    console: Console,
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
    overwrite: Overwrite = False,
) -> None:
    """Show which places of photos speak for a label: pictures, maps and a report."""
    with console.session() as show:
        from dataclasses import asdict

        from experiments.reports.explaining import DEFAULT_TOP, ExplainPlan, explain_images
        from experiments.reports.result_manifest import build_manifest, hash_files, result_folder

        if label and top is not None:
            raise ValueError("give either --label or --top, not both: --top takes the labels with the highest scores.")
        plan = ExplainPlan(
            member,
            tuple(label or ()),
            DEFAULT_TOP if top is None else top,
            method,  # type: ignore[arg-type]  # the library checks it
            device,
        )
        check_out_folder(out)
        request = build_manifest("explain", hash_files(run, ["manifest.json"]) | hash_files(images), asdict(plan))
        with result_folder(out, "explain", overwrite=overwrite, inputs=[run, images], request=request) as output:
            is_new = not is_there(output, show)
            if is_new:
                with show.progress("explaining photos") as progress:
                    found = explain_images(run, images, output, plan, progress)
        show.next("explain", run, "--images", images, "--label", "LABEL", "--out", free_name("explanation"))
        if not is_new:
            return
        n_photos, n_asked = found.columns.shape
        how = f"{found.explainer.method} of {found.explainer.member.name}"
        if found.unreadable:
            show.note(f"{len(found.unreadable)} photos cannot be read: {', '.join(found.unreadable[:5])}")
        show.result(f"{n_photos:,} photos, {n_asked} labels each, by {how}")
        show.result(f"pictures: {out / 'pictures'}")
        show.result(f"report: {out / 'report.html'}")


def doctor(
    console: Console,
    target: Annotated[
        Path | None, typer.Argument(help="Also estimate time and memory: a recipe (.toml), or predictions with truth.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="The same for a recipe, whatever its name ends in.")] = None,
    out: Annotated[Path, typer.Option(help="Folder whose disk will be written to.")] = Path(),
    device: Annotated[str, typer.Option(help="Where a recipe is tried: auto, cpu, cuda or cuda:N.")] = "auto",
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs that would train its folds side by side.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that would; as many as `train` would start if not given.")
    ] = None,
) -> None:
    """Show versions, devices, threads, memory and disk; estimate what a recipe or a set of predictions costs here."""
    with console.session() as show:
        from experiments.estimates.doctor import as_text, examine

        if target is not None and recipe is not None:
            raise ValueError(f"give one recipe: got {str(target)!r} and --recipe {str(recipe)!r}.")
        if target is not None and target.suffix.lower() == ".toml":
            target, recipe = None, target
        if recipe is None and (gpus is not None or processes is not None):
            raise ValueError("--gpus and --processes are for a recipe: leave them out.")
        findings = []
        if target is not None:  # first, as looking for devices loads torch, whose memory fit and compare do without
            from experiments.estimates.estimate_predictions import estimate_predictions

            opened = GivenPredictions(target).open()
            show.note("trying every method on a few rows …")
            findings = estimate_predictions(opened)
        for line in as_text([*examine(out), *findings]):
            show.result(line)
        if recipe is not None:
            from base_models.manifest import load_manifest
            from experiments.estimates.estimate import estimate
            from experiments.recipe import load_recipe

            run = load_recipe(recipe)
            manifest = load_manifest(run.data, recipe.resolve().parent)
            show.note("training every member on a few batches …")
            n_processes = count_processes(gpus, processes, device)
            for line in as_text(estimate(run, manifest, "cuda" if gpus else device, out, n_processes)):
                show.result(line)
            show.next("train", recipe, "--out", free_name("run"))
        elif target is not None:
            show.next("check", target)
        else:
            show.next("demo", "--out", free_name("demo-run"))


def learning_rate(
    console: JsonConsole,
    recipe: Annotated[Path, typer.Argument(help="TOML file with the data and the members.")],
    out: OutFolder,
    member: Annotated[
        list[str] | None, typer.Option(help="Member to try. May be repeated; all members if not given.")
    ] = None,
    lowest: Annotated[float, typer.Option(help="First learning rate.")] = 1e-5,
    highest: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Training steps between them, each with a batch of its own.")] = 100,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Let each member train with a growing learning rate; draw the loss against it and suggest one (Smith 2017)."""
    with console.session() as show:
        from dataclasses import asdict

        from base_models.manifest import load_manifest
        from experiments.recipe import load_recipe
        from experiments.reports.describing import hash_data
        from experiments.reports.learning_rates import (
            RATE_COLUMNS,
            RateRangePlan,
            rate_range_report,
            rate_row,
            try_learning_rates,
            write_rate_ranges,
        )
        from experiments.reports.result_manifest import build_manifest, result_folder
        from stacking.files.atomic_files import sha256_file

        check_out_folder(out)
        run, plan = load_recipe(recipe), RateRangePlan(tuple(member or ()), lowest, highest, steps, device)
        manifest = load_manifest(run.data, recipe.resolve().parent)
        inputs = {"data": hash_data(manifest), "recipe": sha256_file(recipe)}
        request = build_manifest("learning-rate", inputs, asdict(plan))
        show.next("train", recipe, "--out", free_name("run"))
        with result_folder(out, "learning-rate", overwrite=overwrite, inputs=[recipe], request=request) as output:
            if is_there(output, show):
                return
            with show.progress("training steps") as progress:
                found = try_learning_rates(run, manifest, plan, progress)
            write_rate_ranges(found, rate_range_report(found, run.name), output, request)
        members = [
            {"member": one.member, "suggested": one.suggestion, "lowest_loss_at": one.lowest_at} for one in found
        ]
        show.data({"out": out, "members": members})
        show.table(["member", *RATE_COLUMNS], [list(rate_row(one).values()) for one in found])
        for one in found:
            show.note(f"{one.member}: {one.remark()}")
        show.result(f"report: {out / 'report.html'}")
