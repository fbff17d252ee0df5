"""Text cells of CSV files that people open in a spreadsheet, which runs what looks like a formula."""

__all__ = ["guard_cell"]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guard_cell(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula.

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
