"""Decode photos once into a pack, in several processes; a killed call loses a few blocks, and the next one goes on.

Space is reserved before work starts. Each process decodes a block of photos at all sizes, writes it into its place in
the unfinished files, ``64px.npy.part``, and answers with its hash; a ledger of these says what is done. Which process
wrote a block, and how often the work was interrupted, changes no byte.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from base_models.manifest.manifest import PhotoSource
from base_models.packed.photo_pack import (
    BLOCK_PHOTOS,
    INDEX,
    KEYS,
    MARKER,
    PACKS,
    SCHEMA_VERSION,
    PackedPhotos,
    PackFacts,
    array_header,
    array_name,
    block_span,
    file_key,
    find_packed,
    hash_block,
    read_index,
    read_keys,
)
from base_models.packed.remote_packs import check_packs, fetch_packs, mirror_of, put_pack
from base_models.photos.decoding import UnreadablePhotoError, decode_photo, letterbox
from base_models.photos.worker_end import end_quietly
from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_json,
    atomic_write_npy,
    check_regular,
    check_writable,
    is_temporary_name,
    preallocate,
    sweep_stale_temps,
    sync_folder,
)
from stacking.files.ending import ending_with, run_all
from stacking.files.output_rules import check_folder, check_work_folder, url_of
from stacking.files.remote import path_of
from stacking.files.run_lock import run_lock
from stacking.files.untrusted import read_json
from stacking.predictions.forms.store import write_at
from stacking.process.child_processes import safe_path
from stacking.process.memory import GIB
from stacking.process.processors import usable_processors

logger = logging.getLogger(__name__)

_ARRAY = re.compile(r"[1-9][0-9]{0,3}px\.npy(\.part)?")
LEDGER = "progress.json"
AUTO_WORKERS = -1  # as recipes and the command line say it
SECONDS_BETWEEN_LEDGERS = 2.0  # what a killed call decodes again at most; only speed depends on it
BLOCKS_WORTH_A_PROCESS = 8  # a process takes as long to start as a thousand small photos to decode; a choice
SMALLEST, LARGEST = 8, 4096  # pixels: no network takes less, none of today's more


@dataclass(frozen=True)
class PackOptions:
    """How photos are packed; none of it changes a byte.

    Parameters
    ----------
    n_workers : int
        Processes that decode; -1 starts one per processor where there is enough to do, 0 none.
    most_bytes : int, optional
        Space that what is not packed yet may take.
    waits : bool
        Whether to wait for another process that packs in the same folder, instead of an error.
    """

    n_workers: int = AUTO_WORKERS
    most_bytes: int | None = None
    waits: bool = True


def pack_photos(
    ids: NDArray[np.str_],
    photos: PhotoSource,
    sizes: Sequence[int],
    folder: str | Path,
    options: PackOptions | None = None,
    *,
    on_photos: Callable[[int], None] | None = None,
) -> dict[int, PackedPhotos]:
    """Find photos that are packed already, and pack those that are not.

    Parameters
    ----------
    ids : ndarray of str, shape (n_photos,)
        The photos' names.
    photos : PhotoSource
        Their files.
    sizes : sequence of int
        Sides of the squares in pixels.
    folder : str or pathlib.Path
        Where packs are kept; new, empty, or one of packs. Those at a URL that fsspec knows, ``s3://bucket/photos``,
        are read and written in a mirror on this machine, see :mod:`base_models.packed.remote_packs`.
    options : PackOptions, optional
        Processes and limits.
    on_photos : callable, optional
        Called with the number of photos decoded so far, now and then.

    Returns
    -------
    dict of int to PackedPhotos
        The photos by size, in their order. Those that cannot be read are white, and named in ``failures``. A size that
        would take more than is allowed is left out, and a warning logged.

    Raises
    ------
    ValueError
        If a size is out of bounds, or photos change meanwhile.
    OutputRefusedError
        If the folder holds something else.
    OSError
        If it is in use and nobody is to wait, cannot be written, or has too little space; nothing was decoded then.
    """
    for size in sizes:
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"sizes of packed photos must lie between {SMALLEST} and {LARGEST} pixels: got {size}.")
    options = options or PackOptions()
    here = path_of(folder)
    url = str(url_of(folder)) if here is None else ""
    folder = mirror_of(url) if here is None else here
    check_work_folder(folder, PACKS)
    if url:
        check_packs(url)
    n_threads = usable_processors() if options.n_workers == AUTO_WORKERS else options.n_workers
    keys, unreadable = read_keys(photos, n_threads)
    if url:
        with _packs_lock(folder, waits=True):
            fetch_packs(url, folder, keys, sorted(set(sizes)))
    find = partial(find_packed, folder, ids, keys, unreadable)
    found = {size: find(size) for size in sorted(set(sizes))}
    missing = [size for size, packed in found.items() if packed is None]
    facts = PackFacts.of(keys)
    if missing and options.most_bytes is not None and facts.n_bytes(missing) > options.most_bytes:
        _say_too_large(facts, missing, options.most_bytes)
        found, missing = {size: packed for size, packed in found.items() if packed is not None}, []
    if missing:
        with _packs_lock(folder, waits=options.waits):
            found |= {size: find(size) for size in missing}  # another process may have been faster
            if missing := [size for size, packed in found.items() if packed is None]:
                _write_pack(folder, ids, photos, keys, missing, options.n_workers, on_photos)
        found |= {size: find(size) for size in missing}
    if url:
        put_pack(url, folder / facts.name)
    lost = [size for size, packed in found.items() if packed is None]
    if lost:
        raise ValueError(f"packed photos must stay where they are: {folder} lost those of {lost[0]} pixels; run again.")
    return {size: packed for size, packed in found.items() if packed is not None}


def _say_too_large(facts: PackFacts, sizes: Sequence[int], most_bytes: int) -> None:
    """Say that photos stay unpacked; not where nothing was to be packed."""
    if most_bytes:
        logger.warning(
            "%s photos are not packed: at %s pixels they take %.2g GiB, more than the %.2g GiB allowed",
            f"{facts.n_photos:,}",
            ", ".join(map(str, sizes)),
            facts.n_bytes(sizes) / GIB,
            most_bytes / GIB,
        )


@contextmanager
def _packs_lock(folder: Path, *, waits: bool) -> Iterator[None]:
    """Hold a folder of packs for writing, and mark it as one."""

    def say() -> None:
        logger.info("%s: waiting for another process that packs photos here", folder)

    with run_lock(folder, wait=say if waits else None):
        check_work_folder(folder, PACKS)
        sweep_stale_temps(folder)
        if not (folder / MARKER).exists():
            atomic_write_json(folder / MARKER, {"kind": "packed photos", "schema_version": SCHEMA_VERSION})
        yield


def _write_pack(
    folder: Path,
    ids: NDArray[np.str_],
    photos: PhotoSource,
    keys: NDArray[np.uint64],
    sizes: list[int],
    n_workers: int,
    on_photos: Callable[[int], None] | None,
) -> None:
    """Decode what is not there yet."""
    place = folder / PackFacts.of(keys).name
    writer = PackWriter(place, keys, sizes)
    with ending_with(writer.close):
        todo = writer.blocks_to_do()
        decoder = _BlockDecoder(place, ids, photos, keys, sizes)
        if n_workers == AUTO_WORKERS:
            n_workers = min(usable_processors(), len(todo) // BLOCKS_WORTH_A_PROCESS)
            n_workers = 0 if n_workers == 1 else n_workers
        loader = DataLoader(decoder, batch_size=None, sampler=todo, num_workers=n_workers, worker_init_fn=end_quietly)
        n_done = len(keys) - sum(min(BLOCK_PHOTOS, len(keys) - block * BLOCK_PHOTOS) for block in todo)
        with safe_path():
            answers = iter(loader)
        for block, (hashes, reasons) in zip(todo, answers, strict=True):
            writer.note(block, hashes, reasons)
            n_done += min(BLOCK_PHOTOS, len(keys) - block * BLOCK_PHOTOS)
            if on_photos is not None:
                on_photos(n_done)
        writer.commit()


class PackWriter:
    """Keep the files of a pack's missing sizes, going on with what an earlier process wrote.

    Parameters
    ----------
    folder : pathlib.Path
        The pack's folder; the folder of packs is locked.
    keys : ndarray of uint64, shape (n_photos, 2)
        The photos.
    sizes : sequence of int
        Sizes to write.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk has too little space.
    """

    def __init__(self, folder: Path, keys: NDArray[np.uint64], sizes: Sequence[int]) -> None:
        self.folder, self.keys, self.sizes = folder, keys, tuple(sizes)
        self.facts = PackFacts.of(keys)
        self._files: dict[int, BinaryIO] = {}
        check_pack_folder(folder)
        self._check_space()
        folder.mkdir(exist_ok=True)
        self.index = read_index(folder) or self._new_index()
        ledger = self._read_ledger()
        known = {size: ledger["sizes"].get(str(size)) or self.index["sizes"].get(str(size), []) for size in sizes}
        self.unreadable: dict[str, str] = {**self.index["unreadable"], **ledger["unreadable"]}
        if damaged := [size for size in self.sizes if str(size) in self.index["sizes"]]:
            for size in damaged:
                logger.warning("%s is damaged; what is lost is decoded again", folder / array_name(size))
                del self.index["sizes"][str(size)]
            atomic_write_json(folder / INDEX, self.index)
        self.hashes: dict[int, list[str]] = {}
        try:
            for size in self.sizes:
                self._files[size] = self._reserve(size)
                self.hashes[size] = self._intact_blocks(size, known[size])
        except BaseException as error:
            run_all(self.close, after=error)
            raise
        self._written = time.monotonic()

    @property
    def n_blocks(self) -> int:
        """Return the number of blocks."""
        return -(-self.facts.n_photos // BLOCK_PHOTOS)

    def blocks_to_do(self) -> list[int]:
        """Return the blocks that a size lacks.

        Returns
        -------
        list of int
            Ascending.
        """
        return [block for block in range(self.n_blocks) if not all(hashes[block] for hashes in self.hashes.values())]

    def note(self, block: int, hashes: dict[int, str], reasons: dict[int, str]) -> None:
        """Note that a block is written.

        Parameters
        ----------
        block : int
            Its number.
        hashes : dict of int to str
            SHA-256 by size.
        reasons : dict of int to str
            Photos of it that cannot be decoded, by row, and why.
        """
        for size, digest in hashes.items():
            self.hashes[size][block] = digest
        self.unreadable |= {str(row): reason for row, reason in reasons.items()}
        if time.monotonic() - self._written > SECONDS_BETWEEN_LEDGERS:
            sizes = {str(size): done for size, done in self.hashes.items()}
            facts = asdict(self.facts)
            atomic_write_json(self.folder / LEDGER, {"facts": facts, "sizes": sizes, "unreadable": self.unreadable})
            self._written = time.monotonic()

    def commit(self) -> None:
        """Give the files their names and write the index."""
        for file in self._files.values():
            os.fsync(file.fileno())
        self.close()
        for size in self.sizes:
            (self.folder / f"{array_name(size)}.part").replace(self.folder / array_name(size))
        atomic_write_npy(self.folder / KEYS, self.keys)
        sync_folder(self.folder)
        sizes = {**{int(size): hashes for size, hashes in self.index["sizes"].items()}, **self.hashes}
        self.index["sizes"] = {str(size): sizes[size] for size in sorted(sizes)}
        self.index["unreadable"] = dict(sorted(self.unreadable.items(), key=lambda entry: int(entry[0])))
        atomic_write_json(self.folder / INDEX, self.index)
        (self.folder / LEDGER).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what was written stays for the next process."""
        files, self._files = self._files, {}
        run_all(*(file.close for file in files.values()))

    def _new_index(self) -> dict[str, Any]:
        """Return the index of a pack without any size."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "packed photos",
            "facts": asdict(self.facts),
            "sizes": {},
            "unreadable": {},
        }

    def _check_space(self) -> None:
        """Name the space that is needed, and refuse a disk that has less."""
        parts = [self.folder / f"{array_name(size)}.part" for size in self.sizes]
        reserved = sum(part.stat().st_size for part in parts if part.is_file())
        needed = max(0, self.facts.n_bytes(self.sizes) - reserved)
        check_writable(self.folder, needed)
        logger.info(
            "%s photos are packed at %s pixels in %s: %.2f GiB",
            f"{self.facts.n_photos:,}",
            ", ".join(map(str, self.sizes)),
            self.folder,
            self.facts.n_bytes(self.sizes) / GIB,
        )

    def _read_ledger(self) -> dict[str, Any]:
        """Read what an earlier process finished."""
        path = self.folder / LEDGER
        ledger = read_json(path, f"the packed photos' {path}") if path.is_file() else {}
        return ledger if ledger.get("facts") == asdict(self.facts) else {"sizes": {}, "unreadable": {}}

    def _reserve(self, size: int) -> BinaryIO:
        """Open the unfinished file of a size at its full length."""
        final, header = self.folder / array_name(size), array_header(self.facts, size)
        path = self.folder / f"{array_name(size)}.part"
        if not path.exists() and final.exists():  # renamed, and killed before the index was written; or damaged
            final.replace(path)
        is_new = not path.exists()
        file = path.open("w+b" if is_new else "r+b")
        try:
            n_bytes = len(header) + self.facts.n_bytes([size])
            os.ftruncate(file.fileno(), min(n_bytes, os.fstat(file.fileno()).st_size))
            preallocate(file, n_bytes)
            write_at(file.fileno(), np.frombuffer(header, np.uint8), 0)
        except BaseException as error:
            run_all(file.close, *([partial(path.unlink, missing_ok=True)] if is_new else []), after=error)
            raise
        return file

    def _intact_blocks(self, size: int, hashes: list[str]) -> list[str]:
        """Return the hashes of the blocks that are written, as far as the file agrees; empty for the others."""
        hashes = hashes if len(hashes) == self.n_blocks else [""] * self.n_blocks
        descriptor = self._files[size].fileno()
        return [
            digest if digest and hash_block(descriptor, self.facts, size, block) == digest else ""
            for block, digest in enumerate(hashes)
        ]


class _BlockDecoder(Dataset[tuple[dict[int, str], dict[int, str]]]):
    """Decode one block of photos at all sizes into the unfinished files: all that a process needs to know."""

    def __init__(
        self,
        folder: Path,
        ids: NDArray[np.str_],
        photos: PhotoSource,
        keys: NDArray[np.uint64],
        sizes: Sequence[int],
    ) -> None:
        self.folder, self.ids, self.photos, self.keys, self.sizes = folder, ids, photos, keys, tuple(sizes)
        self.facts = PackFacts.of(keys)

    def __getitem__(self, block: int) -> tuple[dict[int, str], dict[int, str]]:
        """Return the hash by size, and by row why a photo could not be decoded."""
        rows = range(block * BLOCK_PHOTOS, min((block + 1) * BLOCK_PHOTOS, len(self.ids)))
        squares = {size: np.full((len(rows), size, size, 3), 255, np.uint8) for size in self.sizes}
        reasons: dict[int, str] = {}
        for place, row in enumerate(rows):
            try:
                data = self.photos.read_bytes(row)
            except UnreadablePhotoError:
                self._check_same(row, None)
                continue
            self._check_same(row, data)
            name = str(self.ids[row])
            try:
                found = {size: letterbox(decode_photo(data, name=name, at_least=size), size) for size in self.sizes}
            except (OSError, ValueError) as error:
                reasons[row] = (str(error) or type(error).__name__).removeprefix(f"{name}: ")
                continue
            for size, square in found.items():
                squares[size][place] = square
        for size, values in squares.items():
            with (self.folder / f"{array_name(size)}.part").open("r+b", buffering=0) as file:
                write_at(file.fileno(), values, block_span(self.facts, size, block)[0])
        return {size: hashlib.sha256(values.data).hexdigest() for size, values in squares.items()}, reasons

    def _check_same(self, row: int, data: bytes | None) -> None:
        """Refuse a file that has changed since its key was read."""
        found = np.zeros_like(self.keys[row]) if data is None else file_key(data)
        if not np.array_equal(found, self.keys[row]):
            raise ValueError(f"photos must not change while they are packed: {self.ids[row]} did; run again.")


def check_pack_folder(folder: Path) -> None:
    """Refuse a pack's folder that holds what no pack does; the hash in its own name says whose the rest is.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; it need not exist.

    Raises
    ------
    OutputRefusedError
        If there is something else in it.
    """
    check_folder(folder, "the folder of a pack")
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        own = path.name in (INDEX, LEDGER, KEYS) or _ARRAY.fullmatch(path.name)
        if not own and not is_temporary_name(path.name):
            raise OutputRefusedError(f"{folder} must hold only packed photos: it holds {path.name!r}; move that.")
        check_regular(path)
