"""Run the benchmarks: ``python -m experiments.benchmarks [--only speed,quality] [--out DIR] [--quick]``."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.benchmarks.imports import measure_imports
from experiments.benchmarks.processes import ROOT, Plan
from experiments.benchmarks.quality import measure_quality
from experiments.benchmarks.report import describe_part, load_average, read_parts, write_report
from experiments.benchmarks.rows import Row
from experiments.benchmarks.scaling import measure_scaling
from experiments.benchmarks.speed import measure_speed
from experiments.benchmarks.unseen import measure_unseen

PARTS: dict[str, Callable[[Plan], list[Row]]] = {
    "speed": measure_speed,
    "quality": measure_quality,
    "unseen": measure_unseen,
    "scaling": measure_scaling,
    "imports": measure_imports,
}
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


def find_shared_data() -> Path | None:
    """Find the folder of the measuring data.

    Returns
    -------
    Path or None
        ``LABELSTACK_SHARED_DATA``, else ``../shared/data`` beside the checkout; None where that is absent.
    """
    folder = Path(os.environ.get("LABELSTACK_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()
    return folder if folder.is_dir() else None


def _run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure part by part."""
    plan = Plan(scratch, find_shared_data(), quick=options.quick, say=logger.info)
    parts = read_parts(options.out)
    for name in options.only:
        load_before = load_average()
        parts[name] = describe_part(PARTS[name](plan), load_before, quick=options.quick)
        write_report(options.out, parts)
    logger.info("written: %s", options.out / "benchmarks.md")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of benchmarks.md and benchmarks.json")
    parser.add_argument("--quick", action="store_true", help="small sizes, one call: see that every row runs")
    parser.add_argument("--scratch", type=Path, help="keep workloads and stores here for the next run (some 30 GB)")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in PARTS]
    if unknown:
        parser.error(f"--only must name parts among {', '.join(PARTS)}: got {', '.join(unknown)}")
    if options.quick and options.out == RESULTS:
        parser.error("--quick needs --out: its figures must not replace the committed ones")
    return options


if __name__ == "__main__":
    main()
