"""The last feature map of any timm network, and the features of an inner layer, in one layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def arrange_feature_map(features: Tensor, body: nn.Module, n_channels: int = 0) -> Tensor:
    """Bring what ``forward_features`` or an inner layer gives into channels-first layout.

    Parameters
    ----------
    features : Tensor
        Shape (n_rows, channels, height, width), (n_rows, height, width, channels) or (n_rows, tokens, channels).
    body : torch.nn.Module
        The timm network that computed it; ``num_features`` tells its channels, ``num_prefix_tokens`` its class tokens.
    n_channels : int
        Channels of an inner layer; 0 for the last feature map.

    Returns
    -------
    Tensor
        Shape (n_rows, channels, height, width).

    Raises
    ------
    ValueError
        If the layout is another.

    Examples
    --------
    >>> body = nn.Identity()
    >>> body.num_features, body.num_prefix_tokens = 5, 1
    >>> tuple(arrange_feature_map(torch.zeros(2, 10, 5), body).shape)
    (2, 5, 3, 3)
    """
    n_channels = n_channels or int(body.num_features)  # type: ignore[arg-type]
    if features.ndim == 4 and features.shape[1] == n_channels:
        return features
    if features.ndim == 4 and features.shape[-1] == n_channels:
        return features.permute(0, 3, 1, 2)
    if features.ndim == 3 and features.shape[2] == n_channels:
        places = features[:, int(getattr(body, "num_prefix_tokens", 0)) :]
        side = math.isqrt(places.shape[1])
        shape = (side, side) if side * side == places.shape[1] else (1, places.shape[1])
        return places.transpose(1, 2).reshape(places.shape[0], n_channels, *shape)
    raise ValueError(
        f"network must give a feature map of {n_channels} channels, as this head needs one: {type(body).__name__} "
        f"gives {tuple(features.shape)}; use the linear head."
    )


def _inner_layer(body: nn.Module) -> nn.Module:
    """Return the layer before the last that a network names as a source of features."""
    layers = [layer["module"] for layer in getattr(body, "feature_info", None) or []]
    if len(layers) < 2:
        raise ValueError(
            f"network must name at least two layers, as this head needs an inner one: {type(body).__name__} "
            f"names {len(layers)}; use the linear head."
        )
    return body.get_submodule(str(layers[-2]))


def _pool_places(features: Tensor, n_channels: int = 0) -> Tensor:
    """Average maps, channels first or last, or tokens, over their places; with `n_channels` 0 channels come first."""
    if features.ndim == 3:
        return features.mean(dim=1)
    channels_last = n_channels and features.shape[1] != n_channels and features.shape[-1] == n_channels
    return features.mean(dim=(1, 2) if channels_last else (2, 3))


def run_body(body: nn.Module, photos: Tensor, needs: str) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the pooled features and what else a head needs.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network without a classifier.
    photos : Tensor
        Shape (n_rows, 3, size, size), normalized.
    needs : str
        ``needs`` of the head.

    Returns
    -------
    tuple of Tensor
        Pooled features, a feature map (the last, or an inner layer's), pooled features of an inner layer; empty where
        there is no need of them.
    """
    nothing = photos.new_zeros(0)
    if needs == "feature_map":
        features = body.forward_features(photos)  # type: ignore[operator]
        pooled: Tensor = body.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled, arrange_feature_map(features, body), nothing
    if needs not in ("inner", "earlier_map"):
        return body(photos), nothing, nothing
    caught: list[Tensor] = []
    handle = _inner_layer(body).register_forward_hook(lambda _layer, _given, out: caught.append(out))
    try:
        pooled = body(photos)
    finally:
        handle.remove()
    n_channels = int(body.feature_info[-2]["num_chs"])  # type: ignore[index]
    if needs == "earlier_map":
        return pooled, arrange_feature_map(torch.as_tensor(caught[-1]), body, n_channels), nothing
    return pooled, nothing, _pool_places(torch.as_tensor(caught[-1]), n_channels)
