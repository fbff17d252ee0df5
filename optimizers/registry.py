"""The optimizers by name: one dictionary, in which a collision raises and an unknown name gets a suggestion."""

import inspect
from collections.abc import Callable
from typing import Any

from optimizers._checks import suggest

Method = Callable[..., str]

_METHODS: dict[str, Method] = {}


def register_optimizer(name: str) -> Callable[[Method], Method]:
    """
    Register a search method under a name, as a decorator.

    A method is a function `method(search, *, option=default, …) -> message`. It calls `search.evaluate_starts()` first,
    then proposes batches through `search.evaluate` or `search.evaluate_projected`, draws from `search.rng` only, and
    returns why it ended. `optimizers.testing.check_optimizer(name)` tells whether it keeps the contract.

    Parameters
    ----------
    name : str
        The name for `minimize` and `list_optimizers`.

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
        if name in _METHODS:
            raise ValueError(
                f"name must be new among the optimizers: {name!r} is taken by {_METHODS[name].__module__}; "
                "choose another name."
            )
        _, *options = inspect.signature(method).parameters.values()
        for option in options:
            if option.kind is not option.KEYWORD_ONLY or option.default is option.empty:
                raise TypeError(
                    f"optimizer {name!r} must take its options as keyword-only parameters with defaults: "
                    f"got {str(option)!r}."
                )
        _METHODS[name] = method
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
    del _METHODS[name]


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
    return sorted(_METHODS)


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
    if not isinstance(name, str) or name not in _METHODS:
        raise ValueError(f"optimizer must be a name of list_optimizers(): got {name!r}; {suggest(name, _METHODS)}")
    return _METHODS[name]
