"""The methods by name: what the command line, `StackingEnsemble`, `compare` and auto can build.

A method is a combiner with its constructor parameters set. The registry is filled on first use, so that importing it
loads no combiner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from stacking._checks import check_choice

if TYPE_CHECKING:
    from stacking.combiners.combiner import Combiner

__all__ = ["Method", "create_method", "list_methods", "method_kind"]


@dataclass(frozen=True)
class Method:
    """A named way to combine members.

    Attributes
    ----------
    name : str
        As typed on the command line.
    kind : {"vote", "meta", "auto"}
        Weighted or plain vote, meta-learner, or a choice among methods.
    description : str
        One line.
    build : callable
        Takes ``random_state`` and options as keywords, returns an unfitted combiner.
    is_dear : bool, default=False
        Whether it takes many times as long as the others, or an extra; a comparison of "all" leaves it out.
    """

    name: str
    kind: Literal["vote", "meta", "auto"]
    description: str
    build: Callable[..., Combiner]
    is_dear: bool = False


@cache
def _registry() -> dict[str, Method]:
    """Return all methods by name, cheap ones first."""
    from stacking.combiners.auto.race import AutoCombiner
    from stacking.combiners.meta_learners import (
        Blend,
        ConvolutionalStacker,
        LabelContextStacker,
        LabelwiseLogistic,
        PairLightGBM,
        PerLabelStacker,
        RidgeContext,
    )
    from stacking.combiners.voting import SoftVoting, WeightedVoting

    def plain(mean: Any) -> Callable[..., Combiner]:
        return lambda *, random_state=0, **options: SoftVoting(mean=mean, **options)

    def weighted(
        optimizer: str, objective: str, mean: str = "arithmetic", **parameters: Any
    ) -> Callable[..., Combiner]:
        fixed = {"optimizer": optimizer, "objective": objective, "mean": mean, **parameters}
        return lambda *, random_state=0, **options: WeightedVoting(**{**fixed, "random_state": random_state, **options})

    def all_rows(*, random_state: Any = 0, **options: Any) -> Combiner:
        return PerLabelStacker(**{"max_rows": None, "random_state": random_state, **options})

    methods = [
        Method("mean", "vote", "arithmetic mean of the members' probabilities", plain("arithmetic")),
        Method("geometric", "vote", "geometric mean: the mean of the logits", plain("geometric")),
        Method("harmonic", "vote", "harmonic mean", plain("harmonic")),
        Method("rank", "vote", "mean of the ranks within each member and label", plain("rank")),
        Method("majority", "vote", "share of the members that score .5 or more", plain("majority")),
        Method("greedy", "vote", "greedy selection with replacement for micro-F1", weighted("greedy", "micro-f1-best")),
        Method(
            "greedy-geometric",
            "vote",
            "greedy selection on logits for micro-F1",
            weighted("greedy", "micro-f1-best", "geometric"),
        ),
        Method(
            "greedy-per-label",
            "vote",
            "greedy selection for micro-F1 per label, shrunk to the shared weights",
            weighted("greedy", "micro-f1-best", weights_per="label"),
        ),
        Method("hill-climbing", "vote", "hill climbing for micro-F1", weighted("hill-climbing", "micro-f1-best")),
        Method("pso", "vote", "particle swarm for micro-F1", weighted("pso", "micro-f1-best")),
        Method("convex", "vote", "exact optimum of the log loss", weighted("slsqp", "log-loss")),
        Method("logistic", "meta", "logistic regression per label on its own logits", LabelwiseLogistic),
        Method("ridge-context", "meta", "ridge over all labels, then logistic per label", RidgeContext),
        Method("label-context", "meta", "own logits and what all labels explain, per label", LabelContextStacker),
        Method("lightgbm", "meta", "LightGBM per label on own scores and label context", PerLabelStacker),
        Method(
            "lightgbm-all-rows",
            "meta",
            "the same on all rows of a store, label by label, best with its by-label copy",
            all_rows,
            is_dear=True,
        ),
        Method("pair-lightgbm", "meta", "one LightGBM over (row, label) pairs", PairLightGBM, is_dear=True),
        Method("pair-blend", "meta", "average of pair-lightgbm and the mean", Blend, is_dear=True),
        Method(
            "convolutional",
            "meta",
            "convolutions over the members, dense over labels (torch)",
            ConvolutionalStacker,
            is_dear=True,
        ),
        Method("auto", "auto", "race of the others, averaged near the best", AutoCombiner),
    ]
    return {method.name: method for method in methods}


def list_methods(*, with_dear: bool = True) -> list[str]:
    """List the method names, cheap ones first.

    Parameters
    ----------
    with_dear : bool, default=True
        Whether methods are listed that take many times as long as the others, or an extra.

    Returns
    -------
    list of str
        Names for `create_method`.

    Examples
    --------
    >>> list_methods()[:3]
    ['mean', 'geometric', 'harmonic']
    """
    return [method.name for method in _registry().values() if with_dear or not method.is_dear]


def method_kind(name: str) -> Literal["vote", "meta", "auto"]:
    """Tell what kind of method a name stands for.

    Parameters
    ----------
    name : str
        One of `list_methods()`.

    Returns
    -------
    {"vote", "meta", "auto"}
        Its kind.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    check_choice(name, list_methods(), name="method")
    return _registry()[name].kind


def create_method(name: str, *, random_state: Any = 0, **options: Any) -> Combiner:
    """Build the unfitted combiner of a method.

    Parameters
    ----------
    name : str
        One of `list_methods()`.
    random_state : int, Generator or None, default=0
        Seed, where the method draws.
    **options : object
        Constructor parameters of the combiner that differ from the method's own.

    Returns
    -------
    Combiner
        Unfitted.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> create_method("harmonic")
    SoftVoting(mean='harmonic')
    """
    check_choice(name, list_methods(), name="method")
    return _registry()[name].build(random_state=random_state, **options)
