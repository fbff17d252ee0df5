"""Files that are either complete or absent: every write of the package goes through here.

A file is written under a temporary name in its own folder, flushed, synced and renamed, so a process killed at any
moment leaves at its final name the old file, the new file or none, never a part. Nothing but a regular file is ever
replaced, and links are not followed. Folders of several files get their index last: without it they are nothing; see
`stacking.files.output_folder`.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    pass

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

_TEMP_NAME = re.compile(r"\.tmp-[0-9a-f]{16}")
_PROBE = "probe"  # what `check_writable` creates and removes; a name of its own, so that it is swept alone
SPARE_BYTES = 2**20
"""Kept free next to what is written, for manifests, journals and folders; a disk with less counts as full. A choice."""


class OutputRefusedError(FileExistsError, ValueError):
    """An output would take the place of something that is not ours, or that was not to be replaced."""


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str], *, replace: bool = True, sync: bool = True) -> Iterator[BinaryIO]:
    """
    Open a file that appears under its name only when it is complete.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    replace : bool, default=True
        Whether a file already there is replaced at the end.
    sync : bool, default=True
        Whether the file is also safe from a power cut; many small files are written faster without.

    Yields
    ------
    file object
        A binary file, readable and writable. After an exception nothing is left behind.

    Raises
    ------
    OutputRefusedError
        If a link or anything but a regular file is there, or a file that is not to be replaced.
    OSError
        If the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    check_regular(target)
    temporary = temporary_path(target.parent, target.name)
    try:
        with create_file(temporary) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            _bring_to_name(temporary, target, replace=replace)  # while the lock says that the file is in use
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OutputRefusedError):
            raise
        if isinstance(error, OSError) and (error.filename is None or _TEMP_NAME.fullmatch(Path(error.filename).name)):
            raise named_error(error, target) from error
        raise
    if sync:
        sync_folder(target.parent)


def _bring_to_name(temporary: Path, target: Path, *, replace: bool) -> None:
    """Rename a complete file; without `replace` the name must be free at this very moment."""
    check_regular(target)
    if replace:
        temporary.replace(target)
        return
    try:
        target.hardlink_to(temporary)
    except FileExistsError as error:
        raise OutputRefusedError(f"{target} has come to be meanwhile: choose another name.") from error
    except OSError:  # a file system without hard links
        temporary.replace(target)
    else:
        temporary.unlink()


def check_regular(path: str | os.PathLike[str]) -> None:
    """
    Refuse a path where something else than a regular file is: a link, a folder, a device, a pipe, a socket.

    Parameters
    ----------
    path : path-like
        Where a file is to be written; nothing need be there.

    Raises
    ------
    OutputRefusedError
        If it is there and no regular file; links are refused, not followed.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(mode):
        return
    place = os.fspath(path)
    if stat.S_ISLNK(mode):
        raise OutputRefusedError(
            f"{place} is a link to {Path(path).readlink()}: links are not followed; give the file itself, or remove "
            "the link."
        )
    kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
    raise OutputRefusedError(f"{place} must be a regular file or not there: it is {kind}; choose another name.")


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes, *, replace: bool = True, sync: bool = True) -> None:
    """
    Write bytes so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    data : bytes
        The contents.
    replace, sync : bool, default=True
        See `atomic_writer`.
    """
    with atomic_writer(path, replace=replace, sync=sync) as file:
        file.write(data)


def atomic_write_text(path: str | os.PathLike[str], text: str, *, replace: bool = True) -> None:
    """
    Write text as UTF-8 so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    text : str
        The contents; line ends are written as they are.
    replace : bool, default=True
        See `atomic_writer`.
    """
    atomic_write_bytes(path, text.encode("utf-8"), replace=replace)


def atomic_write_json(path: str | os.PathLike[str], value: Any, *, replace: bool = True) -> None:
    """
    Write JSON so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    value : object
        Dicts, lists, strings, finite numbers, booleans and None; numpy scalars and arrays and paths are converted.
    replace : bool, default=True
        See `atomic_writer`.

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
    atomic_write_text(path, text + "\n", replace=replace)


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


def atomic_write_npz(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to one uncompressed ``.npz`` file: complete or not at all.

    Parameters
    ----------
    path : path-like
        The file.
    arrays : mapping of str to ndarray
        Arrays by name; of numbers or text, no objects.

    Raises
    ------
    ValueError
        If an array holds Python objects.
    """
    for name, array in arrays.items():  # savez's own allow_pickle came with numpy 2.1: before, it is one array more
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"array {name!r} must hold numbers or text: got Python objects.")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its flag allow_pickle is not among them
    atomic_write_bytes(path, buffer.getvalue())


def temporary_path(folder: Path, name: str | None = None) -> Path:
    """
    Make up a name for an unfinished file.

    Parameters
    ----------
    folder : Path
        Where the finished file will be, so that renaming stays within one file system.
    name : str, optional
        Name of the finished file; half of the temporary one is taken from it, so that it can be swept alone.

    Returns
    -------
    Path
        A name that `sweep_stale_temps` recognizes; short, so that long final names work.
    """
    return folder / f".tmp-{secrets.token_hex(8) if name is None else _half_name(name) + secrets.token_hex(4)}"


def is_temporary_name(name: str) -> bool:
    """
    Tell whether a name is one that `temporary_path` makes up.

    Parameters
    ----------
    name : str
        Name of a file or folder, without its parents.

    Returns
    -------
    bool
        True for ``.tmp-`` and 16 hexadecimal digits.
    """
    return _TEMP_NAME.fullmatch(name) is not None


def _half_name(name: str) -> str:
    """Return eight hexadecimal digits of a file's name."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


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
        file = path.open("x+b")
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise type(error)(error.errno, f"cannot write into the folder: {reason}", str(path.parent)) from error
    if fcntl is not None:  # so that no one sweeps it while it is written
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


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


def sweep_stale_temps(folder: str | os.PathLike[str], name: str | None = None) -> list[Path]:
    """
    Remove what killed runs left under temporary names.

    Call it while holding the folder's `run_lock`, or for the name of one file: files that a live process is writing are
    known by a lock of theirs, folders are not.

    Parameters
    ----------
    folder : path-like
        Where to look; it need not exist.
    name : str, optional
        Sweep only unfinished files of this name, in the folder itself; else all files and folders, in all sub-folders.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed: list[Path] = []
    if name is not None:
        for path in Path(folder).glob(f".tmp-{_half_name(name)}*") if Path(folder).is_dir() else ():
            removed += _remove_stale(path)
        return removed
    for parent, folders, names in os.walk(folder):
        for inner in [inner for inner in folders if is_temporary_name(inner)]:
            folders.remove(inner)
            if not Path(parent, inner).is_symlink():
                shutil.rmtree(Path(parent, inner), ignore_errors=True)
                removed.append(Path(parent, inner))
        for file in names:
            removed += _remove_stale(Path(parent, file))
    return removed


def _remove_stale(path: Path) -> list[Path]:
    """Remove an unfinished file, unless it is being written."""
    if not is_temporary_name(path.name):
        return []
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return []
        with path.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # in use, or gone
        return []
    return [path]


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
            raise OSError(error.errno, text, str(_final(Path(str(getattr(file, "name", "")))))) from error
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
    sweep_stale_temps(place, _PROBE)  # of a run that was killed at this very place
    probe = temporary_path(place, _PROBE)
    try:
        create_file(probe).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"the output folder cannot be written: {os.strerror(error.errno)}; free some space"
            raise OSError(error.errno, text, str(place)) from error
        raise PermissionError(error.errno, "the output folder cannot be written: choose another", str(place)) from error
    probe.unlink(missing_ok=True)
    free, needed = shutil.disk_usage(place).free, n_bytes + SPARE_BYTES
    if free < needed:
        sizes = f"{_size(needed)} needed, {_size(free, down=True)} free"
        text = f"too little space: {sizes}; free some or choose another disk"
        raise OSError(errno.ENOSPC, text, str(place))


def named_error(error: OSError, path: Path) -> OSError:
    """
    Name the file that could not be written, by the name that it was to have.

    Parameters
    ----------
    error : OSError
        What happened; numpy reports a full disk without a number.
    path : Path
        Where the file was to be written, perhaps in a temporary folder.

    Returns
    -------
    OSError
        With the file's name and what to do.
    """
    target = _final(path)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as gone:
        return FileNotFoundError(gone.errno, "cannot be written: its folder is gone", str(target))
    number = error.errno or (errno.ENOSPC if free < SPARE_BYTES else errno.EIO)
    advice = "; free some space and run the same command again" if number == errno.ENOSPC else ""
    return OSError(number, f"cannot be written: {os.strerror(number)}{advice}", str(target))


def _final(path: Path) -> Path:
    """Return the name that a file in a temporary folder is to have."""
    return Path(*(part for part in path.parts if not is_temporary_name(part)))


def _plain(value: Any) -> Any:
    """Convert numpy values and paths for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"value must be plain JSON: got {type(value).__name__}; convert it first.")


def _size(n_bytes: int, *, down: bool = False) -> str:
    """Write a number of bytes for people: what is needed rounded up, what is free rounded down."""
    unit, name = (2**30, "GiB") if n_bytes >= 2**30 else (2**20, "MiB")
    tenths = n_bytes * 10 // unit if down else -(-n_bytes * 10 // unit)
    return f"{tenths / 10:.1f} {name}"
