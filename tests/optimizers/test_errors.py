"""Every check of the package, fired."""

import numpy as np
import pytest

from optimizers import list_optimizer_options, minimize, register_optimizer, unregister_optimizer
from optimizers.search import Search
from optimizers.testing import QuadraticObjective

QUADRATIC = QuadraticObjective([0.5, 0.3, 0.2])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"objective": 3}, TypeError, r"objective must be callable.*got int"),
        ({"n_dimensions": 0}, ValueError, r"n_dimensions must be an integer of at least 1: got 0"),
        ({"n_dimensions": 2.5}, ValueError, r"n_dimensions must be an integer of at least 1: got 2\.5"),
        ({"n_dimensions": True}, ValueError, r"n_dimensions must be an integer"),
        ({"optimizer": "psso"}, ValueError, r"got 'psso'; did you mean 'pso'\?"),
        ({"optimizer": "zzz"}, ValueError, r"got 'zzz'; choose one of 'cma-es', 'differential-evolution', "),
        ({"optimizer": None}, ValueError, r"optimizer must be a name of list_optimizers\(\): got None"),
        ({"random_state": "7"}, ValueError, r"random_state must be a non-negative integer.*got '7'"),
        ({"random_state": -1}, ValueError, r"random_state must be .* got -1"),
        ({"initial": [[0.5, 0.5]]}, ValueError, r"initial must have shape \(k, 3\).*got shape \(1, 2\)"),
        ({"initial": np.zeros((1, 1, 3))}, ValueError, r"initial must have shape"),
        ({"initial": [[1, 0, 0], [0.5, 0.9, -0.4]]}, ValueError, r"initial must hold weights.*row 1 is \[0\.5, 0\.9"),
        ({"initial": [[2.0, 0, 0]]}, ValueError, r"sum to one: row 0 .*divide weights by their sum"),
        ({"initial": [[np.nan, 0.5, 0.5]]}, ValueError, r"initial must hold weights.*row 0"),
        ({"callback": 1}, TypeError, r"callback must be callable.*got int"),
        ({"n_particels": 3}, TypeError, r"'pso' takes no option 'n_particels': did you mean 'n_particles'\?"),
        ({"max_evaluation": 3}, TypeError, r"did you mean 'max_evaluations'\?"),
        ({"max_evaluations": 0}, ValueError, r"max_evaluations must be an integer of at least 1: got 0"),
        ({"max_evaluations": 3}, ValueError, r"max_evaluations must cover the 4 starting candidates.*got 3"),
        ({"use_default_starts": "no"}, ValueError, r"use_default_starts must be True or False: got 'no'"),
        ({"use_default_starts": False}, ValueError, r"initial must hold at least one candidate"),
    ],
)
def test_arguments_of_minimize(changes, error, message):
    arguments = {"objective": QUADRATIC, "n_dimensions": 3, "optimizer": "pso", **changes}
    evaluations = QUADRATIC.n_evaluations
    with pytest.raises(error, match=message):
        minimize(**arguments)
    assert QUADRATIC.n_evaluations == evaluations  # raised before any work


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        ("greedy", {"n_iterations": 0}, "n_iterations must be an integer of at least 1"),
        ("greedy", {"max_members": 0}, "max_members must be an integer of at least 1"),
        ("greedy", {"tie_tolerance": -1.0}, r"tie_tolerance must be a finite number in \[0, 1\]: got -1.0"),
        ("hill-climbing", {"n_iterations": "9"}, "n_iterations must be an integer"),
        ("hill-climbing", {"n_moves": 0}, "n_moves must be an integer"),
        ("hill-climbing", {"n_restarts": -1}, "n_restarts must be an integer of at least 0"),
        ("hill-climbing", {"step": 0}, r"step must be a finite number in \(0, 1\]: got 0"),
        ("hill-climbing", {"min_step": 0.5}, r"min_step must be a finite number in \(0, 0\.2\]"),
        ("pso", {"n_particles": 0}, "n_particles must be an integer"),
        ("pso", {"n_iterations": 0}, "n_iterations must be an integer"),
        ("pso", {"inertia": np.nan}, "inertia must be a finite number"),
        ("pso", {"cognitive": "1"}, "cognitive must be a finite number"),
        ("pso", {"social": 5}, "social must be a finite number"),
        ("slsqp", {"n_iterations": 0}, "n_iterations must be an integer"),
        ("slsqp", {"tolerance": 0}, "tolerance must be a finite number"),
        ("nelder-mead", {"n_candidates": 0}, "n_candidates must be an integer"),
        ("nelder-mead", {"n_restarts": None}, "n_restarts must be an integer"),
        ("nelder-mead", {"step": 2}, "step must be a finite number"),
        ("nelder-mead", {"tolerance": -1}, "tolerance must be a finite number"),
        ("differential-evolution", {"n_iterations": 0}, "n_iterations must be an integer"),
        ("differential-evolution", {"population_size": 4}, "population_size must be an integer of at least 5"),
        ("differential-evolution", {"mutation": 2}, "mutation must be a finite number"),
        ("differential-evolution", {"crossover": 1.1}, "crossover must be a finite number"),
        ("differential-evolution", {"tolerance": -1}, "tolerance must be a finite number"),
        ("cma-es", {"n_iterations": 0}, "n_iterations must be an integer"),
        ("cma-es", {"population_size": 3}, "population_size must be an integer of at least 4"),
        ("cma-es", {"step": 0.0}, "step must be a finite number"),
        ("cma-es", {"penalty": -1}, "penalty must be a finite number"),
        ("random-search", {"n_candidates": 0}, "n_candidates must be an integer"),
        ("random-search", {"batch_size": 0}, "batch_size must be an integer"),
        ("random-search", {"concentration": 0}, "concentration must be a finite number"),
    ],
)
def test_options_of_each_optimizer(optimizer, options, message):
    assert set(options) <= set(list_optimizer_options(optimizer))
    objective = QuadraticObjective([0.5, 0.3, 0.2])
    with pytest.raises(ValueError, match=message):
        minimize(objective, 3, optimizer, **options)
    assert objective.n_evaluations == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda w: w, r"one loss per candidate, shape \(4,\) for candidates \(4, 3\): got shape \(4, 3\)"),
        (lambda w: 0.5, r"got shape \(\)"),
        (lambda w: np.full(len(w), np.nan), r"finite losses, or \+inf .*got nan for weights"),
        (lambda w: np.full(len(w), -np.inf), r"got -inf for weights"),
        (lambda w: np.full(len(w), np.inf), r"objective must allow some candidate: it returned \+inf for all"),
    ],
)
def test_answers_of_the_objective(answer, message):
    with pytest.raises(ValueError, match=message):
        minimize(answer, 3, "greedy")


def test_slsqp_needs_a_gradient():
    with pytest.raises(TypeError, match=r"must offer value_and_gradient\(weights\).*function does not; add it"):
        minimize(lambda w: w[:, 0], 3, "slsqp")


@pytest.mark.parametrize("gradient", [[1.0, 2.0], [np.nan, 0.0, 0.0], 1.0])
def test_gradient_must_be_finite_and_of_the_right_shape(gradient):
    class Broken(QuadraticObjective):
        def value_and_gradient(self, weights):
            return 0.0, gradient

    with pytest.raises(ValueError, match=r"must return a finite gradient of shape \(3,\): got"):
        minimize(Broken([0.5, 0.3, 0.2]), 3, "slsqp")


def test_gradient_value_must_be_a_number():
    class Broken(QuadraticObjective):
        def value_and_gradient(self, weights):
            return np.nan, np.zeros(3)

    with pytest.raises(ValueError, match="got nan for weights"):
        minimize(Broken([0.5, 0.3, 0.2]), 3, "slsqp")


def test_registry_collision():
    with pytest.raises(ValueError, match=r"'pso' is taken by optimizers\.pso; choose another name"):
        register_optimizer("pso")(lambda search: "mine")


def test_registry_wants_keyword_options_with_defaults():
    with pytest.raises(TypeError, match="'mine' must take its options as keyword-only parameters with defaults: got"):
        register_optimizer("mine")(lambda search, step: "mine")


def test_unregistering_the_unknown():
    with pytest.raises(ValueError, match="got 'mine'"):
        unregister_optimizer("mine")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([[0.5, 0.4]], "candidates must be on the simplex"),
        ([[1.5, -0.5]], "candidates must be on the simplex"),
        ([[np.nan, 1.0]], "candidates must be on the simplex"),
        ([[1.0]], r"must have shape \(k, 2\): the optimizer proposed shape \(1, 1\)"),
    ],
)
def test_a_method_is_held_to_the_simplex(candidates, message):
    search = Search(QuadraticObjective([0.5, 0.5]), 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        search.evaluate(np.array(candidates))


def test_an_empty_batch_costs_nothing():
    search = Search(QuadraticObjective([0.5, 0.5]), 2, np.random.default_rng(0))
    assert search.evaluate(np.empty((0, 2))).shape == (0,)
    assert (search.n_evaluations, search.history) == (0, [])
