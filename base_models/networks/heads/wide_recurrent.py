"""Wide and recurrent in one network: the wide answer, and what a GRU over the labels adds to it.

The GRU starts from the deep network's features; hand-made features and co-occurrence are two terms of one logit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput
from base_models.networks.heads.recurrent import RecurrentHead
from base_models.networks.heads.wide import WideHead


class WideRecurrentHead(nn.Module):
    """Add up a wide head's logits and a recurrent head's.

    Parameters
    ----------
    n_features : int
        Pooled features.
    n_labels : int
        Labels.
    size : int
        Side of the photos that the HOG is taken of, in pixels.
    """

    needs = "photos"

    def __init__(self, n_features: int, n_labels: int, size: int) -> None:
        super().__init__()
        self.out_features = n_labels
        self.wide = WideHead(n_features, n_labels, size)
        self.recurrent = RecurrentHead(n_features, n_labels)

    def forward(self, output: BodyOutput) -> Tensor:
        """Compute the logits from ``pooled`` and ``photos``."""
        logits: Tensor = self.wide(output) + self.recurrent(output)
        return logits

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates: the wide term does, the recurrent one starts at 0."""
        self.wide.start_at(log_odds)
        self.recurrent.start_at(log_odds.new_zeros(len(log_odds)))

    def embed_labels(self, y_true: NDArray[np.uint8]) -> None:
        """Start the embeddings from the co-occurrence of training labels.

        Parameters
        ----------
        y_true : ndarray of uint8, shape (n_rows, n_labels)
            Truth of the training rows.
        """
        self.recurrent.embed_labels(y_true)
