"""Packed photos in an object store: copied to this machine, where they are mapped into memory, and put there once.

Photos are packed and read in a folder of this machine, a mirror of the URL that lies in the folder of caches. Only the
arrays that hold the wanted photos at the wanted sizes are copied. A size counts as there when the pack's index names
it, which is put after the array.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.packed.photo_pack import (
    INDEX,
    KEYS,
    MARKER,
    PACKS,
    SCHEMA_VERSION,
    PackFacts,
    array_name,
    decoded_alike,
    read_index,
    rows_of,
)
from stacking.files.atomic_files import OutputRefusedError, atomic_write_json, temporary_path
from stacking.files.ending import ending_with
from stacking.files.remote import cache_folder, naming, open_system, read_remote_json


def mirror_of(url: str) -> Path:
    """Return the folder of this machine where the packs of a URL are read and written.

    Parameters
    ----------
    url : str
        A folder of packs.

    Returns
    -------
    Path
        Where it need not be yet.
    """
    return cache_folder() / "photos" / hashlib.sha256(url.encode()).hexdigest()[:16]


def check_packs(url: str) -> None:
    """Refuse a URL that holds something else than packs.

    Parameters
    ----------
    url : str
        The address.

    Raises
    ------
    OutputRefusedError
        If it does.
    """
    system, place = open_system(url)
    with naming(url, "read"):
        if not system.exists(place) or (system.isdir(place) and not system.ls(place, detail=False)):
            return
        marker = read_remote_json(system, f"{place}/{MARKER}")
    if marker is None or PACKS.names_in(marker) is None:
        raise OutputRefusedError(f"{url} must be new, empty or {PACKS.name}: it holds something else; choose another.")


def fetch_packs(url: str, mirror: Path, keys: NDArray[np.uint64], sizes: Sequence[int]) -> None:
    """Copy the arrays that hold photos at some sizes, as far as they are not in the mirror; its lock is held.

    Parameters
    ----------
    url : str
        A folder of packs; it need not be there.
    mirror : Path
        Its mirror.
    keys : ndarray of uint64, shape (n_photos, 2)
        The photos.
    sizes : sequence of int
        Sides in pixels.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    check_packs(url)
    system, place = open_system(url)
    wanted, missing = PackFacts.of(keys), list(sizes)
    with naming(url, "read"):
        names = [PurePosixPath(name).name for name in system.ls(place, detail=False)] if system.exists(place) else []
        packs = sorted(
            (name for name in names if name.startswith("photos-")), key=lambda name: (name != wanted.name, name)
        )
        for name in packs:
            index = read_remote_json(system, f"{place}/{name}/{INDEX}")
            if index is None or index.get("schema_version") != SCHEMA_VERSION or not decoded_alike(index, wanted):
                continue
            held = [size for size in missing if str(size) in index["sizes"]]
            if not held:
                continue
            (mirror / name).mkdir(parents=True, exist_ok=True)
            _fetch(system, f"{place}/{name}/{KEYS}", mirror / name / KEYS)
            if rows_of(mirror / name, index, keys, wanted) is not None:
                _fetch_sizes(system, f"{place}/{name}", mirror / name, index, held)
                missing = [size for size in missing if size not in held]


def put_pack(url: str, pack: Path) -> None:
    """Put the sizes of a pack that its URL lacks.

    Parameters
    ----------
    url : str
        A folder of packs.
    pack : Path
        One pack in its mirror.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is still.
    """
    index = read_index(pack)
    if index is None:
        return
    system, root = open_system(url)
    place = f"{root}/{pack.name}"
    with naming(url, "written"):
        there = read_remote_json(system, f"{place}/{INDEX}") or {**index, "sizes": {}}
        lacking = [size for size, hashes in index["sizes"].items() if there["sizes"].get(size) != hashes]
        if not lacking:
            return
        system.makedirs(place, exist_ok=True)
        system.pipe_file(
            f"{root}/{MARKER}", json.dumps({"kind": "packed photos", "schema_version": SCHEMA_VERSION}).encode()
        )
        for name in (KEYS, *(array_name(int(size)) for size in lacking)):
            system.put_file(str(pack / name), f"{place}/{name}")
        sizes = {**there["sizes"], **{size: index["sizes"][size] for size in lacking}}
        system.pipe_file(f"{place}/{INDEX}", json.dumps({**index, "sizes": sizes}).encode())


def _fetch_sizes(system: Any, place: str, pack: Path, index: dict[str, Any], sizes: Sequence[int]) -> None:
    """Copy arrays and name them in the mirror's index."""
    own = read_index(pack) or {**index, "sizes": {}}
    for size in map(str, sizes):
        target = pack / array_name(int(size))
        if own["sizes"].get(size) != index["sizes"][size] or not target.is_file():
            _fetch(system, f"{place}/{target.name}", target)
            own["sizes"][size] = index["sizes"][size]
            atomic_write_json(pack / INDEX, {**own, "unreadable": index["unreadable"]})


def _fetch(system: Any, place: str, target: Path) -> None:
    """Copy a file, which appears when it is whole."""
    unfinished = temporary_path(target.parent)
    with ending_with(partial(unfinished.unlink, missing_ok=True)):
        system.get_file(place, str(unfinished))
        unfinished.replace(target)
