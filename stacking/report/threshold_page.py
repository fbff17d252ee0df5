"""A page on which thresholds are tried: sliders for precision against recall, and what comes of them on held-out rows.

The page holds the tables of `stacking.metrics.cut_tables` and one script that adds them up, named by its hash in the
content security policy; nothing is loaded. It takes about 3 kB a label, 0.75 MB for 228, however many the rows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stacking.report.page_environment import hash_for_policy, page_environment, read_template
from stacking.report.writing import visible

if TYPE_CHECKING:
    from stacking.metrics.cut_tables import CutTables

BANDS = ("frequent", "middle", "rare")
"""The labels in three groups of equal size, by their number of positives."""


@dataclass(frozen=True)
class ThresholdPage:
    """What the page shows.

    Attributes
    ----------
    method : str
        What gave the scores.
    labels : sequence of str
        Names.
    cuts : CutTables
        What every threshold of every label predicts, and where the sliders begin.
    n_samples : int
        Rows that were counted.
    notes : sequence of str, default=()
        Sentences on how the rows were held out, and on what the counts leave out.
    """

    method: str
    labels: Sequence[str]
    cuts: CutTables
    n_samples: int
    notes: Sequence[str] = ()


def render_threshold_page(page: ThresholdPage) -> str:
    """Render the page as one self-contained HTML file.

    Parameters
    ----------
    page : ThresholdPage
        What it shows.

    Returns
    -------
    str
        The file.
    """
    from markupsafe import Markup

    script = read_template("thresholds.js")
    # A "<" inside the data could end its element.
    data = json.dumps(_data(page), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    template = page_environment().get_template("thresholds.html")
    return template.render(
        page=page,
        bands=BANDS,
        data=Markup(data),  # ASCII without "<"  # nosec B704
        script=Markup(script),  # ours  # nosec B704
        script_hash=hash_for_policy(script),
    )


def frequency_bands(positives: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Deal labels into the three groups `BANDS`.

    Parameters
    ----------
    positives : array of shape (n_labels,)
        Positives of each label.

    Returns
    -------
    ndarray of int64, shape (n_labels,)
        0 for the third with the most positives, 2 for the third with the fewest; the earlier label first on ties.

    Examples
    --------
    >>> frequency_bands([5, 100, 20]).tolist()
    [2, 0, 1]
    """
    counts = np.asarray(positives)
    bands = np.empty(len(counts), np.int64)
    for band, labels in enumerate(np.array_split(np.argsort(-counts, kind="stable"), len(BANDS))):
        bands[labels] = band
    return bands


def _data(page: ThresholdPage) -> dict[str, Any]:
    """Put the tables into JSON; numbers of which there are many are the bytes of float64, little-endian."""
    cuts = page.cuts
    numbers = {"threshold": cuts.threshold, "hits": cuts.hits, "fired": cuts.fired, "positives": cuts.positives}
    return {
        "labels": list(page.labels),
        "shown": [visible(label) for label in page.labels],
        "bands": frequency_bands(cuts.positives).tolist(),
        "start": cuts.start.tolist(),
        "chosen": cuts.chosen.tolist(),
        **{key: base64.b64encode(values.astype("<f8").tobytes()).decode("ascii") for key, values in numbers.items()},
    }
