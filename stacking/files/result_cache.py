"""A cache of partial results of a long fit, so that a fit started again after a kill repeats at most one of them.

A result is named by the hash of all that it depends on: the arrays it is computed from, its settings, the versions of
what computes it. So a folder never answers for other data or settings, may serve several fits, and needs no record of
how far a fit had come. Each result is one npz file without pickle, complete or absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.files.atomic_files import atomic_write_npz, check_regular
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind
from stacking.files.plain_values import as_plain
from stacking.files.untrusted import read_npz

Arrays = dict[str, npt.NDArray[Any]]

FORMAT = "labelstack kept pieces"  # as version 0.1 wrote it: a fit that it began is gone on with
CACHE = ResultKind(
    "a cache of partial results", "pieces.json", lambda marker: () if marker.get("format") == FORMAT else None
)
_FOLDER: ContextVar[Path | None] = ContextVar("stacking_result_cache", default=None)


@contextmanager
def caching(folder: str | PathLike[str] | None) -> Iterator[None]:
    """Cache partial results of the fits in this block in a folder, and take from it those that are there.

    Parameters
    ----------
    folder : path-like or None
        Made if it is absent; else it must be empty or a cache of this kind. Delete it when the fit has been saved. None
        caches nothing.

    Yields
    ------
    None
        While the folder is in use.

    Raises
    ------
    FolderInUseError
        If another run uses the folder.
    OutputRefusedError
        If the folder holds something else, or is a link.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> with caching(None):
    ...     cache_folder() is None
    True
    """
    if folder is None:
        yield
        return
    place = Path(folder).absolute()
    with work_folder(place, CACHE, {"format": FORMAT}):
        token = _FOLDER.set(place)
        try:
            yield
        finally:
            _FOLDER.reset(token)


def cache_folder() -> Path | None:
    """Return the folder of the block that this code runs in.

    Returns
    -------
    Path or None
        None outside of `caching`. Jobs in other processes get the folder as an argument.
    """
    return _FOLDER.get()


def cache_key(*parts: Any) -> str:
    """Hash arrays and plain values.

    Parameters
    ----------
    *parts : ndarray, None, or JSON-able value
        What a result depends on, in a fixed order.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype.str}".encode())
            digest.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
        else:
            digest.update(json.dumps(part, sort_keys=True, default=as_plain).encode() + b"\0")
    return digest.hexdigest()


def cached(folder: Path | None, digest: str, compute: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> Arrays:
    """Return a cached result, or compute and cache it.

    Parameters
    ----------
    folder : Path or None
        The cache; None computes.
    digest : str
        The key of the result, as `cache_key` gives it.
    compute : callable
        Returns the result: arrays by name, of numbers or bytes.

    Returns
    -------
    dict of str to ndarray
        The result.

    Raises
    ------
    ValueError
        If the file of the result is damaged.
    """
    if folder is None:
        return dict(compute())
    path = folder / f"{digest}.npz"
    check_regular(path)
    if path.exists():
        try:
            return read_npz(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"the cached result {path} must be whole: it cannot be read; delete it.") from error
    arrays = dict(compute())
    atomic_write_npz(path, arrays)
    return arrays
