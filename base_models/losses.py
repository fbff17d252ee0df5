"""Training losses on logits, masked to the labels that are known for a row.

The rows and labels that a mask leaves out count neither in the sum nor in the number it is divided by, so a
half-annotated row weighs by what is annotated. Focal and asymmetric loss follow timm's definitions (:mod:`timm.loss`)
but average over label entries instead of summing over labels, so that one learning rate fits all three.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["multilabel_loss"]

FOCAL_GAMMA = 2.0
ASYMMETRIC_GAMMA_NEGATIVE = 4.0
ASYMMETRIC_GAMMA_POSITIVE = 1.0
ASYMMETRIC_CLIP = 0.05


def multilabel_loss(logits: Tensor, target: Tensor, kind: str = "bce", mask: Tensor | None = None) -> Tensor:
    """Compute the mean loss over the known entries of a batch.

    Parameters
    ----------
    logits : Tensor
        Shape (n_rows, n_labels), float32.
    target : Tensor
        Shape (n_rows, n_labels), values in [0, 1].
    kind : {"bce", "focal", "asymmetric"}
        Binary cross-entropy; focal loss with gamma 2 (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017,
        eq. 4, without alpha); asymmetric loss with gammas 4 and 1 and a margin of .05 (Ridnik et al., Asymmetric Loss
        For Multi-Label Classification, ICCV 2021, eq. 7).
    mask : Tensor, optional
        Shape broadcastable to the logits; 1 where the entry counts.

    Returns
    -------
    Tensor
        A scalar, not negative; 0 when the mask leaves nothing.
    """
    if kind == "bce":
        entries = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    elif kind == "focal":
        entries = _focal(logits, target)
    elif kind == "asymmetric":
        entries = _asymmetric(logits, target)
    else:
        raise ValueError(f"loss must be one of bce, focal, asymmetric: got {kind!r}.")
    if mask is None:
        return entries.mean()
    mask = mask.expand_as(entries)
    return (entries * mask).sum() / mask.sum().clamp(min=1.0)


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """Weigh the cross-entropy by (1 − p of the true answer) ** gamma."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = torch.sigmoid(logits) * (1 - target) + torch.sigmoid(-logits) * target
    return cross_entropy * miss**FOCAL_GAMMA


def _asymmetric(logits: Tensor, target: Tensor) -> Tensor:
    """Forgive easy negatives: their probability is shifted by the margin before the focal weight."""
    positive = torch.sigmoid(logits)
    negative = (1 - positive + ASYMMETRIC_CLIP).clamp(max=1.0)
    log_likelihood = target * positive.clamp(min=1e-8).log() + (1 - target) * negative.clamp(min=1e-8).log()
    right = positive * target + negative * (1 - target)
    gamma = ASYMMETRIC_GAMMA_POSITIVE * target + ASYMMETRIC_GAMMA_NEGATIVE * (1 - target)
    return -log_likelihood * (1 - right) ** gamma
