"""How numbers and foreign text are written in reports.

Names of models and labels come from files. One may hold a tag, a pipe, a line break, a formula or a mark that turns the
reading direction; none of these may act in a report.
"""

from __future__ import annotations

import math
import re
import unicodedata

from stacking.report.sections import Cell, ColumnKind

DASH = "–"
SCORE_DIGITS = 3
"""Digits after the point of scores, differences and their limits; tables as files hold all digits. A choice."""

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_NUMBER = re.compile(r"[+\-−]?[\d.,]+(?:[eE][+-]?\d+)?\s?(?:%|s)?")
# C0/C1 controls, directional marks, overrides and isolates, line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT = frozenset({"\u200d", "\u00ad"})  # joiners inside emoji, soft hyphens: harmless


def visible(text: str, *, keep_line_breaks: bool = False) -> str:
    r"""Write characters that act instead of being read as escapes.

    Parameters
    ----------
    text : str
        Any text.
    keep_line_breaks : bool, default=False
        Whether line breaks stay.

    Returns
    -------
    str
        The text without control characters, directional marks and lone surrogates.

    Examples
    --------
    >>> visible("a\nb\u202ec")
    'a\\nb\\u202ec'
    """
    if text.isascii() and text.isprintable():
        return text
    shown = []
    for character in text:
        hidden = unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in _KEPT
        if hidden and not (keep_line_breaks and character == "\n"):
            shown.append(character.encode("unicode_escape").decode("ascii"))
        else:
            shown.append(character)
    return "".join(shown)


def escape_markdown(text: str) -> str:
    r"""Escape a text so that Markdown shows it and does nothing else.

    Pipes, emphasis, tags, links and headings are escaped; a leading ``=``, ``+``, ``-`` or ``@`` is as well, because
    tables are pasted into spreadsheets.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> escape_markdown("a|b")
    'a\\|b'
    >>> escape_markdown("=1+1")
    '\\=1+1'
    """
    shown = visible(" ".join(text.split()) if not text.strip() else text)
    shown = _MARKDOWN_SPECIAL.sub(r"\\\1", shown)
    shown = shown.replace("://", r"\://").replace("www.", r"www\.")
    if re.match(r"\d+[.)]", shown) and not _NUMBER.fullmatch(shown):
        shown = re.sub(r"^(\d+)([.)])", r"\1\\\2", shown)
    if shown[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(shown):
        shown = "\\" + shown
    return shown


def write_count(number: int, noun: str) -> str:
    """Write how many there are of something.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        One of them, with a plural in *s*.

    Returns
    -------
    str
        With thousands separated.

    Examples
    --------
    >>> write_count(1, "model"), write_count(1200, "label")
    ('1 model', '1,200 labels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_score(value: float | None, digits: int = SCORE_DIGITS) -> str:
    """Write a score in [0, 1] without its leading zero.

    Parameters
    ----------
    value : float or None
        The score.
    digits : int, default=3
        Digits after the point.

    Returns
    -------
    str
        For example ``.812``; a dash for None and NaN.

    Examples
    --------
    >>> write_score(0.81234)
    '.812'
    """
    if value is None or math.isnan(value):
        return DASH
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    return f"−{text}" if value < 0 and text.strip(".0") else text


def write_gain(value: float | None, digits: int = SCORE_DIGITS) -> str:
    """Write a difference of scores with its sign, which is kept where the digits are all 0.

    Parameters
    ----------
    value : float or None
        The difference.
    digits : int, default=3
        Digits after the point.

    Returns
    -------
    str
        For example ``+.012`` or ``−.004``; a dash for None and NaN.

    Examples
    --------
    >>> write_gain(0.0123), write_gain(-0.0002)
    ('+.012', '−.000')
    """
    if value is None or math.isnan(value):
        return DASH
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return sign + write_score(abs(value), digits)


def write_interval(low: float | None, high: float | None, *, digits: int = SCORE_DIGITS, signed: bool = False) -> str:
    """Write an interval in square brackets.

    Parameters
    ----------
    low, high : float or None
        Its limits.
    digits : int, default=3
        Digits after the point.
    signed : bool, default=False
        Whether the limits are differences.

    Returns
    -------
    str
        For example ``[.805, .815]``; empty when there is none.

    Examples
    --------
    >>> write_interval(0.805, 0.815)
    '[.805, .815]'
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    write = write_gain if signed else write_score
    return f"[{write(low, digits)}, {write(high, digits)}]"


def write_estimate(
    value: float | None, low: float | None, high: float | None, *, digits: int = SCORE_DIGITS, signed: bool = False
) -> str:
    """Write a score, or a difference of scores, with its limits.

    Parameters
    ----------
    value, low, high : float or None
        The score and its limits.
    digits : int, default=3
        Digits after the point.
    signed : bool, default=False
        Whether it is a difference.

    Returns
    -------
    str
        For example ``.796 [.790, .802]``; without limits the score alone.

    Examples
    --------
    >>> write_estimate(0.796, 0.79, 0.802)
    '.796 [.790, .802]'
    >>> write_estimate(-0.01, -0.02, 0.0004, signed=True)
    '−.010 [−.020, +.000]'
    """
    number = write_gain(value, digits) if signed else write_score(value, digits)
    return f"{number} {write_interval(low, high, digits=digits, signed=signed)}".rstrip()


def write_cell(value: Cell, kind: ColumnKind = "text") -> str:
    """Write one cell of a table.

    Parameters
    ----------
    value : str, int, float, bool or None
        The value. Text in a numeric column is kept as it is.
    kind : str, default="text"
        The kind of its column, see `Column`.

    Returns
    -------
    str
        Text without escapes; the renderers escape it.

    Examples
    --------
    >>> write_cell(1234, "count"), write_cell(None, "score"), write_cell(0.25, "percent")
    ('1,234', '–', '25.0 %')
    """
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return visible(value)
    return _write_number(float(value), kind)


def _write_number(value: float, kind: ColumnKind) -> str:
    """Write one number the way its column asks for."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if kind == "score":
        return write_score(value)
    if kind == "gain":
        return write_gain(value)
    if kind == "count":
        return f"{value:,.0f}".replace("-", "−")
    if kind == "percent":
        return f"{100 * value:.1f} %".replace("-", "−")
    if kind == "seconds":
        return f"{value:,.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"
    # float64 holds every whole number up to 2**53 = 9e15, so below 1e15 all digits written are exact.
    text = f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
    return text.replace("-", "−", 1) if value < 0 else text
