"""The names along one axis of an array, and where the names of one axis stand in another."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizers.registry import did_you_mean
from stacking._checks import first_duplicate, first_names
from stacking._typing import IntArray
from stacking.named_arrays.name_changes import find_difference

LARGEST_WHOLE_FLOAT = 2**53
"""Up to here every integer has a float64 of its own (IEEE 754); beyond it digits were lost."""


@dataclass(frozen=True)
class AxisNames:
    """The names along one axis of an array.

    Parameters
    ----------
    names : tuple of hashable
        Text, whatever the index held: integers as their digits, dates as ISO 8601 writes them; None where it held a
        missing value, which names nothing.
    is_made_up : bool
        True where they only count positions, so that they say nothing that the position does not.
    are_numbers : bool, default=False
        True where they are integers, as pandas numbers rows and columns that were given no names.
    """

    names: tuple[str | None, ...]
    is_made_up: bool
    are_numbers: bool = False

    @classmethod
    def of(cls, names: Iterable[Any], made_up_as: str | None = None) -> AxisNames:
        """Take names as they stand in an index or a prediction set.

        Parameters
        ----------
        names : iterable
            Strings, integers or other hashable values.
        made_up_as : str, optional
            What this package writes before the number of a position that was given no name: ``"sample"``.

        Returns
        -------
        AxisNames
            The names in one form.
        """
        values = list(names)
        numbers = all(_is_whole(value) for value in values)
        counted = range(len(values)) if numbers else (f"{made_up_as}{place}" for place in range(len(values)))
        made_up = (numbers or made_up_as is not None) and values == list(counted)
        # Most names are plain strings already, and a call for each of ten thousand labels would cost more than a vote.
        return cls(tuple(value if type(value) is str else _key(value) for value in values), made_up, numbers)

    @property
    def is_shuffled_count(self) -> bool:
        """Tell whether they are the numbers 0, 1, 2 … in another order."""
        if not self.are_numbers or self.is_made_up or len(self.names) < 2:
            return False
        return set(self.names) == {str(place) for place in range(len(self.names))}


def match_axis(found: AxisNames | None, wanted: AxisNames | None, *, who: str, what: str, of: str) -> IntArray | None:
    """Find where the names of one axis stand in another, or that position decides.

    Parameters
    ----------
    found : AxisNames or None
        The names there are.
    wanted : AxisNames or None
        The names in the order wanted.
    who : str
        Whose names they are, for the errors: ``"y_true"``.
    what : str
        What they name: ``"row"``, ``"label"`` or ``"model"``.
    of : str
        Whose names are wanted: ``"y_score"``.

    Returns
    -------
    ndarray of int or None
        The position of every wanted name; None where the order is the same or one side has no names.

    Raises
    ------
    ValueError
        If both sides have names and one is missing, unknown or there twice; or if one side numbers its rows in another
        order and the other has no names.
    """
    if found is None or wanted is None:
        named, other = (found, of) if wanted is None else (wanted, who)
        if named is not None and named.is_shuffled_count:
            _refuse_shuffled(who if wanted is None else of, other, what)
        return None
    if found.names == wanted.names:
        return None
    place = {key: position for position, key in enumerate(found.names)}
    if len(place) == len(found.names) == len(wanted.names) and place.keys() == set(wanted.names):
        return np.array([place[key] for key in wanted.names], np.int64)
    if found.is_made_up or wanted.is_made_up:
        return match_axis(
            None if found.is_made_up else found, None if wanted.is_made_up else wanted, who=who, what=what, of=of
        )
    raise _mismatch(found, wanted, who=who, what=what, of=of)


def find_own_names(axis: AxisNames | None, name: str) -> list[str] | None:
    """Return names that say more than their position, as text.

    Parameters
    ----------
    axis : AxisNames or None
        The names.
    name : str
        What they are called, for the error: ``"ids"``.

    Returns
    -------
    list of str or None
        The names; None where there are none, or they only count.

    Raises
    ------
    ValueError
        If one is a missing value.
    """
    if axis is None or axis.is_made_up:
        return None
    names = [key for key in axis.names if isinstance(key, str)]
    if len(names) < len(axis.names):
        raise ValueError(
            f"{name} must be text, integers or dates: got a missing value (None or NaN) at position "
            f"{axis.names.index(None)}; name it, or leave it out."
        )
    return names


def find_first(found: Mapping[str, AxisNames | None]) -> tuple[str | None, AxisNames | None]:
    """Find who gives the order of an axis: the first with names of its own, else the first that counts positions.

    Parameters
    ----------
    found : mapping of str to AxisNames or None
        The names by who has them.

    Returns
    -------
    tuple of (str, AxisNames), or (None, None)
        Who, and the names.
    """
    named = [(name, names) for name, names in found.items() if names is not None]
    return next(((name, names) for name, names in named if not names.is_made_up), named[0] if named else (None, None))


def _is_whole(value: Any) -> bool:
    """Tell whether a name is a whole number."""
    if isinstance(value, float | np.floating):
        return float(value).is_integer() and abs(float(value)) <= LARGEST_WHOLE_FLOAT
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _key(value: Any) -> str | None:
    """Return one name as text, the form in which names are compared and kept; None where it is a missing value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    if isinstance(value, tuple):  # a row of an index of several levels
        parts = [str(_key(part)) for part in value]
        return str(tuple(parts)) if any("/" in part for part in parts) else "/".join(parts)
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if _is_whole(value):  # a float where the column once had gaps
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time() and value.tzinfo is None:
        return str(value.date())  # as pandas writes an index of days into a file
    return str(value)


def _refuse_shuffled(who: str, other: str, what: str) -> None:
    """Refuse row numbers in another order beside something without names."""
    raise ValueError(
        f"{who} must stand in the order of {other}, which does not name its {what}s: got the numbers 0, 1, 2 … of its "
        f"{what}s in another order; name them in both, or pass an array (to_numpy()) to go by position."
    )


def _mismatch(found: AxisNames, wanted: AxisNames, *, who: str, what: str, of: str) -> ValueError:
    """Say in one sentence how the names of one axis differ."""
    there, needed = set(found.names), set(wanted.names)
    if len(there) < len(found.names):
        return ValueError(f"{who} must name every {what} once: got {first_duplicate(found.names)!r} more than once.")
    if len(needed) < len(wanted.names):
        return ValueError(f"{of} must name every {what} once: got {first_duplicate(wanted.names)!r} more than once.")
    missing = [str(key) for key in wanted.names if key not in there]
    unknown = [str(key) for key in found.names if key not in needed]
    parts = [f"{len(missing)} missing, such as {first_names(missing, 1)}"] if missing else []
    parts += [f"{len(unknown)} unknown, such as {first_names(unknown, 1)}"] if unknown else []
    difference = find_difference(missing[0], unknown) if unknown and missing else ""
    hint = did_you_mean(unknown[0], missing) if unknown and missing and not difference else ""
    why = f"; {difference}" if difference else ""
    return ValueError(f"{who} must have the {len(wanted.names)} {what}s of {of}: got {' and '.join(parts)}{why}.{hint}")
