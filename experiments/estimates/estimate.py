"""Say how long a recipe will take on this machine, and what memory and disk it needs, before it starts.

Nothing is assumed about the machine: for every member, the training loop itself runs a few batches of the recipe's own
photos, with the recipe's threads and arithmetic, and the network scores them, on the card where there is one. Times
per photo are then multiplied by the passes that the recipe asks for. Three things can hold a training up: decoding,
copying photos to the device, arithmetic. A GPU does them side by side, so the longest is the time and what to
change; a CPU does one after the other. Early stops cannot be foreseen: a member with ``patience`` takes at most this.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.estimates.doctor import Fact, duration, free_disk, name_device
from experiments.estimates.feature_estimate import estimate_features, features_in_memory
from experiments.estimates.run_cost import (
    MemberCost,
    Passes,
    RowCounts,
    RunCost,
    advise,
    describe_parts,
    is_kept,
)
from stacking.process.memory import GIB, peak_memory, reset_peak_memory

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.run import TrainingRun
    from base_models.recipe.training import TrainingConfig
    from base_models.training.learner import Learner
    from base_models.training.task import MemberTask

TIMED_PHOTOS = 96  # at least two batches
STEPS_ON_A_CARD = 20  # that are timed: some tenths of a second
PASSES_BEFORE = 3  # on a GPU that do not count: libraries try their algorithms, and steps are recorded at the third
FROZEN_SHARE = 0.4  # of a step's time where only the head learns, without backward pass through the body: a guess
CHECKED_SIZE = 16  # pixels at which every photo is tried once
BYTES_PER_NUMBER = 4
NETWORKS_BUILT = 3  # for the check before the run, for the training, for the weights that are kept: per fold at most
TRAINING_COPIES = 3  # of the weights that a fold in training has more than a finished one: last, and two moments


def estimate(run: "TrainingRun", manifest: "Manifest", device: str = "auto", out: str | Path = ".") -> list[Fact]:
    """Estimate time, memory and disk space of a training run, say what holds it up, and what to change.

    Parameters
    ----------
    run : TrainingRun
        A loaded recipe.
    manifest : Manifest
        Its photos.
    device : str, default='auto'
        Where it would train, as ``labelstack train --device`` takes it.
    out : str or Path, default='.'
        Where its folder would be.

    Returns
    -------
    list of Fact
        One per member, and the sum.
    """
    cost = estimate_run(run, manifest, device)
    n_networks = run.folds.n_networks
    findings = [
        Fact(
            f"member {each.member}",
            f"{duration(each.seconds)}, {each.weight_bytes * n_networks / 2**20:.0f} MiB; "
            + describe_parts(each, cost.device),
            "; ".join(advise(each, run, manifest, cost.device)),
        )
        for each in cost.members
    ]
    findings += [Fact(each.name, f"{duration(each.seconds)}, {each.n_bytes / 2**20:.0f} MiB") for each in cost.features]
    summary = (
        f"{len(manifest):,} photos × {manifest.n_labels} labels, {_scheme(run)}: "
        f"about {duration(cost.seconds)} on {name_device(cost.device)}, "
        f"{f'{cost.device_bytes / GIB:.1f} GiB of its memory, ' if cost.device_bytes else ''}"
        f"{f'{cost.memory_bytes / GIB:.2f} GiB of memory, ' if cost.memory_bytes else ''}"
        f"{cost.fullest_bytes / GIB:.2f} GiB of disk, "
        f"{cost.disk_bytes / GIB:.2f} in the end ({cost.rows.of_splits}; without the ensemble)"
    )
    free = free_disk(Path(out))
    trouble = ""
    if free < cost.fullest_bytes:
        trouble = f"only {free / GIB:.2f} GiB are free there: take another --out, fewer folds, or smaller networks"
    return [*findings, Fact("recipe", summary, trouble)]


def estimate_run(run: "TrainingRun", manifest: "Manifest", device: str = "auto") -> RunCost:
    """Try every member on a few batches, and add up what the run will take.

    Parameters
    ----------
    run : TrainingRun
        A loaded recipe.
    manifest : Manifest
        Its photos.
    device : str, default='auto'
        Where it would train, as ``labelstack train --device`` takes it.

    Returns
    -------
    RunCost
        In seconds and bytes.
    """
    from base_models.device import synchronize
    from base_models.runs.out_of_fold import choose_device
    from base_models.runs.photo_packs import packed_bytes

    device = choose_device(device)
    synchronize(device)  # starting a card does not count
    rows, n_networks, n_labels = count_rows(run, manifest), run.folds.n_networks, manifest.n_labels
    with _threads(run.n_threads, device):
        costs = []
        for place, member in enumerate(run.members):
            first_of_size = not place or run.members[place - 1].size != member.size
            passes = count_passes(member, run, rows, decode_all=first_of_size)
            costs.append(try_member(member, run, manifest, passes, device))
        checking = (
            0.0
            if packed_bytes(run, len(manifest))
            else len(manifest) * _seconds_per_photo(manifest, CHECKED_SIZE) / max(1, _n_workers(run, device))
        )
        features = estimate_features(run.members, len(manifest), device)
    total = sum(cost.seconds for cost in costs) + sum(cost.seconds for cost in features) + checking
    weights = sum(cost.weight_bytes for cost in costs) * n_networks
    chunks = rows.held_out + rows.rest * (n_networks if rows.rest else 1)
    scores = len(run.members) * chunks + (len(run.members) + len(run.derived)) * (rows.held_out + rows.rest)
    disk = weights + scores * n_labels * BYTES_PER_NUMBER + sum(cost.n_bytes for cost in features)
    disk += packed_bytes(run, len(manifest))
    fullest = disk + max(_training_bytes(member, cost) for member, cost in zip(run.members, costs, strict=True))
    memory = max(cost.peak_bytes for cost in costs) + _kept_bytes(run, len(manifest))
    return RunCost(device, tuple(costs), tuple(features), total, memory, int(disk), int(fullest), rows)


def count_rows(run: "TrainingRun", manifest: "Manifest") -> RowCounts:
    """Count the rows that a recipe's scheme learns from, holds out, and only scores.

    Parameters
    ----------
    run : TrainingRun
        The recipe.
    manifest : Manifest
        Its photos.

    Returns
    -------
    RowCounts
        Before any photo turns out unreadable.
    """
    n_train, n_validation, n_test = (int((manifest.split == name).sum()) for name in ("train", "validation", "test"))
    words = f"{n_train:,} training and {n_test:,} test photos"
    if run.folds.scheme == "validation-split":
        return RowCounts(n_train, n_validation, n_test, words)
    if run.folds.scheme == "holdout":
        held_out = n_train * run.folds.holdout_fraction
        return RowCounts(n_train - held_out, held_out, n_validation + n_test, words)
    networks = run.folds.n_folds - 1 + (run.folds.new_photos == "refit")
    return RowCounts(n_train * networks, n_train, n_validation + n_test, words)


def count_passes(member: "MemberConfig", run: "TrainingRun", rows: RowCounts, *, decode_all: bool) -> Passes:
    """Count the photos that a member's networks see.

    Parameters
    ----------
    member : MemberConfig
        The member.
    run : TrainingRun
        Its recipe.
    rows : RowCounts
        What `count_rows` counted.
    decode_all : bool
        Whether photos of this size have to be decoded even if they are kept in memory.

    Returns
    -------
    Passes
        Over all epochs and networks; a photo shown smaller, or to a frozen body, counts for less. Precomputed features
        are decoded once, see `experiments.estimates.feature_estimate`.
    """
    from base_models.runs.photo_packs import packed_bytes
    from base_models.training.sampling import share_to_use

    config, held = member.training, run.folds.validation_fraction
    shown = rows.learned * (1 - held) * share_to_use(config, max(1, round(rows.learned * (1 - held))))
    trained = shown * sum(_epoch_share(config, member.size, epoch) for epoch in range(config.epochs))
    # after each epoch the validation rows, and as many training rows, are scored
    validated = (rows.learned * held + min(rows.learned * held, shown)) * config.epochs
    finished = rows.held_out + rows.rest * run.folds.n_networks
    n_photos = rows.held_out + rows.rest
    if run.folds.scheme != "out-of-fold":
        n_photos += rows.learned
    if member.features == "precomputed":
        decoded = 0.0
    elif packed_bytes(run, int(n_photos)) or is_kept(run, member, n_photos):
        decoded = float(n_photos if decode_all else 0)
    else:
        decoded = shown * config.epochs + validated + finished
    return Passes(trained, (validated + finished) * (2 if config.flip_tta else 1), decoded)


def try_member(
    member: "MemberConfig", run: "TrainingRun", manifest: "Manifest", passes: Passes, device: str = "cpu"
) -> MemberCost:
    """Train and score a few batches of the recipe's photos.

    Parameters
    ----------
    member : MemberConfig
        The member.
    run : TrainingRun
        Its recipe.
    manifest : Manifest
        The photos.
    passes : Passes
        What `count_passes` counted.
    device : str, default='cpu'
        Where it would train.

    Returns
    -------
    MemberCost
        Seconds and bytes.
    """
    from base_models.device import is_cuda, peak_device_memory, reset_peak_device_memory
    from base_models.training.learner import build_learner

    reset_peak_memory()
    reset_peak_device_memory(device)
    task = _small_task(member, manifest)
    decoding = _timed(task.photos.keep) / len(task.photos)
    started = time.perf_counter()
    learner = build_learner(task, device, load_weights=False)
    n_weights = sum(tensor.numel() for tensor in learner.network.state_dict().values())
    if member.features == "precomputed":
        learner, task = features_in_memory(learner, task)
    building = time.perf_counter() - started
    training, scoring = _seconds_of_passes(learner, task)
    n_workers, kept = _n_workers(run, device), is_kept(run, member, len(manifest))
    parts = {
        "decoding": passes.decoded * decoding / max(1, n_workers),
        "copying": 0.0
        if member.features == "precomputed"
        else _seconds_of_copies(run, member, manifest, passes, device),
        "arithmetic": passes.trained * training + passes.scored * scoring,
    }
    if n_workers and passes.decoded > len(manifest):  # other processes decode while this one computes
        seconds = max(parts.values())
    else:
        seconds = max(parts["arithmetic"], parts["copying"]) + parts["decoding"]
    seconds += NETWORKS_BUILT * building * run.folds.n_networks
    there = len(manifest) * 3 * member.size**2 if is_cuda(device) and kept and not parts["copying"] else 0
    return MemberCost(
        member.name,
        seconds,
        n_weights * BYTES_PER_NUMBER,
        peak_memory() or 0,
        parts,
        peak_device_memory(device) + there,
        learner.precision,
    )


def _seconds_of_copies(
    run: "TrainingRun", member: "MemberConfig", manifest: "Manifest", passes: Passes, device: str
) -> float:
    """Return what copies of photos to a GPU take by themselves; nothing where the photos lie there, or on a CPU."""
    import torch

    from base_models.device import free_memory, is_cuda, send_photos
    from base_models.photos.tensors import SHARE_OF_DEVICE

    if not is_cuda(device):
        return 0.0
    n_bytes = len(manifest) * 3 * member.size**2
    if is_kept(run, member, len(manifest)) and n_bytes <= SHARE_OF_DEVICE * free_memory(device):
        return 0.0
    n_photos = max(1, min(member.training.batch_size, TIMED_PHOTOS))
    photos = torch.zeros(n_photos, member.size, member.size, 3, dtype=torch.uint8)

    def copy() -> None:
        for _ in range(4):
            send_photos(photos.clone().permute(0, 3, 1, 2), device)

    copy()
    return (passes.trained + passes.scored) * _timed(copy, device) / (4 * n_photos)


def _seconds_of_passes(learner: "Learner", task: "MemberTask") -> tuple[float, float]:
    """Time training and scoring of a photo, each after a pass that does not count."""
    from base_models.device import is_cuda
    from base_models.training.epoch import train_epoch
    from base_models.training.scoring import score_photos

    rows, device, config = task.train_rows, learner.device, task.member.training

    def train(shown: "MemberTask") -> None:
        train_epoch(learner, shown, config.epochs - 1)

    def score() -> None:
        score_photos(learner.network, task.photos, rows, learner.precision, device)

    if is_cuda(device):
        for _ in range(PASSES_BEFORE):
            train(task)
        rows = np.resize(rows, STEPS_ON_A_CARD * config.batch_size)
    else:
        train(replace(task, train_rows=rows[: min(8, config.batch_size)]))
    training = _timed(lambda: train(replace(task, train_rows=rows)), device)
    if is_cuda(device):
        score()
    return training / len(rows), _timed(score, device) / len(rows)


def _n_workers(run: "TrainingRun", device: str) -> int:
    """Return how many processes decode beside a training."""
    from base_models.device import loader_workers

    return loader_workers(run.n_workers, device)


def _small_task(member: "MemberConfig", manifest: "Manifest") -> "MemberTask":
    """Take a few photos that are spread over the data set."""
    from base_models.photos.tensors import PhotoTensors
    from base_models.training.task import MemberTask

    n_rows = min(len(manifest), max(TIMED_PHOTOS, 2 * member.training.batch_size))
    rows = np.linspace(0, len(manifest) - 1, n_rows).round().astype(np.int64)
    photos = PhotoTensors(manifest, rows, member.size, cache="memory")
    return MemberTask(member, photos, manifest.y_true[rows], np.arange(n_rows), np.arange(0))


def _training_bytes(member: "MemberConfig", cost: MemberCost) -> int:
    """Return what a fold's checkpoints take beyond the weights that stay."""
    return (TRAINING_COPIES + (member.training.ema_decay > 0)) * cost.weight_bytes


def _epoch_share(config: "TrainingConfig", size: int, epoch: int) -> float:
    """Return an epoch's time as a share of one at full size in which everything learns."""
    from base_models.photos.transforms import training_size

    shrunk = (training_size(config, epoch) / size) ** 2 if config.sizes else 1.0
    last = (training_size(config, config.epochs - 1) / size) ** 2 if config.sizes else 1.0  # what was timed
    share = config.shares[epoch * len(config.shares) // config.epochs] if config.shares else 1.0
    return share * shrunk / last * (FROZEN_SHARE if epoch < config.freeze_epochs < config.epochs else 1.0)


def _scheme(run: "TrainingRun") -> str:
    """Say how many networks a member has."""
    if run.folds.scheme != "out-of-fold":
        return "one network a member"
    return f"{run.folds.n_folds} folds" + (" and a refit" if run.folds.new_photos == "refit" else "")


def _kept_bytes(run: "TrainingRun", n_photos: int) -> int:
    """Return the memory of the decoded photos of the member with the most."""
    return max(3 * member.size**2 * n_photos * is_kept(run, member, n_photos) for member in run.members)


def _seconds_per_photo(manifest: "Manifest", size: int) -> float:
    """Time the decoding of a few photos."""
    from base_models.photos.tensors import PhotoTensors

    rows = np.linspace(0, len(manifest) - 1, min(len(manifest), TIMED_PHOTOS)).round().astype(np.int64)
    return _timed(PhotoTensors(manifest, rows, size, cache="memory").keep) / len(rows)


def _timed(action: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds that something takes, with what it leaves to a device."""
    from base_models.device import synchronize

    synchronize(device)
    started = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - started


@contextmanager
def _threads(n_threads: int, device: str) -> Iterator[None]:
    """Compute with the recipe's number of threads, and leave torch's generators as they were."""
    import torch

    from base_models.device import own_generators

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        with torch.random.fork_rng(devices=own_generators(device)):
            yield
    finally:
        torch.set_num_threads(before)
