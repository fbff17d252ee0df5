"""What one fold leaves behind: scores as atomic chunks, weights, ``done.json`` last; and the stores made of them.

A chunk is an ``.npz`` file with ``rows`` (of the run), ``columns`` (labels the member covers) and ``scores``. The
stores are filled chunk by chunk, so a run larger than memory can be gathered; the store's writer refuses a row that is
written twice or never.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from base_models.networks.head_network import join_body
from base_models.networks.per_label import LabelwiseNetwork
from base_models.recipe.folds import FoldConfig
from base_models.recipe.run import TrainingRun
from base_models.runs.folder import RunFolder, read_npz, write_npz
from base_models.runs.splits import RunData
from base_models.training.checkpoints import drop_training_state, tensors_of
from base_models.training.distributed import Processes
from base_models.training.progress import Progress, TrainingEvent
from base_models.training.scoring import score_photos
from base_models.training.task import MemberTask, TrainedMember
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_json, sha256_file

__all__ = ["assemble_stores", "finish_fold", "fold_is_done", "mark_done", "mean_over_networks", "merge_derived"]

logger = logging.getLogger(__name__)

LOGIT_RANGE = (1e-7, 1 - 1e-7)
"""Probabilities are clipped to it before their logits are taken."""

SCORED_SPLITS = ("validation", "test")


def finish_fold(
    trained: TrainedMember,
    task: MemberTask,
    data: RunData,
    place: Path,
    columns: NDArray[np.int64],
    processes: Processes | None = None,
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
    processes : Processes, optional
        Those that score together, and where the network is; the first writes.

    Returns
    -------
    dict of str to str
        SHA-256 of every file by name; empty in all processes but the first.
    """
    from safetensors.torch import save

    rows_by_chunk = {"oof": np.flatnonzero(data.fold == task.fold)}
    rows_by_chunk.update({split: data.rows_of(split) for split in SCORED_SPLITS})
    processes, names = processes or Processes(), ["weights.safetensors"]
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
    done = {
        "member": task.member.name,
        "network": task.member.network,
        "size": task.member.size,
        "head": task.member.head,
        "hidden": list(task.member.hidden),
        "precision": trained.precision,
        "flip_tta": task.member.training.flip_tta,
        "fold": task.fold,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "kept": task.member.training.keep,
        **({"label_epochs": network.label_epochs} if isinstance(network, LabelwiseNetwork) else {}),
        "validation_micro_f1": max(row["validation_micro_f1"] for row in trained.history),
        "images_per_second": trained.history[-1]["images_per_second"],
        "batch_parts": trained.history[-1].get("batch_parts", 1),
        "resumed_from_epoch": trained.resumed_from,
        "n_train": trained.n_train,
        "n_validation": len(task.validation_rows),
        "n_labels": len(labels),
        "labels": list(labels),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "normalisation": {"mean": list(network.mean), "std": list(network.std)},
        "starting_weights": trained.starting_weights,
        "seed": task.seed,
        **spent,
        "files": dict(files),
    }
    atomic_write_json(place / "done.json", done)
    drop_training_state(place)


def fold_is_done(place: Path) -> bool:
    """Tell whether a fold's files are all there and whole.

    Parameters
    ----------
    place : pathlib.Path
        Folder of one member and fold.

    Returns
    -------
    bool
        True when ``done.json`` names files whose SHA-256 is right.

    Raises
    ------
    ValueError
        If it names a file that is missing or damaged.
    """
    marker = place / "done.json"
    if not marker.is_file():
        return False
    for name, digest in json.loads(marker.read_text(encoding="utf-8"))["files"].items():
        if not (place / name).is_file() or sha256_file(place / name) != digest:
            raise ValueError(
                f"a finished fold must be whole: {place / name} is missing or damaged; delete {place} to train "
                "it again."
            )
    return True


def mean_over_networks(scores: Iterable[NDArray[np.float32]], kind: str = "mean") -> NDArray[np.float32]:
    """Average what a member's networks say about photos that are in no fold.

    Parameters
    ----------
    scores : iterable of ndarray of shape (n_rows, n_labels)
        Probabilities of one network after the other; at least one.
    kind : {"mean", "logit-mean", "refit"}
        Arithmetic mean, or the sigmoid of the mean of the logits; a refit is a single network.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        Probabilities; NaN where they are NaN.

    Examples
    --------
    >>> mean_over_networks([np.array([[0.5]]), np.array([[0.9]])], "logit-mean").round(3).tolist()
    [[0.75]]
    """
    total: NDArray[np.float64] = np.zeros(())
    n_networks = 0
    for part in scores:
        n_networks += 1
        exact = np.asarray(part, np.float64)
        total = total + (logit(np.clip(exact, *LOGIT_RANGE)) if kind == "logit-mean" else exact)
    mean = total / n_networks
    return np.asarray(expit(mean) if kind == "logit-mean" else mean, np.float32)


def merge_derived(scores: Mapping[str, NDArray[np.float32]], members: Sequence[str]) -> NDArray[np.float32]:
    """Combine members into a derived one: for every label the mean of those that cover it.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n_rows, n_labels)
        Scores by member, NaN where a member does not cover a label.
    members : sequence of str
        Which to combine.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        NaN where none covers the label.

    Examples
    --------
    >>> nan = float("nan")
    >>> merge_derived({"a": np.array([[0.25, nan]]), "b": np.array([[nan, 0.5]])}, ["a", "b"]).tolist()
    [[0.25, 0.5]]
    """
    parts = np.stack([scores[name] for name in members]).astype(np.float64)
    covered = ~np.isnan(parts)
    counts = covered.sum(axis=0)
    total = np.where(covered, parts, 0.0).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan).astype(np.float32)


def assemble_stores(
    recipe: TrainingRun,
    data: RunData,
    folder: RunFolder,
    progress: Progress | None = None,
    *,
    without: Sequence[str] = (),
) -> None:
    """Write ``RUN/oof`` and a store for every other split from the chunks.

    Parameters
    ----------
    recipe : TrainingRun
        Members and derived members.
    data : RunData
        Ids, truth, folds.
    folder : RunFolder
        The run.
    progress : callable, optional
        Called after every store.
    without : sequence of str
        Members that could not be trained; what is derived from them is left out as well.
    """
    from stacking.predictions import StoreWriter

    parts: dict[str, tuple[str, ...]] = {member.name: (member.name,) for member in recipe.members}
    parts.update({derived.name: tuple(derived.members) for derived in recipe.derived})
    parts = {name: members for name, members in parts.items() if not set(members) & set(without)}
    covers = _read_covers(parts, data, folder)
    groups = data.manifest.groups
    for chunk in ("oof", *SCORED_SPLITS):
        rows = data.rows_of(chunk)
        if not len(rows):
            continue
        writer = StoreWriter(
            folder.path / chunk,
            data.ids[rows],
            list(parts),
            data.manifest.vocabulary.names,
            overwrite=True,
            y_true=data.y_true[rows],
            groups=None if groups is None else groups[data.indices[rows]],
            folds=_folds_of_store(data, rows) if chunk == "oof" else None,
            covers=np.stack([covers[name] for name in parts]),
            label_groups=data.manifest.vocabulary.groups,
            train_frequency=data.train_counts / max(1, int(data.learning.sum())),
        )
        with writer:
            for name, members in parts.items():
                for places, scores in _gather(members, chunk, rows, data, folder, recipe.folds):
                    writer.write(name, places, scores)
        message = f"{folder.path / chunk}: {len(parts)} models, {len(rows)} photos, {data.y_true.shape[1]} labels"
        logger.info(message)
        if progress is not None:
            progress(TrainingEvent("store", message=message))


def _folds_of_store(data: RunData, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which fold's model scored each row, −1 throughout where one network scored them all."""
    return data.fold[rows] if data.n_folds > 1 else np.full(len(rows), -1, dtype=np.int64)


def _read_covers(parts: Mapping[str, Sequence[str]], data: RunData, folder: RunFolder) -> dict[str, NDArray[np.bool_]]:
    """Read which labels each model of the store covers."""
    names = list(data.manifest.vocabulary.names)
    covers = {}
    for name, members in parts.items():
        covers[name] = np.zeros(len(names), dtype=bool)
        for member in members:
            done = json.loads((folder.fold_folder(member, 0) / "done.json").read_text(encoding="utf-8"))
            covers[name][[names.index(label) for label in done["labels"]]] = True
    return covers


def _gather(
    members: Sequence[str], chunk: str, rows: NDArray[np.int64], data: RunData, folder: RunFolder, folds: FoldConfig
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield a model's places in the store and scores: fold by fold for OOF, what scores new photos elsewhere."""
    if chunk == "oof":
        for fold in np.unique(data.fold[data.fold >= 0]).tolist():
            read = {name: _read_chunk(folder, name, fold, chunk, data.y_true.shape[1]) for name in members}
            chunk_rows = read[members[0]][0]
            yield np.searchsorted(rows, chunk_rows), merge_derived({k: v[1] for k, v in read.items()}, members)
        return
    means = {}
    for name in members:
        parts = (_read_chunk(folder, name, k, chunk, data.y_true.shape[1])[1] for k in folds.networks_for_new_photos)
        means[name] = mean_over_networks(parts, folds.new_photos)
    yield np.arange(len(rows)), merge_derived(means, members)


def _read_chunk(
    folder: RunFolder, member: str, fold: int, chunk: str, n_labels: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read one chunk: its rows and scores over all labels, NaN where not covered."""
    part = read_npz(folder.fold_folder(member, fold) / f"{chunk}.npz")
    scores = np.full((len(part["rows"]), n_labels), np.nan, np.float32)
    scores[:, part["columns"]] = part["scores"]
    return part["rows"], scores
