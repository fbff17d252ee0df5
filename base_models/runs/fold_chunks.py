"""What one fold leaves behind: scores as atomic chunks, weights, and its record last.

A chunk is an ``.npz`` file with ``rows`` (of the run), ``columns`` (labels the member covers) and ``scores``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.networks.per_label import LabelwiseNetwork
from base_models.precomputed.head_network import join_body
from base_models.runs.fold_record import FoldRecord
from base_models.runs.folder import write_npz
from base_models.runs.splits import RunData
from base_models.training.checkpoints import drop_training_state, tensors_of
from base_models.training.distributed import ProcessGroup
from base_models.training.scoring import score_photos
from base_models.training.task import MemberTask, TrainedMember
from stacking.files.atomic_files import atomic_write_bytes, sha256_file

SCORED_SPLITS = ("validation", "test")
"""Splits that are scored besides the held-out rows."""


def finish_fold(
    trained: TrainedMember,
    task: MemberTask,
    data: RunData,
    place: Path,
    columns: NDArray[np.int64],
    processes: ProcessGroup | None = None,
) -> dict[str, str]:
    """Score the held-out rows and the other splits, and write the chunks and the weights.

    Parameters
    ----------
    trained : TrainedMember
        The network.
    task : MemberTask
        What it was trained on.
    data : RunData
        Which rows are held out.
    place : pathlib.Path
        Folder of the member and fold.
    columns : ndarray of int64
        Labels that the member covers.
    processes : ProcessGroup, optional
        Those that score together, and where the network is; the first writes.

    Returns
    -------
    dict of str to str
        SHA-256 of every file by name; empty in all processes but the first.
    """
    from safetensors.torch import save

    rows_by_chunk = {"oof": np.flatnonzero(data.fold == task.fold)}
    rows_by_chunk.update({split: data.rows_of(split) for split in SCORED_SPLITS})
    processes, names = processes or ProcessGroup(), ["weights.safetensors"]
    flip = task.member.training.flip_tta
    for name, rows in rows_by_chunk.items():
        if not len(rows):
            continue
        score = partial(score_photos, trained.network, task.photos, precision=trained.precision, flip=flip)
        scores = processes.score(rows, partial(score, device=processes.device))
        if processes.is_first:
            write_npz(place / f"{name}.npz", rows=rows, columns=columns, scores=scores)
            names.append(f"{name}.npz")
    if not processes.is_first:
        return {}
    atomic_write_bytes(place / "weights.safetensors", save(tensors_of(join_body(trained.network, task.photos))))
    return {name: sha256_file(place / name) for name in names}


def mark_done(
    trained: TrainedMember,
    task: MemberTask,
    place: Path,
    labels: Sequence[str],
    spent: Mapping[str, float],
    files: Mapping[str, str],
) -> None:
    """Write the commit marker of a fold, then drop what only a resumed training needs.

    Parameters
    ----------
    trained : TrainedMember
        The network.
    task : MemberTask
        What it was trained on.
    place : pathlib.Path
        Folder of the member and fold.
    labels : sequence of str
        Names of the labels it covers.
    spent : mapping of str to float
        ``seconds`` and ``cpu_seconds``.
    files : mapping of str to str
        SHA-256 by file name, as ``finish_fold`` returned it.
    """
    network = join_body(trained.network, task.photos)
    FoldRecord(
        member=task.member.name,
        network=task.member.network,
        size=task.member.size,
        head=task.member.head,
        degraded_size=task.member.degraded_size,
        hidden=task.member.hidden,
        precision=trained.precision,
        flip_tta=task.member.training.flip_tta,
        fold=task.fold,
        label_epochs=network.label_epochs if isinstance(network, LabelwiseNetwork) else None,
        validation_micro_f1=max(row["validation_micro_f1"] for row in trained.history),
        labels=tuple(labels),
        normalization={"mean": list(network.mean), "std": list(network.std)},
        files=dict(files),
        figures={
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch,
            "kept": task.member.training.keep,
            "images_per_second": trained.history[-1]["images_per_second"],
            "batch_parts": trained.history[-1].get("batch_parts", 1),
            "resumed_from_epoch": trained.resumed_from,
            "n_train": trained.n_train,
            "n_validation": len(task.validation_rows),
            "n_labels": len(labels),
            "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
            "starting_weights": trained.starting_weights,
            "seed": task.seed,
            **trained.figures,
            **spent,
        },
    ).write(place)
    drop_training_state(place)
