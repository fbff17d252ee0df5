"""CSV files that come out as they went in, and a guard for people who open them in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = frozenset(',"\r\n')


def to_csv(rows: Iterable[Sequence[object]]) -> str:
    r"""Write rows as CSV text that every reader splits at the same places.

    Parameters
    ----------
    rows : iterable of sequence
        The cells, written as text and never changed.

    Returns
    -------
    str
        One line per row. Cells with a comma, a quote or a line break are quoted; Python's writer leaves a lone carriage
        return bare, and readers take it for the end of the row.

    Examples
    --------
    >>> to_csv([["id", "labels"], ["-a,b", "red|blue"]])
    'id,labels\n"-a,b",red|blue\n'
    """
    return "".join(",".join(_quote(str(cell)) for cell in row) + "\n" for row in rows)


def _quote(cell: str) -> str:
    """Quote a cell where it must be."""
    return '"' + cell.replace('"', '""') + '"' if not _QUOTED.isdisjoint(cell) else cell


def guard_cell(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula.

    The text is another one then: for reasons and notes, and for ids and labels only where somebody asks for it.

    Parameters
    ----------
    cell : str
        Text of one cell.

    Returns
    -------
    str
        The same text, or the text with ``'`` in front.

    References
    ----------
    OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection

    Examples
    --------
    >>> guard_cell("=1+1"), guard_cell("-3.5"), guard_cell("sleeve-long")
    ("'=1+1", '-3.5', 'sleeve-long')
    """
    return "'" + cell if cell.startswith(_FORMULA_STARTS) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    """Tell whether the text is a plain number such as -3.5."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
