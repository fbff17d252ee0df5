"""Files that are either complete or absent: every write of the package goes through here.

A file is written under a temporary name in its own folder, flushed, synced and renamed, so a process killed at any
moment leaves at its final name the old file, the new file or none, never a part. Folders of several files get their
index last: without it they are nothing.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_TEMP_NAME = re.compile(r"\.tmp-[0-9a-f]{16}")
LOCK_NAME = ".lock"
SPARE_BYTES = 2**20


class FolderInUseError(OSError):
    """Another run holds the lock of a folder."""


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """
    Open a file that appears under its name only when it is complete.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist. A file already there is replaced at the end.

    Yields
    ------
    file object
        A binary file, readable and writable. After an exception nothing is left behind.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = temporary_path(target.parent)
    try:
        with create_file(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and (error.filename is None or _TEMP_NAME.fullmatch(Path(error.filename).name)):
            raise _named(error, target) from error
        raise
    sync_folder(target.parent)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """
    Write bytes so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    data : bytes
        The contents.
    """
    with atomic_writer(path) as file:
        file.write(data)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """
    Write text as UTF-8 so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    text : str
        The contents; line ends are written as they are.
    """
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | os.PathLike[str], value: Any) -> None:
    """
    Write JSON so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    value : object
        Dicts, lists, strings, finite numbers, booleans and None; numpy scalars and arrays and paths are converted.

    Raises
    ------
    TypeError
        If something else is in it.
    ValueError
        If it holds NaN or infinity, which JSON does not have.
    """
    try:
        text = json.dumps(value, indent=1, allow_nan=False, default=_plain)
    except ValueError as error:
        raise ValueError(
            f"{Path(path).name}: JSON holds neither NaN nor infinity: write None instead ({error})."
        ) from error
    atomic_write_text(path, text + "\n")


def atomic_write_npy(path: str | os.PathLike[str], array: npt.ArrayLike) -> None:
    """
    Write one array as ``.npy`` so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    array : array-like
        Numbers, booleans or strings.

    Raises
    ------
    TypeError
        If it would need pickle (dtype object).
    """
    values = np.asanyarray(array)
    if values.dtype.hasobject:
        raise TypeError(f"array must hold numbers or strings: got dtype {values.dtype}; convert it with astype first.")
    with atomic_writer(path) as file:
        np.lib.format.write_array(file, values, allow_pickle=False)


def temporary_path(folder: Path) -> Path:
    """
    Make up a name for an unfinished file.

    Parameters
    ----------
    folder : Path
        Where the finished file will be, so that renaming stays within one file system.

    Returns
    -------
    Path
        A name that `sweep_stale_temps` recognises; short, so that long final names work.
    """
    return folder / f".tmp-{secrets.token_hex(8)}"


def create_file(path: Path) -> BinaryIO:
    """
    Create a file that must not exist yet, with the permissions that the user's umask gives.

    Parameters
    ----------
    path : Path
        Its name.

    Returns
    -------
    file object
        Open for reading and writing bytes.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written.
    """
    try:
        return path.open("x+b")
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise type(error)(error.errno, f"cannot write into the folder: {reason}", str(path.parent)) from error


def sync_folder(folder: Path) -> None:
    """
    Make renames in a folder survive a power cut.

    Parameters
    ----------
    folder : Path
        An existing folder; systems that cannot sync folders are left alone.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep_stale_temps(folder: str | os.PathLike[str]) -> list[Path]:
    """
    Remove what killed runs left under temporary names, in all sub-folders.

    Call it while holding the folder's `run_lock`: temporary files of a live run look the same.

    Parameters
    ----------
    folder : path-like
        Where to look; it need not exist.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for parent, _, names in os.walk(folder):
        for name in names:
            if _TEMP_NAME.fullmatch(name):
                path = Path(parent, name)
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def sha256_file(path: str | os.PathLike[str]) -> str:
    """
    Hash a file's contents.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def preallocate(file: BinaryIO, n_bytes: int) -> None:
    """
    Reserve space for a file, so that a full disk is an error now and not in the middle of the work.

    Parameters
    ----------
    file : file object
        Open for writing.
    n_bytes : int
        Its final size in bytes.

    Raises
    ------
    OSError
        If the disk does not have that much space.
    """
    try:
        if hasattr(os, "posix_fallocate") and n_bytes:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            text = f"cannot reserve {_size(n_bytes)}: {os.strerror(error.errno or errno.EIO)}; free some space"
            raise OSError(error.errno, text, str(getattr(file, "name", ""))) from error
    os.ftruncate(file.fileno(), n_bytes)


def check_writable(folder: str | os.PathLike[str], n_bytes: int = 0) -> None:
    """
    Check before work starts that a folder can be written and has enough space.

    Parameters
    ----------
    folder : path-like
        The folder that will be written; where it does not exist, its nearest existing parent is checked. Nothing is
        created.
    n_bytes : int, default=0
        How much will be written, in bytes.

    Raises
    ------
    OSError
        If the folder is a file, is read-only, or its disk has too little space.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, "the output must be a folder: this is a file, choose another", str(place)
        )
    probe = temporary_path(place)
    try:
        create_file(probe).close()
    except OSError as error:
        raise PermissionError(error.errno, "the output folder cannot be written: choose another", str(place)) from error
    probe.unlink(missing_ok=True)
    free = shutil.disk_usage(place).free
    if free < n_bytes + SPARE_BYTES:
        text = f"too little space: {_size(n_bytes)} needed, {_size(free)} free; free some or choose another disk"
        raise OSError(errno.ENOSPC, text, str(place))


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """
    Hold a folder for one run; a second run on it is refused at once.

    Parameters
    ----------
    folder : path-like
        The folder, created where it does not exist. It gets a small file ``.lock``; the operating system releases the
        lock when the process ends, however it ends.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    FolderInUseError
        If another run holds the folder.
    OSError
        If the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    place = Path(folder)
    check_writable(place)
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        text = "another run is working in this folder: wait for it to end, or choose another folder"
        raise FolderInUseError(errno.EBUSY, text, str(place)) from error
    try:
        yield
    finally:
        lock.release()


def _named(error: OSError, target: Path) -> OSError:
    """Name the file that could not be written; numpy reports a full disk without a number."""
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as gone:
        return FileNotFoundError(gone.errno, "cannot be written: its folder is gone", str(target))
    number = error.errno or (errno.ENOSPC if free < SPARE_BYTES else errno.EIO)
    advice = "; free some space and run the same command again" if number == errno.ENOSPC else ""
    return OSError(number, f"cannot be written: {os.strerror(number)}{advice}", str(target))


def _plain(value: Any) -> Any:
    """Convert numpy values and paths for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"value must be plain JSON: got {type(value).__name__}; convert it first.")


def _size(n_bytes: int) -> str:
    """Write a number of bytes for people."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
