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

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers.registry import register_optimizer
from optimizers.search import Search


@register_optimizer("greedy")
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
    check_positive_int("n_iterations", n_iterations)
    limit = search.n_dimensions if max_members is None else check_positive_int("max_members", max_members)
    check_number("tie_tolerance", tie_tolerance, low=0.0, high=1.0)
    search.evaluate_starts(max_members=limit)
    copies = np.zeros(search.n_dimensions)
    for size in range(1, n_iterations + 1):
        full = np.count_nonzero(copies) >= limit
        members = np.flatnonzero(copies) if full else np.arange(search.n_dimensions)
        losses = search.evaluate((copies + np.eye(search.n_dimensions)[members]) / size)  # section 2.1
        equal = members[losses <= losses.min() + tie_tolerance * abs(losses.min())]
        chosen = equal[np.argmax(copies[equal] > 0)]  # the first one already in, else the first
        copies[chosen] += 1
    return f"selected {np.count_nonzero(copies)} members in {n_iterations} iterations"
