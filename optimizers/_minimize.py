"""The one entry to every search: `minimize`."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Importing a method registers it.
import optimizers.cma_es
import optimizers.differential_evolution
import optimizers.greedy
import optimizers.hill_climbing
import optimizers.nelder_mead
import optimizers.pso
import optimizers.random_search
import optimizers.slsqp  # noqa: F401
from optimizers._checks import (
    RandomState,
    check_initial,
    check_objective,
    check_options,
    check_positive_int,
    check_random_state,
)
from optimizers.registry import Method, get_method, list_optimizer_options
from optimizers.result import OptimizationResult
from optimizers.search import Callback, Objective, Search, SearchSetup, SearchStopped

_COMMON_OPTIONS = ("max_evaluations", "use_default_starts")


def minimize(
    objective: Objective,
    n_dimensions: int,
    optimizer: str = "pso",
    *,
    random_state: RandomState = None,
    initial: npt.ArrayLike | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> OptimizationResult:
    """
    Search the simplex for the weights with the lowest loss.

    The objective is a black box that scores a batch of candidates at once; it may also offer `value_and_gradient`.
    Every search starts from uniform weights and every single member, so that it never ends worse than the best single
    on the data of the objective.

    Parameters
    ----------
    objective : callable
        Takes candidates, float64 of shape (k, n_dimensions) on the simplex, and returns k losses (lower is better). A
        loss of +inf means "never choose this"; NaN and -inf are errors. Optional method
        `value_and_gradient(weights) -> (loss, gradient)` for a single candidate, which `slsqp` needs.
    n_dimensions : int
        Number of weights, at least 1.
    optimizer : str, default "pso"
        A name of `list_optimizers()`.
    random_state : int, numpy.random.Generator or None, default None
        Source of all randomness; the same seed gives the same result. Numpy's global generator is never touched.
    initial : array-like of shape (k, n_dimensions) or None, default None
        Warm starts on the simplex, such as the answer of another search, added to the default starts.
    callback : callable or None, default None
        Called as `callback(n_evaluations, best_loss)` after every batch; a true answer stops the search.
    **options : Any
        Options of the optimizer (`list_optimizer_options(optimizer)`), and two that every one takes:
        `max_evaluations` (int or None, never exceeded; it must cover the starts) and `use_default_starts` (bool; False
        starts from `initial` alone and gives up the promise about singles).

    Returns
    -------
    OptimizationResult
        Best weights, their loss, the history, the number of evaluations and why the search ended.

    Raises
    ------
    TypeError
        If the objective is not callable or lacks a gradient that the optimizer needs, or an option is unknown.
    ValueError
        If an argument is out of range, the optimizer is unknown, the objective returns losses of another shape, NaN or
        -inf, or every candidate has a loss of +inf.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.array([0.7, 0.3, 0.0])
    >>> result = minimize(lambda w: ((w - target) ** 2).sum(axis=1), 3, "greedy", n_iterations=10)
    >>> result.weights.tolist()
    [0.7, 0.3, 0.0]
    """
    check_objective(objective)
    n_dimensions = check_positive_int("n_dimensions", n_dimensions)
    method = get_method(optimizer)
    check_options(optimizer, options, [*list_optimizer_options(optimizer), *_COMMON_OPTIONS])
    setup = _read_setup(n_dimensions, initial, callback, options)
    search = Search(objective, n_dimensions, check_random_state(random_state), setup)
    message = _run(method, search, options)
    if not search.found_allowed():
        raise ValueError(
            f"objective must allow some candidate: it returned +inf for all {search.n_evaluations} that "
            f"{optimizer!r} tried; check the objective, or pass an allowed candidate as initial."
        )
    return OptimizationResult(
        weights=search.best_weights,
        loss=search.best_loss,
        history=search.history,
        n_evaluations=search.n_evaluations,
        optimizer=optimizer,
        message=message,
    )


def _read_setup(
    n_dimensions: int, initial: npt.ArrayLike | None, callback: Callback | None, options: dict[str, Any]
) -> SearchSetup:
    """Take the options that every optimizer shares out of `options`, checked."""
    starts = check_initial(initial, n_dimensions)
    use_default_starts = options.pop("use_default_starts", True)
    if not isinstance(use_default_starts, bool):
        raise ValueError(f"use_default_starts must be True or False: got {use_default_starts!r}.")
    if not use_default_starts and len(starts) == 0:
        raise ValueError("initial must hold at least one candidate where use_default_starts is False: got none.")
    max_evaluations = options.pop("max_evaluations", None)
    if max_evaluations is not None:
        check_positive_int("max_evaluations", max_evaluations)
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback must be callable as callback(n_evaluations, best_loss): got {type(callback).__name__}."
        )
    return SearchSetup(starts, use_default_starts, max_evaluations, callback)


def _run(method: Method, search: Search, options: dict[str, Any]) -> str:
    """Run a method to its end, and hand the objective's own error back as it was raised."""
    try:
        if search.n_dimensions == 1:
            search.evaluate(np.ones((1, 1)))
            return "one member has one possible weight"
        return method(search, **options)
    except SearchStopped as stopped:
        return str(stopped)
    except RuntimeError as error:
        if search.failure is not None and error is not search.failure:
            raise search.failure from error  # scipy wraps what an objective raises
        raise
