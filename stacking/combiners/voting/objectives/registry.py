"""The objectives by name."""

from collections.abc import Callable
from typing import TypeVar

from optimizers.registry import Registry
from stacking.combiners.voting.objectives.objective import WeightObjective
from stacking.predictions import PredictionSet

Objective = TypeVar("Objective", bound=type[WeightObjective])

_HOME = __name__.rpartition(".")[0]
_OBJECTIVES: Registry[type[WeightObjective]] = Registry("objective", (f"{_HOME}.pooled", f"{_HOME}.per_label"))


def register_objective(name: str) -> Callable[[Objective], Objective]:
    """Enter a class of objectives under a name, as a decorator.

    Parameters
    ----------
    name : str
        The name for `WeightedVoting` and `list_objectives`.

    Returns
    -------
    callable
        The decorator, which returns the class unchanged.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def enter(kind: Objective) -> Objective:
        _OBJECTIVES.add(name, kind, kind.__module__)
        kind.name = name
        return kind

    return enter


def list_objectives() -> list[str]:
    """List the objectives that `WeightedVoting` takes.

    Returns
    -------
    list of str
        Their names, sorted.

    Examples
    --------
    >>> list_objectives()
    ['log-loss', 'macro-f1', 'mean-average-precision', 'micro-f1-best', 'micro-f1-half', 'micro-f1-per-label']
    """
    return list(_OBJECTIVES.entries())


def create_objective(name: str, predictions: PredictionSet, mean: str = "arithmetic") -> WeightObjective:
    """Create an objective by name.

    Parameters
    ----------
    name : str
        One of `list_objectives`.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Returns
    -------
    WeightObjective
        A callable for `optimizers.minimize`.

    Raises
    ------
    ValueError
        If the name or the mean is unknown, or the truth is missing.
    """
    return _OBJECTIVES.find(name)(predictions, mean)
