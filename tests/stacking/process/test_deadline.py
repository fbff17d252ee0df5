"""A deadline ends fits in the middle, and a whole fit of auto keeps to its limit."""

import time

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.auto.budget import plan_budget, rows_in_time
from stacking.combiners.registry import create_method
from stacking.process.deadline import TimeLimitReached, check_deadline, seconds_left, time_limited
from stacking.testing import make_predictions


def test_without_a_limit_nothing_happens():
    check_deadline()
    with time_limited(None):
        check_deadline()
    assert seconds_left() == float("inf")


def test_the_nearer_deadline_counts_and_ends_with_its_block():
    with time_limited(1000.0):
        with time_limited(2000.0):
            assert seconds_left() <= 1000.0
        with time_limited(-1.0), pytest.raises(TimeLimitReached, match="before the fit was complete"):
            check_deadline()
        check_deadline()


@pytest.mark.parametrize("method", ["ridge-context", "label-context", "logistic", "lightgbm"])
def test_every_slow_candidate_can_be_cut_off(method):
    predictions = make_predictions(n_samples=120)
    with time_limited(-1.0), pytest.raises(TimeLimitReached):
        create_method(method).fit(predictions)


def test_rows_follow_the_limit_and_the_pace():
    predictions = make_predictions(n_models=20, n_samples=60, n_labels=200)
    plain = 200 * 1.2e-6
    few, many = (rows_in_time(predictions, limit, plain) for limit in (20.0, 300.0))
    assert 1_000 <= few < many
    assert rows_in_time(predictions, 300.0, 10 * plain) < many


def test_a_short_limit_races_on_a_sample_and_fits_what_it_chose_on_all_rows():
    drawn = make_predictions(n_samples=20_000, n_labels=8)
    names = [f"photo{row}" for row in range(20_000)]
    predictions = PredictionSet(drawn.to_array(), y_true=drawn.y_true, ids=names)
    budget = plan_budget(predictions, 0.2)
    assert 1_000 <= budget.predictions.n_samples < 20_000
    assert budget.reserve > 0
    ensemble = StackingEnsemble("auto", time_limit=1.5)
    started = time.monotonic()
    ensemble.fit(predictions)
    assert time.monotonic() - started < 10  # the machine may be busy: the mean and its thresholds always run
    assert ensemble.report_["n_samples"] <= 20_000
    assert ensemble.has_seen(predictions.ids).all()
    assert np.isfinite(ensemble.predict_proba(predictions)).all()


def test_without_a_limit_all_rows_are_raced_on():
    predictions = make_predictions(n_samples=300)
    assert plan_budget(predictions, None).predictions is predictions
    assert plan_budget(predictions, None, max_rows=100).predictions.n_samples == 100
