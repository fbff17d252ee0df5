"""Where results go: a folder is claimed, the result written whole, and only then brought to its names.

A new result is written into a temporary folder inside its own, then moved to its names with the manifest last, so that
an earlier one stays until the new one is whole; a move that a kill stopped is finished by the next writer, from a
journal. The folder is locked meanwhile. What may be replaced, `stacking.files.output_rules` decides.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_json,
    is_temporary_name,
    named_error,
    run_lock,
    sweep_stale_temps,
    sync_folder,
    temporary_path,
)
from stacking.files.ending import run_all
from stacking.files.output_rules import (
    JOURNAL,
    ResultKind,
    StrPath,
    check_folder,
    check_name,
    check_not_input,
    check_work_folder,
    is_regular,
    list_foreign,
    owned_names,
    read_json_object,
    read_manifest,
)


class OutputFolder:
    """Write one result into a folder: claimed and locked on entry, there as a whole after `commit`.

    Used as a context manager. Without a commit the folder is afterwards as it was.

    Parameters
    ----------
    folder : path-like
        Where the result goes.
    kind : ResultKind
        What it is.
    overwrite : bool, default=False
        Replace an earlier result of the same kind.
    inputs : iterable of path-like or None
        What the result is made from; none of it may be the folder or lie in it.
    request : mapping, optional
        JSON-able values that decide the result. An earlier result of an equal request needs no replacing: see
        `is_there`.

    Raises
    ------
    OutputRefusedError
        If the folder holds something that is not ours, an earlier result that was not to be replaced, or an input; or
        is a link or no folder.
    FolderInUseError
        If another run works in it.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> kind = ResultKind("a poem", "manifest.json", lambda manifest: manifest.get("files"))
    >>> place = Path(tempfile.mkdtemp()) / "poem"
    >>> with OutputFolder(place, kind) as output:
    ...     size = output.path_of("verse.txt").write_text("So much depends")
    ...     output.commit({"files": ["verse.txt"]})
    >>> sorted(path.name for path in place.iterdir() if path.name[0] != ".")
    ['manifest.json', 'verse.txt']
    """

    def __init__(
        self,
        folder: StrPath,
        kind: ResultKind,
        *,
        overwrite: bool = False,
        inputs: Iterable[StrPath | None] = (),
        request: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.kind, self.overwrite = Path(folder), kind, overwrite
        self.request = None if request is None else hash_request(request)
        self.staging: Path | None = None
        self._inputs = tuple(inputs)
        self._lock: contextlib.AbstractContextManager[None] | None = None
        self._is_new = False

    def __enter__(self) -> Self:
        self.check()
        self._is_new = not self.path.exists()
        lock = run_lock(self.path)
        lock.__enter__()
        self._lock = lock
        try:
            finish_move(self.path)
            sweep_stale_temps(self.path)
            self.check()
        except BaseException as error:
            run_all(self.close, after=error)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        run_all(self.close, after=value)

    @property
    def earlier(self) -> dict[str, Any] | None:
        """The manifest of the earlier result; None where there is no result of this kind."""
        return read_manifest(self.path, self.kind)

    @property
    def owned(self) -> frozenset[str]:
        """What may be replaced or deleted: the earlier manifest and the files that it names."""
        return owned_names(self.path, self.kind)

    @property
    def is_there(self) -> bool:
        """Whether the result of an equal request is there with all its files: writing it again changes nothing."""
        earlier = self.earlier
        if earlier is None or self.request is None or earlier.get("request") != self.request:
            return False
        return all(is_regular(self.path / name) for name in self.owned)

    def check(self) -> None:
        """Refuse a folder that the result cannot go to; changes nothing.

        Raises
        ------
        OutputRefusedError
            If it holds something that is not ours, or an earlier result that was not to be replaced, or an input.
        """
        check_folder(self.path)
        if not self.path.is_dir():
            return
        owned, foreign = self.owned, list_foreign(self.path, self.kind)
        if not owned and foreign:
            raise OutputRefusedError(
                f"{self.path} must be empty: it holds {foreign[0]!r}, and out must be a new or empty folder, or hold "
                f"{self.kind.name} to replace."
            )
        if owned and not self.overwrite and not self.is_there:
            raise OutputRefusedError(
                f"{self.path} already holds {self.kind.name}: choose another folder or pass overwrite=True "
                "(--overwrite)."
            )
        check_not_input(self.path, self._inputs, is_folder=True)

    def path_of(self, name: str) -> Path:
        """Return where to write a file of the result.

        Parameters
        ----------
        name : str
            Its name in the folder, with ``/``.

        Returns
        -------
        Path
            In a temporary folder on the same disk; its parent is there.
        """
        if self.staging is None:
            self.staging = temporary_path(self.path)
            self.staging.mkdir(parents=True)
        elif not self.staging.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        path = self.staging / check_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise named_error(error, self.staging / path.name) from error
        return path

    def commit(self, manifest: Mapping[str, Any]) -> None:
        """Bring all files to their names, the manifest last, and delete what only the earlier manifest names.

        Parameters
        ----------
        manifest : mapping
            JSON-able; it must list the files that were written, and those of the earlier result that are kept.

        Raises
        ------
        OutputRefusedError
            If something that is not ours has got in the way.
        RuntimeError
            If it does not list the files that were written.
        OSError
            If the disk is full; the earlier result is still there then.
        """
        stamped = dict(manifest) if self.request is None else {**manifest, "request": self.request}
        written, owned = self.written, self.owned
        if not written & owned or self.kind.rename is None:
            self._move(stamped, written)
            return
        # Files with the names of the earlier result's would replace those one by one, and a reader in between would
        # find a mixture. Under fresh names both results lie there whole, and one rename, of the manifest, swaps them.
        fresh = _fresh_names(self.path, sorted(written))
        for name, other in fresh.items():
            self.path_of(name).replace(self.path_of(other))
        self._move(self.kind.rename(stamped, fresh), set(fresh.values()))
        try:  # the old names are free now: take them, again by one rename of the manifest
            for name, other in fresh.items():
                self.path_of(name).hardlink_to(self.path / other)
        except OSError:  # a file system without hard links: the new names stay
            self.discard()
            return
        self._move(stamped, written)

    @property
    def written(self) -> set[str]:
        """The files that wait for their commit, relative to the folder."""
        if self.staging is None:
            return set()
        return {path.relative_to(self.staging).as_posix() for path in self.staging.rglob("*") if path.is_file()}

    def _move(self, manifest: Mapping[str, Any], written: set[str]) -> None:
        """Bring files to their names, the manifest last; a kill leaves a journal by which this is finished."""
        marker, owned = self.kind.manifest, self.owned
        listed = set(self.kind.names_in(manifest) or ())
        if written - listed or listed - written - owned:
            raise RuntimeError(f"the manifest of {self.kind.name} must list what was written: {sorted(written)}")
        moves = [*sorted(written), marker]
        for name in moves:
            _check_way(self.path, name)
            if name not in owned and os.path.lexists(self.path / name):
                raise OutputRefusedError(_not_ours(self.path / name, self.kind))
        atomic_write_json(self.path_of(marker), manifest)
        # The journal, itself complete or absent, is written when all files are: before it nothing has moved, after it
        # every step may be done twice. The manifest is the last of the moves; stale files go when it is in place.
        source = "" if self.staging is None else self.staging.name
        stale = sorted(owned - listed - {marker})
        atomic_write_json(self.path / JOURNAL, {"from": source, "moves": moves, "stale": stale})
        self.staging = None  # from here on the move is under way, and is not taken back
        finish_move(self.path)

    def discard(self) -> None:
        """Remove what was written and not committed."""
        if self.staging is not None:
            shutil.rmtree(self.staging, ignore_errors=True)
            self.staging = None

    def close(self) -> None:
        """Remove what was written and not committed, and free the folder."""
        self.discard()
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None
            if self._is_new:
                with contextlib.suppress(OSError):  # it holds something now
                    self.path.rmdir()


@contextlib.contextmanager
def work_folder(
    folder: StrPath,
    kind: ResultKind,
    start: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[StrPath | None] = (),
) -> Iterator[Path]:
    """Claim and lock a folder in which work goes on from run to run.

    Parameters
    ----------
    folder : path-like
        New, empty, or with the marker of an earlier run of this kind.
    kind : ResultKind
        What it is; its manifest is the marker.
    start : mapping, optional
        Content of the marker, written before anything else where there is none. Without it the caller writes the
        marker first.
    inputs : iterable of path-like or None
        What the work is made from; none of it may be the folder or lie in it.

    Yields
    ------
    Path
        The folder, while it is locked.

    Raises
    ------
    OutputRefusedError
        If the folder holds something else, is a link or no folder, or holds an input.
    FolderInUseError
        If another run works in it.
    OSError
        If it cannot be written.
    """
    place = Path(folder)
    check_work_folder(place, kind, inputs=inputs)
    with run_lock(place):
        sweep_stale_temps(place)
        check_work_folder(place, kind)
        if start is not None and not (place / kind.manifest).exists():
            atomic_write_json(place / kind.manifest, start)
        yield place


def hash_request(request: Mapping[str, Any]) -> str:
    """Hash the values that decide a result.

    Parameters
    ----------
    request : mapping
        JSON-able; paths and the like count as their text.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


def finish_move(folder: Path) -> None:
    """Finish bringing a result to its names, where a journal says that this was started.

    Parameters
    ----------
    folder : Path
        A locked folder.

    Raises
    ------
    OutputRefusedError
        If the journal names files outside the folder.
    OSError
        If a file cannot be moved.
    """
    path = folder / JOURNAL
    if not is_regular(path):
        return
    journal = read_json_object(path) or {}
    staging = folder / str(journal.get("from"))
    if not is_temporary_name(staging.name) or staging.is_symlink():
        raise OutputRefusedError(f"{path} is damaged: it names {staging.name!r}; remove it.")
    moves = [check_name(name) for name in journal.get("moves", [])]
    for name in moves:
        source, target = staging / name, _check_way(folder, name)
        if not source.is_file():  # moved before the kill
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    for part in {(folder / name).parent for name in moves}:
        sync_folder(part)
    for name in journal.get("stale", []):
        stale = _check_way(folder, check_name(name))
        if is_regular(stale):
            stale.unlink()
    path.unlink()
    shutil.rmtree(staging, ignore_errors=True)


def _fresh_names(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return for each name one of the same form, with another number, that nothing has."""
    fresh: dict[str, str] = {}
    names = list(names)
    taken = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} | set(names)
    for name in names:
        pure = PurePosixPath(name)
        stem = pure.stem.rstrip("0123456789")
        number = int(pure.stem[len(stem) :] or 0) + 1
        while (other := pure.with_name(f"{stem}{number:04d}{pure.suffix}").as_posix()) in taken:
            number += 1
        fresh[name] = other
        taken.add(other)
    return fresh


def _check_way(folder: Path, name: str) -> Path:
    """Return a file's path after checking that no link and nothing but folders lies on the way to it."""
    place = folder
    for part in PurePosixPath(name).parts[:-1]:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise OutputRefusedError(f"{place} must be a folder of its own, and no link: remove it.")
    return folder / name


def _not_ours(path: Path, kind: ResultKind) -> str:
    """Say that a file is in the way."""
    return f"{path} is in the way and not part of {kind.name}: move it, or choose another folder."
