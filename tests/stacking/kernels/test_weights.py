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
