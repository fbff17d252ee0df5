"""
Greedy ensemble selection with replacement (Caruana et al. 2004), as a search over weights.

A bag of members grows by one copy at a time: the copy that lowers the loss of the bag's average most. Weights are
copies divided by the size of the bag, at most n_iterations, which is itself a regularizer. Three safeguards: the best
bag seen is kept, not the last one; among equal losses a member that is already in wins; the number of distinct members
can be limited.

References
----------
R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble selection from libraries of models", ICML 2004,
sections 2–2.2.
"""

from collections.abc import Callable

import numpy as np

from optimizers._checks import check_initial, check_losses, check_number, check_positive_int
from optimizers._simplex import FloatArray, default_starts
from optimizers.registry import register_optimizer
from optimizers.search import NOT_ALLOWED, Search


@register_optimizer("greedy", evaluations=lambda n, options: n * options["n_iterations"])
def greedy(
    search: Search, *, n_iterations: int = 25, max_members: int | None = None, tie_tolerance: float = 1e-9
) -> str:
    """
    Select members one by one, with replacement; every iteration scores all members in one batch.

    Parameters
    ----------
    search : Search
        The running search.
    n_iterations : int, default 25
        Copies put into the bag.
    max_members : int or None, default None
        Most distinct members in the answer; None is no limit.
    tie_tolerance : float, default 1e-9
        Losses this close, relative to the best of the batch, count as equal; dimensionless.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    n_dimensions × n_iterations evaluations after the starts, fewer once `max_members` are in. Warm starts compete as
    finished answers: the bag begins empty. Ties that members already in do not settle go to the member listed first.
    """
    limit = _check_options(search.n_dimensions, n_iterations, max_members, tie_tolerance)
    search.evaluate_starts(max_members=limit)
    copies = np.zeros(search.n_dimensions)
    for size in range(1, n_iterations + 1):
        full = np.count_nonzero(copies) >= limit
        members = np.flatnonzero(copies) if full else np.arange(search.n_dimensions)
        losses = search.evaluate((copies + np.eye(search.n_dimensions)[members]) / size)  # section 2.1
        copies[members[_choose(losses, copies[members], tie_tolerance)]] += 1
    return f"selected {np.count_nonzero(copies)} members in {n_iterations} iterations"


def greedy_together(
    objective: Callable[[FloatArray], FloatArray],
    initial: FloatArray,
    *,
    n_iterations: int = 25,
    max_members: int | None = None,
    tie_tolerance: float = 1e-9,
) -> FloatArray:
    """
    Run many greedy selections of one size side by side, each iteration of all of them in one call of the objective.

    Each ends where `minimize` with the same options and one warm start ends, to the last bit. What is saved is the time
    between the calls: a selection on few samples takes longer to steer than to score.

    Parameters
    ----------
    objective : callable
        Takes candidates, float64 of shape (n_searches, k, n_dimensions), those of each search its own, and returns
        losses of shape (n_searches, k), finite or +inf.
    initial : ndarray of float64, shape (n_searches, n_dimensions)
        Weights on the simplex: one warm start for each search.
    n_iterations : int, default 25
        Copies put into each bag.
    max_members : int or None, default None
        Most distinct members in an answer; None is no limit.
    tie_tolerance : float, default 1e-9
        As for `greedy`; dimensionless.

    Returns
    -------
    ndarray of float64, shape (n_searches, n_dimensions)
        The best weights of each search.

    Raises
    ------
    ValueError
        If an option is out of range, or a loss is NaN or -inf.
    """
    n_searches, n_dimensions = initial.shape
    limit = _check_options(n_dimensions, n_iterations, max_members, tie_tolerance)

    def score(candidates: FloatArray, allowed: np.ndarray) -> FloatArray:
        losses = check_losses(objective(candidates.copy()).ravel(), candidates.reshape(-1, n_dimensions))
        return np.where(allowed, np.minimum(losses, NOT_ALLOWED).reshape(n_searches, -1), np.inf)

    defaults = np.broadcast_to(default_starts(n_dimensions), (n_searches, n_dimensions + 1, n_dimensions))
    starts = np.concatenate([defaults, check_initial(initial, n_dimensions)[:, None]], axis=1)
    losses = score(starts, np.count_nonzero(starts, axis=2) <= limit)
    rows = np.arange(n_searches)
    best = np.argmin(losses, axis=1)
    best_weights, best_losses = starts[rows, best], losses[rows, best]
    copies = np.zeros((n_searches, n_dimensions))
    for size in range(1, n_iterations + 1):
        candidates = (copies[:, None] + np.eye(n_dimensions)) / size
        full = np.count_nonzero(copies, axis=1) >= limit
        losses = score(candidates, ~full[:, None] | (copies > 0))
        best = np.argmin(losses, axis=1)
        better = losses[rows, best] < best_losses
        best_weights[better] = candidates[rows, best][better]
        best_losses[better] = losses[rows, best][better]
        copies[rows, _choose(losses, copies, tie_tolerance)] += 1
    return best_weights


def _check_options(n_dimensions: int, n_iterations: int, max_members: int | None, tie_tolerance: float) -> int:
    """Check what every greedy selection takes; return the most distinct members."""
    check_positive_int("n_iterations", n_iterations)
    check_number("tie_tolerance", tie_tolerance, low=0.0, high=1.0)
    return n_dimensions if max_members is None else check_positive_int("max_members", max_members)


def _choose(losses: FloatArray, copies: FloatArray, tie_tolerance: float) -> np.ndarray:
    """Return the member that each bag takes: of the equally good ones the first that is in already, else the first."""
    lowest = losses.min(axis=-1, keepdims=True)
    equal = losses <= lowest + tie_tolerance * np.abs(lowest)
    return np.argmax(equal.astype(np.int8) + (equal & (copies > 0)), axis=-1)
