"""The standard error of a difference in micro-F1, against the bootstrap and on heavy groups."""

import numpy as np
import pytest

from stacking import PredictionSet, micro_f1
from stacking.metrics.paired_difference import F1Counts, PairedGain, paired_gain


@pytest.fixture
def case(rng):
    y_true = rng.random((1500, 6)) < 0.3
    decided = [y_true ^ (rng.random(y_true.shape) < rate) for rate in (0.10, 0.14)]
    return PredictionSet(np.zeros((1, 1500, 6)), y_true=y_true.astype(np.uint8)), decided


def test_gain_and_scores_are_those_of_the_metric(case):
    predictions, (good, bad) = case
    counts = [F1Counts(predictions.truth.count(decided)) for decided in (good, bad)]
    scores = [micro_f1(predictions.y_true, decided) for decided in (good, bad)]
    assert [count.micro_f1 for count in counts] == pytest.approx(scores)
    assert paired_gain(*counts).gain == pytest.approx(scores[0] - scores[1])


def test_standard_error_is_that_of_the_paired_bootstrap(case, rng):
    predictions, (good, bad) = case
    counts = [F1Counts(predictions.truth.count(decided)) for decided in (good, bad)]
    draws = rng.multinomial(1500, np.full(1500, 1 / 1500), size=2000)
    sums = [draws @ count.counts for count in counts]
    scores = [2 * total[:, 0] / (total[:, 1] + total[:, 2]) for total in sums]
    assert paired_gain(*counts).standard_error == pytest.approx(np.std(scores[0] - scores[1]), rel=0.08)


def test_a_clear_gain_is_proven_and_no_gain_is_not(case):
    predictions, (good, bad) = case
    better, worse = (F1Counts(predictions.truth.count(decided)) for decided in (good, bad))
    assert paired_gain(better, worse).is_proven()
    assert not paired_gain(worse, better).is_proven()
    assert not paired_gain(better, better).is_proven()


def test_one_heavy_group_proves_nothing(rng):
    """All of the gain comes from one artist with half of the rows."""
    groups = np.concatenate([np.zeros(500, int), 1 + np.arange(500)])
    y_true = rng.random((1000, 4)) < 0.3
    flips = rng.random(y_true.shape)
    worse, better = y_true ^ (flips < 0.3), y_true ^ (flips < 0.3)
    better[:500] = y_true[:500] ^ (flips[:500] < 0.05)
    rows = PredictionSet(np.zeros((1, 1000, 4)), y_true=y_true.astype(np.uint8))
    by_row = paired_gain(*(F1Counts(rows.truth.count(decided)) for decided in (better, worse)))
    by_group = paired_gain(*(F1Counts(rows.with_groups(groups).truth.count(decided)) for decided in (better, worse)))
    assert by_row.is_proven()
    assert not by_group.is_proven()
    assert by_group.effective_units < 2


def test_unknown_cells_and_weights_count(rng):
    y_true = np.array([[1, 0], [0, 1]], np.uint8)
    decided = np.array([[True, True], [False, False]])
    known = np.array([[True, False], [True, True]])
    predictions = PredictionSet(np.zeros((1, 2, 2)), y_true=y_true, y_known=known, sample_weight=[2.0, 1.0])
    np.testing.assert_array_equal(F1Counts(predictions.truth.count(decided)).counts, [[2, 2, 2], [0, 0, 1]])


@pytest.mark.parametrize("confidence", [0.9, 0.999])
def test_more_confidence_asks_for_more(confidence):
    assert PairedGain(2.0, 1.0, 30.0).is_proven(confidence) == (confidence < 0.97)
