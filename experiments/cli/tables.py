"""Tables on a terminal: plain text in columns, numbers written as in the reports."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacking.report import Cell, Column

GAP = "  "
LEAST_TEXT = 16
"""Columns of characters that a column of text keeps where a line is too narrow: a choice."""
WIDTH_IN_FILES = 120
"""Characters of a line where the output is no terminal: a choice."""


def line_width() -> int:
    """Return how many characters fit on a line of the terminal, or of a file.

    Returns
    -------
    int
        At least 40.
    """
    columns = shutil.get_terminal_size((WIDTH_IN_FILES, 24)).columns
    return max(columns if sys.stdout.isatty() else max(columns, WIDTH_IN_FILES), 40)


def write_table(columns: Sequence[Column | str], rows: Sequence[Sequence[Cell]], *, width: int | None = None) -> str:
    """Write a table as text: headers, numbers to the right, the last column of text wrapped where a line is too long.

    Parameters
    ----------
    columns : sequence of Column or str
        As reports have them; a string is a column of text.
    rows : sequence of sequences of cells
        One cell per column.
    width : int, optional
        Characters of a line; by default those of the terminal.

    Returns
    -------
    str
        Lines without spaces at their ends.

    Examples
    --------
    >>> from stacking.report import Column
    >>> print(write_table(["method", Column("score", "score")], [["mean", 0.75], ["auto", 0.8]]))
    method  score
    mean     .750
    auto     .800
    """
    from stacking.report import Table
    from stacking.report.writing import write_cell

    kinds = [(column.title, column.kind) for column in Table(columns, rows).typed_columns]
    cells = [[write_cell(cell, kind) for cell, (_, kind) in zip(row, kinds, strict=True)] for row in rows]
    lines = [[title for title, _ in kinds], *cells]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(kinds))]
    last_text = max((place for place, (_, kind) in enumerate(kinds) if kind == "text"), default=None)
    if last_text is not None:
        others = sum(widths) - widths[last_text] + len(GAP) * (len(widths) - 1)
        room = (line_width() if width is None else width) - others
        widths[last_text] = min(widths[last_text], max(room, LEAST_TEXT))
    is_text = [kind in ("text", "interval") for _, kind in kinds]
    return "\n".join(text for line in lines for text in _write_row(line, widths, is_text))


def _write_row(cells: Sequence[str], widths: Sequence[int], is_text: Sequence[bool]) -> list[str]:
    """Write one row, in several lines where a cell is wrapped."""
    wrapped = [
        textwrap.wrap(cell, width, break_long_words=True) if _width(cell) > width else [cell]
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, wrapped))):
        parts = [part[number] if number < len(part) else "" for part in wrapped]
        padded = [
            part + " " * (width - _width(part)) if left else " " * (width - _width(part)) + part
            for part, width, left in zip(parts, widths, is_text, strict=True)
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines


def _width(text: str) -> int:
    """Count the columns that a text takes: two for wide characters, none for marks above others."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )
