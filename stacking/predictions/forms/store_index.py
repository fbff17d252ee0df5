"""The index of a prediction store: which files belong to it, what they hold, and their hashes.

The index is written last. A folder without it is no store, so a process killed while writing leaves nothing that could
be mistaken for predictions. Names of models and labels live only here, since real model names hold ``/``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stacking._checks import first_duplicate, first_names
from stacking.files.atomic_files import sha256_file
from stacking.files.output_rules import ResultKind
from stacking.files.untrusted import check_plain_file, damage_of, read_json

FORMAT = "labelstack-predictions"
SCHEMA_VERSION = 1  # raised when earlier versions could not read a store
INDEX_NAME = "index.json"
HASH_ON_LOAD_BYTES = 256 * 2**20
"""Stores below this size are hashed whenever they are opened; larger ones only on request, as every byte must be read.
A choice, not tuned."""
ARRAY_METADATA = ("y_true", "y_known", "sample_weight", "groups", "folds", "covers", "train_frequency")
FOLDERS = ("scores", "by_label", "extras")
# in an object store names hold the beginning of the file's SHA-256, see stacking.files.remote
_FILE_NAME = re.compile(
    rf"(?:(?:ids|{'|'.join(ARRAY_METADATA)})(?:[0-9]{{4}})?|(?:{'|'.join(FOLDERS)})/[0-9]{{4,}})(?:-[0-9a-f]{{16}})?\.npy"
)


@dataclass(frozen=True)
class StoreIndex:
    """
    What ``index.json`` says.

    Parameters
    ----------
    n_samples : int
        Number of rows of every score file.
    models, labels : list of str
        Their names, in order.
    dtype : str
        ``"float32"`` or ``"float16"``.
    scores : list of str
        The score file of every model, relative to the folder.
    content : list of str
        The content hash of every model's scores.
    ids : str
        The file of the samples' names; a store that replaces another has files of other names than that one.
    by_label : list of str
        The second copy of every model's scores, in which a label lies together; empty where there is none.
    label_groups, label_ids : list of str or None
        The group and the data set's id of every label.
    facts, extras : dict of str to str
        The file of every optional array of the metadata, and of every extra one; files on disk say ``facts``.
    files : dict
        Size in bytes and SHA-256 of every file.
    change : str
        Hash of the change in place that made this state, so that the same change started again is known to be done.
    wants_by_label : bool
        Whether the copy by label was asked for and is still being written.
    """

    n_samples: int
    models: list[str]
    labels: list[str]
    dtype: str
    scores: list[str]
    content: list[str]
    ids: str = "ids.npy"
    by_label: list[str] = field(default_factory=list)
    label_groups: list[str] | None = None
    label_ids: list[str] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    extras: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    change: str = ""
    wants_by_label: bool = False

    def as_dict(self) -> dict[str, Any]:
        """
        Return what ``index.json`` holds.

        Returns
        -------
        dict
            The fields, with format and version.
        """
        layout = "row-major and label-major" if self.by_label else "row-major"
        seldom = {"ids": "ids.npy", "change": "", "wants_by_label": False}
        entries = {key: value for key, value in asdict(self).items() if key not in seldom or value != seldom[key]}
        return {"format": FORMAT, "schema_version": SCHEMA_VERSION, "layout": layout} | entries

    @property
    def contents(self) -> dict[str, Any]:
        """What the store holds, whatever its files are called: names and hashes; no copy by label."""
        hashes = {name: entry["sha256"] for name, entry in self.files.items()}
        return {
            "names": [self.n_samples, self.models, self.labels, self.label_groups, self.label_ids, self.dtype],
            "scores": [hashes[name] for name in self.scores],
            "ids": hashes[self.ids],
            "facts": {key: hashes[name] for key, name in self.facts.items()},
            "extras": {key: hashes[name] for key, name in self.extras.items()},
        }


def _files_of(index: Mapping[str, Any]) -> list[str] | None:
    """Return the files of a store by its index."""
    files = index.get("files")
    if index.get("format") != FORMAT or not isinstance(files, dict):
        return None
    return [name for name in files if _is_store_file(name)]


def _rename(index: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return an index with other names of its files."""
    return {
        **index,
        **{part: [names.get(name, name) for name in index[part]] for part in ("scores", "by_label")},
        **{part: {key: names.get(name, name) for key, name in index[part].items()} for part in ("facts", "extras")},
        "ids": names.get(index.get("ids", "ids.npy"), "ids.npy"),
        "files": {names.get(name, name): entry for name, entry in index["files"].items()},
    }


STORE = ResultKind("a store", INDEX_NAME, _files_of, _rename)


def is_store(folder: str | os.PathLike[str]) -> bool:
    """
    Tell whether a folder is a prediction store.

    Parameters
    ----------
    folder : path-like
        The folder.

    Returns
    -------
    bool
        True where it holds an index.
    """
    return (Path(folder) / INDEX_NAME).is_file()


def read_index(folder: str | os.PathLike[str], *, verify: bool | None = None) -> StoreIndex:
    """
    Read a store's index and check its files.

    Parameters
    ----------
    folder : path-like
        The store.
    verify : bool, optional
        True hashes every file, False compares sizes only; by default small stores (below 256 MiB) are hashed.

    Returns
    -------
    StoreIndex
        What the index says.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it holds no index.
    ValueError
        If the index is damaged or newer than this version, or a file is missing, has another size or another hash.
    """
    place = Path(folder)
    if not is_store(place):
        state = "no index.json, perhaps an interrupted run" if place.is_dir() else "no such folder"
        raise FileNotFoundError(f"{place} must be a prediction store: got {state}; write it with `labelstack pack`.")
    where = place / INDEX_NAME
    with damage_of(f"{where}", "write the store again"):
        raw = read_json(where, f"{where}")
        if raw["format"] != FORMAT:
            raise ValueError(f"format is {str(raw['format'])[:40]!r}")
        version = raw["schema_version"]
        if type(version) is not int:
            raise ValueError(f"schema_version must be a whole number: got {str(version)[:40]!r}")
        if version <= SCHEMA_VERSION:
            index = StoreIndex(**{key: raw[key] for key in StoreIndex.__dataclass_fields__ if key in raw})
            _check_shape_of(index)
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{place} has schema {version}, of a newer version: this one reads up to {SCHEMA_VERSION}; upgrade."
        )
    _check_files(place, index, verify)
    return index


def _is_store_file(name: str) -> bool:
    """Tell whether a file name is one that stores use."""
    return _FILE_NAME.fullmatch(name) is not None


def describe_file(path: Path) -> dict[str, Any]:
    """
    Give a file's size and hash for the index.

    Parameters
    ----------
    path : Path
        A complete file.

    Returns
    -------
    dict
        ``bytes`` and ``sha256``.
    """
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _check_shape_of(index: StoreIndex) -> None:
    """Check that the index agrees with itself and names no file outside the folder."""
    _check_types(index)
    named = [*index.scores, *index.by_label, *index.facts.values(), *index.extras.values(), index.ids]
    if not all(_is_store_file(name) for name in [*named, *index.files]):
        raise ValueError("it names a file that no store has")
    if len(set(named)) < len(named):
        raise ValueError(f"it names {first_duplicate(named)!r} twice")
    if set(named) - set(index.files):
        raise ValueError(f"no hash for {first_names(sorted(set(named) - set(index.files)))}")
    n_models = len(index.models)
    if not len(index.scores) == len(index.content) == n_models or len(index.by_label) not in (0, n_models):
        raise ValueError("it must list one score file per model")
    if not n_models:
        raise ValueError("it must list at least one model")
    if index.dtype not in ("float32", "float16"):
        raise ValueError(f"dtype is {index.dtype!r}")


def _check_types(index: StoreIndex) -> None:
    """Check that every entry has the type that our own writer gives it."""
    for key in ("models", "labels", "scores", "content", "by_label", "label_groups", "label_ids"):
        values = getattr(index, key)
        optional = key in ("label_groups", "label_ids") and values is None
        if not optional and not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
            raise ValueError(f"{key} must be a list of texts")
    for key in ("facts", "extras", "files"):
        if not isinstance(getattr(index, key), dict):
            raise ValueError(f"{key} must be an object")
    if not all(isinstance(name, str) for name in [index.ids, *index.facts.values(), *index.extras.values()]):
        raise ValueError("ids, facts and extras must name files")
    if not isinstance(index.change, str) or not isinstance(index.wants_by_label, bool):
        raise ValueError("change must be a text and wants_by_label true or false")
    for name, entry in index.files.items():
        size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            raise ValueError(f"files must hold bytes and sha256 of {name[:40]!r}")
    if type(index.n_samples) is not int or index.n_samples < 0:
        raise ValueError(f"n_samples must be a whole number: got {str(index.n_samples)[:40]!r}")


def _check_files(folder: Path, index: StoreIndex, verify: bool | None) -> None:
    """Compare sizes, and hashes where asked for or cheap."""
    total = sum(int(entry["bytes"]) for entry in index.files.values())
    hashing = total < HASH_ON_LOAD_BYTES if verify is None else verify
    for name, entry in index.files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing from the store: restore it, or write the store again.")
        check_plain_file(path, folder, f"the store {folder}")
        wanted, found = entry["bytes"], path.stat().st_size
        if found != wanted:
            raise ValueError(f"{path} is damaged: it must have {wanted} bytes and has {found}; write the store again.")
        if hashing and sha256_file(path) != entry["sha256"]:
            raise ValueError(f"{path} is damaged: its SHA-256 is not the recorded one; write the store again.")
