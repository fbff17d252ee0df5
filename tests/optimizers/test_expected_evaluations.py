"""What a search says beforehand about its number of evaluations, for those who show how far it is."""

import numpy as np
import pytest

from optimizers import list_optimizer_options, list_optimizers, minimize, register_optimizer, unregister_optimizer
from optimizers.registry import OPTIMIZERS, expect_evaluations
from stacking.combiners.registry import find_method, list_methods

SHORTER = {"n_iterations": 40, "n_candidates": 300}


class Rugged:
    """A quadratic with steps, as a metric of decisions has them; its slope is that of the quadratic."""

    target = np.array([0.4, 0.3, 0.2, 0.1])

    def __call__(self, candidates):
        return np.round(((candidates - self.target) ** 2).sum(axis=1), 4)

    def value_and_gradient(self, weights):
        return float(((weights - self.target) ** 2).sum()), 2 * (weights - self.target)


@pytest.mark.parametrize("is_shorter", [False, True])
@pytest.mark.parametrize("name", list_optimizers())
def test_as_many_evaluations_as_were_expected(name, is_shorter):
    options = {key: value for key, value in SHORTER.items() if is_shorter and key in list_optimizer_options(name)}
    found = minimize(Rugged(), 4, name, random_state=0, **options).n_evaluations
    expected = expect_evaluations(name, 4, options)
    assert found <= 1.1 * expected
    assert found >= 0.1 * expected  # those that converge end earlier


def test_a_budget_and_a_single_member_bound_what_is_expected():
    assert expect_evaluations("pso", 4, {"max_evaluations": 50}) == 50
    assert expect_evaluations("pso", 1) == 1


def test_an_optimizer_need_not_say():
    @register_optimizer("silent")
    def silent(search):
        search.evaluate_starts()
        return "evaluated the starts"

    try:
        assert expect_evaluations("silent", 4) is None
    finally:
        unregister_optimizer("silent")


def test_a_method_requires_what_its_optimizer_requires():
    for name in list_methods():
        optimizer = find_method(name).parameters.get("optimizer")
        if optimizer is not None:
            assert find_method(name).requires == OPTIMIZERS.find(optimizer).requires
