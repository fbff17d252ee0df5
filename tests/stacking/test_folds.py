"""Stratified grouped folds: balance against the library, groups kept whole, odd cases, seeds."""

import numpy as np
import pytest
from iterstrat.ml_stratifiers import IterativeStratification

from stacking import folds
from stacking.folds import holdout_rows, stratified_group_folds


@pytest.fixture
def long_tail(rng):
    return (rng.random((1500, 30)) < np.geomspace(0.5, 0.005, 30)).astype(np.uint8)


@pytest.fixture(params=["library", "compiled"])
def dealer(request, monkeypatch):
    monkeypatch.setattr(folds, "LIBRARY_CELLS", 10**9 if request.param == "library" else 0)
    return request.param


def label_spread(y_true, held_out, n_splits):
    """Mean over labels and folds of |positives in the fold − fair share|."""
    counts = np.array([y_true[held_out == fold].sum(axis=0) for fold in range(n_splits)], dtype=float)
    return np.abs(counts - y_true.sum(axis=0) / n_splits).mean()


def test_every_label_is_shared_evenly(dealer, long_tail):
    held_out = stratified_group_folds(long_tail, 5)
    random = np.random.default_rng(0).integers(5, size=len(long_tail))
    assert label_spread(long_tail, held_out, 5) < 0.25 * label_spread(long_tail, random, 5)
    sizes = np.bincount(held_out, minlength=5)
    assert sizes.max() - sizes.min() <= 0.05 * len(long_tail)
    counts = np.array([long_tail[held_out == fold].sum(axis=0) for fold in range(5)])
    assert (counts[:, long_tail.sum(axis=0) >= 5] > 0).all()


def test_compiled_is_as_even_as_the_library(long_tail, monkeypatch):
    monkeypatch.setattr(folds, "LIBRARY_CELLS", 0)
    ours = label_spread(long_tail, stratified_group_folds(long_tail, 5), 5)
    seeded = np.random.RandomState(0)
    library = IterativeStratification(long_tail.astype(bool), np.full(5, 0.2), seeded)
    assert ours <= 1.2 * label_spread(long_tail, library, 5)


def test_no_group_is_split_and_folds_stay_even(long_tail, rng):
    groups = np.char.add("artist", rng.integers(300, size=len(long_tail)).astype(str))
    held_out = stratified_group_folds(long_tail, 4, groups=groups)
    for name in np.unique(groups):
        assert len(np.unique(held_out[groups == name])) == 1
    sizes = np.bincount(held_out, minlength=4)
    assert sizes.max() - sizes.min() <= 0.06 * len(long_tail)
    by_group = np.random.default_rng(0).integers(4, size=len(np.unique(groups)))
    random = by_group[np.unique(groups, return_inverse=True)[1]]
    assert label_spread(long_tail, held_out, 4) < 0.5 * label_spread(long_tail, random, 4)


def test_one_huge_group_leaves_the_other_folds_to_the_rest(rng):
    y_true = (rng.random((100, 3)) < 0.4).astype(np.uint8)
    groups = np.where(np.arange(100) < 60, 0, np.arange(100))
    sizes = np.bincount(stratified_group_folds(y_true, 3, groups=groups), minlength=3)
    assert sorted(sizes)[-1] >= 60
    assert min(sizes) >= 10


@pytest.mark.parametrize("n_labels", [1, 4])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_odd_truth(dealer, n_labels, share, rng):
    y_true = (rng.random((23, n_labels)) < share).astype(np.uint8)
    held_out = stratified_group_folds(y_true, 5)
    assert set(held_out.tolist()) == set(range(5))
    sizes = np.bincount(held_out)
    assert sizes.max() - sizes.min() <= 2


def test_more_folds_than_positives(dealer):
    y_true = np.zeros((40, 2), dtype=np.uint8)
    y_true[:3, 0] = 1
    held_out = stratified_group_folds(y_true, 10)
    assert len(set(held_out[:3].tolist())) == 3


@pytest.mark.parametrize("n_samples", [2, 5, 6])
def test_no_fold_is_empty_even_with_one_sample_each(dealer, n_samples):
    for seed in range(20):
        y_true = np.random.default_rng(seed).integers(0, 2, (n_samples, 4))
        n_splits = min(5, n_samples)
        held_out = stratified_group_folds(y_true, n_splits, random_state=seed)
        assert set(held_out.tolist()) == set(range(n_splits))


def test_seed_decides_and_the_global_generator_is_untouched(dealer, long_tail):
    np.random.seed(3)  # noqa: NPY002 - the global generator is what this test watches
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first = stratified_group_folds(long_tail, random_state=1)
    np.testing.assert_array_equal(first, stratified_group_folds(long_tail, random_state=1))
    np.testing.assert_array_equal(first, stratified_group_folds(long_tail, random_state=np.random.default_rng(1)))
    assert (first != stratified_group_folds(long_tail, random_state=2)).any()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_holdout_has_its_share_of_rows_and_positives(dealer, long_tail, fraction):
    held = holdout_rows(long_tail, fraction)
    assert held.dtype == bool
    assert held.mean() == pytest.approx(fraction, abs=0.02)
    counts = long_tail.sum(axis=0)
    np.testing.assert_allclose(long_tail[held].sum(axis=0), fraction * counts, atol=0.02 * counts.max())


def test_holdout_keeps_groups_whole(long_tail, rng):
    groups = rng.integers(200, size=len(long_tail))
    held = holdout_rows(long_tail, 0.25, groups, random_state=4)
    assert held.mean() == pytest.approx(0.25, abs=0.03)
    assert not set(groups[held]) & set(groups[~held])


def test_holdout_of_two_samples_has_one_on_each_side():
    assert holdout_rows([[1], [1]], 0.01).sum() == 1
    assert holdout_rows([[0], [0]], 0.99).sum() == 1


@pytest.mark.slow
def test_a_large_set_is_dealt_within_seconds(rng):
    import time

    y_true = rng.random((200_000, 100)) < 0.03
    stratified_group_folds(y_true[:4000])
    started = time.process_time()
    held_out = stratified_group_folds(y_true)
    assert time.process_time() - started < 5
    assert label_spread(y_true, held_out, 5) < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_splits": 1}, "n_splits must lie between 2 and the number of samples, 4: got 1"),
        ({"n_splits": 5}, "n_splits must lie between 2 and the number of samples"),
        ({"n_splits": 3, "groups": [0, 0, 1, 1]}, "number of groups, 2: got 3"),
        ({"groups": [0, 1]}, "groups must hold one value per sample"),
        ({"y_true": [1, 0]}, "y_true must have two dimensions"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    given = {"y_true": np.eye(4, dtype=np.uint8), "n_splits": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        stratified_group_folds(**given)


def test_wrong_holdout_is_named():
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
        holdout_rows([[1], [0]], 1.0)
    with pytest.raises(ValueError, match="at least two samples"):
        holdout_rows([[1], [0]], 0.5, groups=[7, 7])
