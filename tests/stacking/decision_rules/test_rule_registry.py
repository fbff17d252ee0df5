"""What every registered rule keeps, and the functions around them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacking.decision_rules import (
    apply_thresholds,
    get_decision_rule,
    list_decision_rules,
    never_predicted,
    tune_thresholds,
)
from stacking.decision_rules.choice import tune_rule
from stacking.decision_rules.registry import register
from stacking.metrics import find_metric
from stacking.truth import Truth

RULES = [name for name in list_decision_rules() if not get_decision_rule(name).by_sample]


@pytest.fixture
def scored(rng):
    y_true = (rng.random((120, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]).astype(np.uint8)
    y_score = np.clip(0.4 * y_true + 0.6 * rng.random((120, 5)), 0, 1).astype(np.float32)
    return y_score, y_true


def test_the_promised_rules_are_there():
    promised = {"half", "single", "exact-micro-f1", "cyclic", "own-f1", "macro-f1", "shrunk", "cross-validated"}
    promised |= {"micro-macro-f1"}
    promised |= {"best-single", "expected-f1", "cost", "cost-per-label", "recall-at-least"}
    averages = {"micro-F1", "macro-F1", "micro-F1 + macro-F1", "cost", "recall", "any", "none"}
    assert promised <= set(RULES)
    assert {get_decision_rule(name).average for name in RULES} <= averages
    assert all(get_decision_rule(name).summary.endswith(".") for name in RULES)


@pytest.mark.parametrize("rule", RULES)
class TestEveryRule:
    def test_inputs_stay_and_the_answer_repeats(self, scored, rule):
        y_score, y_true = scored
        before = y_score.copy(), y_true.copy()
        first = tune_thresholds(y_score, y_true, rule)
        np.testing.assert_array_equal(first, tune_thresholds(y_score, y_true, rule))
        np.testing.assert_array_equal(y_score, before[0])
        np.testing.assert_array_equal(y_true, before[1])
        assert first.shape == (5,)
        assert first.dtype == np.float64
        assert (first >= 0).all()

    def test_read_only_and_other_layouts_are_accepted(self, scored, rule):
        y_score, y_true = scored
        expected = tune_thresholds(y_score, y_true, rule)
        frozen = np.asfortranarray(y_score)
        frozen.flags.writeable = False
        np.testing.assert_array_equal(tune_thresholds(frozen, y_true.astype(bool), rule), expected)
        np.testing.assert_array_equal(tune_thresholds(y_score.astype(float), y_true.tolist(), rule), expected)

    @pytest.mark.parametrize("value", [0, 1])
    def test_a_label_all_zero_or_all_one(self, scored, rule, value):
        y_score, y_true = scored
        y_true[:, 2] = value
        thresholds = tune_thresholds(y_score, y_true, rule)
        if rule != "half" and value == 0 and get_decision_rule(rule).average == "macro-F1":
            assert np.isinf(thresholds[2])
        assert not np.isnan(thresholds).any()

    def test_nothing_positive_at_all(self, scored, rule):
        thresholds = tune_thresholds(scored[0], np.zeros_like(scored[1]), rule)
        assert (np.isinf(thresholds) | (rule == "half")).all()

    def test_constant_scores(self, scored, rule):
        y_true = scored[1]
        for value in (0.0, 0.3, 1.0):
            thresholds = tune_thresholds(np.full(y_true.shape, value), y_true, rule)
            assert not np.isnan(thresholds).any()

    def test_one_sample_and_one_label(self, rule):
        thresholds = tune_thresholds([[0.7]], [[1]], rule)
        assert apply_thresholds([[0.7]], thresholds).all()

    def test_unknown_cells_count_neither_way(self, scored, rule, rng):
        y_score, y_true = scored
        y_known = rng.random(y_true.shape) < 0.8
        if rule == "cross-validated":
            pytest.skip("its folds are stratified on the truth as given")
        flipped = np.where(y_known, y_true, 1 - y_true)
        moved = np.where(y_known, y_score, rng.random(y_score.shape).astype(np.float32))
        expected = tune_thresholds(y_score, y_true, rule, y_known=y_known)
        np.testing.assert_array_equal(tune_thresholds(moved, flipped, rule, y_known=y_known), expected)

    def test_permuting_samples_and_labels(self, scored, rule, rng):
        if rule == "cross-validated":
            pytest.skip("seeded folds depend on the order of the rows")
        y_score, y_true = scored
        rows, labels = rng.permutation(120), rng.permutation(5)
        expected = tune_thresholds(y_score, y_true, rule)
        got = tune_thresholds(y_score[rows], y_true[rows], rule)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        if rule != "cyclic":  # the order of the labels is part of that method
            np.testing.assert_allclose(tune_thresholds(y_score[:, labels], y_true[:, labels], rule), expected[labels])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.floats(0, 1))
def test_float32_decides_as_float64_would(scores, threshold):
    column = np.array(scores, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(apply_thresholds(column, [threshold]), column.astype(np.float64) >= threshold)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_at_its_threshold_fires(dtype):
    limits = np.array([0.0, 0.25, 0.3, 1.0])
    at = limits.astype(dtype)
    at = np.where(at < limits, np.nextafter(at, dtype(2)), at)  # .3 lies between two of float32: the next one above
    assert apply_thresholds(at[None], limits).all()
    assert not apply_thresholds(np.nextafter(at, dtype(-1))[None], limits).any()


def test_thresholds_separate_neighboring_floats_in_both_precisions():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    thresholds = tune_thresholds(np.array([[high], [low]]), [[1], [0]])
    for dtype in (np.float32, np.float64):
        assert apply_thresholds(np.array([[high], [low]], dtype=dtype), thresholds).ravel().tolist() == [True, False]


def test_never_predicted_reads_thresholds_and_decisions():
    assert never_predicted([0.0, 1.0, np.inf]).tolist() == [False, False, True]
    assert never_predicted(np.array([[0, 1], [0, 0]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="must be thresholds"):
        never_predicted(np.zeros((1, 1, 1)))


def test_a_collision_raises():
    with pytest.raises(ValueError, match=r"'single' is taken by stacking\.decision_rules\.single; choose"):
        register("single", average="micro-F1")(lambda scores: scores)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rule": "singel"}, ValueError, "Did you mean 'single'"),
        ({"rule": "own-f1", "fbt": 0.2}, TypeError, "own-f1.*got 'fbt'. Did you mean 'fbr'"),
        ({"rule": "half", "fbr": 0.2}, TypeError, r"\(none\)"),
        ({"rule": "own-f1", "fbr": 2.0}, ValueError, r"fbr must lie in \[0, 1\]"),
        ({"rule": "own-f1", "below": "always"}, ValueError, "below must be one of"),
        ({"rule": "micro-macro-f1", "weight": -1.0}, ValueError, "weight must be finite and not negative"),
        ({"rule": "cyclic", "max_cycles": 0}, ValueError, "max_cycles must be at least 1"),
        ({"rule": "shrunk", "n_pseudo_positives": -1}, ValueError, "n_pseudo_positives must be finite"),
        ({"rule": "cross-validated", "n_splits": 1}, ValueError, "n_splits must be at least 2: got 1"),
        ({"rule": "cross-validated", "margin": -1}, ValueError, "margin must not be negative"),
        ({"rule": "own-f1:fbt=0.2"}, ValueError, "own-f1.*got 'fbt'. Did you mean 'fbr'"),
        ({"rule": "own-f1:fbr"}, ValueError, "must read like own-f1:fbr=0.2"),
        ({"rule": "own-f1:fbr=0.2,fbr=0.3"}, ValueError, "named once each: got 'fbr' twice"),
        ({"rule": "cost:fp=many"}, ValueError, "option fp of rule 'cost' must be a number: got 'many'"),
        ({"rule": "cross-validated:n_splits=2.5"}, ValueError, "n_splits of rule .* must be a whole number: got '2.5'"),
        ({"rule": "cyclic:max_cycles=inf"}, ValueError, "max_cycles of rule 'cyclic' must be a whole number"),
        ({"rule": "cross-validated:margin=nan"}, ValueError, "margin of rule .* must be a number: got 'nan'"),
        ({"rule": "cross-validated", "margin": np.nan}, ValueError, "margin must not be negative"),
        ({"rule": "best-single:metric=makro-f1"}, ValueError, "Did you mean 'macro-f1'"),
        ({"rule": "best-single:metric=antigravity:fly"}, ValueError, "is code, which a file may not ask for"),
        ({"rule": "exact-micro-f1:beta=1e300"}, ValueError, r"beta must be positive, 1e\+15 at most"),
        ({"rule": "single", "beta": 1e300}, ValueError, r"beta must be positive, 1e\+15 at most"),
        ({"rule": "samples-f1"}, ValueError, "decides sample by sample"),
        ({"rule": "exact-micro-f1:beta=0"}, ValueError, "beta must be positive"),
        ({"rule": "expected-f1", "pseudo_positives": -1.0}, ValueError, "pseudo_positives must not be negative"),
        ({"rule": "cost:fp=0,fn=0"}, ValueError, "not both 0"),
        ({"rule": "recall-at-least:recall=1"}, ValueError, "recall must lie between 0 and 1"),
        ({"y_score": [[0.5, 1.5]]}, ValueError, r"y_score must hold probabilities in \[0, 1\]"),
        ({"y_score": [[0.5, np.nan]]}, ValueError, r"y_score must hold probabilities in \[0, 1\]"),
        ({"y_score": np.empty((0, 2)), "y_true": np.empty((0, 2))}, ValueError, "at least one sample"),
        ({"y_true": [[0, 1, 1]]}, ValueError, "y_true must have 2 columns"),
        ({"y_known": [[True]]}, ValueError, "y_known must have 2 columns"),
        ({"sample_weight": [1.0, 1.0]}, ValueError, "sample_weight must hold one value per sample"),
    ],
)
def test_wrong_input_is_named(arguments, error, message):
    given_arguments = {
        "y_score": [[0.5, 0.6], [0.1, 0.2]][: 2 if "rule" in arguments else 1],
        "y_true": [[0, 1], [1, 0]],
        **arguments,
    }
    if "rule" not in arguments and "y_true" not in arguments:
        given_arguments["y_true"] = [[0, 1]]
    with pytest.raises(error, match=message):
        tune_thresholds(**given_arguments)


def test_apply_needs_one_threshold_per_label():
    with pytest.raises(ValueError, match="thresholds must hold one value per label"):
        apply_thresholds([[0.5, 0.5]], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="y_score must have two dimensions"):
        apply_thresholds([0.5], [0.1])


def test_a_rule_that_names_its_metric_goes_by_it():
    rng = np.random.default_rng(0)
    y_true = rng.random((60, 4)) < [0.05, 0.2, 0.5, 0.8]
    y_score = np.clip(y_true * 0.3 + rng.random((60, 4)) * 0.7, 0, 1).astype(np.float32)
    named, other = (
        tune_thresholds(y_score, y_true, "best-single", metric=metric) for metric in ("micro-f5", "micro-f1")
    )
    assert (named != other).all()
    found = tune_rule(y_score, Truth.check(y_true), "best-single:metric=micro-f5", find_metric("micro-f1"))
    np.testing.assert_array_equal(found.thresholds, named)
