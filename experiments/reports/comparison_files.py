"""The files of a comparison: ``report.html``, ``report.md``, ``leaderboard.json`` and, last, ``manifest.json``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.reports.result_manifest import write_manifest

if TYPE_CHECKING:
    from stacking.comparison import Comparison
    from stacking.report import Section


def write_comparison(
    comparison: "Comparison",
    folder: str | Path,
    *,
    title: str = "Comparison of ensembles",
    extra_sections: Sequence["Section"] = (),
) -> None:
    """Write a comparison into a folder.

    Parameters
    ----------
    comparison : Comparison
        What `stacking.compare` found.
    folder : str or Path
        Made if it is absent.
    title : str, default='Comparison of ensembles'
        Title of the report.
    extra_sections : sequence of Section, default=()
        Further sections, such as photos and learning curves.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    comparison.to_html(folder / "report.html", title, extra_sections)
    comparison.to_markdown(folder / "report.md", title, extra_sections)
    comparison.to_json(folder / "leaderboard.json")
    write_manifest(folder, {"command": "compare", **comparison.manifest})
