"""The objectives by name."""

from collections.abc import Callable
from typing import TypeVar

from optimizers.registry import Registry
from stacking.combiners.voting.objectives.objective import WeightObjective

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


def find_objective(name: str) -> type[WeightObjective] | None:
    """Look an objective up by name.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    type or None
        The class; None where no objective has that name.
    """
    return _OBJECTIVES.entries().get(name)
