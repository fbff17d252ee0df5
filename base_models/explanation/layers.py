"""Choose the layer whose feature map is explained.

The deepest layers know labels best but places worst: a ResNet's last map has seven places a side at 224 pixels, where
Grad-CAM is at home, but two at 64. The layer taken is the deepest one that still has ``MIN_SIDE`` places a side.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from base_models.explanation.targets import answering
from base_models.networks.feature_maps import arrange_feature_map

MIN_SIDE = 6


def explained_layer(body: nn.Module, size: int) -> str:
    """Choose the layer of a body that Grad-CAM explains.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network without a classifier; ``feature_info`` names its layers.
    size : int
        Side of the photos in pixels.

    Returns
    -------
    str
        Name of the deepest layer with at least ``MIN_SIDE`` places a side; where none has as many, of the deepest
        one with the most.

    Raises
    ------
    ValueError
        If the body names no layer with a feature map.
    """
    channels = layer_channels(body)
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Any:
        def hook(_layer: nn.Module, _given: Any, output: Any) -> None:
            with contextlib.suppress(ValueError, AttributeError):  # another layout, or no tensor
                shapes[name] = tuple(arrange_feature_map(output, body, channels[name]).shape[2:])

        return hook

    handles = [body.get_submodule(name).register_forward_hook(record(name)) for name in channels]
    try:
        with answering(body), torch.no_grad():
            device = next(body.parameters()).device
            body(torch.zeros(1, 3, size, size, device=device))
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name in channels if min(shapes.get(name, (0,))) > 1]
    if getattr(body, "global_pool", "") == "token" and len(names) > 1:
        names = names[:-1]  # the answer leaves the last block through its class token alone
    if not names:
        raise ValueError(
            f"network must name a layer with a feature map to be explained by Grad-CAM: {type(body).__name__} names "
            "none; explain another member."
        )
    fine = [name for name in names if min(shapes[name]) >= MIN_SIDE]
    return fine[-1] if fine else max(reversed(names), key=lambda name: min(shapes[name]))


def layer_channels(body: nn.Module) -> dict[str, int]:
    """Return the layers that a body names as sources of features.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network.

    Returns
    -------
    dict of str to int
        Channels by name of the layer, the first layer first.
    """
    known = {name for name, _ in body.named_modules()}
    named: Any = getattr(body, "feature_info", None) or []
    return {str(entry["module"]): int(entry["num_chs"]) for entry in named if str(entry["module"]) in known}
