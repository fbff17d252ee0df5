"""Which decision rule is chosen: one tuned threshold, unless another beats it by a standard error."""

import tracemalloc

import numpy as np
import pytest

from stacking import PredictionSet, micro_f1
from stacking.decision_rules import tune_thresholds
from stacking.decision_rules.choice import _steadiest, choose_thresholds
from stacking.kernels.compiling import Kernel
from stacking.metrics.named import find_metric
from stacking.metrics.paired_difference import F1Counts


def choose(y_score, y_true, groups=None):
    predictions = PredictionSet(
        y_scores=y_score[None].astype(np.float32),
        ids=[f"row{row}" for row in range(len(y_true))],
        models=["model"],
        labels=[f"label{label}" for label in range(y_true.shape[1])],
        y_true=y_true,
        groups=groups,
    )
    return choose_thresholds(y_score.astype(np.float32), predictions, np.arange(len(y_true)) % 4)


def test_few_rows_of_calibrated_scores_get_one_tuned_threshold():
    """Their best threshold is half the micro-F1; .5 costs more than the noise of tuning on 40 rows."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(20):
        chances = rng.beta(0.6, 1.4, size=(1040, 6)).astype(np.float32)
        y_true = (rng.random(chances.shape) < chances).astype(np.uint8)
        choice = choose(chances[:40], y_true[:40])
        decided = {"chosen": chances[40:] >= choice.thresholds, "half": chances[40:] >= 0.5}
        scores = {name: micro_f1(y_true[40:], y_pred) for name, y_pred in decided.items()}
        gains.append(scores["chosen"] - scores["half"])
    assert np.mean(gains) > 0.01


def test_a_rule_under_which_nothing_fires_is_left():
    """One group carries all that the scores know, so that no gain is proven over groups."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    groups = np.where(np.arange(400) < 200, 0, np.arange(400) // 10)
    known = np.where(groups[:, None] == 0, y_true, rng.permutation(y_true.ravel()).reshape(y_true.shape))
    choice = choose(0.1 + 0.3 * known, y_true, groups)
    assert choice.scores["half"] == 0.0
    assert choice.scores["single:expected=0.25"] > 0.5
    assert choice.rule == "single:expected=0.25"  # the single threshold of few groups


def test_a_half_that_does_well_stays():
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    y_score = np.where(rng.random(y_true.shape) < 0.1, 1 - y_true, y_true) * 0.8 + 0.1
    choice = choose(y_score, y_true)
    assert choice.scores["half"] > 0.7
    assert choice.rule == "half"


@pytest.mark.parametrize("grouped", [False, True])
def test_rows_in_groups_need_proof_for_a_rule(grouped):
    """A gain of 1.5 standard errors is enough among rows that stand alone, and chance among a few groups."""
    rng = np.random.default_rng(0)
    steady = F1Counts(np.column_stack([rng.binomial(10, 0.5, 30), np.full(30, 10), np.full(30, 10)]).astype(float))
    moved = steady.counts.copy()
    change = rng.normal(size=30)
    moved[:, 0] += 0.3 + (change - change.mean()) / change.std() * 0.3 * np.sqrt(30) / 1.5
    measured = {"single": steady, "exact-micro-f1": F1Counts(moved)}
    assert _steadiest(measured, 1.0, grouped=grouped) == ("single" if grouped else "exact-micro-f1")


def test_few_groups_get_a_threshold_drawn_to_the_expected_one():
    rng = np.random.default_rng(3)
    chances = rng.beta(0.6, 1.4, size=(300, 4)).astype(np.float32)
    y_true = (rng.random(chances.shape) < chances).astype(np.uint8)
    choice = choose(chances, y_true, groups=np.arange(300) // 30 * 4 % 7)  # groups cross the folds of `choose`
    assert choice.rule == "single:expected=0.25"
    ends = [tune_thresholds(chances, y_true, rule=f"single:expected={share}")[0] for share in (0, 1)]
    assert ends[0] != ends[1]
    assert choice.thresholds == pytest.approx(0.75 * ends[0] + 0.25 * ends[1])
    assert choose(chances, y_true, groups=np.arange(300)).rule == "single"
    with pytest.raises(ValueError, match="expected must lie in"):
        tune_thresholds(chances, y_true, rule="single:expected=2")


@pytest.mark.parametrize(("metric", "weighted", "most"), [("micro-f1", False, 18), ("micro-f1", True, 18)])
def test_a_choice_takes_few_bytes_a_cell_beyond_the_scores(metric, weighted, most, monkeypatch):
    monkeypatch.setattr(Kernel, "is_compiled_at_once", True)  # numpy's twins make copies
    rng = np.random.default_rng(0)
    y_true = rng.random((30_000, 40)) < 0.1
    y_score = np.clip(0.5 * y_true + 0.17 * rng.standard_normal(y_true.shape) + 0.2, 0, 1).astype(np.float32)
    weight = rng.integers(1, 4, len(y_true)).astype(float) if weighted else None
    predictions = PredictionSet(y_score[None], y_true=y_true, sample_weight=weight)
    few = predictions.subset(samples=np.arange(200))
    choose_thresholds(y_score[:200].copy(), few, np.arange(200) % 4, metric=find_metric(metric))  # compiles
    tracemalloc.start()
    try:
        choose_thresholds(y_score, predictions, np.arange(len(y_true)) % 4, metric=find_metric(metric))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / y_score.size < most
