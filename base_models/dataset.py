"""Photos as square uint8 tensors: decoded once and kept in memory, or decoded again by worker processes each time.

A photo that cannot be read becomes a white square and is reported; whoever reads decides what to do about it.
``check_photos`` finds them all before training, so that a run can leave them out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from base_models.photos import letterbox

__all__ = ["PhotoReader", "PhotoTensors", "check_photos"]

logger = logging.getLogger(__name__)

GIB = 2**30
DECODE_BATCH = 256


class PhotoReader(Protocol):
    """What a manifest must offer to be read from."""

    def read_photo(self, row: int) -> Image.Image:
        """Return photo number ``row`` as an RGB image, or raise what says why not.

        Parameters
        ----------
        row : int
            Number of the photo.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.
        """
        ...


class PhotoTensors(Dataset[tuple[Tensor, str]]):
    """Serve the photos of a manifest at one size.

    Parameters
    ----------
    reader : PhotoReader
        The manifest.
    indices : ndarray of shape (n_photos,)
        Which photos of the manifest, in the order of this source's rows.
    size : int
        Side of the letterboxed squares, in pixels.
    cache : {"auto", "memory", "none"}
        Whether to keep the decoded photos.
    cache_gib : float
        With ``auto``, they are kept if they fit in this many GiB.
    n_workers : int
        Worker processes for photos that are not kept.
    """

    def __init__(
        self,
        reader: PhotoReader,
        indices: NDArray[np.int64],
        size: int,
        *,
        cache: str = "auto",
        cache_gib: float = 4.0,
        n_workers: int = 0,
    ) -> None:
        self.reader = reader
        self.indices = indices
        self.size = size
        self.n_workers = n_workers
        self.failures: dict[int, str] = {}
        n_bytes = len(indices) * 3 * size * size
        self.in_memory = cache == "memory" or (cache == "auto" and n_bytes <= cache_gib * GIB)
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> tuple[Tensor, str]:
        """Decode one photo: its tensor (3, size, size), and why it could not be read or ''."""
        try:
            pixels = letterbox(self.reader.read_photo(int(self.indices[row])), self.size)  # (size, size, 3)
        except (OSError, ValueError) as error:
            return torch.full((3, self.size, self.size), 255, dtype=torch.uint8), str(error) or type(error).__name__
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), ""

    def keep(self, on_photos: Callable[[int], None] | None = None) -> None:
        """Decode every photo into memory, if this source keeps them.

        Parameters
        ----------
        on_photos : callable, optional
            Called with the number of photos decoded so far, now and then.
        """
        if not self.in_memory or self._kept is not None:
            return
        kept = torch.empty((len(self), 3, self.size, self.size), dtype=torch.uint8)
        for rows, photos in self._decode(_in_order(len(self)), on_photos):
            kept[torch.from_numpy(rows)] = photos
        self._kept = kept
        logger.info("%d photos of %d pixels kept in memory (%.2f GiB)", len(self), self.size, kept.numel() / GIB)

    def iter_batches(self, batches: Iterable[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Serve photos batch by batch.

        Parameters
        ----------
        batches : iterable of ndarray
            The rows of each batch.

        Yields
        ------
        tuple of ndarray and Tensor
            The rows and their photos, (n_rows, 3, size, size) uint8.
        """
        self.keep()
        if self._kept is None:
            yield from self._decode(list(batches))
            return
        for rows in batches:
            yield rows, self._kept[torch.from_numpy(rows)]

    def _decode(
        self, batches: list[NDArray[np.int64]], on_photos: Callable[[int], None] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Decode photos batch by batch, in worker processes if there are any."""
        loader = DataLoader(
            self,
            batch_sampler=[rows.tolist() for rows in batches],
            num_workers=self.n_workers,
            collate_fn=_collate,
            generator=torch.Generator(),  # else the loader would draw from the global one
        )
        n_read = 0
        for rows, (photos, reasons) in zip(batches, loader, strict=True):
            self.failures.update({int(row): reason for row, reason in zip(rows, reasons, strict=True) if reason})
            n_read += len(rows)
            if on_photos is not None:
                on_photos(n_read)
            yield rows, photos


def check_photos(source: PhotoTensors, on_photos: Callable[[int], None] | None = None) -> dict[int, str]:
    """Read every photo once and report those that cannot be read.

    Parameters
    ----------
    source : PhotoTensors
        The photos; afterwards it holds them, if it keeps photos in memory.
    on_photos : callable, optional
        Called with the number of photos read so far, now and then.

    Returns
    -------
    dict of int to str
        The reason by row, ascending.
    """
    if source.in_memory:
        source.keep(on_photos)
    else:
        for _ in source._decode(_in_order(len(source)), on_photos):
            pass
    return dict(sorted(source.failures.items()))


def _in_order(n_rows: int) -> list[NDArray[np.int64]]:
    """Cut all rows into batches for decoding."""
    return np.array_split(np.arange(n_rows), -(-n_rows // DECODE_BATCH)) if n_rows else []


def _collate(items: list[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    """Stack the photos of a batch and keep the reasons beside them."""
    return torch.stack([photo for photo, _ in items]), [reason for _, reason in items]
