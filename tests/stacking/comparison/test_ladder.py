"""The ladder of a comparison adds up, whatever could be measured, and says what could not."""

import pytest

from stacking.comparison import compare


def test_ladder_of_a_comparison_starts_at_the_best_member_and_ends_at_the_ensemble(make, combiners, rng):
    found = compare(make(rng, n_samples=150), {"mean": combiners["mean"]}, n_bootstrap=20, n_splits=3)
    ladder = found.ladder
    assert ladder.start == found.best_member.score_single
    assert (ladder.final_name, ladder.final) == ("mean", found.row("mean").score)
    unmeasured = [step.cause for step in ladder.steps if step.gain is None]
    assert unmeasured == ["label shift", "mixing", "label correlation", "thresholds"]
    assert ladder.steps[0].explanation == "the method logistic did not run"
    assert ladder.steps[-1].cause == "not attributed"
    total = sum(step.gain for step in ladder.steps if step.gain is not None)
    assert total == pytest.approx(ladder.final - ladder.start)


def test_stand_ins_for_both_learners_fill_every_rung(make, combiners, rng):
    methods = {"mean": combiners["mean"], "logistic": combiners["mean"], "ridge-context": combiners["memorizer"]}
    ladder = compare(make(rng, n_samples=150), methods, n_bootstrap=20, n_splits=3).ladder
    assert [step.cause for step in ladder.steps] == [
        "label shift",
        "mixing",
        "label correlation",
        "thresholds",
        "choice",
    ]
    assert all(step.gain is not None and step.low <= step.high for step in ladder.steps)
    assert sum(step.gain for step in ladder.steps) == pytest.approx(ladder.final - ladder.start)
    # A "recalibration" that only averages one member changes nothing.
    assert ladder.steps[0].gain == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("names", [("label-context", "ridge-context"), ("ridge-context",)])
def test_label_correlation_stands_on_the_better_learner_that_ran(make, combiners, rng, names):
    stand_ins = {"label-context": combiners["mean"], "ridge-context": combiners["memorizer"]}
    methods = {"logistic": combiners["memorizer"], **{name: stand_ins[name] for name in names}}
    found = compare(make(rng, n_samples=150), methods, n_bootstrap=20, n_splits=3)
    step = next(step for step in found.ladder.steps if step.cause == "label correlation")
    assert step.explanation.startswith(f"{names[0]}:")
    gain = found.row(names[0]).score_single - found.row("logistic").score_single
    assert step.gain == pytest.approx(gain)
    assert (abs(gain) > 0.01) == (names[0] == "label-context")


def test_one_member_cannot_be_mixed(make, combiners, rng):
    predictions = make(rng, n_samples=120, n_models=1)
    ladder = compare(predictions, {"logistic": combiners["mean"]}, n_bootstrap=20, n_splits=3).ladder
    mixing = next(step for step in ladder.steps if step.cause == "mixing")
    assert (mixing.gain, mixing.explanation) == (None, "there is one member only")
