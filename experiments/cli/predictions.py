"""The commands about predictions: `pack`, `optimize` and `compare`."""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.completion import complete_methods, complete_metric, complete_optimizer, complete_rules
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
    split_model_option,
    warn_of_faults,
)
from experiments.cli.reporting import Reporter

if TYPE_CHECKING:
    from experiments.weight_study import StudyPlan
    from stacking.predictions import PredictionSet

STUDY_SHARE = 0.7
"""Rows that choose weights and thresholds in a study without a holdout; the others score them. A choice."""
Add = Annotated[list[str] | None, typer.Option(metavar="[NAME=]FILE", help="Add this model. May be repeated.")]
Drop = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Leave this model out. May be repeated.")]


def _share_out(
    logits: bool | tuple[str, ...], added: Collection[str]
) -> tuple[bool | tuple[str, ...], bool | tuple[str, ...]]:
    """Say which of the opened and which of the added scores are logits; --from-logits is about the added if any."""
    if isinstance(logits, bool):
        return logits and not added, logits and bool(added)
    return tuple(name for name in logits if name not in added), tuple(name for name in logits if name in added)


def pack(
    *,
    console: JsonConsole,
    out: Annotated[Path, typer.Option(help="A folder for a store, or a file ending in .npz for a bundle.")],
    given: GivenPredictions,
    add: Add = None,
    drop: Drop = None,
    by_label: Annotated[bool, typer.Option("--by-label", help="Add a copy that is fast to read per label.")] = False,
    split: Annotated[float | None, typer.Option(help="Share of rows for --out. No group is split.")] = None,
    rest_out: Annotated[Path | None, typer.Option(help="Where the rows that --split holds back go.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store or bundle that is there.")] = False,
    seed: Seed = 0,
) -> None:
    """Convert predictions of any form to a store or bundle; add or drop models; hold rows back.

    With --out naming the store that is read, models are added and dropped in place, and its truth, ids, labels
    and groups become those that are given. With --add, --from-logits is about the added files.
    """
    with console.session() as show:
        from experiments.packing import PackingPlan, repack
        from stacking.files.journal import finish_interrupted
        from stacking.report.writing import write_count

        for place in (out, rest_out):
            if place is not None:  # before the files of a store that is changed in place are opened by their names
                finish_interrupted(place)
        added = dict(split_model_option(value) for value in add or [])
        of_opened, of_added = _share_out(given.logits, added)
        opened = given.open(from_logits=of_opened)
        inputs = (*given.paths, *input_paths(add))
        plan = PackingPlan(added, of_added, tuple(drop or ()), by_label, overwrite, split, rest_out, seed, inputs)
        written = list(repack(opened, out, plan, source=given.predictions))
        rows = [[str(path), packed.n_models, packed.n_samples, packed.n_labels] for path, packed in written]
        keys = ("path", "n_models", "n_samples", "n_labels")
        show.data({"written": [dict(zip(keys, row, strict=True)) for row in rows]})
        for path, packed in written:
            counts = ((packed.n_models, "model"), (packed.n_samples, "sample"), (packed.n_labels, "label"))
            size = " × ".join(write_count(number, noun) for number, noun in counts)
            show.result(f"{size}: {path}")
        show.next("check", out, *(["--test", rest_out] if rest_out is not None else []))


def optimize(
    *,
    console: JsonConsole,
    out: OutFolder,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=complete_optimizer,
            metavar="NAME[:OPTION=VALUE,…]",
            help="greedy (if none is given), hill-climbing, pso:n_iterations=2000, slsqp or another that `labelstack "
            "optimizers` lists. May be repeated.",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="micro-f1-best (one threshold; if none is given), micro-f1-half (.5), micro-f1-per-label, macro-f1, "
            "mean-average-precision or log-loss. May be repeated."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Search from so many seeds, from --seed on.")] = 1,
    holdout: Annotated[
        Path | None, typer.Option(help="Score on these rows; searches of several kinds hold 30 % back otherwise.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_metric,
            help="Search for this metric, as `fit` takes it, where no --objective is given, and score by it.",
        ),
    ] = None,
    mean: Annotated[str, typer.Option(help="arithmetic or geometric.")] = "arithmetic",
    start: Annotated[str, typer.Option(help="Weights to start from: uniform, convex or greedy.")] = "uniform",
    max_members: Annotated[int | None, typer.Option(help="Most members with weight.")] = None,
    member_cost: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COST", help="What a member costs, any unit. Once per member.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Most that members with weight may cost together.")] = None,
    given: GivenPredictions,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Search the weights of a vote; write weights.json, history.csv and history.svg.

    Several optimizers, objectives or seeds, or a holdout, make a study: every vote is scored on rows that chose neither
    its weights nor its threshold, and a report shows scores, costs and courses.
    """
    with console.session() as show:
        from experiments.reports.result_manifest import build_manifest, result_folder
        from experiments.weight_search import search_weights
        from experiments.weight_study import StudyPlan, split_optimizer
        from stacking.metrics import find_metric
        from stacking.process.progress import report_progress
        from stacking.report import Column
        from stacking.report.writing import write_score

        check_out_folder(out)
        opened = given.open()
        limits = {
            "start": start,
            "max_members": max_members,
            "member_costs": _split_member_costs(member_cost),
            "max_cost": max_cost,
        }
        optimizers, objectives = optimizer or ["greedy"], objective or ["micro-f1-best"]
        two_aims = metric is not None and bool(objective)  # searched for one, scored by the other
        if seeds > 1 or holdout is not None or len(optimizers) > 1 or len(objectives) > 1 or two_aims:
            asked = objectives if metric is None or objective else [metric]
            plan = StudyPlan(
                optimizers, asked, range(seed, seed + seeds), mean, metric or "micro-f1",
                {key: value for key, value in limits.items() if value is not None},
            )  # fmt: skip
            _run_study(plan, opened, given, holdout, out, overwrite, show)
            return
        sought = objectives[0] if metric is None else find_metric(metric).name
        kind, own = split_optimizer(optimizers[0])
        search: dict[str, Any] = {"optimizer": kind, "mean": mean, "random_state": seed}
        search |= {"optimizer_options": own} if own else {}
        options = {**search, "objective": sought, "limits": limits}
        request = build_manifest("optimize", {"predictions": opened.fingerprint}, options)
        inputs = given.paths
        aim = [] if metric is None else ["--metric", metric]
        show.next("compare", *given.arguments, *aim, "--out", free_name("comparison"))
        with result_folder(out, "optimize", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show, "weights.json"):
                return
            warn_of_faults(opened, given, show)
            with show.progress("searching") as progress, report_progress(progress):
                found = search_weights(
                    opened, output, objective=objectives[0] if metric is None else metric, limits=limits, **search
                )
        show.data({"out": out, **json.loads((out / "weights.json").read_text())})
        weights = sorted(zip(found["models"], found["weights"], strict=True), key=lambda pair: -pair[1])
        show.table(["member", Column("weight", "score")], [[name, weight] for name, weight in weights])
        score = f"micro-F1 {write_score(found['in_sample_micro_f1'])} at threshold {write_score(found['threshold'])}"
        if metric is not None:
            score = f"{find_metric(metric).title} {write_score(found['in_sample_score'])}, {score}"
        show.result(f"{score}, on the rows that chose the weights ({found['n_evaluations']:,} evaluations)")
        show.result(f"weights: {out / 'weights.json'}")


def _run_study(
    plan: "StudyPlan",
    opened: "PredictionSet",
    given: GivenPredictions,
    holdout: Path | None,
    out: Path,
    overwrite: bool,
    show: Reporter,
) -> None:
    """Search weights in several ways, score them on held-out rows, and write the report."""
    from dataclasses import asdict

    from experiments.reports.result_manifest import build_manifest, result_folder
    from experiments.row_split import hold_back
    from experiments.several_sets import store_of
    from experiments.weight_study import study_weights
    from stacking.predictions import load_predictions
    from stacking.process.progress import report_progress
    from stacking.report import Column
    from stacking.report.writing import write_interval

    plan.check()
    other = None if holdout is None else load_predictions(store_of(holdout, "test"))
    fitting, held_out = hold_back(opened, STUDY_SHARE) if other is None else (opened, other)
    hashes = {"predictions": opened.fingerprint, "holdout": "" if other is None else other.fingerprint}
    request = build_manifest("optimize", hashes, {**asdict(plan), "seeds": list(plan.seeds)})
    aim = [] if plan.metric == "micro-f1" else ["--metric", str(plan.metric)]
    show.next("compare", *given.arguments, *aim, "--out", free_name("comparison"))
    inputs = input_paths(holdout, *given.paths)
    with result_folder(out, "optimize", overwrite=overwrite, inputs=inputs, request=request) as output:
        if is_there(output, show, "study.json"):
            return
        warn_of_faults(opened, given, show)
        with show.progress("searching") as progress, report_progress(progress):
            found = study_weights(fitting, held_out, plan)
        found.write(output, request)
    show.data({"out": out, **found.as_dict()})
    show.table(
        ["optimizer", "objective", Column(found.metric.title, "score"), Column("to the mean", "gain"),
         Column("95 % interval", "interval"), Column("CPU time", "seconds")],
        [[row.optimizer, row.objective, row.score, row.gain, write_interval(row.gain_low, row.gain_high, signed=True),
          row.cpu_seconds] for row in found.rows],
    )  # fmt: skip
    for (name, sought), reason in found.failures.items():
        show.note(f"not searched: {name} for {sought}: {reason}")
    direction = "" if found.metric.greater_is_better else "; lower is better"
    show.result(f"scored on {found.n_held_out:,} rows that chose neither weights nor threshold{direction}")
    show.result(f"report: {out / 'report.html'}")


def _split_member_costs(values: list[str] | None) -> dict[str, float] | None:
    """Read ``NAME=COST`` options; a name may hold an equals sign itself."""
    if not values:
        return None
    costs: dict[str, float] = {}
    for value in values:
        name, _, cost = value.rpartition("=")
        try:
            number = float(cost)
        except ValueError:
            name = ""
        if not name or name in costs:
            raise ValueError(f"--member-cost must be NAME=COST, once per member: got {value!r}.")
        costs[name] = number
    return costs


def _check_sets(given: GivenPredictions, more: Sequence[Path], holdout: Sequence[Path]) -> list[Path]:
    """Return the sets of a comparison of several; raise where they cannot be that."""
    if more and (
        given.model or given.truth or given.ids or given.labels or given.groups or given.from_logits or given.logits_of
    ):
        raise ValueError(
            "several runs or stores bring their own names, truth, groups and probabilities: leave out --model, "
            "--truth, --ids, --labels, --groups and the options of logits, or pack each set first."
        )
    if holdout and len(holdout) != 1 + len(more):
        raise ValueError(f"give --holdout once per run or store: got {len(holdout)} for {1 + len(more)}.")
    return [path for path in (given.predictions, *more) if path is not None]


def split_rules(text: str) -> list[str]:
    """Split decision rules at the commas between them; those between the options of a rule stay.

    Parameters
    ----------
    text : str
        What was given to ``--rules``.

    Returns
    -------
    list of str
        The rules with their options.

    Examples
    --------
    >>> split_rules("half,cost:fp=1,fn=5,single")
    ['half', 'cost:fp=1,fn=5', 'single']
    """
    return [rule.strip() for rule in re.split(r",(?![^,:]*=)", text) if rule.strip()]


def _check_before_reading(methods: Sequence[str], rules: Sequence[str], holdout: Sequence[Path]) -> None:
    """Raise for names and files that are not there, before anything is read."""
    from stacking.combiners.registry import method_kind
    from stacking.decision_rules import check_rule

    for name in methods:
        method_kind(name)
    for name in rules:
        try:
            check_rule(name)
        except ValueError as error:  # a command may have --rule too
            raise ValueError(str(error).replace("rule must be one of", "rules must be names among", 1)) from error
    for path in holdout:
        if not path.exists():
            raise FileNotFoundError(f"--holdout must be a bundle, a store or a run: {path} does not exist.")


def compare(
    *,
    console: JsonConsole,
    out: OutFolder,
    holdout: Annotated[
        list[Path] | None,
        typer.Option(
            help="Fit on PREDICTIONS and score on these, instead of nested cross-validation. For several runs, once "
            "per run, in their order."
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(autocompletion=complete_methods, help="Names joined by commas, or all.")
    ] = "all",
    rules: Annotated[
        str,
        typer.Option(
            autocompletion=complete_rules,
            help="Decision rules joined by commas (half, single, cost:fp=1,fn=5 …), by which each method is scored "
            "once more.",
        ),
    ] = "",
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FOLDER",
            help="A saved ensemble, scored as it is, on rows that it was not fitted on. May be repeated.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Leave out all other members. May be repeated.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Outer and inner folds.")] = 5,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which no method is started.")] = None,
    fit_time_limit: Annotated[
        float | None, typer.Option(help="Seconds that each fit of auto may take, as --time-limit of `fit`.")
    ] = None,
    rule: Rule = "auto",
    metric: Metric = "micro-f1",
    image_rules: GivenImageRules,
    given: GivenPredictions,
    label_rows: LabelRows = None,
    log: Log = None,
    more: Annotated[
        list[Path] | None,
        typer.Argument(help="More runs or stores: their models join, on the rows and labels that all of them have."),
    ] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Compare members, votes and meta-learners on rows that tuned nothing; write a leaderboard and a report.

    Several runs or stores are compared together: models of one name get that of their run before it.
    """
    with console.session() as show:
        from experiments.publishing.tracking import track_result, tracking
        from experiments.reports.comparison_files import write_comparison
        from experiments.reports.result_manifest import build_manifest, result_folder
        from experiments.several_sets import have_the_same_rows, join_holdouts, join_sets
        from stacking.combiners.label_rows import check_label_rows_teach
        from stacking.combiners.registry import list_methods
        from stacking.comparison import compare as compare_methods
        from stacking.ensemble.ensemble import StackingEnsemble
        from stacking.metrics import find_metric, metric_name
        from stacking.metrics.named import DEFAULT_METRIC
        from stacking.predictions.forms.label_rows import attach_label_rows
        from stacking.process.progress import report_progress
        from stacking.report import Column
        from stacking.report.writing import write_interval, write_score

        check_out_folder(out)
        chosen = "all" if methods == "all" else [name.strip() for name in methods.split(",")]
        by = metric_name(find_metric(metric))
        by_rules = split_rules(rules)
        _check_before_reading(() if isinstance(chosen, str) else chosen, by_rules, holdout or ())
        StackingEnsemble(rule=rule, metric=metric, time_limit=fit_time_limit).check_parameters()
        if label_rows is not None:
            check_label_rows_teach(list_methods() if isinstance(chosen, str) else chosen)
        limits = image_rules.read()
        paths = _check_sets(given, more or (), holdout or ())
        opened = join_sets(paths) if more else given.open()
        held_out = join_holdouts(holdout, paths) if holdout else None
        saved = {name: StackingEnsemble.load(path) for name, path in map(split_model_option, ensemble or ())}
        opened = attach_label_rows(opened, label_rows)
        if only:
            opened = opened.subset(models=only)
            held_out = None if held_out is None else held_out.subset(models=only)
        hashes = {"predictions": opened.fingerprint, "holdout": held_out.fingerprint if held_out else ""}
        options = {"methods": chosen, "folds": folds, "time_limit": time_limit, "seed": seed, "rule": rule}
        options["metric"] = by
        decided = {"image_rules": None if limits is None else limits.as_dict(), "fit_time_limit": fit_time_limit}
        options |= {"rules": by_rules} if by_rules else {}
        hashes |= {f"ensemble {name}": loaded.fingerprint for name, loaded in saved.items()}
        request = build_manifest("compare", hashes, {**options, **decided})
        inputs = input_paths(*(holdout or ()), *(more or ()), *given.paths, ensemble, label_rows)
        asked = [*([] if by == DEFAULT_METRIC else ["--metric", metric]), *([] if rule == "auto" else ["--rule", rule])]
        asked += image_rules.arguments
        taught = [] if label_rows is None else ["--label-rows", label_rows]
        if more and have_the_same_rows(paths):
            added = [word for path in more for word in ("--add", path)]
            show.next("pack", *given.arguments, *added, "--out", free_name("joined"))
        elif not more:
            show.next("fit", *given.arguments, *asked, *taught, "--out", free_name("ensemble"))
        with result_folder(out, "compare", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show, "leaderboard.json"):
                return
            warn_of_faults(opened, given, show)
            with tracking(log, out) as tracker:
                with show.progress("comparing") as progress, report_progress(progress):
                    found = compare_methods(
                        opened,
                        chosen,
                        holdout=held_out,
                        n_splits=folds,
                        random_state=seed,
                        time_limit=time_limit,
                        image_rules=limits,
                        rule=rule,
                        rules=by_rules,
                        ensembles=saved,
                        metric=metric,
                        fit_time_limit=fit_time_limit,
                    )
                write_comparison(found, output)
                if tracker is not None:
                    scores = {row.method: row.score for row in found.rows}
                    track_result(tracker, out, scores, options, ["leaderboard.json", "report.html", "report.md"])
        show.data({"out": out, **json.loads((out / "leaderboard.json").read_text())})
        is_macro = found.metric.title == "macro-F1"  # then the other average stands beside it
        show.table(
            ["method", "kind", Column(found.metric.title, "score"), Column("95 % interval", "interval"),
             Column("micro-F1" if is_macro else "macro-F1", "score"), Column("CPU time", "seconds")],
            [[row.method, row.kind, row.score, write_interval(row.low, row.high),
              row.micro_f1 if is_macro else row.macro_f1, row.cpu_seconds] for row in found.rows],
        )  # fmt: skip
        for failure in found.failures:
            show.note(f"not scored: {failure.name}: {failure.reason}")
        direction = "" if found.metric.greater_is_better else "; lower is better"
        show.result(f"constant answer: {write_score(found.constant_answer)}{direction}")
        show.result(f"report: {out / 'report.html'}")
