"""The command `check`: what would ruin a blend, as a list of red, yellow and green with the command that mends each."""

import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.options import (
    GivenPredictions,
    JsonConsole,
    free_name,
)
from experiments.cli.reporting import Reporter
from experiments.cli.tables import line_width

if TYPE_CHECKING:
    from stacking.diagnosis import CheckReport, Finding

FAULTS_FOUND = 3
"""Exit code where something red was found: the command itself did its work, and the input could be read."""
_COLORS = {"red": typer.colors.RED, "yellow": typer.colors.YELLOW, "green": typer.colors.GREEN, "skipped": None}


def check(
    *,
    console: JsonConsole,
    given: GivenPredictions,
    test: Annotated[
        Path | None,
        typer.Option(
            help="The same members' scores for samples that none was trained on, a bundle, store or run, best with "
            "truth: members that have seen their rows show beside them."
        ),
    ] = None,
) -> None:
    """Find what would ruin a blend, before a fit: red, yellow and green, with the command that mends each.

    Looks for shuffled rows, members that have seen their rows, logits and percentages, misspelt labels, missing and
    repeated ids, inverted and constant scores, swapped columns, copies of photos, groups split over folds, and labels
    without positives. Exit code 0 if nothing is red, 3 if something is, 2 if a file is missing.
    """
    with console.session() as show:
        from experiments.several_sets import store_of
        from stacking.diagnosis import check_predictions
        from stacking.process.progress import report_progress

        place = given.place
        if test is not None and not test.exists():
            raise FileNotFoundError(f"--test must be a bundle or a store: {test} does not exist.")
        with show.progress("checking") as progress, report_progress(progress):
            report = check_predictions(
                place,
                given.truth,
                models=given.model_files,
                ids=given.ids,
                labels=given.labels,
                groups=given.groups,
                from_logits=given.logits,
                test=None if test is None else store_of(test, "test"),
            )
        _show(report, given, show)
        if not report.is_clean:
            raise typer.Exit(FAULTS_FOUND)


def _show(report: "CheckReport", given: GivenPredictions, show: Reporter) -> None:
    """Write the list, and the next command."""
    findings = [(finding, _command(finding, given)) for finding in report.findings]
    values = report.as_dict()
    values["findings"] = [{**finding.as_dict(), "command": command} for finding, command in findings]
    show.data(values)
    for finding, command in findings:
        if finding.severity in ("red", "yellow") or not show.quiet:
            show.result(_lines(finding, command))
    counts = {severity: len(report.of_severity(severity)) for severity in ("red", "yellow", "green")}
    show.result(", ".join(f"{count} {severity}" for severity, count in counts.items()))
    if report.is_clean:
        show.next("compare", *given.arguments, "--out", free_name("comparison"))
    else:
        show.note("mend what is red, then check again:")
        show.next("check", *given.arguments)


def _command(finding: "Finding", given: GivenPredictions) -> str:
    """Complete a command: an option of labelstack's is added to what was typed."""
    import shlex

    if not finding.command.startswith("--"):
        return finding.command
    option, _, name = finding.command.partition(" ")
    return f"labelstack check {shlex.join([*given.arguments, option, name])}"


def _lines(finding: "Finding", command: str) -> str:
    """Write one finding: a colored word, the sentence, what to do, the command."""
    word = f"{finding.severity:<8}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        word = typer.style(word, fg=_COLORS[finding.severity], bold=finding.severity == "red")
    width = min(line_width(), 120)
    sentence = f"{finding.check}: {finding.message}"
    first, *rest = textwrap.wrap(sentence, width - 8, break_long_words=False, break_on_hyphens=False)
    lines = [word + first, *(" " * 8 + line for line in rest)]
    if finding.remedy:
        remedy = textwrap.wrap(f"→ {finding.remedy}", width - 8, break_long_words=False, break_on_hyphens=False)
        lines += [" " * 8 + line for line in remedy]
    if command:  # in one line, however long: it is to be pasted
        lines.append(" " * 8 + command)
    return "\n".join(lines)
