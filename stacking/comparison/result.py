"""A finished comparison: what it has found, and its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacking.comparison.results import ComparisonResults
from stacking.files.atomic_files import atomic_write_text
from stacking.files.output_rules import check_output_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stacking.report import Report, Section


@dataclass(frozen=True)
class Comparison(ComparisonResults):
    """Held-out scores of every method on the same splits; made by `compare`.

    Attributes
    ----------
    rows : tuple of LeaderboardRow
        Best first.
    failures : tuple of FailedMethod
        Methods that could not be scored, with the reason.
    constant_answer : float
        What an answer that looks at no sample scores: the label set, or the frequencies, of the fitting side.
    ladder : Ladder or None
        Where the gain over the best member comes from; None without a member and a method.
    manifest : dict
        Inputs, protocol, versions, seed, options.
    results : mapping of str to MethodResult
        Counts behind every row.
    replicates : mapping of (method, decision) to ndarray of shape (n_bootstrap,)
        The metric in every bootstrap sample.
    truth : Truth
        Of the scored samples.
    models, labels : tuple of str
        Names.
    kept : mapping of str to HeldOut
        Held-out scores of the method the report is about, the best member and the mean.
    metric : Metric
        What everything was fitted for and scored by.
    """

    def verdict(self) -> str:
        """Say the result in one paragraph.

        Returns
        -------
        str
            Plain text.
        """
        from stacking.comparison.presentation.report import write_verdict

        return write_verdict(self)

    def __repr__(self) -> str:
        """Say the verdict, and list the methods with their scores and limits."""
        from stacking.report.writing import write_estimate

        width = max((len(row.method) for row in self.rows), default=0)
        rows = [
            f"{row.method:<{width}}  {row.kind:<6}  {write_estimate(row.score, row.low, row.high)}" for row in self.rows
        ]
        return "\n".join([self.verdict(), *rows])

    def _repr_html_(self) -> str:
        """Show the verdict and the best rows in a notebook."""
        from stacking.comparison.presentation.notebook import comparison_card

        return comparison_card(self)

    def plot(self, chart: str = "leaderboard") -> Figure:
        """Draw one chart of the report as a matplotlib figure.

        Parameters
        ----------
        chart : {"leaderboard", "gain", "labels", "thresholds", "reliability"}, default="leaderboard"
            Which.

        Returns
        -------
        matplotlib.figure.Figure
            Of no pyplot: notebooks show it, ``.savefig(path)`` keeps it.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such chart, or this comparison has nothing to show in it.
        """
        from stacking.comparison.presentation.notebook import plot_comparison

        return plot_comparison(self, chart)

    def sections(self) -> list[Section]:
        """Describe the comparison as sections of a report.

        Returns
        -------
        list of Section
            Leaderboard, gain, weights, labels, thresholds and reliability, protocol.
        """
        from stacking.comparison.presentation.report import comparison_sections

        return comparison_sections(self)

    def report(self, title: str = "Comparison of ensembles", extra_sections: Sequence[Section] = ()) -> Report:
        """Build the whole report as data.

        Parameters
        ----------
        title : str, default="Comparison of ensembles"
            Its title.
        extra_sections : sequence of Section, default=()
            Put before the section on the protocol.

        Returns
        -------
        Report
            For `render_html` and `render_markdown`.
        """
        from stacking.comparison.presentation.report import comparison_report

        return comparison_report(self, title, extra_sections)

    def to_html(
        self,
        path: str | os.PathLike[str],
        title: str = "Comparison of ensembles",
        extra_sections: Sequence[Section] = (),
        *,
        overwrite: bool = False,
    ) -> None:
        """Write the report as one self-contained HTML file.

        Parameters
        ----------
        path : path-like
            Its folder must exist.
        title : str, default="Comparison of ensembles"
            Its title.
        extra_sections : sequence of Section, default=()
            Put before the section on the protocol.
        overwrite : bool, default=False
            Replace a file that is there.

        Raises
        ------
        OutputRefusedError
            If a file is there that was not to be replaced, or no regular file.
        """
        from stacking.report import render_html

        check_output_file(path, overwrite=overwrite)
        atomic_write_text(path, render_html(self.report(title, extra_sections)), replace=overwrite)

    def to_markdown(
        self,
        path: str | os.PathLike[str],
        title: str = "Comparison of ensembles",
        extra_sections: Sequence[Section] = (),
        *,
        overwrite: bool = False,
    ) -> None:
        """Write the report as Markdown.

        Parameters
        ----------
        path : path-like
            Its folder must exist.
        title : str, default="Comparison of ensembles"
            Its title.
        extra_sections : sequence of Section, default=()
            Put before the section on the protocol.
        overwrite : bool, default=False
            Replace a file that is there.

        Raises
        ------
        OutputRefusedError
            If a file is there that was not to be replaced, or no regular file.
        """
        from stacking.report import render_markdown

        check_output_file(path, overwrite=overwrite)
        atomic_write_text(path, render_markdown(self.report(title, extra_sections)), replace=overwrite)
