"""Attention pooling per label: every label looks at the places of the feature map that speak for it.

For label l and place p with features x_p: a_lp = softmax over p of u_l x_p, logit_l = sum_p a_lp (v_l x_p) + b_l.
That is a linear classifier on features pooled by the label's own attention, computed without holding pooled features
per label. The attention a_l is also the label's map for explanations. It starts at zero scores, which is average
pooling.

References
----------
M. Ilse, J. Tomczak, M. Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, equation 8 (there for one
label, with a hidden layer).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput


class AttentionHead(nn.Module):
    """Pool the feature map by an attention of each label's own.

    Parameters
    ----------
    n_channels : int
        Channels of the feature map.
    n_labels : int
        Labels.
    needs : {"feature_map", "earlier_map"}
        Look at the last feature map, or at that of the stage before, which has about four times as many places.
    """

    def __init__(self, n_channels: int, n_labels: int, needs: str = "feature_map") -> None:
        super().__init__()
        self.needs = needs
        self.out_features = n_labels
        self.score = nn.Linear(n_channels, n_labels, bias=False)  # u
        self.value = nn.Linear(n_channels, n_labels, bias=False)  # v
        self.bias = nn.Parameter(torch.zeros(n_labels))

    def attend(self, feature_map: Tensor) -> Tensor:
        """Compute where each label looks.

        Parameters
        ----------
        feature_map : Tensor
            Shape (n_rows, n_channels, height, width).

        Returns
        -------
        Tensor
            Shape (n_rows, n_labels, height, width); sums to one over the places.
        """
        places = feature_map.flatten(2).transpose(1, 2)  # (n_rows, n_places, n_channels)
        attention = self.score(places).softmax(dim=1).transpose(1, 2)  # (n_rows, n_labels, n_places)
        return attention.reshape(attention.shape[0], self.out_features, *feature_map.shape[2:])

    def forward(self, output: BodyOutput) -> Tensor:
        """Compute the logits from ``feature_map``."""
        attention = self.attend(output.feature_map).flatten(2)  # (n_rows, n_labels, n_places)
        values = self.value(output.feature_map.flatten(2).transpose(1, 2)).transpose(1, 2)
        return (attention * values).sum(dim=2) + self.bias

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates."""
        with torch.no_grad():
            self.bias.copy_(log_odds)
            nn.init.zeros_(self.score.weight)
            nn.init.normal_(self.value.weight, std=0.01)  # as in `start_linear`
