"""What every kind of map needs: a network that answers and is left as it was, checked labels, maps of one scale."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork

Maps: TypeAlias = NDArray[np.float32]


@contextlib.contextmanager
def answering(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every part of it back into the mode that it was in.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Yields
    ------
    None
        Nothing; the network answers inside.
    """
    modes = {part: part.training for part in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_columns(labels: NDArray[np.int64], n_photos: int, n_labels: int) -> NDArray[np.int64]:
    """Check which labels are asked of which photo.

    Parameters
    ----------
    labels : ndarray of int64, shape (n_asked,) or (n_photos, n_asked)
        Columns of the network's answer, the same for every photo or each photo's own.
    n_photos, n_labels : int
        Photos and labels there are.

    Returns
    -------
    ndarray of int64, shape (n_photos, n_asked)
        Columns photo by photo.

    Raises
    ------
    ValueError
        If the shape is another or a column does not exist.
    """
    columns = np.asarray(labels)
    if columns.ndim == 1:
        columns = np.broadcast_to(columns, (n_photos, len(columns)))
    if columns.ndim != 2 or len(columns) != n_photos or not np.issubdtype(columns.dtype, np.integer):
        raise ValueError(
            f"labels must be whole numbers of shape (n_asked,) or ({n_photos}, n_asked): got {columns.dtype} of shape "
            f"{np.shape(labels)}."
        )
    if columns.size and not 0 <= columns.min() <= columns.max() < n_labels:
        raise ValueError(f"labels must lie in 0 … {n_labels - 1}: got {columns.min()} … {columns.max()}.")
    return columns.astype(np.int64)


def scale_to_peak(maps: Tensor) -> Tensor:
    """Divide every map by its highest value, so that maps of labels with large and small logits compare.

    Parameters
    ----------
    maps : Tensor
        Shape (…, height, width), not negative.

    Returns
    -------
    Tensor
        Same shape, in [0, 1]; maps that are zero everywhere stay so.
    """
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    return torch.where(peak > 0, maps / peak.clamp(min=torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))


def maps_by_epoch(
    network: LabelwiseNetwork,
    photos: Tensor,
    labels: NDArray[np.int64],
    compute: Callable[[MultilabelNetwork, Tensor, NDArray[np.int64]], Maps],
) -> Maps:
    """Take every label's map from the network of its own epoch.

    Parameters
    ----------
    network : LabelwiseNetwork
        One network per epoch that is some label's best.
    photos : Tensor
        Shape (n_photos, 3, size, size).
    labels : ndarray of int64, shape (n_asked,) or (n_photos, n_asked)
        Columns.
    compute : callable
        Gives the maps of one network, of some photos and their columns (n_photos, n_asked).

    Returns
    -------
    ndarray of float32, shape (n_photos, n_asked, height, width)
        Maps in [0, 1].
    """
    columns = check_columns(labels, len(photos), len(network.label_epochs))
    epochs = np.array(network.label_epochs)[columns]  # (n_photos, n_asked)
    maps = np.zeros((*columns.shape, 1, 1), np.float32)
    for epoch, part in network.by_epoch().items():
        own = epochs == epoch
        rows = np.flatnonzero(own.any(axis=1))
        if len(rows):
            found = compute(part, photos[torch.from_numpy(rows)], columns[rows])
            maps = np.broadcast_to(maps, (*columns.shape, *found.shape[2:])).copy()
            maps[own] = found[own[rows]]
    return maps
