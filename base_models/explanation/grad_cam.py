"""Grad-CAM: weigh the channels of a feature map by the mean gradient of a label's logit, keep what speaks for it.

For label l, channel k and place p of the feature map A: alpha_k = mean over p of d logit_l / d A_kp (equation 1), and
the map is max(0, sum_k alpha_k A_k) (equation 2), here divided by its highest value.

References
----------
R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual Explanations from Deep Networks
via Gradient-Based Localization", ICCV 2017, equations 1 and 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.device import arithmetic
from base_models.explanation.layers import explained_layer, layer_channels
from base_models.explanation.targets import answering, check_columns, maps_by_epoch, scale_to_peak
from base_models.networks.feature_maps import arrange_feature_map
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.transforms import normalize_photos
from base_models.training.scoring import split_evenly


def grad_cam(
    network: MultilabelNetwork | LabelwiseNetwork,
    photos: Tensor,
    labels: NDArray[np.int64],
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Compute which places of photos speak for labels.

    The network computes in float32 and evaluation mode; its weights, its mode and the random generators are left as
    they are. What a wide head reads off the photo itself (gradients, colors) has no part in the map.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        A trained network with any head. Of the latter, each label's map comes from the network of its own epoch.
    photos : Tensor
        Shape (n_photos, 3, size, size), values in [0, 255].
    labels : ndarray of int64, shape (n_asked,) or (n_photos, n_asked)
        Columns of the labels, the same for every photo or each photo's own.
    layer : str, optional
        Name of the explained layer among the body's ``feature_info``; by default `explained_layer` chooses it.
    batch_size : int
        Photos at a time.

    Returns
    -------
    ndarray of float32, shape (n_photos, n_asked, height, width)
        Maps in [0, 1] over the places of the layer, each with the highest value 1; zero everywhere where nothing
        speaks for the label.

    Raises
    ------
    ValueError
        If the columns do not exist, or the body names no such layer.

    Notes
    -----
    One forward pass per batch, and one backward pass down to the layer for each label asked of a photo.
    """
    if isinstance(network, LabelwiseNetwork):
        return maps_by_epoch(
            network, photos, labels, lambda *asked: grad_cam(*asked, layer=layer, batch_size=batch_size)
        )
    columns = check_columns(labels, len(photos), int(network.head.out_features))
    chosen = explained_layer(network.body, int(photos.shape[-1])) if layer is None else layer
    channels = layer_channels(network.body)
    if chosen not in channels:
        raise ValueError(f"layer must be one of {', '.join(channels) or 'the named ones'}: got {chosen!r}.")
    device = next(network.parameters()).device
    by_cudnn = not any(isinstance(part, nn.RNNBase) for part in network.modules())  # its GRU has no gradient here
    maps = []
    with (
        answering(network),
        torch.enable_grad(),
        arithmetic("float32", device),
        torch.backends.cudnn.flags(enabled=by_cudnn, allow_tf32=False),
    ):
        for rows in split_evenly(np.arange(len(photos)), batch_size):
            shown = normalize_photos(photos[torch.from_numpy(rows)].to(device), network.mean, network.std)
            asked = torch.from_numpy(columns[rows]).to(device)
            maps.append(_batch_maps(network, shown, asked, chosen, channels[chosen]).cpu().numpy())
    return np.concatenate(maps) if maps else np.zeros((0, columns.shape[1], 1, 1), np.float32)


def _batch_maps(network: MultilabelNetwork, photos: Tensor, asked: Tensor, layer: str, n_channels: int) -> Tensor:
    """Compute the maps of one batch, (n_rows, n_asked, height, width)."""
    caught: list[Tensor] = []

    def cut(_layer: Any, _given: Any, output: Tensor) -> Tensor:
        caught.append(output.detach().requires_grad_())
        return caught[-1].clone()  # what follows may change it in place

    handle = network.body.get_submodule(layer).register_forward_hook(cut)
    try:
        logits = network(photos)  # (n_rows, n_labels)
    finally:
        handle.remove()
    features = arrange_feature_map(caught[-1], network.body, n_channels)  # (n_rows, n_channels, height, width)
    maps = features.new_zeros(*asked.shape, *features.shape[2:])
    for place in range(asked.shape[1]):
        total = logits.gather(1, asked[:, place : place + 1]).sum()  # rows do not meet in evaluation mode
        (gradient,) = torch.autograd.grad(total, caught[-1], retain_graph=place + 1 < asked.shape[1])
        weights = arrange_feature_map(gradient, network.body, n_channels).mean(dim=(2, 3), keepdim=True)  # eq. 1
        maps[:, place] = torch.relu((weights * features.detach()).sum(dim=1))  # eq. 2
    return scale_to_peak(maps)
