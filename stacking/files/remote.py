"""Results in an object store: ``s3://bucket/scores``, ``gs://…`` and whatever else fsspec has a file system for.

What is read there is copied to this machine once, whole, and read from the copy, which is mapped into memory as any
other file is. What is written there is written here first. A folder takes its new place by one file, its manifest,
which is put last and names the others; their names hold their hashes, so a reader finds the old result or the new one.
``file:///scores`` is the folder itself. Where no URL can be, the rules of `stacking.files.output_rules` refuse it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from stacking.files.atomic_files import OutputRefusedError, sha256_file, temporary_path
from stacking.files.output_rules import ResultKind, StrPath, check_name, url_of

CACHE_VARIABLE = "LABELSTACK_CACHE"
HASH_LETTERS = 16  # of a file's SHA-256 in its name: 64 bits, so that two contents of one result never share it
_HASHED = re.compile(rf"-[0-9a-f]{{{HASH_LETTERS}}}(\.[a-z]+)?$")


def path_of(path: StrPath) -> Path | None:
    """Return a path of this machine as it is, and the one that ``file:///…`` names.

    Parameters
    ----------
    path : path-like
        A path or URL.

    Returns
    -------
    Path or None
        None for what is in an object store.

    Examples
    --------
    >>> path_of("file:///scores") == Path("/scores"), path_of("s3://bucket/scores")
    (True, None)
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    scheme, _, rest = url.partition("://")
    return Path(rest) if scheme in ("file", "local") else None


def local_copy(path: StrPath, kind: ResultKind | None = None, what: str = "path") -> Path:
    """Return where the content of a path is on this machine; what is in an object store is copied first.

    Parameters
    ----------
    path : path-like
        A path, which is returned as it is, or a URL: of a file, or of a folder that holds a result.
    kind : ResultKind, optional
        What a folder may hold; without it only files are copied.
    what : str, default="path"
        What it holds, for errors.

    Returns
    -------
    Path
        The path itself, or the copy in the folder that ``LABELSTACK_CACHE`` names (``~/.cache/labelstack`` by default),
        from where a second call takes it while the original is unchanged.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If fsspec does not know such addresses, or the folder holds something else.
    ImportError
        If the package that reaches them is not installed.
    OSError
        If it cannot be read.
    """
    if (here := path_of(path)) is not None:
        return here
    url = str(url_of(path))
    system, place = open_system(url)
    with naming(url, "read"):
        if system.isfile(place):
            names, version = [PurePosixPath(place).name], str(system.ukey(place))
            place = str(PurePosixPath(place).parent)
        elif kind is None or (manifest := read_remote_json(system, f"{place}/{kind.manifest}")) is None:
            holds = "" if kind is None else f" or {kind.name}"
            raise FileNotFoundError(f"{what} must be an existing file{holds}: there is none at {url}.")
        else:
            names, version = _names_of(kind, manifest, url), json.dumps(manifest, sort_keys=True)
        key = hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]
        copy = cache_folder() / "copies" / key
        if not copy.is_dir():
            _fetch_files(system, place, names, copy)
    return copy / names[0] if kind is None or kind.manifest not in names else copy


def check_remote(path: StrPath, kind: ResultKind | None, *, overwrite: bool = False) -> None:
    """Refuse a URL where no result can be put, before any work.

    Parameters
    ----------
    path : path-like
        The URL.
    kind : ResultKind or None
        What is to be put there; None for a single file.
    overwrite : bool, default=False
        Whether an earlier result may be replaced.

    Raises
    ------
    OutputRefusedError
        If there is one that was not to be replaced, or something else.
    """
    url = str(url_of(path))
    system, place = open_system(url)
    with naming(url, "read"):
        if not system.exists(place):
            return
        if kind is not None:
            manifest = read_remote_json(system, f"{place}/{kind.manifest}")
            if manifest is None and system.isdir(place) and all(map(_HASHED.search, system.find(place))):
                return  # empty, or what a put that was killed has left
            if manifest is None or kind.names_in(manifest) is None:
                raise OutputRefusedError(f"out must be new or {kind.name}: {url} holds something else; choose another.")
        elif not system.isfile(place):
            raise OutputRefusedError(f"out must be a file: {url} is a folder; choose another name.")
    if not overwrite:
        raise OutputRefusedError(
            f"{url} is there already: choose another name, or replace it with --overwrite (overwrite=True)."
        )


@contextmanager
def put_when_done(path: StrPath, kind: ResultKind | None, *, overwrite: bool = False) -> Iterator[Path]:
    """Let a result be written on this machine and put it into the object store afterwards.

    Parameters
    ----------
    path : path-like
        The URL.
    kind : ResultKind or None
        What is written: a folder whose manifest can be told other names of its files; None for a single file.
    overwrite : bool, default=False
        Whether an earlier result may be replaced.

    Yields
    ------
    Path
        Where to write; nothing is there yet.

    Raises
    ------
    OutputRefusedError
        As `check_remote` does.
    OSError
        If it cannot be written; an earlier result is then what it was.
    """
    if (own := path_of(path)) is not None:
        yield own
        return
    url = str(url_of(path))
    check_remote(path, kind, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="labelstack-") as folder:
        here = Path(folder) / PurePosixPath(url).name
        yield here
        system, place = open_system(url)
        with naming(url, "written"):
            if kind is None:
                system.makedirs(str(PurePosixPath(place).parent), exist_ok=True)
                system.put_file(str(here), place)
            else:
                _put_folder(system, place, here, kind)


def open_system(url: str) -> tuple[Any, str]:
    """Find the file system of a URL.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/scores``.

    Returns
    -------
    system : fsspec.AbstractFileSystem
        What reads and writes there.
    place : str
        The path in it.

    Raises
    ------
    ImportError
        If fsspec, or the package that it needs for such addresses, is not installed.
    ValueError
        If fsspec does not know them.
    """
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        system, place = url_to_fs(url, **({} if scheme == "memory" else {"use_listings_cache": False}))
    except ImportError as error:
        needed = str(error) if "fsspec" not in str(error) else "install fsspec, which comes with labelstack[remote]"
        raise ImportError(f"{url} is reached by a package that is not installed: {needed.rstrip('.')}.") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{url} must be an address that fsspec knows, such as s3://bucket/name: {error}.") from error
    if not str(place).strip("/"):
        raise ValueError(f"{url} must name something in the store, such as {scheme}://bucket/name.")
    return system, str(place).rstrip("/")


@contextmanager
def naming(url: str, done: str) -> Iterator[None]:
    """Say where it was that something failed: the packages that reach object stores have errors of their own.

    Parameters
    ----------
    url : str
        What is read or written inside.
    done : {"read", "written"}
        What is done with it.

    Yields
    ------
    None
        Inside, other errors than those of the caller's own become an OSError.

    Raises
    ------
    OSError
        In place of an error of such a package.
    """
    try:
        yield
    except (OutputRefusedError, FileNotFoundError, ValueError, ImportError, MemoryError):
        raise
    except Exception as error:
        what = str(error) or type(error).__name__
        raise OSError(f"{url} cannot be {done}: {what}") from error


def cache_folder() -> Path:
    """Return where copies are kept; whatever is in it may be deleted.

    Returns
    -------
    Path
        ``$LABELSTACK_CACHE``, or ``labelstack`` in the user's folder of caches.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelstack"


def _fetch_files(system: Any, place: str, names: Iterable[str], copy: Path) -> None:
    """Copy files into a new folder, which appears when whole; one that another process has made meanwhile stays."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    unfinished = temporary_path(copy.parent)
    try:
        for name in names:
            target = unfinished / name
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{place}/{name}", str(target))
        try:
            unfinished.rename(copy)
        except OSError:
            if not copy.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_remote_json(system: Any, place: str) -> dict[str, Any] | None:
    """Read a JSON object from an object store.

    Parameters
    ----------
    system : fsspec.AbstractFileSystem
        The store.
    place : str
        The file.

    Returns
    -------
    dict or None
        None where there is no such file, or it holds something else.
    """
    try:
        content = json.loads(system.cat_file(place))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _names_of(kind: ResultKind, manifest: dict[str, Any], url: str) -> list[str]:
    """Return the files of a result by its manifest, that one last."""
    names = kind.names_in(manifest)
    if names is None:
        raise ValueError(f"{url} must be {kind.name}: its {kind.manifest} belongs to something else.")
    return [*(check_name(name) for name in names), kind.manifest]


def _put_folder(system: Any, place: str, folder: Path, kind: ResultKind) -> None:
    """Put a result's files under names that hold their hashes, then its manifest, then delete what it does not name."""
    manifest = json.loads((folder / kind.manifest).read_bytes())
    new = {name: _hashed_name(folder, name) for name in kind.names_in(manifest) or ()}
    for name, there in new.items():
        target, n_bytes = f"{place}/{there}", (folder / name).stat().st_size
        if not system.exists(target) or system.size(target) != n_bytes:
            system.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            system.put_file(str(folder / name), target)
    if kind.rename is not None:
        manifest = kind.rename(manifest, new)
    system.pipe_file(f"{place}/{kind.manifest}", (json.dumps(manifest, indent=1) + "\n").encode())
    kept = {f"{place}/{there}" for there in new.values()}
    for name in system.find(place):
        if _HASHED.search(name) and name not in kept:  # of what was replaced, or of a put that was killed
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(name)


def _hashed_name(folder: Path, name: str) -> str:
    """Return the name that a file gets in the store."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{sha256_file(folder / name)[:HASH_LETTERS]}{path.suffix}"))
