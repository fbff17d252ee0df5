"""Run the benchmarks: ``python -m experiments.benchmarks [--only speed,quality] [--minutes 45] [--resume] [--quick]``.

Parts run one after the other, and the report is written after each. A budget of minutes is shared among the parts by
what they are expected to take; what one leaves over goes to the next ones. Rows that do not fit say so.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.benchmarks.bare_loop import measure_bare_loops
from experiments.benchmarks.imports import measure_imports
from experiments.benchmarks.packed_runs import measure_packed_runs
from experiments.benchmarks.photo_loading import measure_loading
from experiments.benchmarks.processes import BUDGET_SPENT, ROOT, Plan
from experiments.benchmarks.quality import (
    measure_few_rows,
    measure_jamendo,
    measure_members,
    measure_simulation,
    measure_tabular,
    measure_workload,
    read_fashion,
)
from experiments.benchmarks.report import describe_part, load_average, read_parts, write_report
from experiments.benchmarks.rows import Row
from experiments.benchmarks.scaling import measure_scaling
from experiments.benchmarks.serving import measure_serving
from experiments.benchmarks.speed import measure_speed
from experiments.benchmarks.training_loop import measure_training
from experiments.benchmarks.unseen import measure_unseen
from experiments.benchmarks.votes import measure_votes

PARTS: dict[str, Callable[[Plan], list[Row]]] = {
    "speed": measure_speed,
    "workload": measure_workload,
    "simulation": measure_simulation,
    "few-rows": measure_few_rows,
    "members": measure_members,
    "jamendo": measure_jamendo,
    "tabular": measure_tabular,
    "fashion": read_fashion,
    "unseen": measure_unseen,
    "scaling": measure_scaling,
    "votes": measure_votes,
    "imports": measure_imports,
    "serving": measure_serving,
    "loading": measure_loading,
    "packed": measure_packed_runs,
    "training": measure_training,
    "bare": measure_bare_loops,
}
GROUPS = {"quality": ("simulation", "few-rows", "members", "jamendo", "tabular", "fashion")}
MINUTES = {"speed": 8, "workload": 4, "simulation": 5, "jamendo": 6, "tabular": 7, "fashion": 0.1, "scaling": 8}
"""Expected on two quiet processors where no earlier run tells; the scaling part's stores take 5 more to write."""
OTHER_MINUTES = 4.0  # a guess for the parts that MINUTES does not name
RESULTS = Path(__file__).parents[1] / "results"

logger = logging.getLogger("experiments.benchmarks")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts asked for and write the report after each of them.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.
    """
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)
        _run(options, options.scratch.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="labelstack-benchmarks-") as scratch:
        _run(options, Path(scratch))


def _find_shared_data() -> Path | None:
    """Find the measuring data: ``LABELSTACK_SHARED_DATA``, else ``../shared/data`` beside the checkout, or nothing."""
    folder = Path(os.environ.get("LABELSTACK_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()
    return folder if folder.is_dir() else None


def _run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure part by part."""
    plan = Plan(scratch, _find_shared_data(), quick=options.quick, say=logger.info)
    parts = read_parts(options.out)
    names = [name for name in options.only if not (options.resume and _is_measured(parts.get(name), options.quick))]
    expected = {name: _expected_minutes(parts.get(name), name) for name in names}
    logger.info("expected: %s; together %.0f minutes", _as_words(expected), sum(expected.values()))
    ending = time.monotonic() + 60.0 * options.minutes
    for place, name in enumerate(names):
        load_before, began = load_average(), time.monotonic()
        share = expected[name] / sum(expected[later] for later in names[place:])
        rows = PARTS[name](replace(plan, deadline=began + share * (ending - began)))
        minutes = (time.monotonic() - began) / 60.0
        parts[name] = describe_part(rows, load_before, quick=options.quick, minutes=minutes)
        write_report(options.out, parts)
        logger.info("%s took %.1f minutes", name, minutes)
    logger.info("written: %s", options.out / "benchmarks.md")


def _expected_minutes(earlier: dict[str, Any] | None, name: str) -> float:
    """Say how many minutes a part may take: what an earlier run took in full size, else what is known of it."""
    if earlier is not None and not earlier["quick"] and earlier.get("minutes"):
        return float(earlier["minutes"])
    return float(MINUTES.get(name, OTHER_MINUTES))


def _is_measured(part: dict[str, Any] | None, quick: bool) -> bool:
    """Tell whether a part is there, of the size wanted, and no row of it ran out of time."""
    return (
        part is not None and part["quick"] == quick and not any(BUDGET_SPENT in row["trouble"] for row in part["rows"])
    )


def _as_words(minutes: dict[str, float]) -> str:
    """List parts with their minutes."""
    return ", ".join(f"{name} {value:.1f}" for name, value in minutes.items())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__)
    known = ", ".join([*PARTS, *GROUPS])
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, separated by commas, of {known}")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop slow rows so that all ends by then")
    parser.add_argument(
        "--resume", action="store_true", help="keep the parts that --out holds in full, measure the rest"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of benchmarks.md and benchmarks.json")
    parser.add_argument("--quick", action="store_true", help="small sizes, one call: see that every row runs")
    parser.add_argument("--scratch", type=Path, help="keep workloads and stores here for the next run (some 21 GB)")
    options = parser.parse_args(arguments)
    options.only = [part for name in options.only.split(",") for part in GROUPS.get(name, (name,))]
    unknown = [name for name in options.only if name not in PARTS]
    if unknown:
        parser.error(f"--only must name parts among {known}: got {', '.join(unknown)}")
    if not options.minutes > 0:
        parser.error(f"--minutes must be above 0: got {options.minutes}")
    if options.quick and options.out == RESULTS:
        parser.error("--quick needs --out: its figures must not replace the committed ones")
    return options


if __name__ == "__main__":
    main()
