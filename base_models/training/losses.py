"""Training losses on logits, masked to the labels that are known for a row.

The rows and labels that a mask leaves out count neither in the sum nor in the number it is divided by, so a
half-annotated row weighs by what is annotated. Losses that are sums over label entries are averaged over entries, so
that one learning rate fits all of them; two-way and ZLPR rank the labels of a row against each other and are timm's
own (:mod:`timm.loss`). Their scores are no probabilities: give such members to a
meta-learner such as ``logistic``, which calibrates each label, and not to a mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from base_models.recipe.training import TrainingConfig

ABSENT = -1e4  # the logit of an unknown entry in a ranking loss: a negative that costs nothing

Entries = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MultilabelLoss:
    """Compute the mean loss over the known entries of a batch.

    Parameters
    ----------
    entries : callable, optional
        ``(logits, target) -> Tensor (n_rows, n_labels)``: the loss of every entry; None for a ranking loss.
    ranking : callable, optional
        ``(logits, target) -> scalar Tensor``: a loss over whole rows.
    class_weight : Tensor of shape (n_labels,), optional
        Factor on every entry of a label, on the logits' device.
    """

    entries: Entries | None = None
    ranking: Entries | None = None
    class_weight: Tensor | None = None

    def __call__(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        logits : Tensor
            Shape (n_rows, n_labels), float32.
        target : Tensor
            Shape (n_rows, n_labels), values in [0, 1].
        mask : Tensor, optional
            Shape broadcastable to the logits; 1 where the entry counts.

        Returns
        -------
        Tensor
            A scalar, not negative; 0 when the mask leaves nothing.
        """
        if mask is not None:
            mask = mask.expand_as(logits)
        if self.entries is None:
            return self._rank(logits, target, mask)
        entries = self.entries(logits, target if mask is None else target * mask)
        if self.class_weight is not None:
            entries = entries * self.class_weight
        if mask is None:
            return entries.mean()
        return (entries * mask).sum() / mask.sum().clamp(min=1.0)

    def _rank(self, logits: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Rank the known labels; rows without any are left out."""
        if self.ranking is None:
            raise ValueError("entries or ranking of a loss must be given: got neither.")
        if mask is not None:
            rows = mask.any(dim=1)
            if not rows.any():
                return (logits * 0).sum()
            logits = torch.where(mask > 0, logits, torch.full_like(logits, ABSENT))[rows]
            target = (target * mask)[rows]
        return self.ranking(logits, target)


def create_loss(
    config: TrainingConfig, positives: NDArray[np.int64], n_rows: int, device: str | torch.device = "cpu"
) -> MultilabelLoss:
    """Create the loss of a member.

    Parameters
    ----------
    config : TrainingConfig
        ``loss`` and its parameters, ``class_weights`` and theirs.
    positives : ndarray of int64, shape (n_labels,)
        Positive training rows of each label; they decide class weights and the distribution-balanced loss.
    n_rows : int
        Training rows.
    device : str or torch.device
        Where the logits will be; the loss keeps its own numbers there, so that no step waits for a copy of them.

    Returns
    -------
    MultilabelLoss
        To be called with logits, targets and mask.

    Raises
    ------
    ValueError
        If the loss is unknown.

    References
    ----------
    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 4 (without alpha).
    T. Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, eq. 7.
    Z. Leng et al., "PolyLoss", ICLR 2022, eq. 6. T. Kobayashi, "Two-way Multi-Label Loss", CVPR 2023.
    J. Su et al., "ZLPR: A Novel Loss for Multi-label Classification", 2022, eq. 6.
    T. Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets", ECCV 2020.
    Y. Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, eq. 3 (class weights).

    Examples
    --------
    >>> loss = create_loss(TrainingConfig(loss="focal"), np.array([3, 1]), 10)
    >>> round(float(loss(torch.zeros(2, 2), torch.ones(2, 2))), 4)
    0.1733
    """
    if config.loss in ("two-way", "zlpr"):
        return MultilabelLoss(ranking=_ranking_loss(config.loss))
    if config.loss == "distribution-balanced":
        from timm.loss.distribution_balanced_loss import DistributionBalancedLoss

        balanced = DistributionBalancedLoss(positives.tolist(), max(2, n_rows), reduction="none")
        return MultilabelLoss(balanced.to(device))
    weights = (None if each is None else each.to(device) for each in _class_weights(config, positives, n_rows))
    class_weight, pos_weight = weights
    return MultilabelLoss(_entry_loss(config, pos_weight), class_weight=class_weight)


def _ranking_loss(kind: str) -> Entries:
    """Return timm's loss over whole rows."""
    from timm.loss.two_way_loss import TwoWayLoss
    from timm.loss.zlpr_loss import ZlprLoss

    return TwoWayLoss() if kind == "two-way" else ZlprLoss()


def _entry_loss(config: TrainingConfig, pos_weight: Tensor | None) -> Entries:
    """Return the loss of every entry."""
    if config.loss == "bce":
        return lambda logits, target: _cross_entropy(logits, target, pos_weight)
    if config.loss == "focal":
        return lambda logits, target: _focal(logits, target, config.focal_gamma, pos_weight)
    if config.loss == "asymmetric":
        from timm.loss.asymmetric_loss import AsymmetricLossMultiLabel

        loss = AsymmetricLossMultiLabel(
            config.gamma_negative, config.gamma_positive, config.margin, reduction="none", pos_weight=pos_weight
        )
        return lambda logits, target: loss(logits, target)
    if config.loss == "poly":
        return lambda logits, target: _poly(logits, target, config.poly_epsilon, pos_weight)
    raise ValueError(
        f"loss must be one of bce, focal, asymmetric, poly, two-way, zlpr, distribution-balanced: got {config.loss!r}."
    )


def _class_weights(
    config: TrainingConfig, positives: NDArray[np.int64], n_rows: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return the factors on all entries and on the positive entries of each label, or None and None."""
    if config.class_weights == "none":
        return None, None
    from timm.loss.class_weights import compute_class_weights

    methods = {"negative-positive": "neg_pos", "inverse-frequency": "inv_freq", "effective-number": "effective_num"}
    kind, weights = compute_class_weights(
        positives.tolist(),
        n_rows,
        methods[config.class_weights],
        power=config.class_weight_power,
        max_weight=config.class_weight_limit or None,
    )
    return (None, weights) if kind == "pos_weight" else (weights, None)


def _cross_entropy(logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Compute the binary cross-entropy of every entry."""
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=pos_weight)


def _miss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 − p of the true answer."""
    return torch.sigmoid(logits) * (1 - target) + torch.sigmoid(-logits) * target


def _focal(logits: Tensor, target: Tensor, gamma: float, pos_weight: Tensor | None) -> Tensor:
    """Weigh the cross-entropy by (1 − p of the true answer) ** gamma."""
    return _cross_entropy(logits, target, pos_weight) * _miss(logits, target) ** gamma


def _poly(logits: Tensor, target: Tensor, epsilon: float, pos_weight: Tensor | None) -> Tensor:
    """Add epsilon · (1 − p of the true answer) to the cross-entropy."""
    return _cross_entropy(logits, target, pos_weight) + epsilon * _miss(logits, target)
