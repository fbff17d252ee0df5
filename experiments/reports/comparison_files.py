"""The files of a comparison: report, leaderboard and, last, ``manifest.json``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.reports.report_files import write_report
from experiments.reports.result_manifest import claimed, commit_result
from experiments.reports.threshold_files import write_threshold_page

if TYPE_CHECKING:
    from stacking.comparison import Comparison
    from stacking.files.output_folder import OutputFolder
    from stacking.report import Section


def write_comparison(
    comparison: "Comparison",
    folder: "str | Path | OutputFolder",
    *,
    overwrite: bool = False,
    title: str = "Comparison of ensembles",
    extra_sections: Sequence["Section"] = (),
    command: str = "compare",
) -> None:
    """Write a comparison into a folder.

    Parameters
    ----------
    comparison : Comparison
        What `stacking.compare` found.
    folder : str, Path or OutputFolder
        Made if it is absent.
    overwrite : bool, default=False
        Replace an earlier comparison; nothing else is ever replaced.
    title : str, default='Comparison of ensembles'
        Title of the report.
    extra_sections : sequence of Section, default=()
        Further sections, such as photos and learning curves.
    command : str, default='compare'
        The command whose result it is.
    """
    with claimed(folder, command, overwrite=overwrite) as output:
        write_report(comparison.report(title, extra_sections), output)
        comparison.to_json(output.path_of("leaderboard.json"))
        comparison.to_csv(output.path_of("leaderboard.csv"))
        if comparison.ensemble is not None:
            answer = comparison.held_out(comparison.ensemble.method)
            if answer.thresholds is not None:
                write_threshold_page(answer, answer.thresholds, output, _threshold_notes(comparison))
        commit_result(output, {"command": command, **comparison.manifest})


def _threshold_notes(comparison: "Comparison") -> list[str]:
    """Say where the thresholds of a comparison in folds begin."""
    n_splits = comparison.manifest["n_splits"]
    if n_splits == 1:
        return []
    return [f"Each of the {n_splits} folds had its own thresholds; the sliders begin at their medians."]
