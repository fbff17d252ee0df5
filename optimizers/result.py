"""What a search returns."""

from dataclasses import dataclass

from optimizers._simplex import FloatArray


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """
    Hold the best weights a search has seen, and what the search cost.

    Parameters
    ----------
    weights : ndarray of shape (n_dimensions,), float64
        The best candidate: not negative, sums to one.
    loss : float
        Its loss, in the unit of the objective.
    history : list of (int, float)
        After every batch: how many candidates had been evaluated, and the best loss so far (+inf before the first
        allowed one). Both columns are monotone.
    n_evaluations : int
        How many candidates the objective has scored, gradients included (a call of `value_and_gradient` counts as one).
    optimizer : str
        The method, as named in `list_optimizers()`.
    message : str
        Why the search ended.

    Examples
    --------
    >>> from optimizers import minimize
    >>> result = minimize(lambda w: (w[:, 0] - 0.25) ** 2, 2, "nelder-mead", random_state=0)
    >>> [round(float(w), 3) for w in result.weights]
    [0.25, 0.75]
    """

    weights: FloatArray
    loss: float
    history: list[tuple[int, float]]
    n_evaluations: int
    optimizer: str
    message: str
