"""A pack: the photos of one list as uint8 squares on the disk, one ``.npy`` array per size, mapped into memory.

A folder of packs is shared by members, folds, runs and processes. In it ``photos-<hash>/64px.npy`` holds the photos at
64 pixels, white where one cannot be decoded; ``keys.npy`` says by the SHA-256 of each file which photo a row is, so
neither names nor times decide, and any run whose photos are among a pack's can use it; ``index.json``, written last,
holds what decided the pixels, the SHA-256 of every block of photos, and why which photos cannot be decoded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.manifest.manifest import PhotoSource
from base_models.photos.decoding import DECODING_VERSION, UnreadablePhotoError
from stacking.files.output_rules import ResultKind
from stacking.files.untrusted import read_json
from stacking.predictions.forms.matrix_files import header_bytes, read_header

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1  # raised when earlier versions could not read the folder
BLOCK_PHOTOS = 128  # what a killed process loses at most, for each that decodes; only speed and memory depend on it
CHECKED_BYTES = 2**30  # compared with their hashes when a pack is opened: less than a second; a choice
INDEX, KEYS, MARKER = "index.json", "keys.npy", "packed-photos.json"
KEY_WORDS = 2  # of 64 bits: half a SHA-256, so that two files among billions never share a key
UNREADABLE = np.zeros(KEY_WORDS, np.uint64)
PACKS = ResultKind(
    "a folder of packed photos",
    MARKER,
    lambda marker: () if marker.get("kind") == "packed photos" else None,
)


@dataclass(frozen=True)
class PackFacts:
    """Everything that decides what is in a pack, but for the sizes.

    Parameters
    ----------
    keys_sha256 : str
        Hash of the photos' keys, in the order of the rows.
    n_photos : int
        Rows.
    fit : str
        How photos become squares.
    decoding : int
        Version of our decoding.
    pillow : str
        Version of the library that decodes and resizes.
    """

    keys_sha256: str
    n_photos: int
    fit: str = "letterbox"
    decoding: int = DECODING_VERSION
    pillow: str = PIL.__version__

    @classmethod
    def of(cls, keys: NDArray[np.uint64]) -> PackFacts:
        """Return the facts of a list of photos, decoded as here and now.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n_photos, 2)
            Their keys.

        Returns
        -------
        PackFacts
            The facts.
        """
        return cls(hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest(), len(keys))

    @property
    def name(self) -> str:
        """Return the name of the pack's folder: the beginning of a hash over all fields."""
        text = json.dumps([SCHEMA_VERSION, asdict(self)], sort_keys=True)
        return f"photos-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def n_bytes(self, sizes: Sequence[int]) -> int:
        """Return the space that the photos take.

        Parameters
        ----------
        sizes : sequence of int
            Sides in pixels.

        Returns
        -------
        int
            Bytes.
        """
        return sum(3 * size * size for size in sizes) * self.n_photos


def file_key(data: bytes) -> NDArray[np.uint64]:
    """Return what tells a photo from all others: half the SHA-256 of its file.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    ndarray of uint64, shape (2,)
        Never ``UNREADABLE``.
    """
    return np.frombuffer(hashlib.sha256(data).digest()[: 8 * KEY_WORDS], dtype="<u8").astype(np.uint64)


def read_keys(photos: PhotoSource, n_threads: int = 1) -> tuple[NDArray[np.uint64], dict[int, str]]:
    """Read every photo's file once for its key; nothing is decoded.

    Parameters
    ----------
    photos : PhotoSource
        Gives the files.
    n_threads : int
        Files read at a time.

    Returns
    -------
    keys : ndarray of uint64, shape (n_photos, 2)
        ``UNREADABLE`` where there is no file any more.
    unreadable : dict of int to str
        Those rows, and why.
    """
    keys = np.zeros((len(photos), KEY_WORDS), np.uint64)
    reasons: dict[int, str] = {}

    def read(start: int) -> None:
        for row in range(start, min(start + BLOCK_PHOTOS, len(photos))):
            try:
                keys[row] = file_key(photos.read_bytes(row))
            except UnreadablePhotoError as error:
                reasons[row] = str(error)

    with ThreadPoolExecutor(max(1, n_threads), "keys") as threads:  # reading and hashing go on without Python's lock
        list(threads.map(read, range(0, len(photos), BLOCK_PHOTOS)))
    return keys, dict(sorted(reasons.items()))


class PackedPhotos:
    """Serve photos of a pack at one size; picklable, and mapped into memory on first use.

    Parameters
    ----------
    path : pathlib.Path
        The array.
    size : int
        Side of the squares in pixels.
    rows : ndarray of int64, shape (n_photos,)
        Row of the array for every photo that is served; any for those without a file.
    failures : dict of int to str
        Photos that cannot be read, by place in ``rows``, and why; they are white.
    keys_sha256 : str
        Hash of the photos' keys, in the order of the list that was packed.
    """

    def __init__(
        self, path: Path, size: int, rows: NDArray[np.int64], failures: dict[int, str], keys_sha256: str = ""
    ) -> None:
        self.path, self.size, self.rows, self.failures, self.keys_sha256 = path, size, rows, failures, keys_sha256

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}  # each process maps it anew

    @cached_property
    def _mapped(self) -> Tensor:
        """Map the whole array: (n_stored, size, size, 3); its pages are shared with every other process."""
        shape, _, _, offset = read_header(self.path)
        # copy on write: never written, but torch warns of memory that cannot be
        return torch.from_numpy(np.memmap(self.path, np.uint8, "c", offset, shape))

    def select(self, places: NDArray[np.int64]) -> PackedPhotos:
        """Return some of the photos.

        Parameters
        ----------
        places : ndarray of int64
            Which, in the order wanted.

        Returns
        -------
        PackedPhotos
            Of the same pack.
        """
        failures = {}
        if self.failures:
            failures = {new: self.failures[old] for new, old in enumerate(places.tolist()) if old in self.failures}
        return PackedPhotos(self.path, self.size, self.rows[places], failures)

    def take(self, places: NDArray[np.int64], out: Tensor) -> None:
        """Copy photos.

        Parameters
        ----------
        places : ndarray of int64, shape (n_photos,)
            Which.
        out : Tensor of uint8, shape (n_photos, size, size, 3)
            Filled with them.
        """
        torch.index_select(self._mapped, 0, torch.from_numpy(self.rows[places]), out=out)
        if self.failures:
            for place, photo in enumerate(places.tolist()):
                if photo in self.failures:
                    out[place] = 255


def array_name(size: int) -> str:
    """Return the name of a size's array.

    Parameters
    ----------
    size : int
        Pixels.

    Returns
    -------
    str
        Within the pack's folder.
    """
    return f"{size}px.npy"


def array_header(facts: PackFacts, size: int) -> bytes:
    """Return what an array's file begins with.

    Parameters
    ----------
    facts : PackFacts
        The photos.
    size : int
        Pixels.

    Returns
    -------
    bytes
        A header as numpy writes it.
    """
    return header_bytes((facts.n_photos, size, size, 3), np.dtype(np.uint8))


def block_span(facts: PackFacts, size: int, block: int) -> tuple[int, int]:
    """Return where a block of photos lies in its file.

    Parameters
    ----------
    facts : PackFacts
        The photos.
    size : int
        Pixels.
    block : int
        Number of the block.

    Returns
    -------
    tuple of int
        First byte, and the one after the last.
    """
    first, last = (min(rows, facts.n_photos) for rows in (block * BLOCK_PHOTOS, (block + 1) * BLOCK_PHOTOS))
    start = len(array_header(facts, size))
    return start + 3 * size * size * first, start + 3 * size * size * last


def read_index(folder: Path) -> dict[str, Any] | None:
    """Read a pack's index.

    Parameters
    ----------
    folder : pathlib.Path
        The pack's folder; it need not exist.

    Returns
    -------
    dict or None
        None where no size is complete, or another version wrote it.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    index = read_json(path, f"the packed photos' {path}")
    return index if index.get("schema_version") == SCHEMA_VERSION else None


def find_packed(
    folder: Path, ids: NDArray[np.str_], keys: NDArray[np.uint64], unreadable: dict[int, str], size: int
) -> PackedPhotos | None:
    """Look for a pack that holds a list of photos at one size.

    Parameters
    ----------
    folder : pathlib.Path
        Where packs are.
    ids : ndarray of str, shape (n_photos,)
        The photos' names, for reasons.
    keys : ndarray of uint64, shape (n_photos, 2)
        Their keys.
    unreadable : dict of int to str
        Those without a file, and why.
    size : int
        Side in pixels.

    Returns
    -------
    PackedPhotos or None
        In the order of the list; None where no pack holds them all, decoded as here and now, undamaged.
    """
    wanted = PackFacts.of(keys)
    for place, index in _packs(folder, wanted):
        if str(size) not in index["sizes"]:
            continue
        rows = rows_of(place, index, keys, wanted)
        if rows is None:
            continue
        facts = PackFacts(**index["facts"])
        if damaged := find_damage(place, facts, size, index["sizes"][str(size)], CHECKED_BYTES):
            logger.info("%s is passed over: %s", place / array_name(size), damaged)
            continue
        stored = {int(row): str(reason) for row, reason in index["unreadable"].items()}
        failures = {at: stored[row] for at, row in enumerate(rows.tolist()) if row in stored} if stored else {}
        failures |= unreadable
        reasons = {at: f"{ids[at]}: {failures[at]}" for at in sorted(failures)}
        return PackedPhotos(place / array_name(size), size, rows, reasons, wanted.keys_sha256)
    return None


def find_damage(folder: Path, facts: PackFacts, size: int, hashes: Sequence[str], n_bytes: int) -> str:
    """Compare an array with the hashes of its blocks, all of them or as many as allowed, evenly spread.

    Parameters
    ----------
    folder : pathlib.Path
        The pack's folder.
    facts : PackFacts
        What it holds.
    size : int
        Pixels.
    hashes : sequence of str
        SHA-256 by block.
    n_bytes : int
        How much to read at most.

    Returns
    -------
    str
        What is wrong, empty where nothing is.
    """
    path, n_blocks = folder / array_name(size), -(-facts.n_photos // BLOCK_PHOTOS)
    if len(hashes) != n_blocks or not path.is_file() or path.stat().st_size != block_span(facts, size, n_blocks)[0]:
        return "it has another length"
    n_checked = min(n_blocks, max(1, n_bytes // (3 * size * size * BLOCK_PHOTOS)))
    with path.open("rb", buffering=0) as file:
        if file.read(len(array_header(facts, size))) != array_header(facts, size):
            return "its header is another"
        for block in np.unique(np.linspace(0, n_blocks - 1, n_checked).round().astype(int)).tolist():
            if hash_block(file.fileno(), facts, size, block) != hashes[block]:
                return f"block {block} has another SHA-256"
    return ""


def hash_block(descriptor: int, facts: PackFacts, size: int, block: int) -> str:
    """Hash a block of photos as it lies on the disk.

    Parameters
    ----------
    descriptor : int
        The open array.
    facts : PackFacts
        What it holds.
    size : int
        Pixels.
    block : int
        Number of the block.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    start, stop = block_span(facts, size, block)
    return hashlib.sha256(os.pread(descriptor, stop - start, start)).hexdigest()


def decoded_alike(index: dict[str, Any], wanted: PackFacts) -> bool:
    """Tell whether the photos of a pack were decoded as here and now.

    Parameters
    ----------
    index : dict
        The pack's.
    wanted : PackFacts
        How they would be.

    Returns
    -------
    bool
        True where only the list of photos may differ.
    """
    like = {key: value for key, value in asdict(wanted).items() if key not in ("keys_sha256", "n_photos")}
    return {key: index["facts"].get(key) for key in like} == like


def rows_of(
    place: Path, index: dict[str, Any], keys: NDArray[np.uint64], wanted: PackFacts
) -> NDArray[np.int64] | None:
    """Find photos in a pack by their keys.

    Parameters
    ----------
    place : pathlib.Path
        The pack's folder, which holds its keys.
    index : dict
        The pack's.
    keys : ndarray of uint64, shape (n_photos, 2)
        The photos.
    wanted : PackFacts
        Theirs.

    Returns
    -------
    ndarray of int64 or None
        Their rows in the pack; None where it lacks one.
    """
    if index["facts"] == asdict(wanted):
        return np.arange(len(keys))
    stored = np.load(place / KEYS, allow_pickle=False)
    if stored.shape != (index["facts"]["n_photos"], KEY_WORDS) or not len(stored):
        return None
    order = np.argsort(stored[:, 0], kind="stable")
    rows = order[np.searchsorted(stored[:, 0], keys[:, 0], sorter=order).clip(max=len(stored) - 1)]
    without = (keys == UNREADABLE).all(axis=1)
    return rows if ((stored[rows] == keys).all(axis=1) | without).all() else None


def _packs(folder: Path, wanted: PackFacts) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the packs that were decoded as here and now, the one of the very list first."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for name in sorted(names, key=lambda name: name != wanted.name):
        index = read_index(folder / name) if name.startswith("photos-") else None
        if index is not None and decoded_alike(index, wanted):
            yield folder / name, index
