"""From photos as they are kept to logits: what every use of a network goes through."""

from __future__ import annotations

import torch
from torch import Tensor

from base_models.device import autocast
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.transforms import normalize_photos


def compute_logits(network: MultilabelNetwork | LabelwiseNetwork, photos: Tensor, precision: str) -> Tensor:
    """Normalize photos and compute their logits.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        The network.
    photos : Tensor
        Shape (n_rows, 3, size, size), values in [0, 255]; precomputed features for a network that takes those.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Arithmetic of the body.

    Returns
    -------
    Tensor
        Shape (n_rows, n_labels), float32.
    """
    if network.takes_photos:
        photos = normalize_photos(photos, network.mean, network.std)
        photos = photos.contiguous(memory_format=torch.channels_last)
    with autocast(precision, photos.device):
        return network(photos)
