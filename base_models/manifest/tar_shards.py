"""Photos inside plain tar files.

The members' offsets are read once, then every photo is one seek and one read: no extraction, a handful of files instead
of a million. Compressed shards would need reading from their beginning and are refused.
"""

from __future__ import annotations

import logging
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from base_models.manifest.annotations import list_some
from base_models.manifest.photo_names import can_be_named, name_photos
from base_models.photos.decoding import MAX_BYTES, PHOTO_SUFFIXES, UnreadablePhotoError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TarPhotos:
    """Read photos out of tar shards; holds no open file, so it can be pickled, forked and spawned.

    Parameters
    ----------
    root : str
        Folder of the shards.
    shards : tuple of str
        File names of the shards.
    shard_of : ndarray of int32, shape (n_photos,)
        Which shard holds each photo.
    offsets : ndarray of int64, shape (n_photos,)
        Where the photo begins in its shard, in bytes.
    sizes : ndarray of int64, shape (n_photos,)
        Bytes of each photo.
    """

    root: str
    shards: tuple[str, ...]
    shard_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def describe(self, row: int) -> str:
        """Return where photo `row` lies, for errors and lists.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        str
            Shard and offset.
        """
        return f"{self.shards[self.shard_of[row]]} at byte {self.offsets[row]}"

    def read_bytes(self, row: int) -> bytes:
        """Return the content of one photo.

        Parameters
        ----------
        row : int
            Row of the photo.

        Returns
        -------
        bytes
            The member.

        Raises
        ------
        UnreadablePhotoError
            If the shard cannot be read or ends before the photo does.
        """
        size = int(self.sizes[row])
        if size > MAX_BYTES:
            raise UnreadablePhotoError(f"{self.describe(row)}: more than the limit of {MAX_BYTES:,} bytes")
        try:
            with (Path(self.root) / self.shards[self.shard_of[row]]).open("rb", buffering=0) as file:
                file.seek(int(self.offsets[row]))
                data = file.read(size)
        except OSError as error:
            raise UnreadablePhotoError(f"{self.describe(row)}: {error.strerror or error}") from error
        if data is None or len(data) != size:
            raise UnreadablePhotoError(f"{self.describe(row)}: the shard ends within the photo")
        return data

    def select(self, rows: NDArray[np.int64]) -> TarPhotos:
        """Return the source of some photos, in the order given.

        Parameters
        ----------
        rows : ndarray of int
            Rows to keep.

        Returns
        -------
        TarPhotos
            The smaller source.
        """
        return TarPhotos(self.root, self.shards, self.shard_of[rows], self.offsets[rows], self.sizes[rows])


def list_tar_photos(root: Path) -> tuple[list[str], TarPhotos]:
    """Index every photo of the ``*.tar`` files in a folder.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    paths : list of str
        Member names, shard by shard.
    photos : TarPhotos
        The source of those photos.

    Raises
    ------
    ValueError
        If the folder holds no shard, or a shard is damaged or compressed.

    Notes
    -----
    Reads one header of 512 bytes per member.
    """
    shards = tuple(sorted(path.name for path in root.glob("*.tar"))) if root.is_dir() else ()
    if not shards:
        raise ValueError(
            f"data.root must be a folder of .tar shards: got {str(root)!r}, which holds none; correct the path."
        )
    names: list[str] = []
    places: list[tuple[int, int, int]] = []
    unnamed: list[str] = []
    for number, shard in enumerate(shards):
        for name, offset, size in _members(root / shard):
            if not can_be_named(name):
                unnamed.append(name)
                continue
            names.append(name)
            places.append((number, offset, size))
    if unnamed:
        logger.warning(
            "%d photos are left out, since their names are blank or no UTF-8: %s", len(unnamed), list_some(unnamed)
        )
    table = np.array(places, dtype=np.int64).reshape(-1, 3)
    return names, TarPhotos(
        str(root.absolute()), shards, table[:, 0].astype(np.int32), table[:, 1].copy(), table[:, 2].copy()
    )


def scan_tar_shards(root: Path) -> tuple[list[str], TarPhotos]:
    """Index every photo of the ``*.tar`` files in a folder, and name them.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    ids : list of str
        Member names without folder and extension; where they repeat, the whole member names without extension.
    photos : TarPhotos
        The source of those photos.

    Raises
    ------
    ValueError
        If the folder holds no shard, a shard is damaged or compressed, or two photos have equal ids.
    """
    names, photos = list_tar_photos(root)
    ids = name_photos([str(PurePosixPath(name).with_suffix("")) for name in names])
    if len(set(ids)) != len(ids):
        first: dict[str, int] = {}
        clashes = [names[row] for row, i in enumerate(ids) if first.setdefault(i, row) != row]
        raise ValueError(
            f"shards must hold every photo id once (the member name without extension): got {list_some(clashes)} "
            "again; rename or remove them."
        )
    return ids, photos


def _members(path: Path) -> list[tuple[str, int, int]]:
    """Return name, offset and size of every photo in one shard; links and sparse members are no photos."""
    found: list[tuple[str, int, int]] = []
    sparse: list[str] = []
    last = -1
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if member.offset <= last or member.size < 0:
                    raise tarfile.ReadError("its members overlap")
                last, name = member.offset, member.name
                hidden = PurePosixPath(name).name.startswith(".")
                if not member.isreg() or hidden or PurePosixPath(name).suffix.lower() not in PHOTO_SUFFIXES:
                    continue
                if member.issparse():
                    sparse.append(name)
                else:
                    found.append((name, member.offset_data, member.size))
    except Exception as error:  # tarfile raises almost anything on damage
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path.name} must be a plain, whole tar file: {reason}; copy it again.") from error
    if sparse:
        logger.warning(
            "%d members of %s are left out, since they are sparse: %s", len(sparse), path.name, list_some(sparse)
        )
    return found
