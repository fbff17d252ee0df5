"""The labels of a data set: names, groups and the ids that files use for them.

A name may be written ``group:value`` (``neckline:round``); the part before the first colon is the label's group, and
the whole is its name everywhere else, because two groups may share a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacking._checks import check_names
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.name_lists import read_label_list

_UNWRITABLE = ("|", "\n", "\r")
"""Files of labels join them by ``|``, one line a photo."""


@dataclass(frozen=True)
class Vocabulary:
    """Hold label names, their groups and the ids that annotation files use.

    Parameters
    ----------
    names : tuple of str
        Unique label names, in the order of the columns of ``y_true``.
    groups : tuple of str, optional
        One group per label; by default the part of the name before the first colon, or ``""``.
    ids : tuple of str, optional
        One unique id per label as written in annotation files; by default the names.

    Examples
    --------
    >>> vocabulary = Vocabulary(("sleeve:long", "color:red"), ids=("7", "9"))
    >>> vocabulary.groups, vocabulary.column("9"), vocabulary.column("sleeve:long")
    (('sleeve', 'color'), 1, 0)
    """

    names: tuple[str, ...]
    groups: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    _columns: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", tuple(n.split(":", 1)[0] if ":" in n else "" for n in self.names))
        if not self.ids:
            object.__setattr__(self, "ids", self.names)
        if not len(self.names) == len(self.groups) == len(self.ids):
            raise ValueError(
                f"vocabulary names, groups and ids must have equal lengths: got {len(self.names)}, {len(self.groups)} "
                f"and {len(self.ids)}; give one group and one id per name."
            )
        if not self.names:
            raise ValueError("vocabulary must hold at least one label: got none; check the labels file.")
        check_names(self.names, name="label names")
        check_names(self.ids, name="label ids")
        for name in self.names:
            mark = next((mark for mark in _UNWRITABLE if mark in name), None)
            if mark is not None:
                raise ValueError(
                    f"label names must hold no '|' and no line break, since files join labels by '|': got {name!r}; "
                    "rename the label."
                )
        # ids win over names: annotation files are written in ids
        columns = {name: column for column, name in enumerate(self.names)}
        columns.update({label_id: column for column, label_id in enumerate(self.ids)})
        object.__setattr__(self, "_columns", columns)

    def __len__(self) -> int:
        return len(self.names)

    def column(self, key: str) -> int | None:
        """Return the column of a label given by id or by name, or None where it is unknown.

        Parameters
        ----------
        key : str
            Id or name; an id wins where both exist.

        Returns
        -------
        int or None
            Column in ``y_true``.
        """
        return self._columns.get(key)

    @property
    def own_ids(self) -> tuple[str, ...] | None:
        """Return the ids where they are not the names themselves."""
        return None if self.ids == self.names else self.ids

    @property
    def labels(self) -> LabelList:
        """Return names, ids and groups as all readers of labels take them."""
        return LabelList(self.names, self.own_ids, self.groups)

    def select(self, columns: Sequence[int] | NDArray[np.integer]) -> Vocabulary:
        """Return the vocabulary of some columns, in the order given.

        Parameters
        ----------
        columns : sequence of int
            Columns to keep.

        Returns
        -------
        Vocabulary
            The smaller vocabulary.
        """
        kept = [int(c) for c in columns]
        return Vocabulary(
            tuple(self.names[c] for c in kept), tuple(self.groups[c] for c in kept), tuple(self.ids[c] for c in kept)
        )

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of names, groups and ids in their order."""
        return hashlib.sha256(json.dumps([self.names, self.groups, self.ids]).encode()).hexdigest()

    @classmethod
    def from_keys(cls, keys: Iterable[str]) -> Vocabulary:
        """Build a vocabulary from the label keys that annotations hold, numbers in the order of numbers.

        Parameters
        ----------
        keys : iterable of str
            Label ids or names, in any order, repeated or not.

        Returns
        -------
        Vocabulary
            Names and ids are the keys themselves.
        """
        return cls(tuple(sorted(set(keys), key=_number_first)))


def load_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary from a label list in any of the forms that `stacking` reads.

    Parameters
    ----------
    path : Path
        A table with names (``name``, ``labelName``, ``label`` …) and, if any, ids and groups, or a plain list; further
        columns (such as ``count``) are ignored. Without ids the names are the ids.

    Returns
    -------
    Vocabulary
        Labels in the order of the file.

    Raises
    ------
    ValueError
        If the file is missing, holds no names, or a name or id is blank, occurs twice or cannot be written.
    """
    if not path.is_file():
        raise ValueError(
            f"data.labels must name a vocabulary file: got {str(path)!r}, which does not exist; correct the path."
        )
    labels = read_label_list(path)
    try:
        return Vocabulary(labels.names, labels.groups or (), labels.ids or ())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _number_first(key: str) -> tuple[bool, int, str]:
    """Sort ``2`` before ``10`` and numbers before words."""
    return (not key.isdecimal(), int(key) if key.isdecimal() else 0, key)
