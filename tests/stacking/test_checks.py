"""Every check of the package accepts what it should and names what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from optimizers.registry import did_you_mean
from stacking._checks import (
    check_choice,
    check_mask,
    check_names,
    check_sample_weight,
    check_thresholds,
    check_weights,
    check_y_score,
    check_y_true,
    first_names,
)


@pytest.mark.parametrize("convert", [
    np.asarray, lambda a: a.astype(bool), lambda a: a.astype(np.float64), lambda a: a.astype(">i4"), np.asfortranarray,
    sparse.csr_matrix, lambda a: a.tolist(),
])  # fmt: skip
def test_y_true_in_many_forms(convert):
    truth = np.array([[1, 0, 1], [0, 0, 1]])
    found = check_y_true(convert(truth))
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, truth)


def test_nothing_is_copied_without_need(rng):
    truth, scores = np.zeros((3, 2), np.uint8), rng.random((3, 2), dtype=np.float32)
    assert check_y_true(truth) is truth and check_y_score(scores) is scores


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: check_y_true([1, 0]), ValueError, r"y_true must have two dimensions.*got shape \(2,\)"),
    (lambda: check_y_true([[1, 0], [1]]), ValueError, "y_true must be a rectangular array"),
    (lambda: check_y_true([["a"]]), TypeError, "y_true must hold numbers: got dtype <U1"),
    (lambda: check_y_true([[1, 3]]), ValueError, "y_true must hold only 0 and 1: got 3 at row 0, column 1"),
    (lambda: check_y_true([[1, -1]]), ValueError, "got -1 at row 0, column 1; mark labels .* in y_known"),
    (lambda: check_y_true([[1, 0]], n_samples=2), ValueError, r"y_true must have 2 rows: got 1 \(shape \(1, 2\)\)"),
    (lambda: check_y_true([[1, 0]], n_labels=3), ValueError, "y_true must have 3 columns: got 2"),
    (lambda: check_mask([[2]]), ValueError, "y_known must hold only 0 and 1: got 2"),
    (lambda: check_y_score([[0.5, np.nan]]), ValueError, "y_score must hold probabilities.*got nan at row 0, column 1"),
    (lambda: check_y_score([[0.5, 1.5]]), ValueError, r"got 1\.5 at row 0, column 1\.$"),
    (lambda: check_y_score([[-3.0, 1.5]]), ValueError, "got -3.0 .*look like logits: pass from_logits=True"),
    (lambda: check_y_score([[55.0, 1.5]]), ValueError, "look like percentages: divide them by 100"),
    (lambda: check_y_score([[np.inf]]), ValueError, r"got inf at row 0, column 0\.$"),
    (lambda: check_weights([0.5, 0.5], 3, 2), ValueError, "weights must hold one value per model: got 2 for 3 models"),
    (lambda: check_weights(np.ones((2, 3)), 2, 2), ValueError, "one column per label: got 3 columns for 2 labels"),
    (lambda: check_weights([1.5, -0.5], 2, 2), ValueError, "weights must be finite and not negative: got -0.5"),
    (lambda: check_weights([np.nan, 1], 2, 2), ValueError, "weights must be finite"),
    (lambda: check_weights([[0.5, 1], [0.5, 1]], 2, 2), ValueError, "must sum to 1 over the models: got 2 in column 1"),
    (lambda: check_thresholds([0.5], 2), ValueError, r"one value per label: got shape \(1,\) for 2"),
    (lambda: check_thresholds([0.5, np.nan], 2), ValueError, "thresholds must not be NaN: got NaN at label 1; use inf"),
    (lambda: check_thresholds(["a"], 1), TypeError, "thresholds must hold numbers"),
    (lambda: check_sample_weight([1.0], 2), ValueError, "sample_weight must hold one value per sample"),
    (lambda: check_sample_weight([1.0, np.inf], 2), ValueError, "got inf at row 1"),
    (lambda: check_names([["a"]], name="ids"), ValueError, "ids must be one-dimensional"),
    (lambda: check_names([True, "a"], name="ids"), TypeError, "ids must be strings or integers: got True of type bool"),
    (lambda: check_choice("greedi", ["pso", "greedy"], name="optimizer"), ValueError,
     r"optimizer must be one of 'pso', 'greedy': got 'greedi'\. Did you mean 'greedy'\?"),
])  # fmt: skip
def test_every_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_weights_come_out_on_the_simplex(n_models, n_labels, seed):
    raw = np.random.default_rng(seed).random((n_models, n_labels)) + 1e-3
    weights = check_weights((raw / raw.sum(axis=0)).astype(np.float32), n_models, n_labels)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=0, atol=1e-12)
    assert weights.shape == (n_models, n_labels) and weights.dtype == np.float64
    shared = check_weights(weights[:, 0], n_models, n_labels)
    assert (shared == shared[:, :1]).all()


def test_thresholds():
    assert check_thresholds(0.5, 3).tolist() == [0.5] * 3
    given_array = np.array([0.1, np.inf])
    found = check_thresholds(given_array, 2)
    assert found is not given_array and found.tolist() == [0.1, np.inf]


def test_did_you_mean_stays_silent_without_a_near_name():
    assert did_you_mean("zebra", ["pso", "greedy"]) == ""


def test_first_names():
    assert first_names(["a", "b"]) == "'a', 'b'"
    assert first_names([str(i) for i in range(9)], 2) == "'0', '1' and 7 more"
