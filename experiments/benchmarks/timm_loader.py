"""Photos through timm's own loader, for the benchmarks of training loops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.loader import create_loader
from torch import Tensor


class PhotoDataset(torch.utils.data.Dataset[tuple[Any, Tensor]]):
    """Photos with their labels, as many rows as asked for, which go through the files as often as needed.

    Parameters
    ----------
    files : sequence of Path
        The photos.
    y_true : ndarray of shape (n_photos, n_labels)
        Their labels.
    n_rows : int
        Rows of a pass.
    kept_size : int, default 0
        Side in pixels at which the photos are kept in memory; 0 opens the files each time.
    """

    transform: Any = None  # set by timm

    def __init__(self, files: Sequence[Path], y_true: NDArray[np.uint8], n_rows: int, kept_size: int = 0) -> None:
        self.files, self.truth, self.n_rows = files, torch.from_numpy(y_true).float(), n_rows
        side = (kept_size, kept_size)
        self.kept = [_open(file).resize(side, Image.Resampling.BICUBIC) for file in files] if kept_size else []

    def __len__(self) -> int:
        """Return the rows of a pass."""
        return self.n_rows

    def __getitem__(self, row: int) -> tuple[Any, Tensor]:
        """Return a photo and its labels."""
        row %= len(self.files)
        return self.transform(self.kept[row] if self.kept else _open(self.files[row])), self.truth[row]


def timm_loader(dataset: PhotoDataset, size: int, batch_size: int, *, device: str, **options: Any) -> Any:
    """Create timm's loader for training, with mirrored photos as the only change.

    Parameters
    ----------
    dataset : PhotoDataset
        The photos.
    size : int
        Side of the photos in pixels.
    batch_size : int
        Photos of a batch.
    device : str
        Where they go.
    **options
        Other arguments of ``timm.data.create_loader``.

    Returns
    -------
    iterable
        Yields photos and labels.
    """
    return create_loader(
        dataset,  # type: ignore[arg-type]  # any dataset will do
        (3, size, size),
        batch_size,
        is_training=True,
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        hflip=0.5,
        color_jitter=None,  # type: ignore[arg-type]  # none at all
        interpolation="bicubic",
        device=torch.device(device),
        collate_fn=_collate,
        **options,
    )


def _open(file: Path) -> Image.Image:
    """Decode a photo."""
    return Image.open(file).convert("RGB")


def _collate(batch: list[tuple[Any, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack photos and labels."""
    return torch.from_numpy(np.stack([photo for photo, _ in batch])), torch.stack([target for _, target in batch])
