"""The methods by name: what the command line, `StackingEnsemble`, `compare` and auto can build.

A method is a combiner with some constructor parameters set, entered by the module of the combiner. Those modules are
imported at the first look-up, so this one loads none of them.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from optimizers.registry import Registry
from stacking._earlier_names import warn_of_earlier_name
from stacking.metrics.named import DEFAULT_METRIC

if TYPE_CHECKING:
    from stacking.combiners.combiner import Combiner

Kind = Literal["vote", "meta", "auto"]
CombinerClass = TypeVar("CombinerClass", bound="type[Combiner]")


@dataclass(frozen=True)
class Method:
    """A named way to combine members.

    Attributes
    ----------
    name : str
        As typed on the command line.
    description : str
        One line.
    kind : {"vote", "meta", "auto"}
        Weighted or plain vote, meta-learner, or a choice among methods.
    cost : float
        Usual time relative to the others', in any unit, a rough estimate; lists are sorted by it and auto's time limit
        goes by it.
    is_slow : bool
        Whether a comparison of "all" leaves it out for its time.
    requires : str
        The package, outside the core dependencies, without which it cannot be fitted; "" if there is none.
    combiner : type
        The class to build.
    parameters : mapping
        Its constructor parameters that the method sets.
    """

    name: str
    description: str
    kind: Kind
    cost: float
    is_slow: bool
    requires: str
    combiner: type[Combiner]
    parameters: Mapping[str, Any]

    @property
    def is_installed(self) -> bool:
        """Whether the package that it requires, if any, is installed."""
        return not self.requires or importlib.util.find_spec(self.requires) is not None

    def build(self, random_state: Any, options: Mapping[str, Any], metric: Any = DEFAULT_METRIC) -> Combiner:
        """Build the combiner.

        Parameters
        ----------
        random_state : int, Generator or None
            Seed, for a combiner that draws.
        options : mapping
            Constructor parameters that differ from the method's own.
        metric : str, Metric or callable, default="micro-f1"
            What a method that searches weights for micro-F1 is to search for instead, and what auto goes by.

        Returns
        -------
        Combiner
            Unfitted.
        """
        takes = inspect.signature(self.combiner).parameters
        own: dict[str, Any] = {"random_state": random_state} if "random_state" in takes else {}
        if metric != DEFAULT_METRIC:
            if "metric" in takes:
                own["metric"] = metric
            elif self.parameters.get("objective") == SEARCHED_FOR_MICRO_F1 and "weights_per" not in self.parameters:
                own["objective"] = metric
        return self.combiner(**{**self.parameters, **own, **options})


SEARCHED_FOR_MICRO_F1 = "micro-f1-best"
"""The objective of methods that follow the metric; one that names another keeps it."""

_HOME = __name__.rpartition(".")[0]
_METHODS: Registry[Method] = Registry(
    "method",
    (
        f"{_HOME}.voting.soft_voting",
        f"{_HOME}.voting.weighted_voting",
        f"{_HOME}.meta_learners",
        f"{_HOME}.blend",
        f"{_HOME}.auto.race",
    ),
)


def register_method(
    name: str,
    description: str,
    *,
    kind: Kind,
    cost: float,
    is_slow: bool = False,
    requires: str = "",
    **parameters: Any,
) -> Callable[[CombinerClass], CombinerClass]:
    """Enter a combiner with some parameters set under a name, as a decorator.

    Parameters
    ----------
    name : str
        As typed on the command line.
    description : str
        One line.
    kind : {"vote", "meta", "auto"}
        Weighted or plain vote, meta-learner, or a choice among methods.
    cost : float
        Usual time relative to the others', see `Method`.
    is_slow : bool, default=False
        Whether a comparison of "all" leaves it out for its time.
    requires : str, default=""
        The package outside the core dependencies without which it cannot be fitted; a comparison of "all" leaves the
        method out where that is not installed.
    **parameters : object
        Constructor parameters that the method sets.

    Returns
    -------
    callable
        The decorator, which returns the class unchanged.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    >>> from stacking.combiners.combiner import Combiner
    >>> @register_method("mean", "my own", kind="vote", cost=1.0)
    ... class Mine(Combiner): ...
    Traceback (most recent call last):
    ValueError: name must be new among the methods: 'mean' is taken by stacking.combiners.voting.soft_voting; ...
    """

    def enter(combiner: CombinerClass) -> CombinerClass:
        method = Method(name, description, kind, cost, is_slow, requires, combiner, parameters)
        _METHODS.add(name, method, combiner.__module__)
        return combiner

    return enter


def list_methods(*, include_slow: bool = True, with_dear: bool | None = None) -> list[str]:
    """List the method names, cheap ones first.

    Parameters
    ----------
    include_slow : bool, default=True
        Whether methods are listed that are slow or need a package that is not installed.
    with_dear : bool, optional
        What version 0.1 called `include_slow`; it goes with version 0.3.

    Returns
    -------
    list of str
        Names for `create_method`.

    Examples
    --------
    >>> list_methods()[:3]
    ['mean', 'geometric', 'harmonic']
    """
    if with_dear is not None:
        warn_of_earlier_name("with_dear", "include_slow", stacklevel=3)
        include_slow = with_dear
    found = sorted(_METHODS.entries().values(), key=lambda method: method.cost)
    return [method.name for method in found if include_slow or (method.is_installed and not method.is_slow)]


def find_method(name: str) -> Method:
    """Look a method up.

    Parameters
    ----------
    name : str
        One of `list_methods()`.

    Returns
    -------
    Method
        What the name stands for.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    return _METHODS.find(name)


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
    return find_method(name).kind


def create_method(name: str, *, random_state: Any = 0, metric: Any = DEFAULT_METRIC, **options: Any) -> Combiner:
    """Build the unfitted combiner of a method.

    Parameters
    ----------
    name : str
        One of `list_methods()`.
    random_state : int, Generator or None, default=0
        Seed, where the method draws.
    metric : str, Metric or callable, default="micro-f1"
        What a method that searches weights for micro-F1 is to search for instead, and what auto goes by.
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
    return find_method(name).build(random_state, options, metric)
