"""The manifest: which photos, with which labels, in which split and group.

It is the one thing that training, inference and reports know about a data set; where photos lie is left to its source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.photos.decoding import UnreadablePhotoError, decode_photo
from base_models.photos.vocabulary import Vocabulary

SplitName = Literal["train", "validation", "test"]


class PhotoSource(Protocol):
    """Give the bytes of photos by row; picklable and holding no open file."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each photo."""
        ...

    def __len__(self) -> int: ...

    def read_bytes(self, row: int) -> bytes:
        """Return the content of one photo.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        bytes
            The encoded photo.

        Raises
        ------
        UnreadablePhotoError
            If it cannot be read whole, or is larger than `base_models.photos.decoding.MAX_BYTES`.
        """
        ...

    def describe(self, row: int) -> str:
        """Return where the photo lies.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        str
            For errors and lists.
        """
        ...

    def select(self, rows: NDArray[np.int64]) -> Self:
        """Return the source of some photos.

        Parameters
        ----------
        rows : ndarray of int
            Rows to keep, in the order given.

        Returns
        -------
        PhotoSource
            The smaller source.
        """
        ...


class Manifest:
    """Hold photos, labels, splits and groups of one data set, row by row.

    Parameters
    ----------
    ids : ndarray of str, shape (n_photos,)
        Unique photo ids.
    vocabulary : Vocabulary
        The labels, in the order of the columns of `y_true`.
    y_true : ndarray of uint8, shape (n_photos, n_labels)
        One where the photo has the label.
    photos : PhotoSource
        Where the photos' bytes are.
    split : ndarray of str, shape (n_photos,), optional
        ``train``, ``validation`` or ``test``; all training by default.
    groups : ndarray of str, shape (n_photos,), optional
        Photos that must share a fold.
    missing : tuple of str, default=()
        Ids that were annotated and whose photo was not found; they have no row.
    unannotated : tuple of str, default=()
        Ids that were listed without an annotation; they have no row.
    """

    def __init__(  # noqa: PLR0913 - the columns of one table
        self,
        ids: NDArray[np.str_],
        vocabulary: Vocabulary,
        y_true: NDArray[np.uint8],
        photos: PhotoSource,
        *,
        split: NDArray[np.str_] | None = None,
        groups: NDArray[np.str_] | None = None,
        missing: tuple[str, ...] = (),
        unannotated: tuple[str, ...] = (),
    ) -> None:
        self.ids = ids
        self.vocabulary = vocabulary
        self.y_true = y_true
        self.photos = photos
        self.split = np.full(len(ids), "train", dtype=np.str_) if split is None else split
        self.groups = groups
        self.missing = missing
        self.unannotated = unannotated
        lengths = {"y_true": len(y_true), "photos": len(photos), "split": len(self.split)}
        lengths |= {} if groups is None else {"groups": len(groups)}
        for what, length in lengths.items():
            if length != len(ids):
                raise ValueError(
                    f"{what} must hold one row per photo: got {length} rows for {len(ids)} ids; align them."
                )
        if y_true.shape[1:] != (len(vocabulary),):
            raise ValueError(
                f"y_true must have {len(vocabulary)} columns, one per label: got shape {y_true.shape}; align them."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_photos(self) -> int:
        """Return the number of photos."""
        return len(self.ids)

    @property
    def n_labels(self) -> int:
        """Return the number of labels."""
        return len(self.vocabulary)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Manifest:
        """Return the manifest of some rows.

        Parameters
        ----------
        rows : ndarray of int or bool
            Row numbers in the order wanted, or a mask.

        Returns
        -------
        Manifest
            The smaller manifest; `missing` and `unannotated` stay with the whole.
        """
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        groups = None if self.groups is None else self.groups[chosen]
        return Manifest(
            self.ids[chosen],
            self.vocabulary,
            self.y_true[chosen],
            self.photos.select(chosen),
            split=self.split[chosen],
            groups=groups,
        )

    def select_labels(self, columns: NDArray[np.int64]) -> Manifest:
        """Return the manifest with some of the labels.

        Parameters
        ----------
        columns : ndarray of int
            Columns to keep, in the order wanted.

        Returns
        -------
        Manifest
            The same photos with fewer labels.
        """
        return Manifest(
            self.ids,
            self.vocabulary.select(columns),
            np.ascontiguousarray(self.y_true[:, columns]),
            self.photos,
            split=self.split,
            groups=self.groups,
            missing=self.missing,
            unannotated=self.unannotated,
        )

    def split_rows(self, name: SplitName) -> NDArray[np.int64]:
        """Return the rows of one split.

        Parameters
        ----------
        name : {"train", "validation", "test"}
            The split.

        Returns
        -------
        ndarray of int64
            Its rows, ascending; empty where the data set has no such split.
        """
        return np.flatnonzero(self.split == name)

    def read_photo(self, row: int, at_least: int = 0) -> Image.Image:
        """Read and decode one photo.

        Parameters
        ----------
        row : int
            Row of the photo.
        at_least : int, default=0
            Longest side that is needed, in pixels, see `decode_photo`; 0 decodes it whole.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.

        Raises
        ------
        UnreadablePhotoError
            If the photo cannot be read or decoded; the reason is in the message.
        """
        name = str(self.ids[row])
        try:
            data = self.photos.read_bytes(row)
        except UnreadablePhotoError as error:
            raise UnreadablePhotoError(f"{name}: {error}") from error
        return decode_photo(data, name=name, at_least=at_least)

    def iter_readable(self, rows: Iterable[int] | NDArray[np.int64]) -> Iterator[tuple[int, Image.Image]]:
        """Read several photos whole and leave out those that cannot be read.

        Parameters
        ----------
        rows : iterable of int
            Rows of the photos.

        Yields
        ------
        row : int
            Row of a photo that could be read.
        photo : PIL.Image.Image
            Mode RGB.
        """
        for row in map(int, rows):
            with suppress(UnreadablePhotoError):
                yield row, self.read_photo(row)

    @cached_property
    def fingerprint(self) -> str:
        """Return a sha256 over labels, ids, truth, splits, groups and the photos' sizes in bytes, in their order."""
        digest = hashlib.sha256(self.vocabulary.fingerprint.encode())
        for column in (self.ids, self.split, self.groups):
            digest.update(b"\x01none" if column is None else "\0".join(column.tolist()).encode())
            digest.update(b"\x02")
        digest.update(np.packbits(self.y_true).tobytes())
        digest.update(self.photos.sizes.astype("<i8").tobytes())
        return digest.hexdigest()
