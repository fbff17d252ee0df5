"""From files to photo ids and back: the file name without extension, or the path where names repeat in several folders.

A data set with one folder per patient or product has many files of one name; their photos are told apart by the path
below the root, ``p1/view1``. Where all names differ, the folders stay out of the ids.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from base_models.photos.decoding import PHOTO_SUFFIXES
from stacking._checks import first_names

logger = logging.getLogger(__name__)


def normalize_path(value: str) -> str:
    r"""Return a photo's path as tables write it, without photo suffix, with slashes, without ``./`` in front.

    Parameters
    ----------
    value : str
        A file name, a path or an id; ``v1.2`` is no file name and stays whole.

    Returns
    -------
    str
        For example ``p1/view1``.

    Examples
    --------
    >>> normalize_path("./p1\\view1.JPG"), normalize_path("v1.2")
    ('p1/view1', 'v1.2')
    """
    path = PurePosixPath(value.strip().replace("\\", "/").lstrip("/"))
    return str(path.with_suffix("") if path.suffix.lower() in PHOTO_SUFFIXES else path) if path.name else ""


def name_photos(paths: Sequence[str], prefixes: Mapping[str, str] | None = None) -> list[str]:
    """Name photos by their files: by the names if all differ, else by the paths.

    Parameters
    ----------
    paths : sequence of str
        Paths without photo suffix, see `normalize_path`; equal ones stand for one photo.
    prefixes : mapping, optional
        First folder → prefix of the names of the photos in it, so that splits may be numbered alike.

    Returns
    -------
    list of str
        One id per path.

    Examples
    --------
    >>> name_photos(["a/1", "b/2"]), name_photos(["a/1", "b/1"])
    (['1', '2'], ['a/1', 'b/1'])
    """
    names = []
    for path in paths:
        folder, slash, _ = path.partition("/")
        names.append(((prefixes or {}).get(folder, "") if slash else "") + path.rsplit("/", 1)[-1])
    return names if prefixes or len(set(names)) == len(set(paths)) else list(paths)


def match_photos(wanted: Sequence[str], paths: Sequence[str], names: Sequence[str], *, who: str) -> NDArray[np.int64]:
    """Find the photo that each row of a table means.

    Parameters
    ----------
    wanted : sequence of str
        Paths or ids without photo suffix.
    paths : sequence of str
        Paths of the photos below the root, without suffix.
    names : sequence of str
        Names of the photos, prefixes of splits included.
    who : str
        The table, for errors.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Place of each photo, −1 where it is not there. A path is compared from its end, as far as both go, so that the
        table may begin higher or lower than the root.

    Raises
    ------
    ValueError
        If a row could mean several photos.
    """
    by_name: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_name.setdefault(name.rsplit("/", 1)[-1], []).append(place)
    with_folders = any("/" in path for path in wanted)
    found = np.full(len(wanted), -1, dtype=np.int64)
    for row, path in enumerate(wanted):
        places = by_name.get(path.rsplit("/", 1)[-1], [])
        if len(places) > 1:
            exact = [place for place in places if paths[place] == path]
            places = exact if exact and with_folders else _longest_match(path, places, paths)
        if len(places) > 1:
            files = first_names([paths[place] for place in places])
            raise ValueError(
                f"{who} must say which photo is meant: {path!r} could be {files}; write the path below data.root, or "
                "rename the photos."
            )
        if places:
            found[row] = places[0]
    return found


def writable(paths: Iterator[tuple[str, int]], who: str) -> list[tuple[str, int]]:
    """Leave out files whose names could be no ids, since they are blank or no text that can be written, and say so.

    Parameters
    ----------
    paths : iterator of (str, int)
        Paths and sizes.
    who : str
        Where they are, for the log.

    Returns
    -------
    list of (str, int)
        Those whose names can be written, sorted.
    """
    kept: list[tuple[str, int]] = []
    odd: list[tuple[str, int]] = []
    for path, size in paths:
        (kept if can_be_named(path) else odd).append((path, size))
    if odd:
        logger.warning(
            "%d photos in %s are left out, since their names are blank or no UTF-8: %s",
            len(odd),
            who,
            first_names([p for p, _ in odd]),
        )
    return sorted(kept)


def can_be_named(path: str) -> bool:
    """Tell whether a photo's file can be its id.

    Parameters
    ----------
    path : str
        The path; Python puts lone surrogates for bytes that are no UTF-8.

    Returns
    -------
    bool
        False where the name without suffix is blank, or is no text.
    """
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return bool(path.rsplit("/", 1)[-1].rsplit(".", 1)[0].strip())


def _longest_match(path: str, places: Sequence[int], paths: Sequence[str]) -> list[int]:
    """Keep the photos that share most of the path's end; all of them where the path names no folder that tells."""
    parts = path.split("/")[::-1]
    shared = []
    for place in places:
        own = paths[place].split("/")[::-1]
        n_shared = next(
            (n for n, (a, b) in enumerate(zip(parts, own, strict=False)) if a != b), min(len(parts), len(own))
        )
        shared.append(n_shared)
    best = max(shared)
    return [place for place, n_shared in zip(places, shared, strict=True) if n_shared == best]
