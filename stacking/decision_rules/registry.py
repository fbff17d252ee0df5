"""The decision rules by name, each with the average it optimizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import Registry

Thresholds = npt.NDArray[np.float64]
TuneFunction = Callable[..., Thresholds]


@dataclass(frozen=True)
class DecisionRule:
    """A way to choose one threshold per label.

    Parameters
    ----------
    name : str
        The name that `tune_thresholds` takes.
    average : str
        What the rule optimizes: ``"micro-F1"``, ``"macro-F1"``, ``"micro-F1 + macro-F1"`` or ``"none"``.
    summary : str
        One sentence on how it chooses.
    tune : callable
        ``tune(scores, **options)`` with a `LabeledScores` returns thresholds of shape (n_labels,).
    """

    name: str
    average: str
    summary: str
    tune: Callable[..., Any]


_RULES: Registry[DecisionRule] = Registry("rule")


def register(name: str, *, average: str) -> Callable[[TuneFunction], TuneFunction]:
    """Register a tuning function under a name; its summary is the first line of its docstring.

    Parameters
    ----------
    name : str
        Name of the rule, in kebab case.
    average : str
        What the rule optimizes: ``"micro-F1"``, ``"macro-F1"``, ``"micro-F1 + macro-F1"`` or ``"none"``.

    Returns
    -------
    callable
        The decorator, which returns the function unchanged.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def enter(tune: TuneFunction) -> TuneFunction:
        summary = (tune.__doc__ or "").strip().split("\n")[0]
        _RULES.add(name, DecisionRule(name, average, summary, tune), tune.__module__)
        return tune

    return enter


def get_decision_rule(name: str) -> DecisionRule:
    """Look a decision rule up by name.

    Parameters
    ----------
    name : str
        One of `list_decision_rules`.

    Returns
    -------
    DecisionRule
        The rule with the average it optimizes.

    Raises
    ------
    ValueError
        If there is no such rule; the error suggests the nearest name.

    Examples
    --------
    >>> get_decision_rule("exact-micro-f1").average
    'micro-F1'
    """
    return _RULES.find(name)


def list_decision_rules() -> list[str]:
    """List the names that `tune_thresholds` takes.

    Returns
    -------
    list of str
        The names, sorted.

    Examples
    --------
    >>> "single" in list_decision_rules()
    True
    """
    return list(_RULES.entries())
