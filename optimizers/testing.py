"""
The conformance suite every optimizer keeps, shipped so that methods registered from outside can be held to it.

Run all of it with `check_optimizer(name)`, or one check at a time in a test runner:
`pytest.mark.parametrize("check", optimizer_checks())`.
"""

import logging
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import mtrand

from optimizers._minimize import minimize
from optimizers._simplex import FloatArray
from optimizers.registry import get_method
from optimizers.result import OptimizationResult

Check = Callable[[str], None]

_ORDER_TOLERANCE = 0.02  # of a loss that is .11 at uniform weights and 0 at best; seeded searches draw another way
_BUDGET = 120  # enough to see every habit of a search, little enough for a suite


class ConformanceError(AssertionError):
    """Say which optimizer broke which promise."""


class QuadraticObjective:
    """
    Score weights by their squared distance from a target; convex, with a known optimum and a gradient.

    Parameters
    ----------
    target : array-like of shape (n_dimensions,)
        The minimum where it is on the simplex; otherwise its projection is.
    curvature : array-like of shape (n_dimensions, n_dimensions) or None, default None
        Symmetric positive definite matrix of the metric; None is the identity.

    Attributes
    ----------
    batches : list of ndarray
        Candidates of every call.
    n_gradients : int
        Calls of `value_and_gradient`.

    Examples
    --------
    >>> objective = QuadraticObjective([1.0, 0.0])
    >>> objective(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, target: Any, curvature: Any = None) -> None:
        self.target: FloatArray = np.asarray(target, dtype=np.float64)
        self.curvature: FloatArray = np.eye(len(self.target)) if curvature is None else np.asarray(curvature)
        self.batches: list[FloatArray] = []
        self.n_gradients = 0

    def __call__(self, candidates: FloatArray) -> FloatArray:
        """Score candidates of shape (k, n_dimensions)."""
        self.batches.append(candidates.copy())
        offsets = candidates - self.target
        return np.einsum("ki,ij,kj->k", offsets, self.curvature, offsets)

    def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """
        Give the loss and its gradient at one candidate.

        Parameters
        ----------
        weights : ndarray of shape (n_dimensions,)
            A point on the simplex.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray of shape (n_dimensions,)
            Its partial derivatives.
        """
        self.n_gradients += 1
        slope = self.curvature @ (weights - self.target)
        return float((weights - self.target) @ slope), 2.0 * slope

    @property
    def n_evaluations(self) -> int:
        """Count the candidates scored so far, gradients included."""
        return sum(map(len, self.batches)) + self.n_gradients


def check_optimizer(name: str) -> None:
    """
    Hold a registered optimizer to every promise of `minimize`.

    Parameters
    ----------
    name : str
        A name of `list_optimizers()`.

    Raises
    ------
    ConformanceError
        At the first promise it breaks.
    ValueError
        If there is no such optimizer.

    Examples
    --------
    >>> check_optimizer("greedy")
    """
    get_method(name)
    for check in optimizer_checks():
        check(name)


def optimizer_checks() -> list[Check]:
    """
    List the checks of the suite, for a test runner.

    Returns
    -------
    list of callable
        Functions of an optimizer's name; each raises `ConformanceError`.
    """
    return [
        _check_stays_on_the_simplex,
        _check_keeps_the_best,
        _check_never_worse_than_a_single,
        _check_never_worse_than_initial,
        _check_leaves_initial_alone,
        _check_same_seed_same_result,
        _check_survives_pickling,
        _check_leaves_the_process_alone,
        _check_counts_exactly,
        _check_stays_within_budget,
        _check_stops_for_the_callback,
        _check_one_dimension,
        _check_constant_loss,
        _check_permuted_members,
        _check_duplicate_members,
        _check_forbidden_candidates,
        _check_hands_back_errors,
        _check_ignores_the_unit_of_loss,
    ]


def _quadratic(n_dimensions: int = 4, seed: int = 0) -> QuadraticObjective:
    """Draw a convex problem whose optimum is inside the simplex."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_dimensions, n_dimensions))
    return QuadraticObjective(rng.dirichlet(np.ones(n_dimensions)), root @ root.T + 0.1 * np.eye(n_dimensions))


def _require(kept: object, name: str, promise: str) -> None:
    """Raise where a promise is broken."""
    if not kept:
        raise ConformanceError(f"optimizer {name!r} must keep its contract: it {promise}.")


def _search(objective: Any, name: str, n_dimensions: int = 4, **options: Any) -> OptimizationResult:
    """Run a short search with a fixed seed."""
    return minimize(objective, n_dimensions, name, **{"random_state": 7, "max_evaluations": _BUDGET, **options})


def _equal(first: OptimizationResult, second: OptimizationResult) -> bool:
    """Tell whether two results are the same to the last bit."""
    return (
        bool(np.array_equal(first.weights, second.weights))
        and first.history == second.history
        and (first.loss, first.n_evaluations, first.message) == (second.loss, second.n_evaluations, second.message)
    )


def _check_stays_on_the_simplex(name: str) -> None:
    for target in ([0.3, 0.3, 0.4, 0.0], [2.0, -1.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]):
        objective = QuadraticObjective(target)
        result = _search(objective, name)
        seen = np.concatenate([*objective.batches, result.weights[None]])
        _require((seen >= 0.0).all(), name, "proposed or returned a negative weight")
        _require((np.abs(seen.sum(axis=1) - 1.0) < 1e-9).all(), name, "proposed weights that do not sum to one")


def _check_keeps_the_best(name: str) -> None:
    objective = _quadratic()
    result = _search(objective, name)
    _require(math.isclose(objective(result.weights[None])[0], result.loss, rel_tol=1e-12), name, "misreported its loss")
    losses = objective(np.concatenate(objective.batches))
    _require(result.loss <= losses.min() * (1 + 1e-12), name, "lost its best candidate")
    counts, best = zip(*result.history, strict=True)
    _require(list(counts) == sorted(counts) and counts[-1] == result.n_evaluations, name, "miscounted in its history")
    _require(list(best) == sorted(best, reverse=True) and best[-1] == result.loss, name, "has a history that rises")


def _check_never_worse_than_a_single(name: str) -> None:
    for single in range(3):
        objective = QuadraticObjective(np.eye(3)[single])
        result = _search(objective, name, 3)
        _require(result.loss == 0.0, name, "ended worse than the best single member")
    uniform = _search(QuadraticObjective(np.full(3, 1 / 3)), name, 3)
    _require(uniform.loss < 1e-30, name, "ended worse than uniform weights")


def _check_never_worse_than_initial(name: str) -> None:
    objective = _quadratic(seed=3)
    initial = np.array([objective.target, [0.25, 0.25, 0.5, 0.0]])
    _require(_search(objective, name, initial=initial).loss < 1e-20, name, "ended worse than its warm start")
    alone = _search(objective, name, initial=initial, use_default_starts=False)
    _require(alone.loss < 1e-20, name, "ended worse than its only start")


def _check_leaves_initial_alone(name: str) -> None:
    initial = np.array([[0.1, 0.2, 0.3, 0.4]])
    before = initial.copy()

    def overwriting(candidates: FloatArray) -> FloatArray:
        losses = _quadratic()(candidates)
        candidates[:] = 0.0  # an objective may use its argument as a scratch pad
        return losses

    overwriting.value_and_gradient = _quadratic().value_and_gradient  # type: ignore[attr-defined]
    result = _search(overwriting, name, initial=initial)
    _require(np.array_equal(initial, before), name, "changed the caller's initial")
    _require(abs(result.weights.sum() - 1.0) < 1e-9, name, "shared its candidates with the objective")


def _check_same_seed_same_result(name: str) -> None:
    first = _search(_quadratic(), name)
    _require(_equal(first, _search(_quadratic(), name)), name, "gave two results for one seed")
    generator = _search(_quadratic(), name, random_state=np.random.default_rng(7))
    _require(_equal(first, generator), name, "tells a seed from a generator made of it")


def _check_survives_pickling(name: str) -> None:
    objective = pickle.loads(pickle.dumps(_quadratic()))  # nosec B301
    first, second = _search(_quadratic(), name), _search(objective, name)
    _require(_equal(first, pickle.loads(pickle.dumps(second))), name, "changed its result through pickling")  # nosec B301


def _check_leaves_the_process_alone(name: str) -> None:
    root = logging.getLogger()
    logging_before = (list(root.handlers), root.level, list(root.filters))
    before = mtrand.get_state(legacy=False)
    first = _search(_quadratic(), name)
    _require(repr(before) == repr(mtrand.get_state(legacy=False)), name, "touched numpy's global generator")
    _require(logging_before == (list(root.handlers), root.level, list(root.filters)), name, "reconfigured logging")

    def drawing(candidates: FloatArray) -> FloatArray:
        mtrand.random_sample()  # an objective may use the global generator: it is the caller's
        return _quadratic()(candidates)

    drawing.value_and_gradient = _quadratic().value_and_gradient  # type: ignore[attr-defined]
    _require(_equal(first, _search(drawing, name)), name, "draws from numpy's global generator")
    mtrand.set_state(before)


def _check_counts_exactly(name: str) -> None:
    for budget in (None, _BUDGET):
        objective = _quadratic()
        result = _search(objective, name, max_evaluations=budget)
        _require(result.n_evaluations == objective.n_evaluations, name, "miscounted its evaluations")


def _check_stays_within_budget(name: str) -> None:
    for budget in (5, 6, 7, 8, 9, 23, 41):
        objective = _quadratic()
        result = _search(objective, name, max_evaluations=budget)
        _require(objective.n_evaluations <= budget, name, "overspent max_evaluations")
        _require(result.message, name, "does not say why it ended")


def _check_stops_for_the_callback(name: str) -> None:
    seen: list[tuple[int, float]] = []

    def stop_at_second(n_evaluations: int, best_loss: float) -> bool:
        seen.append((n_evaluations, best_loss))
        return len(seen) == 2

    objective = _quadratic()
    result = _search(objective, name, callback=stop_at_second)
    _require(len(seen) == 2 and result.history == seen, name, "went on after the callback had stopped it")
    _require(objective.n_evaluations == seen[-1][0], name, "evaluated candidates after the callback had stopped it")


def _check_one_dimension(name: str) -> None:
    result = _search(QuadraticObjective([1.0]), name, 1)
    _require(result.weights.tolist() == [1.0] and result.n_evaluations == 1, name, "fails where there is one weight")


def _check_constant_loss(name: str) -> None:
    class Constant:
        def __call__(self, candidates: FloatArray) -> FloatArray:
            return np.full(len(candidates), 0.5)

        def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
            return 0.5, np.zeros(len(weights))

    result = _search(Constant(), name)
    _require(result.weights.tolist() == [0.25] * 4, name, "left the first start although nothing was better")


def _check_duplicate_members(name: str) -> None:
    class Duplicates(QuadraticObjective):  # members 0 and 1 are copies: a valley of equal losses
        def __call__(self, candidates: FloatArray) -> FloatArray:
            return super().__call__(candidates @ np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))

        def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
            value, slope = super().value_and_gradient(np.array([weights[0] + weights[1], weights[2]]))
            return value, slope[[0, 0, 1]]

    result = _search(Duplicates([0.6, 0.4]), name, 3)
    _require(result.loss < 1e-3, name, "lost its way among equal members")


def _check_permuted_members(name: str) -> None:
    objective = _quadratic()
    order = np.array([2, 0, 3, 1])
    turned = QuadraticObjective(objective.target[order], objective.curvature[np.ix_(order, order)])
    first, second = _search(objective, name), _search(turned, name)
    _require(abs(first.loss - second.loss) < _ORDER_TOLERANCE, name, "depends on the order of the members")


def _check_forbidden_candidates(name: str) -> None:
    objective = _quadratic()

    def forbidding(candidates: FloatArray) -> FloatArray:
        return np.where(candidates[:, 0] < 0.2, np.inf, objective(candidates))

    forbidding.value_and_gradient = objective.value_and_gradient  # type: ignore[attr-defined]
    result = _search(forbidding, name, initial=[[0.4, 0.2, 0.2, 0.2]])
    _require(math.isfinite(result.loss), name, "returned a candidate whose loss is +inf")


def _check_hands_back_errors(name: str) -> None:
    for error in (ValueError("broken objective"), KeyError("broken objective"), RuntimeError("broken objective")):
        calls: list[int] = []

        def breaking(candidates: FloatArray, error: Exception = error, calls: list[int] = calls) -> FloatArray:
            calls.append(len(candidates))
            if len(calls) > 1:
                raise error
            return _quadratic()(candidates)

        def broken_gradient(weights: FloatArray, error: Exception = error) -> tuple[float, FloatArray]:
            raise error

        breaking.value_and_gradient = broken_gradient  # type: ignore[attr-defined]
        caught: Exception | None = None
        try:
            _search(breaking, name)
        except Exception as raised:
            caught = raised
        _require(caught is error, name, f"turned the objective's error {error!r} into {caught!r}")


def _check_ignores_the_unit_of_loss(name: str) -> None:
    reference = _search(_quadratic(), name)
    unit = 2.0**-20
    objective = _quadratic()
    scaled = QuadraticObjective(objective.target, objective.curvature * unit)
    loss = _search(scaled, name).loss / unit
    _require(loss <= reference.loss * 10 + 1e-4, name, "needs losses of a certain size")
