"""Score photos with a network, and judge validation scores by the decision rule of the ensemble.

The head computes in float32 whatever the arithmetic of the body, see :mod:`base_models.networks.network`.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.device import arithmetic, is_cuda, is_out_of_memory, release_memory, send_photos
from base_models.networks.logits import compute_logits
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.feature_rows import FeatureRows

logger = logging.getLogger(__name__)

BATCHES_IN_FLIGHT = 16  # whose scores wait on the device; only speed and memory depend on it
PIXELS_IN_FLIGHT = 2**24  # of a batch on a GPU: 334 photos of 224 pixels, 2,048 of 64 and fewer


def score_photos(
    network: MultilabelNetwork | LabelwiseNetwork,
    photos: PhotoTensors | FeatureRows,
    rows: NDArray[np.int64],
    precision: str = "float32",
    device: str = "cpu",
    batch_size: int = 0,
    flip: bool = False,
) -> NDArray[np.float32]:
    """Score photos with a trained network.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        Put into evaluation mode.
    photos : PhotoTensors or FeatureRows
        Photos at the network's size, or their precomputed features.
    rows : ndarray of int64
        Which of them.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Arithmetic of the body.
    device : str
        Where the network is.
    batch_size : int
        Photos at a time; 0 takes 128 on a CPU and as many as fill a GPU.
    flip : bool
        Whether scores are the mean over a photo and its mirror image.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        Probabilities.

    Raises
    ------
    ValueError
        If a single photo does not fit into the device's memory. Where a batch does not, smaller ones are tried.
    """
    network.eval()
    batch_size = batch_size or _batch_size_of(device, photos)
    while (scores := _try_scores(network, photos, split_evenly(rows, batch_size), precision, device, flip)) is None:
        if batch_size == 1:
            raise ValueError(
                f"size of the photos must fit into the memory of {device}: a single one does not; choose a smaller "
                "size or network, or device 'cpu'."
            )
        batch_size = max(1, min(batch_size, len(rows)) // 2)
        logger.warning("out of memory on %s: photos are scored %d at a time", device, batch_size)
    if not scores:
        blank = torch.zeros(1, 3, photos.size, photos.size, device=device)
        with torch.inference_mode():
            n_labels = compute_logits(network, blank, precision).shape[1]
        return np.empty((0, n_labels), np.float32)
    return np.concatenate(scores).astype(np.float32, copy=False)


def _try_scores(
    network: MultilabelNetwork | LabelwiseNetwork,
    photos: PhotoTensors | FeatureRows,
    batches: list[NDArray[np.int64]],
    precision: str,
    device: str,
    flip: bool,
) -> list[NDArray[np.float32]] | None:
    """Score batch by batch; None where memory is too small for one."""
    scores: list[NDArray[np.float32]] = []
    waiting: list[Tensor] = []  # on the device: reading a GPU's waits for it
    try:
        with torch.inference_mode(), arithmetic(precision, device):
            for _, pixels in photos.iter_batches(batches, reuse=True):
                shown = send_photos(pixels, device).float()
                y_score = torch.sigmoid(compute_logits(network, shown, precision))  # (n_rows, n_labels)
                if flip:
                    y_score = (y_score + torch.sigmoid(compute_logits(network, shown.flip(-1), precision))) / 2
                waiting.append(y_score)
                if len(waiting) == BATCHES_IN_FLIGHT:
                    scores += [part.cpu().numpy() for part in waiting]
                    waiting.clear()
            return scores + [part.cpu().numpy() for part in waiting]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release_memory(device)
        return None


def _batch_size_of(device: str, photos: PhotoTensors | FeatureRows) -> int:
    """Return how many photos are scored at a time: enough pixels to keep a GPU busy, in bounded memory."""
    if not is_cuda(device):
        return 128  # larger ones are no faster, and scores of a CPU stay bit for bit what they were
    return int(np.clip(PIXELS_IN_FLIGHT // photos.size**2, 32, 2048))


def validation_micro_f1(
    y_true: NDArray[np.uint8], y_score: NDArray[np.float32], y_known: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the best micro-F1 that one threshold for all labels reaches, by the decision rule ``single``.

    Parameters
    ----------
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Truth, 0 or 1.
    y_score : ndarray of float32, shape (n_rows, n_labels)
        Scores in [0, 1].
    y_known : ndarray of bool, shape (n_rows, n_labels), optional
        False where an entry is not annotated.

    Returns
    -------
    tuple of float
        Micro-F1 and the threshold; (0, 1) when nothing is positive.

    Examples
    --------
    >>> y_score = np.array([[0.75, 0.25], [0.125, 0.5]], np.float32)
    >>> validation_micro_f1(np.array([[1, 0], [0, 1]], np.uint8), y_score)
    (1.0, 0.375)
    """
    from stacking.decision_rules import apply_thresholds, tune_thresholds
    from stacking.metrics import micro_f1

    thresholds = tune_thresholds(y_score, y_true, "single", y_known=y_known)
    if not math.isfinite(thresholds[0]):
        return 0.0, 1.0
    y_pred = apply_thresholds(y_score, thresholds)
    return float(micro_f1(y_true, y_pred, y_known=y_known)), float(thresholds[0])


def split_evenly(rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Cut rows into batches whose sizes differ by at most one, so that none is tiny.

    Parameters
    ----------
    rows : ndarray of int64
        Rows in the order in which they are served.
    batch_size : int
        Largest batch.

    Returns
    -------
    list of ndarray of int64
        The batches; none without rows.
    """
    return np.array_split(rows, -(-len(rows) // batch_size)) if len(rows) else []
