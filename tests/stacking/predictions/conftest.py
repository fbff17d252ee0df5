"""Sets of predictions for the tests of this folder."""

import numpy as np
import pytest

from stacking.predictions import PredictionSet


@pytest.fixture
def full_set(rng):
    """Three models, 40 samples, 6 labels, every fact; the last model answers two labels only."""
    scores = rng.random((3, 40, 6), dtype=np.float32)
    covers = np.ones((3, 6), bool)
    covers[2, [0, 1, 3, 4]] = False
    scores[2][:, ~covers[2]] = np.nan
    return PredictionSet(
        scores,
        [f"{i:03d}" for i in range(40)],
        ["cnn/a", "résumé", "specialist"],
        ["dress", "red", "NA", "size 7", "ﬁt", "x|y"],
        y_true=rng.integers(0, 2, (40, 6)),
        y_known=rng.random((40, 6)) > 0.1,
        sample_weight=rng.random(40) + 0.5,
        groups=[f"g{i // 3}" for i in range(40)],
        folds=np.arange(40) % 5,
        label_groups=["kind", "color", "kind", "size", "size", "kind"],
        train_frequency=rng.random(6),
        extras={"seed": np.array([1, 2, 3])},
    )


@pytest.fixture
def same_sets():
    """Compare two sets in everything."""

    def compare(one, two, atol=0.0):
        assert (one.models, one.labels, one.label_groups) == (two.models, two.labels, two.label_groups)
        np.testing.assert_allclose(one.to_array(), two.to_array(), rtol=0, atol=atol)
        assert one.to_array().dtype == two.to_array().dtype == np.float32
        for name in ("ids", "covers", "y_true", "y_known", "sample_weight", "groups", "folds", "train_frequency"):
            first, second = getattr(one, name), getattr(two, name)
            assert (first is None) == (second is None), name
            if first is not None:
                np.testing.assert_array_equal(first, second)
                assert first.dtype.kind == second.dtype.kind, name
        assert sorted(one.extras) == sorted(two.extras)
        for key in one.extras:
            np.testing.assert_array_equal(one.extras[key], two.extras[key])

    return compare
