"""Photos as plain files below a folder."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.manifest.annotations import list_some
from base_models.manifest.photo_names import name_photos, writable
from base_models.photos.decoding import MAX_BYTES, PHOTO_SUFFIXES, UnreadablePhotoError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderPhotos:
    """Read photos that are files; small, picklable, safe in forked and spawned loader workers.

    Parameters
    ----------
    root : str
        The folder.
    paths : ndarray of str, shape (n_photos,)
        File of each photo, relative to `root`.
    sizes : ndarray of int64, shape (n_photos,)
        Bytes of each file when the folder was read.
    """

    root: str
    paths: NDArray[np.str_]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def describe(self, row: int) -> str:
        """Return where photo `row` lies, for errors and lists.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        str
            Path relative to the root.
        """
        return str(self.paths[row])

    def read_bytes(self, row: int) -> bytes:
        """Return the content of one photo's file.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        bytes
            The file.

        Raises
        ------
        UnreadablePhotoError
            If the file cannot be read.
        """
        path = Path(self.root) / str(self.paths[row])
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                raise UnreadablePhotoError(f"{self.paths[row]}: it is no file any more")
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnreadablePhotoError(f"{self.paths[row]}: {error.strerror or error}") from error
        if len(data) > MAX_BYTES:
            raise UnreadablePhotoError(f"{self.paths[row]}: more than the limit of {MAX_BYTES:,} bytes")
        return data

    def select(self, rows: NDArray[np.int64]) -> FolderPhotos:
        """Return the source of some photos, in the order given.

        Parameters
        ----------
        rows : ndarray of int
            Rows to keep.

        Returns
        -------
        FolderPhotos
            The smaller source.
        """
        return FolderPhotos(self.root, self.paths[rows], self.sizes[rows])


def list_folder_photos(root: Path) -> tuple[list[str], FolderPhotos]:
    """Find every photo below a folder, in the order of their paths.

    Parameters
    ----------
    root : Path
        The folder; hidden files, links to folders, files without a photo's suffix and names that are no UTF-8 are
        passed over.

    Returns
    -------
    paths : list of str
        Paths below the folder, with slashes.
    photos : FolderPhotos
        The source of those photos.

    Raises
    ------
    ValueError
        If the folder does not exist.
    """
    if not root.is_dir():
        raise ValueError(f"data.root must be a folder of photos: got {str(root)!r}, which is none; correct the path.")
    found = writable(_walk(str(root), ""), str(root))
    paths = [path for path, _ in found]
    sizes = np.array([size for _, size in found], dtype=np.int64)
    return paths, FolderPhotos(str(root.absolute()), np.array(paths, dtype=np.str_), sizes)


def scan_folder(root: Path) -> tuple[list[str], FolderPhotos]:
    """Find every photo below a folder, and name them.

    Parameters
    ----------
    root : Path
        The folder, see `list_folder_photos`.

    Returns
    -------
    ids : list of str
        File names without extension; where they repeat in several folders, the paths of all photos without extension.
    photos : FolderPhotos
        The source of those photos.

    Raises
    ------
    ValueError
        If the folder does not exist, or two photos have equal ids.
    """
    paths, photos = list_folder_photos(root)
    ids = name_photos([path.rsplit(".", 1)[0] for path in paths])
    if len(set(ids)) != len(ids):
        first: dict[str, str] = {}
        clashes = [f"{first[i]} and {p}" for i, p in zip(ids, paths, strict=True) if first.setdefault(i, p) != p]
        raise ValueError(
            f"data.root must hold every photo id once (the file name without extension): got {list_some(clashes)}; "
            "rename them."
        )
    return ids, photos


def _walk(root: str, below: str) -> Iterator[tuple[str, int]]:
    """Yield path relative to the root, with slashes, and size of every photo; what cannot be looked at is left out."""
    waiting, unreadable = [(root, below)], 0
    while waiting:
        folder, inner = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            logger.warning("the folder %r is left out: %s", folder, error.strerror or error)
            continue
        for entry in listed:
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{inner}{entry.name}/"))
                elif os.path.splitext(entry.name)[1].lower() in PHOTO_SUFFIXES and entry.is_file():  # noqa: PTH122 - a million names
                    yield inner + entry.name, entry.stat().st_size
            except OSError:  # a link that leads to itself, or a file that has gone
                unreadable += 1
    if unreadable:
        logger.warning("%d files below %r are left out, since they cannot be looked at", unreadable, root)
