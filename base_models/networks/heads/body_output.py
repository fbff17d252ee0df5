"""What a head is given and what it must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class BodyOutput:
    """Hold what a body makes of a batch; float32.

    Parameters
    ----------
    pooled : Tensor
        Shape (n_rows, n_features), dropout applied.
    feature_map : Tensor
        The last feature map, or that of the stage before, shape (n_rows, n_channels, height, width); empty where the
        head has no need of it.
    inner : Tensor
        Pooled features of an inner layer, shape (n_rows, n_inner); empty where the head has no need of it.
    photos : Tensor
        The photos as they were before normalization, values about [0, 1], shape (n_rows, 3, size, size); empty where
        the head has no need of it.
    """

    pooled: Tensor
    feature_map: Tensor
    inner: Tensor
    photos: Tensor


class Head(Protocol):
    """Map what the body made to logits.

    A ``torch.nn.Module`` whose ``forward`` takes a `BodyOutput` and returns logits of shape (n_rows, n_labels).
    """

    needs: str
    """``"pooled"``, or what is wanted besides: ``"feature_map"``, ``"earlier_map"``, ``"inner"`` or ``"photos"``."""

    out_features: int
    """Number of labels."""

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates.

        Parameters
        ----------
        log_odds : Tensor
            Shape (n_labels,).
        """
        ...


def start_linear(layer: torch.nn.Linear, log_odds: Tensor) -> None:
    """Let a linear layer answer the base rates, its weights small.

    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1, start at the log-odds of a prior
    in this way, and with this spread of .01: so the many negatives of rare labels do not swamp the first steps.

    Parameters
    ----------
    layer : torch.nn.Linear
        Changed in place.
    log_odds : Tensor
        Shape (n_labels,).
    """
    with torch.no_grad():
        layer.bias.copy_(log_odds)
        torch.nn.init.normal_(layer.weight, std=0.01)
