"""The same report as Markdown, for repositories and terminals.

Charts lie beside it as SVG files, where there is a folder for them; elsewhere their captions stand for them. Everything
that came from a file is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stacking.report.chart_files import chart_name
from stacking.report.report import Report
from stacking.report.sections import Block, Code, Figure, ImageGrid, KeyFigure, Paragraph, Table, Tag
from stacking.report.writing import escape_markdown, visible, write_cell

_TAG_MARK = {"hit": "✓ ", "miss": "missed ", "extra": "wrong ", "plain": ""}


def render_markdown(report: Report, *, charts: str = "") -> str:
    r"""Render a report as Markdown.

    Parameters
    ----------
    report : Report
        The report's data.
    charts : str, default=""
        Folder, from the Markdown file, in which the charts lie as `chart_files` names them; empty for none.

    Returns
    -------
    str
        GitHub-flavoured Markdown, ending in a line break.

    Examples
    --------
    >>> from stacking.report import Report, Section, Table
    >>> print(render_markdown(Report("T", [Section("S", [Table(["a|b"], [["x"]])])])))
    # T
    <BLANKLINE>
    ## S
    <BLANKLINE>
    | a\|b |
    |:---|
    | x |
    <BLANKLINE>
    """
    parts = [f"# {_line(report.title)}"]
    if report.subtitle:
        parts.append(_line(report.subtitle))
    if report.verdict:
        parts.append(f"**{_line(report.verdict)}**")
    if report.key_figures:
        parts.append(_key_figures(report.key_figures))
    number = 0
    for section in report.sections:
        parts.append(f"## {_line(section.title)}")
        for block in section.blocks:
            if charts and isinstance(block, Figure):
                number += 1
                parts.append(_linked_figure(block, f"{charts}/{chart_name(number)}"))
            elif text := _block(block):
                parts.append(text)
    if report.footer:
        parts += ["---", _line(report.footer)]
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    """Escape running text into one line."""
    return escape_markdown(" ".join(text.split()))


def _block(block: Block) -> str:
    """Render one block."""
    renderers: dict[type, Callable[[Any], str]] = {
        Paragraph: _paragraph,
        Table: _table,
        Figure: _figure,
        ImageGrid: _image_grid,
        Code: _code,
    }
    if type(block) not in renderers:
        raise TypeError(f"blocks must be blocks of stacking.report: got {type(block).__name__}.")
    return renderers[type(block)](block)


def _paragraph(paragraph: Paragraph) -> str:
    """Render running text; notes and warnings as quotations."""
    text = _line(paragraph.text)
    if paragraph.role == "lead":
        return f"**{text}**"
    return {"note": f"> {text}", "warning": f"> **Warning:** {text}"}.get(paragraph.role, text)


def _table(table: Table) -> str:
    """Render a table, numbers to the right."""
    columns = table.typed_columns
    lines = [
        "| " + " | ".join(escape_markdown(column.title) for column in columns) + " |",
        "|" + "|".join(":---" if column.kind in ("text", "interval") else "---:" for column in columns) + "|",
    ]
    for number, row in enumerate(table.rows):
        cells = []
        for value, column in zip(row, columns, strict=True):
            text = write_cell(value, column.kind)
            text = escape_markdown(text) if isinstance(value, str) else text
            cells.append(f"**{text}**" if number in table.strong and text.strip() else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(([f"*{_line(table.caption)}*", ""] if table.caption else []) + lines)


def _figure(figure: Figure) -> str:
    """Say what the chart of the HTML report shows."""
    return f"*Chart, in the HTML report: {_line(figure.caption)}*" if figure.caption else ""


def _linked_figure(figure: Figure, path: str) -> str:
    """Show the chart of a file, with its caption."""
    caption = f"\n\n*{_line(figure.caption)}*" if figure.caption else ""
    return f"![{_line(figure.description)}]({path}){caption}"


def _key_figures(items: Any) -> str:
    """Render key figures as a list."""
    return "\n".join(_key_figure(item) for item in items)


def _key_figure(item: KeyFigure) -> str:
    """Render one key figure."""
    return f"- {_line(item.name)}: **{_line(item.value)}**" + (f" ({_line(item.note)})" if item.note else "")


def _image_grid(grid: ImageGrid) -> str:
    """List the photos by title and labels."""
    lines = [f"*{_line(grid.caption)}*", ""] if grid.caption else []
    for photo in grid.photos:
        labels = ", ".join(_tag(tag) for tag in photo.tags)
        lines.append(f"- {escape_markdown(photo.title)}: {labels or 'no label'}")
    return "\n".join(lines)


def _tag(tag: Tag) -> str:
    """Render one label of a photo."""
    return f"{_TAG_MARK[tag.kind]}{_line(tag.text)}"


def _code(code: Code) -> str:
    """Render fixed-width text in a fence longer than any run of backticks in it."""
    fence = "```"
    while fence in code.text:
        fence += "`"
    heading = f"*{_line(code.caption)}*\n\n" if code.caption else ""
    return f"{heading}{fence}\n{visible(code.text, keep_line_breaks=True)}\n{fence}"
