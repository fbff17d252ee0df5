"""A bidirectional GRU that reads the labels in their order, so that an answer to one label may depend on the others.

Every label is a word: its embedding comes from factorizing the co-occurrence of the training labels, the pooled
features are the GRU's first state, and its states add to a linear answer.

References
----------
O. Levy, Y. Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NeurIPS 2014, sections 3.1 and 3.3:
positive pointwise mutual information, factorized by singular values.
J. Wang et al., "CNN-RNN: A Unified Framework for Multi-label Image Classification", CVPR 2016.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput, start_linear


def factorize_co_occurrence(y_true: NDArray[np.uint8], n_dimensions: int = 20) -> NDArray[np.float32]:
    """Embed labels so that labels which occur together lie close.

    Parameters
    ----------
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Truth of training rows.
    n_dimensions : int
        Width of the embeddings; columns beyond the number of labels are zero.

    Returns
    -------
    ndarray of float32, shape (n_labels, n_dimensions)
        Embeddings; zero for a label that never occurs.

    Examples
    --------
    >>> embedded = factorize_co_occurrence(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.uint8), 2)
    >>> bool(np.allclose(embedded[0], embedded[1], atol=1e-6)), bool(abs(embedded[0] @ embedded[2]) < 1e-6)
    (True, True)
    """
    truth = y_true.astype(np.float64)
    together = truth.T @ truth  # (n_labels, n_labels)
    expected = np.outer(np.diag(together), np.diag(together)) / max(1, len(truth))
    ratio = np.divide(together, expected, out=np.zeros_like(together), where=expected > 0)
    information = np.log(np.maximum(ratio, 1.0))  # positive pointwise mutual information
    values, vectors = np.linalg.eigh(information)
    order = np.argsort(-np.abs(values), kind="stable")[:n_dimensions]
    vectors = vectors[:, order]
    # an eigenvector's sign is arbitrary: its largest entry is made positive, so that machines agree
    signs = np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(order))])
    embedded = np.zeros((len(together), n_dimensions), np.float32)
    embedded[:, : len(order)] = vectors * signs * np.sqrt(np.abs(values[order]))
    return embedded


class RecurrentHead(nn.Module):
    """Read the labels with a bidirectional GRU that starts from the photo.

    Parameters
    ----------
    n_features : int
        Pooled features.
    n_labels : int
        Labels.
    n_hidden : int
        Width of the embeddings and of the GRU's state, each way; the default is a choice, not tuned.
    """

    needs = "pooled"

    def __init__(self, n_features: int, n_labels: int, n_hidden: int = 20) -> None:
        super().__init__()
        self.out_features = n_labels
        self.embedding = nn.Parameter(torch.zeros(n_labels, n_hidden))
        self.linear = nn.Linear(n_features, n_labels)
        self.first_state = nn.Linear(n_features, 2 * n_hidden)
        self.gru = nn.GRU(n_hidden, n_hidden, batch_first=True, bidirectional=True)
        self.readout = nn.Parameter(torch.zeros(n_labels, 2 * n_hidden))

    def forward(self, output: BodyOutput) -> Tensor:
        """Compute the logits from ``pooled``."""
        n_rows, (n_labels, n_hidden) = output.pooled.shape[0], self.embedding.shape
        words = self.embedding.expand(n_rows, n_labels, n_hidden)
        state = torch.tanh(self.first_state(output.pooled)).view(n_rows, 2, n_hidden).transpose(0, 1).contiguous()
        states, _ = self.gru(words, state)  # (n_rows, n_labels, 2 * n_hidden)
        return self.linear(output.pooled) + (states * self.readout).sum(dim=2)

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates."""
        start_linear(self.linear, log_odds)
        nn.init.normal_(self.embedding, std=0.1)  # a choice, not tuned; `embed_labels` replaces it
        nn.init.normal_(self.readout, std=0.01)  # as in `start_linear`, so that the linear answer leads at first

    def embed_labels(self, y_true: NDArray[np.uint8]) -> None:
        """Start the embeddings from the co-occurrence of training labels.

        Parameters
        ----------
        y_true : ndarray of uint8, shape (n_rows, n_labels)
            Truth of the training rows.
        """
        with torch.no_grad():
            self.embedding.copy_(torch.from_numpy(factorize_co_occurrence(y_true, self.embedding.shape[1])))
