"""Score new photos with the networks of a finished run, as its recipe says: a mean of the fold models, or one.

Only the members that are wanted are read. Their photos are decoded once per size, and their networks score them chunk
by chunk; in a folder to work in, a killed call goes on with the chunk that it was at, and memory holds one at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.device import AUTO_WORKERS, loader_workers
from base_models.packed.packing import PackOptions, pack_photos
from base_models.packed.photo_pack import PackedPhotos
from base_models.photos.tensors import PhotoTensors, check_photos
from base_models.recipe.folds import FoldConfig
from base_models.runs.fold_record import FoldRecord
from base_models.runs.inference import (
    OpenedPhotos,
    leave_out,
    load_network,
    open_photos,
    own_label_ids,
    read_fold,
    read_run,
)
from base_models.runs.out_of_fold import choose_device, list_devices
from base_models.runs.photo_packs import describe_packed, photo_counter
from base_models.runs.scored_chunks import MARKER, WORK, ScoredChunks
from base_models.runs.scoring_arithmetic import RECORD, TRIED_PHOTOS, ScoringTrials
from base_models.runs.shared_scoring import score_in_processes
from base_models.runs.stores import mean_over_networks, merge_derived
from base_models.training.progress import Progress, TrainingEvent
from base_models.training.scoring import score_photos
from optimizers.registry import did_you_mean
from stacking.files.atomic_files import sweep_stale_temps
from stacking.files.output_folder import work_folder
from stacking.predictions import PredictionSet, StoreWriter, load_predictions


def predict(
    run: str | Path,
    photos: OpenedPhotos | str | Path,
    *,
    models: Collection[str] | None = None,
    options: PredictOptions | None = None,
    device: str = "auto",
    n_workers: int = AUTO_WORKERS,
    progress: Progress | None = None,
) -> PredictionSet:
    """Score photos that were no part of a run.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a finished run.
    photos : Manifest, PhotoFolder, str or pathlib.Path
        A manifest, a source of photos with their names, or a folder of photos or tar shards.
    models : collection of str, optional
        Models of the run that are wanted; the networks of others are neither read nor asked. All by default.
    options : PredictOptions, optional
        Where photos are packed, and where a killed call goes on from.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    n_workers : int
        Processes that decode photos which do not fit in memory; -1 starts as many as suit the device.
    progress : callable, optional
        Called with a ``TrainingEvent`` after every network.

    Returns
    -------
    PredictionSet
        One model per member of the run, derived ones included; scored as the recipe's ``folds.new_photos`` says.
        Photos that cannot be read have no row: ``extras["unreadable"]`` lists their ids, and a warning is logged.

    Raises
    ------
    ValueError
        If the run is not finished or its files are damaged, no photo can be read, or a model is unknown.

    Notes
    -----
    Every photo is decoded once per size. Without a folder to work in, decoded photos and scores are kept in memory
    (photos that do not fit are decoded for every network); with one, memory holds a chunk of them at a time, and
    several processes can share the work.
    """
    options = options or PredictOptions()
    with ExitStack() as stack:
        if options.work is not None:
            start = {"kind": "work of a prediction", "schema_version": 1}
            stack.enter_context(work_folder(options.work, WORK, start))
        stack.enter_context(_threads_shared(options.n_processes))
        return _Prediction(Path(run), models, options, choose_device(device)).score(photos, n_workers, progress)


class PhotoScorer:
    """Score photos as `predict` does, call by call, with networks that are read once and stay in memory.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a finished run.
    models : collection of str, optional
        Models of the run that are wanted. All by default.
    device : {"auto", "cpu", "cuda"}
        Where to compute.

    Raises
    ------
    ValueError
        If the run is not finished or its files are damaged, or a model is unknown.

    Notes
    -----
    One call at a time: threads that share a scorer must take turns.
    """

    def __init__(self, run: str | Path, *, models: Collection[str] | None = None, device: str = "auto") -> None:
        self._prediction = _Prediction(Path(run), models, PredictOptions(), choose_device(device))
        self._prediction.keep_networks()

    def score(self, photos: OpenedPhotos) -> PredictionSet:
        """Score photos.

        Parameters
        ----------
        photos : Manifest or PhotoFolder
            The photos with their names.

        Returns
        -------
        PredictionSet
            What `predict` gives.

        Raises
        ------
        ValueError
            If no photo can be read.
        """
        return self._prediction.score(photos, 0, None)


@dataclass(frozen=True)
class PredictOptions:
    """How and where a prediction works; none of it changes an answer, but for ``precision = "auto"``.

    Parameters
    ----------
    work : pathlib.Path, optional
        Folder for packed photos and finished scores, from which a killed call goes on. The answer is read from it, so
        it must stay while that is used.
    packs : pathlib.Path, optional
        Folder of packed photos, see `base_models.packed`: what is not in it is added. By default in the work folder.
    n_processes : int, default=1
        Processes that share the photos, each on the next GPU where there are several; more than one need a folder to
        work in. On a CPU each has its share of torch's threads, and the answer is that of one process with so many.
    precision : {"trained", "auto"}, default="trained"
        ``"auto"`` lets networks that were trained in float32 score in bfloat16 on a CPU where a trial on these photos
        finds that faster and no score moved by more than .01 (`base_models.training.trial`). What was found is in the
        ``arithmetic`` of the answer's ``extras``, and kept in the folder to work in, where a killed call takes it.
    """

    work: Path | None = None
    packs: Path | None = None
    n_processes: int = 1
    precision: Literal["trained", "auto"] = "trained"

    def __post_init__(self) -> None:
        if self.precision not in ("trained", "auto"):
            raise ValueError(f"precision must be trained or auto: got {self.precision!r}.")
        if self.n_processes > 1 and self.work is None:
            raise ValueError(
                f"n_processes must be 1 without a folder to work in, through which processes share scores: got "
                f"{self.n_processes}; give work."
            )

    @property
    def packs_folder(self) -> Path | None:
        """Return where photos are packed; None where they are not."""
        return self.packs if self.packs is not None or self.work is None else self.work / "photos"


@dataclass(frozen=True)
class _Member:
    """One member whose networks score."""

    entry: dict[str, Any]
    places: list[Path]
    records: list[FoldRecord]
    chosen: dict[int, str] = field(default_factory=dict)  # arithmetics, by network, where a trial has found another

    @classmethod
    def read(cls, entry: dict[str, Any], run: Path, folds: FoldConfig) -> _Member:
        """Check the member's networks and read what they are."""
        places = [run / "members" / entry["name"] / f"fold{fold}" for fold in folds.networks_for_new_photos]
        return cls(entry, places, [read_fold(place) for place in places])

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.entry["name"])

    @property
    def size(self) -> int:
        """Return the side of its photos in pixels."""
        return self.records[0].size

    def facts(self, network: int, photos: str, device: str) -> dict[str, Any]:
        """Return all that decides a network's scores."""
        record = self.records[network]
        return {
            "weights": record.files,
            "network": record.network,
            "size": record.size,
            "precision": self.precision(network),
            "flip": record.flip_tta,
            "photos": photos,
            "device": device.partition(":")[0],
        }

    def precision(self, network: int) -> str:
        """Return the arithmetic of a network."""
        if network in self.chosen:
            return self.chosen[network]
        return self.records[network].precision or str(self.entry.get("training", {}).get("precision", "float32"))


class _Prediction:
    """Wanted members and their photos: scored first, then averaged and written together."""

    def __init__(self, run: Path, models: Collection[str] | None, options: PredictOptions, device: str) -> None:
        self.devices = list_devices(device, options.n_processes)
        self.run, self.options, self.device = run, options, self.devices[0]
        self.manifest = read_run(run)
        self.parts = _wanted_parts(self.manifest, models)
        self.labels = list(self.manifest["data"]["labels"])
        self.folds = FoldConfig(**self.manifest["recipe"].get("folds", {}))  # a canonical recipe leaves defaults out
        needed = {name for names in self.parts.values() for name in names}
        self.members = {
            entry["name"]: _Member.read(entry, run, self.folds)
            for entry in self.manifest["recipe"]["members"]
            if entry["name"] in needed
        }
        self.chunks = ScoredChunks(0)
        self.photos_hash = ""
        self.trials = ScoringTrials()
        self.networks: dict[Path, Any] = {}
        self.train_frequency = load_predictions(self.run / "oof").train_frequency

    def keep_networks(self) -> None:
        """Read all networks, and keep them for every call."""
        for member in self.members.values():
            for place, record in zip(member.places, member.records, strict=True):
                self.networks[place] = load_network(place, record, self.device)

    def score(self, photos: OpenedPhotos | str | Path, n_workers: int, progress: Progress | None) -> PredictionSet:
        """Score photos."""
        ids, reader, y_true = open_photos(photos)
        sizes = sorted({member.size for member in self.members.values()})
        packed: dict[int, PackedPhotos] = {}
        if self.options.packs_folder is not None:
            count = None if progress is None else photo_counter(len(ids), progress)
            how = PackOptions(n_workers)
            packed = pack_photos(ids, reader.photos, sizes, self.options.packs_folder, how, on_photos=count)
            self.photos_hash = packed[sizes[0]].keys_sha256
        rows, n_workers = np.arange(len(ids)), loader_workers(n_workers, self.device)
        self._choose_arithmetic(reader, len(ids))
        readable: NDArray[np.int64] | None = None
        if len(self.devices) > 1 and self.options.work is not None:
            self._share_out(packed, self.options.work, progress)
        for size in sizes:  # the photos of the size before are let go
            source = PhotoTensors(reader, rows, size, n_workers=n_workers, packed=packed.get(size))
            if readable is None:
                readable, unreadable = leave_out(ids, check_photos(source))
                work = self.options.work
                self.chunks = ScoredChunks(len(readable), None if work is None else work / "scores")
            for member in self.members.values():
                if member.size == size:
                    self._score_member(member, source, readable, progress)
        described: dict[str, Any] = {
            "y_true": None if y_true is None else y_true[readable],
            "covers": np.stack([self._covers(name) for name in self.parts]),
            "label_groups": tuple(self.manifest["data"]["label_groups"]),
            "label_ids": own_label_ids(self.manifest["data"]),
            "train_frequency": self.train_frequency,
            "extras": self._extras(unreadable),
        }
        return self._gather(ids[readable], described)

    def _choose_arithmetic(self, reader: OpenedPhotos, n_photos: int) -> None:
        """Try float32 networks in bfloat16, where that is wanted and they score on a CPU."""
        if self.options.precision != "auto" or self.device != "cpu":
            return
        self.trials = ScoringTrials(self.options.work)
        rows = np.arange(min(n_photos, TRIED_PHOTOS))
        for member in self.members.values():
            source = PhotoTensors(reader, rows, member.size, cache="memory")
            for number, record in enumerate(member.records):
                place = member.places[number]
                if member.precision(number) == "float32":
                    key = self.chunks.name(member.facts(number, self.photos_hash, self.device), 0)
                    member.chosen[number] = self.trials.try_network(
                        key,
                        f"{member.name}, network {number + 1}",
                        partial(load_network, place, record, self.device),
                        partial(_all_of, source),
                    )

    def _extras(self, unreadable: list[str]) -> dict[str, Any] | None:
        """Return what else an answer says: photos that cannot be read, and how networks scored where that was tried."""
        found: dict[str, Any] = {"unreadable": np.array(unreadable, dtype=np.str_)} if unreadable else {}
        if self.trials.found:
            found["arithmetic"] = np.array([json.dumps(each) for each in self.trials.found.values()], dtype=np.str_)
        return found or None

    def _share_out(self, packed: dict[int, PackedPhotos], work: Path, progress: Progress | None) -> None:
        """Let processes score all chunks, each its share; what they leave is scored here afterwards."""
        tasks = list(self._tasks(packed, work))
        lacking = [len(rows) for _, name, rows in tasks if not self.chunks.holds(name)]
        if not lacking:
            return
        sweep_stale_temps(work / "scores")
        job = {
            "run": str(self.run.resolve()),
            "models": list(self.parts),
            "work": str(work.resolve()),
            "packed": describe_packed(packed),
            "photos_hash": self.photos_hash,
            "chosen": {name: list(member.chosen.items()) for name, member in self.members.items()},
            "n_threads": torch.get_num_threads(),
        }
        score_in_processes(job, self.devices, sum(lacking), progress)

    def share(self, packed: dict[int, PackedPhotos], work: Path, rank: int, n_processes: int) -> Iterator[int]:
        """Score every so-many-th chunk that is not there, and yield of how many photos it was."""
        for number, (scorer, name, rows) in enumerate(self._tasks(packed, work)):
            if number % n_processes == rank and not self.chunks.holds(name):
                self.chunks.keep(name, scorer(rows))
                yield len(rows)

    def _tasks(self, packed: dict[int, PackedPhotos], work: Path) -> Iterator[tuple[_Scorer, str, NDArray[np.int64]]]:
        """Yield all chunks of all networks, size by size: what scores it, its name, its rows."""
        unreadable = np.array(list(packed[min(packed)].failures), np.int64)
        readable = np.setdiff1d(np.arange(len(packed[min(packed)])), unreadable)
        self.chunks = ScoredChunks(len(readable), work / "scores")
        for size, photos in sorted(packed.items()):
            source = PhotoTensors(_Packed(), np.arange(len(photos)), size, packed=photos)
            for member in self.members.values():
                for fold in range(len(member.records) if member.size == size else 0):
                    scorer = _Scorer(member, fold, source, readable, self.device)
                    facts = member.facts(fold, self.photos_hash, self.device)
                    for chunk, rows in enumerate(self.chunks.chunks()):
                        yield scorer, self.chunks.name(facts, chunk), rows

    def _score_member(
        self, member: _Member, source: PhotoTensors, readable: NDArray[np.int64], progress: Progress | None
    ) -> None:
        """Score all photos by one network after the other, as far as that is not done."""
        name, n_networks = member.name, len(member.records)
        for fold in range(n_networks):
            scorer = _Scorer(member, fold, source, readable, self.device)
            scorer.network = self.networks.get(member.places[fold])
            for n_done in self.chunks.fill(member.facts(fold, self.photos_hash, self.device), scorer):
                if progress is not None and n_done < len(readable):
                    message = f"{name}: network {fold + 1} of {n_networks}, {n_done} of {len(readable)} photos"
                    progress(TrainingEvent("photos", name, step=n_done, n_steps=len(readable), message=message))
            if progress is not None:
                message = f"{name}: network {fold + 1} of {n_networks} has scored {len(readable)} photos"
                progress(TrainingEvent("fold", name, fold=fold, n_folds=n_networks, message=message))

    def _gather(self, ids: NDArray[np.str_], described: dict[str, Any]) -> PredictionSet:
        """Bring the members' scores together, in memory or chunk by chunk in a store."""
        numbered = list(enumerate(self.chunks.chunks()))
        if self.options.work is None:
            scores = [np.concatenate([self._chunk_of(name, number) for number, _ in numbered]) for name in self.parts]
            return PredictionSet(
                np.stack(scores), ids=ids, models=tuple(self.parts), labels=tuple(self.labels), **described
            )
        store = self.options.work / "predictions"
        with StoreWriter(store, ids, list(self.parts), self.labels, overwrite=True, **described) as writer:
            for name in self.parts:
                for number, rows in numbered:
                    writer.write(name, rows, self._chunk_of(name, number))
        return load_predictions(store)

    def _chunk_of(self, name: str, number: int) -> NDArray[np.float32]:
        """Average what a model's networks say of a chunk: (n_rows, n_labels), NaN where it does not cover a label."""
        found = {}
        for part in self.parts[name]:
            member = self.members[part]
            facts = [member.facts(fold, self.photos_hash, self.device) for fold in range(len(member.records))]
            read = (self.chunks.read(self.chunks.name(fact, number)) for fact in facts)
            means = mean_over_networks(read, self.folds.new_photos)
            found[part] = np.full((len(means), len(self.labels)), np.nan, np.float32)
            found[part][:, [self.labels.index(label) for label in member.records[0].labels]] = means
        return merge_derived(found, self.parts[name]) if len(found) > 1 else next(iter(found.values()))

    def _covers(self, name: str) -> NDArray[np.bool_]:
        """Return which labels a model answers."""
        answered = {label for part in self.parts[name] for label in self.members[part].records[0].labels}
        return np.array([label in answered for label in self.labels])


def _all_of(source: PhotoTensors) -> torch.Tensor:
    """Return the photos of a source: (n_photos, 3, size, size)."""
    return next(iter(source.iter_batches([np.arange(len(source))])))[1]


@contextmanager
def _threads_shared(n_processes: int) -> Iterator[None]:
    """Let torch use this process's share of its threads, on which the last bits of scores depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // n_processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Packed:
    """Stands for the files of photos that are packed: nobody reads them."""

    def read_photo(self, row: int, at_least: int = 0) -> NoReturn:
        """Refuse."""
        raise ValueError(f"packed photos must hold photo {row} at {at_least} pixels: it is to be decoded.")


def score_share(job: Mapping[str, Any], packed: dict[int, PackedPhotos]) -> Iterator[int]:
    """Score one process's share of new photos into the prediction's folder.

    Parameters
    ----------
    job : mapping
        ``run``, ``models``, ``work``, ``photos_hash``, ``chosen``, ``device``, ``rank`` and ``n_processes``.
    packed : dict of int to PackedPhotos
        The photos by size.

    Yields
    ------
    int
        Photos that a network has scored, after every chunk.
    """
    work = Path(job["work"])
    prediction = _Prediction(Path(job["run"]), job["models"], PredictOptions(work), job["device"])
    prediction.photos_hash = job["photos_hash"]
    for name, chosen in job["chosen"].items():
        prediction.members[name].chosen.update(dict(chosen))
    yield from prediction.share(packed, work, job["rank"], job["n_processes"])


class _Scorer:
    """Score rows by one network, which is read when it is first asked."""

    def __init__(
        self, member: _Member, fold: int, source: PhotoTensors, readable: NDArray[np.int64], device: str
    ) -> None:
        self.member, self.fold, self.source, self.readable, self.device = member, fold, source, readable, device
        self.network: Any = None

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return their scores: (n_rows, n_labels of the member)."""
        record = self.member.records[self.fold]
        if self.network is None:
            self.network = load_network(self.member.places[self.fold], record, self.device)
        self.source.keep()  # as long as it is not kept
        self.source.serve(self.device)
        precision, flip = self.member.precision(self.fold), record.flip_tta
        return score_photos(self.network, self.source, self.readable[rows], precision, self.device, flip=flip)


def _wanted_parts(manifest: dict[str, Any], models: Collection[str] | None) -> dict[str, tuple[str, ...]]:
    """Return the models that are wanted, in the run's order, and which trained members each is made of."""
    failed, recipe = set(manifest.get("failed_members", ())), manifest["recipe"]
    parts = {entry["name"]: (entry["name"],) for entry in recipe["members"] if entry["name"] not in failed}
    parts |= {
        entry["name"]: tuple(entry["members"])
        for entry in recipe.get("derived", [])
        if not failed & set(entry["members"])
    }
    for name in models or ():
        if name not in parts:
            raise ValueError(f"models must name models of the run: got {name!r}.{did_you_mean(name, list(parts))}")
    if models is not None and not models:
        raise ValueError("models must name at least one model of the run: got none.")
    return {name: needed for name, needed in parts.items() if models is None or name in models}


def clear_work(work: Path) -> None:
    """Delete what predictions have left in a folder to work in; what else lies there stays.

    Parameters
    ----------
    work : pathlib.Path
        The folder; nothing happens where it is none of ours.
    """
    if not (work / MARKER).is_file():
        return
    for name in ("photos", "scores", "predictions"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / RECORD).unlink(missing_ok=True)
    (work / MARKER).unlink()
    with suppress(OSError):  # it holds something else
        work.rmdir()
