"""All that is wrong with a recipe, found in one go.

A table that cannot be read hides what else is wrong in it and around it. So what was found is put right with a value
that fits, and the recipe is looked at again, until nothing new is found.
"""

import copy
import itertools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.recipe.types import (
    choices,
    dataclass_in,
    describe_type,
    hints_of,
    required_keys,
    type_at,
    write_value,
)
from optimizers.registry import nearest_name

if typing.TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_ROUNDS = 8  # a table inside a table inside the recipe, each with unknown keys, wrong types and wrong values
LONGEST_VALUE = 60  # characters of a value in a sentence: a choice
UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
MISSING_KEY = ("missing", "missing_argument")


def find_problems(kind: Any, document: Mapping[str, Any], inside: str = "") -> tuple[list[str], dict[str, Any]]:
    """Find everything that is wrong with a table of a recipe.

    Parameters
    ----------
    kind : type
        The dataclass that the table is to become.
    document : mapping
        The table, as TOML gives it.
    inside : str, default=""
        Its name, for the sentences; empty for the whole recipe.

    Returns
    -------
    problems : list of str
        One sentence each, misspelled keys first.
    mended : dict
        The table with what was found put right by values that fit.
    """
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    mended: dict[str, Any] = copy.deepcopy(dict(document))
    found: dict[str, bool] = {}
    settled: set[tuple[Any, ...]] = set()  # places of which nothing more is to be said
    for _ in range(MOST_ROUNDS):
        try:
            adapter.validate_python(mended)
            break
        except ValidationError as error:
            problems = [(_place_of(kind, problem), problem) for problem in error.errors(include_url=False)]
        problems.sort(key=lambda found: found[1]["type"] not in UNKNOWN_KEY)
        settled |= {(*place[:-1], _meant(kind, place)) for place, problem in problems if problem["type"] in UNKNOWN_KEY}
        for place, problem in problems:
            if problem["type"] not in MISSING_KEY or place not in settled:
                for sentence in _sentences(kind, problem, place, mended, inside, settled):
                    found.setdefault(sentence, problem["type"] in UNKNOWN_KEY)
        for place, problem in problems:
            settled.add(place)
            if place:
                _mend(kind, mended, place, problem["type"])
            else:  # what the table's keys say together: the last to be looked at
                mended = {key: mended[key] for key in required_keys(kind) if key in mended}
    return sorted(found, key=lambda sentence: not found[sentence]), mended


def _meant(kind: Any, place: tuple[Any, ...]) -> str | None:
    """Return the key that is nearest to an unknown one."""
    return nearest_name(str(place[-1]), list(hints_of(dataclass_in(type_at(kind, place[:-1])))))


def _place_of(kind: Any, problem: "ErrorDetails") -> tuple[Any, ...]:
    """Return the way to the key that a problem is about, without what lies inside the key's value."""
    place: tuple[Any, ...] = tuple(problem["loc"])
    if problem["type"] in UNKNOWN_KEY:
        return place
    deepest: tuple[Any, ...] = ()
    for length in range(1, len(place) + 1):
        owner, step = dataclass_in(type_at(kind, place[: length - 1])), place[length - 1]
        if owner is None or not (isinstance(step, int) or step in hints_of(owner)):
            break
        deepest = place[:length]
    return deepest


def _sentences(
    kind: Any,
    problem: "ErrorDetails",
    place: tuple[Any, ...],
    document: Any,
    inside: str,
    settled: set[tuple[Any, ...]],
) -> list[str]:
    """Say one problem in the words of the recipe."""
    where = ".".join(str(step) for step in ((inside, *place) if inside else place))
    if problem["type"] in UNKNOWN_KEY:
        known, near = list(hints_of(dataclass_in(type_at(kind, place[:-1])))), _meant(kind, place)
        hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}."
        return [f"unknown key {where!r}; {hint}"]
    hint_type = type_at(kind, place)
    if problem["type"] in MISSING_KEY:
        return [f"the key {where!r} is missing: it must be {describe_type(hint_type)}; add it."]
    if problem["type"] == "value_error":  # the dataclass's own sentences
        error = problem["ctx"]["error"]
        own = getattr(error, "problems", (str(error),))
        known = list(hints_of(dataclass_in(hint_type)))
        shown = [text for text in own if place not in settled and not _is_about(text, known, place, settled)]
        return [_put_before(where, text, known) for text in shown]
    value = _value_at(document, place)
    near = nearest_name(value, choices(hint_type)) if isinstance(value, str) else None
    got = write_value(value)
    got = got if len(got) <= LONGEST_VALUE else got[: LONGEST_VALUE - 1] + "…"
    hint = f"; did you mean {write_value(near)}?" if near else "."
    return [f"{where or 'the recipe'} must be {describe_type(hint_type)}: got {got}{hint}"]


def _put_before(where: str, sentence: str, known: Sequence[str]) -> str:
    """Say in which table the key lies that a sentence begins with."""
    first = sentence.split(" ", 1)[0]
    if not where or sentence.startswith(f"{where}."):
        return sentence
    return f"{where}.{sentence}" if first in known else f"{where}: {sentence}"


def _is_about(sentence: str, known: Sequence[str], place: tuple[Any, ...], settled: set[tuple[Any, ...]]) -> bool:
    """Tell whether a sentence is about a key that was put right, whose value says nothing."""
    words = set(re.findall(r"\w+", sentence) if place else sentence.split(" ", 1)[:1])
    return any((*place, key) in settled for key in words & set(known))


def _value_at(document: Any, place: Sequence[Any]) -> Any:
    """Return what a recipe holds at a place."""
    for step in place:
        document = document[step]
    return document


def _mend(kind: Any, document: Any, place: tuple[Any, ...], problem: str) -> None:
    """Put one problem right in place, so that what it hides can be seen."""
    try:
        owner = _value_at(document, place[:-1])
        key, hint = place[-1], type_at(kind, place)
        table = dataclass_in(type_at(kind, place[:-1]))
        if problem in UNKNOWN_KEY:
            value, meant = owner.pop(key), _meant(kind, place)
            if meant is not None:
                owner.setdefault(meant, value)
        elif problem in MISSING_KEY:
            owner.setdefault(key, _stand_in(hint, "".join(str(step) for step in place if isinstance(step, int))))
        elif problem == "value_error":
            needed = required_keys(dataclass_in(hint))
            bare = {name: owner[key][name] for name in needed if name in owner[key]}
            owner[key] = bare if bare != owner[key] else _stand_in(dataclass_in(hint))
        elif isinstance(key, str) and table is not None and key not in required_keys(table):
            del owner[key]
        else:
            owner[key] = _stand_in(hint, "".join(str(step) for step in place if isinstance(step, int)))
    except (KeyError, IndexError, TypeError):  # put right with the table around it
        return


def _stand_in(hint: Any, name: str = "") -> Any:
    """Make a value that fits a type."""
    table = dataclass_in(hint)
    if typing.get_origin(hint) in (tuple, list):
        return [_stand_in(typing.get_args(hint)[0], name)]
    if table is not None:
        return next(found for found in _tables(table, name) if _is_accepted(table, found))
    if choices(hint):
        return choices(hint)[0]
    return {int: 1, float: 1.0, bool: False}.get(hint, f"x{name}")


def _tables(table: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the least that a table may hold, with every choice of its keys that must be there; at last nothing."""
    hints, needed = hints_of(table), required_keys(table)
    options = [choices(hints[key]) or (_stand_in(hints[key], name),) for key in needed]
    for values in itertools.product(*options):
        yield dict(zip(needed, values, strict=True))
    yield {}


def _is_accepted(table: Any, values: Mapping[str, Any]) -> bool:
    """Tell whether a dataclass takes these values."""
    try:
        table(**values)
    except ValueError:
        return False
    except TypeError:  # nothing, the last to be tried
        return not values
    return True
