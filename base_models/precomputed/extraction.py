"""Compute the features of a frozen body for a run's photos, or go on where an earlier process stopped.

Batches are cut the same way whoever computes them and wherever it was interrupted, so a CPU gives the same bits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.device import arithmetic, is_out_of_memory, release_memory, send_photos
from base_models.networks.logits import compute_logits
from base_models.networks.network import MultilabelNetwork
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.feature_store import CHUNK_ROWS, FeatureMetadata, FeatureWriter
from stacking.files.ending import ending_with
from stacking.files.versions import installed_versions

logger = logging.getLogger(__name__)

BATCH_ROWS = 64  # must divide CHUNK_ROWS; only speed and memory depend on it


def compute_features(body: MultilabelNetwork, photos: Tensor, precision: str = "float32") -> NDArray[np.float32]:
    """Compute the features of a batch.

    Parameters
    ----------
    body : MultilabelNetwork
        A ``BodyNetwork``; it decides where it is computed.
    photos : Tensor
        Shape (n_rows, 3, size, size), values in [0, 255].
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Arithmetic of the body.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_channels * n_places)
        Features.

    Raises
    ------
    ValueError
        If a single photo does not fit into the device's memory. Where a batch does not, parts of it are tried.
    """
    n_parts, device = 1, next(body.parameters()).device
    while True:
        try:
            with torch.inference_mode(), arithmetic(precision, device):
                shown = (send_photos(part, device).float() for part in photos.chunk(n_parts))
                parts = [compute_logits(body, part, precision).flatten(1).cpu() for part in shown]
                return torch.cat(parts).numpy()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if n_parts >= len(photos):
                raise ValueError(
                    f"size of the photos must fit into the memory of {device}: a single one does not; choose a "
                    "smaller size or network, or device 'cpu'."
                ) from error
            n_parts *= 2
            logger.warning("out of memory on %s: %d photos go through in %d parts", device, len(photos), n_parts)
            release_memory(device)


def write_features(
    folder: Path,
    metadata: FeatureMetadata,
    variants: Sequence[str],
    body: MultilabelNetwork,
    photos: PhotoTensors,
    device: str = "cpu",
    on_rows: Callable[[int], None] | None = None,
) -> None:
    """Fill a store with the variants that it lacks.

    Parameters
    ----------
    folder : pathlib.Path
        The store's folder, whose lock is held.
    metadata : FeatureMetadata
        What it will hold.
    variants : sequence of {"photos", "mirrored"}
        Which variants it lacks.
    body : MultilabelNetwork
        A ``BodyNetwork``; comes back on the CPU.
    photos : PhotoTensors
        The run's photos at the network's size.
    device : str
        Where to compute.
    on_rows : callable, optional
        Called with the number of photos done so far after every chunk.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk has too little space; nothing was computed then.
    ValueError
        If a feature is not finite, or a photo does not fit into the device's memory.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    writer = FeatureWriter(folder, metadata, variants)
    with ending_with(writer.close, lambda: body.to("cpu")):
        body = body.to(device).to(memory_format=torch.channels_last)
        _fill(writer, variants, body, photos, on_rows)
        writer.commit(
            weights=body.starting_weights,
            versions=installed_versions(("torch", "timm")),
            device=device,
            n_threads=torch.get_num_threads(),
            seconds=time.monotonic() - started,  # of the last process
            cpu_seconds=time.process_time() - cpu_started,
        )


def _fill(
    writer: FeatureWriter,
    variants: Sequence[str],
    body: MultilabelNetwork,
    photos: PhotoTensors,
    on_rows: Callable[[int], None] | None,
) -> None:
    """Compute the chunks that are not there yet and write each as soon as its last batch is done."""
    n_photos, precision = writer.metadata.n_photos, writer.metadata.precision
    first = min(writer.n_done(variant) for variant in variants) * CHUNK_ROWS
    starts = range(first, n_photos, BATCH_ROWS)
    batches = [np.arange(start, min(start + BATCH_ROWS, n_photos)) for start in starts]
    blocks: dict[str, list[NDArray[np.float32]]] = {}
    for rows, pixels in photos.iter_batches(batches, reuse=True):
        chunk, stop = int(rows[0]) // CHUNK_ROWS, int(rows[-1]) + 1
        for variant in variants:
            if writer.n_done(variant) <= chunk:
                mirrored = pixels.flip(-1) if variant == "mirrored" else pixels
                blocks.setdefault(variant, []).append(compute_features(body, mirrored, precision))
        if stop in (n_photos, (chunk + 1) * CHUNK_ROWS):
            unread = {row: reason for row, reason in photos.failures.items() if row // CHUNK_ROWS == chunk}
            writer.write({variant: np.concatenate(parts) for variant, parts in blocks.items()}, chunk, unread)
            blocks = {}
            if on_rows is not None:
                on_rows(stop)
