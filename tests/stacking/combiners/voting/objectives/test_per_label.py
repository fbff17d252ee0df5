"""Objectives with a threshold or a ranking per label: against the exact rules, scikit-learn and brute force."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.means import combine, covered_weights
from stacking.combiners.voting.objectives.per_label import MacroF1, MeanAveragePrecision, MicroF1PerLabel
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.metrics import macro_f1, mean_average_precision, micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import draw_scores

KINDS = [MicroF1PerLabel, MacroF1, MeanAveragePrecision]


def make_set(rng, n_samples=400, *, gaps=False, counted=False):
    """Three models on rounded scores, so that ties abound; the last label has no positives."""
    y_true = (rng.random((n_samples, 6)) < np.geomspace(0.5, 0.02, 6)).astype(np.uint8)
    y_true[:, -1] = 0
    y_scores = draw_scores(y_true, np.ones(3), rng, offset=np.log(np.geomspace(0.5, 0.02, 6))).round(2)
    covers = np.ones((3, 6), dtype=bool)
    if gaps:
        covers[1, 3:] = covers[2, :1] = False
        y_scores = np.where(covers[:, None, :], y_scores, np.float32(np.nan))
    extra = {}
    if counted:
        weight = rng.integers(0, 4, n_samples).astype(float)
        extra = {"y_known": rng.random(y_true.shape) < 0.8, "sample_weight": weight}
    return PredictionSet(y_scores, y_true=y_true, covers=covers, **extra)


@pytest.fixture(params=["plain", "gaps", "counted", "gaps and counted"])
def predictions(request, rng):
    return make_set(rng, gaps="gaps" in request.param, counted="counted" in request.param)


@pytest.fixture
def candidates(rng):
    return np.vstack([np.eye(3), np.full((1, 3), 1 / 3), rng.dirichlet(np.ones(3), 4)])


def expected_metric(kind, predictions, score):
    """The metric of scores at the thresholds of the exact rules, by the package's slow and tested parts."""
    metadata = {"y_known": predictions.y_known, "sample_weight": predictions.sample_weight}
    if kind is MeanAveragePrecision:
        return mean_average_precision(predictions.y_true, score, **metadata)
    rule, metric = ("exact-micro-f1", micro_f1) if kind is MicroF1PerLabel else ("macro-f1", macro_f1)
    thresholds = tune_thresholds(score, predictions.y_true, rule, **metadata)
    return metric(predictions.y_true, apply_thresholds(score, thresholds), **metadata)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_equal_the_metric_at_the_exact_thresholds(kind, mean, predictions, candidates):
    losses = kind(predictions, mean)(candidates)
    for weights, loss in zip(candidates, losses, strict=True):
        score = combine(predictions.to_array(), covered_weights(weights, predictions.covers), mean)
        exact = 1e-12 if mean == "arithmetic" else 2e-3  # logits break ties in another place
        assert 1 - loss == pytest.approx(expected_metric(kind, predictions, score), abs=exact)


@pytest.mark.parametrize("seed", range(20))
def test_tiny_sets_equal_brute_force_and_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, (6, 2))
    y_true[0] = 1
    y_scores = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], (2, 6, 2))
    predictions = PredictionSet(y_scores, y_true=y_true)
    weights = np.array([0.5, 0.5])
    score = 0.5 * y_scores[0] + 0.5 * y_scores[1]
    decisions = [[score[:, label] >= cut for cut in [*np.unique(score[:, label]), np.inf]] for label in range(2)]
    tried = [np.stack(pair, axis=1) for pair in itertools.product(*decisions)]
    for kind, average in ((MicroF1PerLabel, "micro"), (MacroF1, "macro")):
        best = max(f1_score(y_true, decided, average=average, zero_division=0) for decided in tried)
        assert 1 - kind(predictions)(weights[None])[0] == pytest.approx(best, abs=1e-12)
    ranked = average_precision_score(y_true, score, average="macro")
    assert 1 - MeanAveragePrecision(predictions)(weights[None])[0] == pytest.approx(ranked, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_per_label_and_blocks_of_rows(kind, rng, monkeypatch):
    predictions = make_set(rng, gaps=True, counted=True)
    objective = kind(predictions)
    shared = rng.dirichlet(np.ones(3), 4)
    whole = objective(shared)
    np.testing.assert_array_equal(objective(np.repeat(shared[:, :, None], 6, axis=2)), whole)
    own = rng.dirichlet(np.ones(3), (1, 6)).transpose(0, 2, 1)
    score = combine(predictions.to_array(), covered_weights(own[0], predictions.covers), "arithmetic")
    assert 1 - objective(own)[0] == pytest.approx(expected_metric(kind, predictions, score), abs=1e-12)
    original = PredictionSet.iter_rows
    monkeypatch.setattr(PredictionSet, "iter_rows", lambda self, block=None: original(self, 97))
    np.testing.assert_allclose(kind(predictions)(shared), whole, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 1])
def test_truth_all_equal(kind, value, rng):
    y_scores = rng.choice([0.0, 0.5, 1.0], (2, 30, 3))
    losses = kind(PredictionSet(y_scores, y_true=np.full((30, 3), value)))(np.eye(2))
    np.testing.assert_array_equal(losses, 1 - value)


def test_few_candidates_at_a_time_give_the_same(rng, monkeypatch, candidates):
    predictions = make_set(rng)
    whole = MicroF1PerLabel(predictions)(candidates)
    monkeypatch.setattr("stacking.combiners.voting.objectives.label_cells._CUTS_AT_ONCE", 1)
    np.testing.assert_array_equal(MicroF1PerLabel(predictions)(candidates), whole)


def distort(y_scores, kind):
    """Scores that are no probabilities at all, in the same or another order."""
    return {
        "crowded at one": 1 - (1 - y_scores) * 1e-4,
        "crowded at zero": y_scores**8,
        "reversed": 1 - y_scores,
        "constant": np.where(np.arange(y_scores.shape[2]) % 2, np.float32(0.3), y_scores),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("kind", ["crowded at one", "crowded at zero", "reversed", "constant"])
def test_leaving_out_cells_loses_nothing_on_uncalibrated_scores(rng, kind, counted):
    """Every criterion equals a plain count of all cuts, though the kernels stop at the cut that cannot be beaten."""
    plain = make_set(rng, n_samples=1500, counted=counted)
    metadata = {"y_known": plain.y_known, "sample_weight": plain.sample_weight}
    predictions = PredictionSet(distort(plain.to_array(), kind), y_true=plain.y_true, **metadata)
    objective = MicroF1PerLabel(predictions)
    candidates = np.vstack([np.eye(3), rng.dirichlet(np.ones(3), 4)])
    weights = objective.effective(candidates)
    counts = np.ones(plain.y_true.shape) if plain.y_known is None else plain.y_known * plain.sample_weight[:, None]
    for price in (0.0, 0.3, 0.9):
        gains = objective.cells.evaluate(weights, "gain", price)
        own_f1 = objective.cells.evaluate(weights, "own-f1")
        for c, label in itertools.product(range(len(weights)), range(6)):
            score = combine(predictions.to_array(), np.repeat(candidates[c][:, None], 6, 1), "arithmetic")[:, label]
            cuts = [score >= cut for cut in np.unique(score)]
            hits = np.array([counts[:, label] @ (fired * plain.y_true[:, label]) for fired in cuts])
            total = np.array([counts[:, label] @ fired for fired in cuts])
            positives = counts[:, label] @ plain.y_true[:, label]
            assert gains[c, label] == pytest.approx(max(0.0, (2 * hits - price * total).max()), rel=1e-12)
            best = (2 * hits / np.maximum(positives + total, 1e-9)).max() if positives else 0.0
            assert own_f1[c, label] == pytest.approx(best, rel=1e-12)
    exact = objective.cells.micro_f1(weights)
    for guess in (0.5 * exact.max(), exact.max(), 1.0):
        np.testing.assert_allclose(objective.cells.micro_f1(weights, guess), exact, rtol=1e-12)


def test_few_cells_are_looked_at(rng):
    """Spoiling the scores below the last ceiling that matters changes nothing: they are not read."""
    predictions = make_set(rng, n_samples=4000)
    objective = MicroF1PerLabel(predictions)
    cells = objective.cells
    weights = objective.effective(np.full((1, 3), 1 / 3))
    before = cells.evaluate(weights, "gain", 0.6)
    ranked = cells.evaluate(weights, "average-precision")
    for label in range(cells.n_labels):
        first, middle = cells.start[2 * label], cells.start[2 * label + 1]
        cells.values[:, first + 7 * (middle - first) // 10 : middle] = 1.0
    np.testing.assert_array_equal(cells.evaluate(weights, "gain", 0.6)[:, 1:], before[:, 1:])
    assert (cells.evaluate(weights, "average-precision")[0, :3] < ranked[0, :3]).all()  # reads them all


def test_selected_labels_are_worth_the_same(rng):
    objective = MicroF1PerLabel(make_set(rng, gaps=True, counted=True))
    weights = objective.effective(rng.dirichlet(np.ones(3), 5))
    whole = objective.cells.evaluate(weights, "gain", 0.5)
    part = objective.cells.select(np.array([4, 0]))
    np.testing.assert_array_equal(part.evaluate(weights[:, :, [4, 0]], "gain", 0.5), whole[:, [4, 0]])


@pytest.mark.parametrize("objective", ["micro-f1-per-label", "macro-f1", "mean-average-precision"])
def test_the_search_reaches_what_its_scores_are_worth(rng, objective):
    predictions = make_set(rng)
    kind = {each.name: each for each in KINDS}[objective]
    voting = WeightedVoting(objective=objective).fit(predictions)
    reached = expected_metric(kind, predictions, voting.predict_proba(predictions))
    assert 1 - voting.loss_ == pytest.approx(reached, abs=1e-12)
    assert voting.loss_ <= kind(predictions)(np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])).min()


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_candidates_and_labels_as_models_are_told_apart(kind, rng):
    predictions = make_set(rng).subset(labels=[0, 1, 2])
    candidates = rng.dirichlet(np.ones(3), 3)
    one_by_one = [kind(predictions)(weights[None])[0] for weights in candidates]
    np.testing.assert_array_equal(kind(predictions)(candidates), one_by_one)
