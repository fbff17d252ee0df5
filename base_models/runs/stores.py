"""The stores of a run, gathered from what its folds left: chunk by chunk, so that a run may be larger than memory.

The store's writer refuses a row that is written twice or never.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from base_models.recipe.folds import FoldConfig
from base_models.recipe.run import TrainingRun
from base_models.runs.fold_chunks import SCORED_SPLITS
from base_models.runs.fold_record import FoldRecord
from base_models.runs.folder import RunFolder
from base_models.runs.splits import RunData
from base_models.training.progress import Progress, TrainingEvent
from stacking.files.untrusted import read_npz
from stacking.links import SMALLEST_SCORE

logger = logging.getLogger(__name__)


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
        total = total + (logit(np.clip(exact, SMALLEST_SCORE, 1 - SMALLEST_SCORE)) if kind == "logit-mean" else exact)
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
            label_ids=data.manifest.vocabulary.own_ids,
            train_frequency=data.train_counts / max(1, int(data.learning.sum())),
        )
        with writer:
            for name, members in parts.items():
                for places, scores in _gather(members, chunk, rows, data, folder, recipe.folds):
                    writer.write(name, places, scores)
        message = f"{folder.path / chunk}: {len(parts)} models, {len(rows):,} photos, {data.y_true.shape[1]} labels"
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
            labels = FoldRecord.read(folder.fold_folder(member, 0)).labels
            covers[name][[names.index(label) for label in labels]] = True
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
