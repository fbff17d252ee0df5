"""Answer each label with the network of its own best epoch: labels peak at different times.

Rare labels tend to overfit while frequent ones still improve. The epochs are chosen by log loss on the validation rows,
which are cut from the fold's training rows; the rows that the fold emits choose nothing. A label without validation
positives takes the epoch with the best micro-F1 over all labels. Each epoch that is some label's best is kept and run,
so scoring costs as many networks as there are such epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.networks.network import MultilabelNetwork


class LabelwiseNetwork(nn.Module):
    """Take every label's logit from the network of its epoch.

    Parameters
    ----------
    networks : mapping of int to MultilabelNetwork
        The networks by epoch.
    label_epochs : sequence of int
        The epoch of each label.
    """

    def __init__(self, networks: Mapping[int, MultilabelNetwork], label_epochs: Sequence[int]) -> None:
        super().__init__()
        first = networks[label_epochs[0]]
        self.mean, self.std, self.takes_photos = first.mean, first.std, first.takes_photos
        self.label_epochs = tuple(int(epoch) for epoch in label_epochs)
        self.networks = nn.ModuleDict({str(epoch): networks[epoch] for epoch in sorted(set(self.label_epochs))})

    def by_epoch(self) -> dict[int, MultilabelNetwork]:
        """Return the networks.

        Returns
        -------
        dict of int to MultilabelNetwork
            By epoch, each the best of some label.
        """
        return {int(epoch): cast(MultilabelNetwork, network) for epoch, network in self.networks.items()}

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the logits.

        Parameters
        ----------
        photos : Tensor
            Shape (n_rows, 3, size, size), normalised.

        Returns
        -------
        Tensor
            Shape (n_rows, n_labels), float32.
        """
        logits = torch.empty(len(photos), len(self.label_epochs), device=photos.device)
        for epoch, network in self.networks.items():
            columns = [column for column, chosen in enumerate(self.label_epochs) if str(chosen) == epoch]
            logits[:, columns] = network(photos)[:, columns]
        return logits


def label_log_losses(
    y_true: NDArray[np.uint8], y_score: NDArray[np.float32], y_known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the log loss of each label.

    Parameters
    ----------
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Truth.
    y_score : ndarray of float32, shape (n_rows, n_labels)
        Probabilities.
    y_known : ndarray of bool, shape (n_rows, n_labels), optional
        False where an entry is not annotated.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Means over the known rows; NaN for a label without a known positive.
    """
    known = np.ones(y_true.shape, bool) if y_known is None else y_known
    right = np.where(y_true == 1, y_score, 1 - y_score.astype(np.float64))
    loss = -(np.log(np.maximum(right, 1e-7)) * known).sum(axis=0) / np.maximum(1, known.sum(axis=0))
    return np.where((y_true * known).sum(axis=0) > 0, loss, np.nan)


def choose_label_epochs(label_losses: Sequence[NDArray[np.float64]], best_epoch: int) -> list[int]:
    """Choose the epoch of each label.

    Parameters
    ----------
    label_losses : sequence of ndarray of float64, shape (n_labels,)
        Log losses of every finished epoch.
    best_epoch : int
        The epoch, from 1, of labels whose loss is NaN.

    Returns
    -------
    list of int
        Epochs from 1, the first of equal ones.

    Examples
    --------
    >>> choose_label_epochs([np.array([0.5, 0.2, np.nan]), np.array([0.4, 0.3, np.nan])], best_epoch=2)
    [2, 1, 2]
    """
    losses = np.stack(label_losses)
    chosen = np.argmin(np.where(np.isnan(losses), np.inf, losses), axis=0) + 1
    return [int(epoch) for epoch in np.where(np.isnan(losses[0]), best_epoch, chosen)]
