import time

import numpy as np
import pytest

from stacking import StackingEnsemble, compare
from stacking.combiners.voting import WeightedVoting
from stacking.process.progress import advance, report_progress, steps


def listen(work):
    told = []
    with report_progress(lambda done, total, name: told.append((done, total, name))):
        work()
    return told


def test_steps_within_steps_cover_the_whole():
    def work():
        with steps({"first": 1.0, "second": 3.0}) as begin:
            begin("first")
            advance(1, 2)
            begin("second")
            with steps({"a": 1.0, "b": 1.0, "left out": 2.0}) as inner:
                inner("a")
                inner("b")

    told = listen(work)
    assert [round(done, 4) for done, _, _ in told] == [0.0, 0.125, 0.25, 0.25, 0.4375, 1.0, 1.0]
    assert [name for _, _, name in told][2:5] == ["second", "second: a", "second: b"]


def test_without_a_listener_nothing_is_told():
    with steps({"only": 1.0}) as begin:
        begin("only")
        advance(1, 1)
    with report_progress(None), steps({"only": 1.0}) as begin:
        begin("only")


def test_an_error_leaves_the_outer_step_in_place():
    def work():
        with steps({"first": 1.0, "second": 1.0}) as begin:
            begin("first")
            with pytest.raises(ValueError, match="broken"), steps({"a": 1.0}) as inner:
                inner("a")
                raise ValueError("broken")
            advance(1, 1)

    assert [round(done, 2) for done, _, _ in listen(work)] == [0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "method", ["auto", "mean", "greedy", "greedy-per-label", "pso", "logistic", "lightgbm", "label-context"]
)
def test_a_fit_tells_how_far_it_is(method):
    rng = np.random.default_rng(0)
    y_true = (rng.random((80, 3)) < 0.4).astype(np.uint8)
    y_scores = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(2, 80, 3)), 0.01, 0.99)
    told = listen(lambda: StackingEnsemble(method).fit(y_scores, y_true))
    shares = [done for done, _, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert any(name == "thresholds" for _, _, name in told)


def test_a_comparison_tells_method_and_fold():
    rng = np.random.default_rng(0)
    y_true = (rng.random((60, 2)) < 0.4).astype(np.uint8)
    y_scores = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(2, 60, 2)), 0.01, 0.99)
    told = listen(lambda: compare(y_scores, ["mean", "greedy"], y_true=y_true, n_splits=2, n_bootstrap=10))
    shares = [done for done, _, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(name.startswith("greedy, fold 2/2") for _, _, name in told)
    assert told[-2][2] == "limits"


def test_a_search_tells_its_evaluations_and_that_of_the_members_within_limits():
    rng = np.random.default_rng(0)
    y_true = (rng.random((60, 2)) < 0.4).astype(np.uint8)
    y_scores = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(4, 60, 2)), 0.01, 0.99)
    whole = listen(lambda: WeightedVoting(optimizer="random-search").fit(y_scores, y_true))
    assert len(whole) > 10
    told = listen(lambda: WeightedVoting(optimizer="random-search", max_members=2).fit(y_scores, y_true))
    for shares in ([done for done, _, _ in whole], [done for done, _, _ in told]):
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    assert "members within limits" in {name for _, _, name in told}


@pytest.mark.parametrize("method", ["lightgbm", "logistic", "auto"])
def test_what_has_no_step_of_its_own_takes_little(method):
    """Between two reports lies less than half of the work: then the time left is seen early enough."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, 12)) < 0.4).astype(np.uint8)
    y_scores = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(3, 400, 12)), 0.01, 0.99)
    StackingEnsemble(method).fit(y_scores[:, :60, :2], y_true[:60, :2])  # imports and compiled loops
    clock = [time.process_time()]
    with report_progress(lambda done, total, name: clock.append(time.process_time())):
        StackingEnsemble(method).fit(y_scores, y_true)
    assert max(np.diff([*clock, time.process_time()])) < 0.5 * (time.process_time() - clock[0])
