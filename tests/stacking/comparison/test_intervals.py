"""Limits of a comparison come from the units that are independent: samples, or groups where there are groups."""

import numpy as np
import pytest

from stacking import PredictionSet, compare
from stacking.testing import make_predictions


@pytest.mark.parametrize("held_out", [False, True], ids=["nested", "holdout"])
def test_copies_in_one_group_make_nothing_surer(held_out):
    """Ten copies of every sample are no more evidence than one, as long as their groups say so."""
    few = make_predictions(2, 60, 3)
    other = make_predictions(2, 90, 3, random_state=1)
    rows = np.repeat(np.arange(60), 10)
    many = few.subset(samples=rows)
    names = [f"copy{i}" for i in range(600)]
    widths = {}
    for name, predictions in (
        ("few", few),
        ("grouped", PredictionSet(many.to_array(), names, y_true=many.y_true, groups=rows)),
        ("alone", PredictionSet(many.to_array(), names, y_true=many.y_true)),
    ):
        fitted, holdout = (other, predictions) if held_out else (predictions, None)
        row = compare(fitted, ["mean"], holdout=holdout, n_splits=3, n_bootstrap=400).row("mean")
        widths[name] = row.high - row.low
    assert widths["alone"] < 0.5 * widths["few"]
    assert 0.7 * widths["few"] < widths["grouped"] < 1.4 * widths["few"]


def test_weights_of_samples_reach_the_limits():
    """Where a tenth of the samples carries all the weight, the limits are those of a tenth of the samples."""
    predictions = make_predictions(2, 600, 3)
    scores, y_true = predictions.to_array(), predictions.y_true
    heavy = np.where(np.arange(600) % 10 == 0, 1000.0, 1.0)
    even, uneven = (
        compare(PredictionSet(scores, y_true=y_true, sample_weight=weight), ["mean"], n_splits=3, n_bootstrap=400)
        for weight in (None, heavy)
    )
    widths = [found.row("mean").high - found.row("mean").low for found in (even, uneven)]
    assert widths[1] > 2 * widths[0]
