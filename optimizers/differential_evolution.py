"""
Differential evolution, through scipy.

Each member of a population is crossed with the best one moved by the difference of two others (scheme best/1/bin), and
replaced where the trial is no worse. Whole generations are scored in one batch; points of the unit cube are judged at
their projections onto the simplex.

References
----------
R. Storn, K. Price, "Differential evolution: a simple and efficient heuristic for global optimization over continuous
spaces", Journal of Global Optimization 11, 1997.
"""

import inspect
from typing import Any

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers.registry import register_optimizer
from optimizers.search import Search


@register_optimizer(
    "differential-evolution",
    evaluations=lambda _, options: options["population_size"] * (options["n_iterations"] + 1),
)
def differential_evolution(
    search: Search,
    *,
    n_iterations: int = 100,
    population_size: int = 15,
    mutation: float = 0.7,
    crossover: float = 0.7,
    tolerance: float = 1e-10,
) -> str:
    """
    Evolve a population that begins with the best starts and random weights.

    Parameters
    ----------
    search : Search
        The running search.
    n_iterations : int, default 100
        Most generations after the first; with the population 1,500 evaluations, as the other searches have.
    population_size : int, default 15
        Members of the population, at least 5.
    mutation : float, default 0.7
        F, the factor of a difference, in (0, 2); a choice within scipy's default range, .5 to 1.
    crossover : float, default 0.7
        CR, the probability that a trial takes a moved coordinate, in [0, 1]; scipy's default.
    tolerance : float, default 1e-10
        The search ends when the standard deviation of the population's losses falls below this, in units of loss; a
        choice far below what a held-out score shows.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    At most population_size × (n_iterations + 1) evaluations after the starts.
    """
    import scipy.optimize

    check_positive_int("n_iterations", n_iterations)
    # scipy takes five members or more, and F below 2.
    check_positive_int("population_size", population_size, minimum=5)
    check_number("mutation", mutation, low=0.0, high=1.999, open_low=True)
    check_number("crossover", crossover, low=0.0, high=1.0)
    check_number("tolerance", tolerance, low=0.0)
    starts, losses = search.evaluate_starts()
    best_first = starts[np.argsort(losses, kind="stable")][: (population_size + 1) // 2]
    spread = search.rng.dirichlet(np.ones(search.n_dimensions), size=population_size - len(best_first))
    solve: Any = scipy.optimize.differential_evolution
    answer = solve(
        lambda points: search.evaluate_projected(points.T),
        [(0.0, 1.0)] * search.n_dimensions,
        init=np.concatenate([best_first, spread]),
        maxiter=n_iterations,
        mutation=mutation,
        recombination=crossover,
        tol=0.0,
        atol=tolerance,
        # scipy 1.15 renamed the argument
        **{"rng" if "rng" in inspect.signature(solve).parameters else "seed": search.rng},
        updating="deferred",
        vectorized=True,
        polish=False,
    )
    return f"{answer.message} ({answer.nit} generations)"
