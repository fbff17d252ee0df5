"""Judge the methods on many draws that chose nothing: ``python -m experiments.benchmarks.judgments --data FOLDER``.

One line of a journal for each draw, so that a run goes on where it was stopped; the summary is of all lines. What is
generated here needs no data; the rest is left out where FOLDER lacks it: ``imaterialist2018/simulate_predictions.py``
(simulated CNNs on a contest's label rows), ``fashion44k_members/{fit,test}.npz`` (seven networks' scores of photos),
``jamendo_moodtheme/predictions.npz`` (39 models' scores of music, artists as groups), ``tabular/*.npz`` (Mulan's sets).
Each holds ``y_scores``, ``y_true`` and, where there are any, ``groups``, as `labelstack.load` reads them.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.attainable import attainable_micro_f1
from experiments.benchmarks.datasets import (
    Split,
    load_split,
    prepare_few_rows,
    prepare_jamendo,
    prepare_members,
    prepare_simulation,
    prepare_workload,
)
from experiments.benchmarks.judgment_summary import write_summary
from experiments.benchmarks.processes import Plan
from experiments.benchmarks.references import micro_f1
from experiments.benchmarks.tabular import DATA_SETS
from experiments.benchmarks.unseen import (
    REAL,
    RECIPES,
    Recipe,
    fit_plain_bases,
    generate_with_law,
    plain_scores,
    prepare_unseen,
)

logger = logging.getLogger("experiments.benchmarks.judgments")

SIMULATED = (0, 31, 102, 103)
"""Seeds of the simulation: settings were picked while looking at 0; 31 and what follows chose nothing."""
FEW_ROWS = (1_000, 300)  # choices, like the next: so few that the choice of a method may err
N_TABLE_ROWS = 200
N_WORKLOAD_ROWS = 4_000  # as many as the photos and the simulation have, about

Values = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """One thing to judge.

    Parameters
    ----------
    part : str
        What it belongs to, a key of `PARTS`.
    name : str
        Which set.
    number : int
        Which draw of it.
    judge : callable
        Fits, and returns what the held-out rows say.
    """

    part: str
    name: str
    number: int
    judge: Callable[[], Values]


def draw_simulations(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List the simulated CNNs, four fifths of the rows to fit on.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Positions in `SIMULATED`.

    Yields
    ------
    Draw
        One per seed.
    """
    for number in numbers:
        if number < len(SIMULATED):
            seed = SIMULATED[number]
            yield Draw("simulation", f"seed {seed}", number, partial(_judge_simulation, plan, seed))


def draw_few_rows(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List few scored rows of the simulation, without and with the label rows of the others.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Seeds of the draw of the rows.

    Yields
    ------
    Draw
        One per number of rows and seed.
    """
    for number in numbers:
        for n_rows in FEW_ROWS:
            yield Draw("few rows", f"{n_rows:,} rows", number, partial(_judge_few_rows, plan, n_rows, number))


def draw_members(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List splits of the photos that seven networks scored; number 0 is the data set's own.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Seeds of the splits.

    Yields
    ------
    Draw
        Two per seed, by what the methods go by.
    """
    for number in numbers:
        for metric in ("micro-f1", "macro-f1"):
            yield Draw("members", metric, number, partial(_judge_members, plan, metric, number))


def draw_artists(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List splits of the music by artist.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Seeds of the splits.

    Yields
    ------
    Draw
        One per seed.
    """
    for number in numbers:
        yield Draw("artists", "65/35 by artist", number, partial(_judge_artists, plan, number))


def draw_generated(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List generated sets.

    Parameters
    ----------
    plan : Plan
        Not used: nothing is read.
    numbers : sequence of int
        Seeds.

    Yields
    ------
    Draw
        One per recipe and seed.
    """
    for number in numbers:
        for name, recipe in RECIPES.items():
            yield Draw("generated", name, number, partial(_judge_generated, recipe, number))


def draw_unseen(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List the generated and small real sets of the benchmark's part ``unseen``, with its own seed, 0.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Nothing is listed where 0 is not among them.

    Yields
    ------
    Draw
        One per set.
    """
    for name in (*RECIPES, *REAL) if 0 in numbers else ():
        yield Draw("unseen", name, 0, partial(_judge_unseen, plan, name))


def draw_tables(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List random parts of small tables, five classifiers on 200 rows.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Seeds of the parts.

    Yields
    ------
    Draw
        One per set and seed.
    """
    for number in numbers:
        for name in DATA_SETS:
            yield Draw("tables", name, number, partial(_judge_table, plan, name, number))


def draw_networks(plan: Plan, numbers: Sequence[int]) -> Iterator[Draw]:
    """List what `label-network` is judged on beside `label-context`, which it corrects; it needs torch.

    Parameters
    ----------
    plan : Plan
        Says where data is.
    numbers : sequence of int
        Seeds of the splits of the photos; positions in `SIMULATED`; the workload is number 0.

    Yields
    ------
    Draw
        The photos that seven networks scored, the simulated CNNs, the workload.
    """
    for number in numbers:
        yield Draw("networks", "photos", number, partial(_judge_network, plan, "photos", number))
        if number < len(SIMULATED):
            yield Draw("networks", "simulation", number, partial(_judge_network, plan, "simulation", SIMULATED[number]))
        if number == 0:
            yield Draw("networks", "workload", number, partial(_judge_network, plan, "workload", number))


PARTS: dict[str, Callable[[Plan, Sequence[int]], Iterator[Draw]]] = {
    "simulation": draw_simulations,
    "few rows": draw_few_rows,
    "members": draw_members,
    "networks": draw_networks,
    "artists": draw_artists,
    "unseen": draw_unseen,
    "generated": draw_generated,
    "tables": draw_tables,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge what the journal lacks, then write the summary.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.
    """
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    done = {(one["part"], one["name"], one["number"]) for one in read_journal(options.journal)}
    with tempfile.TemporaryDirectory(prefix="labelstack-judgments-") as scratch:
        plan = Plan(Path(scratch), options.data)
        for part in options.only:
            for draw in PARTS[part](plan, options.draws):
                if (draw.part, draw.name, draw.number) not in done:
                    _add_line(options.journal, draw)
    if options.out is not None:
        write_summary(read_journal(options.journal), options.out)


def read_journal(path: Path) -> list[Values]:
    """Read what was judged; a line that a kill has cut is left out.

    Parameters
    ----------
    path : Path
        The journal, which need not exist.

    Returns
    -------
    list of dict
        One per draw.
    """
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _add_line(journal: Path, draw: Draw) -> None:
    """Judge a draw and write its line."""
    started = time.process_time()
    try:
        values = draw.judge()
    except FileNotFoundError as error:
        logger.info("%s, %s: left out: %s", draw.part, draw.name, error)
        return
    line = {"part": draw.part, "name": draw.name, "number": draw.number, **values}
    line["cpu_seconds"] = round(time.process_time() - started, 1)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    logger.info("%s", json.dumps(line))


def _judge_simulation(plan: Plan, seed: int) -> Values:
    """Judge label-context on four fifths of the rows."""
    data = _found(prepare_simulation(plan, seed), "imaterialist2018/simulate_predictions.py")
    return _judge_method(data, "label-context", "micro-f1")


def _judge_few_rows(plan: Plan, n_rows: int, number: int) -> Values:
    """Judge label-context on few rows, without and with the truth of the others."""
    data = _found(prepare_few_rows(plan, n_rows, number), "imaterialist2018/simulate_predictions.py")
    alone = _judge_method(replace(data, label_rows=None), "label-context", "micro-f1")
    taught = _judge_method(data, "label-context", "micro-f1")
    return {**alone, **{f"{key}_with_label_rows": value for key, value in taught.items()}}


def _judge_members(plan: Plan, metric: str, number: int) -> Values:
    """Judge label-context and auto, going by a metric."""
    split = _found(prepare_members(plan, number), "fashion44k_members")
    reached = {name: _judge_method(split, name, metric) for name in ("label-context", "auto")}
    return {f"{name} {key}": value for name, values in reached.items() for key, value in values.items()}


def _judge_network(plan: Plan, name: str, number: int) -> Values:
    """Judge label-context alone and corrected, with the CPU seconds of each."""
    if name == "photos":
        split = _found(prepare_members(plan, number), "fashion44k_members")
    elif name == "simulation":
        split = _found(prepare_simulation(plan, number), "imaterialist2018/simulate_predictions.py")
    else:
        whole = load_split(prepare_workload(plan))
        split = replace(whole, y_scores=whole.y_scores[:, :N_WORKLOAD_ROWS], y_true=whole.y_true[:N_WORKLOAD_ROWS])
    values: Values = {}
    for method in ("label-context", "label-network"):
        started = time.process_time()
        reached = _judge_method(split, method, "micro-f1")
        reached["cpu_seconds"] = round(time.process_time() - started, 1)
        values |= {f"{method} {key}": value for key, value in reached.items()}
    return values


def _judge_artists(plan: Plan, number: int) -> Values:
    """Judge auto beside the plain mean."""
    return _judge_auto(_found(prepare_jamendo(plan, number), "jamendo_moodtheme/predictions.npz"))


def _judge_generated(recipe: Recipe, number: int) -> Values:
    """Judge auto on a generated set, beside who knows the law that it was drawn from."""
    drawn = generate_with_law(recipe, number)
    values = _judge_auto(drawn.split)
    attainable = attainable_micro_f1(drawn)
    return {**values, "attainable": attainable, "attainable_lead": attainable - values["micro_f1"] + values["lead"]}


def _judge_unseen(plan: Plan, name: str) -> Values:
    """Judge auto on a set of the benchmark."""
    if name in RECIPES:
        return _judge_generated(RECIPES[name], 0)
    try:
        data = load_split(prepare_unseen(plan, name))
    except ValueError as error:
        raise FileNotFoundError(str(error)) from error
    return {**_judge_auto(data), "grouped": data.groups is not None}


def _judge_table(plan: Plan, name: str, number: int) -> Values:
    """Judge auto beside the classifiers that it combines, cross-fitted on few rows."""
    path = plan.data("tabular", f"{name}.npz")
    if path is None:
        raise FileNotFoundError(f"tabular/{name}.npz is absent; give the folder of the data as --data")
    with np.load(path) as data:
        x, y = data["X"], data["Y"]
    order = np.random.default_rng(number).permutation(len(y))
    fit, test = order[:N_TABLE_ROWS], order[N_TABLE_ROWS:]
    return _judge_auto(fit_plain_bases(x[fit], y[fit], x[test], y[test]))


def _judge_auto(data: Split) -> Values:
    """Judge auto beside the plain mean and the best single model, each with one threshold."""
    mean, single = plain_scores(data)
    values = _judge_method(data, "auto", "micro-f1")
    return {**values, "mean": mean, "best_single": single, "lead": values["micro_f1"] - max(mean, single)}


def _judge_method(data: Split, method: str, metric: str) -> Values:
    """Fit on one part, score the other."""
    from stacking import PredictionSet, StackingEnsemble
    from stacking.metrics import find_metric
    from stacking.truth import Truth

    covers = ~np.isnan(data.y_scores[:, 0])
    given = PredictionSet(data.y_scores, y_true=data.y_true, groups=data.groups, covers=covers)
    if data.label_rows is not None:
        given = given.with_label_rows(data.label_rows)
    fitted = StackingEnsemble(method, random_state=0, metric=metric).fit(given)
    y_score = fitted.predict_proba(PredictionSet(data.y_scores_test, covers=covers))
    decided, truth = fitted.decide(y_score), data.y_true_test
    hits = (decided & (truth > 0)).sum(axis=0)
    f1 = 2 * hits / np.maximum(decided.sum(axis=0) + truth.sum(axis=0, dtype=int), 1)
    there = truth.any(axis=0)
    mean_precision = find_metric("map").measure(Truth(truth[:, there] > 0), None, y_score[:, there]).value
    estimate = fitted.report_.get("cross_fitted_micro_f1")
    return {
        "micro_f1": micro_f1(truth, decided),
        "macro_f1": float(f1.mean()),
        "macro_f1_where_positive": float(f1[there].mean()),
        "mean_average_precision": float(mean_precision),
        "log_loss": float(find_metric("log-loss").measure(Truth(truth > 0), None, y_score).value),
        "estimate": None if estimate is None else float(estimate),
        "rule": fitted.report_["rule"],
        "notes": fitted.report_["notes"][:1],
    }


def _found(path: Path | None, name: str) -> Split:
    """Load a split that must be there."""
    if path is None:
        raise FileNotFoundError(f"{name} is absent; give the folder of the data as --data")
    return load_split(path)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.judgments", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it only what is generated")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, separated by commas, of {', '.join(PARTS)}")
    parser.add_argument("--draws", default="0-3", help="first and last number of the draws, such as 0-19")
    parser.add_argument("--journal", type=Path, required=True, help="file of lines, read first and added to")
    parser.add_argument("--out", type=Path, help="folder for judgments.md and judgments.json")
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in options.only if name not in PARTS]
    first, _, last = options.draws.partition("-")
    if unknown:
        parser.error(f"--only must name parts among {', '.join(PARTS)}: got {', '.join(unknown)}")
    if not first.isdecimal() or not (last or first).isdecimal():
        parser.error(f"--draws must be numbers such as 0-19: got {options.draws}")
    options.draws = range(int(first), int(last or first) + 1)
    return options


if __name__ == "__main__":
    main()
