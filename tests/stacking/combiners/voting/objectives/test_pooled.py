"""The pooled and pruned objectives against plain numpy on the whole matrix."""

import numpy as np
import pytest

from optimizers import minimize
from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.means import combine, covered_weights
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.combiners.voting.objectives.pooled import LogLoss, MicroF1AtBest, MicroF1AtHalf
from stacking.combiners.voting.objectives.registry import list_objectives, register_objective
from stacking.decision_rules import apply_thresholds, tune_thresholds
from stacking.metrics import log_loss, micro_f1
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions

MEANS = ["arithmetic", "geometric"]


def make_set(rng, n_samples=700, power=1.0, *, gaps=False, counted=False):
    """A long tail of labels, four models of different calibration; optionally gaps, mask and sample weights."""
    covers = np.ones((4, 9), dtype=bool)
    if gaps:
        covers[1, 3:] = False
        covers[3, :2] = False
    drawn = make_predictions(
        4,
        n_samples,
        9,
        random_state=rng,
        frequency=np.geomspace(0.6, 0.01, 9),
        offset=np.log(np.geomspace(0.6, 0.005, 9)),
        signal=2.5,
        noise=[0.8, 1.0, 1.2, 1.5],
        sharpness=np.array([1.0, 0.7, 1.4, 1.0])[:, None, None],
        covers=covers,
    )
    extra = {}
    if counted:
        weight = rng.integers(0, 4, n_samples).astype(float)
        extra = {"y_known": rng.random((n_samples, 9)) < 0.8, "sample_weight": weight}
    return PredictionSet(drawn.to_array() ** power, y_true=drawn.y_true, covers=covers, **extra)


def counted(predictions):
    return {"y_known": predictions.y_known, "sample_weight": predictions.sample_weight}


def blend(predictions, weights, mean):
    return combine(predictions.to_array(), covered_weights(weights, predictions.covers), mean)


@pytest.fixture(params=["plain", "gaps", "counted", "gaps and counted"])
def predictions(request, rng):
    return make_set(rng, gaps="gaps" in request.param, counted="counted" in request.param)


@pytest.fixture
def candidates(rng):
    return np.vstack([np.eye(4), np.full((1, 4), 0.25), rng.dirichlet(np.ones(4), 6)])


@pytest.mark.parametrize("mean", MEANS)
def test_half_equals_numpy(predictions, candidates, mean):
    losses = MicroF1AtHalf(predictions, mean)(candidates)
    for weights, loss in zip(candidates, losses, strict=True):
        expected = 1 - micro_f1(predictions.y_true, blend(predictions, weights, mean) >= 0.5, **counted(predictions))
        assert loss == pytest.approx(expected, abs=1e-12 if mean == "arithmetic" else 2e-4)


@pytest.mark.parametrize("mean", MEANS)
def test_log_loss_equals_numpy(predictions, candidates, mean):
    losses = LogLoss(predictions, mean)(candidates)
    for weights, loss in zip(candidates, losses, strict=True):
        expected = log_loss(predictions.y_true, blend(predictions, weights, mean), **counted(predictions))
        assert loss == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("mean", MEANS)
def test_best_threshold_equals_numpy(predictions, candidates, mean):
    losses = MicroF1AtBest(predictions, mean)(candidates)
    for weights, loss in zip(candidates, losses, strict=True):
        score = blend(predictions, weights, mean)
        exact = tune_thresholds(score, predictions.y_true, "single", **counted(predictions))
        best = micro_f1(predictions.y_true, apply_thresholds(score, exact), **counted(predictions))
        assert best - 2e-3 <= 1 - loss <= best + 2e-5  # the grid holds 64 cuts per octave of the odds


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("power", [1.0, 0.02, 25.0])
def test_pruning_changes_nothing_even_for_uncalibrated_scores(rng, mean, power):
    predictions = make_set(rng, power=power)
    pruned, whole = MicroF1AtBest(predictions, mean), MicroF1AtBest(predictions, mean, prune=False)
    many = np.vstack([np.eye(4), rng.dirichlet(np.ones(4), 40)])
    np.testing.assert_array_equal(pruned(many), whole(many))
    if power == 1.0:
        stored = [sum(int(part.start[-1] - part.start[0]) for part in tier) for tier in pruned._tiers]
        assert stored[0] < 0.5 * predictions.n_samples * predictions.n_labels


def test_candidates_that_outrun_the_stored_tiers_are_scored_on_all_cells(rng):
    """One member is useless: its own best threshold lies below all that is stored."""
    good = make_set(rng)
    scores = good.to_array().copy()
    scores[3] = rng.random(scores[3].shape) * 1e-3
    predictions = PredictionSet(scores, y_true=good.y_true)
    pruned, whole = MicroF1AtBest(predictions), MicroF1AtBest(predictions, prune=False)
    reads = count_reads(pruned)
    np.testing.assert_array_equal(pruned(np.eye(4)), whole(np.eye(4)))
    assert reads == [1]
    np.testing.assert_array_equal(pruned(np.eye(4)), whole(np.eye(4)))
    np.testing.assert_array_equal(pruned(np.full((1, 4), 0.25)), whole(np.full((1, 4), 0.25)))
    assert reads == [1]  # known by now, and done with what is stored


def count_reads(objective):
    """The list grows by one each time the predictions are read again."""
    reads = []
    original = objective._iter_rows
    objective._iter_rows = lambda: (reads.append(1), original())[1]
    return reads


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("power", [1.0, 0.02, 25.0])
@pytest.mark.parametrize("counted", [False, True])
def test_a_limit_of_memory_changes_nothing(rng, mean, power, counted):
    """Three of four members are much worse than the first: many candidates need cells beyond the limit."""
    predictions = make_set(rng, power=power, counted=counted)
    scores = predictions.to_array().copy()
    scores[1:] = scores[1:] * 0.2 + 0.8 * rng.random(scores[1:].shape) ** 4
    metadata = {
        "y_true": predictions.y_true,
        "y_known": predictions.y_known,
        "sample_weight": predictions.sample_weight,
    }
    predictions = PredictionSet(scores.astype(np.float32), **metadata)
    limited, whole = MicroF1AtBest(predictions, mean, most_bytes=1), MicroF1AtBest(predictions, mean, prune=False)
    assert len(limited._tiers) == 1
    reads = count_reads(limited)
    many = np.vstack([np.eye(4), rng.dirichlet(np.ones(4), 20)])
    np.testing.assert_array_equal(limited(many), whole(many))
    assert 1 <= len(reads) <= 2


@pytest.mark.parametrize("kind", [MicroF1AtHalf, MicroF1AtBest, LogLoss])
def test_where_members_do_not_cover_all_labels_candidates_may_be_per_label(rng, kind):
    predictions = make_set(rng, gaps=True, counted=True)
    objective = kind(predictions)
    shared = rng.dirichlet(np.ones(4), 3)
    wide = np.repeat(shared[:, :, None], 9, axis=2)
    np.testing.assert_allclose(objective(wide), objective(shared), rtol=1e-12)
    own = rng.dirichlet(np.ones(4), (1, 9)).transpose(0, 2, 1)
    if kind is MicroF1AtHalf:
        score = combine(predictions.to_array(), covered_weights(own[0], predictions.covers), "arithmetic")
        expected = 1 - micro_f1(predictions.y_true, score >= 0.5, **counted(predictions))
        assert objective(own)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", [MicroF1AtHalf, MicroF1AtBest, LogLoss])
def test_blocks_of_rows_add_up(rng, kind, monkeypatch, candidates):
    predictions = make_set(rng, counted=True)
    whole = kind(predictions)(candidates)
    original = PredictionSet.iter_rows
    monkeypatch.setattr(PredictionSet, "iter_rows", lambda self, block=None: original(self, 97))
    np.testing.assert_allclose(kind(predictions)(candidates), whole, rtol=1e-7)


@pytest.mark.parametrize("mean", MEANS)
def test_gradient_equals_finite_differences(predictions, mean):
    objective = LogLoss(predictions, mean)
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    value, gradient = objective.value_and_gradient(weights)
    assert value == pytest.approx(objective(weights[None])[0], rel=1e-6)
    for i, j in ((0, 1), (1, 2), (3, 0)):
        step = np.zeros(4)
        step[i], step[j] = 1e-3, -1e-3
        ahead, back = (objective.value_and_gradient(weights + sign * step)[0] for sign in (1, -1))
        assert (ahead - back) / 2e-3 == pytest.approx(gradient[i] - gradient[j], rel=2e-3, abs=2e-6)


@pytest.mark.parametrize("name", list_objectives())
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("value", [0, 1])
def test_truth_all_equal_and_extreme_scores(name, mean, value, rng):
    y_scores = rng.choice([0.0, 0.5, 1.0], (2, 30, 3)).astype(np.float32)
    predictions = PredictionSet(y_scores, y_true=np.full((30, 3), value, dtype=np.uint8))
    losses = create_objective(name, predictions, mean)(np.array([[0.3, 0.7], [1.0, 0.0]]))
    assert np.isfinite(losses).all()
    if name.startswith("micro") and value == 0:
        np.testing.assert_array_equal(losses, 1.0)


def test_wrong_arguments_are_named(rng):
    assert set(list_objectives()) >= {"log-loss", "micro-f1-best", "micro-f1-half"}
    predictions = make_set(rng)
    with pytest.raises(ValueError, match=r"objective must be one of .*Did you mean 'log-loss'"):
        create_objective("logloss", predictions)
    with pytest.raises(ValueError, match="mean must be one of"):
        create_objective("log-loss", predictions, "harmonic")
    with pytest.raises(ValueError, match="predictions must carry y_true"):
        create_objective("log-loss", PredictionSet(predictions.to_array()))


def test_a_race_asks_no_more_than_the_best_and_finds_the_same(rng):
    """Greedy search reads the predictions again only for candidates that may be the best of their batch."""
    good = make_set(rng)
    scores = good.to_array().copy()
    scores[3] = rng.random(scores[3].shape) ** 0.2  # useless, and far above every floor
    scores[2] = scores[2] * 1e-3  # as good as the third ever was, and far below
    predictions = PredictionSet(scores, y_true=good.y_true)
    race, whole = MicroF1AtBest(predictions, most_bytes=1), MicroF1AtBest(predictions, prune=False)
    race.is_race = True
    for _ in range(5):
        batch = np.vstack([np.eye(4), rng.dirichlet(np.ones(4), 8)])
        losses, exact = race(batch), whole(batch)
        assert losses.argmin() == exact.argmin()
        assert losses.min() == exact.min()
        assert (losses >= exact).all()
    reads = count_reads(race)
    race(np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]]))
    assert not reads
    patient = minimize(MicroF1AtBest(predictions, prune=False), 4, "greedy", random_state=0)
    voting = WeightedVoting().fit(predictions)
    np.testing.assert_array_equal(voting.shared_weights_, patient.weights)
    assert voting.loss_ == patient.loss


def test_an_objective_of_one_name_is_entered_once():
    with pytest.raises(ValueError, match=r"'log-loss' is taken by stacking\.combiners\.voting\.objectives\.pooled"):
        register_objective("log-loss")(LogLoss)
