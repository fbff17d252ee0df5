"""Score new photos with the networks of a finished run: each member is the mean of its fold models."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from base_models.checkpoints import read_tensors
from base_models.dataset import PhotoReader, PhotoTensors, check_photos
from base_models.fold_chunks import fold_is_done, merge_derived
from base_models.labelwise_network import LabelwiseNetwork
from base_models.manifest import Manifest, load_photo_folder
from base_models.member_config import FoldConfig, MemberConfig, TrainingConfig
from base_models.networks import MultilabelNetwork, create_network
from base_models.out_of_fold import choose_device
from base_models.photos import decode_photo
from base_models.progress import Progress, TrainingEvent
from base_models.run_data import CHECKED_SIZE
from base_models.scoring import score_photos
from stacking.predictions import PredictionSet, load_predictions

if TYPE_CHECKING:
    from base_models.manifest import PhotoSource

__all__ = ["predict"]

logger = logging.getLogger(__name__)


def predict(
    run: str | Path,
    photos: Manifest | str | Path,
    *,
    device: str = "auto",
    n_workers: int = 0,
    progress: Progress | None = None,
) -> PredictionSet:
    """Score photos that were no part of a run.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a finished run.
    photos : Manifest, str or pathlib.Path
        A manifest, or a folder of photos or tar shards.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    n_workers : int
        Processes that decode photos which do not fit in memory.
    progress : callable, optional
        Called with a ``TrainingEvent`` after every network.

    Returns
    -------
    PredictionSet
        One model per member of the run, derived ones included; scores are the arithmetic mean over the folds. Photos
        that cannot be read have no row: ``extras["unreadable"]`` lists their ids, and a warning is logged.

    Raises
    ------
    ValueError
        If the run is not finished or its files are damaged, or no photo can be read.
    """
    run, device = Path(run), choose_device(device)
    manifest = _read_run(run)
    ids, reader, y_true = _open_photos(photos)
    readable, unreadable = _check_readable(ids, reader, n_workers)
    recipe, labels = manifest["recipe"], list(manifest["data"]["labels"])
    n_folds = _n_folds(recipe)
    scores: dict[str, NDArray[np.float32]] = {}
    source: PhotoTensors | None = None
    failed = set(manifest.get("failed_members", ()))
    for member in (entry for entry in recipe["members"] if entry["name"] not in failed):
        facts = [_read_fold(run / "members" / member["name"] / f"fold{fold}") for fold in range(n_folds)]
        if source is None or source.size != facts[0]["size"]:
            source = PhotoTensors(reader, readable, int(facts[0]["size"]), n_workers=n_workers)
        means = _mean_of_folds(run, member, facts, source, device, progress)
        scores[member["name"]] = np.full((len(readable), len(labels)), np.nan, np.float32)
        scores[member["name"]][:, [labels.index(label) for label in facts[0]["labels"]]] = means
    for derived in recipe.get("derived", []):
        if not failed & set(derived["members"]):
            scores[derived["name"]] = merge_derived(scores, derived["members"])
    return PredictionSet(
        np.stack(list(scores.values())),
        ids=ids[readable],
        models=tuple(scores),
        labels=tuple(labels),
        y_true=None if y_true is None else y_true[readable],
        covers=np.stack([~np.isnan(score).any(axis=0) for score in scores.values()]),
        label_groups=tuple(manifest["data"]["label_groups"]),
        train_frequency=load_predictions(run / "oof").train_frequency,
        extras={"unreadable": np.array(unreadable, dtype=np.str_)} if unreadable else None,
    )


def _mean_of_folds(
    run: Path,
    member: dict[str, Any],
    facts: list[dict[str, Any]],
    source: PhotoTensors,
    device: str,
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Score the photos with every fold's network and average."""
    name, n_folds = member["name"], len(facts)
    precision = member.get("training", {}).get("precision", "float32")
    total = np.zeros((len(source), len(facts[0]["labels"])), np.float64)
    for fold, fact in enumerate(facts):
        network = _load_network(run / "members" / name / f"fold{fold}", fact, device)
        arithmetic, flip = fact.get("precision", precision), bool(fact.get("flip_tta"))
        total += score_photos(network, source, np.arange(len(source)), arithmetic, device, flip=flip)
        if progress is not None:
            message = f"{name}: fold model {fold + 1} of {n_folds} has scored {len(source)} photos"
            progress(TrainingEvent("fold", name, fold, n_folds, message=message))
    return (total / n_folds).astype(np.float32)


def _n_folds(recipe: dict[str, Any]) -> int:
    """Return the number of folds of a canonical recipe, which leaves defaults out."""
    return int(recipe.get("folds", {}).get("n_folds", FoldConfig().n_folds))


class _SourceReader:
    """Let a bare photo source be read like a manifest."""

    def __init__(self, ids: NDArray[np.str_], source: PhotoSource) -> None:
        self.ids, self.source = ids, source

    def read_photo(self, row: int, at_least: int = 0) -> Image.Image:
        """Decode one photo."""
        return decode_photo(self.source.read_bytes(row), name=str(self.ids[row]), at_least=at_least)


def _open_photos(photos: Manifest | str | Path) -> tuple[NDArray[np.str_], PhotoReader, NDArray[np.uint8] | None]:
    """Return ids, a reader and, for a manifest, the truth."""
    if isinstance(photos, Manifest):
        return photos.ids, photos, photos.y_true
    ids, source = load_photo_folder(Path(photos))
    return ids, _SourceReader(ids, source), None


def _check_readable(ids: NDArray[np.str_], reader: PhotoReader, n_workers: int) -> tuple[NDArray[np.int64], list[str]]:
    """Find the photos that can be read."""
    source = PhotoTensors(reader, np.arange(len(ids)), CHECKED_SIZE, cache="none", n_workers=n_workers)
    failures = check_photos(source)
    readable = np.setdiff1d(np.arange(len(ids)), np.array(list(failures), dtype=np.int64))
    for row, reason in failures.items():
        logger.warning("photo %s is left out: %s", ids[row], reason)
    if not len(readable):
        raise ValueError(f"photos must hold at least one that can be read: got {len(ids)}, none of them readable.")
    return readable, [str(ids[row]) for row in failures]


def _read_run(run: Path) -> dict[str, Any]:
    """Read the manifest of a finished run."""
    path = run / "manifest.json"
    if not path.is_file():
        raise ValueError(f"run must be the folder of a training run: {run} holds no manifest.json.")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "recipe_hash" not in manifest:
        raise ValueError(f"run must be the folder of a training run: {path} belongs to something else.")
    if not manifest.get("finished"):
        raise ValueError(f"run must be finished: {run} is not; run the same train command again until it is.")
    return manifest


def _read_fold(place: Path) -> dict[str, Any]:
    """Check a finished fold and return its facts."""
    if not fold_is_done(place):
        raise ValueError(f"run must be finished: {place} holds no trained network; run the same train command again.")
    facts: dict[str, Any] = json.loads((place / "done.json").read_text(encoding="utf-8"))
    return facts


def _load_network(place: Path, facts: dict[str, Any], device: str) -> MultilabelNetwork | LabelwiseNetwork:
    """Rebuild a fold's network with its weights."""
    member = MemberConfig(
        facts["member"],
        facts["network"],
        size=int(facts["size"]),
        head=facts.get("head", "linear"),
        hidden=tuple(facts.get("hidden", ())),
        training=TrainingConfig(epochs=1),
    )
    epochs = facts.get("label_epochs", [0])
    networks = {k: create_network(member, np.full(len(facts["labels"]), 0.5), load_weights=False) for k in set(epochs)}
    network = LabelwiseNetwork(networks, epochs) if "label_epochs" in facts else networks[0]
    network.load_state_dict(read_tensors(place / "weights.safetensors"))
    network.mean, network.std = tuple(facts["normalisation"]["mean"]), tuple(facts["normalisation"]["std"])
    return network.to(device).to(memory_format=torch.channels_last)
