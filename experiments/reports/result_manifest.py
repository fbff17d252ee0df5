"""The manifest that every result folder carries: what went in, with which options, made by which versions, which files.

``manifest.json`` is written last, so a folder without it is unfinished; only the files that it names are ever replaced.
Times are left out on purpose: the same inputs, options and seed give the same manifest.
"""

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.estimates.doctor import PACKAGES
from stacking.files.atomic_files import sha256_file
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import ResultKind, is_regular, read_json_object
from stacking.files.versions import installed_versions

MANIFEST_NAME = "manifest.json"


def is_run(folder: Path | None) -> bool:
    """Tell the folder of a training run from predictions and from ensembles.

    Parameters
    ----------
    folder : Path or None
        What was given.

    Returns
    -------
    bool
        True for a run.
    """
    marker = None if folder is None else folder / MANIFEST_NAME
    return marker is not None and is_regular(marker) and "recipe_hash" in (read_json_object(marker) or {})


def build_manifest(command: str, inputs: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe how a result was made.

    Parameters
    ----------
    command : str
        Name of the command.
    inputs : mapping of str to str
        Name of each input to the hash of its content.
    options : mapping of str to object
        Options as they were used, defaults included, with the seed; paths and the like are written as text.

    Returns
    -------
    dict
        JSON-able, with keys command, inputs, options and versions.

    Examples
    --------
    >>> sorted(build_manifest("fit", {}, {"seed": 0}))
    ['command', 'inputs', 'options', 'versions']
    """
    return {
        "command": command,
        "inputs": dict(inputs),
        "options": json.loads(json.dumps(dict(options), default=str)),
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES)},
    }


def hash_files(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Hash files that decide a result.

    Parameters
    ----------
    folder : Path
        Where they are.
    names : iterable of str, optional
        Which; by default all in the folder and its sub-folders.

    Returns
    -------
    dict of str to str
        SHA-256 by name, of those that are there.
    """
    found = (folder / name for name in names) if names is not None else folder.rglob("*")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(found) if path.is_file()}


def _result_kind(command: str) -> ResultKind:
    """Return what tells the results of one command from other folders."""
    return ResultKind(
        f"a result of `labelstack {command}`",
        MANIFEST_NAME,
        lambda manifest: manifest.get("files", ()) if manifest.get("command") == command else None,
    )


def result_folder(
    folder: str | Path,
    command: str,
    *,
    overwrite: bool = False,
    inputs: Iterable[Path | None] = (),
    request: Mapping[str, Any] | None = None,
) -> OutputFolder:
    """Say where the results of a command are to go; the folder is claimed when the block that it opens is entered.

    Parameters
    ----------
    folder : str or Path
        Made if it is absent.
    command : str
        Name of the command.
    overwrite : bool, default=False
        Replace an earlier result of the command.
    inputs : iterable of Path or None
        What the command reads.
    request : mapping, optional
        From `build_manifest`: an earlier result of the same request is not refused, see `OutputFolder.is_there`.

    Returns
    -------
    OutputFolder
        A context manager.
    """
    return OutputFolder(folder, _result_kind(command), overwrite=overwrite, inputs=inputs, request=request)


@contextmanager
def claimed(folder: str | Path | OutputFolder, command: str, *, overwrite: bool = False) -> Iterator[OutputFolder]:
    """Claim a folder for the results of a command, unless the caller has.

    Parameters
    ----------
    folder : str, Path or OutputFolder
        Made if it is absent.
    command : str
        Name of the command.
    overwrite : bool, default=False
        Replace an earlier result of the command.

    Yields
    ------
    OutputFolder
        Where to write.
    """
    if isinstance(folder, OutputFolder):
        yield folder
        return
    with result_folder(folder, command, overwrite=overwrite) as output:
        yield output


def commit_result(output: OutputFolder, manifest: Mapping[str, Any]) -> None:
    """Bring the files of a result to their names, with ``manifest.json`` last.

    Parameters
    ----------
    output : OutputFolder
        A claimed folder, in which all other files were written.
    manifest : mapping
        From `build_manifest`.
    """
    output.commit({**manifest, "files": sorted(output.written)})
