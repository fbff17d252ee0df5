"""
Random search: the baseline that any cleverer method has to beat at the same budget.

Candidates are drawn from a symmetric Dirichlet distribution; a concentration of 1 is uniform on the simplex, less
prefers few members, more prefers the mean.

References
----------
J. Bergstra, Y. Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012.
"""

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers.registry import register_optimizer
from optimizers.search import Search


@register_optimizer("random-search", evaluations=lambda _, options: options["n_candidates"])
def random_search(
    search: Search, *, n_candidates: int = 1500, batch_size: int = 100, concentration: float = 1.0
) -> str:
    """
    Draw candidates from a Dirichlet distribution and keep the best.

    Parameters
    ----------
    search : Search
        The running search.
    n_candidates : int, default 1500
        Candidates to draw, as many as the other searches have.
    batch_size : int, default 100
        Candidates per call of the objective; the answer does not depend on it.
    concentration : float, default 1.0
        Parameter of the symmetric Dirichlet distribution, dimensionless.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    n_candidates evaluations after the starts.
    """
    check_positive_int("n_candidates", n_candidates)
    check_positive_int("batch_size", batch_size)
    # Below .01 numpy's gamma variates underflow to zero, and a candidate has no sum; at 1e6 all are nearly uniform.
    alpha = np.full(search.n_dimensions, check_number("concentration", concentration, low=0.01, high=1e6))
    search.evaluate_starts()
    candidates = search.rng.dirichlet(alpha, size=n_candidates)
    for first in range(0, n_candidates, batch_size):
        search.evaluate(candidates[first : first + batch_size])
    return f"drew {n_candidates} candidates"
