"""
Hill climbing with Gaussian moves, success-rule step adaptation and restarts.

A batch of Gaussian moves is tried around the incumbent, each projected back onto the simplex; the best one replaces it
if it is strictly better. The step follows the share of moves that succeed, smoothed over batches: it grows while moves
succeed more often than the rule's target, and shrinks otherwise. When it has shrunk to nothing the climb has reached a
local optimum or a plateau, and another one starts elsewhere.

References
----------
I. Rechenberg, "Evolutionsstrategie", Frommann-Holzboog 1973 (the 1/5 success rule).
C. Igel, N. Hansen, S. Roth, "Covariance matrix adaptation for multi-objective optimization", Evolutionary
Computation 15(1), 2007 (the rule for batches: procedure updateStepSize and the default parameters in table 1).
"""

import numpy as np

from optimizers._checks import check_number, check_positive_int
from optimizers._simplex import FloatArray, project_to_simplex
from optimizers.registry import register_optimizer
from optimizers.search import Search


@register_optimizer("hill-climbing", evaluations=lambda _, options: options["n_moves"] * options["n_iterations"])
def hill_climbing(
    search: Search,
    *,
    n_iterations: int = 150,
    n_moves: int = 10,
    n_restarts: int = 3,
    step: float = 0.2,
    min_step: float = 1e-5,
) -> str:
    """
    Climb from the best start, then from other starts, with moves whose size follows their success.

    Parameters
    ----------
    search : Search
        The running search.
    n_iterations : int, default 150
        Batches in all, restarts included; with `n_moves` 1,500 evaluations, as the other searches have.
    n_moves : int, default 10
        Gaussian moves per batch.
    n_restarts : int, default 3
        Climbs after the first one; 0 is a single climb.
    step : float, default 0.2
        Initial length of a move, in units of weight; a choice, and the success rule adapts it.
    min_step : float, default 1e-5
        The length at which a climb ends, in units of weight; a choice: weights are told to three digits.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    At most n_moves × n_iterations evaluations after the starts, plus one per random restart. Equal losses are no
    success, so that a plateau ends a climb.
    """
    check_positive_int("n_iterations", n_iterations)
    check_positive_int("n_moves", n_moves)
    check_positive_int("n_restarts", n_restarts, minimum=0)
    check_number("step", step, low=0.0, high=1.0, open_low=True)
    check_number("min_step", min_step, low=0.0, high=step, open_low=True)
    n = search.n_dimensions
    target = 1.0 / (5.0 + np.sqrt(n_moves) / 2.0)  # table 1: p_succ^target, c_p and d
    learning_rate = target * n_moves / (2.0 + target * n_moves)
    damping = 1.0 + n / (2.0 * n_moves)

    starts, start_losses = search.evaluate_starts()
    waiting = list(np.argsort(start_losses, kind="stable"))
    spent = 0
    for climb in range(n_restarts + 1):
        incumbent, loss = _next_start(search, climb, waiting, starts, start_losses)
        sigma, success = step / np.sqrt(n), target
        while sigma * np.sqrt(n) > min_step:
            if spent == n_iterations:
                return f"spent {n_iterations} batches of moves in {climb + 1} climbs"
            spent += 1
            moves = project_to_simplex(incumbent + sigma * search.rng.standard_normal((n_moves, n)))
            losses = search.evaluate(moves)
            success += learning_rate * (np.mean(losses < loss) - success)
            sigma *= np.exp((success - target) / (1.0 - target) / damping)
            sigma = min(sigma, 1.0)  # longer moves leave the simplex, and are projected to its corners and edges
            if losses.min() < loss:
                incumbent, loss = moves[np.argmin(losses)], losses.min()
    return f"all {n_restarts + 1} climbs converged"


def _next_start(
    search: Search, climb: int, waiting: list[int], starts: FloatArray, losses: FloatArray
) -> tuple[FloatArray, float]:
    """Take the best start left and a random point in turn, since good starts often share one local optimum."""
    if waiting and climb % 2 == 0:
        index = waiting.pop(0)
        return starts[index], float(losses[index])
    point = search.rng.dirichlet(np.ones(search.n_dimensions))
    return point, float(search.evaluate(point[None])[0])
