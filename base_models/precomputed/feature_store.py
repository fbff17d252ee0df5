"""The features of one frozen body for one list of photos, on disk: one ``.npy`` matrix per variant of the photos.

``photos.npy`` holds a row for every photo, ``mirrored.npy`` one for every mirror image, where they are wanted. Space
is reserved before work starts, so a full disk is an error at once. Rows are written chunk by chunk into ``.part``
files beside a ledger of hashes, so that a killed process loses one chunk at most; ``index.json`` is written last and
holds the SHA-256 of the files: what it does not name is not there. Files are read by plain reads, never mapped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_json,
    check_regular,
    is_temporary_name,
    preallocate,
    sha256_file,
    sweep_stale_temps,
    sync_folder,
)
from stacking.files.ending import run_all
from stacking.files.output_rules import check_folder
from stacking.files.run_lock import LOCK_NAME, run_lock
from stacking.files.untrusted import read_json
from stacking.predictions.forms.matrix_files import MatrixFile, header_bytes
from stacking.predictions.forms.store import write_at

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1  # raised when earlier versions could not read the folder
CHUNK_ROWS = 512  # what a killed process loses at most; only speed depends on it
VARIANTS = ("photos", "mirrored")
INDEX, LEDGER = "index.json", "progress.json"


@dataclass(frozen=True)
class FeatureMetadata:
    """Everything that decides what is in a store.

    Parameters
    ----------
    network : str
        Name of the network.
    body_sha256 : str
        Hash of the body's tensors.
    size : int
        Side of the photos in pixels.
    mean, std : tuple of float
        The network's normalization.
    precision : {"float32", "bfloat16"}
        Arithmetic of the body.
    needs : {"pooled", "feature_map"}
        What is kept of the body's answer.
    dtype : {"float32", "float16"}
        Type on disk.
    photos_sha256 : str
        Hash of the photos' ids and sizes in bytes, in the order of the rows.
    n_photos : int
        Rows.
    n_channels, n_places : int
        A row holds channels × places, the places of one channel together; pooled features have one place.
    """

    network: str
    body_sha256: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: str
    needs: str
    dtype: str
    photos_sha256: str
    n_photos: int
    n_channels: int
    n_places: int

    @property
    def name(self) -> str:
        """Return the name of the store's folder: network, size and the beginning of a hash over all fields."""
        text = json.dumps([SCHEMA_VERSION, dataclasses.asdict(self)], sort_keys=True)
        network = "".join(c if c.isalnum() or c in "_-." else "-" for c in self.network)
        return f"{network}-{self.size}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def n_columns(self) -> int:
        """Return the numbers in a row: channels × places."""
        return self.n_channels * self.n_places

    def n_bytes(self, n_variants: int = 1) -> int:
        """Return the size of the store.

        Parameters
        ----------
        n_variants : int
            1, or 2 with mirror images.

        Returns
        -------
        int
            Bytes.
        """
        return n_variants * self.n_photos * self.n_columns * np.dtype(self.dtype).itemsize


def read_index(folder: Path, metadata: FeatureMetadata) -> dict[str, Any] | None:
    """Read the index of a store.

    Parameters
    ----------
    folder : pathlib.Path
        The store's folder; it need not exist.
    metadata : FeatureMetadata
        What it must hold.

    Returns
    -------
    dict or None
        None where no variant is complete yet.

    Raises
    ------
    ValueError
        If the index belongs to something else.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    index = read_json(path, f"the feature store's {path}")
    if index.get("schema_version") != SCHEMA_VERSION or index.get("facts") != _plain(metadata):
        raise ValueError(f"a feature store must belong to its network and photos: {path} does not; delete {folder}.")
    return index


def open_matrices(folder: Path, index: dict[str, Any], variants: Sequence[str]) -> list[MatrixFile]:
    """Open the matrices of a store after checking their hashes.

    Parameters
    ----------
    folder : pathlib.Path
        The store's folder.
    index : dict
        As ``read_index`` gave it.
    variants : sequence of {"photos", "mirrored"}
        Which to open.

    Returns
    -------
    list of MatrixFile
        One per variant.

    Raises
    ------
    ValueError
        If a file is missing or damaged.
    """
    for variant in variants:
        path = folder / f"{variant}.npy"
        if not path.is_file() or sha256_file(path) != index["files"][path.name]:
            raise ValueError(
                f"a feature store must be whole: {path} is missing or damaged; delete {folder} to compute it again."
            )
    return [MatrixFile.open(folder / f"{variant}.npy") for variant in variants]


@contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """Hold a store for writing; a second process waits until the first is done.

    Parameters
    ----------
    folder : pathlib.Path
        The store's folder, created where it does not exist.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    OutputRefusedError
        If the folder holds something else, or is a link.
    OSError
        If the folder cannot be written.
    """
    _check_folder(folder)
    waiting = "%s: waiting for another process that computes these features"
    with run_lock(folder, wait=lambda: logger.info(waiting, folder)):
        _check_folder(folder)
        yield


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds what no store does; the hash in its own name says whose the rest is."""
    check_folder(folder, "the folder of a feature store")
    own = {INDEX, LEDGER, LOCK_NAME, *(f"{variant}.npy{end}" for variant in VARIANTS for end in ("", ".part"))}
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        if name not in own and not is_temporary_name(name):
            raise OutputRefusedError(f"{folder} must hold nothing but features: it holds {name!r}; move that.")
        check_regular(folder / name)


class FeatureWriter:
    """Fill the files of a store chunk by chunk, going on with what an earlier process wrote.

    Parameters
    ----------
    folder : pathlib.Path
        The store's folder, whose lock is held.
    metadata : FeatureMetadata
        What it will hold.
    variants : sequence of {"photos", "mirrored"}
        Which variants to write; none that the index already names.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk has too little space.
    """

    def __init__(self, folder: Path, metadata: FeatureMetadata, variants: Sequence[str]) -> None:
        self.folder, self.metadata = folder, metadata
        self._header = header_bytes((metadata.n_photos, metadata.n_columns), np.dtype(metadata.dtype))
        self._files: dict[str, BinaryIO] = {}
        sweep_stale_temps(folder)
        ledger = self._read_ledger()
        self.unreadable: dict[int, str] = {int(row): reason for row, reason in ledger.get("unreadable", {}).items()}
        self._chunks: dict[str, list[str]] = {name: list(chunks) for name, chunks in ledger.get("chunks", {}).items()}
        try:
            for variant in variants:
                self._files[variant] = self._reserve(variant)
                self._chunks[variant] = self._intact_chunks(variant)
        except BaseException as error:
            reserved_for_nothing = [variant for variant in variants if not self._chunks.get(variant)]
            parts = [folder / f"{variant}.npy.part" for variant in reserved_for_nothing]
            run_all(self.close, *(partial(part.unlink, missing_ok=True) for part in parts), after=error)
            raise

    def n_done(self, variant: str) -> int:
        """Return how many chunks of a variant are there.

        Parameters
        ----------
        variant : {"photos", "mirrored"}
            The variant.

        Returns
        -------
        int
            The first chunk to write.
        """
        return len(self._chunks[variant])

    def write(self, blocks: dict[str, NDArray[Any]], chunk: int, unreadable: dict[int, str]) -> None:
        """Write one chunk of some variants and note it in the ledger.

        Parameters
        ----------
        blocks : dict of str to ndarray of shape (n_rows, n_columns)
            Features by variant.
        chunk : int
            Number of the chunk; a variant's chunks come in their order.
        unreadable : dict of int to str
            Photos of the chunk that could not be read, by row, and why.

        Raises
        ------
        ValueError
            If a feature is not finite in the store's type.
        """
        for variant, block in blocks.items():
            with np.errstate(over="ignore"):
                stored = np.ascontiguousarray(block, dtype=self.metadata.dtype)
            if not np.isfinite(stored).all():
                raise ValueError(
                    f"features of {self.metadata.network} must be finite in {self.metadata.dtype}: some are not; "
                    + ("use feature_dtype 'float32'." if self.metadata.dtype == "float16" else "check its weights.")
                )
            write_at(self._files[variant].fileno(), stored, self._offset(chunk))
            os.fsync(self._files[variant].fileno())
            self._chunks[variant].append(hashlib.sha256(stored.tobytes()).hexdigest())
        self.unreadable.update(unreadable)
        ledger = {"facts": _plain(self.metadata), "chunks": self._chunks, "unreadable": self.unreadable}
        atomic_write_json(self.folder / LEDGER, ledger)

    def commit(self, **described: Any) -> None:
        """Give the files their names and write the index.

        Parameters
        ----------
        **described : JSON values
            What else to record: the weights, versions, cost.
        """
        known = read_index(self.folder, self.metadata) or {"files": {}, "unreadable": {}}
        names = {variant: f"{variant}.npy" for variant in self._files}
        self.close()
        for name in names.values():
            (self.folder / f"{name}.part").replace(self.folder / name)
        sync_folder(self.folder)
        files = {**known["files"], **{name: sha256_file(self.folder / name) for name in names.values()}}
        unreadable = {**known["unreadable"], **{str(row): reason for row, reason in self.unreadable.items()}}
        index = {"schema_version": SCHEMA_VERSION, "kind": "features", "facts": _plain(self.metadata), "files": files}
        atomic_write_json(self.folder / INDEX, {**index, "unreadable": unreadable, **described})
        (self.folder / LEDGER).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what was written stays for the next process."""
        files, self._files = self._files, {}
        run_all(*(file.close for file in files.values()))

    def _read_ledger(self) -> dict[str, Any]:
        """Read what an earlier process finished."""
        path = self.folder / LEDGER
        ledger = read_json(path, f"the feature store's {path}") if path.is_file() else {}
        return ledger if ledger.get("facts") == _plain(self.metadata) else {}

    def _reserve(self, variant: str) -> BinaryIO:
        """Open the unfinished file of a variant at its full size."""
        path, final = self.folder / f"{variant}.npy.part", self.folder / f"{variant}.npy"
        if not path.exists() and final.exists():  # renamed, and killed before the index was written
            final.replace(path)
        file = path.open("r+b" if path.exists() else "w+b")
        try:
            preallocate(file, self._offset(0) + self.metadata.n_bytes())
            write_at(file.fileno(), np.frombuffer(self._header, np.uint8), 0)
        except BaseException as error:
            run_all(file.close, after=error)
            raise
        return file

    def _intact_chunks(self, variant: str) -> list[str]:
        """Return the hashes of the chunks that the ledger names, as far as the file agrees."""
        intact: list[str] = []
        descriptor = self._files[variant].fileno()
        for chunk, digest in enumerate(self._chunks.get(variant, [])):
            start, stop = self._offset(chunk), self._offset(chunk + 1)
            if hashlib.sha256(os.pread(descriptor, stop - start, start)).hexdigest() != digest:
                break
            intact.append(digest)
        return intact

    def _offset(self, chunk: int) -> int:
        """Return where a chunk begins, in bytes; the one after the last begins at the end."""
        rows = min(chunk * CHUNK_ROWS, self.metadata.n_photos)
        return len(self._header) + rows * self.metadata.n_columns * np.dtype(self.metadata.dtype).itemsize


def _plain(metadata: FeatureMetadata) -> dict[str, Any]:
    """Return them as JSON gives them back: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(metadata)))
    return plain
