"""Reading JSON and arrays that a stranger may have written: what they claim is checked before it costs anything.

Python objects are never loaded. A header that announces another size than its file has, an archive that unpacks to
hundreds of times its size, JSON nested thousands deep, a link in the place of a file: each is one `ValueError`.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from stacking.process.memory import check_memory

MOST_JSON_BYTES = 2**28
"""Our own files of 10,000 labels and 100 models are below 2**24."""
MOST_DEPTH = 64
"""Ours are nested nine deep (a blend of an average of searches)."""
MOST_MEMBERS = 10_000
"""Ours hold about a dozen arrays and what the user adds; a choice, against archives of millions of names."""
MOST_RATIO = 100
"""Truth of one positive in a hundred cells packs to a fortieth; deflate cannot pack closer than to a thousandth."""
SMALL_ARCHIVE = 2**26
"""An archive of no more bytes than this when unpacked harms nobody, whatever its ratio."""


@contextmanager
def damage_of(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong with a stranger's data in this block into one sentence.

    Parameters
    ----------
    what : str
        What is read, the beginning of the error: ``"ensemble /x"``.
    remedy : str
        What to do, its end.

    Yields
    ------
    None
        While it is read.

    Raises
    ------
    ValueError
        Instead of any other exception, such as the `KeyError` of a missing entry. Errors of the system (no such file,
        no permission) and missing packages stay what they are.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(what):
            raise
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(". ") or type(error).__name__
        raise ValueError(f"{what} is damaged ({reason}); {remedy}.") from error


def check_plain_file(path: Path, root: Path, what: str) -> None:
    """Check that a file of a folder is one, inside it, and reached without links.

    Parameters
    ----------
    path : Path
        The file.
    root : Path
        The folder; itself it may be a link.
    what : str
        What the folder is, the beginning of the error.

    Raises
    ------
    ValueError
        If it is missing, a link, below a link, or no regular file.
    """
    below = path.relative_to(root)
    steps = [root.joinpath(*below.parts[: depth + 1]) for depth in range(len(below.parts))]
    link = next((step for step in steps if step.is_symlink()), None)
    if link is not None or ".." in below.parts:
        raise ValueError(f"{what} must hold its files itself: {link or path} leads out of it; copy the file there.")
    if not path.is_file():
        raise ValueError(f"{what} lacks its file {below.as_posix()}: copy it again or write it again.")


def read_json(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Read a JSON file that must hold one object.

    Parameters
    ----------
    path : path-like
        The file, UTF-8.
    what : str
        What it is, the beginning of the error.

    Returns
    -------
    dict
        Its contents.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is larger than 256 MiB or `parse_json` refuses it.
    """
    size = Path(path).stat().st_size
    if size > MOST_JSON_BYTES:
        raise ValueError(f"{what} must have at most {MOST_JSON_BYTES} bytes of JSON: {path} has {size}.")
    return parse_json(Path(path).read_bytes(), what)


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """Parse JSON that must be one object.

    Parameters
    ----------
    data : bytes
        UTF-8, with or without a byte order mark.
    what : str
        What it is, the beginning of the error.

    Returns
    -------
    dict
        Its contents: no key twice in one object, no NaN, no lone surrogate, at most 64 levels.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> parse_json(b'{"a": [1]}', "the index")
    {'a': [1]}
    """
    try:
        text = data.decode("utf-8-sig")
        value = load_strictly(text)
        check_depth(value)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError(f"{what} is damaged: its JSON is nested deeper than {MOST_DEPTH} levels.") from error
    except UnicodeError as error:
        raise ValueError(f"{what} is damaged: it holds what is no UTF-8 text.") from error
    except ValueError as error:
        raise ValueError(f"{what} is damaged: it must be valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"{what} is damaged: it must be a JSON object, got {type(value).__name__}.")
    return value


def read_npy(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read one array from a ``.npy`` file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    ndarray
        In memory.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is damaged, holds Python objects, or is larger than the memory.
    """
    place = Path(path)
    size = place.stat().st_size
    with place.open("rb") as file:
        return _read_array(file, size, str(place))


def parse_npy(data: bytes, what: str) -> npt.NDArray[Any]:
    """Read one array from the bytes of a ``.npy`` file.

    Parameters
    ----------
    data : bytes
        The file's content.
    what : str
        What it is, the beginning of the error.

    Returns
    -------
    ndarray
        In memory.

    Raises
    ------
    ValueError
        If it is damaged or holds Python objects.
    """
    return _read_array(io.BytesIO(data), len(data), what)


def read_npz(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of a ``.npz`` file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to ndarray
        The arrays by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no ``.npz`` file, is damaged, unpacks to much more than it is, or holds Python objects.
    """
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{place} must be a .npz file: there is no such file.")
    try:
        with place.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not one, or was cut short")
            with zipfile.ZipFile(file) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
                _check_archive(entries, place)
                arrays = {}
                for entry in entries:
                    with archive.open(entry) as member:
                        name = entry.filename.removesuffix(".npy")
                        arrays[name] = _read_array(member, entry.file_size, f"array {name!r}")
                return arrays
    except Exception as error:  # zipfile and numpy's header parser raise almost anything on damage
        if isinstance(error, ValueError) and str(error).startswith(str(place)):
            raise
        raise ValueError(f"{place} must be an undamaged .npz file: {str(error) or type(error).__name__}.") from error


def check_unpacked_size(path: str | os.PathLike[str]) -> None:
    """Refuse a packed file that would unpack to much more than an honest one can hold; others are let through.

    Parameters
    ----------
    path : path-like
        Any file; only zip archives (``.npz``, PyTorch's ``.pth``) and gzip files are looked at.

    Raises
    ------
    ValueError
        If it unpacks to more than 64 MiB and 100 times its size, or to more than the memory.
    """
    place = Path(path)
    with place.open("rb") as file:
        start = file.read(4)
        if start.startswith(b"PK"):
            try:
                with zipfile.ZipFile(file) as archive:
                    entries = archive.infolist()
            except (zipfile.BadZipFile, ValueError, OSError, EOFError):
                return  # whoever reads it will say what is wrong
            _check_archive(entries, place)
    if start.startswith(b"\x1f\x8b"):
        _check_gzip(place)


def _check_gzip(place: Path) -> None:
    """Unpack a gzip file into nothing until it has become too large: its announced size can be any."""
    packed = max(1, place.stat().st_size)
    most = max(SMALL_ARCHIVE, MOST_RATIO * packed)
    unpacked = 0
    try:
        with gzip.open(place, "rb") as file:
            while piece := file.read(2**20):  # only memory depends on the size of a part
                unpacked += len(piece)
                if unpacked > most:
                    raise ValueError(_too_large(place, unpacked // packed, unpacked))
    except (OSError, EOFError, zlib.error):
        return  # whoever reads it will say what is wrong


def _too_large(place: Path, ratio: int, size: int) -> str:
    """Say why a bomb is not opened."""
    return (
        f"{place} would unpack to {ratio} times its size or more, {size / 2**20:,.0f} MiB, and is not opened: "
        "if it is yours, save it without compression."
    )


def _check_archive(entries: list[zipfile.ZipInfo], place: Path) -> None:
    """Refuse an archive that would unpack to more than it can honestly hold."""
    names = [entry.filename for entry in entries]
    if len(names) > MOST_MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"{place} must hold at most {MOST_MEMBERS} arrays, each once: got {len(names)}.")
    unpacked, packed = sum(entry.file_size for entry in entries), max(1, place.stat().st_size)
    if unpacked > SMALL_ARCHIVE and unpacked > MOST_RATIO * packed:
        raise ValueError(_too_large(place, unpacked // packed, unpacked))
    check_memory(unpacked, f"{place}", "pack its source into a store instead (labelstack pack)")


def read_npy_header(file: BinaryIO | Any, what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an array as numpy writes it.

    Parameters
    ----------
    file : binary file
        At the beginning of the array; left where its values begin.
    what : str
        What it is, the beginning of the error.

    Returns
    -------
    shape : tuple of int
        The array's shape, as it claims.
    by_column : bool
        True for Fortran order.
    dtype : numpy.dtype
        The values' type, as it claims.

    Raises
    ------
    ValueError
        If it is no header of version 1, 2 or 3.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = read(file)
    except Exception as error:  # numpy's header parser raises almost anything on damage
        reason = str(error) or type(error).__name__
        raise ValueError(f"{what} must be a .npy file written by numpy: {reason[:200]}") from error
    return shape, by_column, dtype


def _read_array(file: BinaryIO | Any, size: int, what: str) -> npt.NDArray[Any]:
    """Read an array whose header agrees with the size of its file."""
    shape, by_column, dtype = read_npy_header(file, what)
    if dtype.hasobject:
        raise ValueError(
            f"{what} holds Python objects, which are never loaded: save names with dtype str, scores with float32."
        )
    n_values, left = math.prod(shape), size - file.tell()
    if any(length < 0 for length in shape) or n_values * dtype.itemsize != left or not dtype.itemsize:
        raise ValueError(f"{what} is damaged: its header announces the shape {shape} of {dtype}, it has {left} bytes.")
    check_memory(left, what, "use a machine with more")
    array = np.empty(n_values, dtype)
    view = array.view(np.uint8).data if array.nbytes else memoryview(bytearray())
    done = 0
    while done < len(view):
        piece = file.read(min(2**24, len(view) - done))  # only memory depends on the size of a part
        if not piece:
            raise ValueError(f"{what} is damaged: it ends early; write it again.")
        view[done : done + len(piece)] = piece
        done += len(piece)
    return array.reshape(shape, order="F" if by_column else "C")


def load_strictly(text: str) -> Any:
    """Parse JSON of any kind, without what Python's parser lets pass.

    Parameters
    ----------
    text : str
        JSON.

    Returns
    -------
    object
        Its contents.

    Raises
    ------
    ValueError
        If it is no JSON, a key occurs twice in one object, where the last would win, or it holds NaN or an infinity.
    RecursionError
        If it is nested too deeply.

    Examples
    --------
    >>> load_strictly('{"7": "dress", "7": "shirt"}')
    Traceback (most recent call last):
    ValueError: the key '7' occurs twice in one object
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a key that occurs twice."""
    made = dict(items)
    if len(made) != len(items):
        seen: set[str] = set()
        twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:40]!r} occurs twice in one object")
    return made


def _no_constant(name: str) -> None:
    """Refuse what Python's parser takes and JSON does not have."""
    raise ValueError(f"{name} is no JSON value")


def check_depth(value: object) -> None:
    """Refuse what is nested deeper than recursive code can follow.

    Parameters
    ----------
    value : object
        Dicts and lists, as JSON and TOML are read.

    Raises
    ------
    RecursionError
        If it has more than 64 levels.
    """
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise RecursionError
