"""Every registered optimizer through the shipped suite, and the suite against optimizers that break it."""

import numpy as np
import pytest

from optimizers import list_optimizers, register_optimizer, unregister_optimizer
from optimizers.testing import ConformanceError, check_optimizer, optimizer_checks


@pytest.mark.parametrize("check", optimizer_checks(), ids=lambda check: check.__name__.removeprefix("_check_"))
@pytest.mark.parametrize("name", list_optimizers())
def test_optimizer_keeps_its_contract(name, check):
    check(name)


def test_the_designed_optimizers_are_there():
    assert list_optimizers() == [
        "cma-es",
        "differential-evolution",
        "greedy",
        "hill-climbing",
        "nelder-mead",
        "pso",
        "random-search",
        "slsqp",
    ]


@pytest.fixture
def registered():
    """Register a method for one test."""
    names = []

    def register(method, name="home-made"):
        register_optimizer(name)(method)
        names.append(name)
        return name

    yield register
    for name in names:
        unregister_optimizer(name)


def test_a_method_from_outside_can_conform(registered):
    def midpoints(search, *, n_iterations=5):
        starts, losses = search.evaluate_starts()
        for _ in range(n_iterations):
            starts = (starts + starts[np.argmin(losses)]) / 2
            losses = search.evaluate(starts)
        return "halved the distances"

    name = registered(midpoints)
    check_optimizer(name)
    assert name in list_optimizers()


def skips_the_singles(search):
    search.evaluate(search.rng.dirichlet(np.ones(search.n_dimensions), size=3))
    return "drew"


def draws_from_the_global_generator(search):
    search.evaluate_starts()
    search.evaluate(np.random.dirichlet(np.ones(search.n_dimensions), size=100))  # noqa: NPY002
    return "drew"


def ignores_the_seed(search):
    search.evaluate_starts()
    search.evaluate(np.random.default_rng().dirichlet(np.ones(search.n_dimensions), size=100))
    return "drew"


def swallows_the_stop(search):
    search.evaluate_starts()
    for _ in range(3):
        try:
            search.evaluate(search.rng.dirichlet(np.ones(search.n_dimensions), size=60))
        except Exception:
            return ""
    return ""


def goes_around_the_count(search):
    search.evaluate_starts()
    search._objective(np.eye(search.n_dimensions))
    return "cheated"


def favors_the_first(search):
    search.evaluate_starts()
    search.evaluate(np.array([[0.59, 0.07, 0.06, 0.28]]) if search.n_dimensions == 4 else np.eye(search.n_dimensions))
    return "looked at one"


@pytest.mark.parametrize(
    ("method", "promise"),
    [
        (skips_the_singles, "worse than"),
        (draws_from_the_global_generator, "global generator|two results"),
        (ignores_the_seed, "two results for one seed"),
        (swallows_the_stop, "does not say why|broken objective|error"),
        (goes_around_the_count, "miscounted"),
        (favors_the_first, "depends on the order of the members"),
    ],
)
def test_the_suite_finds_a_breach(registered, method, promise):
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        with pytest.raises(ConformanceError, match=promise):
            check_optimizer(registered(method))
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_the_suite_knows_no_unknown_optimizer():
    with pytest.raises(ValueError, match=r"got 'gredy'; did you mean 'greedy'\?"):
        check_optimizer("gredy")
