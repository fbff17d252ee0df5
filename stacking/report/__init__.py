"""Render results that are given as data: one self-contained HTML page, and Markdown."""

from stacking.report.chart_files import chart_files
from stacking.report.html import render_html
from stacking.report.markdown import render_markdown
from stacking.report.report import Report
from stacking.report.sections import (
    Block,
    Cell,
    Chart,
    Code,
    Column,
    Figure,
    ImageGrid,
    KeyFigure,
    Paragraph,
    Photo,
    Section,
    Table,
    Tag,
    columns_of,
)

__all__ = [
    "Block",
    "Cell",
    "Chart",
    "Code",
    "Column",
    "Figure",
    "ImageGrid",
    "KeyFigure",
    "Paragraph",
    "Photo",
    "Report",
    "Section",
    "Table",
    "Tag",
    "chart_files",
    "columns_of",
    "render_html",
    "render_markdown",
]
