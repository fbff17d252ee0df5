"""A fitted combiner and its thresholds as a folder: JSON, npy and text, each file's sha256 in a manifest, no pickle.

The manifest is written last, so a folder without it is no ensemble, and one that replaces another has files of other
names until its manifest takes the place of the old one. Hashes are checked before any file is read: LightGBM's text
format is not memory-safe, so a changed byte must be found before the text is parsed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.combiners.combiner import Combiner
from stacking.combiners.state import class_name, find_combiner_class
from stacking.files.atomic_files import (
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_npy,
    check_writable,
    sha256_file,
)
from stacking.files.output_folder import OutputFolder, ResultKind

__all__ = [
    "ENSEMBLE",
    "SCHEMA_VERSION",
    "FolderContent",
    "ensemble_folder",
    "read_ensemble_folder",
    "write_ensemble_folder",
]

FORMAT = "labelstack ensemble"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


def _files_of(manifest: Mapping[str, Any]) -> list[str] | None:
    """Return the files of an ensemble by its manifest."""
    hashes = manifest.get("sha256")
    return list(hashes) if manifest.get("format") == FORMAT and isinstance(hashes, dict) else None


def _rename(manifest: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a manifest with other names of its files."""
    return {
        **manifest,
        "combiner": names.get(manifest["combiner"], manifest["combiner"]),
        **{part: {key: names.get(name, name) for key, name in manifest[part].items()} for part in ("arrays", "texts")},
        "sha256": {names.get(name, name): digest for name, digest in manifest["sha256"].items()},
    }


ENSEMBLE = ResultKind("an ensemble", MANIFEST, _files_of, _rename)
Arrays = dict[str, npt.NDArray[Any]]
FolderContent = tuple[dict[str, Any], Combiner, Arrays]


def ensemble_folder(
    folder: str | os.PathLike[str] | OutputFolder,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str] | None] = (),
    request: Mapping[str, Any] | None = None,
) -> OutputFolder:
    """Say where an ensemble is to go; it is claimed when the block that it opens is entered.

    Parameters
    ----------
    folder : path or OutputFolder
        New or empty, or an earlier ensemble to replace; what was claimed before is given back as it is.
    overwrite : bool, default=False
        Replace an earlier ensemble.
    inputs : iterable of path or None
        What it is fitted on; none of it may lie in the folder.
    request : mapping, optional
        JSON-able facts that decide the ensemble.

    Returns
    -------
    OutputFolder
        A context manager.
    """
    if isinstance(folder, OutputFolder):
        return folder
    return OutputFolder(folder, ENSEMBLE, overwrite=overwrite, inputs=inputs, request=request)


def write_ensemble_folder(
    output: OutputFolder, description: dict[str, Any], combiner: Combiner, extra_arrays: Arrays
) -> None:
    """Write a fitted combiner, further arrays and a description.

    Parameters
    ----------
    output : OutputFolder
        A claimed folder; see `ensemble_folder`.
    description : dict
        JSON-able facts kept in the manifest.
    combiner : Combiner
        Fitted.
    extra_arrays : dict of str to ndarray
        Arrays that are not the combiner's, such as the thresholds; their names hold no slash.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    saved_class = class_name(combiner)
    values, arrays, texts = combiner._state()
    arrays = {
        **extra_arrays,
        **{f"state/{name}": array for name, array in arrays.items()},
    }
    n_bytes = sum(array.nbytes for array in arrays.values()) + sum(map(len, texts.values())) + 2**20
    check_writable(output.path, n_bytes)
    array_names, text_names = _file_names("arrays", arrays, "npy"), _file_names("texts", texts, "txt")
    atomic_write_json(output.path_of("combiner.json"), {"class": saved_class, "values": values})
    files = ["combiner.json", *_write_parts(output, _rekeyed(arrays, array_names), _rekeyed(texts, text_names))]
    output.commit(
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "labelstack": _version(),
            "description": description,
            "combiner": "combiner.json",
            "arrays": array_names,
            "texts": text_names,
            "sha256": {file: sha256_file(output.path_of(file)) for file in files},
        }
    )


def read_ensemble_folder(folder: str | os.PathLike[str]) -> FolderContent:
    """Read what `write_ensemble_folder` wrote, after checking every file's hash.

    Parameters
    ----------
    folder : path
        An ensemble folder.

    Returns
    -------
    description : dict
        As written.
    combiner : Combiner
        Fitted.
    beside : dict of str to ndarray
        Arrays beside the combiner, as written; folders of earlier versions hold the thresholds only.

    Raises
    ------
    ValueError
        If it is no ensemble folder, a file is missing or changed, or a later version wrote it.
    """
    root = Path(folder)
    if not (root / MANIFEST).is_file():
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} has no {MANIFEST}.")
    manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} holds another manifest.")
    if manifest["schema_version"] > SCHEMA_VERSION:
        raise ValueError(
            f"ensemble {root} has schema version {manifest['schema_version']}, this labelstack reads up to "
            f"{SCHEMA_VERSION}: install a newer labelstack."
        )
    contents = {name: _read_checked(root, name, digest) for name, digest in manifest["sha256"].items()}
    arrays = {name: _parse_npy(contents[file]) for name, file in manifest["arrays"].items()}
    texts = {name: contents[file].decode("utf-8") for name, file in manifest["texts"].items()}
    stored = json.loads(contents[manifest.get("combiner", "combiner.json")])
    beside = {name: array for name, array in arrays.items() if not name.startswith("state/")}
    state = {name.removeprefix("state/"): array for name, array in arrays.items() if name not in beside}
    return (
        manifest["description"],
        find_combiner_class(stored["class"])._from_state(stored["values"], state, texts),
        beside,
    )


def _write_parts(output: OutputFolder, arrays: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> list[str]:
    """Write arrays and texts by file name; return the names."""
    for name, array in arrays.items():
        atomic_write_npy(output.path_of(name), array)
    for name, text in texts.items():
        atomic_write_bytes(output.path_of(name), text.encode("utf-8"))
    return [*arrays, *texts]


def _rekeyed(entries: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return entries by the names of their files."""
    return {names[key]: entry for key, entry in entries.items()}


def _file_names(part: str, entries: Mapping[str, Any], suffix: str) -> dict[str, str]:
    """Return numbered file names: the entries' own names may hold anything."""
    return {name: f"{part}/{number:04d}.{suffix}" for number, name in enumerate(entries)}


def _read_checked(root: Path, name: str, digest: str) -> bytes:
    """Read a file if its hash is the recorded one."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"ensemble {root} names a file outside its folder: {name!r}; it was tampered with.")
    if not path.is_file():
        raise ValueError(f"ensemble {root} lacks its file {name}: copy it again or fit it again.")
    if sha256_file(path) != digest:
        raise ValueError(f"ensemble {root} was changed after it was saved: {name} has another sha256; fit it again.")
    return path.read_bytes()


def _parse_npy(data: bytes) -> npt.NDArray[Any]:
    """Parse an array; objects are refused."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def _version() -> str:
    """Return the installed version, or unknown in a bare checkout."""
    try:
        return metadata.version("labelstack")
    except metadata.PackageNotFoundError:
        return "unknown"
