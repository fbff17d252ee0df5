"""What a result shows of itself in a notebook: a few lines and a small table.

The text has the notebook's own color and lies on its own paper, so it is read in light and dark themes alike, whatever
the browser is set to. Everything that comes from files is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stacking.report.page_environment import page_environment
from stacking.report.sections import Table

MOST_ROWS = 12
"""Rows of a table in a notebook; a choice: a screen holds about twice as many."""


@dataclass(frozen=True)
class Card:
    """A few lines about a result.

    Attributes
    ----------
    title : str
        What it is.
    lines : sequence of str, default=()
        One paragraph each.
    table : Table or None, default=None
        Of few rows.
    note : str, default=""
        What to call next.
    """

    title: str
    lines: Sequence[str] = ()
    table: Table | None = None
    note: str = ""


def render_card(card: Card) -> str:
    """Render a few lines for a notebook.

    Parameters
    ----------
    card : Card
        As data.

    Returns
    -------
    str
        One ``<div>`` without scripts, classes or remote assets.

    Examples
    --------
    >>> page = render_card(Card("A & B", ["<script>"]))
    >>> "A &amp; B" in page, "<script" in page
    (True, False)
    """
    return page_environment().get_template("notebook.html").render(card=card)


def first_names(names: Sequence[str], most: int = 8) -> str:
    """List the first of many names.

    Parameters
    ----------
    names : sequence of str
        All of them.
    most : int, default=8
        How many to write.

    Returns
    -------
    str
        The names, and how many more there are.

    Examples
    --------
    >>> first_names(["dress", "red", "hat"], 2)
    'dress, red and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
