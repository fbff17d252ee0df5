"""The charts of a report as files, for its Markdown version."""

from __future__ import annotations

import re

from stacking.report.page_environment import read_template
from stacking.report.report import Report
from stacking.report.sections import Figure

# The colors at the head of the page's style, for light paper and for dark.
_PALETTE = re.compile(
    r":root \{\n  color-scheme: light dark;\n(.*?)\n\}\n(@media \(prefers-color-scheme: dark\) \{.*?\n\})", re.DOTALL
)


def chart_name(number: int) -> str:
    """Name the file of a chart.

    Parameters
    ----------
    number : int
        Its place among the charts of the report, from 1.

    Returns
    -------
    str
        A file name.

    Examples
    --------
    >>> chart_name(3)
    'chart-03.svg'
    """
    return f"chart-{number:02}.svg"


def chart_files(report: Report) -> dict[str, str]:
    """Return every chart of a report as a file that stands alone, on light and on dark paper.

    Parameters
    ----------
    report : Report
        The report's data.

    Returns
    -------
    dict of str to str
        SVG by file name, in the order of the report.
    """
    charts = [block for section in report.sections for block in section.blocks if isinstance(block, Figure)]
    return {chart_name(number): stand_alone(figure.svg) for number, figure in enumerate(charts, start=1)}


def stand_alone(svg: str) -> str:
    """Give a chart the colors of the page, and its paper.

    Parameters
    ----------
    svg : str
        As the functions of `stacking.report.figures` return it.

    Returns
    -------
    str
        What a file may hold.
    """
    palette = _PALETTE.search(read_template("report.css"))
    style = f"<style>:root {{ {palette[1]} }} {palette[2]}</style>" if palette else ""
    place = svg.index(">") + 1
    view = re.search(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', svg[:place])
    left, top, width, height = view.groups() if view else ("0", "0", "100%", "100%")
    paper = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" style="fill: var(--paper, #fdfdfc)"/>'
    return f"{svg[:place]}{style}{paper}{svg[place:]}\n"
