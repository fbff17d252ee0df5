"""A whole report, as plain data that shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stacking.report.notebook import Card, render_card
from stacking.report.sections import KeyFigure, Section


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes
    ----------
    title : str
        The title.
    sections : sequence of Section
        Shown in this order.
    verdict : str, default=""
        The result in one paragraph, on top of everything.
    subtitle : str, default=""
        What was measured on what.
    key_figures : sequence of KeyFigure, default=()
        Shown under the verdict.
    footer : str, default=""
        Version, seed, date.
    """

    title: str
    sections: Sequence[Section]
    verdict: str = ""
    subtitle: str = ""
    key_figures: Sequence[KeyFigure] = ()
    footer: str = ""

    def _repr_html_(self) -> str:
        """Show the verdict in a notebook, and what the report holds."""
        figures = [f"{figure.name}: {figure.value} {figure.note}".strip() for figure in self.key_figures]
        held = "Sections: " + ", ".join(section.title for section in self.sections) + "."
        lines = [line for line in (self.subtitle, self.verdict, *figures, held) if line]
        return render_card(Card(self.title, lines, note="labelstack.report(result, folder) writes the whole of it."))
