"""Photos that are other photos again: copied, resized, or compressed once more.

Two photos are the same when their 16 × 16 thumbnails, in colour, nearly are. To compare each with all would take weeks
for a million, so the photos are kept in a k-d tree (Bentley, "Multidimensional binary search trees used for associative
searching", Communications of the ACM, 1975) over the thumbnails' 4 × 4 blocks. Where a cell is crowded it is divided by
the block that differs most inside it: in photos of one cut on white that is the print, not the silhouette. A copy is
looked for on both sides of every division that is near.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from base_models.ingest.clean_photo import THUMBNAIL_SIDE

_MOST_DIFFERENCE = 20  # levels, in any cell and channel
_MEAN_DIFFERENCE = 1.5
_SUM_DIFFERENCE = round(_MEAN_DIFFERENCE * 3 * THUMBNAIL_SIDE**2)
_ASPECT_TOLERANCE = 0.03
_BLOCK_SIDE = 4
_REACH = 3 * _BLOCK_SIDE**2  # three levels in the mean of a block; copies of half the size differ by one or two
_CROWDED = 64
_COMPARED_AT_ONCE = 256


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
    About O(n log n); beside the thumbnails some 200 bytes per photo. All exact copies are found. A near copy is missed
    if one of the blocks that divide the tree at its place has changed by more than three levels: about one in a hundred
    of those saved at half the size.
    """
    original = np.full(len(hashes), -1, dtype=np.int64)
    exact: dict[str, int] = {}
    for row, digest in enumerate(hashes):
        first = exact.setdefault(digest, row)
        if first != row:
            original[row] = first
    if near and len(hashes):
        _find_near(original, thumbnails, aspects)
        copies = np.flatnonzero(original >= 0)
        firsts = original[copies]  # an exact copy of a near copy points to the original of that
        original[copies] = np.where(original[firsts] >= 0, original[firsts], firsts)
    return original


def _find_near(original: NDArray[np.int64], thumbnails: NDArray[np.uint8], aspects: NDArray[np.float64]) -> None:
    """Fill in the originals of photos that are no exact copies, in their order."""
    blocks = _block_sums(thumbnails)
    tree = _BlockTree(blocks)
    for row in np.flatnonzero(original < 0).tolist():
        values = blocks[row].tolist()
        match = _first_match(row, tree.near(values), blocks, thumbnails, aspects)
        if match < 0:
            tree.add(row, values)
        else:
            original[row] = match


class _Cell:
    """Photos, or a division into two cells: at most `middle` in one block, and above it."""

    __slots__ = ("above", "below", "column", "limit", "middle", "rows")

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        self.limit = max(_CROWDED, 2 * len(rows))
        self.column, self.middle = -1, 0
        self.below: _Cell | None = None
        self.above: _Cell | None = None


class _BlockTree:
    """A k-d tree over the blocks of thumbnails that grows photo by photo."""

    def __init__(self, blocks: NDArray[np.int16]) -> None:
        self._blocks = blocks
        self._root = _Cell([])

    def near(self, values: list[int]) -> list[int]:
        """Return the photos in all cells within reach."""
        found: list[int] = []
        cells = [self._root]
        while cells:
            cell = cells.pop()
            if cell.below is None or cell.above is None:
                found += cell.rows
                continue
            distance = values[cell.column] - cell.middle
            if distance <= _REACH:
                cells.append(cell.below)
            if distance > -_REACH:
                cells.append(cell.above)
        return found

    def add(self, row: int, values: list[int]) -> None:
        """Add one photo, dividing its cell where it gets crowded."""
        cell = self._root
        while cell.below is not None and cell.above is not None:
            cell = cell.below if values[cell.column] <= cell.middle else cell.above
        cell.rows.append(row)
        if len(cell.rows) > cell.limit:
            self._divide(cell)

    def _divide(self, cell: _Cell) -> None:
        """Divide a cell at the mean of the block that varies most, unless both sides would always be searched."""
        blocks = self._blocks[cell.rows]
        spread = blocks.std(axis=0)
        column = int(spread.argmax())
        if spread[column] < _REACH / 2:
            cell.limit *= 2
            return
        middle = int(blocks[:, column].mean())  # between the white of most photos and the garments of some
        low = blocks[:, column] <= middle
        rows = np.array(cell.rows)
        cell.column, cell.middle, cell.rows = column, middle, []
        cell.below, cell.above = _Cell(rows[low].tolist()), _Cell(rows[~low].tolist())


def _block_sums(thumbnails: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Add up the values of 4 × 4 blocks, shape (n_photos, 48)."""
    side = THUMBNAIL_SIDE // _BLOCK_SIDE
    inside = thumbnails.reshape(-1, side, _BLOCK_SIDE, side, _BLOCK_SIDE, 3)
    return inside.sum(axis=(2, 4), dtype=np.int16).reshape(len(thumbnails), -1)


def _first_match(
    row: int,
    candidates: list[int],
    blocks: NDArray[np.int16],
    thumbnails: NDArray[np.uint8],
    aspects: NDArray[np.float64],
) -> int:
    """Return the first candidate whose colours and proportions are those of the photo, or −1."""
    if not candidates:
        return -1
    rows = np.array(candidates, dtype=np.int64)
    # blocks differ by no more than their thumbnails do
    rows = rows[np.abs(blocks[rows] - blocks[row]).sum(axis=1, dtype=np.int32) <= _SUM_DIFFERENCE]
    rows = np.sort(rows[np.abs(aspects[rows] / aspects[row] - 1) < _ASPECT_TOLERANCE])
    for start in range(0, len(rows), _COMPARED_AT_ONCE):
        some = rows[start : start + _COMPARED_AT_ONCE]
        difference = np.abs(thumbnails[some].astype(np.int16) - thumbnails[row]).reshape(len(some), -1)
        same = (difference.max(axis=1) <= _MOST_DIFFERENCE) & (difference.sum(axis=1) <= _SUM_DIFFERENCE)
        if same.any():
            return int(some[same.argmax()])
    return -1
