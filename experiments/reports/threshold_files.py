"""The page on which thresholds are tried, written beside the reports that have held-out scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stacking.files.atomic_files import atomic_write_text
from stacking.metrics.cut_tables import tabulate_cuts
from stacking.report.threshold_page import ThresholdPage, render_threshold_page

if TYPE_CHECKING:
    from stacking.comparison.held_out import HeldOut
    from stacking.files.output_folder import OutputFolder

PAGE = "thresholds.html"


def write_threshold_page(
    answer: "HeldOut", thresholds: npt.NDArray[np.float64], output: "OutputFolder", notes: Sequence[str] = ()
) -> None:
    """Write ``thresholds.html``.

    Parameters
    ----------
    answer : HeldOut
        Held-out scores of one method.
    thresholds : ndarray of shape (n_labels,)
        Where the sliders begin, +inf for never.
    output : OutputFolder
        A claimed folder.
    notes : sequence of str, default=()
        Sentences on how the rows were held out, and on what the counts leave out.
    """
    cuts = tabulate_cuts(answer.y_score, answer.truth, thresholds)
    counted = answer.truth.counted
    n_samples = len(answer.ids) if counted is None else int(counted.sum())
    page = ThresholdPage(answer.method, answer.labels, cuts, n_samples, notes)
    atomic_write_text(output.path_of(PAGE), render_threshold_page(page))
