"""Where results go: a folder is claimed, the result written whole, and only then brought to its names.

A new result is written into a temporary folder inside its own, then moved to its names with the manifest last, so that
an earlier one stays until the new one is whole; a move that a kill stopped is finished by the next writer, see
`stacking.files.journal`. The folder is locked meanwhile. What may be replaced, `stacking.files.output_rules` decides.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_json,
    named_error,
    sweep_stale_temps,
    temporary_path,
)
from stacking.files.ending import run_all
from stacking.files.journal import check_way, finish_move
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
    read_manifest,
)
from stacking.files.run_lock import run_lock


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
        self._links: Path | None = None  # a second temporary folder, see `_link_to_names`
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
        if is_regular(self.path / JOURNAL):  # what is there is known when the move that a kill stopped is finished
            check_not_input(self.path, self._inputs, is_folder=True)
            return
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
        self._check_moves(stamped, written)
        if not written & owned or self.kind.rename is None:
            self._move(self._prepare(self.path_of(self.kind.manifest), stamped, written, owned))
            return
        # Files with the names of the earlier result's would replace those one by one, and a reader in between would
        # find a mixture. Under fresh names both results lie there whole, and one rename, of the manifest, swaps them.
        # The old names are free then, and are taken by a second step, again with one rename of the manifest.
        fresh = _fresh_names(self.path, sorted(written))
        renamed = self.kind.rename(stamped, fresh)
        for name, other in fresh.items():
            self.path_of(name).replace(self.path_of(other))
        first = self._prepare(self.path_of(self.kind.manifest), renamed, fresh.values(), owned)
        if self._link_to_names(fresh) and self._links is not None:
            between = {*(self.kind.names_in(renamed) or ()), self.kind.manifest}
            second = self._prepare(self._links / self.kind.manifest, stamped, written, between)
            atomic_write_json(self._links / JOURNAL, second)
            first["next"] = self._links.name
        self._move(first)

    @property
    def written(self) -> set[str]:
        """The files that wait for their commit, relative to the folder."""
        if self.staging is None:
            return set()
        return {path.relative_to(self.staging).as_posix() for path in self.staging.rglob("*") if path.is_file()}

    def _check_moves(self, manifest: Mapping[str, Any], written: set[str]) -> None:
        """Raise if the manifest does not list what was written, or something that is not ours is in the way."""
        owned, listed = self.owned, set(self.kind.names_in(manifest) or ())
        if written - listed or listed - written - owned:
            raise RuntimeError(f"the manifest of {self.kind.name} must list what was written: {sorted(written)}")
        for name in [*sorted(written), self.kind.manifest]:
            check_way(self.path, name)
            if name not in owned and os.path.lexists(self.path / name):
                raise OutputRefusedError(_not_ours(self.path / name, self.kind))

    def _prepare(
        self, place: Path, manifest: Mapping[str, Any], written: Iterable[str], owned: Collection[str]
    ) -> dict[str, Any]:
        """Write a manifest beside the files that it lists; return the journal of bringing all of them to their names.

        The manifest is the last of the moves; what only the manifest before it lists goes when it is in place.
        """
        atomic_write_json(place, manifest)
        marker = self.kind.manifest
        stale = sorted(set(owned) - set(self.kind.names_in(manifest) or ()) - {marker})
        return {"from": place.parent.name, "moves": [*sorted(written), marker], "stale": stale}

    def _link_to_names(self, fresh: Mapping[str, str]) -> bool:
        """Give the files their own names, too, in a second temporary folder; False where a disk has no hard links."""
        self._links = temporary_path(self.path)
        try:
            for name, other in fresh.items():
                (self._links / name).parent.mkdir(parents=True, exist_ok=True)
                (self._links / name).hardlink_to(self.path_of(other))
        except OSError:  # the fresh names stay
            shutil.rmtree(self._links, ignore_errors=True)
            return False
        return True

    def _move(self, journal: Mapping[str, Any]) -> None:
        """Bring files to their names; a kill leaves the journal, by which this is finished."""
        # The journal, itself complete or absent, is written when all files are: before it nothing has moved, after it
        # every step may be done twice.
        atomic_write_json(self.path / JOURNAL, journal)
        self.staging = self._links = None  # from here on the move is under way, and is not taken back
        finish_move(self.path)

    def discard(self) -> None:
        """Remove what was written and not committed."""
        for place in (self.staging, self._links):
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
        self.staging = self._links = None

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


def _not_ours(path: Path, kind: ResultKind) -> str:
    """Say that a file is in the way."""
    return f"{path} is in the way and not part of {kind.name}: move it, or choose another folder."
