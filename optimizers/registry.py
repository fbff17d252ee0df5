"""Registries, and the one of the optimizers: a taken name raises, an unknown one gets a suggestion.

The packages above keep theirs in the same way: voting objectives, combining methods and decision rules.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")
Method = Callable[..., str]
Expectation = Callable[[int, Mapping[str, Any]], int]


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """
    Find the known name nearest to a mistyped one.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str or None
        None where nothing is near.
    """
    near = get_close_matches(name, list(known), n=1)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    Word the end of an error about a mistyped name.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with a leading space, or an empty string where nothing is near.

    Examples
    --------
    >>> did_you_mean("greedi", ["pso", "greedy"])
    " Did you mean 'greedy'?"
    """
    near = nearest_name(name, known)
    return f" Did you mean {near!r}?" if near else ""


class Registry(Generic[Entry]):
    """
    Things by name, each entered by the module that defines it.

    Parameters
    ----------
    kind : str
        What is registered, one word: errors call it so.
    homes : sequence of str, default ()
        Modules that enter their things when they are imported. They are imported at the first look-up, so that a
        registry itself imports nothing of what it lists.
    """

    def __init__(self, kind: str, homes: Sequence[str] = ()) -> None:
        self.kind = kind
        self._homes = tuple(homes)
        self._entries: dict[str, tuple[Entry, str]] = {}

    def add(self, name: str, entry: Entry, home: str) -> None:
        """
        Enter a thing.

        Parameters
        ----------
        name : str
            Its name, which must be free.
        entry : object
            What the name stands for.
        home : str
            The module that defines it.

        Raises
        ------
        ValueError
            If the name is taken.
        """
        if name in self._entries:
            raise ValueError(
                f"name must be new among the {self.kind}s: {name!r} is taken by {self._entries[name][1]}; "
                "choose another name."
            )
        self._entries[name] = entry, home

    def remove(self, name: str) -> None:
        """
        Forget a thing.

        Parameters
        ----------
        name : str
            Its name.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        self.find(name)
        del self._entries[name]

    def find(self, name: str) -> Entry:
        """
        Look a thing up.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        object
            What was entered.

        Raises
        ------
        ValueError
            If there is none of that name; the error suggests the nearest.
        """
        entries = self.entries()
        if not isinstance(name, str) or name not in entries:
            known = ", ".join(map(repr, entries))
            raise ValueError(f"{self.kind} must be one of {known}: got {name!r}.{did_you_mean(str(name), entries)}")
        return entries[name]

    def entries(self) -> dict[str, Entry]:
        """
        Return all things by name.

        Returns
        -------
        dict
            Sorted by name.
        """
        for home in self._homes:
            import_module(home)
        return {name: self._entries[name][0] for name in sorted(self._entries)}


@dataclass(frozen=True)
class Optimizer:
    """
    What is registered under an optimizer's name.

    Parameters
    ----------
    method : callable
        The search.
    evaluations : callable or None, default None
        Takes the number of weights and all options by name; returns how many candidates a search usually evaluates
        after its starts. None where nobody can say.
    requires : str, default ""
        Package that it needs beyond the plain installation.
    """

    method: Method
    evaluations: Expectation | None = None
    requires: str = ""


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


def register_optimizer(
    name: str, *, evaluations: Expectation | None = None, requires: str = ""
) -> Callable[[Method], Method]:
    """
    Register a search method under a name, as a decorator.

    A method is a function `method(search, *, option=default, …) -> message`. It calls `search.evaluate_starts()` first,
    then proposes batches through `search.evaluate` or `search.evaluate_projected`, draws from `search.rng` only, and
    returns why it ended. `optimizers.testing.check_optimizer(name)` tells whether it keeps the contract.

    Parameters
    ----------
    name : str
        The name for `minimize` and `list_optimizers`.
    evaluations : callable or None, default None
        Takes the number of weights and all options by name; returns how many candidates a search usually evaluates
        after its starts, for those who show how far it is.
    requires : str, default ""
        Package that it needs beyond the plain installation.

    Returns
    -------
    callable
        The decorator; it returns the method unchanged.

    Raises
    ------
    ValueError
        If the name is taken.
    TypeError
        If the method takes anything but `search` and keyword-only options with defaults.

    Examples
    --------
    >>> @register_optimizer("starts-only")
    ... def starts_only(search):
    ...     search.evaluate_starts()
    ...     return "evaluated the starts"
    >>> unregister_optimizer("starts-only")
    """

    def register(method: Method) -> Method:
        _, *options = inspect.signature(method).parameters.values()
        for option in options:
            if option.kind is not option.KEYWORD_ONLY or option.default is option.empty:
                raise TypeError(
                    f"optimizer {name!r} must take its options as keyword-only parameters with defaults: "
                    f"got {str(option)!r}."
                )
        OPTIMIZERS.add(name, Optimizer(method, evaluations, requires), method.__module__)
        return method

    return register


def unregister_optimizer(name: str) -> None:
    """
    Forget a registered method, so that tests and notebooks can register it again.

    Parameters
    ----------
    name : str
        A name of `list_optimizers()`.

    Raises
    ------
    ValueError
        If there is no such optimizer.
    """
    get_method(name)
    OPTIMIZERS.remove(name)


def list_optimizers() -> list[str]:
    """
    List the names `minimize` understands.

    Returns
    -------
    list of str
        Sorted names.

    Examples
    --------
    >>> list_optimizers()[:4]
    ['cma-es', 'differential-evolution', 'greedy', 'hill-climbing']
    """
    return list(OPTIMIZERS.entries())


def list_optimizer_options(name: str) -> dict[str, Any]:
    """
    List the options of an optimizer with their defaults.

    Parameters
    ----------
    name : str
        A name of `list_optimizers()`.

    Returns
    -------
    dict
        Option name → default value.

    Raises
    ------
    ValueError
        If there is no such optimizer.

    Examples
    --------
    >>> list_optimizer_options("greedy")["n_iterations"]
    25
    """
    _, *options = inspect.signature(get_method(name)).parameters.values()
    return {option.name: option.default for option in options}


def expect_evaluations(name: str, n_dimensions: int, options: Mapping[str, Any] | None = None) -> int | None:
    """
    Tell how many candidates a search usually evaluates, its usual starts included.

    Parameters
    ----------
    name : str
        A name of `list_optimizers()`.
    n_dimensions : int
        Number of weights.
    options : mapping or None, default None
        Options of `minimize` that differ from their defaults.

    Returns
    -------
    int or None
        A search that converges ends earlier. None where the optimizer does not say.

    Raises
    ------
    ValueError
        If there is no such optimizer.

    Examples
    --------
    >>> expect_evaluations("greedy", 4)  # uniform, four singles, and 25 times four
    105
    """
    given = {**list_optimizer_options(name), **(options or {})}
    expectation = OPTIMIZERS.find(name).evaluations
    if expectation is None:
        return None
    found = n_dimensions + 1 + expectation(n_dimensions, given) if n_dimensions > 1 else 1
    most = given.get("max_evaluations")
    return found if most is None else min(found, int(most))


def get_method(name: str) -> Method:
    """
    Look up a search method.

    Parameters
    ----------
    name : str
        A name of `list_optimizers()`.

    Returns
    -------
    callable
        The registered function.

    Raises
    ------
    ValueError
        If there is no such optimizer.
    """
    known = OPTIMIZERS.entries()
    if name not in known:
        near = nearest_name(str(name), known)
        hint = f"did you mean {near!r}?" if near else f"choose one of {', '.join(map(repr, known)) or 'none'}."
        raise ValueError(f"optimizer must be a name of list_optimizers(): got {name!r}; {hint}")
    return known[name].method
