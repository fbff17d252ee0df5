"""The types of a recipe's keys: what they are called, and what lies inside them."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

_WORDS = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts in quotes"}


def describe_type(hint: Any) -> str:
    """Say in words what a value of a type is in a recipe.

    Parameters
    ----------
    hint : type
        The type of a dataclass's field.

    Returns
    -------
    str
        For example ``"a whole number"``.

    Examples
    --------
    >>> describe_type(int | None), describe_type(Literal["mean", "refit"])
    ('a whole number', '"mean" or "refit"')
    """
    if hint in _WORDS:
        return _WORDS[hint]
    if dataclass_in(hint) is not None and not _is_list(hint):
        return "a table"
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return _join([write_value(value) for value in arguments])
    if _is_union(hint):
        return _join([describe_type(argument) for argument in arguments if argument is not type(None)])
    if _is_list(hint):
        inside = next(argument for argument in arguments if argument is not Ellipsis)
        if dataclass_in(inside) is not None:
            return "tables in double brackets"
        return f"a list of {_SEVERAL.get(inside, describe_type(inside))}"
    return "a table" if typing.get_origin(hint) in (dict, Mapping) else str(getattr(hint, "__name__", hint))


def choices(hint: Any) -> tuple[str, ...]:
    """Return the texts that a type allows, if it allows no others.

    Parameters
    ----------
    hint : type
        The type of a dataclass's field.

    Returns
    -------
    tuple of str
        Empty where any text, or no text, will do.
    """
    if typing.get_origin(hint) is Literal:
        return tuple(value for value in typing.get_args(hint) if isinstance(value, str))
    if _is_union(hint) or _is_list(hint):
        return tuple(name for argument in typing.get_args(hint) for name in choices(argument))
    return ()


def write_value(value: Any) -> str:
    """Write a value as a recipe has it.

    Parameters
    ----------
    value : object
        What TOML knows, and tuples.

    Returns
    -------
    str
        One line.
    """
    return json.dumps(value, ensure_ascii=False, default=str)


def hints_of(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields.

    Parameters
    ----------
    kind : type
        A dataclass.

    Returns
    -------
    dict of str to type
        By name, of those that a recipe may hold.
    """
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def required_keys(kind: Any) -> list[str]:
    """Return the keys that a table must hold.

    Parameters
    ----------
    kind : type
        A dataclass.

    Returns
    -------
    list of str
        Those without a default.
    """
    absent = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    return [f.name for f in fields if f.init and f.default is absent and f.default_factory is absent]


def type_at(kind: Any, place: Sequence[Any]) -> Any:
    """Return the type found by keys and indices inside a type.

    Parameters
    ----------
    kind : type
        A dataclass, or a type that holds some.
    place : sequence of str or int
        The way there.

    Returns
    -------
    type or None
        None where there is no such place.
    """
    for step in place:
        inside = dataclass_in(kind)
        if inside is not None and isinstance(step, str) and not _is_list(kind):
            kind = hints_of(inside).get(step)
            continue
        if _is_union(kind):
            kind = next(argument for argument in typing.get_args(kind) if argument is not type(None))
        arguments = [argument for argument in typing.get_args(kind) if argument is not Ellipsis]
        if not arguments:
            return None
        kind = arguments[-1]
    return kind


def dataclass_in(kind: Any) -> Any:
    """Return the dataclass that a type is, or that an optional type or a list allows.

    Parameters
    ----------
    kind : type
        Any type.

    Returns
    -------
    type or None
        None where it is another type.
    """
    if dataclasses.is_dataclass(kind):
        return kind
    if _is_union(kind) or _is_list(kind):
        return next((found for argument in typing.get_args(kind) if (found := dataclass_in(argument))), None)
    return None


def _is_list(kind: Any) -> bool:
    """Tell whether a type is a tuple or list."""
    return typing.get_origin(kind) in (tuple, list)


def _is_union(kind: Any) -> bool:
    """Tell whether a type is one of several."""
    return typing.get_origin(kind) in (types.UnionType, typing.Union)


def _join(words: Sequence[str]) -> str:
    """Join words by commas and an "or"."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
