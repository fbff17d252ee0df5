"""What an output may take the place of, found by looking only; see `stacking.files.output_folder`, which acts on it.

A result folder is new, empty, or holds an earlier result whose manifest names its files. Only those are ever replaced
or deleted; what else lies there stays. Links are not followed, nothing but regular files is replaced, and no input is.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stacking.files.atomic_files import OutputRefusedError, check_regular, is_temporary_name, sweep_stale_temps
from stacking.files.run_lock import LOCK_NAME

JOURNAL = ".labelstack-move.json"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(.*)", re.DOTALL)  # two letters at least: C:/ is a drive
StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class ResultKind:
    """What distinguishes the results of one kind from other folders.

    Parameters
    ----------
    name : str
        What it is, with its article, for messages.
    manifest : str
        The file that names the others; written last, or first where work goes on in the folder.
    owned : callable or None
        Takes the manifest's content and returns the names that it lists, relative and with ``/``; None where it is
        another kind's. For a marker that is no JSON, None: whoever opens it checks it.
    rename : callable, optional
        Takes a manifest and new names by old ones and returns the manifest with these. With it a result takes the place
        of another by the one rename of the manifest: its files bear other names until then. Without it files that
        people look for by their names are replaced one after the other, within a moment.
    """

    name: str
    manifest: str
    owned: Callable[[Mapping[str, Any]], Iterable[str] | None] | None
    rename: Callable[[Mapping[str, Any], Mapping[str, str]], dict[str, Any]] | None = None

    def names_in(self, manifest: Mapping[str, Any]) -> Iterable[str] | None:
        """Return the names that a manifest lists.

        Parameters
        ----------
        manifest : mapping
            Its content.

        Returns
        -------
        iterable of str or None
            None where it is another kind's.
        """
        return () if self.owned is None else self.owned(manifest)


def format_kind(name: str, manifest: str, form: str) -> ResultKind:
    """Make the kind of a result whose manifest names its format, and the other files with their hashes.

    Parameters
    ----------
    name : str
        What it is, with its article, for messages.
    manifest : str
        The file that names the others.
    form : str
        What the manifest says under ``format``.

    Returns
    -------
    ResultKind
        It owns the files under ``sha256``.
    """

    def owned(content: Mapping[str, Any]) -> list[str] | None:
        hashes = content.get("sha256")
        return list(hashes) if content.get("format") == form and isinstance(hashes, dict) else None

    return ResultKind(name, manifest, owned)


def check_work_folder(folder: Path, kind: ResultKind, *, inputs: Iterable[StrPath | None] = ()) -> None:
    """Refuse a folder in which such work can neither begin nor go on; changes nothing.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : ResultKind
        What it is to be.
    inputs : iterable of path-like or None
        What the work is made from.

    Raises
    ------
    OutputRefusedError
        If it holds something else, is a link or no folder, or holds an input.
    """
    check_folder(folder)
    if not folder.is_dir():
        return
    marker = folder / kind.manifest
    if os.path.lexists(marker):
        check_regular(marker)
        if kind.owned is not None and kind.owned(read_json_object(marker) or {}) is None:
            raise OutputRefusedError(f"out must be {kind.name}: {marker} belongs to something else; choose another.")
    elif foreign := sorted(entry.name for entry in folder.iterdir() if not _is_scaffold(entry.name)):
        raise OutputRefusedError(
            f"out must be a new or empty folder: {folder} holds {foreign[0]!r} and no {kind.manifest}, so it is not "
            f"{kind.name}; choose another."
        )
    check_not_input(folder, inputs, is_folder=True)


def url_of(path: StrPath) -> str | None:
    """Return the URL that was given as a path, or as what `pathlib` makes of it, which is ``s3:/bucket``.

    Parameters
    ----------
    path : path-like
        What was given.

    Returns
    -------
    str or None
        None for a path of this machine.

    Examples
    --------
    >>> url_of(Path("s3://bucket/scores")), url_of("file:///scores"), url_of("C:/scores")
    ('s3://bucket/scores', 'file:///scores', None)
    """
    text = path.replace("\\", "/") if isinstance(path, str) else Path(path).as_posix()
    found = _URL.fullmatch(text)
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


def check_not_url(path: StrPath, name: str = "out") -> None:
    """Refuse a URL where only a path of this machine can be; else a folder called ``s3:`` would be made.

    Parameters
    ----------
    path : path-like
        What was given.
    name : str, default="out"
        What it was given as, for the error.

    Raises
    ------
    OutputRefusedError
        If it is a URL.
    """
    if (url := url_of(path)) is not None:
        raise OutputRefusedError(
            f"{name} must be a path of this machine: got {url}; only stores and bundles of predictions (labelstack "
            "pack) and packed photos are written to object stores, so write here and copy it there."
        )


def check_folder(folder: Path, name: str = "out") -> None:
    """Refuse what is there and is no folder, or a link.

    Parameters
    ----------
    folder : Path
        Where a folder is to be.
    name : str, default="out"
        What the folder was given as, for the error.

    Raises
    ------
    OutputRefusedError
        If it is something else.
    """
    check_not_url(folder, name)
    if folder.is_symlink():
        raise OutputRefusedError(
            f"{name} must be a folder: {folder} is a link to {folder.readlink()}, and links are not followed; give "
            "the folder itself."
        )
    if folder.exists() and not folder.is_dir():
        raise OutputRefusedError(f"{name} must be a folder: {str(folder)!r} is a file; choose another name.")


def check_output_file(path: StrPath, *, overwrite: bool, inputs: Iterable[StrPath | None] = ()) -> None:
    """Refuse a file that cannot be written or replaced, before any work; sweep what a killed run has left of it.

    Parameters
    ----------
    path : path-like
        The file.
    overwrite : bool
        Whether a file that is there may be replaced.
    inputs : iterable of path-like or None
        What it is made from.

    Raises
    ------
    OutputRefusedError
        If it is there and was not to be replaced, is an input, or no regular file.
    """
    check_not_url(path)
    target = Path(path)
    check_regular(target)
    check_not_input(target, inputs)
    if not overwrite and os.path.lexists(target):
        raise OutputRefusedError(
            f"{target} is there already: choose another name, or replace it with --overwrite (overwrite=True)."
        )
    sweep_stale_temps(target.parent, target.name)


def check_not_input(target: Path, inputs: Iterable[StrPath | None], *, is_folder: bool = False) -> None:
    """Refuse an output that is one of the inputs, by whatever name, or a folder that holds one.

    Parameters
    ----------
    target : Path
        Where the output goes.
    inputs : iterable of path-like or None
        What is read; None is skipped.
    is_folder : bool, default=False
        Whether the output is a folder.

    Raises
    ------
    OutputRefusedError
        If an input would be written to.
    """
    for given in inputs:
        if given is None or not os.path.lexists(given):
            continue
        source = Path(given)
        if target.exists() and source.exists() and target.samefile(source):
            raise OutputRefusedError(f"out must not be an input: {target} is {source}; choose another.")
        places = {Path(os.path.abspath(source)), source.resolve()}  # noqa: PTH100 - the link itself, and what it leads to
        if is_folder and any(place.is_relative_to(target.resolve()) for place in places):
            raise OutputRefusedError(f"out must not hold an input: {source} lies in {target}; choose another.")


def list_foreign(folder: Path, kind: ResultKind) -> list[str]:
    """List what is in a folder and no part of a result that is there.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : ResultKind
        The result's kind.

    Returns
    -------
    list of str
        Names relative to the folder, sorted.
    """
    owned, foreign = owned_names(folder, kind), []
    for parent, folders, files in os.walk(folder):
        place = Path(parent)
        if place == folder:
            folders[:] = [name for name in folders if not is_temporary_name(name)]
        links = [name for name in folders if (place / name).is_symlink()]
        for name in [*files, *links]:
            relative = (place / name).relative_to(folder).as_posix()
            if not (relative in owned and is_regular(place / name)) and not _is_scaffold(relative):
                foreign.append(relative)
    return sorted(foreign)


def read_manifest(folder: Path, kind: ResultKind) -> dict[str, Any] | None:
    """Read the manifest of a result.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : ResultKind
        The result's kind.

    Returns
    -------
    dict or None
        None where there is no result of this kind.
    """
    marker = folder / kind.manifest
    content = read_json_object(marker) if is_regular(marker) else None
    return content if content is not None and kind.names_in(content) is not None else None


def owned_names(folder: Path, kind: ResultKind) -> frozenset[str]:
    """Return what of a folder is ours: what its manifest names and itself, or what an unfinished move was to bring.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : ResultKind
        The result's kind.

    Returns
    -------
    frozenset of str
        Names relative to the folder.

    Raises
    ------
    OutputRefusedError
        If the manifest names files outside of the folder.
    """
    manifest = read_manifest(folder, kind)
    if manifest is None:
        journal = read_json_object(folder / JOURNAL) if is_regular(folder / JOURNAL) else None
        return frozenset(map(str, journal.get("moves", []))) if journal else frozenset()
    return frozenset(check_name(name) for name in [*(kind.names_in(manifest) or ()), kind.manifest])


def check_name(name: str) -> str:
    """Return a name that stays inside its folder.

    Parameters
    ----------
    name : str
        As a manifest has it.

    Returns
    -------
    str
        The same.

    Raises
    ------
    OutputRefusedError
        If it leads elsewhere.
    """
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise OutputRefusedError(f"a manifest must name files of its own folder: got {name!r}; it was tampered with.")
    return name


def is_regular(path: Path) -> bool:
    """Tell whether a path is a regular file and no link.

    Parameters
    ----------
    path : Path
        What may be there.

    Returns
    -------
    bool
        False for anything else, and where nothing is.
    """
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_scaffold(name: str) -> bool:
    """Tell whether a name at the top of a folder is a lock, a journal or a temporary one."""
    return name in (LOCK_NAME, JOURNAL) or is_temporary_name(name)


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict or None
        None where the file holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
