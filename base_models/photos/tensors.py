"""Photos as square uint8 tensors: packed on the disk, kept in memory, or decoded again by worker processes each time.

A photo that cannot be read becomes a white square and is reported; whoever reads decides what to do about it.
``check_photos`` finds them all before training, so that a run can leave them out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from base_models.device import ahead, free_memory, is_cuda, is_out_of_memory, loader_workers, send
from base_models.photos.decoding import letterbox
from base_models.photos.worker_end import end_quietly
from stacking.process.child_processes import safe_path
from stacking.process.memory import GIB

logger = logging.getLogger(__name__)

DECODE_BATCH = 256  # photos between two reports of progress; only speed and memory depend on it
SHARE_OF_DEVICE = 0.25  # of a GPU's free memory, for photos; the rest is for activations; only speed depends on it


class PhotoReader(Protocol):
    """What a manifest must offer to be read from."""

    def read_photo(self, row: int, at_least: int = 0) -> Image.Image:
        """Return photo number ``row`` as an RGB image, or raise what says why not.

        Parameters
        ----------
        row : int
            Number of the photo.
        at_least : int
            Longest side that is needed, in pixels; a smaller picture may be returned faster. 0 asks for the whole.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.
        """
        ...


class DecodedPhotos(Protocol):
    """Photos of one size that are decoded already, such as `base_models.packed.photo_pack.PackedPhotos`."""

    size: int
    failures: dict[int, str]

    def __len__(self) -> int: ...

    def take(self, places: NDArray[np.int64], out: Tensor) -> None:
        """Copy photos.

        Parameters
        ----------
        places : ndarray of int64, shape (n_photos,)
            Which.
        out : Tensor of uint8, shape (n_photos, size, size, 3)
            Filled with them.
        """
        ...


class PhotoTensors:
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
        Whether to keep the decoded photos in memory.
    cache_gib : float
        With ``auto``, they are kept if they fit in this many GiB and are not packed.
    n_workers : int
        Worker processes for photos that are not kept. They are started once, and end with this object. -1 stands for
        none, as on a CPU; whoever knows the device asks ``loader_workers``.
    packed : DecodedPhotos, optional
        The same photos, in the order of the rows, decoded before; then nothing is decoded here.
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
        packed: DecodedPhotos | None = None,
    ) -> None:
        if packed is not None and (packed.size, len(packed)) != (size, len(indices)):
            raise ValueError(
                f"packed must hold the {len(indices)} photos at {size} pixels: got {len(packed)} at {packed.size}."
            )
        self.reader = reader
        self.indices = indices
        self.size = size
        self.n_workers = loader_workers(n_workers, "cpu")
        self.packed = packed
        self.failures: dict[int, str] = {} if packed is None else dict(packed.failures)
        self.n_bytes = len(indices) * 3 * size * size
        fits = cache == "auto" and self.n_bytes <= cache_gib * GIB
        self.in_memory = cache == "memory" or (fits and packed is None)  # the system keeps what is read from the disk
        self._decoder = _Decoder(reader, indices, size)
        self._kept: Tensor | None = None
        self._there: Tensor | None = None  # the same on a GPU
        self._gathers_ahead = False
        self._batch: Tensor | None = None  # memory of the last pass's batches
        self._idle: _Loader | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def keep(self, on_photos: Callable[[int], None] | None = None) -> None:
        """Bring every photo into memory, if this source keeps them.

        Parameters
        ----------
        on_photos : callable, optional
            Called with the number of photos read so far, now and then.
        """
        if not self.in_memory or self._kept is not None:
            return
        kept = torch.empty((len(self), self.size, self.size, 3), dtype=torch.uint8)
        if self.packed is not None:
            self.packed.take(np.arange(len(self)), kept)
        else:
            for rows, photos in self.decode(_in_order(len(self)), on_photos):
                kept[torch.from_numpy(rows)] = photos.permute(0, 2, 3, 1)
        self._kept, self._idle = kept, None
        level = logging.INFO if kept.numel() >= GIB else logging.DEBUG  # worth knowing where it is much
        logger.log(level, "%d photos of %d pixels kept in memory (%.2f GiB)", len(self), self.size, kept.numel() / GIB)

    def iter_batches(
        self, batches: Sequence[NDArray[np.int64]], *, reuse: bool = False
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Serve photos batch by batch.

        Parameters
        ----------
        batches : sequence of ndarray
            The rows of each batch.
        reuse : bool, default=False
            Whether the next batch, and the next pass, may take the memory of the one before, which spares the system
            from finding memory anew: a third of the time at 224 pixels.

        Yields
        ------
        tuple of ndarray and Tensor
            The rows and their photos, (n_rows, 3, size, size) uint8, channels last in memory; on the GPU that
            ``serve`` has put them on.
        """
        self.keep()
        if self._kept is None and self.packed is None:
            yield from self.decode(batches)
        elif self._gathers_ahead:
            yield from ahead(self._gather_pinned, batches)
        else:
            buffer, self._batch = self._batch if reuse else None, None  # two passes at once share none
            for rows in batches:
                if self._there is not None:  # it may leave the device meanwhile
                    yield rows, self._there[send(torch.from_numpy(rows), self._there.device)].permute(0, 3, 1, 2)
                    continue
                if buffer is None or len(buffer) < len(rows) or not reuse:
                    buffer = self._empty(len(rows))
                yield rows, self._gather(rows, buffer[: len(rows)])
            self._batch = buffer if reuse else None

    def serve(self, device: str) -> None:
        """Prepare to serve decoded photos to a device: from its own memory where they take little of it.

        Parameters
        ----------
        device : str
            Where batches go. For a GPU, photos that take less than ``SHARE_OF_DEVICE`` of what is free are copied
            there, and others are gathered by a thread while the GPU computes. For a CPU nothing changes.
        """
        decoded = self._kept is not None or self.packed is not None
        if not decoded or not is_cuda(device) or self._there is not None or self._gathers_ahead:
            return
        self._gathers_ahead = self.n_bytes > SHARE_OF_DEVICE * free_memory(device)
        if not self._gathers_ahead:
            try:
                self._there = self._copy_to(device)
                logger.info("%d photos of %d pixels lie on %s", len(self), self.size, device)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._gathers_ahead = True

    def leave_device(self) -> None:
        """Give back a device's memory that photos lie in; they are then gathered from the program's."""
        self._gathers_ahead = self._gathers_ahead or self._there is not None
        self._there = None

    def _empty(self, n_rows: int, **how: Any) -> Tensor:
        """Return memory for photos."""
        with torch.inference_mode(mode=False):  # a pass of scoring may leave it to a training's
            return torch.empty((n_rows, self.size, self.size, 3), dtype=torch.uint8, **how)

    def _gather(self, rows: NDArray[np.int64], out: Tensor) -> Tensor:
        """Copy decoded photos side by side; return them as (n_rows, 3, size, size)."""
        if self._kept is not None:
            torch.index_select(self._kept, 0, torch.from_numpy(rows), out=out)
        elif self.packed is not None:
            self.packed.take(rows, out)
        return out.permute(0, 3, 1, 2)

    def _gather_pinned(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tensor]:
        """Gather in memory that a GPU can fetch photos from; torch itself keeps such memory and hands it out again."""
        return rows, self._gather(rows, self._empty(len(rows), pin_memory=torch.cuda.is_available()))

    def _copy_to(self, device: str) -> Tensor:
        """Copy all photos to a device; packed ones a few at a time, so that the program's memory never holds all."""
        if self._kept is not None:
            return self._kept.to(device)
        there = self._empty(len(self), device=device)
        for rows in _in_order(len(self)):
            here = self._empty(len(rows))
            self._gather(rows, here)
            there[int(rows[0]) : int(rows[-1]) + 1] = here.to(device)
        return there

    def decode(
        self, batches: Sequence[NDArray[np.int64]], on_photos: Callable[[int], None] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Decode photos batch by batch, in worker processes if there are any.

        Parameters
        ----------
        batches : sequence of ndarray
            The rows of each batch.
        on_photos : callable, optional
            Called with the number of photos decoded so far.

        Yields
        ------
        tuple of ndarray and Tensor
            The rows and their photos, (n_rows, 3, size, size) uint8.
        """
        loader, self._idle = self._idle or _Loader(self._decoder, self.n_workers), None  # two passes at once share none
        n_read = 0
        try:
            for rows, (photos, reasons) in zip(batches, loader.serve(batches), strict=True):
                self.failures.update({int(rows[place]): reason for place, reason in reasons.items()})
                n_read += len(rows)
                if on_photos is not None:
                    on_photos(n_read)
                yield rows, photos
        finally:
            self._idle = loader


class _Decoder(Dataset[tuple[Tensor, dict[int, str]]]):
    """Decode the photos of one batch: all that a worker process needs to know."""

    def __init__(self, reader: PhotoReader, indices: NDArray[np.int64], size: int) -> None:
        self.reader, self.indices, self.size = reader, indices, size

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[Tensor, dict[int, str]]:
        """Return photos (n_rows, 3, size, size), and by place why one could not be read."""
        squares = np.full((len(rows), self.size, self.size, 3), 255, np.uint8)
        reasons: dict[int, str] = {}
        for place, index in enumerate(self.indices[rows]):
            try:
                squares[place] = letterbox(self.reader.read_photo(int(index), self.size), self.size)
            except (OSError, ValueError) as error:
                reasons[place] = str(error) or type(error).__name__
        return torch.from_numpy(squares).permute(0, 3, 1, 2), reasons  # channels last in memory, as networks want them


class _Loader:
    """torch's loader for batches that change from pass to pass, so that its processes need not be started again."""

    def __init__(self, decoder: _Decoder, n_workers: int) -> None:
        self._batches: list[NDArray[np.int64]] = []
        self._loader = DataLoader(
            decoder,
            batch_size=None,  # a sample is a whole batch
            sampler=self._batches,
            num_workers=n_workers,
            worker_init_fn=end_quietly,
            persistent_workers=n_workers > 0,
            generator=torch.Generator(),  # else the loader would draw from the global one
        )

    def serve(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Tensor, dict[int, str]]]:
        """Decode batch by batch, in order."""
        self._batches[:] = batches
        with safe_path():  # the first pass starts the processes
            return iter(self._loader)


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
    if source.packed is not None:  # whoever packed them has read them all
        return dict(sorted(source.failures.items()))
    if source.in_memory:
        source.keep(on_photos)
    else:
        for _ in source.decode(_in_order(len(source)), on_photos):
            pass
    return dict(sorted(source.failures.items()))


def _in_order(n_rows: int) -> list[NDArray[np.int64]]:
    """Cut all rows into batches for decoding."""
    return np.array_split(np.arange(n_rows), -(-n_rows // DECODE_BATCH)) if n_rows else []
