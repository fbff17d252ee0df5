"""The paired bootstrap against one written out sample by sample, and counts against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score as sklearn_f1

from stacking.metrics import macro_f1, micro_f1, samples_f1
from stacking.metrics.bootstrap import bootstrap_micro_f1, bootstrap_totals, percentile_interval
from stacking.metrics.counts import DecisionCounts, ScoreHistogram
from stacking.truth import Truth


@pytest.fixture
def decided(rng):
    y_true = rng.random((200, 7)) < 0.3
    first = y_true ^ (rng.random(y_true.shape) < 0.1)
    second = y_true ^ (rng.random(y_true.shape) < 0.2)
    return y_true, first, second


def resample(decided, *, n_bootstrap=1000, groups=None, random_state=0):
    y_true, first, second = decided
    truth = Truth.check(y_true, groups=groups)
    counts = [DecisionCounts.count(y_pred, truth) for y_pred in (first, second)]
    return bootstrap_micro_f1(truth, counts, n_bootstrap=n_bootstrap, random_state=random_state)


def plainly(decided, groups=None, n_bootstrap=1000, seed=99):
    """The textbook way: draw rows, score them with scikit-learn's definition."""
    y_true, first, second = decided
    rng = np.random.default_rng(seed)
    units = np.arange(len(y_true)) if groups is None else groups
    names = np.unique(units)
    members = [np.flatnonzero(units == name) for name in names]
    values = []
    for _ in range(n_bootstrap):
        rows = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        true = y_true[rows]
        values.append([2 * (true & pred[rows]).sum() / (true.sum() + pred[rows].sum()) for pred in (first, second)])
    return np.array(values).T


def test_limits_agree_with_a_simple_bootstrap(decided):
    ours, plain = resample(decided, n_bootstrap=4000), plainly(decided, n_bootstrap=4000)
    for a, b in zip(ours, plain, strict=True):
        assert percentile_interval(a) == pytest.approx(percentile_interval(b), abs=0.004)
    assert percentile_interval(ours[0] - ours[1]) == pytest.approx(percentile_interval(plain[0] - plain[1]), abs=0.006)


def test_limits_over_groups_agree_and_are_wider_when_groups_err_together(rng):
    y_true = rng.random((200, 7)) < 0.3
    groups = np.repeat(np.arange(20), 10)
    bad_group = np.repeat(rng.random(20) < 0.4, 10)
    first = y_true ^ (rng.random(y_true.shape) < np.where(bad_group, 0.4, 0.02)[:, None])
    decided = (y_true, first, first)
    ours, plain = resample(decided, groups=groups, n_bootstrap=4000)[0], plainly(decided, groups, 4000)[0]
    assert percentile_interval(ours) == pytest.approx(percentile_interval(plain), abs=0.02)
    alone = percentile_interval(resample(decided)[0])
    together = percentile_interval(ours)
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_differences_are_paired(decided):
    first, second = resample(decided)
    paired = percentile_interval(first - second)
    unpaired = percentile_interval(first - resample(decided, random_state=1)[1])
    assert paired[1] - paired[0] < unpaired[1] - unpaired[0]
    same = resample((decided[0], decided[1], decided[1]))
    assert np.array_equal(*same)


def test_draws_do_not_depend_on_how_many_fit_in_memory(decided, monkeypatch):
    whole = resample(decided, n_bootstrap=50)
    monkeypatch.setattr("stacking.metrics.bootstrap._DRAWS_IN_MEMORY", 300)
    assert np.allclose(whole, resample(decided, n_bootstrap=50))


def test_weights_equal_repetition_and_a_row_of_weight_0_is_no_unit():
    counts, y_true = np.array([[1.0], [2.0], [5.0]]), np.ones((3, 1), np.uint8)
    assert Truth.check(y_true, sample_weight=[1, 2, 0]).sum_units(counts).tolist() == [[1.0], [4.0]]
    truth = Truth.check(y_true, groups=["b", "a", "b"], sample_weight=[1, 2, 3])
    assert truth.sum_units(counts).tolist() == [[4.0], [16.0]]


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"groups must hold one value per sample: got shape \(2,\) for 3"):
        Truth.check(np.ones((3, 1), np.uint8), groups=[1, 2])
    with pytest.raises(ValueError, match="at least one unit"):
        bootstrap_totals(np.ones((0, 2)))
    with pytest.raises(ValueError, match="n_bootstrap must be at least 1: got 0"):
        bootstrap_totals(np.ones((3, 2)), n_bootstrap=0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_counts_give_the_averages_of_the_metrics(decided, rng, masked, weighted):
    y_true, y_pred, _ = decided
    y_known = rng.random(y_true.shape) < 0.8 if masked else None
    weight = rng.random(len(y_true)) if weighted else None
    truth = Truth.check(y_true, y_known=y_known, sample_weight=weight)
    counts = DecisionCounts.count(y_pred, truth)
    options = {"y_known": y_known, "sample_weight": weight}
    assert counts.micro_f1(truth) == pytest.approx(micro_f1(y_true, y_pred, **options))
    assert counts.f1_per_label(truth).mean() == pytest.approx(macro_f1(y_true, y_pred, **options))
    assert counts.samples_f1(truth) == pytest.approx(samples_f1(y_true, y_pred, **options))
    if not masked:
        for average, value in (("micro", counts.micro_f1(truth)), ("samples", counts.samples_f1(truth))):
            expected = sklearn_f1(y_true, y_pred, average=average, sample_weight=weight, zero_division=0)
            assert value == pytest.approx(expected)


def test_threshold_curve_is_the_score_at_every_hundredth(rng):
    y_true = rng.random((300, 5)) < 0.3
    y_score = np.round(rng.random((300, 5)), 2).astype(np.float32)
    thresholds, curve = ScoreHistogram.count(y_score, Truth(y_true)).threshold_curve()
    for position in (0, 1, 29, 50, 100):
        expected = micro_f1(y_true, np.round(y_score, 2) >= np.float32(thresholds[position]) - 1e-6)
        assert curve[position] == pytest.approx(expected)


def test_reliability_of_true_probabilities_is_the_diagonal(rng):
    y_score = rng.random((20000, 5)).astype(np.float32)
    histogram = ScoreHistogram.count(y_score, Truth(rng.random(y_score.shape) < y_score))
    mean_score, share, cells = histogram.reliability_curve(10)
    assert cells.sum() == y_score.size
    assert np.abs(mean_score - share).max() < 0.02
    with pytest.raises(ValueError, match="n_bins must divide 100: got 3"):
        histogram.reliability_curve(3)


def test_unknown_cells_count_in_no_curve(rng):
    y_known = rng.random((100, 4)) < 0.5
    y_score = rng.random((100, 4)).astype(np.float32)
    histogram = ScoreHistogram.count(y_score, Truth(np.ones((100, 4), bool), y_known))
    assert histogram.cells.sum() == histogram.positives.sum() == y_known.sum()
