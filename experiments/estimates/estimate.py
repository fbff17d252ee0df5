"""Say how long a recipe will take on this machine, and what memory and disk it needs, before it starts.

Nothing is assumed about the machine: for every member, the training loop itself runs a few batches of the recipe's own
photos, with the recipe's threads and arithmetic, and the network scores them, on the card where there is one. Times
per photo are then multiplied by the passes that the recipe asks for. Three things can hold a training up: decoding,
copying photos to the device, arithmetic. A GPU does them side by side, so the longest is the time and what to
change; a CPU does one after the other. Folds are then handed out to as many processes as ``labelstack train`` would
start, each with its share of the threads, with which the trial is made too. The trial has the machine to itself:
processors that share a core, or memory that all wait for, make several processes slower than that. Early stops cannot
be foreseen: a member with ``patience`` takes at most this.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.estimates.crew import Crew, crew_of
from experiments.estimates.doctor import Fact, duration, free_disk, name_device
from experiments.estimates.feature_estimate import estimate_features, features_in_memory
from experiments.estimates.passes import Passes, RowCounts, count_passes, count_rows, is_kept
from experiments.estimates.run_cost import MemberCost, RunCost, advise, describe_parts
from stacking.process.memory import GIB, peak_memory, reset_peak_memory
from stacking.process.processors import usable_processors

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.run import TrainingRun
    from base_models.training.learner import Learner
    from base_models.training.task import MemberTask

TIMED_PHOTOS = 96  # at least two batches
STEPS_ON_A_CARD = 20  # that are timed: some tenths of a second
PASSES_BEFORE = 3  # on a GPU that do not count: libraries try their algorithms, and steps are recorded at the third
MOST_TURNS = 5  # of a few batches on a CPU, as far as they take
SECONDS_OF_TURNS = 2.0  # together: two threads of a small network take six times as long where others compute
CHECKED_SIZE = 16  # pixels at which every photo is tried once
BYTES_PER_NUMBER = 4
WAITING_SAID = 0.1  # share of the processes' time: less is not worth a word
NETWORKS_BUILT = 3  # for the check before the run, for the training, for the weights that are kept: per fold at most
TRAINING_COPIES = 3  # of the weights that a fold in training has more than a finished one: last, and two moments


def estimate(
    run: "TrainingRun",
    manifest: "Manifest",
    device: str = "auto",
    out: str | Path = ".",
    n_processes: int | None = None,
) -> list[Fact]:
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
    n_processes : int, optional
        Processes that would train its folds; as many as ``labelstack train`` starts by default.

    Returns
    -------
    list of Fact
        One per member, and the sum.
    """
    cost = estimate_run(run, manifest, device, n_processes)
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
        f"{len(manifest):,} photos × {manifest.n_labels} labels, {_scheme(run)}, {cost.crew.describe()}: "
        f"about {duration(cost.seconds)} on {name_device(cost.device)}, "
        f"{_waiting(cost)}"
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


def estimate_run(
    run: "TrainingRun", manifest: "Manifest", device: str = "auto", n_processes: int | None = None
) -> RunCost:
    """Try every member on a few batches, and add up what the run will take.

    Parameters
    ----------
    run : TrainingRun
        A loaded recipe.
    manifest : Manifest
        Its photos.
    device : str, default='auto'
        Where it would train, as ``labelstack train --device`` takes it.
    n_processes : int, optional
        Processes that would train its folds; as many as ``labelstack train`` starts by default.

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
    rows = count_rows(run, manifest)
    crew = crew_of(run, len(manifest), device, n_processes)
    idle_bytes = peak_memory() if reset_peak_memory() else 0
    with _threads(crew.n_threads, device):
        costs = []
        for place, member in enumerate(run.members):
            first_of_size = not place or run.members[place - 1].size != member.size
            passes = count_passes(member, run, rows, decode_all=first_of_size)
            costs.append(try_member(member, run, manifest, passes, device, crew))
        checking = (
            0.0
            if packed_bytes(run, len(manifest))
            else len(manifest) * _seconds_per_photo(manifest, CHECKED_SIZE) / max(1, _n_workers(run, device))
        )
        features = estimate_features(run.members, len(manifest), device)
    folds = [cost.fold_seconds for cost in costs for _ in range(run.folds.n_networks)]
    training = crew.seconds(folds)
    total = training + sum(cost.before for cost in costs) + sum(cost.seconds for cost in features) + checking
    disk = _disk_bytes(run, manifest, rows, costs) + sum(cost.n_bytes for cost in features)
    memory = _memory_of(crew, max(cost.peak_bytes for cost in costs), idle_bytes or 0)
    return RunCost(
        device,
        tuple(costs),
        tuple(features),
        total + crew.starting,
        memory + _kept_bytes(run, len(manifest)) * (1 if packed_bytes(run, len(manifest)) else len(crew.devices)),
        int(disk),
        int(disk + len(crew.devices) * max(map(_training_bytes, run.members, costs))),
        rows,
        crew,
        1 - sum(folds) / max(training * crew.n_at_once, 1e-9),
    )


def _disk_bytes(run: "TrainingRun", manifest: "Manifest", rows: RowCounts, costs: Sequence[MemberCost]) -> float:
    """Return what weights, scores and packed photos take in the end."""
    from base_models.runs.photo_packs import packed_bytes

    n_networks = run.folds.n_networks
    chunks = rows.held_out + rows.rest * (n_networks if rows.rest else 1)
    scores = len(run.members) * chunks + (len(run.members) + len(run.derived)) * (rows.held_out + rows.rest)
    weights = sum(cost.weight_bytes for cost in costs) * n_networks
    return weights + scores * manifest.n_labels * BYTES_PER_NUMBER + packed_bytes(run, len(manifest))


def _memory_of(crew: Crew, of_one: int, idle: int) -> int:
    """Return the memory of all processes: those that train, and the one that hands out folds."""
    n_processes = len(crew.devices)
    return of_one if n_processes == 1 else n_processes * of_one + idle


def _waiting(cost: RunCost) -> str:
    """Say that processes wait for the last folds, where that is worth saying."""
    share = f"{100 * cost.waiting:.0f} %"
    return f"{share} of it spent waiting for the last networks, " if cost.waiting >= WAITING_SAID else ""


def try_member(
    member: "MemberConfig",
    run: "TrainingRun",
    manifest: "Manifest",
    passes: Passes,
    device: str = "cpu",
    crew: Crew | None = None,
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
    crew : Crew, optional
        The processes that train; one by default.

    Returns
    -------
    MemberCost
        Seconds and bytes.
    """
    from base_models.device import is_cuda, peak_device_memory, reset_peak_device_memory
    from base_models.runs.photo_packs import packed_bytes
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
    n_decoding = _n_packing(run, len(manifest)) if passes.once and packed_bytes(run, len(manifest)) else n_workers
    parts = {
        "decoding": passes.decoded * decoding / max(1, n_decoding),
        "copying": 0.0
        if member.features == "precomputed"
        else _seconds_of_copies(run, member, manifest, passes, device),
        "arithmetic": passes.trained * training + passes.scored * scoring,
    }
    before, decoded = (parts["decoding"], 0.0) if passes.once else (0.0, parts["decoding"])
    if n_workers and not passes.once:  # other processes decode while this one computes
        alone = max(parts["arithmetic"], parts["copying"], decoded)
    else:
        alone = max(parts["arithmetic"], parts["copying"]) + decoded
    alone += NETWORKS_BUILT * building * run.folds.n_networks
    n_at_once = (crew or Crew()).n_at_once
    parts = {name: part if name == "decoding" and passes.once else part / n_at_once for name, part in parts.items()}
    there = len(manifest) * 3 * member.size**2 if is_cuda(device) and kept and not parts["copying"] else 0
    return MemberCost(
        member.name,
        before + alone / n_at_once,
        n_weights * BYTES_PER_NUMBER,
        peak_memory() or 0,
        parts,
        peak_device_memory(device) + there,
        learner.precision,
        alone / run.folds.n_networks,
        before,
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
    if is_cuda(device):
        training = _timed(lambda: train(replace(task, train_rows=rows)), device)
        score()
        return training / len(rows), _timed(score, device) / len(rows)
    training = _quickest(lambda: train(replace(task, train_rows=rows)))
    return training / len(rows), _quickest(score) / len(rows)


def _quickest(action: Callable[[], object]) -> float:
    """Return the seconds of the quickest turn of some, so that a machine that is busy for a moment does not count."""
    turns = [_timed(action)]
    while len(turns) < MOST_TURNS and sum(turns) < SECONDS_OF_TURNS:
        turns.append(_timed(action))
    return min(turns)


def _n_workers(run: "TrainingRun", device: str) -> int:
    """Return how many processes decode beside a training."""
    from base_models.device import loader_workers

    return loader_workers(run.n_workers, device)


def _n_packing(run: "TrainingRun", n_photos: int) -> int:
    """Return how many processes decode photos that are packed before the training."""
    from base_models.packed.packing import AUTO_WORKERS, BLOCKS_WORTH_A_PROCESS
    from base_models.packed.photo_pack import BLOCK_PHOTOS

    if run.n_workers != AUTO_WORKERS:
        return run.n_workers
    return min(usable_processors(), n_photos // BLOCK_PHOTOS // BLOCKS_WORTH_A_PROCESS)


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
