"""The journal of a result on its way to its names: what a kill has stopped there, the next run finishes.

A journal is complete or absent. It names the temporary folder in which all files lie, the names that they move to, the
manifest last, and what is stale then; every such step may be done twice. Where a result takes the place of another of
equal file names there is a second step, whose journal lies ready in a temporary folder of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from stacking.files.atomic_files import OutputRefusedError, check_regular, is_temporary_name, sync_folder
from stacking.files.output_rules import JOURNAL, check_name, is_regular, read_json_object
from stacking.files.run_lock import run_lock


def finish_interrupted(folder: Path) -> None:
    """
    Finish, where a kill has stopped it, bringing a result to its names; for those who do not go on to write there.

    Parameters
    ----------
    folder : Path
        A result, or anything else, which is left alone.

    Raises
    ------
    FolderInUseError
        If another run works in it.
    OutputRefusedError
        If the journal names files outside the folder.
    OSError
        If a file cannot be moved.
    """
    if not folder.is_symlink() and is_regular(folder / JOURNAL):
        with run_lock(folder):
            finish_move(folder)


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
    while is_regular(path):
        journal = read_json_object(path) or {}
        source, following = _staging_of(path, journal.get("from")), journal.get("next")
        _finish_step(folder, source, journal)
        # The second step's journal takes the place of the first one's by a rename, which no full disk can stop.
        if following is not None and is_regular(further := _staging_of(path, following) / JOURNAL):
            further.replace(path)
        else:
            path.unlink()
        shutil.rmtree(source, ignore_errors=True)


def _staging_of(journal: Path, name: object) -> Path:
    """Return the temporary folder that a journal names."""
    place = journal.parent / str(name)
    if not is_temporary_name(place.name) or place.parent != journal.parent or place.is_symlink():
        raise OutputRefusedError(f"{journal} is damaged: it names {place.name!r}; remove it.")
    return place


def _finish_step(folder: Path, source: Path, journal: Mapping[str, Any]) -> None:
    """Move what has not been moved yet, the manifest last; then delete what is stale."""
    moves = [check_name(name) for name in journal.get("moves", [])]
    for name in moves:
        waiting, target = source / name, check_way(folder, name)
        if not waiting.is_file():  # moved before the kill
            continue
        check_regular(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting.replace(target)
    for part in {(folder / name).parent for name in moves}:
        sync_folder(part)
    for name in journal.get("stale", []):
        stale = check_way(folder, check_name(name))
        if is_regular(stale):
            stale.unlink()


def check_way(folder: Path, name: str) -> Path:
    """
    Return a file's path after checking that no link and nothing but folders lies on the way to it.

    Parameters
    ----------
    folder : Path
        The folder of a result.
    name : str
        The file's name in it, with ``/``.

    Returns
    -------
    Path
        Where the file is or will be.

    Raises
    ------
    OutputRefusedError
        If a link or a file is in the way.
    """
    place = folder
    for part in PurePosixPath(name).parts[:-1]:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise OutputRefusedError(f"{place} must be a folder of its own, and no link: remove it.")
    return folder / name
