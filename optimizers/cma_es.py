"""
Covariance matrix adaptation evolution strategy, through the library cmaes.

Generations are drawn from a Gaussian in the (n − 1)-dimensional plane of the weights; its mean, step and covariance
follow the better half. Points outside the simplex are judged at their projections, plus a penalty for the distance that
keeps the Gaussian from drifting where the projection is flat.

References
----------
N. Hansen, A. Ostermeier, "Completely derandomized self-adaptation in evolution strategies",
Evolutionary Computation 9(2), 2001.
N. Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, 2016, equations 41–56.
L. Purucker, J. Beel, "CMA-ES for post hoc ensembling in AutoML", AutoML 2023.
"""

import math

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers._simplex import plane_basis, project_to_simplex
from optimizers.registry import register_optimizer
from optimizers.search import Search


def _population(n_dimensions: int) -> int:
    """Return the usual number of candidates per generation, equation 48 with the plane's dimensions."""
    return 4 + math.floor(3 * math.log(n_dimensions - 1))


@register_optimizer(
    "cma-es",
    evaluations=lambda n, options: options["n_iterations"] * (options["population_size"] or _population(n)),
    requires="cmaes",
)
def cma_es(
    search: Search,
    *,
    n_iterations: int = 150,
    population_size: int | None = None,
    step: float = 0.2,
    penalty: float = 100.0,
) -> str:
    """
    Adapt a Gaussian from the best start; each generation is one batch.

    Parameters
    ----------
    search : Search
        The running search.
    n_iterations : int, default 150
        Most generations.
    population_size : int or None, default None
        Candidates per generation, at least 4; None is 4 + ⌊3 ln(n_dimensions − 1)⌋ (equation 48).
    step : float, default 0.2
        Initial standard deviation, in units of weight; a choice, and CMA adapts it from the first generation on.
    penalty : float, default 100.0
        Price of a squared distance from the simplex, in units of the spread of the generation's losses; 0 for none.
        A choice: a distance of .1 costs as much as the generation spreads.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    population_size × n_iterations evaluations at most, after the starts.
    """
    from cmaes import CMA

    check_positive_int("n_iterations", n_iterations)
    check_number("step", step, low=0.0, high=1.0, open_low=True)
    check_number("penalty", penalty, low=0.0)
    size = _population(search.n_dimensions) if population_size is None else population_size
    check_positive_int("population_size", size, minimum=4)
    starts, losses = search.evaluate_starts()
    center, basis = 1.0 / search.n_dimensions, plane_basis(search.n_dimensions)
    mean = (starts[np.argmin(losses)] - center) @ basis.T
    gaussian = CMA(mean=mean, sigma=step, population_size=size, seed=int(search.rng.integers(2**32)))
    for generation in range(1, n_iterations + 1):
        points = np.array([gaussian.ask() for _ in range(size)])
        free = points @ basis + center
        weights = project_to_simplex(free)
        losses = search.evaluate(weights)
        # In units of the generation's spread, so that the penalty does not depend on the unit of the loss.
        charged = losses + penalty * np.ptp(losses) * ((free - weights) ** 2).sum(axis=1)
        gaussian.tell(list(zip(points, charged.tolist(), strict=True)))
        if gaussian.should_stop():
            return f"the Gaussian converged after {generation} generations"
    return f"drew {n_iterations} generations"
