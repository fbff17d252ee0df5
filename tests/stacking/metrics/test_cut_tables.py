"""Tables of thresholds: every line counts as the decisions at its threshold do, and their size is bounded."""

import numpy as np
import pytest

from stacking.decision_rules import apply_thresholds
from stacking.metrics.counts import DecisionCounts
from stacking.metrics.cut_tables import FEWEST_CUTS, MOST_CUTS, MOST_LINES, tabulate_cuts
from stacking.truth import Truth


def case(rng, n_samples, n_labels, *, digits=None, known=False, weighted=False):
    score = rng.random((n_samples, n_labels)).astype(np.float32) ** 3
    score = score if digits is None else np.round(score, digits)
    truth = Truth.check(
        (rng.random(score.shape) < score).astype(np.uint8),
        y_known=rng.random(score.shape) < 0.7 if known else None,
        sample_weight=rng.integers(0, 4, n_samples) / 3 if weighted else None,
    )
    limits = rng.choice([0.0, 0.2, 0.123456789, 1.0, np.inf, 1.5, float(score[0, 0])], n_labels)
    return score, truth, limits


@pytest.mark.parametrize("facts", [{}, {"known": True}, {"weighted": True}, {"known": True, "weighted": True}])
@pytest.mark.parametrize(("n_samples", "digits"), [(60, None), (3000, None), (3000, 2), (1, None)])
def test_every_line_counts_as_its_threshold_decides(rng, n_samples, digits, facts):
    score, truth, limits = case(rng, n_samples, 5, digits=digits, **facts)
    cuts = tabulate_cuts(score, truth, limits)
    assert cuts.start[-1] == len(cuts.threshold)
    np.testing.assert_allclose(cuts.positives, truth.positives())
    for line in range(int(np.diff(cuts.start).max())):
        own = np.minimum(cuts.start[:-1] + line, cuts.start[1:] - 1)
        counts = DecisionCounts.count(apply_thresholds(score, cuts.threshold[own]), truth)
        np.testing.assert_allclose(cuts.hits[own], counts.label_hits / truth.mean_weight, atol=1e-9)
        np.testing.assert_allclose(cuts.fired[own], counts.label_predicted / truth.mean_weight, atol=1e-9)
    for first, last in zip(cuts.start[:-1], cuts.start[1:], strict=True):
        assert (np.diff(cuts.threshold[first:last]) > 0).all()
        assert cuts.threshold[last - 1] == np.inf and cuts.fired[last - 1] == 0
    given = apply_thresholds(score, limits)
    counted = np.ones(score.shape, bool) if truth.y_known is None else truth.y_known
    weight = np.ones(len(score)) if truth.sample_weight is None else truth.sample_weight
    counted = counted & (weight > 0)[:, None]
    np.testing.assert_array_equal(apply_thresholds(score, cuts.threshold[cuts.chosen])[counted], given[counted])


def test_a_label_without_known_cells_has_the_line_never(rng):
    truth = Truth.check(np.zeros((4, 2), np.uint8), y_known=np.array([[True, False]] * 4))
    cuts = tabulate_cuts(rng.random((4, 2)).astype(np.float32), truth, [0.5, 0.5])
    assert cuts.threshold[cuts.start[1] :].tolist() == [np.inf]


@pytest.mark.parametrize(("n_samples", "n_labels"), [(20_000, 3), (300, 400), (100, 3000)])
def test_tables_are_bounded(rng, n_samples, n_labels):
    score, truth, limits = case(rng, n_samples, n_labels)
    cuts = tabulate_cuts(score, truth, limits)
    assert np.diff(cuts.start).max() <= MOST_CUTS + 4
    assert len(cuts.threshold) <= max(MOST_LINES, FEWEST_CUTS * n_labels) + 4 * n_labels


def test_thresholds_are_short_numbers(rng):
    score, truth, _ = case(rng, 50, 1)
    cuts = tabulate_cuts(score, truth, [np.inf])
    assert max(len(repr(limit)) for limit in cuts.threshold[:-1].tolist()) <= 9
