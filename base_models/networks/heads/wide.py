"""The wide part beside a deep network: gradients' orientations (HOG) and colors, computed from the photo itself.

Both are computed in torch, on the photo's device and after augmentation; the HOG equals scikit-image's.

References
----------
N. Dalal, B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from base_models.networks.heads.body_output import BodyOutput, start_linear

CELL = 8  # pixels a side; it and the orientations are Dalal and Triggs' defaults
N_ORIENTATIONS = 9
N_BINS = 50  # of a channel's histogram: a choice, not tuned


def oriented_gradients(photos: Tensor) -> Tensor:
    """Compute histograms of oriented gradients: 9 orientations, cells of 8 × 8 pixels, each normalized by L2-Hys.

    Parameters
    ----------
    photos : Tensor
        Shape (n_rows, n_channels, height, width); a pixel's gradient is that of its steepest channel.

    Returns
    -------
    Tensor
        Shape (n_rows, n_cells * 9), ordered by cell row, cell column, orientation.

    Notes
    -----
    Equals ``skimage.feature.hog(orientations=9, pixels_per_cell=(8, 8), cells_per_block=(1, 1))``. O(pixels).
    """
    down, right = torch.zeros_like(photos), torch.zeros_like(photos)
    down[:, :, 1:-1] = photos[:, :, 2:] - photos[:, :, :-2]
    right[..., 1:-1] = photos[..., 2:] - photos[..., :-2]
    steepest = torch.hypot(down, right).argmax(dim=1, keepdim=True)
    down, right = down.gather(1, steepest), right.gather(1, steepest)  # (n_rows, 1, height, width)
    degrees = torch.rad2deg(torch.atan2(down, right)) % 180
    bins = (degrees / (180 / N_ORIENTATIONS)).long().clamp(max=N_ORIENTATIONS - 1)
    votes = photos.new_zeros(photos.shape[0], N_ORIENTATIONS, *photos.shape[2:]).scatter_(
        1, bins, torch.hypot(down, right)
    )
    cells = functional.avg_pool2d(votes, CELL).permute(0, 2, 3, 1)  # (n_rows, n_cell_rows, n_cell_columns, 9)
    # L2-Hys: scale to length 1, clip at .2 (Lowe, IJCV 2004, section 6.1), scale again; 1e-10 is scikit-image's eps²
    for _ in range(2):
        cells = (cells / torch.sqrt((cells**2).sum(dim=-1, keepdim=True) + 1e-10)).clamp(
            max=0.2 if _ == 0 else math.inf
        )
    return cells.flatten(1)


def color_histogram(photos: Tensor) -> Tensor:
    """Count how the values of each channel are spread.

    Parameters
    ----------
    photos : Tensor
        Shape (n_rows, n_channels, height, width), values in [0, 1]; others count into the nearest bin.

    Returns
    -------
    Tensor
        Shape (n_rows, n_channels * 50): shares of the pixels, in [0, 1].
    """
    bins = (photos * N_BINS).long().clamp(0, N_BINS - 1).flatten(2)  # (n_rows, n_channels, n_pixels)
    counts = photos.new_zeros(*bins.shape[:2], N_BINS).scatter_add_(2, bins, torch.ones_like(bins, dtype=photos.dtype))
    return (counts / bins.shape[2]).flatten(1)


class WideHead(nn.Module):
    """Answer from the pooled features, a hundred features made of the HOG, and the color histogram.

    Parameters
    ----------
    n_features : int
        Pooled features.
    n_labels : int
        Labels.
    size : int
        Side of the photos that the HOG is taken of, in pixels; photos of another size are resized for it.
    """

    needs = "photos"

    def __init__(self, n_features: int, n_labels: int, size: int) -> None:
        super().__init__()
        self.out_features = n_labels
        self.size = size
        # a hundred features are a choice, not tuned; .3 is the default slope of Keras' LeakyReLU
        self.dense = nn.Sequential(nn.Linear((size // CELL) ** 2 * N_ORIENTATIONS, 100), nn.LeakyReLU(0.3))
        self.classifier = nn.Linear(n_features + 100 + 3 * N_BINS, n_labels)

    def forward(self, output: BodyOutput) -> Tensor:
        """Compute the logits from ``pooled`` and ``photos``."""
        photos = output.photos
        if photos.shape[2:] != (self.size, self.size):
            photos = functional.interpolate(photos, (self.size, self.size), mode="bilinear", antialias=True)
        with torch.no_grad():
            gradients, colors = oriented_gradients(photos), color_histogram(photos)
        return self.classifier(torch.cat([output.pooled, self.dense(gradients), colors], dim=1))

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates."""
        start_linear(self.classifier, log_odds)
