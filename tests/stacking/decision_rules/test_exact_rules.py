"""The exact rules against brute force over every combination of cuts, on tiny cases full of ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stacking.decision_rules import apply_thresholds, never_predicted, tune_thresholds
from stacking.metrics import f1_per_label, macro_f1, micro_f1
from stacking.testing import draw_scores


@st.composite
def tiny_cases(draw):
    """Scores on a coarse grid (ties), truth, and sometimes a mask and weights."""
    n_samples, n_labels = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    grid = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
    y_score = draw(hnp.arrays(np.float32, (n_samples, n_labels), elements=grid))
    y_true = draw(hnp.arrays(np.uint8, (n_samples, n_labels), elements=st.integers(0, 1)))
    y_known = draw(st.none() | hnp.arrays(np.bool_, (n_samples, n_labels)).filter(np.any))  # some cell is known
    weight = draw(st.none() | hnp.arrays(np.float64, n_samples, elements=st.sampled_from([0.5, 1.0, 3.0])))
    return y_score, y_true, {"y_known": y_known, "sample_weight": weight}


def all_thresholds(y_score):
    """Every combination of per-label cuts, never included."""
    return itertools.product(*[[*np.unique(column), np.inf] for column in y_score.T.astype(float)])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(tiny_cases())
def test_exact_micro_f1_is_the_global_optimum(case):
    y_score, y_true, counted = case
    thresholds = tune_thresholds(y_score, y_true, "exact-micro-f1", **counted)
    best = max(micro_f1(y_true, y_score >= np.array(t), **counted) for t in all_thresholds(y_score))
    assert micro_f1(y_true, apply_thresholds(y_score, thresholds), **counted) == pytest.approx(best, abs=1e-12)
    known = np.ones(y_true.shape, dtype=bool) if counted["y_known"] is None else counted["y_known"]
    assert np.isinf(thresholds[~(y_true.astype(bool) & known).any(axis=0)]).all()


@settings(max_examples=120, deadline=None, derandomize=True)
@given(tiny_cases())
def test_single_is_the_best_shared_threshold(case):
    y_score, y_true, counted = case
    thresholds = tune_thresholds(y_score, y_true, "single", **counted)
    assert len(np.unique(thresholds)) == 1
    best = max(micro_f1(y_true, y_score >= t, **counted) for t in [*np.unique(y_score), np.inf])
    assert micro_f1(y_true, apply_thresholds(y_score, thresholds), **counted) == pytest.approx(best, abs=1e-12)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(tiny_cases())
def test_macro_f1_is_every_labels_best(case):
    y_score, y_true, counted = case
    reached = f1_per_label(
        y_true, apply_thresholds(y_score, tune_thresholds(y_score, y_true, "macro-f1", **counted)), **counted
    )
    best = np.max([f1_per_label(y_true, y_score >= np.array(t), **counted) for t in all_thresholds(y_score)], axis=0)
    np.testing.assert_allclose(reached, best, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tiny_cases())
def test_cyclic_never_beats_exact_and_cannot_be_improved_by_one_label(case):
    y_score, y_true, counted = case
    thresholds = tune_thresholds(y_score, y_true, "cyclic", **counted)
    reached = micro_f1(y_true, apply_thresholds(y_score, thresholds), **counted)
    exact = tune_thresholds(y_score, y_true, **counted)
    assert reached <= micro_f1(y_true, apply_thresholds(y_score, exact), **counted) + 1e-12
    for label in range(y_score.shape[1]):
        for cut in [*np.unique(y_score[:, label]), np.inf]:
            moved = thresholds.copy()
            moved[label] = cut
            assert micro_f1(y_true, apply_thresholds(y_score, moved), **counted) <= reached + 1e-12


def micro_plus_macro(y_true, y_pred, weight, counted):
    return micro_f1(y_true, y_pred, **counted) + weight * macro_f1(y_true, y_pred, **counted)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tiny_cases(), st.sampled_from([0.0, 0.3, 1.0, 4.0]))
def test_micro_macro_cannot_be_improved_by_one_label_and_beats_both_ends(case, weight):
    y_score, y_true, counted = case
    thresholds = tune_thresholds(y_score, y_true, "micro-macro-f1", weight=weight, **counted)
    reached = micro_plus_macro(y_true, apply_thresholds(y_score, thresholds), weight, counted)
    for rule in ("exact-micro-f1", "macro-f1"):
        start = apply_thresholds(y_score, tune_thresholds(y_score, y_true, rule, **counted))
        assert reached >= micro_plus_macro(y_true, start, weight, counted) - 1e-12
    for label in range(y_score.shape[1]):
        for cut in [*np.unique(y_score[:, label]), np.inf]:
            moved = thresholds.copy()
            moved[label] = cut
            assert micro_plus_macro(y_true, y_score >= moved, weight, counted) <= reached + 1e-12
    best = max(micro_plus_macro(y_true, y_score >= np.array(t), weight, counted) for t in all_thresholds(y_score))
    assert reached >= best - 0.02 * (1 + weight)


def test_micro_macro_lies_between_its_ends_and_moves_with_its_weight(scored):
    y_score, y_true = scored
    reached = []
    for weight in (0.0, 0.2, 1.0, 5.0, 1e4):
        y_pred = y_score >= tune_thresholds(y_score, y_true, "micro-macro-f1", weight=weight)
        reached.append((micro_f1(y_true, y_pred), macro_f1(y_true, y_pred)))
    micro, macro = np.array(reached).T
    assert (np.diff(micro) <= 1e-12).all()
    assert (np.diff(macro) >= -1e-12).all()
    exact, own = (y_score >= tune_thresholds(y_score, y_true, rule) for rule in ("exact-micro-f1", "macro-f1"))
    assert micro[0] == pytest.approx(micro_f1(y_true, exact), abs=1e-12)
    assert macro[-1] == pytest.approx(macro_f1(y_true, own), abs=1e-12)
    assert micro_f1(y_true, own) + 0.002 < micro[2] < micro[0]
    assert macro_f1(y_true, exact) + 0.002 < macro[2] < macro[-1] + 1e-12


@pytest.fixture
def scored(rng):
    """A long tail of labels with scores at very different scales."""
    y_true = (rng.random((800, 12)) < np.geomspace(0.6, 0.005, 12)).astype(np.uint8)
    return draw_scores(y_true, [1.0], rng, offset=np.log(np.geomspace(0.6, 1e-5, 12)))[0], y_true


def reference_micro_f1(y_score, y_true):
    """Dinkelbach over all cuts, with plain sorting and nothing pruned."""
    order = np.argsort(-y_score, axis=0, kind="stable")
    score = np.take_along_axis(y_score, order, 0)
    hits = np.cumsum(np.take_along_axis(y_true.astype(int), order, 0), axis=0)
    fired = np.arange(1, len(y_score) + 1)[:, None]
    last_of_tie = np.vstack([score[:-1] != score[1:], np.ones((1, score.shape[1]), dtype=bool)])
    value = 0.0
    while True:
        gain = np.where(last_of_tie, 2 * hits - value * fired, -np.inf)
        best = gain.argmax(axis=0)
        used = np.flatnonzero(gain.max(axis=0) > 0)
        reached = 2 * hits[best[used], used].sum() / (y_true.sum() + (best[used] + 1).sum())
        if reached <= value:
            return value
        value = reached


@pytest.mark.parametrize("power", [1.0, 0.02, 30.0])
def test_pruning_loses_nothing_even_for_uncalibrated_scores(scored, power):
    y_score, y_true = scored[0] ** np.float32(power), scored[1]
    thresholds = tune_thresholds(y_score, y_true)
    assert micro_f1(y_true, y_score >= thresholds) == pytest.approx(reference_micro_f1(y_score, y_true), abs=1e-12)


def test_exact_beats_every_other_rule_on_its_own_rows(scored):
    y_score, y_true = scored
    exact = micro_f1(y_true, y_score >= tune_thresholds(y_score, y_true))
    for rule in ("half", "single", "cyclic", "own-f1", "macro-f1", "shrunk", "cross-validated"):
        assert micro_f1(y_true, y_score >= tune_thresholds(y_score, y_true, rule)) <= exact + 1e-12
    macro = macro_f1(y_true, y_score >= tune_thresholds(y_score, y_true, "macro-f1"))
    assert macro >= macro_f1(y_true, y_score >= tune_thresholds(y_score, y_true))


def test_own_f1_gives_up_labels_below_fbr(scored):
    y_score, y_true = scored
    macro = tune_thresholds(y_score, y_true, "macro-f1")
    reached = f1_per_label(y_true, y_score >= macro)
    middle = float(np.median(reached))
    given_up = tune_thresholds(y_score, y_true, "own-f1", fbr=middle)
    np.testing.assert_array_equal(np.isinf(given_up), reached < middle)
    np.testing.assert_array_equal(given_up[reached >= middle], macro[reached >= middle])
    top = tune_thresholds(y_score, y_true, "own-f1", fbr=middle, below="top-score")
    np.testing.assert_array_equal(top[reached < middle], y_score.max(axis=0)[reached < middle])
    np.testing.assert_array_equal(tune_thresholds(y_score, y_true, "own-f1", fbr=0.0), macro)


def test_shrunk_lies_between_single_and_exact(scored):
    y_score, y_true = scored
    single = tune_thresholds(y_score, y_true, "single")
    strong = tune_thresholds(y_score, y_true, "shrunk", n_pseudo_positives=1e7)
    np.testing.assert_allclose(strong, single, atol=0.02)
    scores = [
        micro_f1(y_true, y_score >= tune_thresholds(y_score, y_true, "shrunk", n_pseudo_positives=n))
        for n in (1e7, 100, 0)
    ]
    exact = micro_f1(y_true, y_score >= tune_thresholds(y_score, y_true))
    assert scores[0] - 1e-3 <= scores[1] <= scores[2] + 1e-3 <= exact + 2e-3


def test_shrunk_holds_up_better_than_exact_on_few_rows(rng):
    """Scores that are calibrated: per-label thresholds can only overfit."""
    gaps = []
    for _ in range(5):
        probability = 1 / (1 + np.exp(-(rng.standard_normal((3000, 40)) * 1.5 - np.linspace(1, 5, 40))))
        y_true = (rng.random(probability.shape) < probability).astype(np.uint8)
        y_score = probability.astype(np.float32)
        test = slice(300, None)
        reached = [
            micro_f1(y_true[test], y_score[test] >= tune_thresholds(y_score[:300], y_true[:300], rule))
            for rule in ("shrunk", "cross-validated", "exact-micro-f1")
        ]
        gaps.append(np.subtract(reached[:2], reached[2]))
    assert (np.mean(gaps, axis=0) > 0.005).all()


def test_cross_validated_keeps_an_own_threshold_where_it_is_earned(rng):
    y_true = (rng.random((2000, 6)) < 0.3).astype(np.uint8)
    clean = np.clip(0.5 + (y_true - 0.5) * 0.6 + rng.normal(0, 0.15, y_true.shape), 0, 1)
    clean[:, 0] *= 0.2  # an under-confident label: the shared threshold never reaches it
    thresholds = tune_thresholds(clean, y_true, "cross-validated")
    assert thresholds[0] < 0.2
    np.testing.assert_array_equal(thresholds[1:] > 0.3, True)
    groups = np.arange(2000) // 4
    again = tune_thresholds(clean, y_true, "cross-validated", groups=groups, random_state=1)
    assert again[0] < 0.2


def test_duplicated_rows_equal_doubled_weights(scored):
    y_score, y_true = scored[0][:200], scored[1][:200]
    times = np.arange(200) % 3 + 1
    for rule in ("exact-micro-f1", "single", "macro-f1"):
        repeated = tune_thresholds(np.repeat(y_score, times, axis=0), np.repeat(y_true, times, axis=0), rule)
        weighted = tune_thresholds(y_score, y_true, rule, sample_weight=times)
        np.testing.assert_allclose(weighted, repeated)


@pytest.mark.parametrize("rule", ["exact-micro-f1", "cyclic", "own-f1", "macro-f1", "micro-macro-f1"])
def test_a_label_without_positives_is_never_predicted_and_is_listed(rule, rng):
    y_true = (rng.random((80, 4)) < 0.4).astype(np.uint8)
    y_true[:, 2] = 0
    y_score = np.clip(0.3 * y_true + rng.random((80, 4)), 0, 1)
    y_score[:5, 2] = 1.0
    thresholds = tune_thresholds(y_score, y_true, rule)
    assert thresholds[2] == np.inf
    assert never_predicted(thresholds).tolist() == [False, False, True, False]
    assert not apply_thresholds(y_score, thresholds)[:, 2].any()
