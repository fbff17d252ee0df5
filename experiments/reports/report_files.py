"""The files of a report: the page, its Markdown version, and the charts that the latter shows."""

from typing import TYPE_CHECKING

from stacking.files.atomic_files import atomic_write_text
from stacking.report import chart_files, render_html, render_markdown

if TYPE_CHECKING:
    from stacking.files.output_folder import OutputFolder
    from stacking.report import Report

CHARTS = "charts"


def write_report(report: "Report", output: "OutputFolder", name: str = "report") -> None:
    """Write a report into a folder that is claimed.

    Parameters
    ----------
    report : Report
        The report's data.
    output : OutputFolder
        Gets ``report.html``, ``report.md`` and ``charts/``.
    name : str, default="report"
        What the first two are called.
    """
    atomic_write_text(output.path_of(f"{name}.html"), render_html(report))
    atomic_write_text(output.path_of(f"{name}.md"), render_markdown(report, charts=CHARTS))
    for file, svg in chart_files(report).items():
        atomic_write_text(output.path_of(f"{CHARTS}/{file}"), svg)
