"""Turns under a time limit: the cheap first, a dear one where the time is enough, nobody at the cost of others."""

import time

import numpy as np
import pytest

from stacking.combiners.auto import race
from stacking.combiners.auto.race import RACERS, AutoCombiner
from stacking.combiners.auto.turns import Turn, expect_seconds, next_turn
from stacking.combiners.meta_learners import LabelContextStacker
from stacking.process.deadline import check_deadline
from stacking.testing import make_predictions

COSTS = {"mean": 0.1, "ridge-context": 3.0, "label-context": 13.0, "lightgbm": 10.0, "logistic": 3.0, "convex": 1.0}


def test_what_regressions_took_tells_of_regressions_more_than_searches_and_trees():
    assert expect_seconds(COSTS, {"mean": 60.0}) == dict.fromkeys(COSTS, 0.0)  # too little to tell
    expected = expect_seconds(COSTS, {"convex": 5.0, "ridge-context": 6.0, "logistic": 3.0, "lightgbm": 80.0})
    assert expected["label-context"] == 26.0
    assert expected["lightgbm"] == 20.0
    assert expected["convex"] == 8.0
    assert expect_seconds(COSTS, {"convex": 5.0})["label-context"] == 65.0  # no regression has run


def test_the_cheap_have_their_turn_before_the_dear_and_leave_them_their_time():
    expected = {"label-context": 13.0, "lightgbm": 10.0, "logistic": 3.0}
    assert next_turn(list(expected), 30.0, expected, COSTS) == Turn("logistic", 7.0)
    # Among the cheap the one that gains more is the first, whatever it costs.
    both = {"logistic": 3.0, "convex": 1.0}
    assert next_turn(list(both), 30.0, both, COSTS) == Turn("logistic", 29.0)
    # Not enough for all: it need not give way to what costs four times as much, but may not use up what is left.
    assert next_turn(list(expected), 14.0, expected, COSTS) == Turn("logistic", 6.0)


def test_where_both_do_not_fit_the_cheaper_has_what_the_other_leaves_it_if_that_may_do():
    expected = {"label-context": 13.0, "lightgbm": 10.0}
    assert next_turn(list(expected), 20.0, expected, COSTS) == Turn("lightgbm", 7.0)
    assert next_turn(list(expected), 17.0, expected, COSTS) == Turn("label-context", 17.0)
    assert next_turn(list(expected), 12.0, expected, COSTS) == Turn("lightgbm", 12.0)
    assert next_turn(list(expected), 9.0, expected, COSTS) is None
    assert next_turn(list(expected), 0.0, dict.fromkeys(expected, 0.0), COSTS) is None


def test_what_is_measured_against_the_others_waits_for_them():
    expected = {"label-context": 13.0, "lightgbm": 10.0}
    assert next_turn(list(expected), 30.0, expected, COSTS).name == "lightgbm"
    last = frozenset({"lightgbm"})
    assert next_turn(list(expected), 30.0, expected, COSTS, last) == Turn("label-context", 20.0)


@pytest.fixture(scope="module")
def predictions():
    return make_predictions(n_models=3, n_samples=200, n_labels=5, random_state=1)


def test_a_limit_that_is_long_enough_changes_nothing(predictions):
    free, limited = (AutoCombiner(time_limit=limit).fit(predictions) for limit in (None, 3_600.0))
    assert free.shares_ == limited.shares_
    assert free.line_ == limited.line_
    np.testing.assert_array_equal(free.predict_proba(predictions), limited.predict_proba(predictions))
    assert {entry["name"] for entry in limited.entries_ if entry["score"] is not None} == set(RACERS)


class Clock:
    """A clock that only candidates move."""

    def __init__(self, seconds, monkeypatch):
        self.now = 0.0
        self.order = []
        real = race.create_method

        def create(name, **options):
            combiner = real(name, **options)
            fit = combiner.fit_out_of_fold

            def timed(*given, **named):
                self.order.append(name)
                self.now += seconds[name]
                check_deadline()
                return fit(*given, **named)

            combiner.fit_out_of_fold = timed
            return combiner

        monkeypatch.setattr(race, "create_method", create)
        monkeypatch.setattr(race, "wall_clock", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


SECONDS = dict.fromkeys(RACERS, 0.2) | {"ridge-context": 2.0, "logistic": 1.0, "lightgbm": 2.5}


@pytest.mark.parametrize(
    ("label_context", "limit", "reason"),
    [
        (10.0, 22.0, None),  # as expected
        (60.0, 22.0, "cut off by the time limit after 60 s"),  # expected to take 12 s
        (9.0, 13.0, "the time limit left 6 s, it takes some 12 s"),
    ],
)
def test_a_dear_candidate_takes_nothing_from_the_cheap(predictions, monkeypatch, label_context, limit, reason):
    clock = Clock(SECONDS | {"label-context": label_context}, monkeypatch)
    auto = AutoCombiner(time_limit=limit).fit(predictions)
    reasons = {entry["name"]: entry["reason"] for entry in auto.entries_ if entry["reason"]}
    assert reasons == ({} if reason is None else {"label-context": reason})
    cheap = [name.replace("best-single", "greedy") for name in RACERS if name not in ("label-context", "lightgbm")]
    assert clock.order[: len(cheap)] == cheap


def test_without_a_limit_the_order_is_that_of_the_race(predictions, monkeypatch):
    clock = Clock(SECONDS | {"label-context": 900.0}, monkeypatch)
    AutoCombiner().fit(predictions)
    assert clock.order[: len(RACERS)] == [name.replace("best-single", "greedy") for name in RACERS]


def test_a_candidate_that_is_really_slow_is_cut_off_after_all_others_have_run(predictions, monkeypatch):
    def slow(self, predictions, folds):
        while True:
            time.sleep(0.01)
            check_deadline()

    monkeypatch.setattr(LabelContextStacker, "_fit_out_of_fold", slow)
    auto = AutoCombiner(time_limit=6.0, methods=[name for name in RACERS if name != "lightgbm"]).fit(predictions)
    reasons = {entry["name"]: entry["reason"] for entry in auto.entries_ if entry["reason"]}
    assert list(reasons) == ["label-context"]
    assert "time limit" in reasons["label-context"]
