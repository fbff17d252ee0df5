"""
The downhill simplex of Nelder and Mead, in the plane of the weights.

A figure of n corners in the (n − 1)-dimensional plane of the weights rolls downhill by reflection, expansion and
contraction; no gradient. Its coefficients adapt to the number of dimensions (Gao and Han). A figure that has collapsed
is set up anew around the best point, until that helps no more.

References
----------
J. A. Nelder, R. Mead, "A simplex method for function minimization", The Computer Journal 7, 1965.
F. Gao, L. Han, "Implementing the Nelder-Mead simplex algorithm with adaptive parameters", Computational
Optimization and Applications 51, 2012.
"""

from typing import Any

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers._simplex import FloatArray, plane_basis
from optimizers.registry import register_optimizer
from optimizers.search import Search


@register_optimizer("nelder-mead", evaluations=lambda _, options: options["n_candidates"])
def nelder_mead(
    search: Search,
    *,
    n_candidates: int = 1500,
    n_restarts: int = 5,
    step: float = 0.25,
    tolerance: float = 1e-8,
) -> str:
    """
    Roll a figure of candidates downhill from the best start.

    Parameters
    ----------
    search : Search
        The running search.
    n_candidates : int, default 1500
        Most candidates to evaluate after the starts, as many as the other searches have.
    n_restarts : int, default 5
        Most new figures around the best point; they end as soon as one brings nothing.
    step : float, default 0.25
        Size of a new figure: the share of the way from its first corner to each single member, in (0, 1].
        A choice: a first figure too small sees one slope only, one too large begins at the single members.
    tolerance : float, default 1e-8
        A figure ends when its corners differ by less than this, in weights and in loss; a choice far below what a
        held-out score shows.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    Evaluates one candidate at a time: for objectives that gain much from batches, choose a population method. Points
    outside the simplex are judged at their projections.
    """
    import scipy.optimize

    check_positive_int("n_candidates", n_candidates)
    check_positive_int("n_restarts", n_restarts, minimum=0)
    check_number("step", step, low=0.0, high=1.0, open_low=True)
    check_number("tolerance", tolerance, low=0.0, high=1.0, open_low=True)
    starts, losses = search.evaluate_starts()
    incumbent, loss = starts[np.argmin(losses)], losses.min()
    basis = plane_basis(search.n_dimensions)
    solve: Any = scipy.optimize.minimize
    left = n_candidates
    for _ in range(n_restarts + 1):
        answer = solve(
            lambda point: search.evaluate_projected(_to_weights(point, basis))[0],
            np.zeros(len(basis)),
            method="Nelder-Mead",
            options={
                "initial_simplex": (_figure(incumbent, step) - 1.0 / search.n_dimensions) @ basis.T,
                "maxfev": left,
                "maxiter": left,  # an iteration is at least one evaluation
                "xatol": tolerance,
                "fatol": tolerance,
                "adaptive": search.n_dimensions > 2,  # in one dimension the adaptive coefficients degenerate
            },
        )
        left -= answer.nfev
        if left <= search.n_dimensions or not search.best_loss < loss:
            break
        incumbent, loss = search.best_weights, search.best_loss
    return str(answer.message)


def _to_weights(point: FloatArray, basis: FloatArray) -> FloatArray:
    """Map coordinates in the plane to a batch of one free point."""
    return (point @ basis + 1.0 / basis.shape[1])[None]


def _figure(corner: FloatArray, step: float) -> FloatArray:
    """Set up n corners: one given, the others a share of the way to the singles; the heaviest single is left out."""
    singles = np.delete(np.eye(len(corner)), np.argmax(corner), axis=0)
    return np.concatenate([corner[None], corner + step * (singles - corner)])
