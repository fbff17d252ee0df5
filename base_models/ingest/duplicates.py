"""Photos that are other photos again: copied, resized, or compressed once more.

Each photo has an average hash (which of 8 × 8 cells are brighter than their mean; Krawetz, "Looks Like It", 2011). The
hash alone sees neither colour nor detail, and in photos of garments on white it takes a red shirt for a blue one; so it
only finds candidates, and the 16 × 16 thumbnails, in colour, decide. Cells close to the mean could have fallen either
way in a copy: both ways are looked up.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from base_models.ingest.clean_photo import THUMBNAIL_SIDE

__all__ = ["average_hash", "find_duplicates"]

_UNCERTAIN_LEVELS = 2.0
_MOST_UNCERTAIN = 6
_MOST_DIFFERENCE = 20  # levels, in any cell and channel
_MEAN_DIFFERENCE = 1.5
_ASPECT_TOLERANCE = 0.03
_STEP = 3.0  # levels of mean color; garments on white share their hash far too often to compare them all


def average_hash(thumbnail: NDArray[np.uint8]) -> tuple[int, list[int]]:
    """Compute the average hash of a thumbnail, and which of its bits a copy may have the other way.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (16, 16, 3)
        RGB cells.

    Returns
    -------
    bits : int
        64 bits, the first cell highest.
    uncertain : list of int
        Values of the (at most six) single bits whose cells lie within two gray levels of the mean.

    Examples
    --------
    >>> thumbnail = np.zeros((16, 16, 3), np.uint8)
    >>> thumbnail[:2, :2] = 255
    >>> hex(average_hash(thumbnail)[0])
    '0x8000000000000000'
    """
    half = THUMBNAIL_SIDE // 2
    gray = thumbnail.astype(np.float64).mean(axis=2).reshape(half, 2, half, 2).mean(axis=(1, 3)).ravel()
    distance = gray - gray.mean()
    bits = int.from_bytes(np.packbits(distance > 0).tobytes(), "big")
    nearest = np.argsort(np.abs(distance), kind="stable")[:_MOST_UNCERTAIN]
    return bits, [1 << (63 - int(cell)) for cell in nearest if abs(distance[cell]) < _UNCERTAIN_LEVELS]


def find_duplicates(
    hashes: list[str], thumbnails: NDArray[np.uint8], aspects: NDArray[np.float64], *, near: bool = True
) -> NDArray[np.int64]:
    """Find for every photo the earlier one that it repeats.

    Parameters
    ----------
    hashes : list of str
        Hash of each photo's pixels.
    thumbnails : ndarray of uint8, shape (n_photos, 16, 16, 3)
        RGB cells.
    aspects : ndarray of float, shape (n_photos,)
        Width over height.
    near : bool, default=True
        Also find resized and recompressed copies, not only exact ones.

    Returns
    -------
    ndarray of int64, shape (n_photos,)
        Row of the first photo that is the same; −1 for photos that repeat none. A photo that repeats another is never
        itself the original of a third.

    Notes
    -----
    At most 512 look-ups per photo, and one comparison of thumbnails per photo of equal average hash and mean color.
    """
    original = np.full(len(hashes), -1, dtype=np.int64)
    exact: dict[str, int] = {}
    seen: dict[tuple[int, ...], list[int]] = {}
    for row, digest in enumerate(hashes):
        first = exact.setdefault(digest, row)
        if first != row:
            original[row] = original[first] if original[first] >= 0 else first
            continue
        if not near:
            continue
        own, keys = _keys(thumbnails[row])
        candidates = [other for key in keys for other in seen.get(key, ())]
        match = _first_match(row, candidates, thumbnails, aspects)
        if match is None:
            seen.setdefault(own, []).append(row)
        else:
            original[row] = match
    return original


def _keys(thumbnail: NDArray[np.uint8]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the key of a photo (average hash and mean color in steps) and the keys that a copy of it may have."""
    bits, uncertain = average_hash(thumbnail)
    means = thumbnail.reshape(-1, 3).mean(axis=0)
    reach = _MEAN_DIFFERENCE
    colors = itertools.product(*(sorted({int((m - reach) // _STEP), int((m + reach) // _STEP)}) for m in means))
    hashes = [
        bits ^ sum(itertools.compress(uncertain, flips)) for flips in itertools.product((0, 1), repeat=len(uncertain))
    ]
    own = (bits, *(int(mean // _STEP) for mean in means))
    return own, [(key, *color) for color in colors for key in hashes]


def _first_match(
    row: int, candidates: list[int], thumbnails: NDArray[np.uint8], aspects: NDArray[np.float64]
) -> int | None:
    """Return the first candidate whose colours and proportions are those of the photo."""
    if not candidates:
        return None
    rows = np.array(sorted(candidates), dtype=np.int64)
    rows = rows[np.abs(aspects[rows] / aspects[row] - 1) < _ASPECT_TOLERANCE]
    if not len(rows):
        return None
    difference = np.abs(thumbnails[rows].astype(np.int16) - thumbnails[row]).reshape(len(rows), -1)
    same = (difference.max(axis=1) <= _MOST_DIFFERENCE) & (difference.mean(axis=1) <= _MEAN_DIFFERENCE)
    return int(rows[same][0]) if same.any() else None
