"""The maps of the attention head: where each label looks.

They are part of the answer itself, not a reading of it afterwards: the head pools the feature map by them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.device import arithmetic
from base_models.explanation.targets import answering, check_columns, maps_by_epoch, scale_to_peak
from base_models.networks.feature_maps import run_body
from base_models.networks.heads.attention import AttentionHead
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.transforms import normalize_photos
from base_models.training.scoring import split_evenly


def has_attention(network: MultilabelNetwork | LabelwiseNetwork) -> bool:
    """Tell whether a network has the attention head.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        Any.

    Returns
    -------
    bool
        Whether `attention_maps` can be asked of it.
    """
    parts = network.by_epoch().values() if isinstance(network, LabelwiseNetwork) else [network]
    return all(isinstance(part.head, AttentionHead) for part in parts)


def attention_maps(
    network: MultilabelNetwork | LabelwiseNetwork,
    photos: Tensor,
    labels: NDArray[np.int64],
    *,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Compute where labels look in photos.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        A trained network with the attention head; its weights, its mode and the random generators are left as they
        are.
    photos : Tensor
        Shape (n_photos, 3, size, size), values in [0, 255].
    labels : ndarray of int64, shape (n_asked,) or (n_photos, n_asked)
        Columns of the labels, the same for every photo or each photo's own.
    batch_size : int
        Photos at a time.

    Returns
    -------
    ndarray of float32, shape (n_photos, n_asked, height, width)
        The label's attention over the places of the last feature map, divided by its highest value: in (0, 1]. A
        label that looks everywhere alike has a map of ones.

    Raises
    ------
    ValueError
        If the network has another head, or the columns do not exist.
    """
    if isinstance(network, LabelwiseNetwork):
        return maps_by_epoch(network, photos, labels, lambda *asked: attention_maps(*asked, batch_size=batch_size))
    if not isinstance(network.head, AttentionHead):
        raise ValueError(
            f"network must have the attention head for attention maps: it has {type(network.head).__name__}; use "
            "Grad-CAM."
        )
    columns = check_columns(labels, len(photos), network.head.out_features)
    device = next(network.parameters()).device
    maps = []
    with answering(network), torch.no_grad(), arithmetic("float32", device):
        for rows in split_evenly(np.arange(len(photos)), batch_size):
            shown = normalize_photos(photos[torch.from_numpy(rows)].to(device), network.mean, network.std)
            attention = network.head.attend(run_body(network.body, shown, network.head.needs)[1].float())
            asked = torch.from_numpy(columns[rows]).to(device)
            maps.append(scale_to_peak(attention[torch.arange(len(rows), device=device)[:, None], asked]).cpu().numpy())
    return np.concatenate(maps) if maps else np.zeros((0, columns.shape[1], 1, 1), np.float32)
