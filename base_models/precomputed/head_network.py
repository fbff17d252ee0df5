"""The two halves of a member's network: the frozen body that computes features, and the head that learns on them.

The head is created together with a whole network, so it starts where it would start in front of a live body, and the
whole network is put together again from both when a fold is finished: whoever scores new photos notices nothing.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from base_models.device import arithmetic, autocast
from base_models.networks.feature_maps import run_body
from base_models.networks.heads import BodyOutput
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.feature_rows import FeatureRows


class BodyNetwork(MultilabelNetwork):
    """Map normalized photos to the features that a head needs.

    Parameters
    ----------
    network : MultilabelNetwork
        Its body is used; put into evaluation mode, as a frozen body's normalization statistics must not drift.
    """

    def __init__(self, network: MultilabelNetwork) -> None:
        super().__init__(network.body, nn.Identity())  # type: ignore[arg-type]
        self.needs = str(network.head.needs)
        self.mean, self.std, self.starting_weights = network.mean, network.std, network.starting_weights
        self.freeze_body(1.0)
        self.eval()

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the features: (n_rows, n_channels, n_places), float32; pooled features have one place."""
        pooled, feature_map, _ = run_body(self.body, photos, self.needs)
        features = feature_map.flatten(2) if self.needs == "feature_map" else pooled.unsqueeze(2)
        return features.float()


class HeadNetwork(MultilabelNetwork):
    """Map precomputed features to logits.

    Parameters
    ----------
    network : MultilabelNetwork
        Its head and dropout are used; its body is let go.
    """

    takes_photos = False

    def __init__(self, network: MultilabelNetwork) -> None:
        super().__init__(nn.Identity(), network.head, network.dropout.p)
        self.mean, self.std, self.starting_weights = network.mean, network.std, network.starting_weights

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits of the first variant; shape (n_rows, n_channels, n_places, n_variants).

        Flipping the last axis takes the mirror image, for features as for photos.
        """
        with autocast("float32", features.device), arithmetic("float32", features.device):
            shown, nothing = features[..., :1].float(), features.new_zeros(0)
            if self.head.needs == "feature_map":
                return self.head(BodyOutput(nothing, self.dropout(shown), nothing, nothing))
            return self.head(BodyOutput(self.dropout(shown.flatten(1)), nothing, nothing, nothing))


def adapt_to_features(network: MultilabelNetwork, photos: PhotoTensors | FeatureRows) -> MultilabelNetwork:
    """Return what learns: the whole network on photos, the head alone on precomputed features.

    Parameters
    ----------
    network : MultilabelNetwork
        A whole network.
    photos : PhotoTensors or FeatureRows
        What it is to learn from.

    Returns
    -------
    MultilabelNetwork
        The network itself, or a ``HeadNetwork``.
    """
    if isinstance(photos, PhotoTensors):
        return network
    head = HeadNetwork(network)
    head.starting_weights = photos.described
    return head


def join_body(
    network: MultilabelNetwork | LabelwiseNetwork, photos: PhotoTensors | FeatureRows
) -> MultilabelNetwork | LabelwiseNetwork:
    """Return the whole network that scores photos.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        What has learned.
    photos : PhotoTensors or FeatureRows
        What it learned from; precomputed features bring the body.

    Returns
    -------
    MultilabelNetwork or LabelwiseNetwork
        On photos the network itself; otherwise the body with the head, on the CPU and in evaluation mode.
    """
    if isinstance(photos, PhotoTensors):
        return network
    if isinstance(network, LabelwiseNetwork):  # every epoch's network has a body of its own, as its file has
        parts = {int(k): _join(part, deepcopy(photos.body)) for k, part in network.networks.items()}  # type: ignore[arg-type]
        return LabelwiseNetwork(parts, network.label_epochs).eval()
    return _join(network, photos.body).eval()


def _join(head: MultilabelNetwork, body: MultilabelNetwork) -> MultilabelNetwork:
    """Put a body in front of a head."""
    whole = MultilabelNetwork(body.body, deepcopy(head.head).cpu(), head.dropout.p)
    whole.mean, whole.std, whole.starting_weights = head.mean, head.std, head.starting_weights
    return whole
