"""Many labels: coarse histograms prune less and choose the same cuts; cells cost alike whatever their shape."""

import numpy as np
import pytest

from experiments.benchmarks.votes import TWICE, fit_both_shapes
from stacking.decision_rules import sorted_cuts, tune_thresholds
from stacking.kernels.compiling import Kernel
from stacking.testing import draw_scores


@pytest.mark.parametrize("rule", ["exact-micro-f1", "cross-validated", "single", "own-f1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_width_of_the_bins_changes_no_threshold(rule, weighted, rng, monkeypatch):
    truth = (rng.random((150, 40)) < 0.1).astype(np.uint8)
    scores = draw_scores(truth, [1.0], rng, offset=-2.0)[0]
    metadata = {"sample_weight": rng.integers(0, 4, 150) / 2} if weighted else {}
    fine = tune_thresholds(scores, truth, rule, **metadata)
    monkeypatch.setattr(sorted_cuts, "FINE_LABELS", 1)
    assert sorted_cuts._histogram_shift(40) == 23
    np.testing.assert_array_equal(tune_thresholds(scores, truth, rule, **metadata), fine)


def test_histograms_of_many_labels_stay_small():
    assert sorted_cuts._histogram_shift(500) == 19
    assert sorted_cuts._histogram_shift(10**6) == 19 + 4


@pytest.mark.parametrize("method", ["mean", "greedy", "greedy-per-label"])
def test_a_cell_costs_at_most_twice_as_much_where_labels_are_many(method, monkeypatch):
    """The shapes that ``make bench`` measures for every vote, at a third of the cells."""
    monkeypatch.setattr(Kernel, "is_compiled_at_once", True)  # both shapes by the same loops
    fit_both_shapes(method, [(60, 5), (10, 30)], 1).run()  # compiles
    job = fit_both_shapes(method, [(1_667, 120), (33, 6_060)], 1)
    assert job.describe(job.run())["cell_ratio"] <= TWICE
