"""Precomputed features served like photos: batch by batch, a row's mirror image beside it on the last axis.

An array that has its mirror image on the last axis is mirrored by flipping that axis, as a photo is. So whatever draws
the flip of a photo or averages over both draws and averages here, from the same random numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.networks.network import MultilabelNetwork
from base_models.precomputed.feature_store import FeatureMetadata
from stacking.predictions.forms.matrix_files import MatrixFile
from stacking.process.memory import GIB

logger = logging.getLogger(__name__)

BLOCK_ROWS = 4096  # read at once; only speed and memory depend on it


class FeatureRows:
    """Serve the features of a run's photos.

    Parameters
    ----------
    matrices : sequence of MatrixFile
        One per variant: the photos, and where wanted their mirror images.
    metadata : FeatureMetadata
        What they hold.
    body : MultilabelNetwork
        What computed them, on the CPU.
    described : dict
        Where the body's weights came from and which store this is, for the record.
    failures : dict of int to str
        Photos that could not be read, by row, and why.
    keeps : bool
        Whether the features are kept in memory.
    """

    def __init__(
        self,
        matrices: Sequence[MatrixFile],
        metadata: FeatureMetadata,
        body: MultilabelNetwork,
        described: dict[str, Any],
        *,
        failures: dict[int, str],
        keeps: bool,
    ) -> None:
        self.matrices, self.metadata, self.body, self.described = tuple(matrices), metadata, body, described
        self.failures = failures
        self.size = metadata.size
        self.in_memory = keeps
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return self.metadata.n_photos

    def keep(self, on_photos: Callable[[int], None] | None = None) -> None:
        """Read all features into memory, if they are to be kept there.

        Parameters
        ----------
        on_photos : callable, optional
            Called with the number of rows read so far, now and then.
        """
        if not self.in_memory or self._kept is not None:
            return
        kept = torch.empty(
            len(self), self.metadata.n_columns, len(self.matrices), dtype=getattr(torch, self.metadata.dtype)
        )
        for start in range(0, len(self), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(self))
            kept[start:stop] = self._read(np.arange(start, stop))
            if on_photos is not None:
                on_photos(stop)
        self._kept = kept
        level = logging.INFO if kept.nbytes >= GIB else logging.DEBUG
        logger.log(level, "features of %d photos kept in memory (%.2f GiB)", len(self), kept.nbytes / GIB)

    def iter_batches(
        self, batches: Iterable[NDArray[np.int64]], *, reuse: bool = False
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Serve features batch by batch.

        Parameters
        ----------
        batches : iterable of ndarray
            The rows of each batch.
        reuse : bool, default=False
            As for photos, see `base_models.photos.tensors.PhotoTensors.iter_batches`; features get memory of their own.

        Yields
        ------
        tuple of ndarray and Tensor
            The rows and their features, (n_rows, n_channels, n_places, n_variants) float32.
        """
        self.keep()
        shape = (self.metadata.n_channels, self.metadata.n_places, len(self.matrices))
        for rows in batches:
            read = self._read(rows) if self._kept is None else self._kept[torch.from_numpy(rows)].float()
            yield rows, read.view(len(rows), *shape)

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        """Read rows from the disk: (n_rows, n_columns, n_variants) float32."""
        read = np.empty((len(self.matrices), len(rows), self.metadata.n_columns), np.float32)
        for matrix, part in zip(self.matrices, read, strict=True):
            matrix.read(rows, slice(None), part)
        return torch.from_numpy(read).permute(1, 2, 0).contiguous()
