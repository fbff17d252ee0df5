"""A fitted combiner and its thresholds as a folder: JSON, npy and text, each file's sha256 in a manifest, no pickle.

The manifest is written last, so a folder without it is no ensemble, and one that replaces another has files of other
names until its manifest takes the place of the old one. Hashes are checked before any file is parsed, which finds
accidents. Ensembles of strangers may be opened, and a stranger can hash what he changed: so every file is read as if it
were hostile, and what was read must be able to score before it is handed out.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Mapping
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
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import ResultKind
from stacking.files.untrusted import check_plain_file, damage_of, parse_json, parse_npy, read_json
from stacking.files.versions import installed_versions
from stacking.predictions import PredictionSet
from stacking.process.memory import check_memory

FORMAT = "labelstack ensemble"
SCHEMA_VERSION = 2  # raised when earlier versions could not read a folder
PLAIN_VERSION = 1  # of a folder that they can: all but those whose decision rule decides sample by sample
MANIFEST = "manifest.json"


def _files_of(manifest: Mapping[str, Any]) -> list[str] | None:
    """Return the files of an ensemble by its manifest."""
    hashes, extra_files = manifest.get("sha256"), manifest.get("beside", [])
    if manifest.get("format") != FORMAT or not isinstance(hashes, dict) or not isinstance(extra_files, list):
        return None
    return [*hashes, *map(str, extra_files)]


def _rename(manifest: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a manifest with other names of its files."""
    return {
        **manifest,
        "combiner": names.get(manifest["combiner"], manifest["combiner"]),
        **{part: {key: names.get(name, name) for key, name in manifest[part].items()} for part in ("arrays", "texts")},
        "sha256": {names.get(name, name): digest for name, digest in manifest["sha256"].items()},
        "beside": [names.get(name, name) for name in manifest["beside"]],
    }


ENSEMBLE = ResultKind("an ensemble", MANIFEST, _files_of, _rename)
_FILE_NAME = re.compile(r"combiner([0-9]{4})?\.json|arrays/[0-9]{4,}\.npy|texts/[0-9]{4,}\.txt")
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
        JSON-able values that decide the ensemble.

    Returns
    -------
    OutputFolder
        A context manager.
    """
    if isinstance(folder, OutputFolder):
        return folder
    return OutputFolder(folder, ENSEMBLE, overwrite=overwrite, inputs=inputs, request=request)


def write_ensemble_folder(
    output: OutputFolder,
    description: dict[str, Any],
    combiner: Combiner,
    extra_arrays: Arrays,
    extra_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a fitted combiner, further arrays and a description.

    Parameters
    ----------
    output : OutputFolder
        A claimed folder; see `ensemble_folder`. Files that the caller has written there, such as a report, become part
        of the result; loading does not read them.
    description : dict
        JSON-able values kept in the manifest.
    combiner : Combiner
        Fitted.
    extra_arrays : dict of str to ndarray
        Arrays that are not the combiner's, such as the thresholds; their names hold no slash.
    extra_files : mapping of str to bytes, optional
        Further files by name, for people.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    saved_class = class_name(combiner)
    values, arrays, texts = combiner._state()
    for name, content in (extra_files or {}).items():
        atomic_write_bytes(output.path_of(name), content)
    written = sorted(output.written)
    arrays = {
        **extra_arrays,
        **{f"state/{name}": array for name, array in arrays.items()},
    }
    # 1 MiB more, a choice: room for the headers of the arrays and the JSON files.
    n_bytes = sum(array.nbytes for array in arrays.values()) + sum(map(len, texts.values())) + 2**20
    check_writable(output.path, n_bytes)
    array_names, text_names = _file_names("arrays", arrays, "npy"), _file_names("texts", texts, "txt")
    atomic_write_json(output.path_of("combiner.json"), {"class": saved_class, "values": values})
    files = ["combiner.json", *_write_parts(output, _rekeyed(arrays, array_names), _rekeyed(texts, text_names))]
    output.commit(
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION if "sample_rule" in description else PLAIN_VERSION,
            "labelstack": installed_versions(("labelstack",), absent="unknown")["labelstack"],
            "description": description,
            "combiner": "combiner.json",
            "arrays": array_names,
            "texts": text_names,
            "sha256": {file: sha256_file(output.path_of(file)) for file in files},
            "beside": written,
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
    extra_arrays : dict of str to ndarray
        Arrays that are not the combiner's, as written; folders of earlier versions hold the thresholds only.

    Raises
    ------
    ValueError
        If it is no ensemble folder, a file is missing or changed, or a later version wrote it.
    """
    root = Path(folder)
    if not (root / MANIFEST).is_file():
        raise ValueError(f"ensemble must be a folder written by `labelstack fit`: {root} has no {MANIFEST}.")
    manifest = read_json(root / MANIFEST, f"ensemble {root}, {MANIFEST}")
    if manifest.get("format") != FORMAT:
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
        stored = parse_json(contents[manifest.get("combiner", "combiner.json")], f"ensemble {root}, combiner.json")
        extra_arrays = {name: array for name, array in arrays.items() if not name.startswith("state/")}
        state = {name.removeprefix("state/"): array for name, array in arrays.items() if name not in extra_arrays}
        _check_state(state)
        combiner = find_combiner_class(stored["class"])._from_state(stored["values"], state, texts)
        _try_combiner(combiner)
        description: dict[str, Any] = manifest["description"]
    return description, combiner, extra_arrays


def _try_combiner(combiner: Combiner) -> None:
    """Let a combiner that came from a file score made-up rows, so that a state that does not fit is found at once."""
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
    data = (root / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"ensemble {root} was changed after it was saved: {name} has another sha256; fit it again.")
    return data
