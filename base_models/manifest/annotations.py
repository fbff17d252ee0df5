"""Annotations as read from a file, before photos are looked for.

Every reader fills an :class:`AnnotationTable`; what is the same for all of them (ids that make a safe file name, no id
twice, labels mapped to columns with one error that names the unknown ones) is done here once.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from base_models.photos.vocabulary import Vocabulary
from stacking.predictions.forms.label_cells import Kind, match_label_keys

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOST_FOLDERS = 16  # a choice: deeper than data sets are laid out
_LONGEST_ID = 255  # below the 260 characters of a path on Windows
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows writes such files to a device
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


class AnnotationTable:
    """Collect photo ids, their labels, splits and groups row by row, in little memory.

    Parameters
    ----------
    source : str
        File name for errors.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.ids: list[str] = []
        self.splits: list[str] = []
        self.groups: list[str] = []
        self.paths: list[str] = []  # the photos' paths as a table names them; none where the file knows ids only
        self.columns: tuple[str, ...] | None = None  # the labels of a table with one column each
        self.kind: Kind | None = None  # whether the file says that its keys are ids or names
        self._codes: dict[str, int] = {}  # label key → code, in the order met
        self._rows = array("q")
        self._labels = array("i")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the label keys met, in the order met."""
        return tuple(self._codes)

    def add(self, photo_id: str, labels: Iterable[str], *, split: str = "train", group: str = "") -> None:
        """Add one photo.

        Parameters
        ----------
        photo_id : str
            The photo's id.
        labels : iterable of str
            Label ids or names; repeats count once.
        split : str, default="train"
            ``train``, ``validation`` or ``test``.
        group : str, default=""
            Group of photos that must share a fold.
        """
        row = len(self.ids)
        self.ids.append(photo_id)
        self.splits.append(split)
        self.groups.append(group)
        for label in labels:
            self._rows.append(row)
            self._labels.append(self._codes.setdefault(label, len(self._codes)))

    def extend(self, other: AnnotationTable) -> None:
        """Add the rows of another table.

        Parameters
        ----------
        other : AnnotationTable
            Rows to append.
        """
        codes = [self._codes.setdefault(key, len(self._codes)) for key in other.keys]
        offset = len(self.ids)
        if other.columns is None or (offset and self.columns is None):
            self.columns = None
        else:
            self.columns = tuple(dict.fromkeys((*(self.columns or ()), *other.columns)))
        self.paths += other.paths
        self.ids += other.ids
        self.splits += other.splits
        self.groups += other.groups
        self.kind = other.kind
        self._rows.extend(row + offset for row in other._rows)
        self._labels.extend(codes[code] for code in other._labels)

    def check_ids(self) -> None:
        """Refuse unsafe and repeated photo ids.

        Raises
        ------
        ValueError
            If an id could not be a file name, or occurs twice.
        """
        seen: set[str] = set()
        twice = []
        for photo_id in self.ids:
            check_photo_id(photo_id, self.source, folders=bool(self.paths))
            if photo_id in seen:
                twice.append(photo_id)
            seen.add(photo_id)
        if twice:
            raise ValueError(
                f"{self.source} must hold every photo once: got {list_some(twice)} more than once; remove the repeats "
                "(photo ids are file names without extension, and are shared by all splits)."
            )

    def to_matrix(self, vocabulary: Vocabulary) -> NDArray[np.uint8]:
        """Return the labels as a 0/1 matrix.

        Parameters
        ----------
        vocabulary : Vocabulary
            Labels and their columns.

        Returns
        -------
        ndarray of uint8, shape (n_photos, n_labels)
            One where the photo has the label.

        Raises
        ------
        ValueError
            If annotations hold labels that the vocabulary does not, or that could be ids as well as other names.
        """
        places = match_label_keys(self._codes, vocabulary.labels, who=self.source, prefer=self.kind)
        columns = [places.get(key) for key in self._codes]
        unknown = [key for key, column in zip(self._codes, columns, strict=True) if column is None]
        if unknown:
            raise ValueError(
                f"{self.source} must use labels of the vocabulary: got unknown {list_some(unknown)} "
                f"({len(vocabulary)} labels are known); correct the annotations or the labels file."
            )
        y_true = np.zeros((len(self.ids), len(vocabulary)), dtype=np.uint8)
        if self._rows:
            lookup = np.array(columns, dtype=np.int64)
            rows = np.frombuffer(self._rows, dtype=np.int64)
            y_true[rows, lookup[np.frombuffer(self._labels, dtype=np.int32)]] = 1
        return y_true


def check_photo_id(photo_id: str, source: str, *, folders: bool = False) -> None:
    """Refuse an id that is no plain file name.

    Parameters
    ----------
    photo_id : str
        The id.
    source : str
        File name for the error.
    folders : bool, default=False
        Whether the id may be a path of such names, as where file names repeat in several folders.

    Raises
    ------
    ValueError
        If the id is empty, too long, holds anything but letters, digits, dot, dash and underscore, or names a device.
    """
    parts = photo_id.split("/") if folders else [photo_id]
    if not all(map(_SAFE_ID.fullmatch, parts)) or len(parts) > _MOST_FOLDERS or len(photo_id) > _LONGEST_ID:
        raise ValueError(
            f"{source} must use photo ids of 1 to 128 letters, digits, '.', '-' or '_', starting with a letter or "
            f"digit: got {photo_id[:60]!r}; rename the photo."
        )
    if any(map(_DEVICE.fullmatch, parts)):
        raise ValueError(
            f"{source} must use photo ids that are file names everywhere: got {photo_id!r}, a device on Windows; "
            "rename the photo."
        )


def normalize_split(value: str, source: str) -> str:
    """Return ``train``, ``validation`` or ``test`` for any usual spelling.

    Parameters
    ----------
    value : str
        The spelling in the file.
    source : str
        File name for the error.

    Returns
    -------
    str
        The split's one name.

    Raises
    ------
    ValueError
        If the value names no split.
    """
    try:
        return _SPLITS[value.strip().lower()]
    except KeyError:
        raise ValueError(
            f"{source} must name splits 'train', 'validation' or 'test': got {value!r}; correct the column."
        ) from None


def list_some(values: Sequence[str], limit: int = 5) -> str:
    """Write the first few of many names for an error.

    Parameters
    ----------
    values : sequence of str
        The names.
    limit : int, default=5
        How many to write out.

    Returns
    -------
    str
        The names quoted, and how many are left.
    """
    names = ", ".join(repr(v) for v in values[:limit])
    return names if len(values) <= limit else f"{names} and {len(values) - limit:,} more"
