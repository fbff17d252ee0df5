"""Objectives of metrics: what a search is told is what the metric says of the mixed scores at their best thresholds."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as reference

from stacking import PredictionSet
from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.means import combine
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.decision_rules import tune_thresholds
from stacking.metrics import find_metric

OF_LABELS = {"macro-f1": "macro-f1", "macro-f2": "macro-f1:beta=2", "macro-jaccard": "macro-f1"}
OF_ONE_THRESHOLD = ["micro-f2", "micro-f0.5", "micro-jaccard", "hamming-loss", "cost:fp=1,fn=3"]
OF_ONE_THRESHOLD += ["samples-f1", "samples-jaccard", "subset-accuracy"]
OF_SCORES = ["map", "roc-auc", "lrap", "coverage-error", "ranking-loss", "brier", "log-loss", "recall-at-3"]
OF_SCORES += ["precision-at-3", "micro-map", "micro-roc-auc"]
ON_A_GRID = {"micro-map": 5e-3, "micro-roc-auc": 1e-3}  # 64 cuts an octave of the odds, where 150 rows tie often


def make(seed=0, *, n_samples=150, masked=True, covered=True):
    rng = np.random.default_rng(seed)
    y_true = rng.random((n_samples, 9)) < np.linspace(0.03, 0.5, 9)
    y_scores = np.clip(0.35 * y_true + 0.65 * rng.random((4, n_samples, 9)), 0, 1).astype(np.float32)
    y_scores = np.round(y_scores, 2)
    covers = None
    if not covered:
        covers = np.ones((4, 9), dtype=bool)
        covers[0, :4] = False
        y_scores[0, :, :4] = np.nan
    facts = {"y_known": rng.random(y_true.shape) < 0.9, "sample_weight": rng.integers(1, 4, n_samples)}
    return PredictionSet(y_scores, y_true=y_true.astype(np.uint8), covers=covers, **(facts if masked else {}))


def measure(name, predictions, y_score, **answers):
    facts = {"y_known": predictions.y_known, "sample_weight": predictions.sample_weight}
    return find_metric(name)(predictions.y_true, y_score=y_score, **answers, **facts)


def as_loss(name, value):
    return 1 - value if find_metric(name).greater_is_better else value


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("options", [{}, {"masked": False}, {"covered": False}], ids=["weighted", "plain", "holes"])
@pytest.mark.parametrize("name", [*OF_SCORES, *OF_LABELS, *OF_ONE_THRESHOLD])
def test_the_loss_is_that_of_the_mixed_scores(name, options, mean):
    predictions = make(**options)
    candidates = np.random.default_rng(1).dirichlet(np.ones(4), 3)
    losses = create_objective(name, predictions, mean)(candidates)
    facts = {"y_known": predictions.y_known, "sample_weight": predictions.sample_weight}
    for weights, loss in zip(candidates, losses, strict=True):
        shared = weights[:, None] * predictions.covers
        y_score = combine(predictions.to_array(), (shared / shared.sum(axis=0)).astype(np.float32), mean)
        if name in OF_SCORES:
            exact = as_loss(name, measure(name, predictions, y_score))
            np.testing.assert_allclose(loss, exact, atol=ON_A_GRID.get(name, 2e-5))
        elif name in OF_LABELS:
            limits = tune_thresholds(y_score, predictions.y_true, OF_LABELS[name], **facts)
            exact = as_loss(name, measure(name, predictions, y_score, y_pred=y_score >= limits))
            np.testing.assert_allclose(loss, exact, atol=2e-5)
        else:
            limits = np.append(np.unique(y_score), 2.0)
            values = [as_loss(name, measure(name, predictions, y_score, y_pred=y_score >= t)) for t in limits[::3]]
            # The grid of a search may miss the best threshold, but none is better than the best.
            assert min(values) - 5e-3 <= loss <= min(values) + 0.03


def test_a_sum_is_the_sum_of_its_parts():
    predictions, candidates = make(), np.eye(4)
    parts = [create_objective(name, predictions)(candidates) for name in ("micro-f2", "lrap", "log-loss")]
    whole = create_objective("0.5*micro-f2+lrap+2*log-loss", predictions)(candidates)
    np.testing.assert_allclose(whole, 0.5 * parts[0] + parts[1] + 2 * parts[2])


def test_a_function_is_asked_for_each_candidate():
    predictions, candidates = make(masked=False), np.eye(4)

    def right(y_true, y_pred):
        return reference.accuracy_score(y_true.ravel(), y_pred.ravel())

    losses = create_objective(find_metric(right), predictions)(candidates)
    for model, loss in enumerate(losses):
        y_score = predictions.to_array()[model]
        limit = tune_thresholds(y_score, predictions.y_true, "single")
        assert -loss == pytest.approx(right(predictions.y_true, y_score >= limit))


@pytest.mark.parametrize("optimizer", ["greedy", "hill-climbing"])
@pytest.mark.parametrize("name", ["roc-auc", "samples-f1", "hamming-loss"])
def test_a_search_started_at_the_singles_never_ends_worse(name, optimizer):
    predictions = make(2, masked=False)
    options = {} if optimizer == "greedy" else {"n_iterations": 20}
    voting = WeightedVoting(optimizer, name, optimizer_options=options).fit(predictions)
    assert voting.loss_ <= create_objective(name, predictions)(np.eye(4)).min() + 1e-12


def test_weights_per_label_take_objectives_that_separate():
    with pytest.raises(ValueError, match="where labels or groups have weights of their own"):
        WeightedVoting(objective="lrap", weights_per="label").fit(make())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("roc-auc", lambda y, s: reference.roc_auc_score(y, s, average="macro")),
        ("lrap", reference.label_ranking_average_precision_score),
        ("samples-f1", lambda y, s: reference.f1_score(y, s >= 0.5, average="samples", zero_division=0)),
        ("macro-f2", lambda y, s: reference.fbeta_score(y, s >= 0.5, beta=2, average="macro", zero_division=0)),
    ],
)
def test_a_candidate_takes_a_small_part_of_the_plain_loops_time(name: str, plain: Callable[..., float]):
    rng = np.random.default_rng(0)
    y_true = (rng.random((1500, 60)) < 0.1).astype(np.uint8)
    y_scores = np.clip(0.3 * y_true + 0.7 * rng.random((5, 1500, 60)), 0, 1).astype(np.float32)
    objective = create_objective(name, PredictionSet(y_scores, y_true=y_true))
    candidates = rng.dirichlet(np.ones(5), 4).astype(np.float32)
    objective(candidates[:1])  # compiles
    begun = time.process_time()
    objective(candidates)
    ours, begun = time.process_time() - begun, time.process_time()
    for weights in candidates:
        plain(y_true, np.tensordot(weights, y_scores, 1))
    assert ours < 0.3 * (time.process_time() - begun)
