"""Which layers of a body learn: all, those near the head, or none.

Transfer learning keeps the layers next to the photo, whose filters fit any photo, and tunes those next to the head.
timm orders every network's parameters into layer groups, from the photo on; a share of them is frozen.
"""

from __future__ import annotations

import math

import numpy as np
from torch import nn


def freeze_layers(body: nn.Module, share: float, *, by: str = "layers", tuned_layers: int = 0) -> None:
    """Freeze the layers next to the photo, and let the others learn.

    Half of the layer groups are 6 % of the parameters of ResNet50 and 29 % of Xception's, since layers grow towards the
    head; a share of parameters, or a number of layers to tune, says the same of every network.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network or one that orders its layers the same way (``group_matcher``).
    share : float
        Share that is frozen, in [0, 1]: 0 freezes none, 1 all. Part groups round down.
    by : {"layers", "parameters"}
        Whether the share is of timm's layer groups, or of the body's parameters, in whole layer groups.
    tuned_layers : int
        If not 0, the last so many layers with weights of their own learn and all others are frozen, whatever `share`
        below 1 says, as Keras users count: a normalization is a layer too.

    Raises
    ------
    ValueError
        If a part is to be frozen and the body does not order its layers.
    """
    if tuned_layers and share < 1:
        frozen = _all_but_last(body, tuned_layers)
    else:
        frozen = _first_layers(body, share, by) if 0 < share < 1 else set()
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(share < 1 and name not in frozen)


def rest_frozen_modules(body: nn.Module) -> None:
    """Put every module whose own weights are all frozen into evaluation mode, so that its statistics do not drift.

    Parameters
    ----------
    body : torch.nn.Module
        In training mode; changed in place.
    """
    own = {module: list(module.parameters(recurse=False)) for module in body.modules()}
    if not any(parameter.requires_grad for parameter in body.parameters()):
        body.eval()
        return
    for module, parameters in own.items():
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _all_but_last(body: nn.Module, n_layers: int) -> set[str]:
    """Return the names of the parameters that are not in the last layers with weights of their own."""
    own = [
        [f"{name}.{parameter}" if name else parameter for parameter, _ in module.named_parameters(recurse=False)]
        for name, module in body.named_modules()
    ]
    layers = [names for names in own if names]
    return {name for names in layers[: max(0, len(layers) - n_layers)] for name in names}


def _first_layers(body: nn.Module, share: float, by: str) -> set[str]:
    """Return the names of the parameters in the first layer groups."""
    from timm.models import group_parameters

    matcher = getattr(body, "group_matcher", None)
    if matcher is None:
        raise ValueError(
            f"frozen_share must be 0 or 1 for {type(body).__name__}, which does not order its layers: got {share}."
        )
    groups: dict[str, int] = group_parameters(body, matcher(coarse=False), reverse=True)
    n_frozen = math.floor(share * (max(groups.values()) + 1))
    if by == "parameters":
        sizes = np.bincount(
            [groups[name] for name, _ in body.named_parameters()],
            weights=[float(parameter.numel()) for _, parameter in body.named_parameters()],
        )
        n_frozen = int(np.searchsorted(np.cumsum(sizes), share * sizes.sum(), side="right"))
    return {name for name, group in groups.items() if group < n_frozen}
