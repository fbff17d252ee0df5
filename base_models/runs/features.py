"""The features that a member of a run trains on: found in the run's or a shared folder, or computed once.

Every member, fold and run with the same body, size, arithmetic, type and photos uses the same store.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base_models.networks.feature_maps import run_body
from base_models.networks.network import create_network
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.extraction import write_features
from base_models.precomputed.feature_rows import FeatureRows
from base_models.precomputed.feature_store import VARIANTS, FeatureMetadata, open_matrices, read_index, store_lock
from base_models.precomputed.head_network import BodyNetwork
from base_models.recipe.member import MemberConfig, feature_augmentation, needs_mirror, needs_of_head
from base_models.recipe.run import TrainingRun
from base_models.runs.folder import RunFolder
from base_models.runs.splits import RunData
from base_models.training.checkpoints import tensors_of
from base_models.training.progress import Progress, TrainingEvent
from stacking.files.atomic_files import check_writable
from stacking.process.memory import GIB

logger = logging.getLogger(__name__)


def wanted_variants(member: MemberConfig, members: Sequence[MemberConfig]) -> tuple[str, ...]:
    """Return which variants of the photos a member's store must hold, so that all that share it are served.

    Parameters
    ----------
    member : MemberConfig
        The member.
    members : sequence of MemberConfig
        All members of the run.

    Returns
    -------
    tuple of {"photos", "mirrored"}
        Mirror images only where one of them looks at them.
    """
    others = [other for other in members if other.features == "precomputed"]
    sharing = [other for other in others if store_key(other) == store_key(member)]
    return VARIANTS if any(needs_mirror(other.training) for other in (member, *sharing)) else VARIANTS[:1]


def store_key(member: MemberConfig) -> tuple[Any, ...]:
    """Return what of a member decides which store of a run it uses.

    Parameters
    ----------
    member : MemberConfig
        A member with ``features = "precomputed"``.

    Returns
    -------
    tuple
        Equal for members that share a store.
    """
    needs = needs_of_head(member.head)
    return (member.network, member.weights, member.size, member.training.precision, member.feature_dtype, needs)


def check_feature_space(recipe: TrainingRun, data: RunData, folder: RunFolder) -> None:
    """Check before any training that the features of all unfinished members are allowed and fit on the disk.

    Parameters
    ----------
    recipe : TrainingRun
        Members, and the limit of a store's size.
    data : RunData
        The photos.
    folder : RunFolder
        The run.

    Raises
    ------
    ValueError
        If a store would be larger than ``features_gib``, or all together larger than what is free.
    """
    unfinished = {
        store_key(member): member
        for member in recipe.members
        if member.features == "precomputed"
        and not all((folder.fold_folder(member.name, fold) / "done.json").is_file() for fold in range(data.n_folds))
    }
    needed = 0
    for member in unfinished.values():
        metadata = _metadata(member, _create_body(member), data)
        variants = wanted_variants(member, recipe.members)
        _check_limit(member, metadata, len(variants), recipe.features_gib)
        place = _store_folder(recipe, folder, metadata)
        missing = _missing(variants, read_index(place, metadata))
        started = sum((place / f"{name}.npy.part").is_file() for name in missing)  # its space is reserved already
        needed += metadata.n_bytes(len(missing) - started)
    place = _features_folder(recipe, folder)
    try:
        if needed:
            check_writable(place, needed)
    except OSError as error:
        raise ValueError(f"features_folder must have room for the features: {place}: {error.strerror}.") from error


def open_features(
    member: MemberConfig,
    recipe: TrainingRun,
    data: RunData,
    folder: RunFolder,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FeatureRows:
    """Open a member's features; compute what is missing.

    Parameters
    ----------
    member : MemberConfig
        A member with ``features = "precomputed"``.
    recipe : TrainingRun
        The run's members and where features are kept.
    data : RunData
        The photos.
    folder : RunFolder
        The run.
    device : str
        Where to compute.
    progress : callable, optional
        Called with a ``TrainingEvent`` of kind ``photos`` after every chunk.

    Returns
    -------
    FeatureRows
        Row by row of ``data``.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk has too little space.
    ValueError
        If the weights cannot be had, the store would be too large, or it is damaged.
    """
    body = _create_body(member)
    metadata, variants = _metadata(member, body, data), wanted_variants(member, recipe.members)
    _check_limit(member, metadata, len(variants), recipe.features_gib)
    if member.training.augmentation not in ("none", "mirror"):
        logger.warning(
            "%s: augmentation %r changes photos, but their features are precomputed; only their mirror images are used",
            member.name,
            member.training.augmentation,
        )
    place = _store_folder(recipe, folder, metadata)
    index = read_index(place, metadata)
    if _missing(variants, index):
        with store_lock(place):
            missing = _missing(variants, read_index(place, metadata))  # another process may have been faster
            if missing:
                photos = PhotoTensors(
                    data.manifest,
                    data.indices,
                    member.size,
                    cache="none",
                    n_workers=recipe.n_workers,
                    packed=data.packed.get(member.size),
                )
                write_features(place, metadata, missing, body, photos, device, _counter(member, len(photos), progress))
            index = read_index(place, metadata)
    if index is None:
        raise ValueError(f"a feature store must stay where it is: {place} was emptied meanwhile; run again.")
    variants = variants if needs_mirror(member.training) else VARIANTS[:1]
    matrices = open_matrices(place, index, variants)
    described = {**body.starting_weights, "features": _described(member, place, index)}
    failures = {int(row): str(reason) for row, reason in index["unreadable"].items()}
    keeps = recipe.cache == "memory" or (
        recipe.cache == "auto" and metadata.n_bytes(len(variants)) <= recipe.cache_gib * GIB
    )
    return FeatureRows(matrices, metadata, body, described, failures=failures, keeps=keeps)


def _create_body(member: MemberConfig) -> BodyNetwork:
    """Create a member's frozen body with its weights."""
    with torch.random.fork_rng(devices=[]):
        return BodyNetwork(create_network(member, np.full(1, 0.5)))


def _metadata(member: MemberConfig, body: BodyNetwork, data: RunData) -> FeatureMetadata:
    """Return what the member's store holds; one blank photo tells the shape of a row."""
    with torch.inference_mode():
        pooled, feature_map, _ = run_body(body.body, torch.zeros(1, 3, member.size, member.size), body.needs)
    digest = hashlib.sha256()
    for name, tensor in tensors_of(body.body).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    photos = hashlib.sha256("\0".join(data.ids.tolist()).encode())
    photos.update(data.manifest.photos.sizes[data.indices].astype("<i8").tobytes())
    shape = feature_map.shape if body.needs == "feature_map" else pooled.unsqueeze(2).shape
    return FeatureMetadata(
        member.network,
        digest.hexdigest(),
        member.size,
        tuple(body.mean),
        tuple(body.std),
        member.training.precision,
        body.needs,
        member.feature_dtype,
        photos.hexdigest(),
        len(data.indices),
        int(shape[1]),
        int(np.prod(shape[2:])),
    )


def _store_folder(recipe: TrainingRun, folder: RunFolder, metadata: FeatureMetadata) -> Path:
    """Return the folder of a store."""
    return _features_folder(recipe, folder) / metadata.name


def _features_folder(recipe: TrainingRun, folder: RunFolder) -> Path:
    """Return where the run's stores are."""
    return Path(recipe.features_folder) if recipe.features_folder else folder.path / "features"


def _missing(variants: Sequence[str], index: dict[str, Any] | None) -> list[str]:
    """Return the variants that a store lacks."""
    return [name for name in variants if index is None or f"{name}.npy" not in index["files"]]


def _check_limit(member: MemberConfig, metadata: FeatureMetadata, n_variants: int, limit: float) -> None:
    """Refuse a store that is larger than the recipe allows."""
    size = metadata.n_bytes(n_variants) / GIB
    if size > limit:
        smaller = [] if metadata.dtype == "float16" else ["feature_dtype 'float16'"]
        smaller += ["a head on pooled features, such as 'mlp'", "a smaller size"] if metadata.n_places > 1 else []
        raise ValueError(
            f"features of member {member.name!r} must fit in features_gib = {limit:g}: {metadata.n_photos} photos"
            f"{' and their mirror images' if n_variants > 1 else ''} × {metadata.n_channels} channels × "
            f"{metadata.n_places} places of {metadata.dtype} are {size:.2g} GiB; raise it, or use "
            f"{', '.join([*smaller, 'fewer photos'])}."
        )


def _described(member: MemberConfig, place: Path, index: dict[str, Any]) -> dict[str, Any]:
    """Return what a run records of its features."""
    digest = hashlib.sha256(json.dumps(index["files"], sort_keys=True).encode()).hexdigest()
    return {"store": place.name, "sha256": digest, "augmentation": feature_augmentation(member.training)}


def _counter(member: MemberConfig, n_photos: int, progress: Progress | None) -> Any:
    """Return a callback that reports photos whose features are there."""
    if progress is None:
        return None
    return lambda n_done: progress(
        TrainingEvent(
            "photos",
            member.name,
            step=n_done,
            n_steps=n_photos,
            message=f"{member.name}: features of {n_done} of {n_photos} photos",
        )
    )
