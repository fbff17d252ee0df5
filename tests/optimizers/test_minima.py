"""Known minima on the simplex, and properties of every search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import list_optimizers, minimize, project_to_simplex
from optimizers.greedy import greedy_together
from optimizers.testing import QuadraticObjective

# How near to the optimum each method comes with its default budget, in loss, on a well-scaled quadratic.
PRECISION = {
    "cma-es": 1e-8,
    "differential-evolution": 1e-5,
    "greedy": 2e-3,
    "hill-climbing": 1e-6,
    "nelder-mead": 1e-8,
    "pso": 1e-4,
    "random-search": 1e-1,
    "slsqp": 1e-12,
}


@pytest.mark.parametrize("name", list_optimizers())
@pytest.mark.parametrize(
    "target",
    [[0.7, 0.3], [0.5, 0.2, 0.2, 0.1], [0.9, 0.6, -0.4, -0.1], [0.35, 0.0, 0.0, 0.65, 0.0], [3.0, -1.0, -1.0]],
    ids=["edge", "interior", "face", "sparse", "corner"],
)
def test_quadratic_optimum(name, target):
    objective = QuadraticObjective(target)
    optimum = project_to_simplex(target)  # of a round bowl, the nearest weights to its bottom
    result = minimize(objective, len(target), name, random_state=0)
    assert result.loss - objective(optimum[None])[0] <= PRECISION[name]
    assert np.abs(result.weights - optimum).max() <= np.sqrt(PRECISION[name]) * 1.01


@pytest.mark.parametrize("name", sorted(set(list_optimizers()) - {"greedy", "random-search"}))
def test_ill_conditioned_quadratic(name, rng):
    root = rng.normal(size=(6, 6))
    objective = QuadraticObjective([0.3, 0.3, 0.2, 0.1, 0.1, 0.0], root @ root.T + 0.01 * np.eye(6))
    uniform = objective(np.full((1, 6), 1 / 6))[0]
    assert minimize(objective, 6, name, random_state=0).loss < 0.03 * uniform


def test_slsqp_finds_the_log_loss_optimum_by_its_kkt_conditions(rng):
    truth = rng.random((400, 3)) < 0.3
    scores = np.clip(
        truth * 0.4 + rng.random((5, 400, 3)) * 0.6 * np.array([0.5, 0.8, 1, 1.2, 1.6])[:, None, None], 0.01, 0.99
    )

    class LogLoss:
        def value_and_gradient(self, weights):
            mixed = np.tensordot(weights, scores, 1)
            slope = np.where(truth, -1 / mixed, 1 / (1 - mixed)) / truth.size
            return -np.where(truth, np.log(mixed), np.log(1 - mixed)).mean(), (scores * slope).sum(axis=(1, 2))

        def __call__(self, candidates):
            return np.array([self.value_and_gradient(w)[0] for w in candidates])

    objective = LogLoss()
    result = minimize(objective, 5, "slsqp")
    _, slope = objective.value_and_gradient(result.weights)
    used = result.weights > 1e-9
    assert 1 < used.sum() < 5
    assert np.ptp(slope[used]) < 1e-5  # equal slopes among the members in,
    assert slope[~used].min() > slope[used].min() - 1e-6  # none outside is steeper
    rival = minimize(objective, 5, "cma-es", random_state=0)
    assert result.loss <= rival.loss + 1e-12
    assert result.n_evaluations < 80


def test_greedy_is_caruana_selection_with_replacement(rng):
    objective = QuadraticObjective([0.43, 0.37, 0.2, 0.0])
    bag, best, best_loss = [], None, np.inf
    for _ in range(13):  # the paper's loop, one candidate at a time
        losses = [objective(np.eye(4)[[*bag, m]].mean(axis=0)[None])[0] for m in range(4)]
        bag.append(int(np.argmin(losses)))
        if min(losses) < best_loss:
            best, best_loss = np.eye(4)[bag].mean(axis=0), min(losses)
    result = minimize(objective, 4, "greedy", n_iterations=13)
    np.testing.assert_allclose(result.weights, best, atol=1e-12)
    assert result.n_evaluations == 5 + 13 * 4


def test_greedy_scores_all_members_in_one_batch():
    objective = QuadraticObjective([0.5, 0.5, 0.0])
    minimize(objective, 3, "greedy", n_iterations=4)
    assert [len(batch) for batch in objective.batches] == [4, 3, 3, 3, 3]


def test_greedy_prefers_members_already_in():
    def loss(weights):  # members 0 and 2 are worth the same; 1 must come first
        return np.abs(weights[:, 1] - 0.5) + 0.1 * (weights[:, 1] == 0)

    result = minimize(loss, 3, "greedy", n_iterations=6, use_default_starts=False, initial=[0.0, 0.0, 1.0])
    assert np.count_nonzero(result.weights) == 2


@pytest.mark.parametrize("max_members", [1, 2, 3])
def test_greedy_limits_members(max_members):
    result = minimize(QuadraticObjective(np.full(6, 1 / 6)), 6, "greedy", max_members=max_members)
    assert np.count_nonzero(result.weights) == max_members
    unlimited = minimize(QuadraticObjective(np.full(6, 1 / 6)), 6, "greedy")
    assert np.count_nonzero(unlimited.weights) == 6


def test_hill_climbing_leaves_a_local_optimum():
    def two_valleys(weights):
        return np.minimum(weights[:, 0] ** 2 + 0.2, (weights[:, 0] - 0.9) ** 2 + 0.1 * weights[:, 1])

    start = {"initial": [0.0, 0.5, 0.5], "use_default_starts": False, "random_state": 3, "step": 0.05}
    stuck = minimize(two_valleys, 3, "hill-climbing", n_restarts=0, **start)
    assert stuck.loss == pytest.approx(0.2)
    assert minimize(two_valleys, 3, "hill-climbing", n_restarts=9, n_iterations=900, **start).loss < 0.01


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(list_optimizers()),
    n_dimensions=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    rounding=st.sampled_from([1, 2, 12]),
)
def test_any_search_stays_on_the_simplex_and_beats_the_best_single(name, n_dimensions, seed, rounding):
    rng = np.random.default_rng(seed)
    smooth = QuadraticObjective(rng.normal(size=n_dimensions))

    class Steps:  # plateaus, as a score that counts has them
        def __call__(self, candidates):
            return np.round(smooth(candidates), rounding)

        def value_and_gradient(self, weights):
            value, slope = smooth.value_and_gradient(weights)
            return round(value, rounding), slope

    result = minimize(Steps(), n_dimensions, name, random_state=seed, max_evaluations=100)
    assert result.weights.shape == (n_dimensions,)
    assert (result.weights >= 0).all()
    assert result.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert result.loss <= Steps()(np.eye(n_dimensions)).min()
    assert result.loss <= Steps()(np.full((1, n_dimensions), 1 / n_dimensions))[0]
    assert result.n_evaluations <= 100


@pytest.mark.parametrize("name", ["greedy", "slsqp"])
def test_permuting_members_permutes_the_weights(name, rng):
    order = rng.permutation(5)
    target = np.array([0.41, 0.32, 0.17, 0.06, 0.04])
    straight = minimize(QuadraticObjective(target), 5, name).weights
    permuted = minimize(QuadraticObjective(target[order]), 5, name).weights
    np.testing.assert_allclose(permuted, straight[order], atol=1e-6)


@pytest.mark.parametrize("options", [{"n_candidates": 1}, {"n_candidates": 3}, {"n_restarts": 0}])
def test_nelder_mead_with_less_than_one_figure(options):
    result = minimize(QuadraticObjective([0.5, 0.3, 0.1, 0.1]), 4, "nelder-mead", **options)
    assert result.n_evaluations <= 5 + options.get("n_candidates", 1500)


@pytest.mark.parametrize(
    ("name", "options", "n_evaluations"),
    [
        ("pso", {"n_particles": 6, "n_iterations": 7}, 5 + 6 * 8),
        ("random-search", {"n_candidates": 17, "batch_size": 4}, 5 + 17),
        ("greedy", {"n_iterations": 3}, 5 + 12),
        ("cma-es", {"n_iterations": 3, "population_size": 9}, 5 + 27),
        ("differential-evolution", {"n_iterations": 3, "population_size": 8}, 5 + 32),
        ("hill-climbing", {"n_iterations": 6, "n_moves": 5, "n_restarts": 0}, 5 + 30),
    ],
)
def test_budgets_are_what_the_options_say(name, options, n_evaluations):
    assert minimize(QuadraticObjective([0.4, 0.3, 0.2, 0.1]), 4, name, **options).n_evaluations == n_evaluations


def test_random_search_does_not_depend_on_the_batch_size():
    objective = QuadraticObjective([0.4, 0.3, 0.3])
    first, second = (minimize(objective, 3, "random-search", random_state=1, batch_size=size) for size in (7, 1500))
    np.testing.assert_array_equal(first.weights, second.weights)


@pytest.mark.parametrize(
    "options", [{}, {"n_iterations": 3}, {"max_members": 1}, {"max_members": 2, "tie_tolerance": 0.1}]
)
@pytest.mark.parametrize("decimals", [1, 9])
def test_greedy_searches_side_by_side_end_where_each_ends_alone(options, decimals, rng):
    targets = rng.dirichlet(np.ones(4), 12)
    starts = rng.dirichlet(np.ones(4), 12).round(2)
    starts /= starts.sum(axis=1, keepdims=True)

    def losses(candidates):  # (12, k, 4); rounded, so that there are ties; some candidates must not be chosen
        loss = ((candidates - targets[: len(candidates), None]) ** 2).sum(axis=2).round(decimals)
        return np.where(candidates[:, :, 0] == 1.0, np.inf, loss)

    together = greedy_together(losses, starts, **options)
    for search in range(12):

        def own(candidates, search=search):
            return losses(np.repeat(candidates[None], 12, axis=0))[search]

        alone = minimize(own, 4, "greedy", initial=starts[search], **options)
        np.testing.assert_array_equal(together[search], alone.weights)
