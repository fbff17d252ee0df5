"""What a comparison has fitted stands for the same fit of auto: the same bits, no other rows, and an honest clock."""

import importlib
import time

import numpy as np
import pytest

from stacking import PredictionSet, compare
from stacking.combiners.registry import create_method
from stacking.combiners.shared_fits import cpu_clock, share_fits, share_stages, shared_fits, shared_stage, wall_clock
from stacking.folds import deal_folds
from stacking.testing import make_predictions

METHODS = ["mean", "geometric", "greedy", "convex", "logistic", "auto"]


@pytest.fixture(scope="module")
def predictions():
    """Unknown cells, weights and groups: what counts of them is a set of its own."""
    plain = make_predictions(3, 150, 4, random_state=2)
    rng = np.random.default_rng(0)
    facts = {"y_known": rng.random((150, 4)) < 0.9, "sample_weight": rng.integers(0, 3, 150).astype(float)}
    return PredictionSet(plain.to_array(), y_true=plain.y_true, groups=np.arange(150) // 2, **facts)


def test_auto_among_the_others_is_auto_alone(predictions):
    options = {"n_splits": 2, "n_bootstrap": 20}
    together, alone = compare(predictions, METHODS, **options), compare(predictions, ["auto"], **options)
    np.testing.assert_array_equal(together.held_out("auto").y_score, alone.held_out("auto").y_score)
    np.testing.assert_array_equal(together.held_out("auto").y_pred, alone.held_out("auto").y_pred)
    assert together.row("auto").rule == alone.row("auto").rule
    # The fits that were recalled are part of what auto costs.
    raced = sum(together.row(name).cpu_seconds for name in METHODS[:-1])
    assert together.row("auto").cpu_seconds > 0.3 * raced


def test_an_equal_fit_on_the_same_rows_is_made_once(predictions):
    folds = deal_folds(predictions.truth, 3)
    with share_fits([create_method("logistic")]):
        started = cpu_clock()
        first = create_method("logistic").fit_out_of_fold(predictions, folds=folds)
        spent = cpu_clock() - started
        again = create_method("logistic").fit_out_of_fold(predictions, folds=folds)
        assert again[0] is first[0]
        assert again[1] is first[1]
        assert cpu_clock() - started >= 1.8 * spent  # the lookup around the fit, in `spent` too, is not told again
    assert shared_fits() is None


@pytest.mark.parametrize("other", ["rows", "models", "truth", "folds", "parameters", "method"])
def test_whatever_differs_is_fitted_anew(predictions, other):
    """Also where a set is derived from the one before, or takes its place in memory."""
    folds = deal_folds(predictions.truth, 3)
    with share_fits([create_method("greedy"), create_method("greedy", max_members=2)]):
        first, _ = create_method("greedy").fit_out_of_fold(predictions, folds=folds)
        rows, name, options = predictions, "greedy", {}
        if other == "rows":
            rows, folds = predictions.subset(samples=slice(0, 120)), folds[:120]
        elif other == "models":
            rows = predictions.subset(models=list(predictions.models[:2]))
        elif other == "truth":
            rows = predictions.with_truth(1 - predictions.y_true)
        elif other == "folds":
            folds = 2 - folds
        elif other == "parameters":
            options = {"max_members": 2}
        else:
            name = "mean"
        second, y_score = create_method(name, **options).fit_out_of_fold(rows, folds=folds)
    assert second is not first
    alone = create_method(name, **options).fit_out_of_fold(rows, folds=folds)[1]
    np.testing.assert_array_equal(y_score, alone)


def test_under_a_time_limit_nothing_is_shared(predictions, monkeypatch):
    """Auto goes by the clock there, so it must see what its candidates take."""
    seen = []
    module = importlib.import_module("stacking.comparison.compare")

    def record(combiners):
        seen.append(list(combiners))
        return share_fits([])

    monkeypatch.setattr(module, "share_fits", record)
    compare(predictions, ["mean", "auto"], n_splits=2, n_bootstrap=5, fit_time_limit=60)
    compare(predictions, ["mean", "auto"], n_splits=2, n_bootstrap=5, time_limit=60)
    assert seen == [[], []]


STAGED = ["ridge-context", "label-context", "logistic"]


def test_stages_that_fits_begin_with_are_made_once_and_change_no_bit(predictions, monkeypatch):
    module = importlib.import_module("stacking.combiners.meta_learners.ridge_context")
    made, fit_ridge_stage, rows = [], module.fit_ridge_stage, predictions.only_counted()
    monkeypatch.setattr(module, "fit_ridge_stage", lambda *given: made.append(1) or fit_ridge_stage(*given))
    folds = deal_folds(rows.truth, 3)
    alone = {name: create_method(name).fit_out_of_fold(rows, folds=folds)[1] for name in STAGED}
    assert len(made) == 2
    with share_stages(rows):
        for name in STAGED:
            np.testing.assert_array_equal(create_method(name).fit_out_of_fold(rows, folds=folds)[1], alone[name])
        assert len(made) == 3
        other = create_method("ridge-context").fit_out_of_fold(rows, folds=2 - folds)[1]  # the same folds, other names
        np.testing.assert_array_equal(other, alone["ridge-context"])
        create_method("ridge-context").fit_out_of_fold(rows.subset(models=[0, 1]), folds=folds)
        assert len(made) == 5


def test_what_is_recalled_still_counts_its_seconds(predictions):
    def work():
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return object()

    before = cpu_clock()
    with share_stages(predictions):
        first = shared_stage(predictions, "stage", work)
        begun = cpu_clock(), wall_clock()
        assert shared_stage(predictions, "stage", work) is first
        assert all(now - then >= 0.2 for now, then in zip((cpu_clock(), wall_clock()), begun, strict=True))
        further = shared_stage(first, "further", object)
        assert shared_stage(first, "further", object) is further
        assert shared_stage(object(), "stage", object) is not first
    assert cpu_clock() - before < 0.39  # outside, what was done once took its time once
    assert shared_stage(predictions, "stage", object) is not first


@pytest.mark.parametrize("time_limit", [None, 60])
def test_auto_shares_stages_unless_candidates_must_know_their_time(predictions, monkeypatch, time_limit):
    module = importlib.import_module("stacking.combiners.meta_learners.ridge_context")
    made, fit_ridge_stage = [], module.fit_ridge_stage
    monkeypatch.setattr(module, "fit_ridge_stage", lambda *given: made.append(1) or fit_ridge_stage(*given))
    auto = create_method("auto", methods=["ridge-context", "label-context"], time_limit=time_limit)
    auto.fit_out_of_fold(predictions, folds=deal_folds(predictions.truth, 3))
    assert len(made) == (1 if time_limit is None else 2)
