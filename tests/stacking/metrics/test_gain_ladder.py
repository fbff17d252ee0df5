"""The ladder adds up, whatever could be measured, and says what could not."""

import numpy as np
import pytest

from stacking.ensemble.report import describe_gain
from stacking.metrics.gain_ladder import State, attribute_gain


def test_steps_are_differences_and_add_up(rng):
    scores = {"start": 0.5, "label shift": 0.55, "label correlation": 0.61, "final": 0.6}
    reached = {key: State(value, value + rng.normal(0, 0.01, 500)) for key, value in scores.items()}
    ends = (reached.pop("start"), reached.pop("final"))
    ladder = attribute_gain(("member", "all"), ends, reached, obstacles={"mixing": "the method c did not run"})
    gains = [step.gain for step in ladder.steps]
    assert gains == pytest.approx([0.05, None, 0.06, None, -0.01])
    assert sum(gain for gain in gains if gain is not None) == pytest.approx(ladder.final - ladder.start)
    assert ladder.steps[1].explanation == "the method c did not run"
    low, high = np.quantile(reached["label correlation"].draws - reached["label shift"].draws, [0.025, 0.975])
    assert (ladder.steps[2].low, ladder.steps[2].high) == pytest.approx((low, high))


def test_a_step_that_was_not_measured_says_so():
    ladder = attribute_gain(("a", "auto"), (State(0.5), State(0.7)), {"label correlation": State(0.7)})
    assert [step.gain for step in ladder.steps] == [None, None, pytest.approx(0.2), None, 0.0]
    assert "did not run" in ladder.steps[0].explanation
    assert describe_gain([]) == []
    assert any("–" in line for line in describe_gain([vars(step) for step in ladder.steps]))
