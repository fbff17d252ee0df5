"""Which layers of a body learn: all, those near the head, or none.

Transfer learning keeps the layers next to the photo, whose filters fit any photo, and tunes those next to the head.
timm orders every network's parameters into layer groups, from the photo on; a share of them is frozen.
"""

from __future__ import annotations

import math

from torch import nn


def freeze_layers(body: nn.Module, share: float) -> None:
    """Freeze the layers next to the photo, and let the others learn.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network or one that orders its layers the same way (``group_matcher``).
    share : float
        Share of the layer groups that is frozen, in [0, 1]: 0 freezes none, 1 all. Part groups round down.

    Raises
    ------
    ValueError
        If a part is to be frozen and the body does not order its layers.
    """
    frozen = _first_layers(body, share) if 0 < share < 1 else set()
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


def _first_layers(body: nn.Module, share: float) -> set[str]:
    """Return the names of the parameters in the first layer groups."""
    from timm.models import group_parameters

    matcher = getattr(body, "group_matcher", None)
    if matcher is None:
        raise ValueError(
            f"frozen_share must be 0 or 1 for {type(body).__name__}, which does not order its layers: got {share}."
        )
    groups: dict[str, int] = group_parameters(body, matcher(coarse=False), reverse=True)
    n_frozen = math.floor(share * (max(groups.values()) + 1))
    return {name for name, group in groups.items() if group < n_frozen}
