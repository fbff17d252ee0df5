import numpy as np
import pytest

from stacking.ties import exceeds, first_best


@pytest.mark.parametrize(
    ("value", "bound", "above"),
    [
        (0.31, 0.3, True),
        (0.1 + 0.2, 0.3, False),
        (0.3, 0.31, False),
        (np.inf, 0.5, True),
        (0.5, -np.inf, True),
        (0.5, np.inf, False),
        (np.inf, np.inf, False),
        (-np.inf, -np.inf, False),
        (np.nan, 0.3, False),
    ],
)
def test_a_value_is_above_by_more_than_rounding(value, bound, above):
    assert exceeds(value, bound).item() is above


def test_terms_that_cancel_count_by_their_own_size():
    assert exceeds(1e-12, 0.0) and not exceeds(1e-12, 0.0, scale=1.0)


def test_the_first_of_equal_ones_is_best():
    assert first_best([0.3, 0.1 + 0.2, 0.2]) == 0
    assert first_best([0.2, np.inf, 0.9]) == 1
