"""Train every member fold by fold: each fold's network scores the rows that it did not see.

The cheap scheme is a single fold: one network per member, and a holdout that it scores. Either way the held-out rows
choose nothing: the epoch is chosen on validation rows cut from the network's own training rows.
Whatever is finished is skipped when the same run is started again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from base_models.device import loader_workers
from base_models.manifest import load_manifest
from base_models.networks.network import create_network
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.feature_rows import FeatureRows
from base_models.precomputed.head_network import BodyNetwork, HeadNetwork
from base_models.recipe.member import MemberConfig, resolve_features
from base_models.recipe.run import TrainingRun
from base_models.recipe.specialists import covered_labels
from base_models.runs.features import check_feature_space, open_features
from base_models.runs.fold_chunks import finish_fold, mark_done
from base_models.runs.fold_record import fold_is_done
from base_models.runs.folder import RunFolder, share_run_folder
from base_models.runs.photo_packs import pack_for_run
from base_models.runs.process_count import suitable_processes, threads_of_each
from base_models.runs.side_by_side import SharedParts, train_side_by_side
from base_models.runs.splits import RunData, prepare_run_data
from base_models.runs.stores import assemble_stores
from base_models.runs.trained_run import TrainedRun
from base_models.runs.training_failed import TrainingFailedError
from base_models.training.distributed import ProcessGroup, join_processes
from base_models.training.member import check_sizes, train_member
from base_models.training.progress import Progress, TimeLeft, TrainingEvent
from base_models.training.step_graph import can_replay
from base_models.training.task import MemberTask
from stacking.files.output_rules import check_not_url

logger = logging.getLogger(__name__)


def run_training(
    recipe: TrainingRun,
    out: str | Path,
    *,
    recipe_folder: str | Path = ".",
    device: str = "auto",
    progress: Progress | None = None,
    n_processes: int | None = 1,
) -> TrainedRun:
    """Train all members of a recipe and score held-out rows, or go on with what an earlier process began.

    Parameters
    ----------
    recipe : TrainingRun
        What to train.
    out : str or pathlib.Path
        The run folder; new, or started with the same recipe.
    recipe_folder : str or pathlib.Path
        Folder that relative paths in the recipe start from.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    progress : callable, optional
        Called with ``TrainingEvent`` objects.
    n_processes : int or None, default=1
        Processes that train different folds side by side, each on the next GPU where there are several
        (:mod:`base_models.runs.side_by_side`). Every network is the one that a single process would train. None starts
        as many as suit a CPU (:mod:`base_models.runs.process_count`), and one on a GPU.

    Returns
    -------
    TrainedRun
        The run folder, a path that knows its stores and histories. It holds the stores ``oof`` (all training rows, or
        the holdout, as the recipe's ``folds.scheme``
        says) and, where the data has such splits, ``test`` and ``validation``.

    Raises
    ------
    ValueError
        If the recipe, the data or the folder cannot be used (one sentence, before training starts), if files of a
        finished fold are damaged, or if every member fails.

    Notes
    -----
    A member whose training fails is left out of the stores and recorded in ``manifest.json`` under ``failed_members``;
    the same command tries it again. On a CPU, a killed and resumed run gives bit for bit what an uninterrupted one
    gives with the same number of threads; the number is recorded and used again. A kill costs at most one epoch, and
    what was trained while that epoch's checkpoint was being written.

    Started by ``torchrun`` or ``accelerate launch``, several processes share every batch and every scoring pass
    (:mod:`base_models.training.distributed`); only the first writes. A member that fails then ends the run.
    """
    check_not_url(out)
    out, chosen = Path(out), choose_device(device)
    devices = list_devices(chosen, n_processes or 1)
    processes = join_processes(devices[0] if len(devices) > 1 else chosen)
    progress = progress if processes.is_first else None
    n_packing = recipe.n_workers  # nothing else goes on meanwhile
    recipe = replace(recipe, n_workers=loader_workers(recipe.n_workers, chosen))
    _say_ignored(recipe, processes)
    manifest = load_manifest(recipe.data, Path(recipe_folder))
    threads_before = torch.get_num_threads()
    if n_processes is None:
        devices = [chosen] * suitable_processes(recipe, len(manifest), chosen)
    n_threads = threads_of_each(recipe, len(devices))
    with share_run_folder(out, recipe, processes, n_threads=n_threads, device=chosen) as folder:
        n_threads = int(folder.manifest["n_threads"])  # of an earlier start, where there was one
        torch.set_num_threads(n_threads)
        if n_processes is None:
            devices = devices[: max(1, threads_before // n_threads)]
        folder.record(recipe_folder=Path(os.path.relpath(recipe_folder, out)).as_posix())  # a report shows its photos
        if folder.manifest["device"] != chosen:
            logger.warning("this run was started on %s and goes on on %s", folder.manifest["device"], chosen)
        try:
            with processes.first_goes_first():
                costs = _try_members(recipe)
                packed = pack_for_run(recipe, manifest, folder, n_packing, progress)
                data = prepare_run_data(recipe, manifest, folder, progress, packed)
            for member in recipe.members:
                covered_labels(member, data.train_counts)
            check_feature_space(recipe, data, folder)
            left = _epochs_left(recipe, data.n_folds, folder)
            with_time_left = TimeLeft(left, costs, len(devices)).wrap(progress)
            if len(devices) > 1:
                parts = SharedParts(Path(recipe_folder), packed)
                failures = _train_side_by_side(recipe, data, folder, devices, parts, with_time_left)
            else:
                failures = _train_in_turn(recipe, data, folder, processes, with_time_left)
            if processes.is_first:
                assemble_stores(recipe, data, folder, progress, without=tuple(failures))
                folder.record(finished=True, failed_members=failures)
            processes.wait()
        finally:
            torch.set_num_threads(threads_before)
    return TrainedRun(out)


def _train_in_turn(
    recipe: TrainingRun, data: RunData, folder: RunFolder, processes: ProcessGroup, progress: Progress | None
) -> dict[str, str]:
    """Train member after member in this process, and say why members could not be trained."""
    sources: dict[int, PhotoTensors] = {}
    failures: dict[str, str] = {}
    for member in _size_by_size(recipe.members):
        try:
            train_out_of_fold(member, recipe, data, folder, sources=sources, processes=processes, progress=progress)
        except TrainingFailedError as error:  # one bad member never sinks a run
            failures[member.name] = str(error)
            if len(failures) == len(recipe.members) or processes.count > 1:  # the others may be further
                raise
            logger.error("%s; the run goes on without it", error)
    return failures


def _train_side_by_side(
    recipe: TrainingRun,
    data: RunData,
    folder: RunFolder,
    devices: Sequence[str],
    parts: SharedParts,
    progress: Progress | None,
) -> dict[str, str]:
    """Let processes train folds; features that members share are computed here, before."""
    failures: dict[str, str] = {}
    for member in recipe.members:
        unfinished = not all(fold_is_done(folder.fold_folder(member.name, fold)) for fold in range(data.n_folds))
        if member.features == "precomputed" and unfinished:
            try:
                _features_of(member, recipe, data, folder, ProcessGroup(device=devices[0]), progress)
            except TrainingFailedError as error:
                failures[member.name] = str(error)
                logger.error("%s; the run goes on without it", error)
    failures |= train_side_by_side(
        recipe, folder, data.n_folds, devices, parts=parts, without=tuple(failures), progress=progress
    )
    if len(failures) == len(recipe.members):
        raise TrainingFailedError(next(iter(failures.values())))
    return failures


def train_out_of_fold(  # noqa: PLR0913 - the public call: a run in parts
    member: MemberConfig,
    recipe: TrainingRun,
    data: RunData,
    folder: RunFolder,
    *,
    sources: dict[int, PhotoTensors] | None = None,
    processes: ProcessGroup | None = None,
    progress: Progress | None = None,
    folds: Sequence[int] | None = None,
) -> None:
    """Train one member on every fold that is not finished yet.

    Parameters
    ----------
    member : MemberConfig
        The member.
    recipe : TrainingRun
        Seed, and how photos are kept.
    data : RunData
        Photos, truth and folds.
    folder : RunFolder
        Where everything goes.
    sources : dict of int to PhotoTensors, optional
        Decoded photos by size, shared between members; changed in place to hold this member's size only.
    processes : ProcessGroup, optional
        Those that train together, and where; a single one on the CPU by default.
    progress : callable, optional
        Called with ``TrainingEvent`` objects.
    folds : sequence of int, optional
        Which folds, where other processes train the others; all by default.

    Raises
    ------
    TrainingFailedError
        If a fold cannot be trained; the sentence names member and fold.
    ValueError
        If files of a finished fold are damaged.
    """
    columns = covered_labels(member, data.train_counts)
    y_true = np.ascontiguousarray(data.y_true[:, columns])
    labels = [data.manifest.vocabulary.names[column] for column in columns]
    sources, processes = {} if sources is None else sources, processes or ProcessGroup()
    features: FeatureRows | None = None
    for fold in range(data.n_folds) if folds is None else folds:
        place = folder.fold_folder(member.name, fold)
        if fold_is_done(place):
            continue
        if member.features == "precomputed" and features is None:
            features = _features_of(member, recipe, data, folder, processes, progress)
        task = MemberTask(
            member if features is None else resolve_features(member),
            _photos_of_size(recipe, data, member.size, sources) if features is None else features,
            y_true,
            np.flatnonzero((data.split == "train") & (data.fold != fold) & ~data.validation[:, fold]),
            np.flatnonzero(data.validation[:, fold]),
            seed=_seed_of(recipe.seed, member.name, fold),
            fold=fold,
            n_folds=data.n_folds,
        )
        started, cpu_started = time.monotonic(), time.process_time()
        try:
            trained = train_member(task, place, device=processes.device, progress=progress, processes=processes)
        except (ValueError, RuntimeError) as error:
            raise TrainingFailedError(f"member {member.name!r}, fold {fold + 1} of {data.n_folds}: {error}") from error
        files = finish_fold(trained, task, data, place, columns, processes)
        spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu_started}
        if processes.is_first:
            mark_done(trained, task, place, labels, spent, files)
        if progress is not None:
            message = f"{member.name}: fold {fold + 1} of {data.n_folds} is done"
            progress(task.event("fold", message=message))
    if progress is not None and folds is None:
        message = f"{member.name} is done"
        progress(TrainingEvent("member", member.name, fold=data.n_folds - 1, n_folds=data.n_folds, message=message))


def choose_device(device: str) -> str:
    """Return the device to compute on.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    str
        ``"cpu"`` or a CUDA device.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N: got {device!r}.")
    if kind == "auto":
        kind = device = "cuda" if torch.cuda.is_available() else "cpu"
        logger.info("computing on %s", device)
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r} must be present: torch finds {torch.cuda.device_count()} GPUs; use cpu.")
    return device


def list_devices(device: str, n_processes: int) -> list[str]:
    """Return where each of several processes computes that train folds side by side.

    Parameters
    ----------
    device : str
        As `choose_device` returned it; ``"cuda"`` stands for all GPUs.
    n_processes : int
        How many there are.

    Returns
    -------
    list of str
        ``n_processes`` devices: the GPUs in turn, or the one that was named.

    Raises
    ------
    ValueError
        If there is no process, or if a launcher has started several that share every batch.
    """
    if n_processes < 1:
        raise ValueError(f"n_processes must be at least 1: got {n_processes}.")
    if n_processes > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "n_processes must be 1 under torchrun or accelerate, whose processes share every batch: got "
            f"{n_processes}; drop one of the two."
        )
    if device != "cuda" or n_processes == 1:
        return [device] * n_processes
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(n_processes)]


def _say_ignored(recipe: TrainingRun, processes: ProcessGroup) -> None:
    """Say in one line that steps are not replayed here although members ask for it."""
    asking = [member.name for member in recipe.members if member.training.cuda_graphs is True]
    if asking and processes.is_first and not can_replay(processes.device, processes.count):
        logger.warning(
            "cuda_graphs of %s is ignored: it needs one process on a CUDA device, and there %s on %s",
            ", ".join(asking),
            "is one" if processes.count == 1 else f"are {processes.count}",
            processes.device,
        )


def _try_members(recipe: TrainingRun) -> dict[str, float]:
    """Build every network, so that a wrong name, size or weight file is found at once; return the forward times."""
    seconds: dict[tuple[object, ...], float] = {}
    keys = {
        member.name: (member.network, member.head, member.size, member.weights, member.training.sizes, member.features)
        for member in recipe.members
    }
    for member in recipe.members:
        key = keys[member.name]
        if key not in seconds:
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                network = create_network(member, np.full(1, 0.5)).eval()
                check_sizes(network, member)
                shown = torch.zeros(8, 3, member.size, member.size)
                if member.features == "precomputed":
                    shown, network = BodyNetwork(network)(shown).unsqueeze(-1), HeadNetwork(network).eval()
                started = time.perf_counter()
                network(shown)
                seconds[key] = time.perf_counter() - started
    return {name: seconds[key] for name, key in keys.items()}


def _epochs_left(recipe: TrainingRun, n_folds: int, folder: RunFolder) -> dict[tuple[str, int], float]:
    """Return the epochs of the folds that are not finished, by member and fold."""
    return {
        (member.name, fold): float(member.training.epochs)
        for member in recipe.members
        for fold in range(n_folds)
        if not (folder.fold_folder(member.name, fold) / "done.json").is_file()
    }


def _features_of(
    member: MemberConfig,
    recipe: TrainingRun,
    data: RunData,
    folder: RunFolder,
    processes: ProcessGroup,
    progress: Progress | None,
) -> FeatureRows:
    """Open the precomputed features of a member's body; the first process computes what is not there yet."""
    try:
        with processes.first_goes_first():
            return open_features(member, recipe, data, folder, device=processes.device, progress=progress)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else error
        raise TrainingFailedError(f"features of member {member.name!r}: {reason}") from error


def _photos_of_size(recipe: TrainingRun, data: RunData, size: int, sources: dict[int, PhotoTensors]) -> PhotoTensors:
    """Return the photos at one size; those of another size are let go."""
    if size not in sources:
        sources.clear()
        sources[size] = PhotoTensors(
            data.manifest,
            data.indices,
            size,
            cache=recipe.cache,
            cache_gib=recipe.cache_gib,
            n_workers=recipe.n_workers,
            packed=data.packed.get(size),
        )
    return sources[size]


def _size_by_size(members: tuple[MemberConfig, ...]) -> list[MemberConfig]:
    """Order members so that those of one size follow each other: no photo is then decoded twice for it."""
    sizes = [member.size for member in members]
    return sorted(members, key=lambda member: sizes.index(member.size))


def _seed_of(seed: int, member: str, fold: int) -> int:
    """Derive a training's seed from its names, so that the order of members does not matter."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{member}|{fold}".encode()).digest()[:6], "big")
