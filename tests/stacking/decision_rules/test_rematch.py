"""Rematched thresholds: counts match, order of the rows is kept, nothing moves without need."""

import numpy as np
import pytest

from stacking import StackingEnsemble
from stacking.decision_rules import apply_thresholds, rematch_thresholds
from stacking.metrics import micro_f1
from stacking.testing import make_predictions


@pytest.fixture
def rows(rng):
    """Scores of tuning rows and of new rows from the same logits, shrunk for the new ones; thresholds and shares."""
    logits = rng.normal(-1.5, 1.5, (900, 6)) + np.array([2, 1, 0, 0, -1, -4.0])
    old, new = (1 / (1 + np.exp(-logits[:500]))), 1 / (1 + np.exp(-0.6 * logits[500:]))
    thresholds = np.array([0.45, 0.3, 0.35, np.inf, 0.4, 0.3])
    return new.astype(np.float32), thresholds, apply_thresholds(old, thresholds).mean(axis=0)


def test_one_shift_matches_the_number_of_all_labels(rows):
    new, thresholds, share = rows
    moved = rematch_thresholds(thresholds, share, new)
    assert abs(apply_thresholds(new, moved).sum() - share.sum() * len(new)) <= 1
    assert abs(apply_thresholds(new, thresholds).sum() - share.sum() * len(new)) > 20
    finite = np.isfinite(thresholds)
    shift = np.log(moved[finite] / (1 - moved[finite])) - np.log(thresholds[finite] / (1 - thresholds[finite]))
    np.testing.assert_allclose(shift, shift[0])
    assert np.isinf(moved[3])


def test_per_label_cuts_where_sorting_would(rows):
    new, thresholds, share = rows
    moved = rematch_thresholds(thresholds, share, new, "per-label")
    fired = apply_thresholds(new, moved).sum(axis=0)
    expected = share * len(new)
    often = np.isfinite(thresholds) & (expected >= 10)
    assert often.sum() == 4 and expected[5] < 10
    np.testing.assert_array_equal(fired[often], np.round(expected[often]))
    for label in np.flatnonzero(often):
        ordered = np.sort(new[:, label])[::-1]
        assert ordered[fired[label]] < moved[label] <= ordered[fired[label] - 1]
    shared = rematch_thresholds(thresholds, share, new, "shift")
    assert moved[5] == shared[5]  # too rare for a number of its own
    assert rematch_thresholds(thresholds, share, new, "per-label", min_count=1e9).tolist() == shared.tolist()


def test_what_matches_already_is_left_alone(rows):
    new, thresholds, _ = rows
    share = apply_thresholds(new, thresholds).mean(axis=0)
    for how in ("shift", "per-label"):
        assert rematch_thresholds(thresholds, share, new, how).tolist() == thresholds.tolist()


def test_equal_scores_get_the_nearest_count():
    new = np.array([[0.8], [0.5], [0.5], [0.5], [0.1]])
    for share, fired in ((0.2, 1), (0.4, 1), (0.6, 4), (0.8, 4), (1.0, 5), (0.0, 0)):
        for start in (0.05, 0.45, 0.6, 0.9):
            moved = rematch_thresholds([start], [share], new, "per-label", min_count=0)
            assert apply_thresholds(new, moved).sum() == fired, (share, start)
    assert rematch_thresholds([0.0], [0.1], new).tolist() == [0.0]
    assert rematch_thresholds([1.0], [0.1], new).tolist() == [1.0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="how must be one of"):
        rematch_thresholds([0.5], [0.5], [[0.5]], "labels")
    with pytest.raises(ValueError, match=r"predicted_share must hold one share in \[0, 1\] for each of 1 labels"):
        rematch_thresholds([0.5], [1.5], [[0.5]])
    with pytest.raises(ValueError, match=r"predicted_share must hold .* got shape \(2,\)"):
        rematch_thresholds([0.5], [0.5, 0.5], [[0.5]])
    with pytest.raises(ValueError, match="at least one sample"):
        rematch_thresholds([0.5], [0.5], np.empty((0, 1)))


def test_an_ensemble_rematches_scores_that_were_averaged(tmp_path):
    fitted, new = make_predictions(3, 600, 8, random_state=0), make_predictions(3, 600, 8, random_state=1)
    ensemble = StackingEnsemble("mean", n_splits=3, rule="single").fit(fitted)
    shrunk = 0.6 * ensemble.predict_proba(new)  # distributed otherwise, in the same order
    plain, moved = ensemble.decide(shrunk), ensemble.decide(shrunk, ensemble.rematch(shrunk))
    assert micro_f1(new.y_true, moved) > micro_f1(new.y_true, plain) + 0.01
    assert moved.sum() == pytest.approx(ensemble.predicted_share_.sum() * 600, abs=1)
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.rematch(shrunk, "per-label"), ensemble.rematch(shrunk, "per-label"))
    again.predicted_share_ = None
    with pytest.raises(ValueError, match="an earlier version fitted this one; fit it again"):
        again.rematch(shrunk)
