"""A fitted combiner and its thresholds as a folder: JSON, npy and text, each file's sha256 in a manifest, no pickle.

The manifest is written last, so a folder without it is no ensemble. Hashes are checked before any file is parsed, which
finds accidents. Ensembles of strangers may be opened, and a stranger can hash what he changed: so every file is read as
if it were hostile, and what was read must be able to score before it is handed out.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
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
from stacking.files.untrusted import check_plain_file, damage_of, parse_json, parse_npy, read_json
from stacking.files.versions import installed_versions
from stacking.memory import check_memory
from stacking.predictions import PredictionSet

__all__ = [
    "SCHEMA_VERSION",
    "FolderContent",
    "check_ensemble_folder",
    "read_ensemble_folder",
    "try_combiner",
    "write_ensemble_folder",
]

SCHEMA_VERSION = 1
OWN_NAMES = frozenset({"manifest.json", "combiner.json", "arrays", "texts"})
"""What a folder may hold to be replaced; without its manifest it is the remains of a save that was stopped."""
_FILE_NAME = re.compile(r"combiner\.json|arrays/[0-9]{4,}\.npy|texts/[0-9]{4,}\.txt")
FloatArray = npt.NDArray[np.float32]
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
        "labelstack": installed_versions(("labelstack",), absent="unknown")["labelstack"],
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
    manifest = read_json(root / "manifest.json", f"ensemble {root}, manifest.json")
    if manifest.get("format") != "labelstack ensemble":
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} holds another manifest.")
    with damage_of(f"ensemble {root}", "fit it again"):
        version = manifest["schema_version"]
        if version > SCHEMA_VERSION:
            raise ValueError(
                f"ensemble {root} has schema version {version}, this labelstack reads up to {SCHEMA_VERSION}: "
                "install a newer labelstack."
            )
        contents = _read_parts(root, manifest)
        arrays = {
            name: parse_npy(contents[file], f"ensemble {root}, {name}") for name, file in manifest["arrays"].items()
        }
        texts = {name: contents[file].decode("utf-8") for name, file in manifest["texts"].items()}
        stored = parse_json(contents["combiner.json"], f"ensemble {root}, combiner.json")
        beside = {name: array for name, array in arrays.items() if not name.startswith("state/")}
        state = {name.removeprefix("state/"): array for name, array in arrays.items() if name not in beside}
        _check_state(state)
        combiner = find_combiner_class(stored["class"])._from_state(stored["values"], state, texts)
        try_combiner(combiner)
        description: dict[str, Any] = manifest["description"]
    return description, combiner, beside


def try_combiner(combiner: Combiner) -> None:
    """Let a combiner that came from a file score made-up rows, so that a state that does not fit is found at once.

    Parameters
    ----------
    combiner : Combiner
        Just read.

    Raises
    ------
    ValueError
        If the scores are no probabilities; whatever the combiner raises is let through.
    """
    covers = np.asarray(combiner.covers_)
    n_models, n_labels = len(combiner.models_), len(combiner.labels_)
    if covers.dtype != np.bool_ or covers.shape != (n_models, n_labels):
        raise ValueError(f"covers must be {(n_models, n_labels)} of bool: got {covers.shape} of {covers.dtype}")
    for n_rows in (2, 5):  # twice, since a wrong shape may fit one number of rows by chance
        scores = np.full((n_models, n_rows, n_labels), 0.25, np.float32)
        scores[:, 1] = 0.75
        np.copyto(scores, np.nan, where=~covers[:, None, :])
        made_up = PredictionSet(scores, models=combiner.models_, labels=combiner.labels_, covers=covers)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = combiner.predict_proba(made_up)
        if answer.shape != (n_rows, n_labels) or not ((answer >= 0) & (answer <= 1)).all():
            raise ValueError("its combiner gives something else than one probability per row and label")


def _check_state(arrays: Arrays) -> None:
    """Check that a combiner's arrays hold finite numbers, as all that were fitted do."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers: got {array.dtype}")


def _read_parts(root: Path, manifest: dict[str, Any]) -> dict[str, bytes]:
    """Read all files of an ensemble that its manifest names, after checking their names, places, sizes and hashes."""
    digests = manifest["sha256"]
    for name in [*digests, *manifest["arrays"].values(), *manifest["texts"].values()]:
        if _FILE_NAME.fullmatch(name) is None:
            raise ValueError(f"ensemble {root} names a file that no ensemble has, {name[:80]!r}: it was tampered with.")
        check_plain_file(root / name, root, f"ensemble {root}")
    size = sum((root / name).stat().st_size for name in digests)
    check_memory(2 * size, f"ensemble {root}", "use a machine with more")
    return {name: _read_checked(root, name, digest) for name, digest in digests.items()}


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
    data = (root / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"ensemble {root} was changed after it was saved: {name} has another sha256; fit it again.")
    return data
