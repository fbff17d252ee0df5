"""A fitted combiner and its thresholds as a folder: JSON, npy and text, each file's sha256 in a manifest, no pickle.

The manifest is written last, so a folder without it is no ensemble. Hashes are checked before any file is read:
LightGBM's text format is not memory-safe, so a changed byte must be found before the text is parsed.
"""

from __future__ import annotations

import io
import json
import os
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

__all__ = [
    "SCHEMA_VERSION",
    "FolderContent",
    "check_ensemble_folder",
    "read_ensemble_folder",
    "write_ensemble_folder",
]

SCHEMA_VERSION = 1
OWN_NAMES = frozenset({"manifest.json", "combiner.json", "arrays", "texts"})
"""What a folder may hold to be replaced; without its manifest it is the remains of a save that was stopped."""
Arrays = dict[str, npt.NDArray[Any]]
FolderContent = tuple[dict[str, Any], Combiner, Arrays]


def check_ensemble_folder(folder: str | os.PathLike[str]) -> None:
    """Check before work starts that an ensemble can be written to a folder.

    Parameters
    ----------
    folder : path
        New, empty, or an earlier ensemble.

    Raises
    ------
    ValueError
        If the folder holds something that is not part of an ensemble.
    OSError
        If the folder cannot be written or its disk is full.
    """
    root = Path(folder)
    foreign = sorted(entry.name for entry in root.iterdir() if entry.name not in OWN_NAMES) if root.is_dir() else []
    if foreign:
        raise ValueError(
            f"out must be a new or empty folder, or an ensemble to replace: got {root}, which holds {foreign[0]!r}."
        )
    check_writable(root)


def write_ensemble_folder(
    folder: str | os.PathLike[str], description: dict[str, Any], combiner: Combiner, beside: Arrays
) -> None:
    """Write a fitted combiner, the arrays beside it and a description.

    Parameters
    ----------
    folder : path
        New, empty, or an earlier ensemble, which is replaced.
    description : dict
        JSON-able facts kept in the manifest.
    combiner : Combiner
        Fitted.
    beside : dict of str to ndarray
        Arrays that are not the combiner's, such as the thresholds; their names hold no slash.

    Raises
    ------
    ValueError
        If the folder holds something that is not part of an ensemble.
    OSError
        If the folder cannot be written.
    """
    check_ensemble_folder(folder)
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    saved_class = class_name(combiner)
    values, arrays, texts = combiner._state()
    arrays = {
        **beside,
        **{f"state/{name}": array for name, array in arrays.items()},
    }
    check_writable(root, sum(array.nbytes for array in arrays.values()) + sum(map(len, texts.values())) + 2**20)
    (root / "manifest.json").unlink(missing_ok=True)
    files = _write_parts(root, arrays, texts)
    atomic_write_json(root / "combiner.json", {"class": saved_class, "values": values})
    files["combiner.json"] = sha256_file(root / "combiner.json")
    manifest = {
        "format": "labelstack ensemble",
        "schema_version": SCHEMA_VERSION,
        "labelstack": _version(),
        "description": description,
        "arrays": {name: file for name, file in zip(arrays, _file_names("arrays", arrays, "npy"), strict=True)},
        "texts": {name: file for name, file in zip(texts, _file_names("texts", texts, "txt"), strict=True)},
        "sha256": files,
    }
    atomic_write_json(root / "manifest.json", manifest)


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
    if not (root / "manifest.json").is_file():
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} has no manifest.json.")
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("format") != "labelstack ensemble":
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} holds another manifest.")
    if manifest["schema_version"] > SCHEMA_VERSION:
        raise ValueError(
            f"ensemble {root} has schema version {manifest['schema_version']}, this labelstack reads up to "
            f"{SCHEMA_VERSION}: install a newer labelstack."
        )
    contents = {name: _read_checked(root, name, digest) for name, digest in manifest["sha256"].items()}
    arrays = {name: _parse_npy(contents[file]) for name, file in manifest["arrays"].items()}
    texts = {name: contents[file].decode("utf-8") for name, file in manifest["texts"].items()}
    stored = json.loads(contents["combiner.json"])
    beside = {name: array for name, array in arrays.items() if not name.startswith("state/")}
    state = {name.removeprefix("state/"): array for name, array in arrays.items() if name not in beside}
    return (
        manifest["description"],
        find_combiner_class(stored["class"])._from_state(stored["values"], state, texts),
        beside,
    )


def _write_parts(root: Path, arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> dict[str, str]:
    """Write arrays and texts under numbered names; return the hash of each file."""
    for part in ("arrays", "texts"):
        (root / part).mkdir(exist_ok=True)
        for old in (root / part).iterdir():
            old.unlink()
    for file, array in zip(_file_names("arrays", arrays, "npy"), arrays.values(), strict=True):
        atomic_write_npy(root / file, array)
    for file, text in zip(_file_names("texts", texts, "txt"), texts.values(), strict=True):
        atomic_write_bytes(root / file, text.encode("utf-8"))
    names = [*_file_names("arrays", arrays, "npy"), *_file_names("texts", texts, "txt")]
    return {file: sha256_file(root / file) for file in names}


def _file_names(part: str, entries: dict[str, Any], suffix: str) -> list[str]:
    """Return numbered file names: the entries' own names may hold anything."""
    return [f"{part}/{number:04d}.{suffix}" for number in range(len(entries))]


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
