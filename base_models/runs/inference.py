"""What scoring new photos needs of a finished run: its names, its networks; and the photos themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from base_models.manifest import Manifest, load_photo_folder
from base_models.networks.network import MultilabelNetwork, create_network
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.decoding import decode_photo
from base_models.photos.tensors import PhotoReader, PhotoTensors, check_photos
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.runs.fold_record import FoldRecord, fold_is_done
from base_models.runs.splits import CHECKED_SIZE
from base_models.training.checkpoints import read_tensors
from optimizers.registry import did_you_mean
from stacking.files.untrusted import damage_of, read_json

if TYPE_CHECKING:
    from base_models.manifest import PhotoSource


logger = logging.getLogger(__name__)


class PhotoFolder:
    """Let a bare photo source be read like a manifest.

    Parameters
    ----------
    ids : ndarray of str, shape (n_photos,)
        Names.
    photos : PhotoSource
        The files.
    """

    def __init__(self, ids: NDArray[np.str_], photos: PhotoSource) -> None:
        self.ids, self.photos = ids, photos

    def read_photo(self, row: int, at_least: int = 0) -> Image.Image:
        """Decode one photo, see `PhotoReader.read_photo`."""
        return decode_photo(self.photos.read_bytes(row), name=str(self.ids[row]), at_least=at_least)


OpenedPhotos = Manifest | PhotoFolder


def open_photos(
    photos: OpenedPhotos | str | Path,
) -> tuple[NDArray[np.str_], OpenedPhotos, NDArray[np.uint8] | None]:
    """Open photos that were no part of a run.

    Parameters
    ----------
    photos : Manifest, PhotoFolder, str or pathlib.Path
        A manifest, a source of photos with their names, or a folder of photos or tar shards.

    Returns
    -------
    tuple of ndarray, Manifest or PhotoFolder, and ndarray or None
        Ids, a reader and, for a manifest, the truth.
    """
    if isinstance(photos, Manifest):
        return photos.ids, photos, photos.y_true
    if isinstance(photos, PhotoFolder):
        return photos.ids, photos, None
    ids, source = load_photo_folder(Path(photos))
    return ids, PhotoFolder(ids, source), None


def find_readable(ids: NDArray[np.str_], reader: PhotoReader, n_workers: int) -> tuple[NDArray[np.int64], list[str]]:
    """Find the photos that can be read, and log why others cannot.

    Parameters
    ----------
    ids : ndarray of str, shape (n_photos,)
        Names.
    reader : PhotoReader
        Gives the photos.
    n_workers : int
        Processes that decode.

    Returns
    -------
    tuple of ndarray of int64 and list of str
        Rows of those that can, ids of those that cannot.

    Raises
    ------
    ValueError
        If none can be read.
    """
    source = PhotoTensors(reader, np.arange(len(ids)), CHECKED_SIZE, cache="none", n_workers=n_workers)
    return leave_out(ids, check_photos(source))


def leave_out(ids: NDArray[np.str_], failures: dict[int, str]) -> tuple[NDArray[np.int64], list[str]]:
    """Leave photos out that cannot be read, and log why.

    Parameters
    ----------
    ids : ndarray of str, shape (n_photos,)
        Names.
    failures : dict of int to str
        The reason by row.

    Returns
    -------
    tuple of ndarray of int64 and list of str
        Rows of those that can be read, ids of those that cannot.

    Raises
    ------
    ValueError
        If none can be read.
    """
    readable = np.setdiff1d(np.arange(len(ids)), np.array(list(failures), dtype=np.int64))
    for row, reason in failures.items():
        logger.warning("photo %s is left out: %s", ids[row], reason)
    if not len(readable):
        raise ValueError(f"photos must hold at least one that can be read: got {len(ids)}, none of them readable.")
    return readable, [str(ids[row]) for row in failures]


@dataclass(frozen=True)
class RunNames:
    """What a finished run predicts.

    Parameters
    ----------
    models, labels : tuple of str
        Their names, in order; members that could not be trained are left out.
    label_ids : tuple of str or None
        The data set's ids of the labels, where they are not the names.
    """

    models: tuple[str, ...]
    labels: tuple[str, ...]
    label_ids: tuple[str, ...] | None


def read_run_names(run: str | Path) -> RunNames:
    """Read which models and labels a run predicts, without loading a network.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a finished run.

    Returns
    -------
    RunNames
        Its names.

    Raises
    ------
    ValueError
        If the run is not finished.
    """
    manifest = read_run(Path(run))
    failed, recipe = set(manifest.get("failed_members", ())), manifest["recipe"]
    models = [entry["name"] for entry in recipe["members"] if entry["name"] not in failed]
    models += [entry["name"] for entry in recipe.get("derived", []) if not failed & set(entry["members"])]
    return RunNames(tuple(models), tuple(manifest["data"]["labels"]), own_label_ids(manifest["data"]))


def own_label_ids(data: dict[str, Any]) -> tuple[str, ...] | None:
    """Give the data set's ids of the labels where they are not the names; runs of earlier versions do not know them.

    Parameters
    ----------
    data : dict
        What the run's manifest says of its data.

    Returns
    -------
    tuple of str or None
        One id per label.
    """
    ids = data.get("label_ids")
    return None if ids is None or ids == data["labels"] else tuple(ids)


def read_run(run: Path) -> dict[str, Any]:
    """Read the manifest of a finished run.

    Parameters
    ----------
    run : pathlib.Path
        The folder.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ValueError
        If it is no run, or not finished.
    """
    path = run / "manifest.json"
    if not path.is_file():
        raise ValueError(f"run must be the folder of a training run: {run} holds no manifest.json.")
    manifest = read_json(path, f"the run folder's {path}")
    if "recipe_hash" not in manifest:
        raise ValueError(f"run must be the folder of a training run: {path} belongs to something else.")
    if not manifest.get("finished"):
        raise ValueError(f"run must be finished: {run} is not; run the same train command again until it is.")
    return manifest


def read_fold(place: Path) -> FoldRecord:
    """Check a finished fold and return its record.

    Parameters
    ----------
    place : pathlib.Path
        Folder of one member and fold.

    Returns
    -------
    FoldRecord
        Its record; the files that it names are there and whole.

    Raises
    ------
    ValueError
        If the fold is not finished, or damaged.
    """
    if not fold_is_done(place):
        raise ValueError(f"run must be finished: {place} holds no trained network; run the same train command again.")
    return FoldRecord.read(place)


def load_network(place: Path, record: FoldRecord, device: str) -> MultilabelNetwork | LabelwiseNetwork:
    """Rebuild a fold's network with its weights.

    Parameters
    ----------
    place : pathlib.Path
        Folder of one member and fold.
    record : FoldRecord
        What it records.
    device : str
        Where the network goes.

    Returns
    -------
    MultilabelNetwork or LabelwiseNetwork
        As it was trained.
    """
    with damage_of(f"the trained network in {place}", "copy the run folder again"):
        return _network_of(place, record).to(device).to(memory_format=torch.channels_last)


def _network_of(place: Path, record: FoldRecord) -> MultilabelNetwork | LabelwiseNetwork:
    """Build what a fold's record describes and fill it with its weights."""
    member = MemberConfig(
        record.member,
        record.network,
        record.size,
        head=record.head,
        hidden=record.hidden,
        degraded_size=record.degraded_size,
    )
    epochs = record.label_epochs or (0,)
    networks = {k: create_network(member, np.full(len(record.labels), 0.5), load_weights=False) for k in set(epochs)}
    network = networks[0] if record.label_epochs is None else LabelwiseNetwork(networks, epochs)
    network.load_state_dict(read_tensors(place / "weights.safetensors"))
    network.mean, network.std = tuple(record.normalization["mean"]), tuple(record.normalization["std"])
    return network


@dataclass(frozen=True)
class MemberNetworks:
    """The trained networks of one member.

    Parameters
    ----------
    name : str
        The member.
    networks : tuple of MultilabelNetwork or LabelwiseNetwork
        Those that score new photos.
    labels : tuple of str
        Labels that the member answers.
    record : FoldRecord
        Of the first of them.
    new_photos : str
        How their scores are averaged, see ``mean_over_networks``.
    """

    name: str
    networks: tuple[MultilabelNetwork | LabelwiseNetwork, ...]
    labels: tuple[str, ...]
    record: FoldRecord
    new_photos: str = "mean"


def load_member(run: str | Path, name: str | None = None, *, device: str = "cpu") -> MemberNetworks:
    """Load the networks of one member of a finished run.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a finished run.
    name : str, optional
        The member; by default the one with the best validation score among those that answer the most labels.
    device : str
        Where the networks go, as ``choose_device`` returned it.

    Returns
    -------
    MemberNetworks
        Its networks. Torch's random generator is left as it was.

    Raises
    ------
    ValueError
        If the run is not finished, its files are damaged, or there is no such member with networks of its own.
    """
    run = Path(run)
    manifest = read_run(run)
    recipe, failed = manifest["recipe"], manifest.get("failed_members", {})
    trained = [str(entry["name"]) for entry in recipe["members"] if entry["name"] not in failed]
    if name is not None and name not in trained:
        raise ValueError(_no_such_member(name, trained, recipe, failed))
    folds = FoldConfig(**recipe.get("folds", {}))
    places = {
        member: [run / "members" / member / f"fold{fold}" for fold in folds.networks_for_new_photos]
        for member in (trained if name is None else [name])
    }
    records = {member: [read_fold(place) for place in places[member]] for member in places}
    rank = {
        member: (len(found[0].labels), np.mean([record.validation_micro_f1 for record in found]))
        for member, found in records.items()
    }
    chosen = max(rank, key=lambda member: rank[member])
    with torch.random.fork_rng(devices=[]):
        networks = [
            load_network(place, record, device).eval()
            for place, record in zip(places[chosen], records[chosen], strict=True)
        ]
    first = records[chosen][0]
    return MemberNetworks(chosen, tuple(networks), first.labels, first, folds.new_photos)


def _no_such_member(name: str, trained: list[str], recipe: dict[str, Any], failed: Mapping[str, str]) -> str:
    """Say why a member has no networks."""
    for derived in recipe.get("derived", []):
        if derived["name"] == name:
            parts = " and ".join(map(repr, derived["members"]))
            return f"member must have networks of its own: {name!r} is made of {parts}; name one of these."
    if name in failed:
        return f"member must have been trained: {name!r} failed ({failed[name]}); name one of {', '.join(trained)}."
    return f"member must be one of {', '.join(map(repr, trained))}: got {name!r}.{did_you_mean(name, trained)}"
