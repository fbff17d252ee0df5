"""The compiled loops of the weight search, where no public function shows them: grids and gradients."""

import numpy as np
import pytest

from stacking.kernels import weights as _kernels

NO_MASK, NO_WEIGHT = np.empty((0, 0), dtype=bool), np.empty(0)
NOTHING_COMMON = np.zeros((1, 1), dtype=np.float32)


@pytest.mark.parametrize("is_logit", [False, True])
def test_grid_places_are_monotone_and_within_the_grid(is_logit, rng):
    ends = [-16.2, 16.2] if is_logit else [0.0, 1.0, 1.0 + 6e-8, 0.5, np.nextafter(np.float32(0.5), np.float32(0))]
    spread = rng.uniform(ends[0], ends[1], 3000)
    values = np.sort(np.concatenate([ends, spread])).astype(np.float32)
    start = np.array([0, 0, len(values)])
    histograms = np.zeros((1, 2, 2 * _kernels.GRID_HALF + 1), dtype=np.int32)
    everyone = np.ones((1, 1, 1), dtype=np.float32)
    given = (NO_WEIGHT, NOTHING_COMMON, everyone, np.arange(1), is_logit)
    _kernels.grid_histograms(values[None], start, *given, histograms)
    assert histograms[0, 1].sum() == len(values)
    places = []
    for value in values[::50]:
        one = np.zeros_like(histograms)
        _kernels.grid_histograms(np.array([[value]]), np.array([0, 0, 1]), *given, one)
        places.append(int(one[0, 1].argmax()))
    assert (np.diff(places) >= 0).all()
    assert len(set(places)) > 40


def test_long_products_do_not_underflow():
    """A block of the smallest probabilities: 32 of them are multiplied before the logarithm."""
    n = 3 * _kernels.BLOCK + 7
    values = np.zeros((1, n), dtype=np.float32)
    totals = np.zeros(1)
    everyone = np.ones((1, 1, 1), dtype=np.float32)
    _kernels.log_likelihoods(values, np.array([0, 0, n]), NO_WEIGHT, NOTHING_COMMON, everyone, False, totals)
    assert totals[0] == pytest.approx(n * np.log(1e-7), rel=1e-6)
    total = _kernels.log_likelihood_gradient(
        values, np.array([0, 0, n]), NO_WEIGHT, everyone[0], False, np.zeros((1, 1))
    )
    assert total == pytest.approx(n * np.log(1e-7), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("way", ["dispatcher", "twin"])
def test_a_mixed_score_at_the_cut_fires(way, weighted, rng):
    """Eighths and halves have no rounding: many cells lie at the cut, and brute force counts them as well."""
    values = rng.integers(0, 9, (2, 60)).astype(np.float32) / 8
    start = np.array([0, 20, 35, 50, 60])  # two groups of labels, negatives before positives
    weight = rng.integers(1, 5, 60) / 4 if weighted else NO_WEIGHT
    common = np.full((2, 2), 0.25, np.float32)
    candidates = np.array([[[0.5, 0.0], [0.0, 0.5]], [[0.25, 0.25], [0.25, 0.25]]], np.float32)
    cut, fired = np.float32(0.5), np.zeros((2, 2))
    getattr(_kernels.fired_at, way)(values, start, weight, common, candidates, cut, fired)
    expected, at_the_cut = np.zeros((2, 2)), 0
    for candidate, shares in enumerate(candidates + common):
        for cell in range(60):
            segment = int(np.searchsorted(start, cell, side="right")) - 1
            mixed = sum(shares[model, segment // 2] * values[model, cell] for model in range(2))
            at_the_cut += mixed == cut
            expected[candidate, segment % 2] += (weight[cell] if weighted else 1.0) * (mixed >= cut)
    np.testing.assert_array_equal(fired, expected)
    assert at_the_cut > 3


@pytest.mark.parametrize("way", ["dispatcher", "twin"])
def test_cells_whose_scores_all_reach_the_highest_cut_always_fire(way, rng):
    block = rng.integers(0, 5, (2, 30, 3)).astype(np.float32) / 4
    truth = rng.integers(0, 2, (30, 3)).astype(np.uint8)
    low, high = np.float32(0.25), np.float32(0.5)
    counts, always, tier_of = np.zeros((1, 2), np.int64), np.zeros(2), np.empty((30, 3), np.int8)
    given = (NO_MASK, NO_WEIGHT, np.array([low]), high, np.float32(2.0), np.zeros(3, np.int64), counts, always, tier_of)
    getattr(_kernels.count_undecided, way)(block, truth, *given)
    surely, never = (block >= high).all(axis=0), (block < low).all(axis=0)
    assert (block.min(axis=0) == high).any()
    assert (block.max(axis=0) == low).any()
    for hit in (0, 1):
        assert always[hit] == np.count_nonzero(surely & (truth == hit))
        assert counts[0, hit] == np.count_nonzero(~surely & ~never & (truth == hit))
