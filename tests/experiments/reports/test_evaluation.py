import numpy as np
import pytest

from experiments.reports.evaluation import labels_section
from stacking.comparison.held_out import HeldOut
from stacking.report import Figure, Paragraph, Table
from stacking.truth import Truth


@pytest.mark.parametrize(("threshold", "last"), [(0.5, Paragraph), (0.95, Table)])
def test_labels_that_are_never_predicted_are_listed_where_there_are_any(rng, threshold, last):
    y_true = rng.random((40, 3)) < 0.4
    y_score = np.where(y_true, 0.9, 0.1).astype(np.float32)
    ids = np.array([f"s{row}" for row in range(40)])
    section = labels_section(HeldOut("mean", ids, ("a", "b", "c"), Truth.check(y_true), y_score, y_score >= threshold))
    assert [type(block) for block in section.blocks] == [Figure, last]
